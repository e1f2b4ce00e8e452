"""The same kernel by OpenCV, a picture at a time, for machines on which Numba does not load.

Slower, and not to the last bit the same: within 0.0001 of 255 of `compiled` for each pixel of
the longer side, for "nearest" and "reflect"; at the border, "constant" blends into its value
where `compiled` and SciPy cut off, and "wrap" repeats the whole picture where they let the last
pixel stand for the first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

_BORDERS = (cv2.BORDER_REPLICATE, cv2.BORDER_CONSTANT, cv2.BORDER_REFLECT, cv2.BORDER_WRAP)

Values = npt.NDArray[np.float32]


def batch(
    size: tuple[int, int],
    channels_first: bool,
    fill: int,
    fill_value: float,
    scale: tuple[float, ...],
    offset: tuple[float, ...],
    per_image: bool,
    whole_numbers: bool,
) -> Callable[..., None]:
    """Return the kernel of a batch: arguments as those of `compiled.batch`."""
    height, width = size

    def moved(picture: Values, matrix: npt.NDArray[np.float64]) -> Values:
        result: Values = cv2.warpAffine(
            picture,
            matrix,
            (width, height),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=_BORDERS[fill],
            borderValue=(fill_value,) * 4,
        ).reshape(picture.shape)  # OpenCV drops a single channel's axis
        return result

    def kernel(
        source: npt.NDArray[np.uint8] | npt.NDArray[np.float32],
        picks: npt.NDArray[np.int64],
        places: npt.NDArray[np.int64],
        matrices: npt.NDArray[np.float64],
        brightness: Values,
        shifts: Values,
        out: npt.NDArray[Any],
    ) -> None:
        for pick, place in zip(picks, places, strict=True):
            values: Values = source[pick].reshape(height, width, len(scale)).astype(np.float32)
            if len(matrices):
                values = moved(values, matrices[place])
            values = _levels(values, float(brightness[place]), float(shifts[place]))
            values = values * np.asarray(scale, np.float32) + np.asarray(offset, np.float32)
            if per_image:
                values = values.astype(np.float64)
                values = (values - values.mean()) / np.sqrt(values.var() + 1e-12)
            if channels_first:
                values = values.transpose(2, 0, 1)
            if whole_numbers:
                values = np.clip(values + 0.5, 0, 255)
            out[place] = values.reshape(-1).astype(out.dtype)

    return kernel


def _levels(values: Values, brightness: float, shift: float) -> Values:
    """Shift colours within the picture's own range, then brighten; alpha stays."""
    colours = values[..., :3]
    if shift:
        colours = np.clip(colours + np.float32(shift), values.min(), values.max())
    if brightness != 1:
        colours = np.clip(colours * np.float32(brightness), 0, 255)
    return np.concatenate([colours, values[..., 3:]], axis=-1)
