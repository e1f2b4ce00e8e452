"""Where a run goes: its folder made and locked."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO

from sightline.errors import RunError
from sightline.runs.files import is_unfinished, make_folder

FOLD = "fold"  # key of run.json: which fold of a cross-validation is its test split
CACHED = "cached"  # likewise: whether its judged images are kept decoded for the others
NETWORK = "network.keras"  # of a run whose recipe does not describe the network
_BEGUN = {  # of a training that never came to its first step: run.json is written last
    *("run.lock", "run.log", "recipe.toml", "manifest.parquet", "manifest.parquet.npy"),
    *("audit.json", "plan.txt", NETWORK),
}

_ON = " on "  # in run.lock, between the process and its machine
_TRIES, _PAUSE = 10, 0.05  # s; to look whether a folder is locked takes far less


def check_new(path: Path) -> None:
    """Refuse a folder that holds something already, before work has gone into it.

    Raises:
        RunError: The folder is not empty (nothing of it is touched), is a file, is or lies
            below a dangling link, or lies where nothing may be written.
    """
    if path.exists() and (not path.is_dir() or _holds_something(path)):
        raise RunError(
            f"{path} already holds something, and Sightline overwrites no run. "
            "Give another folder with --out, or remove this one yourself."
        )
    place = path.absolute()
    while not place.exists():
        if place.is_symlink():
            raise RunError(
                f"{place} is a link to a place that does not exist. Give another folder with "
                "--out, or make the folder that it points to."
            )
        place = place.parent
    if not os.access(place, os.W_OK):
        raise RunError(f"cannot write into {place}. Give another run folder with --out.")


def _holds_something(path: Path) -> bool:
    """Say whether a folder holds more than a start that was cut off has left."""
    names = {each.name for each in path.iterdir() if not is_unfinished(each)}
    return bool(names) and ("run.lock" not in names or not names <= _BEGUN)


def create_run(path: Path) -> Path:
    """Make a new run folder and return it.

    Raises:
        RunError: As `check_new`, or it cannot be made.
    """
    check_new(path)
    try:
        make_folder(path)
    except OSError as error:
        raise RunError(
            f"cannot make the run folder {path}: {error.strerror}. Give another one with --out."
        ) from error
    return path


def new_run_path(name: str, *, parent: Path = Path("runs")) -> Path:
    """Return a folder for a new run that does not exist yet: runs/NAME-DATE-TIME."""
    stem = f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
    path, number = parent / stem, 2
    while path.exists():
        path, number = parent / f"{stem}-{number}", number + 1
    return path


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the run folder: a second process that wants to write into it is refused.

    The lock goes with the process, so a dead holder blocks nobody; on a network disk the lock of
    a machine that is gone may stay, and the message says what to do then.

    Raises:
        RunError: Another process holds it (the message names it), it is read-only, or its file
            system cannot lock.
    """
    try:
        opened = (path / "run.lock").open("a+", encoding="utf-8")
    except OSError as error:
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        remedy = "Free some space." if is_full else "Copy the run folder to where you may."
        raise RunError(f"cannot write into {path}: {error.strerror}. {remedy}") from error
    with opened as file:
        try:
            _lock(file)
        except OSError as error:
            file.seek(0)
            raise lock_refused(path, error, holder=file.read().strip()) from error
        file.truncate(0)
        file.write(f"process {os.getpid()}{_ON}{socket.gethostname()}")
        file.flush()
        yield


@contextmanager
def claimed(path: Path) -> Iterator[bool]:
    """Hold a file for one piece of work, if no other process does; say whether that came about.

    The claim goes with the process.

    Raises:
        OSError: The file cannot be made or locked.
    """
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def _lock(file: IO[str]) -> None:
    """Lock a file; one who only looks whether it is locked (`is_held`) is waited for.

    Raises:
        BlockingIOError: Another process holds it.
        OSError: It cannot be locked.
    """
    for _ in range(_TRIES):
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_PAUSE)
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say what to do where the system cannot write, or read, what belongs to a run.

    Raises:
        RunError: In place of the system's OSError.
    """
    try:
        yield
    except BrokenPipeError:  # the reader of what is printed has gone: no matter of the disk
        raise
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        told = f"{path} cannot be worked in: {error.strerror or error}{where}. Free some space or "
        if _can_be_resumed(path):
            told += f"mend the disk. What was saved is kept; go on: sightline train --resume {path}"
        else:
            told += "mend the disk, then start it again as before: there is nothing to resume yet."
        raise RunError(told) from error


def _can_be_resumed(path: Path) -> bool:
    """Say whether there is a run to resume; where nobody can look, there may well be one."""
    try:
        (path / "run.json").stat()  # written last of what a resume needs
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return True


def lock_refused(path: Path, error: OSError, *, holder: str) -> RunError:
    """Return what to say when a run folder cannot be locked; only one error means "in use".

    Args:
        path: The run folder.
        error: What the system said.
        holder: What the lock file holds: who wrote it last.
    """
    if isinstance(error, BlockingIOError):
        told = f"{path} is in use by {holder or 'another process'}. Wait for it, or stop it."
        host = holder.partition(_ON)[2]
        if host and host != socket.gethostname():  # that of a network disk may not know it is gone
            told += (
                f" If {host} is gone, make sure that no process works in {path} any more, and "
                f"remove {path / 'run.lock'}."
            )
        return RunError(told)
    return RunError(
        f"{path} cannot be locked: {error.strerror}. Some network drives cannot; keep the run "
        "folder on a disk of this machine."
    )


def is_held(path: Path) -> bool:
    """Say whether a process is working in the run folder."""
    try:
        with (path / "run.lock").open(encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no lock file, or a file system without locks
        return False
    return False
