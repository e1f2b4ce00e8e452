"""Google's grain: shuffle, a random map in its threads, batch."""

from __future__ import annotations

from typing import Any

import cv2
import grain
import numpy as np
from benchmarks.stream.contenders import picture
from benchmarks.stream.workload import BATCH, Epoch, Work, labelled_files

Pair = tuple[Any, int]


class _Change(grain.transforms.RandomMap):
    def random_map(self, element: Pair, rng: np.random.Generator) -> Pair:
        return picture.change(picture.read(element[0]), rng), element[1]


def build(work: Work) -> Epoch:
    """Threads: its worker processes were half as fast on so few cores."""
    cv2.setNumThreads(0)
    paths, labels = labelled_files(work.folder)
    files = grain.MapDataset.source(list(zip(paths, labels, strict=True)))
    options = grain.ReadOptions(num_threads=work.threads, prefetch_buffer_size=2 * BATCH)

    def epoch(number: int) -> Any:
        pictures = files.seed(number).shuffle().random_map(_Change())
        return pictures.to_iter_dataset(options).batch(BATCH)

    return epoch
