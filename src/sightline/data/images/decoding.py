"""`decode`: bytes of a file to pixels, by one of two rule sets."""

from __future__ import annotations

from io import BytesIO
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from sightline.data.images.header import (
    BOMBS,
    DAMAGE,
    DEFAULT_MAX_MEGAPIXELS,
    Header,
    bomb,
    check_agrees,
)
from sightline.data.images.headers import read_header
from sightline.data.images.jpeg import decode_jpeg
from sightline.data.images.png import check_rows, pixel_chunks
from sightline.errors import DataError

RuleSet = Literal["sightline", "keras"]
Channels = Literal[1, 3, 4]
Pixels = npt.NDArray[np.uint8]

DECODER_VERSION = 2  # part of every cache key: raise it when any file decodes differently

# Bytes for each pixel of a file while it is decoded and resized, beside its content.
_PIXEL_BYTES = {("JPEG", "L"): 12, ("JPEG", "RGB"): 14, ("JPEG", "CMYK"): 16}
_BAND = 1 << 20  # pixels that are converted at once
_OTHER_PIXEL_BYTES = 18  # WebP takes most: its decoder keeps two pictures of 4 each

_RULE_SETS = get_args(RuleSet)  # asked for each file, and get_args takes 2 microseconds
_MODES: dict[int, str] = {1: "L", 3: "RGB", 4: "RGBA"}

# The plugin of the format is called directly: `Image.open` would try others, and would warn about
# sizes that have been checked here. JPEG never goes to Pillow.
_PLUGINS: dict[str, type[ImageFile.ImageFile]] = {
    "PNG": PngImageFile,
    "GIF": GifImageFile,
    "BMP": BmpImageFile,
    "TIFF": TiffImageFile,
    "WEBP": WebPImageFile,
}


def decode(
    content: bytes,
    *,
    channels: Channels = 3,
    rule_set: RuleSet = "sightline",
    background: tuple[int, int, int] = (255, 255, 255),
    min_size: tuple[int, int] | None = None,
    max_megapixels: float = DEFAULT_MAX_MEGAPIXELS,
    max_bytes: int | None = None,
) -> Pixels:
    """Return the first picture of a file as (H, W, channels) uint8, 0..255: grey, RGB or RGBA.

    The array is C-contiguous, writable, and depends on the arguments alone. Safe in threads.
    With rule_set "sightline" the picture stands upright (EXIF orientation applied), 16 bits a
    sample become 8 by dropping the low ones, transparency lies on `background`, palettes are
    expanded, 1 bit becomes 0 and 255, CMYK becomes RGB by cmy * k / 255. Grey of colours is
    ITU-R 601 luma, 0.299 R + 0.587 G + 0.114 B. Colour profiles and gamma are not applied.

    With rule_set "keras" it is what `keras.utils.load_img` gives: not rotated (except TIFF, which
    Pillow rotates itself), transparency dropped, anything else as Pillow's `convert` does it:
    more than 8 bits a sample are clipped to 0..255, also where Keras keeps them (grey).
    `background` and `min_size` have no effect. Damaged files are refused all the same.

    Args:
        content: The whole file.
        channels: 3 for RGB, 1 for grey, 4 for RGBA (not laid on the background; opaque is 255).
        rule_set: "sightline", or "keras" for scripts that must see what Keras shows.
        background: RGB under transparent pixels, 0..255 each.
        min_size: (height, width) of the upright picture. A JPEG may come smaller than stored, at
            1/2 or less, but never below this. Other formats always come in full.
        max_megapixels: Larger pictures are refused before anything is allocated.
        max_bytes: Files that would take more than that to decode, their content included, are
            refused likewise; None for no limit.

    Raises:
        DataError: reason EMPTY, NOT_AN_IMAGE, TRUNCATED, TOO_LARGE, UNSUPPORTED_DEPTH, BAD_CRC
            or CORRUPT_SCAN (damaged pixels). The message knows no path.
        ValueError: There is no such rule set or number of channels.
    """
    if rule_set not in _RULE_SETS or channels not in _MODES:
        raise ValueError(
            f"rule_set must be one of {_RULE_SETS} and channels 1, 3 or 4, got "
            f"{rule_set!r} and {channels!r}"
        )
    header = read_header(content, max_megapixels=max_megapixels)
    _refuse_bytes(header, len(content), max_bytes)
    if rule_set == "keras":
        return _by_keras_rules(content, header, channels)
    return decode_as_read(content, header, channels, background=background, min_size=min_size)


def decode_as_read(
    content: bytes,
    header: Header,
    channels: Channels = 3,
    *,
    background: tuple[int, int, int] = (255, 255, 255),
    min_size: tuple[int, int] | None = None,
) -> Pixels:
    """Return what `decode` does by the rules of Sightline, given the header of this content.

    Raises:
        DataError: as `decode`, but for what reading the header refuses.
    """
    if header.format == "JPEG":
        if min_size is not None and header.orientation >= 5:
            min_size = (min_size[1], min_size[0])
        pixels = decode_jpeg(content, header, grey=channels == 1, min_size=min_size)
        if pixels.shape[2] != channels:  # CMYK always comes as RGB
            pixels = _as_array(Image.fromarray(pixels), channels)
        return _upright(pixels, header.orientation)
    _refuse_depth(header)
    image = _open(content, header)
    if header.format == "PNG":
        _mend_transparent_colour(image, header)
    if image.mode.startswith("I;16"):
        image = _eight_bits(image, header)
    pixels = _as_array(image, channels, None if channels == 4 else background)
    # Pillow has turned a TIFF upright by itself when it loaded it.
    return pixels if header.format == "TIFF" else _upright(pixels, header.orientation)


def _by_keras_rules(content: bytes, header: Header, channels: Channels) -> Pixels:
    if header.format == "JPEG":
        pixels = decode_jpeg(content, header, grey=header.mode == "L" and channels == 1)
        if pixels.shape[2] == channels:
            return pixels
        return _as_array(Image.fromarray(pixels), channels)
    if header.mode == "LAB":
        raise _unknown_range(header)  # Keras cannot show it either
    image = _open(content, header)
    if channels == 1 and image.mode in ("I;16", "I"):
        raise DataError(
            f"Keras shows this {header.format} file's grey in values up to 65,535, which 8 bits do "
            "not hold. Convert the file, or take quality fast or best, which scale it.",
            reason="UNSUPPORTED_DEPTH",
        )
    if channels != 4:
        image.info.pop("transparency", None)  # convert would drop it, with a warning
    return _as_array(image, channels)


def _open(content: bytes, header: Header) -> Image.Image:
    """Return the loaded first picture of a file that is not a JPEG."""
    if header.format == "PNG":
        content = pixel_chunks(content)
    try:
        image = _PLUGINS[header.format](BytesIO(content))
        check_agrees(*image.size, header)
        image.load()
        if header.format == "PNG" and _may_lack_rows(image, content):
            check_rows(content)
    except DataError:
        raise
    except BOMBS as error:
        raise bomb(error) from error
    except DAMAGE as error:
        if "truncated" in str(error).lower() or isinstance(error, EOFError):
            raise DataError(
                f"the {header.format} file ends before its last pixels ({error}): it was cut off. "
                "Copy or download it again.",
                reason="TRUNCATED",
            ) from error
        raise DataError(
            f"the {header.format} file is damaged inside: {error}. Replace it or leave it out.",
            reason="CORRUPT_SCAN",
        ) from error
    return image


def _may_lack_rows(image: Image.Image, content: bytes) -> bool:
    """Return True unless the last row that a PNG stores has reached the picture."""
    interlaced = content[28] != 0
    last_row = image.crop((0, image.height - 1, image.width, image.height))
    return interlaced or last_row.getbbox(alpha_only=False) is None


def decoding_bytes(header: Header, content_bytes: int) -> int:
    """Return how many bytes a file takes at most while it is decoded, its content included."""
    a_pixel = _PIXEL_BYTES.get((header.format, header.mode), _OTHER_PIXEL_BYTES)
    return a_pixel * header.width * header.height + 2 * content_bytes


def _refuse_bytes(header: Header, content_bytes: int, max_bytes: int | None) -> None:
    """Refuse a file that needs too much memory, by what such files were seen to take at most."""
    if max_bytes is None:
        return
    needed = decoding_bytes(header, content_bytes)
    if needed > max_bytes:
        raise DataError(
            f"the {header.format} of {header.width} x {header.height} pixels takes up to "
            f"{needed:,} bytes to decode, and {max_bytes:,} may be used. Shrink the picture, or "
            "allow more memory (max_memory).",
            reason="TOO_LARGE",
        )


def _refuse_depth(header: Header) -> None:
    if header.mode in ("F", "I", "LAB", "HSV"):
        raise _unknown_range(header)


def _unknown_range(header: Header) -> DataError:
    return DataError(
        f"the {header.format} file has samples of mode {header.mode!r} ({header.bits} bits), "
        "whose range is not known. Convert it to 8 or 16 bits grey or RGB, choosing the range.",
        reason="UNSUPPORTED_DEPTH",
    )


def _eight_bits(image: Image.Image, header: Header) -> Image.Image:
    """Return 9..16-bit grey as 8 bits by its high bits; Pillow's own conversion saturates."""
    samples = np.asarray(image)
    grey = (samples >> max(header.bits - 8, 0)).astype(np.uint8)
    if header.inverted:
        grey = 255 - grey
    transparent = image.info.get("transparency")
    if transparent is None:
        return Image.fromarray(grey)
    opaque = np.where(samples == transparent, 0, 255).astype(np.uint8)
    return Image.fromarray(np.stack([grey, opaque], axis=2))


def _mend_transparent_colour(image: Image.Image, header: Header) -> None:
    """Scale a PNG's transparent colour as Pillow has scaled the pixels, which it forgets.

    Of 16-bit colours the high bytes are compared, because Pillow keeps no more of them.
    """
    colour = image.info.get("transparency")
    if image.mode == "L" and header.bits in (2, 4) and isinstance(colour, int):
        image.info["transparency"] = colour * (255 // (2**header.bits - 1))
    elif image.mode == "RGB" and header.bits == 16 and isinstance(colour, tuple):
        image.info["transparency"] = tuple(sample >> 8 for sample in colour)


def _on_background(image: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    if not image.has_transparency_data:
        return image
    cover = image.convert("RGBA")
    canvas = Image.new("RGB", image.size, background)
    canvas.paste(cover, mask=cover)
    return canvas


def _as_array(
    image: Image.Image, channels: Channels, background: tuple[int, int, int] | None = None
) -> Pixels:
    """Return (H, W, channels) by Pillow's conversion; its "L" is ITU-R 601.

    A large picture is converted in bands, as each step makes a copy of what it converts.
    """
    width, height = image.size
    rows = max(1, _BAND // width)
    if rows >= height:
        flat = image if background is None else _on_background(image, background)
        pixels: Pixels = np.array(flat.convert(_MODES[channels]))
        return pixels[..., None] if channels == 1 else pixels
    pixels = np.empty((height, width, channels), np.uint8)
    for top in range(0, height, rows):
        band = image.crop((0, top, width, min(height, top + rows)))
        pixels[top : top + rows] = _as_array(band, channels, background)
    return pixels


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    """Return the picture turned and mirrored as its EXIF orientation asks."""
    if orientation == 1:
        return pixels
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
