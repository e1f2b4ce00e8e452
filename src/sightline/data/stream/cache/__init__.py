"""Decoded images kept on disk at their target size, so that each file is decoded once.

    ROOT/decoded/KEY/  rows.u8     the pixels, row after row; sparse, mapped by every reader
                       sums.u64    a checksum a row, 0 where the row is absent
                       about.json  what KEY stands for, for people and for `sightline cache`
                       used        locked by whoever has the cache open; its time is the last use

A row is written first and its checksum after it, and a reader believes nothing but the checksum.
So a process may be killed, a disk may fill and several processes may fill one cache at once:
a row is right, or it is absent.

key      what a cache is valid for
folder   where caches are; descriptors and locks
room     how much they may take: counting, evicting, listing, clearing
pixels   one cache, read and written
"""

from __future__ import annotations

from sightline.data.stream.cache.folder import cache_root
from sightline.data.stream.cache.key import CacheKey, Quality
from sightline.data.stream.cache.pixels import CacheWarning, PixelCache, warn
from sightline.data.stream.cache.room import (
    CacheSummary,
    Cleared,
    cache_max_bytes,
    clear_caches,
    list_caches,
)

__all__ = [
    "CacheKey",
    "CacheSummary",
    "CacheWarning",
    "Cleared",
    "PixelCache",
    "Quality",
    "cache_max_bytes",
    "cache_root",
    "clear_caches",
    "list_caches",
    "warn",
]
