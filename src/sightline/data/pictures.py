"""Small pictures for reports, through the same decoding as everything else."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sightline.data import images
from sightline.data.stream import Stream, StreamConfig
from sightline.records import Location, Manifest, Picture

_SIDE = 160  # px, the longer one


def thumbnail(where: Path | Location, caption: str) -> Picture:
    """Return a file or record as a small picture of the same shape.

    Raises:
        DataError: The file cannot be read as an image.
    """
    pixels = images.load(where)
    height, width = pixels.shape[:2]
    shrink = max(height, width) / _SIDE
    if shrink > 1:
        pixels = images.resize(
            pixels, (max(1, round(height / shrink)), max(1, round(width / shrink)))
        )
    return _encode(pixels, caption)


def training_pictures(manifest: Manifest, config: StreamConfig, *, count: int) -> list[Picture]:
    """Return the first `count` training images of epoch 0 as the network will see them.

    The stream is the training's own, with 8-bit output: same order, same random changes.
    """
    shown = dataclasses.replace(config, dtype="uint8", batch_size=count, prefetch=1)
    with Stream(manifest, split="train", config=shown) as stream:
        batch = next(stream.epoch(0))
    return [
        _encode(image, stream.class_names[label])
        for image, label, weight in zip(batch.images, batch.labels, batch.weights, strict=True)
        if weight > 0
    ]


def _encode(pixels: npt.NDArray[np.uint8], caption: str) -> Picture:
    height, width = pixels.shape[:2]
    if max(height, width) < 64:  # JPEG would blur what a few pixels show
        return Picture(images.encode_png(pixels), "image/png", caption, width, height)
    return Picture(images.encode_jpeg(pixels), "image/jpeg", caption, width, height)
