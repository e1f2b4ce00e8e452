"""One picture by OpenCV, for the loaders that run a function of the user's in their threads."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from benchmarks.stream.workload import ROTATION, SHEAR, SHIFT, SIZE, ZOOM


def read(path: str) -> npt.NDArray[np.uint8]:
    """Return (122, 122, 3) uint8, RGB."""
    content = np.frombuffer(Path(path).read_bytes(), np.uint8)
    return cv2.resize(cv2.imdecode(content, cv2.IMREAD_COLOR_RGB), SIZE[::-1])  # type: ignore[return-value]


def change(picture: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Return it moved by one random matrix, float32, 0..1.

    One draw and plain Python numbers: NumPy's arrays of one element would cost ten times that.
    """
    draws = rng.uniform(-1.0, 1.0, 7).tolist()
    angle, shear = math.radians(ROTATION * draws[0]), math.radians(SHEAR * draws[1])
    zoom_x = (1 + ZOOM * draws[2]) * (1 if draws[6] < 0 else -1)
    zoom_y = 1 + ZOOM * draws[3]
    a, b = math.cos(angle) * zoom_x, -math.sin(angle + shear) * zoom_y
    c, d = math.sin(angle) * zoom_x, math.cos(angle + shear) * zoom_y
    middle_x, middle_y = (SIZE[1] - 1) / 2, (SIZE[0] - 1) / 2
    move_x = SHIFT * SIZE[1] * draws[4] + middle_x - a * middle_x - b * middle_y
    move_y = SHIFT * SIZE[0] * draws[5] + middle_y - c * middle_x - d * middle_y
    moved = cv2.warpAffine(
        picture,
        np.array([[a, b, move_x], [c, d, move_y]]),
        SIZE[::-1],
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return scale(moved)  # type: ignore[arg-type]


def scale(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Return 0..255 as 0..1."""
    return np.multiply(picture, np.float32(1 / 255))
