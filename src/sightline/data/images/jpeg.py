"""JPEG: a header parser in a few microseconds, and libjpeg-turbo told to stop at every warning."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import simplejpeg

from sightline.data.images.header import Header, check_size, cut_off
from sightline.data.images.tiff import exif_orientation, tag_value
from sightline.errors import DataError

Pixels = npt.NDArray[np.uint8]

_FRAME_STARTS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = frozenset({0x00, 0x01, *range(0xD0, 0xD9)})
_END_OF_IMAGE, _START_OF_SCAN, _APP1, _APP2 = 0xD9, 0xDA, 0xE1, 0xE2
_QUANTISATION = 0xDB
_BAND = 1 << 20  # pixels
_MODES = {1: "L", 3: "RGB", 4: "CMYK"}
_NUMBER_OF_PICTURES = 0xB001  # the MPF tag of multi-picture files


def _segments(content: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield (marker, start of the payload, its end) of each segment; the first scan is the last.

    Where the file ends before a scan, so does this, without one. Every file comes through here,
    so the ordinary segment is met first: it takes half a microsecond.
    """
    position, last = 2, len(content) - 4
    while 0 <= position <= last:
        marker = content[position + 1]
        if content[position] != 0xFF:
            position = content.find(b"\xff", position)
        elif marker in _WITHOUT_LENGTH:
            position += 2
        elif marker == 0xFF:  # fill bytes may stand before any marker
            position += 1
        else:
            end = position + 2 + (content[position + 2] << 8) + content[position + 3]
            yield marker, position + 4, end
            if marker in (_START_OF_SCAN, _END_OF_IMAGE):
                return
            position = end


def read_jpeg_header(content: bytes, max_megapixels: float) -> Header:
    """Return the header of a JPEG file: one walk over its segments up to the first scan.

    Raises:
        DataError: NOT_AN_IMAGE, TRUNCATED, TOO_LARGE, or UNSUPPORTED_DEPTH for 12- and 16-bit
            samples and for a number of components other than 1, 3 and 4.
    """
    orientation = frames = 1
    marker = precision = width = height = components = 0
    for marker, start, end in _segments(content):
        if marker in _FRAME_STARTS and start + 6 <= len(content):
            precision, height, width, components = struct.unpack_from(">BHHB", content, start)
        elif marker == _APP1 and orientation == 1 and content.startswith(b"Exif\0", start):
            orientation = exif_orientation(content[start + 6 : end])
        elif marker == _APP2 and content.startswith(b"MPF\0", start):
            frames = max(1, tag_value(content[start + 4 : end], _NUMBER_OF_PICTURES) or 1)
    if marker not in (_START_OF_SCAN, _END_OF_IMAGE) or not precision:
        raise cut_off("JPEG")
    if precision != 8 or components not in _MODES:
        raise DataError(
            f"the JPEG has {components} components of {precision} bits; 1, 3 or 4 of 8 bits are "
            "decoded. Save it again as an ordinary 8-bit JPEG or PNG.",
            reason="UNSUPPORTED_DEPTH",
        )
    check_size(width, height, max_megapixels)
    return Header("JPEG", width, height, _MODES[components], precision, orientation, frames)


def first_quantisation_table(content: bytes) -> tuple[int, ...]:
    """Return the 64 numbers of a JPEG's first quantisation table; () where it has none."""
    for marker, start, end in _segments(content):
        if marker != _QUANTISATION:
            continue
        wide = content[start : start + 1] >= b"\x10"  # 16 bits a number
        numbers = content[start + 1 : min(end, start + 1 + (128 if wide else 64))]
        return struct.unpack(f">{len(numbers) // 2}H", numbers) if wide else tuple(numbers)
    return ()


def start_of_scan(content: bytes) -> int:
    """Return where the first scan of a JPEG with a sound header begins."""
    return max(start for _, start, _ in _segments(content))


def decode_jpeg(
    content: bytes, header: Header, *, grey: bool, min_size: tuple[int, int] | None = None
) -> Pixels:
    """Return the stored picture, unrotated, (H, W, 1) if `grey` else (H, W, 3) RGB.

    Where `min_size` (height, width) allows it, libjpeg decodes at 1/2 or less of the size. Scales
    from 5/8 to 7/8 are not used: they take 1.2 to 1.7 times as long as the full size, which at
    1800 x 1200 takes 6.2 ms (1/2: 4.7 ms, 1/8: 3.4 ms).

    Grey is the luma that a JPEG stores, which is ITU-R 601; it differs from the grey of the
    decoded RGB by rounding, and where RGB had to be clipped.

    Raises:
        DataError: TRUNCATED or CORRUPT_SCAN where libjpeg has so much as a warning;
            UNSUPPORTED_DEPTH for a chroma subsampling that libjpeg-turbo does not name.
    """
    colorspace = "CMYK" if header.mode == "CMYK" else "GRAY" if grey else "RGB"
    height, width = min_size or (0, 0)
    try:
        pixels: Pixels = simplejpeg.decode_jpeg(
            content,
            colorspace,
            min_height=height,
            min_width=width,
            min_factor=2 if min_size else 1,
            strict=True,
        )
    except ValueError as error:
        raise _scan_error(content, error) from error
    return _rgb_of_cmyk(pixels) if colorspace == "CMYK" else pixels


def _scan_error(content: bytes, error: ValueError) -> DataError:
    detail = str(error)
    if "subsampling" in detail:
        return DataError(
            "the JPEG stores its colours with an unusual subsampling that is not decoded here. "
            "Save it again as an ordinary JPEG or PNG.",
            reason="UNSUPPORTED_DEPTH",
        )
    # A file cut inside the tables of a later scan is called a bad table.
    no_end = content.rfind(b"\xff\xd9") < content.rfind(b"\xff\xda")
    if "Premature end of JPEG file" in detail or no_end:
        return DataError(
            "the JPEG ends before its last pixels: it was cut off. Copy or download it again.",
            reason="TRUNCATED",
        )
    return DataError(
        f"the JPEG is damaged inside: {detail}. Some of its pixels would be wrong; replace it.",
        reason="CORRUPT_SCAN",
    )


def _rgb_of_cmyk(stored: Pixels) -> Pixels:
    """Return RGB of CMYK stored inverted, as Adobe and all others do: rgb = cmy * k / 255.

    Equal to Pillow's conversion, value for value. In bands: it takes 28 bytes a pixel.
    """
    rgb = np.empty((*stored.shape[:2], 3), np.uint8)
    rows = max(1, _BAND // stored.shape[1])
    for top in range(0, len(stored), rows):
        band = stored[top : top + rows]
        product = band[..., :3].astype(np.uint16) * band[..., 3:]
        rgb[top : top + rows] = (product.astype(np.uint32) + 127) // 255
    return rgb
