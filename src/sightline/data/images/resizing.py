"""Pixels to another size, in one of three qualities."""

from __future__ import annotations

from typing import Literal, get_args

import cv2
import numpy as np
from PIL import Image

from sightline.data.images.decoding import Pixels

Quality = Literal["fast", "best", "compat"]
Interpolation = Literal["nearest", "bilinear", "bicubic", "hamming", "box", "lanczos"]

RESIZE_VERSION = 1  # part of every cache key: raise it when any picture resizes differently

_QUALITIES = get_args(Quality)
_FILTERS: dict[Interpolation, Image.Resampling] = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "hamming": Image.Resampling.HAMMING,
    "box": Image.Resampling.BOX,
    "lanczos": Image.Resampling.LANCZOS,
}
# Where a side shrinks to less than half, four neighbours no longer see every pixel between them.
_SEES_ALL = 2


def resize(
    image: Pixels,
    size: tuple[int, int],
    *,
    quality: Quality = "fast",
    interpolation: Interpolation = "nearest",
    crop: bool = False,
) -> Pixels:
    """Return the picture at exactly `size` (height, width), the aspect ratio not kept.

    "fast" interpolates between four neighbours (cv2.INTER_LINEAR), and averages areas
    (cv2.INTER_AREA) where both sides shrink and one to less than half. "best" is Pillow's
    antialiased bilinear filter. "compat" is Pillow's `interpolation`, which is what Keras does,
    value for value. A picture of that size already is returned as it is, not copied.

    Args:
        image: (H, W, 1), (H, W, 3) or (H, W, 4) uint8.
        size: (height, width), both at least 1.
        quality: Which way.
        interpolation: For "compat" alone.
        crop: Of "compat" alone: take the largest middle part of the size's shape, as Keras'
            `keep_aspect_ratio` does, instead of squeezing the whole.

    Raises:
        ValueError: The image, the size, the quality or the interpolation is none of these.
    """
    check_picture(image, channels=(1, 3, 4))
    height, width = size
    if height < 1 or width < 1:
        raise ValueError(f"size must be (height, width) of at least 1, got {size}")
    if quality not in _QUALITIES or interpolation not in _FILTERS:
        raise ValueError(
            f"quality must be one of {_QUALITIES} and interpolation one of "
            f"{tuple(_FILTERS)}, got {quality!r} and {interpolation!r}"
        )
    if image.shape[:2] == (height, width):
        return image
    if crop and quality != "compat":
        raise ValueError(f'only quality "compat" crops to the shape of the size, got {quality!r}')
    if quality == "fast":
        resized: Pixels = cv2.resize(image, (width, height), interpolation=_method(image, size))
    elif quality == "compat" and interpolation == "nearest" and not crop:  # as Pillow's, and faster
        resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    else:
        picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
        chosen = "bilinear" if quality == "best" else interpolation
        box = _middle(image.shape[:2], size) if crop else None
        resized = np.array(picture.resize((width, height), _FILTERS[chosen], box=box))
    return resized.reshape(height, width, image.shape[2])  # both drop a single channel's axis


def _middle(sides: tuple[int, ...], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of the largest middle part of the shape of `size`."""
    height = min(sides[0], sides[1] * size[0] // size[1])
    width = min(sides[1], sides[0] * size[1] // size[0])
    left, top = (sides[1] - width) // 2, (sides[0] - height) // 2
    return left, top, left + width, top + height


def _method(image: Pixels, size: tuple[int, int]) -> int:
    height, width = image.shape[0] / size[0], image.shape[1] / size[1]
    shrinks = min(height, width) >= 1 and max(height, width) > _SEES_ALL
    return int(cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def check_picture(image: Pixels, channels: tuple[int, ...]) -> None:
    """Return nothing for a picture of one of these numbers of channels.

    Raises:
        ValueError: It is none.
    """
    fits = image.dtype == np.uint8 and image.ndim == 3 and image.size
    if not fits or image.shape[2] not in channels:
        *first, last = (str(number) for number in channels)
        raise ValueError(
            f"image must be (height, width, {', '.join(first)} or {last}) of uint8 with at least "
            f"one pixel, got {image.shape} of {image.dtype}"
        )
