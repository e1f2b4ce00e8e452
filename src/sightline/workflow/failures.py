"""Why one training of several failed, and whether the others can go on."""

from __future__ import annotations

from sightline.errors import SetupError, SightlineError


def is_of_the_machine(error: Exception) -> bool:
    """Say whether another training would have failed alike: a full disk, a missing package."""
    return isinstance(error, (SetupError, OSError)) or isinstance(error.__cause__, OSError)


def reason_of(error: Exception) -> str:
    """Return why a training failed, one line; a framework's error may be any."""
    if isinstance(error, SightlineError):
        return str(error)
    first = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {first[:300]}"
