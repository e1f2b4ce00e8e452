"""What the first bytes of an image file say, and how big a picture may be."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field

from PIL import Image

from sightline.errors import DataError

DEFAULT_MAX_MEGAPIXELS = 64.0

# What Pillow's plugins have been seen to raise on damaged files.
DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    LookupError,
    TypeError,
    EOFError,
    ArithmeticError,
    AssertionError,
    RuntimeError,
    struct.error,
    zlib.error,
)
# Pillow's own limits; the second is raised only where warnings are errors.
BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says about its picture before any pixel is decoded.

    Attributes:
        format: "JPEG", "PNG", "GIF", "BMP", "TIFF" or "WEBP", by content, never by name.
        width: Pixels as stored, before the EXIF orientation.
        height: Pixels as stored, before the EXIF orientation.
        mode: Pillow's word: "1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "I;16", "F", ...
        bits: Bits a sample (of a palette index for "P").
        orientation: EXIF 1..8; 1 where the file carries none.
        frames: Pictures in the file; `decode` gives the first.
        inverted: TIFF only: stored zero is white.
    """

    format: str
    width: int
    height: int
    mode: str
    bits: int
    orientation: int = 1
    frames: int = 1
    inverted: bool = field(default=False, repr=False)


def check_size(width: int, height: int, max_megapixels: float) -> None:
    """Return nothing for a size that may be decoded.

    Raises:
        DataError: NOT_AN_IMAGE for a side of zero, TOO_LARGE for too many pixels.
    """
    if width <= 0 or height <= 0:
        raise DataError(
            f"the header says the picture is {width} x {height} pixels, so there is nothing to "
            "decode. Replace the file or leave it out.",
            reason="NOT_AN_IMAGE",
        )
    if width * height > max_megapixels * 1e6:
        raise DataError(
            f"the header says {width} x {height} = {width * height / 1e6:.1f} megapixels; at most "
            f"{max_megapixels:g} are decoded. Shrink the picture, or raise max_megapixels.",
            reason="TOO_LARGE",
        )


def check_agrees(width: int, height: int, header: Header) -> None:
    """Return nothing where Pillow has read the size that was checked here.

    Raises:
        DataError: NOT_AN_IMAGE.
    """
    if sorted((width, height)) != sorted((header.width, header.height)):  # a TIFF may be turned
        raise malformed(
            header.format, f"{header.width} x {header.height} and also {width} x {height} pixels"
        )


def bomb(error: Exception) -> DataError:
    """Return the error for a picture that Pillow itself finds too large."""
    return DataError(
        f"Pillow refuses the size of the picture ({error}). Shrink it.", reason="TOO_LARGE"
    )


def cut_off(format_name: str) -> DataError:
    """Return the error for a file that ends inside its own header."""
    return DataError(
        f"the {format_name} file ends before its picture begins: it was cut off. "
        "Copy or download it again.",
        reason="TRUNCATED",
    )


def malformed(format_name: str, detail: object) -> DataError:
    """Return the error for a file with the right first bytes and a senseless header."""
    return DataError(
        f"the file begins like {format_name}, but its header makes no sense ({detail}). "
        "Replace it or leave it out.",
        reason="NOT_AN_IMAGE",
    )
