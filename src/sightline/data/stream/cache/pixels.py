"""One cache of decoded images: mapped to read, written row by row, shared by processes."""

from __future__ import annotations

import mmap
import os
import sys
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt
from xxhash import xxh3_64_intdigest

from sightline.data.stream.cache import folder as places
from sightline.data.stream.cache.folder import SUM_BYTES, Claim
from sightline.data.stream.cache.key import CacheKey
from sightline.data.stream.cache.room import (
    Limits,
    bytes_of_row,
    cache_max_bytes,
    room_for,
    sweep,
)
from sightline.errors import SetupError

Pixels = npt.NDArray[np.uint8]
Rows = npt.NDArray[np.int64]

_ABSENT = 0  # the sum of a row that is not there


class CacheWarning(UserWarning):
    """Decoded images cannot be kept; they are right, but each epoch decodes them anew."""


def warn(message: str) -> None:
    """Say it as a CacheWarning."""
    warnings.warn(message, CacheWarning, stacklevel=2)


@dataclass(frozen=True, slots=True)
class _Mapped:
    """The files of a cache in memory; they stay mapped as long as anybody holds a part.

    Attributes:
        claim: The open files.
        memory: rows.u8.
        flat: The same, to slice without numpy.
        rows: The same, (n, H, W, C).
        sums: (n,) uint64.
    """

    claim: Claim
    memory: mmap.mmap
    flat: memoryview
    rows: Pixels
    sums: npt.NDArray[np.uint64]

    @classmethod
    def of(cls, claim: Claim, key: CacheKey) -> _Mapped:
        memory = mmap.mmap(claim.rows.number, key.num_rows * key.row_bytes, prot=mmap.PROT_READ)
        sums = mmap.mmap(claim.sums.number, key.num_rows * SUM_BYTES, prot=mmap.PROT_READ)
        rows = np.frombuffer(memory, np.uint8).reshape(key.num_rows, *key.shape)
        return cls(claim, memory, memoryview(memory), rows, np.frombuffer(sums, np.uint64))


class PixelCache:
    """Decoded images of one index, each written by whoever needs it first and then only read.

    Safe from several threads and several processes at once, also while they fill it: a row is
    right or it is absent. Rows are checked against their checksums every time, so damage on the
    disk is found and mended. `open` makes it.

    Attributes:
        folder: Where it is.
        filling: Whether rows are still taken; False once the disk or the cap has ended that.
        damaged: Rows that were found damaged, and given up to be decoded anew.
    """

    def __init__(
        self,
        claim: Callable[[], _Mapped],
        key: CacheKey,
        limits: Limits,
        say: Callable[[str], None],
    ) -> None:
        mapped = claim()
        self.folder = mapped.claim.folder
        self._claim = claim
        self.filling = True
        self.damaged = 0
        self._mapped: _Mapped | None = mapped
        self._shape, self._row_bytes = key.shape, key.row_bytes
        self._limits, self._say = limits, say
        self._lock = threading.Lock()
        self._credit = 0  # bytes that may be written before room is counted again
        self._row_cost = bytes_of_row(key.row_bytes)
        self._full_bytes = key.num_rows * (key.row_bytes + SUM_BYTES) + 2 * self._row_cost

    @classmethod
    def open(
        cls,
        root: Path | None,
        key: CacheKey,
        *,
        images_root: str | Path,
        max_bytes: int | None = None,
        keep_free_bytes: int | None = None,
        say: Callable[[str], None] = warn,
    ) -> Self | None:
        """Return the cache of `key`; None, said once, where it cannot be kept.

        Args:
            root: The folder of all that is kept; None takes `cache_root()`.
            key: What the pixels depend on; also how many rows of which shape.
            images_root: Where the images are, for people who look at the list.
            max_bytes: What all caches together may take on the disk; None takes
                `cache_max_bytes()`. Others that nobody has open make room, the least recently
                used first.
            keep_free_bytes: What stays free on the disk; None keeps 2 GiB, or 5 % where that is
                less.
            say: Takes the one sentence that says why images are not kept. By default it becomes
                a `CacheWarning`.

        Raises:
            ValueError: A limit is negative.
            SetupError: SIGHTLINE_CACHE_GB is no number.
        """
        limits = Limits(cache_max_bytes() if max_bytes is None else max_bytes, keep_free_bytes)
        shown = os.fsencode(images_root).decode(errors="replace")

        def claim() -> _Mapped:
            return _Mapped.of(
                places.claim(root or places.cache_root(), key, images_root=shown), key
            )

        try:
            cache = cls(claim, key, limits, say)
        except (OSError, SetupError) as error:
            say(
                f"decoded images cannot be kept: {_why(error)}. They are decoded anew in every "
                "epoch. Name a folder that you may write to: cache=..., or SIGHTLINE_CACHE."
            )
            return None
        sweep(cache.folder.parent)
        return cache

    @property
    def rows(self) -> Pixels:
        """All rows, (n, H, W, C) uint8, mapped and read-only; only those `check` found count.

        They stay readable after `close`.
        """
        return self._open().rows

    def present(self, rows: Rows) -> npt.NDArray[np.bool_]:
        """Return which rows were written, (N,) bool, without looking at their pixels.

        Args:
            rows: (N,) int64.

        Raises:
            IndexError: There is no such row.
        """
        there: npt.NDArray[np.bool_] = self._sums_of(self._open(), rows) != _ABSENT
        return there

    def check(self, rows: Rows) -> npt.NDArray[np.bool_]:
        """Return which rows are there and whole, (N,) bool; a damaged one is given up.

        The pixels are in the processor's cache afterwards: use them before the next slice.

        Args:
            rows: (N,) int64; best a slice that fits into that cache, about 1 MB.

        Raises:
            IndexError: There is no such row.
        """
        mapped, size = self._open(), self._row_bytes
        flat = mapped.flat
        sums = self._sums_of(mapped, rows).tolist()
        whole = np.zeros(len(rows), np.bool_)
        for place, row in enumerate(rows.tolist()):
            promised = sums[place]
            if promised == _ABSENT:
                continue
            begin = row * size
            # The one-shot digest keeps the GIL, for 2 to 8 microseconds a row of 45 kB. An object
            # would release it at every row, and wait for a busy Python thread to give it back:
            # 500 to 1,100 microseconds a row, measured beside one that only counts.
            if (xxh3_64_intdigest(flat[begin : begin + size], row) or 1) == promised:
                whole[place] = True
            else:
                whole[place] = self._is_whole_after_all(mapped, row)
        return whole

    def read(self, row: int) -> Pixels | None:
        """Return one row, (H, W, C) uint8, read-only; None where it is absent or damaged.

        Raises:
            IndexError: There is no such row.
        """
        return self.rows[row] if self.check(np.asarray([row], np.int64))[0] else None

    def prefetch(self, rows: Rows) -> None:
        """Ask the system to read rows from the disk in the background; returns at once.

        Worth it ahead of `check` where the caches are larger than the memory: a mapping alone
        would wait for the disk page by page.

        Args:
            rows: (N,) int64.

        Raises:
            IndexError: There is no such row.
        """
        mapped, size = self._open(), self._row_bytes
        for row in rows[self._sums_of(mapped, rows) != _ABSENT].tolist():
            begin = row * size // mmap.PAGESIZE * mmap.PAGESIZE
            mapped.memory.madvise(mmap.MADV_WILLNEED, begin, (row + 1) * size - begin)

    def write(self, row: int, image: Pixels) -> None:
        """Keep one decoded image; where that is not possible any more, say so once and go on.

        Args:
            row: Its row.
            image: (H, W, C) uint8.

        Raises:
            ValueError: The image has another shape or type, or the cache is closed.
            IndexError: There is no such row.
        """
        mapped = self._open()
        if image.shape != self._shape or image.dtype != np.uint8:
            raise ValueError(
                f"an image of this cache is {self._shape} uint8, got {image.shape} {image.dtype}"
            )
        if not 0 <= row < len(mapped.sums):
            raise IndexError(f"the cache has rows 0..{len(mapped.sums) - 1}, got {row}")
        if not self.filling:
            return
        content = np.ascontiguousarray(image).reshape(-1).data
        checksum = xxh3_64_intdigest(content, row) or 1
        try:
            if not self._may_write(mapped.claim):
                return
            # Not through the mapping: there, a full disk would end the process with SIGBUS.
            _write_at(mapped.claim.rows.number, content, row * self._row_bytes)
            _write_sum(mapped.claim, row, checksum)
        except OSError as error:
            self._stop(_why(error))

    def close(self) -> None:
        """Let go of the files; arrays that were handed out stay readable."""
        self._mapped = None

    def reopen(self) -> bool:
        """Take the files again after `close`; False, said once, where that is not possible."""
        if self._mapped is None:
            try:
                self._mapped = self._claim()
            except (OSError, SetupError) as error:
                self._stop(_why(error))
                return False
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _open(self) -> _Mapped:
        mapped = self._mapped
        if mapped is None:
            raise ValueError(f"the cache {self.folder} is closed. Open it again.")
        return mapped

    def _sums_of(self, mapped: _Mapped, rows: Rows) -> npt.NDArray[np.uint64]:
        if len(rows) and rows.min() < 0:
            raise IndexError(f"rows count from 0, got {rows.min()}")
        return mapped.sums[rows]

    def _is_whole_after_all(self, mapped: _Mapped, row: int) -> bool:
        """Look once more, since another process may just have mended the row; else give it up."""
        promised = int(mapped.sums[row])
        if promised == _ABSENT:
            return False
        begin = row * self._row_bytes
        pixels = mapped.flat[begin : begin + self._row_bytes]
        if (xxh3_64_intdigest(pixels, row) or 1) == promised:
            return True
        with self._lock:
            self.damaged += 1
        try:
            _write_sum(mapped.claim, row, _ABSENT)
        except OSError as error:
            self._stop(_why(error))
        return False

    def _may_write(self, claim: Claim) -> bool:
        """Take one row off the credit, which is counted anew when it is used up.

        Raises:
            OSError: The folder is gone or cannot be read.
        """
        with self._lock:
            reason = ""
            if self._credit < self._row_cost:
                self._credit, reason = room_for(
                    claim, self._full_bytes, self._row_cost, self._limits
                )
            if self._credit >= self._row_cost:
                self._credit -= self._row_cost
                return True
        self._stop(reason)
        return False

    def _stop(self, reason: str) -> None:
        """Take no more rows, and say why, once."""
        with self._lock:
            was_filling, self.filling = self.filling, False
        if was_filling:
            self._say(
                f"no more decoded images are kept in {self.folder}: {reason}. Those that are "
                "missing are decoded anew in every epoch. Make room (`sightline cache` lists "
                "what is kept), name a folder on a larger disk (cache=..., or SIGHTLINE_CACHE), "
                "or allow more (SIGHTLINE_CACHE_GB)."
            )


def _write_at(descriptor: int, content: memoryview, begin: int) -> None:
    """Write all of `content`; the system may take it in parts.

    Raises:
        OSError: The disk is full, a limit is reached, or the disk failed.
    """
    written = os.pwrite(descriptor, content, begin)
    while written < len(content):
        written += os.pwrite(descriptor, content[written:], begin + written)


def _write_sum(claim: Claim, row: int, checksum: int) -> None:
    """Write one sum: eight aligned bytes, which no reader can see half of.

    Raises:
        OSError: As for a row.
    """
    value = memoryview(checksum.to_bytes(SUM_BYTES, sys.byteorder))
    _write_at(claim.sums.number, value, row * SUM_BYTES)


def _why(error: Exception) -> str:
    if not isinstance(error, OSError):
        return str(error).rstrip(".")
    reason = error.strerror or type(error).__name__
    return f"{reason} ({error.filename})" if error.filename else reason
