"""What happens to pictures of 0..255 between being moved and being scaled.

Two functions, in machine code where Numba loads, else by NumPy with the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from sightline.data.stream.erasing import Erasures
from sightline.data.stream.kernels import loaded
from sightline.data.stream.keys import mix

Pictures = npt.NDArray[np.float32]
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


class Blender:
    """Changes pictures (N, H, W, C) float32 of 0..255 in place; any number of threads may.

    Args:
        engine: "any" takes Numba where it loads.

    Raises:
        ImportError: engine is "numba" and it does not load.
    """

    def __init__(self, *, engine: Literal["numba", "numpy", "any"] = "any") -> None:
        self._paint: Callable[..., None] = _paint
        self._overlay: Callable[..., None] = _overlay
        if engine == "numpy":
            return
        try:
            self._paint, self._overlay = loaded("overlaid", _functions, _run_on_nothing)
        except ImportError:
            if engine == "numba":
                raise

    def erase(self, pictures: Pictures, erasures: Erasures) -> None:
        """Paint over a rectangle of each picture; alpha stays."""
        count, _, width, channels = pictures.shape
        flat = pictures.reshape(count, -1)
        self._paint(flat, erasures.boxes, erasures.hashes, width, channels)

    def overlay(
        self,
        own: Pictures,
        others: Pictures,
        boxes: npt.NDArray[np.int32],
        keeps: npt.NDArray[np.float32],
    ) -> None:
        """Lay pictures over others: own * keep + other * (1 - keep) inside of each rectangle.

        Args:
            own: (N, H, W, C) float32, changed.
            others: (N, H, W, C) float32.
            boxes: (N, 4) int32 top, left, bottom, right.
            keeps: (N,) float32, 0..1.
        """
        count, _, width, channels = own.shape
        flat = own.reshape(count, -1), others.reshape(count, -1)
        self._overlay(*flat, boxes, keeps, width, channels)


_Functions = tuple[Callable[..., None], Callable[..., None]]


def _functions(module: ModuleType) -> _Functions:
    return module.paint, module.overlay


def _run_on_nothing(functions: _Functions) -> None:
    paint, overlay = functions
    none, boxes = np.zeros((0, 3), np.float32), np.zeros((0, 4), np.int32)
    paint(none, boxes, np.zeros(0, np.uint64), 1, 3)
    overlay(none, none, boxes, np.zeros(0, np.float32), 1, 3)


def _paint(
    pictures: Pictures,
    boxes: npt.NDArray[np.int32],
    hashes: npt.NDArray[np.uint64],
    width: int,
    channels: int,
) -> None:
    """As `overlaid.paint`."""
    colours = min(channels, 3)
    for picture, key, (top, left, bottom, right) in zip(
        pictures.reshape(len(pictures), -1, width, channels), hashes, boxes, strict=True
    ):
        rows, columns = np.arange(top, bottom), np.arange(left, right)
        at = (rows[:, None] * width + columns[None, :] + 1).astype(np.uint64)
        words = mix(key + _GOLDEN * at)
        for c in range(colours):
            levels = (words >> np.uint64(8 * c)) & np.uint64(255)
            picture[top:bottom, left:right, c] = levels


def _overlay(
    own: Pictures, others: Pictures, boxes: Any, keeps: Pictures, width: int, channels: int
) -> None:
    """As `overlaid.overlay`."""
    shape = (len(own), -1, width, channels)
    for picture, other, keep, (top, left, bottom, right) in zip(
        own.reshape(shape), others.reshape(shape), keeps, boxes, strict=True
    ):
        part = np.s_[top:bottom, left:right]
        picture[part] = picture[part] * keep + other[part] * (np.float32(1) - keep)
