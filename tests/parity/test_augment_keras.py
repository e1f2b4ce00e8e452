"""The geometry of augmentation against Keras' own ImageDataGenerator."""

from __future__ import annotations

import warnings
from typing import Any

import cv2
import numpy as np
import pytest

from sightline.data.stream import augment, kernels

SIDE = 24
NAMES = ("theta", "tx", "ty", "shear", "zx", "zy", "flip_horizontal", "flip_vertical")


@pytest.fixture(scope="module")
def keras_image() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the frameworks' own, while they are imported
        return pytest.importorskip("keras.src.legacy.preprocessing.image")


@pytest.mark.filterwarnings("ignore:.*scipy.ndimage.*:DeprecationWarning")
@pytest.mark.parametrize("fill", ["nearest", "reflect"])
@pytest.mark.parametrize("seed", range(10))
def test_the_same_parameters_give_keras_pixels_on_square_images(
    keras_image: Any, fill: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)
    image = np.asarray(cv2.GaussianBlur(noise, (5, 5), 0), np.uint8)
    drawn = rng.uniform(
        (-180, -6, -6, -40, 0.7, 0.7, 0, 0), (180, 6, 6, 40, 1.3, 1.3, 2, 2)
    ).tolist()
    given = dict(zip(NAMES, drawn, strict=True))
    given |= {"flip_horizontal": drawn[6] > 1, "flip_vertical": drawn[7] > 1}
    generator = keras_image.ImageDataGenerator(fill_mode=fill)
    expected = generator.apply_transform(image.astype(np.float32), given)
    matrix = augment.matrices(
        size=(SIDE, SIDE),
        theta=np.deg2rad([given["theta"]]),
        shift_y=np.array([given["ty"]]),
        shift_x=np.array([given["tx"]]),
        shear=np.deg2rad([given["shear"]]),
        zoom_y=np.array([given["zy"]]),
        zoom_x=np.array([given["zx"]]),
        flip_x=np.array([given["flip_horizontal"]]),
        flip_y=np.array([given["flip_vertical"]]),
    )[0]
    out = np.empty(image.shape, np.float32)
    kernels.write_warped(image, out, 1.0, matrix=matrix, fill=fill, fill_value=0)
    np.testing.assert_allclose(out, expected, atol=0.01)
