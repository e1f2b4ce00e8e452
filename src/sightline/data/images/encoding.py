"""Pixels to the bytes of a JPEG or PNG."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import simplejpeg
from PIL import Image, PngImagePlugin

from sightline.data.images.decoding import Pixels
from sightline.data.images.resizing import check_picture


def encode_jpeg(image: Pixels, quality: int = 85) -> bytes:
    """Return the picture as a baseline JPEG with 4:2:0 chroma.

    Args:
        image: (H, W, 1) grey or (H, W, 3) RGB, uint8.
        quality: 1..100.

    Raises:
        ValueError: The image or the quality is none of these.
    """
    check_picture(image, channels=(1, 3))
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
    check_picture(image, channels=(1, 3))
    picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
    buffer = BytesIO()
    picture.save(buffer, format=PngImagePlugin.PngImageFile.format)
    return buffer.getvalue()
