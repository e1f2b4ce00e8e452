"""TIFF directories: the header of TIFF files, and the tag blocks inside JPEG, PNG and WebP.

A TIFF is checked here before Pillow and libtiff see it, because they answer damaged directories
with Python warnings and with lines on stderr; neither can be caught safely from threads.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import TiffTags
from PIL.TiffImagePlugin import TiffImageFile

from sightline.data.images.header import DAMAGE, Header, check_size, cut_off, malformed
from sightline.errors import DataError

ORIENTATION = 0x0112
TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
_MAX_FRAMES = 10_000
_PLANE_BY_PLANE = 2
# Bytes of a value by TIFF type number; other numbers are skipped, as Pillow skips them.
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_TYPE_BYTES |= {16: 8, 17: 8, 18: 8}
_ONE_PIECE = frozenset({1, 2, 7})  # bytes and text: Pillow takes any number as one value
_INTEGERS = {1: "u1", 3: "u2", 4: "u4", 16: "u8"}


def tag_value(block: bytes, tag: int) -> int | None:
    """Return the first value of a SHORT or LONG tag in the first directory of a TIFF block.

    None where the tag is absent or the block is malformed: a broken EXIF does not spoil a picture.
    """
    order = _ORDERS.get(block[:4])
    if order is None or len(block) < 8:
        return None
    (start,) = struct.unpack_from(order + "I", block, 4)
    if start + 2 > len(block):
        return None
    (count,) = struct.unpack_from(order + "H", block, start)
    entries = block[start + 2 : start + 2 + 12 * count]
    whole = len(entries) // 12 * 12
    for number, kind, _, raw in struct.iter_unpack(order + "HHI4s", entries[:whole]):
        if number == tag and kind in (3, 4):
            value: int = struct.unpack_from(order + ("H" if kind == 3 else "I"), raw)[0]
            return value
    return None


def exif_orientation(block: bytes) -> int:
    """Return the EXIF orientation 1..8 of a TIFF block; 1 where it has none or nonsense."""
    value = tag_value(block.removeprefix(b"Exif\0\0"), ORIENTATION)
    return value if value is not None and 1 <= value <= 8 else 1


@dataclass(frozen=True, slots=True)
class _Layout:
    """How one TIFF file writes its directories: byte order, classic or Big."""

    order: str
    count: str
    entry: str
    pointer: str
    first: int

    @classmethod
    def of(cls, content: bytes) -> _Layout:
        order = "<" if content[:2] == b"II" else ">"
        if content[2:4] in (b"+\0", b"\0+"):
            return cls(order, "Q", "HHQ8s", "Q", 8)
        return cls(order, "H", "HHI4s", "I", 4)

    def number(self, kind: str, content: bytes, position: int) -> int:
        try:
            value: int = struct.unpack_from(self.order + kind, content, position)[0]
        except (struct.error, OverflowError):
            raise cut_off("TIFF") from None
        return value


@dataclass(frozen=True, slots=True)
class _Tag:
    kind: int
    count: int
    values: bytes  # as stored


def _read_directory(content: bytes, layout: _Layout, start: int) -> tuple[dict[int, _Tag], int]:
    """Return the tags of the directory at `start`, and where the next one is (0: nowhere)."""
    position = start + struct.calcsize(layout.count)
    count = layout.number(layout.count, content, start)
    step = struct.calcsize("<" + layout.entry)
    end = position + step * count
    following = layout.number(layout.pointer, content, end)
    inline = struct.calcsize("<" + layout.pointer)
    tags: dict[int, _Tag] = {}
    outside = 0
    entries = struct.iter_unpack(layout.order + layout.entry, content[position:end])
    for number, kind, length, raw in entries:
        size = _TYPE_BYTES.get(kind, 0) * length
        values = raw[:size]
        if size > inline:
            (offset,) = struct.unpack(layout.order + layout.pointer, raw)
            outside += size
            if offset + size > len(content) or outside > len(content):
                raise DataError(
                    f"tag {number} of the TIFF file lies past the file's end: it was cut off or "
                    "damaged. Copy or download it again.",
                    reason="TRUNCATED",
                )
            values = content[offset : offset + size]
        if length != 1 and kind not in _ONE_PIECE and TiffTags.lookup(number).length == 1:
            raise malformed("TIFF", f"tag {number} has {length} values instead of one")
        if number in tags:  # libtiff takes the first, Pillow a mixture
            raise malformed("TIFF", f"tag {number} stands in it twice")
        tags[number] = _Tag(kind, length, values)
    return tags, following


def _integers(tags: dict[int, _Tag], layout: _Layout, number: int) -> list[int]:
    tag = tags.get(number)
    if tag is None or tag.kind not in _INTEGERS:
        return []
    return [int(v) for v in np.frombuffer(tag.values, layout.order + _INTEGERS[tag.kind])]


def _check_number_of_pieces(
    tags: dict[int, _Tag], layout: _Layout, width: int, height: int, max_megapixels: float
) -> None:
    """Raise for fewer strips or tiles than cover the picture: Pillow would leave the rest black."""
    across, down, rows, planes, samples = (
        (_integers(tags, layout, number) or [default])[0]
        for number, default in ((322, 0), (323, 0), (278, height), (284, 1), (277, 1))
    )
    if across or down:
        check_size(across, down, max_megapixels)  # a tile is allocated whole
    strips = _integers(tags, layout, 273)
    if strips:
        needed = -(-height // max(1, rows))
    elif across:
        needed = -(-width // across) * -(-height // down)
    else:
        return  # Pillow says what is missing
    needed *= samples if planes == _PLANE_BY_PLANE else 1
    stored = len(strips or _integers(tags, layout, 324))
    if stored < needed:
        raise DataError(
            f"the TIFF file has {stored} of the {needed} strips or tiles of its picture: the "
            "program that wrote it was interrupted. Make the file again, or leave it out.",
            reason="TRUNCATED",
        )


def _check_pieces_lie_inside(tags: dict[int, _Tag], layout: _Layout, size: int) -> None:
    """Raise for compressed strips or tiles past the file's end: libtiff would print about them."""
    if _integers(tags, layout, 259)[:1] in ([], [1]):
        return  # uncompressed: Pillow reads these itself, and reports a short file
    for offsets, counts in ((273, 279), (324, 325)):
        pairs = zip(_integers(tags, layout, offsets), _integers(tags, layout, counts), strict=False)
        if any(offset + count > size for offset, count in pairs):
            raise DataError(
                "the pixels of the TIFF file lie past the file's end: it was cut off. "
                "Copy or download it again.",
                reason="TRUNCATED",
            )


def read_tiff_header(content: bytes, max_megapixels: float) -> Header:
    """Return the header of a TIFF or BigTIFF file.

    Raises:
        DataError: NOT_AN_IMAGE, TRUNCATED, TOO_LARGE, or UNSUPPORTED_DEPTH for a combination of
            samples that Pillow cannot read.
    """
    layout = _Layout.of(content)
    first = layout.number(layout.pointer, content, layout.first)
    tags, following = _read_directory(content, layout, first)
    seen = {first}
    while following and following not in seen and len(seen) < _MAX_FRAMES:
        seen.add(following)
        if following + struct.calcsize(layout.count) > len(content):
            break  # a later page is cut off; the first one is what counts
        entries = layout.number(layout.count, content, following)
        after = following + struct.calcsize(layout.count)
        after += entries * struct.calcsize("<" + layout.entry)
        if after + struct.calcsize("<" + layout.pointer) > len(content):
            break
        following = layout.number(layout.pointer, content, after)
    width, height, bits, photometric, orientation, sample_format = (
        (_integers(tags, layout, number) or [default])[0]
        for number, default in ((256, 0), (257, 0), (258, 1), (262, 1), (ORIENTATION, 1), (339, 1))
    )
    check_size(width, height, max_megapixels)
    _check_number_of_pieces(tags, layout, width, height, max_megapixels)
    _check_pieces_lie_inside(tags, layout, len(content))
    try:
        with TiffImageFile(BytesIO(content)) as image:
            mode = image.mode
    except DAMAGE as error:
        raise DataError(
            f"the TIFF file stores its samples in a way that is not read here ({bits} bits, "
            f"sample format {sample_format}: {error}). Convert it to 8 or 16 bits a sample.",
            reason="UNSUPPORTED_DEPTH",
        ) from error
    return Header(
        "TIFF",
        width,
        height,
        mode,
        bits,
        orientation if 1 <= orientation <= 8 else 1,
        len(seen),
        inverted=photometric == 0,
    )
