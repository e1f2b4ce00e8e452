"""The mean and deviation of a split's colours, for scaling="mean-std"."""

from __future__ import annotations

import dataclasses

import numpy as np

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
    count = 0
    sums, squares = np.zeros(config.channels, np.uint64), np.zeros(config.channels, np.uint64)
    values = np.arange(256, dtype=np.uint64)
    with Stream(manifest, split=split, config=plain) as stream:
        for batch in stream.epoch(0):
            pixels = batch.images[batch.weights > 0]
            count += pixels[..., 0].size
            for channel in range(config.channels):
                seen = np.bincount(pixels[..., channel].reshape(-1), minlength=256)
                sums[channel] += seen.astype(np.uint64) @ values
                squares[channel] += seen.astype(np.uint64) @ values**2
    if not count:
        raise DataError(f"no image of split {split!r} could be read, so nothing was measured.")
    mean = sums / count / 255
    std = np.sqrt(np.maximum(squares / count / 255**2 - mean**2, 0))
    mean[3:], std[3:] = 0, 1
    return dataclasses.replace(
        config,
        scaling="mean-std",
        mean=tuple(float(value) for value in mean),
        std=tuple(float(value) or 1 / 255 for value in std),
    )
