"""`read_header`: what a file is and how big, from its bytes, before any pixel is allocated."""

from __future__ import annotations

import re
import struct
from io import BytesIO

from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile

from sightline.data.images.header import (
    BOMBS,
    DAMAGE,
    DEFAULT_MAX_MEGAPIXELS,
    Header,
    bomb,
    check_size,
    cut_off,
    malformed,
)
from sightline.data.images.jpeg import read_jpeg_header
from sightline.data.images.png import PNG_START, read_png_header
from sightline.data.images.tiff import TIFF_STARTS, exif_orientation, read_tiff_header
from sightline.errors import DataError

_HINTS = {
    b"version https://git-lfs": "It is a git-lfs pointer: run `git lfs pull`.",
    b"<": "It looks like a web page: download the picture itself.",
    b"\0\0\0\0": "It begins with zeros: copy it again.",
    b"\0\5\x16\7": "It is macOS's companion of the real file: leave it out.",
}
_GIF_BLOCK = re.compile(rb"[!,;]")  # an extension, a frame, the end
_GIF_COMMENT = b"\xfe"
_BMP_RLE = (1, 2)


def read_header(content: bytes, *, max_megapixels: float = DEFAULT_MAX_MEGAPIXELS) -> Header:
    """Return what the bytes of an image file say about it; no pixel is allocated.

    A JPEG takes a few microseconds. The format is told by content; only JPEG, PNG, GIF, BMP, TIFF
    and WebP are looked at, each by its own parser.

    Raises:
        DataError: reason EMPTY, NOT_AN_IMAGE (also for a side of zero), TRUNCATED, TOO_LARGE (more
            than `max_megapixels` million pixels) or UNSUPPORTED_DEPTH.
    """
    if content.startswith(b"\xff\xd8\xff"):
        return read_jpeg_header(content, max_megapixels)
    if content.startswith(PNG_START):
        return read_png_header(content, max_megapixels)
    if content.startswith((b"GIF87a", b"GIF89a")):
        return _read_gif_header(content, max_megapixels)
    if content.startswith(b"BM"):
        return _read_bmp_header(content, max_megapixels)
    if content.startswith(TIFF_STARTS):
        return read_tiff_header(content, max_megapixels)
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return _read_webp_header(content, max_megapixels)
    if not content:
        raise DataError("the file is empty (0 bytes). Copy or download it again.", reason="EMPTY")
    opening = content[:64].lstrip()
    hint = next(
        (hint for start, hint in _HINTS.items() if opening.startswith(start)),
        "Convert it to JPEG or PNG, or leave it out.",
    )
    raise DataError(
        f"the file is not a JPEG, PNG, GIF, BMP, TIFF or WebP; it begins with {content[:8]!r}. "
        + hint,
        reason="NOT_AN_IMAGE",
    )


def _read_gif_header(content: bytes, max_megapixels: float) -> Header:
    """Return the header; the size covers the screen and the first frame, as Pillow decodes it."""
    if len(content) < 13:
        raise cut_off("GIF")
    width, height, flags = struct.unpack_from("<HHB", content, 6)
    position = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    frames = 0
    while (block := _GIF_BLOCK.search(content, position)) and block.group() != b";":
        position = block.start()
        if block.group() == b"!":  # an extension: its label, then sub-blocks
            position = _after_extension(content, position + 1)
        elif position + 11 <= len(content):
            left, top, across, down, flags = struct.unpack_from("<HHHHB", content, position + 1)
            if not frames:
                width, height = max(width, left + across), max(height, top + down)
            frames += 1
            palette = 3 << (flags & 7) + 1 if flags & 0x80 else 0
            position = _after_sub_blocks(content, position + 11 + palette)
        else:
            break
    if not frames:
        raise cut_off("GIF")
    check_size(width, height, max_megapixels)
    try:
        with GifImageFile(BytesIO(content)) as image:
            mode = image.mode
    except BOMBS as error:
        raise bomb(error) from error
    except DAMAGE as error:
        raise malformed("GIF", error) from error
    return Header("GIF", width, height, mode, 8, frames=frames)


def _after_extension(content: bytes, position: int) -> int:
    """Return where the extension whose label is at `position` ends, to Pillow.

    Pillow reads on after a first sub-block of no bytes, except in comments.
    """
    label_and_length = content[position : position + 2]
    position = _after_sub_blocks(content, position + 1)
    if label_and_length[1:] == b"\0" and label_and_length[:1] != _GIF_COMMENT:
        position = _after_sub_blocks(content, position)
    return position


def _after_sub_blocks(content: bytes, position: int) -> int:
    while position < len(content) and content[position]:
        position += 1 + content[position]
    return position + 1


def _read_bmp_header(content: bytes, max_megapixels: float) -> Header:
    if len(content) < 30:
        raise cut_off("BMP")
    (size,) = struct.unpack_from("<I", content, 14)
    width, height, _, bits = struct.unpack_from("<HHHH" if size == 12 else "<iiHH", content, 18)
    check_size(width, abs(height), max_megapixels)  # a negative height: stored top to bottom
    try:
        with BmpImageFile(BytesIO(content)) as image:
            mode = image.mode
    except DAMAGE as error:
        raise malformed("BMP", error) from error
    if size >= 40 and len(content) >= 54:
        # Pillow fills what is missing of a run-length coded picture with colour 0.
        compression, length = struct.unpack_from("<II", content, 30)
        (start,) = struct.unpack_from("<I", content, 10)
        if compression in _BMP_RLE and start + length > len(content):
            raise DataError(
                "the BMP file ends before its last pixels: it was cut off. "
                "Copy or download it again.",
                reason="TRUNCATED",
            )
    return Header("BMP", width, abs(height), mode, min(bits, 8))


def _read_webp_header(content: bytes, max_megapixels: float) -> Header:
    if len(content) < 26 or int.from_bytes(content[4:8], "little") + 8 > len(content) + 1:
        raise cut_off("WebP")
    first = content[12:16]
    if len(content) < 30 and first != b"VP8L":  # a lossless pixel fits into 26 bytes
        raise cut_off("WebP")
    if first == b"VP8X":
        width = 1 + int.from_bytes(content[24:27], "little")
        height = 1 + int.from_bytes(content[27:30], "little")
        alpha = bool(content[20] & 0x10)
    elif first == b"VP8L":
        packed = int.from_bytes(content[21:25], "little")
        width, height = 1 + (packed & 0x3FFF), 1 + (packed >> 14 & 0x3FFF)
        alpha = bool(packed >> 28 & 1)
    elif first == b"VP8 ":
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", content, 26))
        alpha = False
    else:
        raise malformed("WebP", f"its first chunk is {first!r}")
    check_size(width, height, max_megapixels)
    orientation, frames, position = 1, 0, 12
    while position + 8 <= len(content):
        name, length = struct.unpack_from("<4sI", content, position)
        if name == b"EXIF":
            block = content[position + 8 : position + 8 + length]
            orientation = exif_orientation(block)
        frames += name == b"ANMF"
        position += 8 + length + (length & 1)
    mode = "RGBA" if alpha else "RGB"
    return Header("WEBP", width, height, mode, 8, orientation, max(1, frames))
