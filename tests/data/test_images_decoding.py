from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from image_bytes import NOISE, PICTURE, chunk, exif, grey_tiff, png, samples, save, transparent
from PIL import Image, ImageOps

from sightline.data.images import decode, encode_jpeg, encode_png, read_header
from sightline.errors import DataError

SAMPLES = samples()
RED = (255, 0, 0)
LARGE = PICTURE.resize((800, 600), Image.Resampling.BICUBIC)


def pixels(content: bytes, **options: Any) -> list[list[int]]:
    """Return the pixels as one list of samples each, row by row."""
    image = decode(content, **options)
    rows: list[list[int]] = image.reshape(-1, image.shape[2]).tolist()
    return rows


def by_pillow(content: bytes, mode: str = "RGB") -> npt.NDArray[np.uint8]:
    with Image.open(BytesIO(content)) as image:
        converted = np.asarray(image.convert(mode))
    return converted.reshape(*converted.shape[:2], -1)


DEEP_GREY = ("png 16", "tiff 16")

# --- the array -------------------------------------------------------------------------


@pytest.mark.parametrize("rule_set", ["sightline", "keras"])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_a_picture_is_height_width_channels_of_uint8(
    name: str, channels: Any, rule_set: Any
) -> None:
    if name in DEEP_GREY and channels == 1 and rule_set == "keras":
        return  # refused, see below
    image = decode(SAMPLES[name], channels=channels, rule_set=rule_set)
    turned = name == "tiff turned" or (name == "jpeg turned" and rule_set == "sightline")
    shape = (17, 13, channels) if turned else (13, 17, channels)
    assert (image.shape, image.dtype) == (shape, np.uint8)


@pytest.mark.parametrize("rule_set", ["sightline", "keras"])
@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_a_picture_is_contiguous_and_writable(name: str, rule_set: Any) -> None:
    flags = decode(SAMPLES[name], rule_set=rule_set).flags
    assert (flags.c_contiguous, flags.writeable) == (True, True)


def test_threads_decode_the_same_pixels() -> None:
    contents = list(SAMPLES.values()) * 5
    with ThreadPoolExecutor(4) as pool:
        threaded = list(pool.map(decode, contents))
    alone = map(decode, contents)
    assert all((a == b).all() for a, b in zip(threaded, alone, strict=True))


def test_a_rule_set_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match=r"rule_set must be one of .* got 'Keras'"):
        decode(SAMPLES["jpeg"], rule_set="Keras")  # type: ignore[arg-type]


def test_two_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="channels 1, 3 or 4, got 'sightline' and 2"):
        decode(SAMPLES["jpeg"], channels=2)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["png RGB", "bmp RGB", "tiff RGB", "tiff lzw"])
def test_a_format_without_loss_gives_the_pixels_back(name: str) -> None:
    assert (decode(SAMPLES[name]) == NOISE).all()


@pytest.mark.parametrize("name", sorted(set(SAMPLES) - {"png 16", "tiff 16"}))
def test_opaque_pictures_are_as_pillow_converts_them(name: str) -> None:
    with Image.open(BytesIO(SAMPLES[name])) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    assert (decode(SAMPLES[name]) == expected).all()


# --- orientation -----------------------------------------------------------------------


@pytest.mark.parametrize("format_name", ["PNG", "WEBP", "TIFF", "JPEG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_applied(format_name: str, orientation: int) -> None:
    lossless = {"lossless": True} if format_name == "WEBP" else {}
    content = save(PICTURE, format_name, exif=exif(orientation), **lossless)
    with Image.open(BytesIO(content)) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    assert (decode(content) == expected).all()


# --- depth -----------------------------------------------------------------------------


def test_sixteen_bit_grey_png_is_scaled_not_saturated() -> None:
    content = png((2, 1), 16, 0, b"\0" + struct.pack(">2H", 0x1234, 0xF0FF))
    assert pixels(content, channels=1) == [[0x12], [0xF0]]


@pytest.mark.parametrize("order", ["<", ">"])
def test_sixteen_bit_grey_tiff_is_scaled_not_saturated(order: str) -> None:
    content = grey_tiff((2, 1), 16, struct.pack(order + "2H", 0x1234, 0xF0FF), order=order)
    assert pixels(content, channels=1) == [[0x12], [0xF0]]


def test_twelve_bit_grey_tiff_is_scaled_by_its_own_range() -> None:
    assert pixels(grey_tiff((2, 1), 12, b"\x12\x3f\x00"), channels=1) == [[0x12], [0xF0]]


def test_sixteen_bit_tiff_whose_zero_is_white_is_inverted() -> None:
    content = grey_tiff((2, 1), 16, struct.pack("<2H", 0x1234, 0xF0FF), photometric=0)
    assert pixels(content, channels=1) == [[0xED], [0x0F]]


def test_sixteen_bit_colours_give_their_high_bytes() -> None:
    content = png((1, 1), 16, 2, b"\0" + struct.pack(">3H", 0x1234, 0x5678, 0x9ABC))
    assert pixels(content) == [[0x12, 0x56, 0x9A]]


@pytest.mark.parametrize("mode", ["F", "I"])
def test_a_tiff_whose_range_is_not_known_is_refused(mode: str) -> None:
    with pytest.raises(DataError, match="whose range is not known") as caught:
        decode(save(Image.new(mode, (3, 2)), "TIFF"))
    assert caught.value.reason == "UNSUPPORTED_DEPTH"


def test_one_bit_becomes_black_and_white() -> None:
    assert pixels(png((2, 1), 1, 0, b"\0\x40"), channels=1) == [[0], [255]]


def test_four_bits_are_spread_over_the_whole_range() -> None:
    assert pixels(png((2, 1), 4, 0, b"\0\x0f"), channels=1) == [[0], [255]]


# --- transparency and palettes ---------------------------------------------------------


@pytest.mark.parametrize(
    ("bits", "row", "clear"),
    [
        (1, b"\x40", 0),
        (2, b"\x60", 1),
        (4, b"\x5a", 5),
        (8, b"\x05\xaa", 5),
        (16, b"\5\1\xaa\0", 0x501),
    ],
)
def test_the_transparent_grey_of_a_png_lies_on_the_background(
    bits: int, row: bytes, clear: int
) -> None:
    content = png((2, 1), bits, 0, b"\0" + row, before=transparent(clear))
    assert pixels(content, background=RED)[0] == list(RED)


@pytest.mark.parametrize("bits", [2, 4, 8, 16])
def test_other_greys_than_the_transparent_one_stay(bits: int) -> None:
    row = {2: b"\x60", 4: b"\x5a", 8: b"\x05\xaa", 16: b"\5\1\xaa\0"}[bits]
    clear = {2: 1, 4: 5, 8: 5, 16: 0x501}[bits]
    content = png((2, 1), bits, 0, b"\0" + row, before=transparent(clear))
    assert pixels(content, background=RED)[1] == [0xAA] * 3


@pytest.mark.parametrize(("bits", "letter"), [(8, "B"), (16, "H")])
def test_the_transparent_colour_of_a_png_lies_on_the_background(bits: int, letter: str) -> None:
    row = b"\0" + struct.pack(f">6{letter}", 1, 2, 3, 200, 100, 50)
    content = png((2, 1), bits, 2, row, before=transparent(1, 2, 3))
    assert pixels(content, background=RED)[0] == list(RED)


def test_half_transparent_pixels_mix_with_the_background() -> None:
    content = save(Image.new("RGBA", (1, 1), (0, 0, 0, 128)), "PNG")
    assert pixels(content, background=(255, 255, 255)) == [[127, 127, 127]]


@pytest.mark.parametrize("format_name", ["PNG", "WEBP", "TIFF"])
def test_clear_pixels_show_the_background_in_every_format(format_name: str) -> None:
    lossless = {"lossless": True} if format_name == "WEBP" else {}
    content = save(Image.new("RGBA", (1, 1), (9, 9, 9, 0)), format_name, **lossless)
    assert pixels(content, background=RED) == [list(RED)]


def test_the_background_is_white_unless_said() -> None:
    assert pixels(save(Image.new("LA", (1, 1), (0, 0)), "PNG")) == [[255, 255, 255]]


def test_the_clear_colour_of_a_gif_lies_on_the_background() -> None:
    content = save(Image.new("P", (1, 1), 0), "GIF", transparency=0)
    assert pixels(content, background=RED) == [list(RED)]


def test_a_palette_is_expanded() -> None:
    palette = chunk(b"PLTE", bytes([10, 20, 30, 40, 50, 60]))
    assert pixels(png((2, 1), 8, 3, b"\0\0\1", before=palette)) == [[10, 20, 30], [40, 50, 60]]


def test_a_palette_with_a_clear_entry_lies_on_the_background() -> None:
    palette = chunk(b"PLTE", bytes([10, 20, 30, 40, 50, 60])) + chunk(b"tRNS", b"\0")
    content = png((2, 1), 8, 3, b"\0\0\1", before=palette)
    assert pixels(content, background=RED) == [list(RED), [40, 50, 60]]


@pytest.mark.parametrize("name", ["gif animated", "webp animated"])
def test_an_animation_gives_its_first_frame(name: str) -> None:
    still = by_pillow(SAMPLES[name])
    assert (decode(SAMPLES[name]) == still).all()


# --- RGBA ------------------------------------------------------------------------------


def test_four_channels_keep_alpha_and_the_colours_under_it() -> None:
    content = save(Image.new("RGBA", (1, 1), (9, 8, 7, 100)), "PNG")
    assert pixels(content, channels=4, background=RED) == [[9, 8, 7, 100]]


@pytest.mark.parametrize("name", ["jpeg", "jpeg grey", "jpeg cmyk", "png RGB", "bmp L", "webp"])
def test_four_channels_of_an_opaque_picture_are_its_colours_and_255(name: str) -> None:
    image = decode(SAMPLES[name], channels=4)
    assert (image[..., :3] == decode(SAMPLES[name])).all()
    assert (image[..., 3] == 255).all()


def test_four_channels_of_a_transparent_colour_have_no_alpha_there() -> None:
    content = png((2, 1), 8, 0, b"\0\5\6", before=transparent(5))
    assert pixels(content, channels=4) == [[5, 5, 5, 0], [6, 6, 6, 255]]


def test_four_channels_of_16_bits_have_no_background_either() -> None:
    content = png((2, 1), 16, 0, b"\0\5\0\6\0", before=transparent(0x500))
    assert pixels(content, channels=4) == [[5, 5, 5, 0], [6, 6, 6, 255]]


def test_four_channels_stand_upright() -> None:
    turned = decode(save(PICTURE, "PNG", exif=exif(6)), channels=4)
    assert (turned[..., :3] == np.rot90(NOISE, -1)).all()


def test_four_channels_of_a_jpeg_come_smaller_as_well() -> None:
    image = decode(save(LARGE, "JPEG"), channels=4, min_size=(100, 100))
    assert image.shape == (150, 200, 4)


# --- CMYK and grey ---------------------------------------------------------------------


@pytest.mark.parametrize("transform", [0, 2])
def test_cmyk_and_ycck_jpegs_are_as_pillow_converts_them(transform: int) -> None:
    content = SAMPLES["jpeg cmyk"]
    place = content.index(b"Adobe") + 11
    content = content[:place] + bytes([transform]) + content[place + 1 :]
    assert (decode(content) == by_pillow(content)).all()


def test_black_ink_is_black() -> None:
    content = save(Image.new("CMYK", (8, 8), (0, 0, 0, 255)), "JPEG", quality=100)
    assert decode(content).max() == 0


def test_no_ink_is_white() -> None:
    content = save(Image.new("CMYK", (8, 8), (0, 0, 0, 0)), "JPEG", quality=100)
    assert decode(content).min() == 255


def test_a_jpeg_that_stores_rgb_is_decoded() -> None:
    content = save(PICTURE, "JPEG", keep_rgb=True)
    assert (decode(content) == by_pillow(content)).all()


def test_the_grey_of_a_jpeg_is_its_luma() -> None:
    content = save(LARGE, "JPEG", quality=95)
    difference = decode(content, channels=1).astype(int) - by_pillow(content, "L")
    assert np.abs(difference).mean() < 1


# --- smaller than stored ---------------------------------------------------------------

JPEG = save(LARGE, "JPEG")


@pytest.mark.parametrize(
    ("least", "given"),
    [
        ((75, 100), (75, 100)),
        ((76, 100), (150, 200)),
        ((300, 400), (300, 400)),
        ((301, 400), (600, 800)),
        ((700, 900), (600, 800)),
    ],
)
def test_a_jpeg_may_come_smaller_but_never_below_the_least_size(
    least: tuple[int, int], given: tuple[int, int]
) -> None:
    assert decode(JPEG, min_size=least).shape[:2] == given


def test_the_least_size_is_that_of_the_upright_picture() -> None:
    content = save(LARGE, "JPEG", exif=exif(6))
    assert decode(content, min_size=(400, 300)).shape == (400, 300, 3)


def test_the_least_size_has_no_effect_by_keras_rules() -> None:
    assert decode(JPEG, min_size=(75, 100), rule_set="keras").shape == (600, 800, 3)


def test_the_least_size_has_no_effect_on_other_formats() -> None:
    assert decode(SAMPLES["png RGB"], min_size=(1, 1)).shape == (13, 17, 3)


# --- the rules of Keras ----------------------------------------------------------------

_SHOWN_BY_KERAS = """
import os, sys
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
import numpy as np
from keras.utils import img_to_array, load_img
folder = sys.argv[1]
arrays = {
    f"{name} {mode}": img_to_array(load_img(os.path.join(folder, name), color_mode=mode))
    for name in os.listdir(folder) for mode in ("rgb", "rgba", "grayscale")
}
np.savez(sys.argv[2], **arrays)
"""


@pytest.fixture(scope="module")
def keras_arrays(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Yield what Keras itself shows of every sample, asked in another process."""
    pytest.importorskip("tensorflow")
    folder = tmp_path_factory.mktemp("samples")
    for name, content in SAMPLES.items():
        (folder / name).write_bytes(content)
    result = tmp_path_factory.mktemp("arrays") / "shown.npz"
    command = [sys.executable, "-c", _SHOWN_BY_KERAS, str(folder), str(result)]
    subprocess.run(command, check=True, capture_output=True)
    with np.load(result) as arrays:
        yield dict(arrays)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_the_keras_rules_give_the_colours_of_load_img(
    name: str, keras_arrays: dict[str, Any]
) -> None:
    assert (decode(SAMPLES[name], rule_set="keras") == keras_arrays[f"{name} rgb"]).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_the_keras_rules_give_the_alpha_of_load_img(
    name: str, keras_arrays: dict[str, Any]
) -> None:
    shown = decode(SAMPLES[name], channels=4, rule_set="keras")
    assert (shown == keras_arrays[f"{name} rgba"]).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_the_keras_rules_give_the_greys_of_load_img_within_a_byte(
    name: str, keras_arrays: dict[str, Any]
) -> None:
    if name not in DEEP_GREY:
        found = decode(SAMPLES[name], channels=1, rule_set="keras")
        assert (found == keras_arrays[f"{name} grayscale"]).all()


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_the_keras_rules_are_pillows_conversion(name: str, channels: Any, mode: str) -> None:
    if name in DEEP_GREY and channels == 1:
        return
    image = decode(SAMPLES[name], channels=channels, rule_set="keras")
    assert (image == by_pillow(SAMPLES[name], mode)).all()


@pytest.mark.parametrize("name", DEEP_GREY)
def test_grey_that_keras_shows_in_16_bits_is_refused_by_its_rules(name: str) -> None:
    with pytest.raises(DataError, match="values up to 65,535, which 8 bits do not hold") as caught:
        decode(SAMPLES[name], channels=1, rule_set="keras")
    assert caught.value.reason == "UNSUPPORTED_DEPTH"


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("size", [(1, 1), (7, 9), (33, 16), (40, 31)])
def test_a_jpeg_has_the_pixels_that_pillow_gives(size: tuple[int, int], subsampling: int) -> None:
    content = save(LARGE.resize(size), "JPEG", subsampling=subsampling, progressive=True)
    assert (decode(content, rule_set="keras") == by_pillow(content)).all()


def test_the_keras_rules_drop_transparency() -> None:
    content = save(Image.new("RGBA", (1, 1), (9, 8, 7, 0)), "PNG")
    assert pixels(content, rule_set="keras", background=RED) == [[9, 8, 7]]


def test_the_keras_rules_clip_float_samples() -> None:
    content = save(Image.new("F", (1, 1), 300.0), "TIFF")
    assert pixels(content, rule_set="keras") == [[255, 255, 255]]


def test_the_keras_rules_refuse_what_keras_cannot_convert() -> None:
    with pytest.raises(DataError, match="mode 'LAB'"):
        decode(save(Image.new("LAB", (2, 2)), "TIFF"), rule_set="keras")


# --- encode ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "image", [NOISE[..., 0], NOISE.astype(np.float32), NOISE[:0], NOISE[..., :2]]
)
def test_an_array_that_is_no_picture_is_refused(image: Any) -> None:
    with pytest.raises(ValueError, match=r"image must be \(height, width, 1 or 3\) of uint8"):
        encode_png(image)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_png_gives_the_pixels_back(channels: Any) -> None:
    image = np.ascontiguousarray(NOISE[..., :channels])
    assert (decode(encode_png(image), channels=channels) == image).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_a_jpeg_gives_nearly_the_pixels_back(channels: Any) -> None:
    image = np.asarray(LARGE)[..., :channels]
    difference = decode(encode_jpeg(image, 95), channels=channels).astype(int) - image
    assert np.abs(difference).mean() < 4


def test_a_grey_picture_makes_a_grey_jpeg() -> None:
    assert read_header(encode_jpeg(NOISE[..., :1])).mode == "L"


def test_a_picture_that_is_a_view_is_encoded() -> None:
    assert (decode(encode_png(NOISE[::2, ::-1])) == NOISE[::2, ::-1]).all()


def test_a_quality_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match=r"quality must be 1\.\.100, got 0"):
        encode_jpeg(NOISE, 0)


def test_an_encoded_picture_carries_no_metadata(tmp_path: Path) -> None:
    path = tmp_path / "plain.png"
    path.write_bytes(encode_png(NOISE))
    with Image.open(path) as image:
        assert image.info == {}
