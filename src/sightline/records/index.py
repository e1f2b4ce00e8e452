"""The mapped index: what a stream needs of a manifest, readable without opening the table.

One `.npy` file, a flat uint8 array, mapped read-only: a million records cost no memory until
they are touched. Behind the .npy header, everything 8-byte aligned and little-endian:

    magic "SLINDEX2" | bytes of the description (uint64) | description | one section a field

The description is JSON: root, class names, content digest, where each split begins, and a table
of sections: name -> [dtype, begin (bytes, from the first section), count].
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from sightline.errors import DataError
from sightline.records.splitnames import SPLITS, Split

NO_SPLIT = 255  # in `splits`: assigned to none, or set aside as unusable

_MAGIC, _EARLIER = b"SLINDEX2", b"SLINDEX1"
_ALIGNED = 8  # bytes
_REQUIRED = {
    "names": ("|u1",),
    "offsets": ("<u4", "<u8"),
    "labels": ("<i4",),
    "weights": ("<f4",),
    "splits": ("|u1",),
    "by_split": ("<u4",),
}
_OPTIONAL = {"sizes": ("<i8",), "mtimes": ("<i8",), "begins": ("<i8",)}
# The rows of the split external come last, and have a bound only where there are any: files
# without them are the same, byte for byte, as before there was such a split.
_GROUPS = (0, 1, 2, NO_SPLIT, SPLITS.index("external"))
_ROWS_AT_ONCE = 1 << 16

Offsets = npt.NDArray[np.uint32] | npt.NDArray[np.uint64]
_Array = npt.NDArray[Any]


class Location(NamedTuple):
    """Where the bytes of one record are.

    Attributes:
        path: The file; for a record in an archive, the archive.
        begin: Offset in bytes inside the archive; -1 for a file of its own.
        size: Bytes; -1 where it is not known.
        mtime_ns: Time of the file's last change, nanoseconds; -1 where it is not known.
    """

    path: str
    begin: int
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True, eq=False)
class RecordIndex:
    """The rows of a manifest as flat arrays, all of them read-only when mapped from a file.

    `make` works out the two fields that follow from the others.

    Attributes:
        root: Folder that record ids are relative to.
        class_names: The K classes; `labels` points into them.
        names: Record ids end to end, UTF-8, (bytes,) uint8.
        offsets: (n+1,) where each id begins and ends in `names`; uint32, or uint64 where the
            names take 4 GiB or more.
        labels: (n,) int32; -1 without a label.
        weights: (n,) float32 sample weights.
        splits: (n,) uint8 positions in SPLITS; 255 = none.
        by_split: (n,) uint32 rows of train, then validation, test, none and external, ascending
            in each.
        bounds: Where each of these begins in `by_split`, and n: (6,), or (5,) where no row is in
            external.
        sizes: (n,) int64 bytes of each record's data, -1 = not known; None: none is known.
        mtimes: (n,) int64 nanoseconds, -1 = not known; None: none is known.
        begins: (n,) int64 offset of the data in an archive, -1 = a file of its own; None: every
            record is a file of its own.
        content_digest: sha256 of all contents in order; None where a content is not known.
        pixels: (n, H, W, C) uint8, or float32 of any range that is already at its size, where the
            records are rows of an array instead of files; never written to the index file.
    """

    root: Path
    class_names: tuple[str, ...]
    names: npt.NDArray[np.uint8]
    offsets: Offsets
    labels: npt.NDArray[np.int32]
    weights: npt.NDArray[np.float32]
    splits: npt.NDArray[np.uint8]
    by_split: npt.NDArray[np.uint32]
    bounds: tuple[int, ...]
    sizes: npt.NDArray[np.int64] | None = None
    mtimes: npt.NDArray[np.int64] | None = None
    begins: npt.NDArray[np.int64] | None = None
    content_digest: str | None = None
    pixels: npt.NDArray[np.uint8] | npt.NDArray[np.float32] | None = None

    @classmethod
    def make(
        cls,
        root: Path,
        class_names: Sequence[str],
        names: npt.NDArray[np.uint8],
        offsets: Offsets,
        labels: npt.NDArray[np.int32],
        *,
        weights: npt.NDArray[np.float32] | None = None,
        splits: npt.NDArray[np.uint8] | None = None,
        **known: Any,
    ) -> Self:
        """Return the index of these columns, in the order given.

        Args:
            root: Folder that record ids are relative to.
            class_names: What `labels` points into.
            names: Record ids end to end.
            offsets: (n+1,) where each id begins and ends.
            labels: (n,) int32.
            weights: (n,) float32; by default 1 each.
            splits: (n,) uint8; by default no record has a split.
            **known: `sizes`, `mtimes`, `begins`, `content_digest`, `pixels`, where they are.
        """
        rows = len(labels)
        weights = np.ones(rows, np.float32) if weights is None else weights
        splits = np.full(rows, NO_SPLIT, np.uint8) if splits is None else splits
        by_split, bounds = _group(splits)
        return cls(
            root, tuple(class_names), names, offsets, labels, weights, splits, by_split, bounds,
            **known,
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.labels)

    def record_id(self, row: int) -> str:
        """Return the id of one row: its posix path relative to the root."""
        begin, end = int(self.offsets[row]), int(self.offsets[row + 1])
        return self.names[begin:end].tobytes().decode()

    def path(self, row: int) -> str:
        """Return which file one row is in; for a record in an archive, the archive."""
        record_id = self.record_id(row)
        if _value(self.begins, row) >= 0:
            record_id = archive_of(record_id)
        return f"{str(self.root).rstrip('/')}/{record_id}"

    def location(self, row: int) -> Location:
        """Return where the bytes of one row are."""
        return Location(
            self.path(row),
            _value(self.begins, row),
            _value(self.sizes, row),
            _value(self.mtimes, row),
        )

    def rows_of(self, split: Split | None) -> npt.NDArray[np.uint32]:
        """Return the rows of one split, ascending; None returns every row.

        A read-only view of `by_split`, so it costs no memory a row. Every row of an index with
        several splits is the exception: an array of its own, 4 bytes a row.

        Raises:
            ValueError: There is no split of that name.
        """
        if split is None:
            grouped = max(np.diff(self.bounds)) == len(self)  # one group: ascending as it stands
            rows = self.by_split[:] if grouped else np.arange(len(self), dtype=np.uint32)
        elif split in SPLITS:
            place = _GROUPS.index(SPLITS.index(split))
            begin, end = (*self.bounds[place:], len(self), len(self))[:2]
            rows = self.by_split[begin:end]
        else:
            raise ValueError(f"split must be one of {SPLITS} or None, got {split!r}")
        rows.flags.writeable = False
        return rows

    def fingerprint(self) -> str | None:
        """Return the sha256 of what the pixels of each row depend on; None if it is not known.

        Made of the contents where every one is known, and then the same wherever the files lie;
        else of root, names, places, sizes and times, all of which must be known.
        """
        if self.content_digest is not None:
            return hashlib.sha256(f"contents {self.content_digest}".encode()).hexdigest()
        if not _complete(self.sizes) or not _complete(self.mtimes):
            return None
        about = [str(self.root), len(self), len(self.names), self.begins is not None]
        digest = hashlib.sha256(json.dumps(about).encode())
        for section in (self.names, self.offsets, self.sizes, self.mtimes, self.begins):
            if section is not None and len(section):
                digest.update(np.ascontiguousarray(section).data)
        return digest.hexdigest()

    def write(self, path: Path) -> None:
        """Write the index to `path`, section by section (the caller makes the write atomic)."""
        sections = {
            name: array
            for name in (*_REQUIRED, *_OPTIONAL)
            if (array := getattr(self, name)) is not None
        }
        table, end = {}, 0
        for name, array in sections.items():
            table[name] = [array.dtype.str, end, len(array)]
            end += _padded(array.nbytes)
        description = {
            "root": str(self.root),
            "class_names": list(self.class_names),
            "content_digest": self.content_digest,
            "bounds": list(self.bounds),
            "sections": table,
        }
        blob = json.dumps(description).encode()
        head = _MAGIC + len(blob).to_bytes(_ALIGNED, "little")
        shape = (len(head) + _padded(len(blob)) + end,)
        with path.open("wb") as file:
            np.lib.format.write_array_header_1_0(
                file, {"descr": "|u1", "fortran_order": False, "shape": shape}
            )
            _write_padded(file, head)
            _write_padded(file, blob)
            for array in sections.values():
                _write_padded(file, np.ascontiguousarray(array))

    @classmethod
    def open(cls, path: Path) -> Self:
        """Map the index at `path`; nothing but its description is read until it is used.

        Raises:
            DataError: The file is not a Sightline index, of an earlier form, or cut short.
        """
        again = "Scan the images again."
        try:
            # A path that is an archive of arrays gives none by itself: hence asarray.
            flat = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False)).view(np.ndarray)
        except (OSError, ValueError, EOFError, TypeError) as error:
            raise DataError(f"{path} cannot be read as an index: {error}. {again}") from error
        magic = flat[: len(_MAGIC)].tobytes() if flat.dtype == np.uint8 and flat.ndim == 1 else b""
        if magic == _EARLIER:
            raise DataError(f"{path} is an index of an earlier Sightline. {again}")
        if magic != _MAGIC:
            raise DataError(f"{path} is not a Sightline index. {again}")
        try:
            return cls._mapped(flat)
        except (KeyError, TypeError, ValueError, LookupError) as error:
            raise DataError(f"{path} is damaged: {error}. {again}") from error

    @classmethod
    def _mapped(cls, flat: npt.NDArray[np.uint8]) -> Self:
        """Return the index in a file's bytes.

        Raises:
            KeyError, TypeError, ValueError: The bytes are not what `write` wrote.
        """
        head = 2 * _ALIGNED
        described = int.from_bytes(flat[_ALIGNED:head].tobytes(), "little")
        about = json.loads(flat[head : head + described].tobytes())
        body = flat[head + _padded(described) :]
        table = about["sections"]
        end = sum(_padded(np.dtype(kind).itemsize * count) for kind, _, count in table.values())
        if len(body) != end:
            raise ValueError(
                f"it holds {len(body):,} bytes where its header promises {end:,}: it is cut short"
            )
        fields = dict(_sections(body, table))
        bounds = tuple(int(bound) for bound in about["bounds"])
        if len(bounds) not in (len(_GROUPS), len(_GROUPS) + 1) or bounds[-1] != len(
            fields["labels"]
        ):
            raise ValueError(f"it has the bounds {bounds} for {len(fields['labels']):,} rows")
        return cls(
            root=Path(about["root"]),
            class_names=tuple(about["class_names"]),
            bounds=bounds,
            content_digest=about["content_digest"],
            **fields,
        )


def archive_of(record_id: str) -> str:
    """Return the part of a record id that names its archive: up to the first `.tar`."""
    parts = record_id.split("/")
    for place, part in enumerate(parts):
        if part.lower().endswith(".tar"):
            return "/".join(parts[: place + 1])
    return record_id


def empty_offsets(rows: int, names_bytes: int) -> Offsets:
    """Return (rows + 1,) zeros, wide enough to point into names of so many bytes."""
    if names_bytes < 1 << 32:
        return np.zeros(rows + 1, np.uint32)
    return np.zeros(rows + 1, np.uint64)


def _group(splits: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.uint32], tuple[int, ...]]:
    """Return the rows by split and where each split begins; 4 bytes a row, no more."""
    counts = np.bincount(splits, minlength=NO_SPLIT + 1)[list(_GROUPS)]
    bounds = (0, *(int(bound) for bound in np.cumsum(counts)))
    rows = np.empty(len(splits), np.uint32)
    filled = list(bounds[:-1])
    for begin in range(0, len(splits), _ROWS_AT_ONCE):
        part = splits[begin : begin + _ROWS_AT_ONCE]
        for place, group in enumerate(_GROUPS):
            found = np.flatnonzero(part == group)
            rows[filled[place] : filled[place] + len(found)] = found + begin
            filled[place] += len(found)
    return rows, bounds if counts[-1] else bounds[:-1]


def _sections(
    body: npt.NDArray[np.uint8], table: Mapping[str, Sequence[Any]]
) -> Iterator[tuple[str, _Array]]:
    """Yield each section as an array of its dtype."""
    rows = int(table["labels"][2])
    lengths = {"names": int(table["names"][2]), "offsets": rows + 1}
    for name, kinds in {**_REQUIRED, **_OPTIONAL}.items():
        if name in _OPTIONAL and name not in table:
            continue
        kind, begin, count = table[name]
        if kind not in kinds or count != lengths.get(name, rows) or begin % _ALIGNED:
            raise ValueError(f"its section {name!r} is {[kind, begin, count]} for {rows:,} rows")
        yield name, body[begin : begin + count * np.dtype(kind).itemsize].view(kind)


def _value(column: npt.NDArray[np.int64] | None, row: int) -> int:
    return -1 if column is None else int(column[row])


def _complete(column: npt.NDArray[np.int64] | None) -> bool:
    return column is not None and int(column.min(initial=0)) >= 0


def _padded(size: int) -> int:
    return size + -size % _ALIGNED


def _write_padded(file: BinaryIO, content: bytes | _Array) -> None:
    size = len(content) if isinstance(content, bytes) else content.nbytes
    file.write(content if isinstance(content, bytes) else content.data)
    file.write(bytes(-size % _ALIGNED))
