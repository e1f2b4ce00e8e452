"""What a walk keeps of the images it finds: names alone, or names, sizes and times, as columns.

Both keep the images in the order of their ids while they are found. A block is a folder that
holds images itself, with everything below it: no image of another block comes between its own,
and the walk brings the blocks in ascending order.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import polars as pl

from sightline.records.index import Offsets, empty_offsets

_IDS_AT_ONCE = 1 << 16

FILES_SCHEMA = pl.Schema({"record_id": pl.String, "bytes": pl.Int64, "mtime_ns": pl.Int64})


@dataclass(slots=True)
class KeptFiles:
    """Ids, sizes and times of the images of one walk, 60 bytes each.

    Sorted while they are found, block by block or several small blocks at once, so that no more
    than a part is ever there twice.
    """

    with_stat: ClassVar[bool] = True

    _parts: list[pl.DataFrame] = field(default_factory=list)
    _pieces: list[pl.DataFrame] = field(default_factory=list)  # of the part in hand
    _ids: list[str] = field(default_factory=list)
    _sizes: array[int] = field(default_factory=lambda: array("q"))
    _mtimes: array[int] = field(default_factory=lambda: array("q"))
    _block: str | None = None

    def add(self, folder: str, names: list[str], sizes: array[int], mtimes: array[int]) -> None:
        """Keep images of one folder (see `walk.Keeper`)."""
        if not _is_in(folder, self._block):
            if self._pieces:
                self._end_part()
            self._block = folder
        prefix = _prefix(folder)
        self._ids += [prefix + name for name in names] if prefix else names
        self._sizes += sizes
        self._mtimes += mtimes
        if len(self._ids) >= _IDS_AT_ONCE:
            self._end_piece()

    def _end_piece(self) -> None:
        """Turn what was gathered into columns: a third of what Python's strings take."""
        columns = {
            "record_id": pl.Series(self._ids, dtype=pl.String),
            "bytes": np.frombuffer(self._sizes, np.int64),
            "mtime_ns": np.frombuffer(self._mtimes, np.int64),
        }
        self._pieces.append(pl.DataFrame(columns, schema=FILES_SCHEMA))
        self._ids, self._sizes, self._mtimes = [], array("q"), array("q")

    def _end_part(self) -> None:
        """End the part at the end of a block: whole blocks sorted together stay in order."""
        self._end_piece()
        self._parts.append(pl.concat(self._pieces).sort("record_id"))
        self._pieces = []

    def table(self) -> pl.DataFrame:
        """Return the columns of FILES_SCHEMA of every image, sorted by record id."""
        self._end_part()
        self._block = None
        return pl.concat(self._parts)


@dataclass(slots=True)
class KeptNames:
    """Ids of the images of one walk end to end: as many bytes as the ids have, and 4 each."""

    with_stat: ClassVar[bool] = False

    _names: bytearray = field(default_factory=bytearray)
    _lengths: array[int] = field(default_factory=lambda: array("I"))
    _pending: dict[str, str] = field(default_factory=dict)  # folder -> sorted names, NUL between
    _block: str | None = None

    def add(self, folder: str, names: list[str], *_: object) -> None:
        """Keep images of one folder (see `walk.Keeper`); without their sizes and times."""
        if not _is_in(folder, self._block):
            self._end_block()
            self._block = folder
        if folder in self._pending:
            names = [*names, *self._pending[folder].split("\0")]
        names.sort()
        self._pending[folder] = "\0".join(names)  # a third of what the single strings take

    def _end_block(self) -> None:
        if not self._pending:
            return
        if len(self._pending) == 1:
            ((folder, text),) = self._pending.items()
            prefix = _prefix(folder)
        else:
            text, prefix = "\0".join(_merged(self._pending)), ""
        encoded = np.frombuffer(text.encode(), np.uint8)
        ends = np.append(np.flatnonzero(encoded == 0), len(encoded)).astype(np.uint32)
        ends[1:] -= ends[:-1] + 1  # lengths, without the NUL
        ends += len(prefix.encode())
        self._lengths.frombytes(ends.tobytes())
        self._names += (prefix + text.replace("\0", prefix)).encode()
        self._pending = {}

    def names(self) -> tuple[npt.NDArray[np.uint8], Offsets]:
        """Return the ids end to end, (bytes,) uint8, and (n+1,) where each begins and ends.

        To be called once, when the walk is over.
        """
        self._end_block()
        offsets = empty_offsets(len(self._lengths), len(self._names))
        np.cumsum(np.frombuffer(self._lengths, np.uint32), out=offsets[1:])
        del self._lengths  # 4 bytes an image while the other columns are made
        return np.frombuffer(self._names, np.uint8), offsets


def _merged(folders: Mapping[str, str]) -> list[str]:
    """Return the ids of a block that is several folders, sorted."""
    ids: list[str] = []
    for folder, names in folders.items():
        prefix = _prefix(folder)
        ids += [prefix + name for name in names.split("\0")]
    ids.sort()
    return ids


def _prefix(folder: str) -> str:
    return f"{folder}/" if folder else ""


def _is_in(folder: str, block: str | None) -> bool:
    return block is not None and (not block or folder == block or folder.startswith(f"{block}/"))
