"""Image files as bytes, written field by field where Pillow would not write them."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from io import BytesIO

import numpy as np
import numpy.typing as npt
from PIL import Image

PNG_START = b"\x89PNG\r\n\x1a\n"
NOISE: npt.NDArray[np.uint8] = np.random.default_rng(0).integers(0, 256, (13, 17, 3), np.uint8)
PICTURE = Image.fromarray(NOISE)
ORIENTATION = 0x0112


def save(image: Image.Image, format_name: str, **options: object) -> bytes:
    """Return the file that Pillow writes."""
    buffer = BytesIO()
    image.save(buffer, format_name, **options)
    return buffer.getvalue()


def exif(orientation: int) -> Image.Exif:
    block = Image.Exif()
    block[ORIENTATION] = orientation
    return block


def chunk(name: bytes, payload: bytes) -> bytes:
    checksum = zlib.crc32(name + payload)
    return struct.pack(">I", len(payload)) + name + payload + struct.pack(">I", checksum)


def png(
    size: tuple[int, int], bits: int, colour: int, rows: bytes, *, before: bytes = b""
) -> bytes:
    """Return a PNG of size (width, height); `rows` with their filter bytes, `before` IDAT."""
    header = struct.pack(">IIBBBBB", *size, bits, colour, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(rows)) if rows else b""
    return PNG_START + chunk(b"IHDR", header) + before + pixels + chunk(b"IEND", b"")


def transparent(*samples: int) -> bytes:
    """Return a tRNS chunk for one colour."""
    return chunk(b"tRNS", struct.pack(f">{len(samples)}H", *samples))


Entry = tuple[int, str, Sequence[int]]


def tiff(entries: Sequence[Entry], pixels: bytes = b"", *, order: str = "<") -> bytes:
    """Return a TIFF of one directory of SHORT ("H") and LONG ("I") values of up to 4 bytes."""
    start = 8 + 2 + 12 * len(entries) + 4
    parts = [b"II*\0" if order == "<" else b"MM\0*", struct.pack(order + "IH", 8, len(entries))]
    for tag, kind, values in entries:
        packed = struct.pack(f"{order}{len(values)}{kind}", *values)
        assert len(packed) <= 4
        parts.append(struct.pack(order + "HHI", tag, {"H": 3, "I": 4}[kind], len(values)))
        parts.append(packed.ljust(4, b"\0"))
    content = b"".join([*parts, bytes(4)])
    assert len(content) == start
    return content + pixels


def grey_tiff(
    size: tuple[int, int],
    bits: int,
    pixels: bytes,
    *,
    order: str = "<",
    photometric: int = 1,
    rows_per_strip: int | None = None,
    extra: Sequence[Entry] = (),
) -> bytes:
    """Return an uncompressed grey TIFF with one strip, whatever `rows_per_strip` promises."""
    entries: list[Entry] = [
        (256, "H", [size[0]]),
        (257, "H", [size[1]]),
        (258, "H", [bits]),
        (259, "H", [1]),
        (262, "H", [photometric]),
        (273, "I", [8 + 2 + 12 * (9 + len(extra)) + 4]),
        (277, "H", [1]),
        (278, "H", [rows_per_strip or size[1]]),
        (279, "I", [len(pixels)]),
        *extra,
    ]
    return tiff(entries, pixels, order=order)


def samples() -> dict[str, bytes]:
    """Return one small valid file for each format and mode that is decoded."""
    grey16 = Image.fromarray(NOISE[..., 0].astype(np.uint16) * 257)
    files = {
        "jpeg": save(PICTURE, "JPEG"),
        "jpeg grey": save(PICTURE.convert("L"), "JPEG"),
        "jpeg cmyk": save(PICTURE.convert("CMYK"), "JPEG"),
        "jpeg progressive": save(PICTURE, "JPEG", progressive=True, subsampling=2),
        "jpeg turned": save(PICTURE, "JPEG", exif=exif(6)),
        "png 16": save(grey16, "PNG"),
        "tiff 16": save(grey16, "TIFF"),
        "gif animated": save(
            PICTURE.convert("P"), "GIF", save_all=True, append_images=[Image.new("P", (17, 13))]
        ),
        "webp": save(PICTURE, "WEBP"),
        "webp lossless": save(PICTURE.convert("RGBA"), "WEBP", lossless=True),
        "webp animated": save(
            PICTURE, "WEBP", save_all=True, append_images=[Image.new("RGB", (17, 13))]
        ),
        "tiff lzw": save(PICTURE, "TIFF", compression="tiff_lzw"),
        "tiff turned": save(PICTURE, "TIFF", exif=exif(6)),
    }
    for mode in ("1", "L", "P", "RGB", "RGBA"):
        for format_name in ("PNG", "BMP", "TIFF"):
            key = f"{format_name.lower()} {mode}"
            files[key] = save(PICTURE.convert(mode), format_name)
    files["png LA"] = save(PICTURE.convert("LA"), "PNG")
    files["gif"] = save(PICTURE.convert("P"), "GIF")
    return files
