"""How much the caches may take: counting, evicting the least recently used, listing, clearing."""

from __future__ import annotations

import fcntl
import math
import os
import shutil
import stat
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sightline.data.stream.cache import folder as places
from sightline.data.stream.cache.folder import ABOUT, ROWS, SUM_BYTES, SUMS, USED, Claim
from sightline.errors import SetupError

_MAX_BYTES = 50 * 10**9  # of all caches together

_STEP = 8 << 20  # bytes that one process may write before it counts again
_BLOCK = 4096  # bytes of most file systems' blocks
_KEEP_FREE = 2 << 30  # bytes: enough for the checkpoints and the report of any run
_TRASH = ".trash-"
_IMPATIENT = 0.0


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may be taken.

    Attributes:
        max_bytes: By all caches together.
        keep_free_bytes: What stays free on the disk; None keeps 2 GiB, or 5 % of a disk that is
            so small that this is less.
    """

    max_bytes: int = _MAX_BYTES
    keep_free_bytes: int | None = None

    def __post_init__(self) -> None:
        for name in ("max_bytes", "keep_free_bytes"):
            if (getattr(self, name) or 0) < 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")


@dataclass(frozen=True, slots=True)
class CacheSummary:
    """One cache, as a list shows it; None stands for what its files do not tell.

    Attributes:
        path: Its folder.
        images_root: Where the images are that it was made of.
        shape: (height, width, channels) of a row.
        quality: How the images were decoded.
        num_rows: Rows of the images' index.
        num_filled: Rows that were decoded so far.
        num_bytes: What it takes on the disk.
        last_used: When it was last opened, seconds since 1970.
        in_use: Whether a process has it open.
    """

    path: Path
    images_root: str | None
    shape: tuple[int, int, int] | None
    quality: str | None
    num_rows: int | None
    num_filled: int | None
    num_bytes: int
    last_used: float
    in_use: bool


@dataclass(frozen=True, slots=True)
class Cleared:
    """What clearing did.

    Attributes:
        removed: Caches that are gone, as they were.
        in_use: Caches that were kept, because a process has them open.
        failed: Folders that could not be removed, and why.
    """

    removed: tuple[CacheSummary, ...]
    in_use: tuple[CacheSummary, ...]
    failed: tuple[tuple[Path, OSError], ...]


def cache_max_bytes() -> int:
    """Return what all caches together may take: SIGHTLINE_CACHE_GB, else 50 GB.

    Raises:
        SetupError: The variable is no number of at least 0.
    """
    given = os.environ.get("SIGHTLINE_CACHE_GB")
    if not given:
        return _MAX_BYTES
    try:
        gigabytes = float(given)
    except ValueError:
        gigabytes = math.nan
    if not 0 <= gigabytes < math.inf:
        raise SetupError(
            f"SIGHTLINE_CACHE_GB must be a number of gigabytes, such as 50, got {given!r}."
        )
    return int(gigabytes * 10**9)


def bytes_of_row(row_bytes: int) -> int:
    """Return what one row can take on the disk: it begins and ends in the middle of a block."""
    return (row_bytes // _BLOCK + 2) * _BLOCK


def room_for(claim: Claim, full_bytes: int, row_cost: int, limits: Limits) -> tuple[int, str]:
    """Return how many bytes may be written before this is asked again, and what stands against it.

    Caches that nobody has open are evicted, the least recently used first, until there is room.

    Args:
        claim: The cache that grows.
        full_bytes: What it would take with every row.
        row_cost: What one row can take.
        limits: What all caches may take, and what stays free.

    Raises:
        OSError: The folder is gone or cannot be read.
    """
    if os.fstat(claim.rows.number).st_nlink == 0:
        return 0, "it was removed while it was in use"
    step = max(_STEP, row_cost)
    wanted = min(step, max(row_cost, full_bytes - _bytes_of(claim.folder)))
    while True:
        room, reason = _room_left(claim, limits)
        if room >= wanted or not _evict_one(claim.folder):
            return min(room, step), reason


def sweep(decoded: Path) -> None:
    """Remove what a process set aside and did not live to remove."""
    for trash in decoded.glob(f"{_TRASH}*"):
        shutil.rmtree(trash, ignore_errors=True)


def list_caches(root: Path) -> list[CacheSummary]:
    """Return all caches, the last used first.

    Args:
        root: What `cache_root` returns; it may be missing.

    Raises:
        OSError: The folder is there but cannot be read.
    """
    folders = places.cache_folders(places.decoded_folder(root))
    return sorted(map(_summary, folders), key=lambda each: -each.last_used)


def clear_caches(root: Path) -> Cleared:
    """Remove every cache that no process has open; nothing else in the folder is touched.

    Args:
        root: What `cache_root` returns; it may be missing.

    Raises:
        OSError: The folder is there but cannot be written.
    """
    decoded = places.decoded_folder(root)
    removed, in_use, failed = [], [], []
    for cache in list_caches(root):
        try:
            trash = _set_aside(cache.path)
            if trash is None:
                in_use.append(cache)
                continue
            _remove(trash)
            removed.append(cache)
        except OSError as error:
            failed.append((cache.path, error))
    sweep(decoded)
    return Cleared(tuple(removed), tuple(in_use), tuple(failed))


def _room_left(claim: Claim, limits: Limits) -> tuple[int, str]:
    """Return the bytes that all caches may still take together, and which limit says so."""
    taken = sum(map(_bytes_of, places.cache_folders(claim.folder.parent)))
    disk = os.fstatvfs(claim.rows.number)
    free, total = disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
    keep = limits.keep_free_bytes
    if keep is None:
        keep = min(_KEEP_FREE, total // 20)
    if limits.max_bytes - taken < free - keep:
        reason = f"all caches together may take {limits.max_bytes / 1e9:,.3g} GB"
        return limits.max_bytes - taken, reason
    reason = f"{free / 1e9:,.3g} GB are free on its disk and {keep / 1e9:,.3g} GB are kept free"
    return free - keep, reason


def _evict_one(keep: Path) -> bool:
    """Remove the least recently used cache that nobody has open; False where there is none."""
    others = [each for each in places.cache_folders(keep.parent) if each != keep]
    for folder in sorted(others, key=_last_used):
        try:
            trash = _set_aside(folder)
        except OSError:  # another user's, perhaps
            continue
        if trash is not None:
            shutil.rmtree(trash, ignore_errors=True)
            return True
    return False


def _remove(trash: Path) -> None:
    try:
        shutil.rmtree(trash)
    except OSError:
        if trash.exists():  # else another process swept it at the same time
            raise


def _set_aside(folder: Path) -> Path | None:
    """Rename a cache to what is swept in any case; None where a process has it open.

    A crash while its files are removed one by one so leaves no half cache.
    """
    with places.door(folder.parent):
        if not folder.exists():  # another process was first
            return None
        used = places.Descriptor(folder / USED, os.O_RDWR | os.O_CREAT)
        try:
            if not places.lock(used, fcntl.LOCK_EX, patience=_IMPATIENT):
                return None  # a file system without locks: nobody can know
        except TimeoutError:
            return None
        return folder.rename(folder.with_name(f"{_TRASH}{uuid.uuid4().hex}"))


def _bytes_of(folder: Path) -> int:
    """Return what a cache takes on the disk: blocks, so that holes count for nothing."""
    total = 0
    for name in (ROWS, SUMS, ABOUT):
        try:
            total += (folder / name).lstat().st_blocks * 512  # the unit of POSIX, on every disk
        except OSError:
            continue
    return total


def _last_used(folder: Path) -> float:
    """Return when a cache was last opened, seconds since 1970; 0 where that cannot be known."""
    try:
        return (folder / USED).lstat().st_mtime
    except OSError:
        return 0.0


def _summary(folder: Path) -> CacheSummary:
    about = places.read_about(folder)
    key = about.get("key")
    return CacheSummary(
        path=folder,
        images_root=_text(about.get("images_root")),
        shape=_shape(about.get("shape")),
        quality=_text(key.get("quality")) if isinstance(key, dict) else None,
        num_rows=_size(folder / SUMS, SUM_BYTES),
        num_filled=_count_filled(folder / SUMS),
        num_bytes=_bytes_of(folder),
        last_used=_last_used(folder),
        in_use=_is_open(folder),
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _shape(value: Any) -> tuple[int, int, int] | None:
    if not isinstance(value, list) or [type(side) for side in value] != [int, int, int]:
        return None
    height, width, channels = value
    return height, width, channels


def _size(path: Path, unit: int) -> int | None:
    try:
        return path.lstat().st_size // unit
    except OSError:
        return None


def _count_filled(sums: Path) -> int | None:
    """Return how many sums are there, read piece by piece; None where they cannot be read."""
    try:
        if not stat.S_ISREG(sums.lstat().st_mode):  # opening a pipe would wait for a writer
            return None
        filled = 0
        with sums.open("rb") as file:
            while piece := file.read(1 << 20):
                whole = len(piece) // SUM_BYTES
                filled += int(np.count_nonzero(np.frombuffer(piece, np.uint64, whole)))
    except OSError:
        return None
    return filled


def _is_open(folder: Path) -> bool:
    try:
        used = places.Descriptor(folder / USED, os.O_RDONLY)
        places.lock(used, fcntl.LOCK_EX, patience=_IMPATIENT)
    except TimeoutError:
        return True
    except OSError:
        return False
    return False
