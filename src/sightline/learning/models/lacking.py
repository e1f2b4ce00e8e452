"""Errors of backends that lack memory: told from others, and put into words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from sightline.errors import RunError

# By name, as each belongs to a backend that is not loaded here: TensorFlow's, torch's, Python's.
_KINDS = {"ResourceExhaustedError", "OutOfMemoryError", "MemoryError"}
# Of errors that are also used for something else: JAX's; torch's on Apple's GPUs, on a processor.
_SAID_OF_IT = ("resource_exhausted", "out of memory", "can't allocate memory")
_HOW_MUCH = re.compile(  # to the end of the line, or of what torch prints in bold
    r"(\bOOM\b|out of memory|can't allocate memory|unable to allocate)[^\n\x1b]*", re.IGNORECASE
)
_LONGEST = 200  # characters


@contextmanager
def told_of(work: str, remedy: str) -> Iterator[None]:
    """Put into words that there is not enough memory for what is done inside.

    Args:
        work: What it is, as "a step on 8 images".
        remedy: What to do, in sentences.

    Raises:
        RunError: There is not enough.
    """
    try:
        yield
    except Exception as error:
        if not _is_of_memory(error):
            raise
        raise RunError(
            f"there is not enough memory {work}: {_in_words(error)}. {remedy}"
        ) from error


def _is_of_memory(error: Exception) -> bool:
    """Say whether an error is that of a backend, or of NumPy, without enough memory."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    said = str(error).lower()
    return not kinds.isdisjoint(_KINDS) or any(word in said for word in _SAID_OF_IT)


def _in_words(error: Exception) -> str:
    """Return what such an error says of how much was asked for, without a full stop."""
    told = _HOW_MUCH.search(str(error))
    return (told[0] if told else type(error).__name__)[:_LONGEST].rstrip(".")
