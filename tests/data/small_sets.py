"""Small sets of pictures to stream, and ways to read and compare batches."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sightline.data.stream import Stream, StreamConfig
from sightline.recipes import AugmentSection
from sightline.records import Batch, Manifest, RecordIndex

SIZE = (6, 8)
LABELS = ("ape", "bee", "cow")
NUM_TRAIN, NUM_VALIDATION = 23, 5
COUNT = NUM_TRAIN + NUM_VALIDATION
MOVES = AugmentSection(
    rotation=20, width_shift=0.2, height_shift=0.2, shear=3, zoom=0.2, horizontal_flip=True
)
CHANGES = MOVES.model_copy(update={"brightness": 0.3, "channel_shift": 25.0})
LENIENT = {"max_fault_share": 1.0}

Bytes = dict[int, tuple[bytes, ...]]


def write_picture(path: Path, number: int) -> None:
    """Write a picture of its own size and pixels: colour PNG, grey PNG or JPEG in turn."""
    rng = np.random.default_rng(number)
    pixels = rng.integers(0, 256, (5 + number % 7, 6 + number % 5, 3)).astype(np.uint8)
    image = Image.fromarray(pixels)
    (image.convert("L") if number % 3 == 1 else image).save(path, quality=95)


def manifest_below(root: Path, **columns: list[Any]) -> Manifest:
    """Return 23 train and 5 validation records of three classes; their files need not exist."""
    names = [f"{n:02d}.{'jpg' if n % 3 == 2 else 'png'}" for n in range(COUNT)]
    splits = ["validation" if n % 5 == 4 else "train" for n in range(COUNT)]
    labels = [LABELS[n % 3] for n in range(COUNT)]
    return Manifest.make(root, {"record_id": names, "label": labels, "split": splits, **columns})


def write_pictures(root: Path) -> Manifest:
    """Write the files of `manifest_below` and return it."""
    made = manifest_below(root)
    for number, record_id in enumerate(made.table["record_id"]):
        write_picture(root / record_id, number)
    return made


def scanned(manifest: Manifest, **columns: list[Any]) -> Manifest:
    """Return the manifest with the sizes and times that its files have now."""
    found = [(manifest.root / name).stat() for name in manifest.table["record_id"]]
    return manifest_below(
        manifest.root,
        bytes=[one.st_size for one in found],
        mtime_ns=[one.st_mtime_ns for one in found],
        **columns,
    )


def path_of(manifest: Manifest, row: int) -> Path:
    return manifest.root / str(manifest.table["record_id"][row])


@contextmanager
def without_files(manifest: Manifest) -> Iterator[None]:
    """Take the pictures away for a while: then only what is kept can be served."""
    away = manifest.root.with_name("away")
    manifest.root.rename(away)
    try:
        yield
    finally:
        away.rename(manifest.root)


def config(**changes: Any) -> StreamConfig:
    return StreamConfig(**{"image_size": SIZE, "batch_size": 4, "num_threads": 2, **changes})


def train_stream(manifest: Manifest | RecordIndex, **changes: Any) -> Stream:
    """Return a shuffled and augmented stream of the training records."""
    settings = {"shuffle": True, "augment": MOVES, **changes}
    return Stream(manifest, split="train", config=config(**settings))


def read(stream: Stream, epoch: int = 0) -> list[Batch]:
    """Return the batches of one epoch; the stream is closed then."""
    with stream:
        return list(stream.epoch(epoch))


def row_bytes(batches: Iterable[Batch]) -> Bytes:
    """Return everything that is known of each record, by its row."""
    return {
        row: tuple(
            getattr(batch, name)[place].tobytes()
            for name in ("images", "labels", "targets", "weights")
        )
        for batch in batches
        for place, row in enumerate(batch.rows.tolist())
    }


def batch_bytes(batches: Iterable[Batch]) -> list[tuple[bytes, ...]]:
    """Return everything that is known of each batch."""
    names = ("images", "labels", "targets", "weights", "rows")
    return [tuple(getattr(batch, name).tobytes() for name in names) for batch in batches]


def digest(batches: Iterable[Batch]) -> str:
    """Return the sha256 of everything that batches hold, in order."""
    found = hashlib.sha256()
    for batch in batch_bytes(batches):
        for part in batch:
            found.update(part)
    return found.hexdigest()


def two_epochs(stream: Stream) -> str:
    """Return the sha256 of epochs 0 and 1; the stream is closed then."""
    with stream:
        return digest(batch for epoch in (0, 1) for batch in stream.epoch(epoch))


def rows_of(batches: Iterable[Batch]) -> list[int]:
    return [row for batch in batches for row in batch.rows.tolist()]


def own_threads() -> list[str]:
    """Return the names of the streams' threads that are alive."""
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name.startswith("sightline-stream")]
