from __future__ import annotations

from typing import Any, get_args

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from image_bytes import NOISE, save
from PIL import Image

from sightline.data.images import Interpolation, Quality, decode, resize

Pixels = npt.NDArray[np.uint8]

QUALITIES = get_args(Quality)
INTERPOLATIONS = get_args(Interpolation)


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)


def photograph(height: int, width: int, channels: int = 3) -> Pixels:
    """Return something like a photograph: structure at every scale, edges, a little grain."""
    rng = np.random.default_rng(1)
    image = np.zeros((height, width, channels))
    for side in (3, 7, 17, 43, 101):
        coarse = rng.normal(0, 1, (side, side, channels)).reshape(side, side, channels)
        grown = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        image += 40 * grown.reshape(image.shape) / np.sqrt(side)
    for _ in range(12):
        y, x = rng.integers(0, height), rng.integers(0, width)
        image[y : y + height // 5, x : x + width // 5] += rng.normal(0, 30, channels)
    return np.clip(128 + image + rng.normal(0, 3, image.shape), 0, 255).astype(np.uint8)


def by_pillow(image: Pixels, size: tuple[int, int], interpolation: str) -> Pixels:
    picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
    resized = picture.resize(size[::-1], Image.Resampling[interpolation.upper()])
    return np.asarray(resized).reshape(*size, image.shape[2])


# --- the array -------------------------------------------------------------------------


@pytest.mark.parametrize("quality", QUALITIES)
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("size", [(5, 9), (13, 40), (50, 60), (1, 1)])
def test_a_picture_is_resized_to_height_and_width(
    size: tuple[int, int], channels: int, quality: Any
) -> None:
    resized = resize(noise(13, 17, channels), size, quality=quality)
    assert (resized.shape, resized.dtype) == ((*size, channels), np.uint8)
    assert (resized.flags.c_contiguous, resized.flags.writeable) == (True, True)


@pytest.mark.parametrize("quality", QUALITIES)
def test_a_picture_of_that_size_is_not_copied(quality: Any) -> None:
    assert resize(NOISE, (13, 17), quality=quality) is NOISE


@pytest.mark.parametrize("quality", QUALITIES)
def test_a_picture_that_is_a_view_with_strides_is_resized(quality: Any) -> None:
    view = noise(40, 40)[::2, ::-1]
    expected = resize(np.ascontiguousarray(view), (7, 9), quality=quality)
    np.testing.assert_array_equal(resize(view, (7, 9), quality=quality), expected)


@pytest.mark.parametrize("quality", QUALITIES)
@pytest.mark.parametrize("size", [(3, 4), (9, 9), (40, 50)])
def test_one_colour_stays_that_colour(size: tuple[int, int], quality: Any) -> None:
    plain = np.full((11, 23, 3), (7, 130, 251), np.uint8)
    assert (resize(plain, size, quality=quality) == (7, 130, 251)).all()


# --- the same as Pillow ----------------------------------------------------------------


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("size", [(5, 9), (13, 40), (26, 17), (39, 51), (1, 1)])
def test_compat_is_pillows_filter_value_for_value(
    size: tuple[int, int], channels: int, interpolation: Any
) -> None:
    image = noise(13, 17, channels)
    found = resize(image, size, quality="compat", interpolation=interpolation)
    np.testing.assert_array_equal(found, by_pillow(image, size, interpolation))


@given(
    old=st.tuples(st.integers(1, 900), st.integers(1, 40)),
    new=st.tuples(st.integers(1, 400), st.integers(1, 40)),
    turned=st.booleans(),
)
def test_the_nearest_pixel_is_pillows_for_any_two_sizes(
    old: tuple[int, int], new: tuple[int, int], turned: bool
) -> None:
    if turned:
        old, new = old[::-1], new[::-1]
    number = np.arange(old[0] * old[1]).reshape(old)  # each pixel is one of its own
    image = np.stack([number % 256, number // 256, number * 0], axis=-1).astype(np.uint8)
    found = resize(image, new, quality="compat", interpolation="nearest")
    np.testing.assert_array_equal(found, by_pillow(image, new, "nearest"))


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("size", [(5, 9), (13, 40), (39, 51)])
def test_best_is_pillows_antialiased_bilinear_filter(size: tuple[int, int], channels: int) -> None:
    image = noise(13, 17, channels)
    found = resize(image, size, quality="best")
    np.testing.assert_array_equal(found, by_pillow(image, size, "bilinear"))


def test_the_interpolation_is_for_compat_alone() -> None:
    image = noise(13, 17)
    for quality in ("fast", "best"):
        plain = resize(image, (5, 9), quality=quality)
        other = resize(image, (5, 9), quality=quality, interpolation="lanczos")
        np.testing.assert_array_equal(other, plain)


# --- fast ------------------------------------------------------------------------------


def test_fast_is_what_is_taken_unless_told_otherwise() -> None:
    image = noise(13, 17)
    np.testing.assert_array_equal(resize(image, (5, 9)), resize(image, (5, 9), quality="fast"))


@pytest.mark.parametrize("size", [(40, 50), (30, 60), (20, 30), (20, 100), (200, 20)])
def test_fast_takes_four_neighbours_where_no_side_shrinks_by_more_than_half_or_one_grows(
    size: tuple[int, int],
) -> None:
    image = noise(40, 60)
    expected = cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(resize(image, size), expected)


@pytest.mark.parametrize("size", [(19, 60), (40, 29), (3, 4), (1, 1)])
def test_fast_averages_areas_where_four_neighbours_would_miss_pixels(
    size: tuple[int, int],
) -> None:
    image = noise(40, 60)
    expected = cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(resize(image, size), expected)


def test_fast_sees_a_thin_line_however_much_it_shrinks() -> None:
    image = np.zeros((300, 300, 1), np.uint8)
    image[:, 150] = 255
    assert resize(image, (30, 30)).max() >= 20


# Levels of 255 between each quality and Pillow's antialiased bilinear filter on the whole file,
# and about twice what was measured on pictures like these.
DIFFERENCES = {"fast": (2.0, 50), "compat": (3.5, 60), "best": (0.0, 0)}


@pytest.mark.parametrize("stored", [(224, 224), (450, 600), (1000, 1400)])
@pytest.mark.parametrize("quality", QUALITIES)
def test_each_quality_is_as_near_to_an_antialiased_picture_as_is_documented(
    quality: Any, stored: tuple[int, int]
) -> None:
    size = (122, 122)
    content = save(Image.fromarray(photograph(*stored)), "JPEG", quality=90)
    whole = by_pillow(decode(content), size, "bilinear").astype(int)
    decoded = decode(content, min_size=size if quality == "fast" else None)
    difference = np.abs(resize(decoded, size, quality=quality) - whole)
    mean, most = DIFFERENCES[quality]
    assert difference.mean() <= mean
    assert difference.max() <= most


# --- what is refused -------------------------------------------------------------------


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (-1, 5)])
def test_a_size_below_one_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=rf"at least 1, got \({size[0]}, {size[1]}\)"):
        resize(NOISE, size)


@pytest.mark.parametrize(
    "image", [NOISE[..., 0], NOISE.astype(np.float32), NOISE[:0], NOISE[..., :2]]
)
def test_an_array_that_is_no_picture_is_refused(image: Any) -> None:
    with pytest.raises(ValueError, match=r"image must be \(height, width, 1, 3 or 4\) of uint8"):
        resize(image, (5, 5))


def test_a_quality_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match=r"quality must be one of .*'compat'.* got 'good'"):
        resize(NOISE, (5, 5), quality="good")  # type: ignore[arg-type]


def test_an_interpolation_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match=r"interpolation one of .*'lanczos'.* got 'fast' and 'x'"):
        resize(NOISE, (5, 5), interpolation="x")  # type: ignore[arg-type]
