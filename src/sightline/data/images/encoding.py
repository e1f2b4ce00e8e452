"""Pixels to another size, and to the bytes of a JPEG or PNG."""

from __future__ import annotations

from io import BytesIO

import cv2
import numpy as np
import simplejpeg
from PIL import Image, PngImagePlugin

from sightline.data.images.decoding import Pixels


def resize(image: Pixels, size: tuple[int, int]) -> Pixels:
    """Return the picture at exactly `size` (height, width), the aspect ratio not kept.

    Shrinking averages areas (cv2.INTER_AREA); growing in either direction interpolates
    (cv2.INTER_LINEAR). A picture of that size already is returned as it is, not copied.

    Args:
        image: (H, W, 1) or (H, W, 3) uint8.
        size: (height, width), both at least 1.

    Raises:
        ValueError: The image or the size is none of these.
    """
    _check(image)
    height, width = size
    if height < 1 or width < 1:
        raise ValueError(f"size must be (height, width) of at least 1, got {size}")
    if image.shape[:2] == (height, width):
        return image
    shrinks = height <= image.shape[0] and width <= image.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    resized: Pixels = cv2.resize(image, (width, height), interpolation=method)
    return resized.reshape(height, width, image.shape[2])  # OpenCV drops a single channel


def encode_jpeg(image: Pixels, quality: int = 85) -> bytes:
    """Return the picture as a baseline JPEG with 4:2:0 chroma.

    Args:
        image: (H, W, 1) grey or (H, W, 3) RGB, uint8.
        quality: 1..100.

    Raises:
        ValueError: The image or the quality is none of these.
    """
    _check(image)
    if not 1 <= quality <= 100:
        raise ValueError(f"quality must be 1..100, got {quality}")
    grey = image.shape[2] == 1
    encoded: bytes = simplejpeg.encode_jpeg(
        np.ascontiguousarray(image),
        quality=quality,
        colorspace="GRAY" if grey else "RGB",
        colorsubsampling="Gray" if grey else "420",
    )
    return encoded


def encode_png(image: Pixels) -> bytes:
    """Return the picture as an 8-bit PNG, without loss and without metadata.

    Args:
        image: (H, W, 1) grey or (H, W, 3) RGB, uint8.

    Raises:
        ValueError: The image is neither.
    """
    _check(image)
    picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
    buffer = BytesIO()
    picture.save(buffer, format=PngImagePlugin.PngImageFile.format)
    return buffer.getvalue()


def _check(image: Pixels) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (1, 3) or not image.size:
        raise ValueError(
            f"image must be (height, width, 1 or 3) of uint8 with at least one pixel, got "
            f"{image.shape} of {image.dtype}"
        )
