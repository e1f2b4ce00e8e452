"""Pictures by their numbers, through the stream's engine: the same decoding, cache and kernel."""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from sightline.data.sources.walk import is_utf8
from sightline.data.stream import StreamConfig, cache_root
from sightline.data.stream.augment import Changes
from sightline.data.stream.engine import Engine, finish
from sightline.data.stream.filling import After, Making
from sightline.errors import SetupError
from sightline.recipes import AugmentSection
from sightline.records import RecordIndex
from sightline.records.columns import join_names

Array = npt.NDArray[Any]

_MOST_ENGINES = 3


@dataclass(frozen=True, slots=True)
class Finish:
    """What the kernel does besides moving pixels.

    Attributes:
        rescale: A factor above 0; 1 leaves 0..255.
        fill: What lies outside.
        fill_value: For "constant", 0..255.
    """

    rescale: float = 1.0
    fill: Literal["nearest", "constant", "reflect", "wrap"] = "nearest"
    fill_value: float = 0.0


class Pixels:
    """Makes batches (B, H, W, C) or (B, C, H, W) float32 of an index's pictures.

    Args:
        index: The pictures.
        config: Size, channels, layout, interpolation and batch size.
    """

    def __init__(self, index: RecordIndex, config: StreamConfig) -> None:
        self.index, self._config = index, config
        self._engines: dict[Finish, Engine] = {}
        self._lock = threading.Lock()  # programs may ask from several threads

    def start(
        self, rows: npt.NDArray[np.int64], changes: Changes, how: Finish, after: After | None
    ) -> Making:
        """Begin a batch; `wait` gives its pixels.

        Args:
            rows: (B,) numbers of pictures.
            changes: Of each.
            how: The rest of what the kernel does.
            after: Called in a thread with the images and the places that have just been filled.
        """
        weights = np.ones(len(rows), np.float32)
        with self._lock:
            if len(rows) > self._config.batch_size:  # the engines' memory is for smaller ones
                self._engines.clear()
                self._config = dataclasses.replace(self._config, batch_size=len(rows))
            engine = self._engine(how)
            return engine.start(np.asarray(rows, np.int64), weights, changes, after)

    def wait(self, making: Making) -> Array:
        """Return the images; those that could not be read are 0, see `making.faults`."""
        finish(making)
        return making.images

    def close(self) -> None:
        """End the threads and let go of the cache; both come back when they are needed."""
        for engine in self._engines.values():
            engine.close()

    def _engine(self, how: Finish) -> Engine:
        """Return the engine for this finish; only the last few are kept."""
        engine = self._engines.get(how)
        if engine is None:
            if len(self._engines) >= _MOST_ENGINES:
                self._engines.clear()
            std = 1 / (255 * how.rescale)
            channels = self._config.channels
            config = dataclasses.replace(
                self._config,
                scaling="none" if how.rescale == 1 else "mean-std",
                mean=() if how.rescale == 1 else (0.0,) * channels,
                std=() if how.rescale == 1 else (std,) * channels,
                augment=AugmentSection(fill=how.fill, fill_value=how.fill_value),
            )
            engine = Engine(self.index, config)
            self._engines[how] = engine
        engine.open()
        return engine


def index_of_files(paths: Sequence[str]) -> RecordIndex | None:
    """Return the index of files, in the order given, with what is known of them now.

    None where a name is no text: only Keras' own way reads such files.
    """
    absolute = [os.path.abspath(path) for path in paths]
    sizes, mtimes = np.full(len(paths), -1, np.int64), np.full(len(paths), -1, np.int64)
    for row, path in enumerate(absolute):
        try:
            about = os.stat(path)
        except OSError:
            continue
        sizes[row], mtimes[row] = about.st_size, about.st_mtime_ns
    if not all(is_utf8(path) for path in absolute):
        return None
    names, offsets = join_names(pl.Series([path[1:] for path in absolute], dtype=pl.String))
    labels = np.full(len(paths), -1, np.int32)
    return RecordIndex.make(Path("/"), (), names, offsets, labels, sizes=sizes, mtimes=mtimes)


def cache_of(index: RecordIndex) -> Path | None:
    """Return where decoded pictures are kept; None where nothing can say whether they changed."""
    if index.fingerprint() is None:
        return None
    try:
        return cache_root()
    except SetupError:
        return None
