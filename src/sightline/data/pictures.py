"""Small pictures for reports, through the same decoding as everything else."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from sightline.data import images
from sightline.data.stream import Stream, StreamConfig
from sightline.errors import DataError
from sightline.records import Location, Manifest, Picture

_SIDE = 160  # px, the longer one
_STRONGEST = 0.62  # how much a colour covers of the picture below it


def thumbnail(where: Path | Location, caption: str, *, max_side: int = _SIDE) -> Picture:
    """Return a file or record as a small picture of the same shape, upright.

    Args:
        where: The file or record.
        caption: What is to stand below it.
        max_side: Of the longer side, pixels; a smaller picture stays as it is.

    Raises:
        DataError: The file cannot be read as an image.
    """
    return encoded(images.load(where), caption, max_side=max_side)


def thumbnails(
    manifest: Manifest, record_ids: Iterable[str], *, max_side: int = _SIDE
) -> dict[str, Picture]:
    """Return small upright pictures of these records as they are on disk, by record id.

    One that cannot be read has none. The caption is the record id.
    """
    found = {}
    for record_id in record_ids:
        with contextlib.suppress(DataError):
            found[record_id] = thumbnail(manifest.locate(record_id), record_id, max_side=max_side)
    return found


def first_bytes(manifest: Manifest, record_ids: Iterable[str], *, count: int) -> dict[str, bytes]:
    """Return the first `count` bytes of these records, by record id; no more than those are read.

    A record has none where nothing can be read, or where its size is not known.
    """
    found = {}
    for record_id in record_ids:
        path, begin, size, mtime_ns = manifest.locate(record_id)
        start = Location(path, max(begin, 0), min(size, count), mtime_ns if begin >= 0 else -1)
        if size < 1:  # of a place without a size, all would be read
            continue
        with contextlib.suppress(DataError):
            found[record_id] = images.read_file(start)
    return found


def training_pictures(manifest: Manifest, config: StreamConfig, *, count: int) -> list[Picture]:
    """Return the first `count` training images of epoch 0 as the network will see them.

    The stream is the training's own, with 8-bit output: same order, same random changes.
    """
    shown = dataclasses.replace(config, dtype="uint8", batch_size=count, prefetch=1)
    with Stream(manifest, split="train", config=shown) as stream:
        batch = next(stream.epoch(0))
    return [
        encoded(image, stream.class_names[label])
        for image, label, weight in zip(batch.images, batch.labels, batch.weights, strict=True)
        if weight > 0
    ]


def overlaid_thumbnail(
    where: Path | Location,
    heat: npt.NDArray[np.float32],
    caption: str,
    *,
    max_side: int = _SIDE,
    rule_set: images.RuleSet = "sightline",
) -> Picture | None:
    """Return a file or record as a small picture with a map laid over it.

    None where it cannot be read.

    Args:
        where: The file or record.
        heat: (h, w) float32, 0..1, of the picture as `rule_set` decodes it.
        caption: What is to stand below it.
        max_side: Of the longer side, pixels; a smaller picture stays as it is.
        rule_set: As the map's picture was decoded: that of "keras" is not turned upright.
    """
    with contextlib.suppress(DataError):
        pixels = _small(images.load(where, rule_set=rule_set), max_side)
        return encoded(overlaid(pixels, heat), caption)
    return None


def overlaid(pixels: npt.NDArray[np.uint8], heat: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Return a picture with a map laid over it, (H, W, 3) uint8 RGB at the picture's size.

    Where the map is 0 the picture stays as it is; colour and cover grow with the map.

    Args:
        pixels: (H, W, 1) grey or (H, W, 3) RGB, uint8.
        heat: (h, w) float32, 0..1, of the whole picture; stretched to its size.
    """
    height, width = pixels.shape[:2]
    wide = np.clip(cv2.resize(heat, (width, height), interpolation=cv2.INTER_LINEAR), 0, 1)
    cover = (_STRONGEST * np.sqrt(wide))[..., None].astype(np.float32)
    colours = heat_colours()[np.rint(255 * wide).astype(np.uint8)]
    return np.asarray(np.rint(pixels * (1 - cover) + colours * cover), np.uint8)


def heat_colours() -> npt.NDArray[np.uint8]:
    """Return (256, 3) uint8 RGB: the colours of values from 0 to 1 in `overlaid`."""
    steps = np.arange(256, dtype=np.uint8)[:, None]
    return np.asarray(cv2.applyColorMap(steps, cv2.COLORMAP_TURBO)[:, 0, ::-1])


def encoded(pixels: npt.NDArray[np.uint8], caption: str, *, max_side: int | None = None) -> Picture:
    """Return (H, W, C) uint8 pixels, grey or RGB, as a picture for a report.

    Args:
        pixels: What is shown.
        caption: What is to stand below it.
        max_side: Of the longer side, pixels; None keeps the size.
    """
    pixels = _small(pixels, max_side or max(pixels.shape[:2]))
    height, width = pixels.shape[:2]
    if max(height, width) < 64:  # JPEG would blur what a few pixels show
        return Picture(images.encode_png(pixels), "image/png", caption, width, height)
    return Picture(images.encode_jpeg(pixels), "image/jpeg", caption, width, height)


def _small(pixels: npt.NDArray[np.uint8], max_side: int) -> npt.NDArray[np.uint8]:
    """Return a picture of the same shape whose longer side is at most `max_side` pixels."""
    height, width = pixels.shape[:2]
    shrink = max(height, width) / max_side
    if shrink <= 1:
        return pixels
    size = max(1, round(height / shrink)), max(1, round(width / shrink))
    return images.resize(pixels, size)
