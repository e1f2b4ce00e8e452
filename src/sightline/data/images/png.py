"""PNG: every chunk's CRC is checked, and only what makes pixels is handed on to Pillow."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from sightline.data.images.header import Header, check_size, cut_off, malformed
from sightline.data.images.tiff import exif_orientation
from sightline.errors import DataError

PNG_START = b"\x89PNG\r\n\x1a\n"

_PIXEL_CHUNKS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
_COLOUR_MODES = {0: "L", 2: "RGB", 3: "P", 4: "LA", 6: "RGBA"}
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
# (first column, first row, step across, step down) of each pass of an interlaced picture.
_ADAM7 = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}


def _chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield (name, start of the payload, its length) of each chunk that lies within the file."""
    position = len(PNG_START)
    while position + 12 <= len(content):
        length, name = struct.unpack_from(">I4s", content, position)
        if position + 12 + length > len(content):
            return
        yield name, position + 8, length
        position += 12 + length


def read_png_header(content: bytes, max_megapixels: float) -> Header:
    """Return the header of a PNG file.

    Raises:
        DataError: NOT_AN_IMAGE, TRUNCATED or TOO_LARGE.
    """
    if len(content) < 33:
        raise cut_off("PNG")
    length, name, width, height, bits, colour = struct.unpack_from(">I4sIIBB", content, 8)
    if (length, name) != (13, b"IHDR") or bits not in _DEPTHS.get(colour, ()):
        raise malformed("PNG", f"chunk {name!r}, colour type {colour} with {bits} bits")
    check_size(width, height, max_megapixels)
    orientation = frames = 1
    seen: set[bytes] = set()
    for name, start, length in _chunks(content):
        if name == b"eXIf":
            orientation = exif_orientation(content[start : start + length])
        elif name == b"acTL" and length == 8:
            frames = max(1, int.from_bytes(content[start : start + 4], "big"))
        elif name == b"fcTL" and name not in seen and b"IDAT" in seen:
            frames += 1  # the first picture is none of the animation's
        seen.add(name)
    mode = _COLOUR_MODES[colour]
    if mode == "P" and b"PLTE" not in seen:
        raise malformed("PNG", "its colours are numbers of a palette that is not there")
    if mode == "L" and bits in (1, 16):
        mode = "1" if bits == 1 else "I;16"
    elif mode == "LA" and bits == 16:
        mode = "RGBA"  # Pillow's choice
    return Header("PNG", width, height, mode, bits, orientation, frames)


def has_transparent_colour(content: bytes) -> bool:
    """Return whether a PNG names a transparent colour, or the opacity of its palette."""
    return any(name == b"tRNS" for name, _, _ in _chunks(content))


def end_of_png(content: bytes) -> int:
    """Return where the last chunk of a PNG ends; its length where that is not there."""
    for name, start, length in _chunks(content):
        if name == b"IEND":
            return start + length + 4
    return len(content)


def pixel_chunks(content: bytes) -> bytes:
    """Return the PNG with only the chunks that make pixels, after checking every CRC.

    Pillow decodes past a wrong CRC; text, profiles and animation frames are not needed here and
    have been where most of its trouble came from.

    Raises:
        DataError: BAD_CRC where a chunk's bytes were changed, TRUNCATED where the end is missing.
    """
    view = memoryview(content)
    kept = [view[: len(PNG_START)]]
    name = b""
    for name, start, length in _chunks(content):
        stored = int.from_bytes(view[start + length : start + length + 4], "big")
        if zlib.crc32(view[start - 4 : start + length]) != stored:
            raise DataError(
                f"the PNG's chunk {name.decode('latin-1')!r} does not match its checksum: the file "
                "was damaged after it was written. Copy or download it again.",
                reason="BAD_CRC",
            )
        if name in _PIXEL_CHUNKS:
            kept.append(view[start - 8 : start + length + 4])
        if name == b"IEND":
            return b"".join(kept)
    raise DataError(
        f"the PNG stops after its chunk {name.decode('latin-1')!r}, before its end: it was cut "
        "off. Copy or download it again.",
        reason="TRUNCATED",
    )


def check_rows(content: bytes) -> None:
    """Return nothing for a PNG whose pixel data hold every row that its header promises.

    Pillow leaves the rows black that a well-formed but short stream does not hold. Inflates the
    data once more, so this is for pictures that look like it.

    Raises:
        DataError: TRUNCATED.
        zlib.error: The data are damaged.
    """
    width, height, bits, colour, interlaced = struct.unpack_from(">IIBB2xB", content, 16)
    missing = 0
    for left, top, across, down in _ADAM7 if interlaced else ((0, 0, 1, 1),):
        columns = max(0, -((left - width) // across))
        rows = max(0, -((top - height) // down))
        if columns:
            missing += rows * (1 + (columns * bits * _SAMPLES[colour] + 7) // 8)
    stream = zlib.decompressobj()
    for name, start, length in _chunks(content):
        rest = content[start : start + length] if name == b"IDAT" else b""
        while rest and missing > 0:
            missing -= len(stream.decompress(rest, 1 << 20))
            rest = stream.unconsumed_tail
    if missing - len(stream.flush()) > 0:
        raise DataError(
            "the pixels of the PNG end before its last row: the program that wrote it was "
            "interrupted. Make the file again, or leave it out.",
            reason="TRUNCATED",
        )
