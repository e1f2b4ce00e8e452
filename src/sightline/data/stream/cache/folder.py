"""Where the caches are, and how processes open, make and leave one without meeting half of it."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sightline.data.stream.cache.key import CacheKey
from sightline.errors import SetupError
from sightline.runs.files import write_json

ROWS, SUMS, ABOUT, USED = "rows.u8", "sums.u64", "about.json", "used"
SUM_BYTES = 8

_DOOR = ".lock"  # held while a cache is made, opened or set aside
_NAME = re.compile(r"[0-9a-f]{64}")
_PATIENCE = 10.0  # seconds to wait for a lock that is held for milliseconds
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # what such file systems answer


def cache_root() -> Path:
    """Return the folder for everything that is kept between runs; it need not exist.

    SIGHTLINE_CACHE, else "sightline" in the user's cache folder.

    Raises:
        SetupError: The variable is not set, and this user has no home folder.
    """
    if chosen := os.environ.get("SIGHTLINE_CACHE"):
        return Path(chosen).expanduser().absolute()
    # Relative paths in the XDG variables are to be ignored, says their specification.
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if sys.platform == "linux" and given.is_absolute():
        return given / "sightline"
    try:
        home = Path.home()
    except RuntimeError:
        raise SetupError(
            "this user has no home folder to keep decoded images in. "
            "Set SIGHTLINE_CACHE to a folder."
        ) from None
    return home / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "sightline"


def decoded_folder(root: Path) -> Path:
    """Return the folder of the caches of decoded images."""
    return root / "decoded"


def cache_folders(decoded: Path) -> list[Path]:
    """Return the folders of all caches, by name; nothing else that lies there.

    Raises:
        OSError: The folder is there but cannot be listed.
    """
    try:
        with os.scandir(decoded) as entries:
            names = [e.name for e in entries if e.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []
    return [decoded / name for name in sorted(names) if _NAME.fullmatch(name)]


class Descriptor:
    """A file that is open until the last holder lets go of it.

    Nobody closes it by number: a thread that is still writing could hit another file that got
    the same number.

    Raises:
        OSError: It cannot be opened.
    """

    number = -1

    def __init__(self, path: Path, flags: int) -> None:
        # NONBLOCK: a pipe in the place of a file must not make anybody wait.
        extra = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        self.number = os.open(path, flags | extra, 0o666)  # less what the umask takes away

    def __del__(self) -> None:
        if self.number >= 0:
            os.close(self.number)


@dataclass(frozen=True, slots=True)
class Claim:
    """One cache, open: nobody evicts it as long as this lives.

    Attributes:
        folder: Where it is.
        used: Holds the lock.
        rows: rows.u8, readable and writable.
        sums: sums.u64, readable and writable.
    """

    folder: Path
    used: Descriptor
    rows: Descriptor
    sums: Descriptor


def claim(root: Path, key: CacheKey, *, images_root: str) -> Claim:
    """Return the cache of `key`, made where it is missing, mended where its files are damaged.

    Raises:
        OSError: It cannot be made or written.
    """
    decoded = decoded_folder(root)
    # Decoded images may be private: a folder of our own making is for this user alone.
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    decoded.mkdir(exist_ok=True)
    with door(decoded):
        folder = decoded / key.digest()
        folder.mkdir(exist_ok=True)
        used = Descriptor(folder / USED, os.O_RDWR | os.O_CREAT)
        lock(used, fcntl.LOCK_SH)
        os.utime(used.number)
        rows, is_new = _of_length(folder / ROWS, key.num_rows * key.row_bytes)
        if is_new:  # what the old sums promised is gone
            (folder / SUMS).unlink(missing_ok=True)
        sums, _ = _of_length(folder / SUMS, key.num_rows * SUM_BYTES)
        _describe(folder / ABOUT, key, images_root)
    return Claim(folder, used, rows, sums)


@contextmanager
def door(decoded: Path) -> Iterator[None]:
    """Let one process at a time make, open or set aside caches.

    Raises:
        OSError: The folder cannot be written; or somebody stands in the door for too long.
    """
    held = Descriptor(decoded / _DOOR, os.O_RDWR | os.O_CREAT)
    lock(held, fcntl.LOCK_EX)
    try:
        yield
    finally:
        del held


def lock(file: Descriptor, kind: int, *, patience: float = _PATIENCE) -> bool:
    """Lock a file; return False where its file system has no locks.

    It ends when the descriptor is closed, also by the death of the process.

    Args:
        file: The file.
        kind: fcntl.LOCK_SH or LOCK_EX.
        patience: Seconds to wait for others.

    Raises:
        TimeoutError: Others hold it.
        OSError: It cannot be locked.
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(file.number, kind | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise TimeoutError(errno.ETIMEDOUT, "locked by another process") from None
            time.sleep(0.005)
        except OSError as error:
            if error.errno in _NO_LOCKS:
                return False
            raise


def read_about(folder: Path) -> dict[str, Any]:
    """Return what about.json says; nothing where it is missing, damaged or another thing."""
    try:
        value = json.loads((folder / ABOUT).read_bytes()) if (folder / ABOUT).is_file() else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _of_length(path: Path, length: int) -> tuple[Descriptor, bool]:
    """Return a file of exactly `length` bytes, and whether it was made just now."""
    file = Descriptor(path, os.O_RDWR | os.O_CREAT)
    size = os.fstat(file.number).st_size
    if size not in (0, length):
        # Replaced, never cut: where another process has it mapped, a cut would be its death.
        path.unlink()
        file, size = Descriptor(path, os.O_RDWR | os.O_CREAT | os.O_EXCL), 0
    if size == 0:
        os.ftruncate(file.number, length)
    return file, size == 0


def _describe(path: Path, key: CacheKey, images_root: str) -> None:
    """Write about.json where it does not tell of this key already."""
    about = read_about(path.parent)
    if about.get("key") == key.to_dict() and about.get("images_root") == images_root:
        return
    created = datetime.now(UTC).isoformat(timespec="seconds")
    write_json(
        path,
        {
            "images_root": images_root,
            "num_rows": key.num_rows,
            "shape": list(key.shape),
            "created": about.get("created", created),
            "key": key.to_dict(),
        },
    )
