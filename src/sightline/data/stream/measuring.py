"""The mean and deviation of a split's colours, for scaling="mean-std"."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import numpy.typing as npt

from sightline.data.stream.config import StreamConfig
from sightline.data.stream.loader import Stream
from sightline.errors import DataError
from sightline.records import Manifest, RecordIndex, Split


def measure_scaling(
    manifest: Manifest | RecordIndex, *, split: Split | None = "train", config: StreamConfig
) -> StreamConfig:
    """Return `config` with scaling "mean-std" and the mean and deviation of each channel.

    Every image of the split is looked at once, at the size, channels and quality of `config` and
    without augmentation. The sums are whole numbers, so the result is exact and the same for any
    number of threads. Alpha is left as it is (mean 0, deviation 1). Files that cannot be read do
    not count. A channel that never varies gets deviation 1 / 255.

    Args:
        manifest: The images.
        split: Which part: the one that is trained on, so that nothing is learned from others.
        config: How they will be streamed.

    Raises:
        DataError: As `Stream`; or no image of the split could be read.
    """
    plain = dataclasses.replace(
        config,
        shuffle=False,
        sampling="all",
        augment=None,
        scaling="none",
        mean=(),
        std=(),
        dtype="uint8",
        layout="channels-last",
    )
    levels = np.zeros((config.channels, 256), np.int64)
    with Stream(manifest, split=split, config=plain) as stream:
        for batch in stream.epoch(0):
            pixels = batch.images[batch.weights > 0]
            for channel in range(config.channels):
                found = pixels[..., channel].reshape(-1)
                levels[channel] += np.bincount(found, minlength=256)
    if not levels.any():
        raise DataError(f"no image of split {split!r} could be read, so nothing was measured.")
    measured = [_mean_and_std(each) for each in levels[:3]]
    if config.channels == 4:
        measured.append((0.0, 1.0))
    mean, std = zip(*measured, strict=True)
    return dataclasses.replace(config, scaling="mean-std", mean=mean, std=std)


def _mean_and_std(levels: npt.NDArray[np.int64]) -> tuple[float, float]:
    """Return mean and deviation on 0..1 of a channel, from how often each of 256 levels occurs."""
    # Python's whole numbers, because a difference of large floats would make up a deviation.
    counts = levels.tolist()
    count = sum(counts)
    total = sum(level * times for level, times in enumerate(counts))
    squares = sum(level**2 * times for level, times in enumerate(counts))
    deviation = math.sqrt(count * squares - total**2) / count
    return total / count / 255, (deviation or 1) / 255
