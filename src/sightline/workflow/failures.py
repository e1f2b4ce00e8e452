"""What ends a training: whether another one would end alike, and how it is told."""

from __future__ import annotations

from sightline.errors import SetupError, SightlineError

_MOST = 300  # characters; a framework's first line may be a whole program


def is_of_the_machine(error: Exception) -> bool:
    """Say whether another training would have failed alike: a full disk, a run that is in use."""
    return isinstance(error, (SetupError, OSError)) or isinstance(error.__cause__, OSError)


def reason_of(error: Exception) -> str:
    """Return why a training failed, one line; a framework's error may be any."""
    if isinstance(error, SightlineError):
        return str(error)
    first = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {first[:_MOST]}"
