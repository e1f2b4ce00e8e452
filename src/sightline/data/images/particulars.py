"""What a file tells about itself beside its pixels: how it was compressed, what comes after it."""

from __future__ import annotations

import struct

from sightline.data.images.header import Header
from sightline.data.images.jpeg import first_quantisation_table, start_of_scan
from sightline.data.images.png import end_of_png, has_transparent_colour

_EXTENSIONS = {
    ".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".gif": "GIF", ".bmp": "BMP",
    ".tif": "TIFF", ".tiff": "TIFF", ".webp": "WEBP",
}  # fmt: skip
_ALPHA_MODES = frozenset({"RGBA", "LA", "PA", "RGBa", "La"})
_GIF_TRANSPARENT = 1  # of the flags of a graphic control block


def extension_disagrees(name: str, header: Header) -> bool:
    """Return whether a name ends as those of another format do; other endings say nothing."""
    extension = "." + name.rpartition(".")[2].lower()
    return _EXTENSIONS.get(extension, header.format) != header.format


def jpeg_quantisation(content: bytes, header: Header) -> float | None:
    """Return the mean of a JPEG's first quantisation table, 1 (finest) and up; None without one.

    What programs call quality is not stored; this number is, and it grows as quality falls.
    """
    if header.format != "JPEG":
        return None
    table = first_quantisation_table(content)
    return sum(table) / len(table) if table else None


def trailing_bytes(content: bytes, header: Header) -> int:
    """Return how many bytes follow the end of the picture, or 0 where a format has no end.

    Those are JPEG of several pictures, TIFF and BMP.
    """
    end = len(content)
    if header.format == "JPEG" and header.frames == 1:
        # Inside of a scan this pair of bytes does not occur: 0xFF is followed by a zero there.
        found = content.find(b"\xff\xd9", start_of_scan(content))
        end = found + 2 if found >= 0 else end
    elif header.format == "PNG":
        end = end_of_png(content)
    elif header.format == "WEBP":
        (length,) = struct.unpack_from("<I", content, 4)
        end = 8 + length + (length & 1)
    elif header.format == "GIF":
        found = content.rfind(b";")
        end = found + 1 if found >= 0 else end
    return max(0, len(content) - end)


def may_be_transparent(content: bytes, header: Header) -> bool:
    """Return whether some pixel of the first picture may be other than opaque."""
    if header.mode in _ALPHA_MODES:
        return True
    if header.format == "PNG":
        return has_transparent_colour(content)
    if header.format == "GIF":
        place = content.find(b"!\xf9\x04")
        return 0 <= place < len(content) - 3 and bool(content[place + 3] & _GIF_TRANSPARENT)
    return False
