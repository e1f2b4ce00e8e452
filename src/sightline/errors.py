"""The five errors Sightline raises on purpose; anything else is a defect of Sightline.

    SightlineError
    ├── DataError    (ValueError)    the images, labels or table cannot be used as asked
    ├── RecipeError  (ValueError)    a value of the recipe is wrong or does not fit the data
    ├── RunError     (RuntimeError)  a run folder is missing, incomplete, damaged or in use
    └── SetupError   (ImportError)   this machine lacks something: an extra, a backend, a system

A message says what happened, with the value, where (file, row, key), and what to do.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import re
from types import ModuleType


class SightlineError(Exception):
    """Base of every error that Sightline raises on purpose."""


class DataError(SightlineError, ValueError):
    """The user's images, labels or table cannot be used as asked.

    Attributes:
        reason: A stable code when one file is at fault (EMPTY, TRUNCATED, ...), else "".
    """

    def __init__(self, message: str, *, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


class RecipeError(SightlineError, ValueError):
    """A value of the recipe is wrong, or does not fit the data."""


class RunError(SightlineError, RuntimeError):
    """A run folder is missing, incomplete, damaged or in use."""


class SetupError(SightlineError, ImportError):
    """This machine lacks something: an optional package, a backend, an operating system."""


def require(module: str) -> ModuleType:
    """Return the imported optional dependency `module`.

    Raises:
        SetupError: `module` is not installed; the message is the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:
            raise  # installed, but broken inside: show the real reason
        raise SetupError(
            f"this needs the package {module!r}, which is not installed. "
            f"Install it with: {how_to_install(module)}"
        ) from None


def how_to_install(package: str) -> str:
    """Return the command that installs a dependency, in the versions that Sightline knows.

    It names the package itself: "sightline" on the package index is somebody else's.
    """
    try:
        requirements = importlib.metadata.requires("sightline") or []
    except importlib.metadata.PackageNotFoundError:  # run from its source, not installed
        requirements = []
    for requirement in requirements:
        wanted = requirement.partition(";")[0].strip()
        if re.split(r"[^A-Za-z0-9_-]", wanted)[0] == package:
            return f"pip install '{wanted}'"
    return f"pip install {package}"
