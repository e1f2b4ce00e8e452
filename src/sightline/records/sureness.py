"""How sure a share measured on a number of images can be."""

from __future__ import annotations

import math

_Z = 1.959964  # the 97.5 % point of the normal distribution


def half_width(count: int) -> float:
    """Return the largest half-width, 0..1, of the 95 % interval of a share of `count` images.

    The normal approximation z * sqrt(p * (1 - p) / n) at its widest, p = 1/2: 0.245 (24 points)
    for 16 images, 0.05 for 384. 1 for none. Images of one patient count for less than their
    number, so this is the best case.

    Raises:
        ValueError: The count is negative.
    """
    if count < 0:
        raise ValueError(f"count must be 0 or more, got {count}")
    return min(1.0, _Z * math.sqrt(0.25 / count)) if count else 1.0


def in_points(count: int) -> str:
    """Return "± 24 points" for 16 images; below one point with a decimal, "± 0.3 points"."""
    points = 100 * half_width(count)
    return f"± {points:.{0 if points >= 1 else 1}f} points"
