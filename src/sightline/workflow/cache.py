"""What is kept between runs, looked at and emptied."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sightline.data.stream import cache


@dataclass(frozen=True, slots=True)
class CacheReport:
    """The decoded images that are kept between runs.

    Attributes:
        folder: Where all of it is.
        max_bytes: What it may take on the disk.
        caches: One a set of images and a way to decode it; the last used first.
    """

    folder: Path
    max_bytes: int
    caches: tuple[cache.CacheSummary, ...]

    @property
    def num_bytes(self) -> int:
        """What all of it takes on the disk."""
        return sum(each.num_bytes for each in self.caches)


def report_cache(folder: str | Path | None = None) -> CacheReport:
    """Return what is kept between runs, without changing it.

    Args:
        folder: Where it is; None takes SIGHTLINE_CACHE, else the user's cache folder.

    Raises:
        OSError: The folder cannot be read.
        SetupError: No folder is given, and this user has no home folder.
    """
    root = _root(folder)
    return CacheReport(root, cache.cache_max_bytes(), tuple(cache.list_caches(root)))


def clear_cache(folder: str | Path | None = None) -> cache.Cleared:
    """Remove what is kept between runs, but for the caches that a process has open.

    Runs lose nothing but time: images are decoded anew.

    Args:
        folder: Where it is; None takes SIGHTLINE_CACHE, else the user's cache folder.

    Raises:
        OSError: The folder cannot be written.
        SetupError: No folder is given, and this user has no home folder.
    """
    return cache.clear_caches(_root(folder))


def _root(folder: str | Path | None) -> Path:
    return cache.cache_root() if folder is None else Path(folder)
