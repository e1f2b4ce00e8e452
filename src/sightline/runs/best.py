"""The best weights, twice: where one of the two files is damaged, the other one is used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from sightline.errors import RunError
from sightline.runs.files import Tensors, read_tensors, write_tensors

BEST = "best.safetensors"
_PLACES = (BEST, f"checkpoints/{BEST}")  # in this order

Arrays = dict[str, npt.NDArray[np.generic]]


def write_best(run: Path, tensors: Tensors, *, epoch: int) -> None:
    """Write the best weights into both files, one after the other, each in one step.

    A process that dies in between leaves an earlier epoch in the second one: the one that the
    newest checkpoint knows.

    Raises:
        OSError: One could not be written; each holds what it held before, or the new weights.
    """
    for place in _PLACES:
        write_tensors(run / place, tensors, epoch=epoch)


def read_best(run: Path) -> tuple[Arrays, int, str]:
    """Return the best weights, their 0-based epoch, and what is to be said about them.

    That is "", or that the first file cannot be used and the second one was.

    Raises:
        RunError: Neither can be used.
    """
    first, second = (run / place for place in _PLACES)
    try:
        return *read_tensors(first), ""
    except RunError as error:
        if not second.exists():  # a run of an earlier Sightline, or imported
            raise
        why = str(error)
    try:
        arrays, epoch = read_tensors(second)
    except RunError as error:
        raise RunError(f"{why} Nor can its copy be used: {error}") from error
    return arrays, epoch, f"{first} is missing or damaged, so its copy {second} is used."


def restore_best(run: Path, *, epoch: int) -> tuple[Arrays, list[str]]:
    """Return the best weights of a training that goes on, and put them into both files.

    Where the files are of two epochs, a process died between them: then those of `epoch` are
    taken, which the checkpoint knows as the best.

    Returns:
        The weights, and which files were damaged: a sentence each.

    Raises:
        RunError: Neither file can be used.
        OSError: They could not be written; each holds what it held before, or the weights.
    """
    found: dict[str, tuple[Arrays, int]] = {}
    told = []
    for place in _PLACES:
        try:
            found[place] = read_tensors(run / place)
        except RunError:
            if (run / place).exists():
                told.append(f"{run / place} was damaged, and is written anew from its copy.")
    if not found:
        read_best(run)  # raises, saying what is wrong with each
    first = next(iter(found.values()))
    arrays, of = next((each for each in found.values() if each[1] == epoch), first)
    for place in _PLACES:
        if place not in found or not _same(found[place], (arrays, of)):
            write_tensors(run / place, arrays, epoch=of)
    return arrays, told


def _same(one: tuple[Arrays, int], other: tuple[Arrays, int]) -> bool:
    return one[1] == other[1] and all(
        np.array_equal(one[0][name], other[0][name]) for name in one[0]
    )
