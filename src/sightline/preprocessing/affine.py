"""One picture moved by SciPy, and its colours changed, exactly as the old Keras does it.

The geometry and the order of the matrices are those of keras-preprocessing (Chollet and others,
2015); angles are in degrees, shifts in pixels, and a zoom below 1 enlarges.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from scipy import ndimage

Array = npt.NDArray[Any]


def flip_axis(x: Array, axis: int) -> Array:
    """Return `x` mirrored along one axis; a view."""
    flipped: Array = np.flip(np.asarray(x), axis)
    return flipped


def transform_matrix_offset_center(matrix: Array, x: float, y: float) -> Array:
    """Return the (3, 3) matrix about the centre of a picture of `x` by `y` pixels."""
    centre_x, centre_y = float(x) / 2 - 0.5, float(y) / 2 - 0.5
    there = np.array([[1, 0, centre_x], [0, 1, centre_y], [0, 0, 1]])
    back = np.array([[1, 0, -centre_x], [0, 1, -centre_y], [0, 0, 1]])
    centred: Array = there @ matrix @ back
    return centred


def product(theta: float, tx: float, ty: float, shear: float, zx: float, zy: float) -> Array | None:
    """Return rotation @ shift @ shear @ zoom, (3, 3) float64; None where nothing moves."""
    parts = []
    if theta != 0:
        angle = np.deg2rad(theta)
        cos, sin = np.cos(angle), np.sin(angle)
        parts.append(np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]))
    if tx != 0 or ty != 0:
        parts.append(np.array([[1, 0, tx], [0, 1, ty], [0, 0, 1]]))
    if shear != 0:
        angle = np.deg2rad(shear)
        parts.append(np.array([[1, -np.sin(angle), 0], [0, np.cos(angle), 0], [0, 0, 1]]))
    if zx != 1 or zy != 1:
        parts.append(np.array([[zx, 0, 0], [0, zy, 0], [0, 0, 1]]))
    if not parts:
        return None
    matrix = parts[0]
    for part in parts[1:]:
        matrix = matrix @ part
    return matrix


def apply_affine_transform(
    x: Array,
    theta: float = 0,
    tx: float = 0,
    ty: float = 0,
    shear: float = 0,
    zx: float = 1,
    zy: float = 1,
    row_axis: int = 1,
    col_axis: int = 2,
    channel_axis: int = 0,
    fill_mode: str = "nearest",
    cval: float = 0.0,
    order: int = 1,
) -> Array:
    """Return a picture rotated, shifted, sheared and zoomed about its centre, in that order.

    Args:
        x: (C, H, W), or as the axes say.
        theta: Degrees.
        tx: Pixels sideways where `col_axis` > `row_axis`, else down; `ty` the other way.
        ty: See `tx`.
        shear: Degrees.
        zx: Zoom sideways where `col_axis` > `row_axis`, else down; `zy` the other way. Below 1
            enlarges.
        zy: See `zx`.
        row_axis: Which axis of `x` counts rows.
        col_axis: Which axis counts columns.
        channel_axis: Which axis counts channels, 0 or 2.
        fill_mode: SciPy's word for what lies outside: "nearest", "constant", "reflect", "wrap".
        cval: What lies outside, for "constant".
        order: Of the spline that interpolates, 0 to 5.

    Raises:
        ValueError: The axes are not three different ones, or `x` is no picture.
    """
    axes = (row_axis, col_axis, channel_axis)
    if len(set(axes)) != 3:
        raise ValueError("'row_axis', 'col_axis', and 'channel_axis' must be distinct")
    if set(axes) != {0, 1, 2}:
        raise ValueError(f"Invalid axis' indices: {set(axes) - {0, 1, 2}}")
    if x.ndim != 3:
        raise ValueError("Input arrays must be multi-channel 2D images.")
    if channel_axis not in (0, 2):
        raise ValueError("Channels are allowed and the first and last dimensions.")
    matrix = product(theta, tx, ty, shear, zx, zy)
    if matrix is None:
        return x
    matrix = transform_matrix_offset_center(matrix, x.shape[row_axis], x.shape[col_axis])
    if col_axis > row_axis:  # the matrix is of (x, y), an array's places are (row, column)
        matrix = matrix[[1, 0, 2]][:, [1, 0, 2]]
    moved = [
        ndimage.affine_transform(
            channel, matrix[:2, :2], matrix[:2, 2], order=order, mode=fill_mode, cval=cval
        )
        for channel in np.moveaxis(x, channel_axis, 0)
    ]
    return np.stack(moved, axis=channel_axis)


def apply_channel_shift(x: Array, intensity: float, channel_axis: int = 0) -> Array:
    """Return every channel plus `intensity`, within the least and the largest value of `x`."""
    del channel_axis  # every channel is treated alike
    return np.clip(x + intensity, np.min(x), np.max(x))


def shift_brightness(x: Array, brightness: float, scale: bool, enhance: Any) -> Array:
    """Return a picture made brighter by Pillow, in whole numbers of 0..255.

    Args:
        x: (H, W, C), by Keras' image data format.
        brightness: A factor.
        scale: Whether the picture's own range is spread over 0..255 first.
        enhance: Pillow's ImageEnhance.
    """
    least, most = np.min(x), np.max(x)
    own_range = bool(least < 0 or most > 255)
    image = keras.utils.array_to_img(x, scale=own_range or scale)
    brighter: Array = keras.utils.img_to_array(enhance.Brightness(image).enhance(brightness))
    if own_range and not scale:
        brighter = brighter / 255 * (most - least) + least
    return brighter
