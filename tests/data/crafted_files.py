"""Odd files made here, each with what an audit must say of it."""

from __future__ import annotations

import os
import socket
import struct
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
from image_bytes import NOISE, PICTURE, PNG_START, chunk, exif, grey_tiff, png, save, transparent
from PIL import Image

HUGE = 65500
OK = "ok"
_GREY16 = Image.fromarray(NOISE[..., 0].astype(np.uint16) * 257)
_JPEG = save(PICTURE.resize((64, 48)), "JPEG", quality=95)
_PNG = save(PICTURE, "PNG")
_GIF = save(PICTURE.convert("P"), "GIF")
_BMP = save(PICTURE, "BMP")
_TIFF = save(PICTURE, "TIFF")
_WEBP = save(PICTURE, "WEBP")
_ALPHA = Image.fromarray(np.dstack([NOISE, NOISE[..., 0]]), "RGBA")
_OPAQUE = Image.fromarray(np.dstack([NOISE, np.full(NOISE.shape[:2], 255, np.uint8)]), "RGBA")
_TWO = {"save_all": True, "append_images": [Image.new("RGB", PICTURE.size, "red")]}


def patched(content: bytes, place: int, new: bytes) -> bytes:
    return content[:place] + new + content[place + len(new) :]


def _jpeg_sized(width: int, height: int) -> bytes:
    return patched(_JPEG, _JPEG.index(b"\xff\xc0") + 5, struct.pack(">HH", height, width))


def _jpegs() -> Iterator[tuple[str, bytes, str]]:
    frame, scan = _JPEG.index(b"\xff\xc0"), _JPEG.index(b"\xff\xda") + 14
    cmyk = save(PICTURE.convert("CMYK"), "JPEG")
    middle = (scan + len(_JPEG)) // 2
    yield "plain.jpg", _JPEG, OK
    yield "CAPITALS.JPEG", _JPEG, OK
    yield "grey.jpg", save(PICTURE.convert("L"), "JPEG"), OK
    yield "progressive.jpg", save(PICTURE, "JPEG", progressive=True), OK
    yield "restart.jpg", save(PICTURE, "JPEG", restart_marker_blocks=1), OK
    yield "cmyk.jpg", cmyk, "CMYK"
    yield "ycck.jpg", patched(cmyk, cmyk.index(b"Adobe") + 11, b"\2"), "CMYK"
    yield "turned.jpg", save(PICTURE, "JPEG", exif=exif(6)), "EXIF_ROTATED"
    yield "mirrored.jpg", save(PICTURE, "JPEG", exif=exif(2)), "EXIF_ROTATED"
    yield "mpo.jpg", save(PICTURE, "MPO", **_TWO), "MULTIFRAME"
    yield "trailing.jpg", _JPEG + b"more of it", "TRAILING_BYTES"
    yield "is-jpeg.png", _JPEG, "EXT_MISMATCH"
    yield "12-bit.jpg", patched(_JPEG, frame + 4, b"\x0c"), "UNSUPPORTED_DEPTH"
    yield "2-components.jpg", patched(_JPEG, frame + 9, b"\2"), "UNSUPPORTED_DEPTH"
    yield "cut-in-header.jpg", _JPEG[: frame + 3], "TRUNCATED"
    yield "cut-in-tables.jpg", _JPEG[: scan - 20], "TRUNCATED"
    yield "cut-quarter.jpg", _JPEG[: scan + (len(_JPEG) - scan) // 4], "TRUNCATED"
    yield "cut-half.jpg", _JPEG[:middle], "TRUNCATED"
    yield "cut-last-2.jpg", _JPEG[:-2], "TRUNCATED"
    yield "zeros-inside.jpg", patched(_JPEG, middle, bytes(200)), "CORRUPT_SCAN"
    yield "end-inside.jpg", patched(_JPEG, middle, b"\xff\xd9"), "CORRUPT_SCAN"
    yield "taller-than-stored.jpg", _jpeg_sized(64, 4800), "CORRUPT_SCAN"
    yield "huge.jpg", _jpeg_sized(HUGE, HUGE), "TOO_LARGE"
    yield "0x0.jpg", _jpeg_sized(0, 0), "NOT_AN_IMAGE"
    yield "before.jpg", b"\n" + _JPEG, "NOT_AN_IMAGE"


def _png_sized(width: int, height: int) -> bytes:
    return png((width, height), 8, 2, b"\0" * 4)


def _pngs() -> Iterator[tuple[str, bytes, str]]:
    palette = chunk(b"PLTE", bytes(range(12)))
    data = _PNG.index(b"IDAT")
    damaged = zlib.compress(NOISE.tobytes())
    wrong = chunk(b"IDAT", patched(damaged, len(damaged) // 2, b"\xff\0\xff\0"))
    row = b"\0" * 3  # a filter byte and two bytes
    sixteen = b"\0" + bytes(range(12)), b"\0" + bytes(range(16))
    yield "plain.png", _PNG, OK
    yield "1-bit.png", save(PICTURE.convert("1"), "PNG"), OK
    yield "2-bit.png", png((8, 8), 2, 0, row * 8), OK
    yield "palette.png", save(PICTURE.convert("P"), "PNG"), OK
    yield "rgba.png", save(_ALPHA, "PNG"), "ALPHA"
    yield "rgba-opaque.png", save(_OPAQUE, "PNG"), OK
    yield "la.png", save(_ALPHA.convert("LA"), "PNG"), "ALPHA"
    yield "palette-alpha.png", png((8, 8), 8, 3, b"\0" * 72, before=palette + chunk(b"tRNS", b"\7")), "ALPHA"  # fmt: skip  # noqa: E501
    yield "palette-opaque.png", png((8, 8), 8, 3, b"\0" * 72, before=palette + chunk(b"tRNS", b"\xff")), OK  # fmt: skip  # noqa: E501
    yield "colour-alpha.png", png((8, 8), 8, 2, b"\0" * 200, before=transparent(0, 0, 0)), "ALPHA"
    yield "colour-absent.png", png((8, 8), 8, 2, b"\0" * 200, before=transparent(9, 9, 9)), OK
    yield "grey-16.png", save(_GREY16, "PNG"), "SIXTEEN_BIT"
    yield "rgb-16.png", png((2, 8), 16, 2, sixteen[0] * 8), "TINY, SIXTEEN_BIT"
    yield "rgba-16.png", png((2, 8), 16, 6, sixteen[1] * 8), "TINY, ALPHA, SIXTEEN_BIT"
    yield "animated.png", save(PICTURE, "PNG", **_TWO), "MULTIFRAME"
    yield "turned.png", save(PICTURE, "PNG", exif=exif(8)), "EXIF_ROTATED"
    yield "trailing.png", _PNG + b"\0", "TRAILING_BYTES"
    yield "is-png.jpg", _PNG, "EXT_MISMATCH"
    yield "text-bomb.png", png((8, 8), 8, 2, b"\0" * 200, before=chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(1 << 26)))), OK  # fmt: skip  # noqa: E501
    yield "wrong-crc.png", patched(_PNG, _PNG.index(b"IEND") - 8, b"\1\2\3\4"), "BAD_CRC"
    yield "flipped.png", patched(_PNG, data + 40, bytes([_PNG[data + 40] ^ 1])), "BAD_CRC"
    yield "damaged.png", PNG_START + _PNG[8:33] + wrong + chunk(b"IEND", b""), "CORRUPT_SCAN"
    yield "cut-header.png", _PNG[:20], "TRUNCATED"
    yield "cut-half.png", _PNG[: len(_PNG) // 2], "TRUNCATED"
    yield "no-end.png", _PNG[:-12], "TRUNCATED"
    yield "rows-missing.png", png((8, 8), 8, 2, b"\0" * 100), "TRUNCATED"
    yield "no-palette.png", png((8, 8), 8, 3, b"\0" * 72), "NOT_AN_IMAGE"
    yield "huge.png", _png_sized(HUGE, HUGE), "TOO_LARGE"
    yield "bomb.png", png((20_000, 20_000), 1, 0, bytes(2501 * 20_000)), "TOO_LARGE"
    yield "bomb-within.png", png((7990, 7990), 8, 6, bytes(31961 * 7990)), "ALPHA"
    yield "0x0.png", _png_sized(0, 0), "NOT_AN_IMAGE"
    yield "1x1.png", png((1, 1), 8, 0, b"\0\1"), "TINY"
    yield "1x60000.png", png((1, 60_000), 8, 0, b"\0\1" * 60_000), "TINY, EXTREME_ASPECT"
    yield "thin.png", png((300, 9), 8, 0, bytes(301 * 9)), "EXTREME_ASPECT"


def _others() -> Iterator[tuple[str, bytes, str]]:
    moved = save(PICTURE.convert("P"), "GIF", **{**_TWO, "append_images": [_GREY16.convert("P")]})
    clear = save(
        PICTURE.convert("P"), "GIF", transparency=int(PICTURE.convert("P").getpixel((0, 0)))
    )
    riff = struct.pack("<4sI4s4sI", b"RIFF", 22, b"WEBP", b"VP8X", 10)
    wide = struct.pack("<I", HUGE - 1)[:3] * 2
    yield "plain.gif", _GIF, OK
    yield "animated.gif", moved, "MULTIFRAME"
    yield "clear.gif", clear, "ALPHA"
    yield "trailing.gif", _GIF + b"\0\0", "TRAILING_BYTES"
    yield "huge.gif", patched(_GIF, 6, struct.pack("<HH", HUGE, HUGE)), "TOO_LARGE"
    yield "cut.gif", _GIF[: len(_GIF) // 2], "TRUNCATED"
    yield "cut-header.gif", _GIF[:9], "TRUNCATED"
    yield "plain.bmp", _BMP, OK
    yield "huge.bmp", patched(_BMP, 18, struct.pack("<ii", HUGE, HUGE)), "TOO_LARGE"
    yield "0x0.bmp", patched(_BMP, 18, bytes(8)), "NOT_AN_IMAGE"
    yield "cut.bmp", _BMP[: len(_BMP) // 2], "TRUNCATED"
    yield "plain.tiff", _TIFF, OK
    yield "lzw.tif", save(PICTURE, "TIFF", compression="tiff_lzw"), OK
    yield "cmyk.tif", save(PICTURE.convert("CMYK"), "TIFF"), "CMYK"
    yield "rgba.tif", save(_ALPHA, "TIFF"), "ALPHA"
    yield "grey-16.tif", save(_GREY16, "TIFF"), "SIXTEEN_BIT"
    yield "turned.tif", save(PICTURE, "TIFF", exif=exif(5)), "EXIF_ROTATED"
    yield "pages.tif", _pages(), "MULTIFRAME"
    yield "float.tif", save(_GREY16.convert("F"), "TIFF"), "UNSUPPORTED_DEPTH"
    yield "huge.tif", grey_tiff((HUGE, HUGE), 8, b"\0"), "TOO_LARGE"
    yield "0x0.tif", grey_tiff((0, 0), 8, b"\0"), "NOT_AN_IMAGE"
    yield "cut.tif", grey_tiff((9, 9), 8, bytes(40)), "TRUNCATED"
    yield "plain.webp", _WEBP, OK
    yield "alpha.webp", save(_ALPHA, "WEBP", lossless=True), "ALPHA"
    yield "animated.webp", save(PICTURE, "WEBP", **_TWO), "MULTIFRAME"
    yield "trailing.webp", _WEBP + b"trailing", "TRAILING_BYTES"
    yield "huge.webp", riff + bytes(4) + wide, "TOO_LARGE"
    yield "bomb-within.webp", save(Image.new("RGB", (6000, 6000)), "WEBP", method=0), OK
    yield "cut.webp", _WEBP[: len(_WEBP) // 2], "TRUNCATED"


def _pages() -> bytes:
    buffer = BytesIO()
    PICTURE.save(buffer, "TIFF", save_all=True, append_images=[PICTURE.copy()])
    return buffer.getvalue()


def _no_images() -> Iterator[tuple[str, bytes, str]]:
    contents = {
        "html": b"<!DOCTYPE html><html><body>404</body></html>",
        "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n{} loop\n",
        "pdf": b"%PDF-1.7\n1 0 obj\n",
        "svg": b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>',
        "zip": b"PK\3\4" + bytes(40),
        "mp4": b"\0\0\0\x18ftypmp42" + bytes(40),
        "avif": b"\0\0\0\x1cftypavif" + bytes(40),
        "appledouble": b"\0\5\x16\7\0\2\0\0Mac OS X        " + bytes(40),
        "lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        "psd": b"8BPS\0\1" + bytes(40),
        "jpeg2000": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(40),
        "ppm": b"P6 2 2 255\n" + bytes(12),
        "zeros": bytes(5000),
        "text": b"just text\n",
    }
    yield "empty.jpg", b"", "EMPTY"
    yield "start-alone.jpg", b"\xff\xd8\xff", "TRUNCATED"
    yield "start-alone.png", PNG_START, "TRUNCATED"
    for kind, content in contents.items():
        yield f"{kind}.jpg", content, "NOT_AN_IMAGE"


def _odd_names() -> Iterator[tuple[str, bytes, str]]:
    for name in (
        "new\nline.png",
        "quote\"'.png",
        "<img src=x onerror=alert(1)>.png",
        "=HYPERLINK(1).png",
        "tab\tand back\\slash.png",
        "ünï😀.png",
        "l" * 251 + ".png",
        "no extension",
    ):
        yield name, _PNG, OK


def write_crafted(folder: Path) -> dict[str, str]:
    """Write every crafted file below a folder; return the outcome of each, by name.

    An outcome is "ok", the codes of notes, or the code of a reason to quarantine.
    """
    outcomes = {}
    for makers in (_jpegs, _pngs, _others, _no_images, _odd_names):
        for name, content, outcome in makers():
            assert name not in outcomes
            (folder / name).write_bytes(content)
            outcomes[name] = outcome
    return outcomes | _no_files(folder)


def _no_files(folder: Path) -> dict[str, str]:
    """Make what is no regular file, and links."""
    os.mkfifo(folder / "fifo.jpg")
    (folder / "folder.jpg").mkdir()
    with socket.socket(socket.AF_UNIX) as bound:
        here = Path.cwd()
        os.chdir(folder)  # the name of a socket may have 108 bytes
        try:
            bound.bind("socket.jpg")
        finally:
            os.chdir(here)
    outside = folder.parent / "outside.png"
    outside.write_bytes(_PNG)
    (folder / "loop.jpg").symlink_to("loop.jpg")
    (folder / "dangling.jpg").symlink_to("nowhere.jpg")
    (folder / "link.png").symlink_to("plain.png")
    (folder / "outside.png").symlink_to(outside)
    return {
        "fifo.jpg": "NOT_A_FILE",
        "folder.jpg": "NOT_A_FILE",
        "socket.jpg": "NOT_A_FILE",
        "loop.jpg": "UNREADABLE",
        "dangling.jpg": "MISSING",
        "never-there.jpg": "MISSING",
        "plain.png/inside.png": "MISSING",
        "link.png": OK,
        "outside.png": OK,
    }
