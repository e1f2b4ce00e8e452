"""The geometry and levels of augmentation against Keras' own ImageDataGenerator."""

from __future__ import annotations

import warnings
from typing import Any, get_args

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from sightline.data.stream import augment
from sightline.data.stream.augment import Changes
from sightline.data.stream.kernels import Fill, Output, make_kernel

SIDE = 24
NAMES = ("theta", "tx", "ty", "shear", "zx", "zy", "flip_horizontal", "flip_vertical")
GEOMETRY = 0.002  # of 255: SciPy sums the same products in another order

pytestmark = pytest.mark.filterwarnings("ignore:.*scipy.ndimage.*:DeprecationWarning")

Pixels = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def keras_image() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the frameworks' own, while they are imported
        return pytest.importorskip("keras.src.legacy.preprocessing.image")


def picture(seed: int, channels: int = 3, low: int = 0, high: int = 256) -> Pixels:
    rng = np.random.default_rng(seed)
    noise = rng.integers(low, high, (SIDE, SIDE, channels)).astype(np.uint8)
    return np.asarray(cv2.GaussianBlur(noise, (5, 5), 0), np.uint8).reshape(noise.shape)


def drawn(seed: int) -> dict[str, Any]:
    """Return parameters by Keras' names: angles in degrees, shifts in pixels."""
    lowest, highest = (-180, -6, -6, -40, 0.7, 0.7, 0, 0), (180, 6, 6, 40, 1.3, 1.3, 2, 2)
    values = np.random.default_rng(seed).uniform(lowest, highest).tolist()
    given = dict(zip(NAMES, values, strict=True))
    return given | {"flip_horizontal": values[6] > 1, "flip_vertical": values[7] > 1}


def matrix_of(given: dict[str, Any]) -> npt.NDArray[np.float64]:
    return augment.matrices(
        size=(SIDE, SIDE),
        theta=np.deg2rad([given["theta"]]),
        shift_y=np.array([given["ty"]]),
        shift_x=np.array([given["tx"]]),
        shear=np.deg2rad([given["shear"]]),
        zoom_y=np.array([given["zy"]]),
        zoom_x=np.array([given["zx"]]),
        flip_x=np.array([given["flip_horizontal"]]),
        flip_y=np.array([given["flip_vertical"]]),
    )


def ours(
    image: Pixels,
    *,
    given: dict[str, Any] | None = None,
    fill: Fill = "nearest",
    brightness: float = 1,
    shift: float = 0,
) -> npt.NDArray[np.float32]:
    channels = image.shape[2]
    output = Output(
        size=(SIDE, SIDE),
        channels=channels,
        scale=(1,) * channels,
        offset=(0,) * channels,
        fill=fill,
        fill_value=31,
    )
    changes = Changes(
        matrix_of(given) if given else np.empty((0, 2, 3)),
        np.array([brightness], np.float32),
        np.array([shift], np.float32),
    )
    result, first = np.empty((1, *image.shape), np.float32), np.zeros(1, np.int64)
    make_kernel(output)(image[None], first, first, changes, result)
    return result[0]


@pytest.mark.parametrize("fill", get_args(Fill))
@pytest.mark.parametrize("seed", range(10))
def test_the_same_parameters_give_keras_pixels_on_square_images(
    keras_image: Any, fill: Fill, seed: int
) -> None:
    image, given = picture(seed), drawn(seed)
    generator = keras_image.ImageDataGenerator(fill_mode=fill, cval=31)
    expected = generator.apply_transform(image.astype(np.float32), given)
    found = ours(image, given=given, fill=fill)
    np.testing.assert_allclose(found, expected, rtol=0, atol=GEOMETRY)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shift", [-200, -17.5, 0.25, 40, 255])
def test_a_channel_shift_is_keras(keras_image: Any, shift: float, channels: int) -> None:
    image = picture(3, channels, low=30, high=220)
    expected = keras_image.apply_channel_shift(image.astype(np.float32), shift, channel_axis=2)
    np.testing.assert_array_equal(ours(image, shift=shift), expected)


@pytest.mark.parametrize("seed", range(5))
def test_a_channel_shift_after_a_move_is_keras(keras_image: Any, seed: int) -> None:
    image, given = picture(seed), drawn(seed)
    given["channel_shift_intensity"] = (-60.0, -20.0, 3.5, 20.0, 60.0)[seed]
    generator = keras_image.ImageDataGenerator()
    expected = generator.apply_transform(image.astype(np.float32), given)
    found = ours(image, given=given, shift=given["channel_shift_intensity"])
    np.testing.assert_allclose(found, expected, rtol=0, atol=GEOMETRY)


@pytest.mark.parametrize("brightness", [0.0, 0.3, 0.77, 1.0, 1.31, 1.9])
def test_brightness_is_keras_but_for_its_cutting_to_whole_levels(
    keras_image: Any, brightness: float
) -> None:
    image = picture(3)
    keras = keras_image.apply_brightness_shift(image.astype(np.float32), brightness, False)
    more = ours(image, brightness=brightness) - keras
    assert more.min() > -1e-3
    assert more.max() < 1


@pytest.mark.parametrize("seed", range(5))
def test_brightness_after_a_move_is_keras_but_for_its_cutting_twice(
    keras_image: Any, seed: int
) -> None:
    image, given = picture(seed), drawn(seed)
    given["brightness"] = (0.4, 0.8, 1.0, 1.2, 1.6)[seed]
    generator = keras_image.ImageDataGenerator()
    keras = generator.apply_transform(image.astype(np.float32), given)
    more = ours(image, given=given, brightness=given["brightness"]) - keras
    # Keras cuts the moved picture to whole levels, and then the brightened one.
    assert more.min() > -given["brightness"] * GEOMETRY - 1e-3
    assert more.max() < given["brightness"] + 1 + GEOMETRY
