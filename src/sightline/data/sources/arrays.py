"""`index_arrays`: images that are rows of an array, in memory or mapped from a file."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from sightline.errors import DataError
from sightline.records import SPLITS, RecordIndex
from sightline.records.columns import join_names
from sightline.records.index import NO_SPLIT

_CHANNELS = (1, 3, 4)
_BYTES_AT_ONCE = 1 << 26
_SHOWN = 5

Column = Sequence[Any] | npt.NDArray[Any]


def index_arrays(
    images: npt.NDArray[np.uint8],
    labels: Column,
    *,
    class_names: Sequence[str] | None = None,
    split: str | Column | None = None,
) -> RecordIndex:
    """Return the index of images in an array, as a `Stream` takes it.

    The array is kept as it is, never copied: a map (`np.load(..., mmap_mode="r")`, `np.memmap`)
    stays on disk. Its content is read once, for the fingerprint that a cache is found by: about
    a second a GB, or as long as the disk takes. Do not change it while the index is in use.

    Args:
        images: (n, H, W) grey, or (n, H, W, C) uint8, 0..255; C is 1 (grey), 3 (RGB) or 4 (RGBA).
        labels: (n,) whole numbers from 0 on, which count `class_names`; or (n,) class names.
        class_names: The classes in order. By default the sorted distinct names, or for numbers
            "0", "1" ... up to the largest, written with as many digits as that one has.
        split: "train", "validation" or "test" for all; or one of these, or None, an image.

    Returns:
        The index with `pixels`, (n, H, W, C); record ids are "array/00000012".

    Raises:
        DataError: A shape, dtype, label or split cannot be used; the message names the value.
    """
    pixels = _checked_pixels(images)
    numbers, names = _checked_labels(labels, class_names, len(pixels))
    digits = max(8, len(str(len(pixels) - 1)))
    ids = pl.int_range(len(pixels), eager=True).cast(pl.String).str.zfill(digits)
    blob, offsets = join_names("array/" + ids)
    return RecordIndex.make(
        Path(),
        names,
        blob,
        offsets,
        numbers,
        splits=_checked_splits(split, len(pixels)),
        content_digest=_digest(pixels),
        pixels=pixels,
    )


def _checked_pixels(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    if not isinstance(images, np.ndarray):
        raise DataError(f"images must be a numpy array, got {type(images).__name__}.")
    if images.dtype != np.uint8:
        raise DataError(
            f"images must be uint8, 0..255, got {images.dtype}. Convert them, e.g. "
            "np.uint8(np.round(255 * images)) for values of 0..1."
        )
    pixels = images[..., None] if images.ndim == 3 else images
    if pixels.ndim != 4 or pixels.shape[3] not in _CHANNELS or not all(pixels.shape):
        raise DataError(
            "images must be (n, height, width) or (n, height, width, channels) with 1, 3 or 4 "
            f"channels and at least one image, got {images.shape}."
        )
    return pixels


def _checked_labels(
    labels: Column, class_names: Sequence[str] | None, count: int
) -> tuple[npt.NDArray[np.int32], tuple[str, ...]]:
    """Return (n,) int32 numbers and the names that they count."""
    given = np.asarray(labels)
    if given.shape != (count,):
        raise DataError(f"labels must be ({count},), one an image, got {given.shape}.")
    if given.dtype.kind in "iu":
        return _of_numbers(given, class_names)
    if given.dtype.kind not in "UO" or not all(isinstance(label, str) for label in given):
        raise DataError(
            f"labels must be whole numbers or class names, got {given.dtype}, such as "
            f"{given[:_SHOWN].tolist()}."
        )
    names = _distinct(sorted(set(given.tolist())) if class_names is None else class_names)
    places = {name: number for number, name in enumerate(names)}
    for row, label in enumerate(given.tolist()):
        if label not in places:
            raise _unknown(row, label, names)
    return np.asarray([places[label] for label in given.tolist()], np.int32), names


def _of_numbers(
    given: npt.NDArray[Any], class_names: Sequence[str] | None
) -> tuple[npt.NDArray[np.int32], tuple[str, ...]]:
    largest = int(given.max())
    digits = len(str(largest))
    names = _distinct(
        [f"{number:0{digits}d}" for number in range(largest + 1)]
        if class_names is None
        else class_names
    )
    wrong = np.flatnonzero((given < 0) | (given >= len(names)))
    if len(wrong):
        raise _unknown(int(wrong[0]), int(given[wrong[0]]), names)
    return given.astype(np.int32), names


def _distinct(class_names: Sequence[str]) -> tuple[str, ...]:
    names = tuple(class_names)
    if len(set(names)) != len(names) or not all(isinstance(name, str) for name in names):
        raise DataError(f"class_names must be distinct texts, got {list(names)}.")
    return names


def _unknown(row: int, label: object, names: tuple[str, ...]) -> DataError:
    shown = ", ".join(names[:_SHOWN]) + (" ..." if len(names) > _SHOWN else "")
    return DataError(
        f"image {row} has label {label!r}, which is not one of the {len(names)} classes "
        f"({shown}; numbers count them from 0). Correct the label or the class names."
    )


def _checked_splits(split: str | Column | None, count: int) -> npt.NDArray[np.uint8] | None:
    """Return (n,) uint8 positions in SPLITS, or None without any."""
    if split is None:
        return None
    each = [split] * count if isinstance(split, str) else list(split)
    if len(each) != count:
        raise DataError(f"split must be one word or {count} of them, got {len(each)}.")
    places: dict[object, int] = {name: number for number, name in enumerate(SPLITS)}
    places[None] = NO_SPLIT
    wrong = next((word for word in each if word not in places), None)
    if wrong is not None:
        raise DataError(f"split must be one of {list(SPLITS)} or None, got {wrong!r}.")
    return np.asarray([places[word] for word in each], np.uint8)


def _digest(pixels: npt.NDArray[np.uint8]) -> str:
    """Return the sha256 of shape and content, read in parts."""
    digest = hashlib.sha256(f"{pixels.shape}".encode())
    rows = max(1, _BYTES_AT_ONCE // pixels[0].nbytes)
    for begin in range(0, len(pixels), rows):
        digest.update(np.ascontiguousarray(pixels[begin : begin + rows]).data)
    return digest.hexdigest()
