"""Sightline, by its public face alone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.stream.workload import BATCH, ROTATION, SHEAR, SHIFT, SIZE, ZOOM, Epoch, Work

import sightline as sl
from sightline.recipes import AugmentSection

AUGMENT = AugmentSection(
    rotation=ROTATION,
    width_shift=SHIFT,
    height_shift=SHIFT,
    shear=SHEAR,
    zoom=ZOOM,
    horizontal_flip=True,
)


def uncached(work: Work) -> Epoch:
    """Decode anew each epoch."""
    return _epochs(_open(sl.scan(work.folder), work, None))


def cached(work: Work) -> Epoch:
    """Decode in the first epoch, into a cache of its own."""
    return _epochs(_open(sl.scan(work.folder), work, work.scratch / "cache"))


def filling(work: Work) -> Epoch:
    """Every epoch is a first one: a new stream, a new cache, the last one's removed."""
    manifest = sl.scan(work.folder)

    def epoch(number: int) -> Iterator[tuple[Any, Any]]:
        cache = work.scratch / str(number)
        with _open(manifest, work, cache) as stream:
            yield from _epochs(stream)(number)
        shutil.rmtree(cache)  # at once, or the disk would be busy with it during others' turns

    return epoch


def _open(manifest: sl.Manifest, work: Work, cache: Path | None) -> sl.Stream:
    config = sl.StreamConfig(
        image_size=SIZE,
        batch_size=BATCH,
        shuffle=True,
        augment=AUGMENT if work.augment else None,
        quality="fast",
        cache=cache,
        num_threads=work.threads,
        seed=0,
    )
    return sl.Stream(manifest, split=None, config=config)


def _epochs(stream: sl.Stream) -> Epoch:
    return lambda number: ((batch.images, batch.labels) for batch in stream.epoch(number))
