"""What `keras.preprocessing.image` was, working again: change one word of the import.

    from sightline.preprocessing.image import ImageDataGenerator

Everything has the names, defaults, random numbers and pixels of Keras' own class; `docs/dropin.md`
lists what is mended, and `strict_keras=True` takes the mends back. `keras` is loaded with it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras.preprocessing.image import smart_resize
from keras.utils import array_to_img, img_to_array, save_img
from PIL import ImageEnhance

from sightline.preprocessing.affine import (
    apply_affine_transform,
    apply_channel_shift,
    flip_axis,
    shift_brightness,
    transform_matrix_offset_center,
)
from sightline.preprocessing.calls import (
    enable_keras2_methods,
    evaluate_generator,
    fit_generator,
    predict_generator,
)
from sightline.preprocessing.generator import ImageDataGenerator
from sightline.preprocessing.iterators import (
    DataFrameIterator,
    DirectoryIterator,
    Iterator,
    NumpyArrayIterator,
    validate_filename,
)

__all__ = [
    "DataFrameIterator",
    "DirectoryIterator",
    "ImageDataGenerator",
    "Iterator",
    "NumpyArrayIterator",
    "apply_affine_transform",
    "apply_brightness_shift",
    "apply_channel_shift",
    "array_to_img",
    "enable_keras2_methods",
    "evaluate_generator",
    "fit_generator",
    "flip_axis",
    "img_to_array",
    "list_pictures",
    "load_img",
    "predict_generator",
    "random_brightness",
    "random_channel_shift",
    "random_rotation",
    "random_shear",
    "random_shift",
    "random_zoom",
    "save_img",
    "smart_resize",
    "transform_matrix_offset_center",
    "validate_filename",
]

Array = npt.NDArray[Any]

# The modules that the keras-preprocessing package was made of, for programs that name them.
affine_transformations = dataframe_iterator = directory_iterator = sys.modules[__name__]
image_data_generator = iterator = numpy_array_iterator = utils = sys.modules[__name__]


def random_rotation(
    x: Array,
    rg: float,
    row_axis: int = 1,
    col_axis: int = 2,
    channel_axis: int = 0,
    fill_mode: str = "nearest",
    cval: float = 0.0,
    interpolation_order: int = 1,
) -> Array:
    """Return a picture rotated by -`rg` to `rg` degrees.

    Draws once from NumPy's global generator; the rest is as for `apply_affine_transform`.
    """
    theta = np.random.uniform(-rg, rg)  # it is what a program has seeded
    return apply_affine_transform(
        x, theta=theta, row_axis=row_axis, col_axis=col_axis, channel_axis=channel_axis,
        fill_mode=fill_mode, cval=cval, order=interpolation_order,
    )  # fmt: skip


def random_shift(
    x: Array,
    wrg: float,
    hrg: float,
    row_axis: int = 1,
    col_axis: int = 2,
    channel_axis: int = 0,
    fill_mode: str = "nearest",
    cval: float = 0.0,
    interpolation_order: int = 1,
) -> Array:
    """Return a picture shifted by up to `wrg` of its width and `hrg` of its height, both ways.

    Draws twice from NumPy's global generator, the height first.
    """
    tx = np.random.uniform(-hrg, hrg) * x.shape[row_axis]
    ty = np.random.uniform(-wrg, wrg) * x.shape[col_axis]
    return apply_affine_transform(
        x, tx=tx, ty=ty, row_axis=row_axis, col_axis=col_axis, channel_axis=channel_axis,
        fill_mode=fill_mode, cval=cval, order=interpolation_order,
    )  # fmt: skip


def random_shear(
    x: Array,
    intensity: float,
    row_axis: int = 1,
    col_axis: int = 2,
    channel_axis: int = 0,
    fill_mode: str = "nearest",
    cval: float = 0.0,
    interpolation_order: int = 1,
) -> Array:
    """Return a picture sheared by -`intensity` to `intensity` degrees.

    Draws once from NumPy's global generator.
    """
    shear = np.random.uniform(-intensity, intensity)
    return apply_affine_transform(
        x, shear=shear, row_axis=row_axis, col_axis=col_axis, channel_axis=channel_axis,
        fill_mode=fill_mode, cval=cval, order=interpolation_order,
    )  # fmt: skip


def random_zoom(
    x: Array,
    zoom_range: Sequence[float],
    row_axis: int = 1,
    col_axis: int = 2,
    channel_axis: int = 0,
    fill_mode: str = "nearest",
    cval: float = 0.0,
    interpolation_order: int = 1,
) -> Array:
    """Return a picture zoomed by a factor of `zoom_range` for each side of its own.

    Draws two numbers from NumPy's global generator, unless the range is (1, 1).

    Raises:
        ValueError: `zoom_range` has not two values.
    """
    if len(zoom_range) != 2:
        raise ValueError(
            f"`zoom_range` should be a tuple or list of two floats. Received: {zoom_range}"
        )
    zx, zy = (1.0, 1.0)
    if not (zoom_range[0] == 1 and zoom_range[1] == 1):
        zx, zy = np.random.uniform(zoom_range[0], zoom_range[1], 2)
    return apply_affine_transform(
        x, zx=zx, zy=zy, row_axis=row_axis, col_axis=col_axis, channel_axis=channel_axis,
        fill_mode=fill_mode, cval=cval, order=interpolation_order,
    )  # fmt: skip


def random_channel_shift(x: Array, intensity_range: float, channel_axis: int = 0) -> Array:
    """Return every channel plus one number of -`intensity_range` to `intensity_range`.

    Draws once from NumPy's global generator; see `apply_channel_shift`.
    """
    intensity = np.random.uniform(-intensity_range, intensity_range)
    return apply_channel_shift(x, intensity, channel_axis=channel_axis)


def apply_brightness_shift(x: Array, brightness: float, scale: bool = True) -> Array:
    """Return a picture made brighter by a factor, by Pillow, in whole numbers.

    Args:
        x: (H, W, C), or (C, H, W) by `keras.config.image_data_format()`. Fractions are cut off,
            so a picture of 0..1 becomes black, unless `scale` spreads it over 0..255 first.
        brightness: 1 changes nothing.
        scale: Spread the picture's own range over 0..255.

    Raises:
        ImportError: Pillow's ImageEnhance was taken away.
    """
    if ImageEnhance is None:
        raise ImportError("Using brightness shifts requires PIL. Install PIL or Pillow.")
    return shift_brightness(x, brightness, scale, ImageEnhance)


def random_brightness(x: Array, brightness_range: Sequence[float], scale: bool = True) -> Array:
    """Return a picture made brighter by a factor of `brightness_range`.

    Draws once from NumPy's global generator; see `apply_brightness_shift`.

    Raises:
        ValueError: `brightness_range` has not two values.
    """
    if len(brightness_range) != 2:
        raise ValueError(
            f"`brightness_range should be tuple or list of two floats. Received: {brightness_range}"
        )
    factor = np.random.uniform(brightness_range[0], brightness_range[1])
    return apply_brightness_shift(x, factor, scale)


def load_img(
    path: Any,
    color_mode: str = "rgb",
    target_size: tuple[int, int] | None = None,
    interpolation: str = "nearest",
    keep_aspect_ratio: bool = False,
    *,
    grayscale: bool = False,
) -> Any:
    """Return the Pillow image of a file, as `keras.utils.load_img` does.

    Args:
        path: Of the file; or the open file.
        color_mode: "rgb", "rgba" or "grayscale".
        target_size: (height, width), or None: as it is.
        interpolation: "nearest", "bilinear", "bicubic", "hamming", "box" or "lanczos".
        keep_aspect_ratio: Cut out the middle instead of squeezing the whole.
        grayscale: Keras 2's word for color_mode="grayscale".

    Raises:
        ValueError: A mode is none of these.
    """
    mode = "grayscale" if grayscale else color_mode
    return keras.utils.load_img(path, mode, target_size, interpolation, keep_aspect_ratio)


def list_pictures(
    directory: str | Path,
    ext: str | Sequence[str] = ("jpg", "jpeg", "bmp", "png", "ppm", "tif", "tiff"),
) -> list[str]:
    """Return the paths of all pictures below a folder, by their extensions, in any case."""
    endings = (ext,) if isinstance(ext, str) else tuple(ext)
    known = re.compile(rf".*\.(?:{'|'.join(map(re.escape, endings))})", re.IGNORECASE)
    paths = (path for path in Path(directory).rglob("*") if path.is_file())
    return [str(path) for path in sorted(paths) if known.fullmatch(path.name)]
