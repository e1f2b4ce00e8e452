"""The mapped index: what a stream needs of a manifest, readable without opening the table.

One `.npy` file, a flat uint8 array, mapped read-only: a million records cost no memory until
they are touched. Layout after the .npy header, every section 8-byte aligned:

    magic "SLINDEX1" | rows n | bytes of description | bytes of names      (uint64 each)
    offsets (n+1) uint64 | labels n int32 | weights n float32 | splits n uint8 | description | names

`description` is JSON: root and class names. `names` are the record ids end to end, UTF-8.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sightline.errors import DataError
from sightline.records.splitnames import SPLITS, Split

_MAGIC = np.frombuffer(b"SLINDEX1", np.uint64)[0]
NO_SPLIT = 255  # in `splits`: assigned to none, or set aside as unusable


@dataclass(frozen=True, slots=True)
class RecordIndex:
    """The rows of a manifest as flat arrays.

    Attributes:
        root: Folder that record ids are relative to.
        class_names: The K classes; `labels` points into them.
        names: Record ids end to end, (bytes,) uint8.
        offsets: (n+1,) uint64 where each id begins and ends in `names`.
        labels: (n,) int32; -1 without a label.
        weights: (n,) float32 sample weights.
        splits: (n,) uint8 positions in SPLITS; 255 = none.
    """

    root: Path
    class_names: tuple[str, ...]
    names: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.uint64]
    labels: npt.NDArray[np.int32]
    weights: npt.NDArray[np.float32]
    splits: npt.NDArray[np.uint8]

    @classmethod
    def build(
        cls,
        root: Path,
        class_names: Sequence[str],
        record_ids: Sequence[str],
        labels: npt.NDArray[np.int32],
        weights: npt.NDArray[np.float32],
        splits: npt.NDArray[np.uint8],
    ) -> RecordIndex:
        """Return the index of these columns, in the order given."""
        encoded = [record_id.encode() for record_id in record_ids]
        offsets = np.zeros(len(encoded) + 1, np.uint64)
        np.cumsum([len(name) for name in encoded], out=offsets[1:])
        names = np.frombuffer(b"".join(encoded), np.uint8)
        return cls(root, tuple(class_names), names, offsets, labels, weights, splits)

    def __len__(self) -> int:
        return len(self.labels)

    def record_id(self, row: int) -> str:
        """Return the id of one row: its posix path relative to the root."""
        begin, end = int(self.offsets[row]), int(self.offsets[row + 1])
        return self.names[begin:end].tobytes().decode()

    def path(self, row: int) -> str:
        """Return where the file of one row is."""
        return f"{self.root}/{self.record_id(row)}"

    def rows_of(self, split: Split | None) -> npt.NDArray[np.int64]:
        """Return the rows of one split in manifest order; None returns every row.

        Raises:
            ValueError: There is no split of that name.
        """
        if split is None:
            return np.arange(len(self), dtype=np.int64)
        if split not in SPLITS:
            raise ValueError(f"split must be one of {SPLITS} or None, got {split!r}")
        return np.flatnonzero(self.splits == SPLITS.index(split)).astype(np.int64)

    def write(self, path: Path) -> None:
        """Write the index to `path` (the caller makes the write atomic)."""
        description = {"root": str(self.root), "class_names": list(self.class_names)}
        blob = np.frombuffer(json.dumps(description).encode(), np.uint8)
        head = np.asarray([_MAGIC, len(self), len(blob), len(self.names)], np.uint64)
        sections: list[npt.NDArray[np.generic]] = [
            head, self.offsets, self.labels, self.weights, self.splits, blob, self.names,
        ]  # fmt: skip
        padded = []
        for section in sections:
            flat = np.ascontiguousarray(section).view(np.uint8)
            padded.append(np.pad(flat, (0, -len(flat) % 8)))
        with path.open("wb") as file:
            np.lib.format.write_array(file, np.concatenate(padded), allow_pickle=False)

    @classmethod
    def open(cls, path: Path) -> RecordIndex:
        """Map the index at `path`; nothing is read until it is used.

        Raises:
            DataError: The file is not a Sightline index, or it is cut short.
        """
        try:
            flat = np.load(path, mmap_mode="r", allow_pickle=False)
            magic, rows, described, named = (int(v) for v in flat[:32].view(np.uint64))
        except (OSError, ValueError, EOFError, LookupError, TypeError) as error:
            raise DataError(
                f"{path} cannot be read as an index: {error}. Scan the images again."
            ) from error
        if magic != int(_MAGIC):
            raise DataError(f"{path} is not a Sightline index. Scan the images again.")
        sizes = (8 * (rows + 1), 4 * rows, 4 * rows, rows, described, named)
        begins = [32]
        for size in sizes:
            begins.append(begins[-1] + size + -size % 8)
        if len(flat) != begins[-1]:
            raise DataError(
                f"{path} holds {len(flat):,} bytes where its header promises {begins[-1]:,}: "
                "it is cut short. Scan the images again."
            )
        parts = [flat[b : b + size] for b, size in zip(begins, sizes, strict=False)]
        description = json.loads(parts[4].tobytes())
        return cls(
            Path(description["root"]),
            tuple(description["class_names"]),
            parts[5],
            parts[0].view(np.uint64),
            parts[1].view(np.int32),
            parts[2].view(np.float32),
            parts[3],
        )
