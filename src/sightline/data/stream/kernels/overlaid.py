"""Two pictures made one, and rectangles painted over, in machine code.

Nothing is re-associated, so that `blending` gives the same bytes where Numba does not load.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # as in `keys`, and so are the two below
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


@njit(nogil=True, cache=True, error_model="numpy", boundscheck=False)
def paint(pictures: Any, boxes: Any, hashes: Any, width: Any, channels: Any) -> None:
    """Paint a rectangle of each picture (N, H*W*C) float32 with colours of 0..255, not alpha."""
    colours = min(channels, 3)
    for number in range(len(pictures)):
        picture, key = pictures[number], hashes[number]
        top, left, bottom, right = boxes[number]
        for y in range(top, bottom):
            for x in range(left, right):
                at = np.int64(y) * width + x
                word = key + _GOLDEN * np.uint64(at + 1)
                word = (word ^ (word >> np.uint64(30))) * _FIRST
                word = (word ^ (word >> np.uint64(27))) * _SECOND
                word ^= word >> np.uint64(31)
                for c in range(colours):
                    level = (word >> np.uint64(8 * c)) & np.uint64(255)
                    picture[at * channels + c] = np.float32(level)


@njit(nogil=True, cache=True, error_model="numpy", boundscheck=False)
def overlay(own: Any, others: Any, boxes: Any, keeps: Any, width: Any, channels: Any) -> None:
    """Write own * keep + other * (1 - keep) into a rectangle of each of `own` (N, H*W*C)."""
    for number in range(len(own)):
        picture, other, keep = own[number], others[number], keeps[number]
        rest = np.float32(1) - keep
        top, left, bottom, right = boxes[number]
        for y in range(top, bottom):
            begin = (np.int64(y) * width + left) * channels
            end = (np.int64(y) * width + right) * channels
            for at in range(begin, end):
                picture[at] = picture[at] * keep + other[at] * rest


def folder() -> str | None:
    """Return where Numba keeps the machine code."""
    kept: str | None = overlay.stats.cache_path
    return kept
