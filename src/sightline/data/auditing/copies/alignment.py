"""`align`: the shift and stretch along each side that lay one picture on another.

Gauss-Newton steps with the slopes of the first picture alone, as in the inverse compositional
form of S. Baker and I. Matthews, Lucas-Kanade 20 Years On, 2004. Brightness
and contrast may differ.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

MAX_STRETCH, MAX_SHIFT = 1.16, 0.16  # a crop of 7 % a side, or of 8 % of one side
_MIN_OVERLAP = 0.7  # of each side
_MAX_STEP = 0.06  # of half a side
_ENOUGH = 0.05  # pixels: smaller steps change nothing
_MIN_GAIN = 0.2  # below, the pictures have nothing in common and a step has no sense

Floats = npt.NDArray[np.float32]


class Fit(NamedTuple):
    """Where a pixel of the first picture is in the second; places run from -1 to 1 on each side.

    Attributes:
        stretch_x: place' = stretch * place + shift.
        shift_x: In halves of a side.
        stretch_y: As for x.
        shift_y: As for x.
    """

    stretch_x: float = 1.0
    shift_x: float = 0.0
    stretch_y: float = 1.0
    shift_y: float = 0.0

    @property
    def is_small(self) -> bool:
        """True where a small crop and a change of size explain it."""
        stretches = (self.stretch_x, self.stretch_y)
        shifts = (self.shift_x, self.shift_y)
        return (
            min(stretches) >= 1 / MAX_STRETCH
            and max(stretches) <= MAX_STRETCH
            and max(abs(shift) for shift in shifts) <= MAX_SHIFT
        )


def align(first: Floats, second: Floats, fit: Fit, steps: int) -> Fit:
    """Return a better fit of two pictures of one shape, beginning at `fit`.

    Args:
        first: (H, W) float32.
        second: (H, W) float32.
        fit: Where to begin.
        steps: At most so many.
    """
    height, width = first.shape
    if min(height, width) < 2:
        return fit
    slopes_y, slopes_x = np.gradient(first)
    slopes_x, slopes_y = slopes_x * (width / 2), slopes_y * (height / 2)
    x, y = _places(width), _places(height)[:, None]
    ones = np.ones_like(first)
    basis = np.stack([slopes_x * x, slopes_x, slopes_y * y, slopes_y, first, ones], axis=2)
    for _ in range(steps):
        place = overlap(first.shape, fit)
        if place is None:
            break
        rows = basis[place].reshape(-1, 6)
        moments = (rows.T @ rows).astype(np.float64)
        moments[np.diag_indices(6)] = moments.diagonal() * (1 + 1e-6) + 1e-3
        products = (rows.T @ warped(second, fit)[place].ravel()).astype(np.float64)
        solution = np.linalg.solve(moments, products)
        if solution[4] < _MIN_GAIN:
            break
        step = np.clip(solution[:4] / solution[4], -_MAX_STEP, _MAX_STEP)
        fit = _composed(fit, step)
        if np.abs(step).max() * max(height, width) < 2 * _ENOUGH:
            break
    return fit


def overlap(shape: tuple[int, ...], fit: Fit) -> tuple[slice, slice] | None:
    """Return the rows and columns of the first picture that the second shows; None for too few."""
    if not fit.is_small:
        return None
    rows = _inside(shape[0], fit.stretch_y, fit.shift_y)
    columns = _inside(shape[1], fit.stretch_x, fit.shift_x)
    return None if rows is None or columns is None else (rows, columns)


def warped(second: Floats, fit: Fit) -> Floats:
    """Return the second picture laid on the first, (H, W) float32."""
    height, width = second.shape
    matrix = np.array(
        [
            [fit.stretch_x, 0, _pixel_shift(width, fit.stretch_x, fit.shift_x)],
            [0, fit.stretch_y, _pixel_shift(height, fit.stretch_y, fit.shift_y)],
        ]
    )
    moved: Floats = cv2.warpAffine(
        second,
        matrix,
        (width, height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return moved


def _composed(fit: Fit, step: npt.NDArray[np.float64]) -> Fit:
    """Return the fit after the first picture has been moved by the step, undone."""
    stretch_x, shift_x, stretch_y, shift_y = (float(number) for number in step)
    return Fit(
        fit.stretch_x / (1 + stretch_x),
        fit.shift_x - fit.stretch_x * shift_x / (1 + stretch_x),
        fit.stretch_y / (1 + stretch_y),
        fit.shift_y - fit.stretch_y * shift_y / (1 + stretch_y),
    )


def _places(length: int) -> Floats:
    """Return the middles of pixels, -1 and 1 being the edges of the picture."""
    return (2 * np.arange(length, dtype=np.float32) + 1) / np.float32(length) - 1


def _pixel_shift(length: int, stretch: float, shift: float) -> float:
    """Return what warpAffine adds to a pixel number, whose middle is at a whole number."""
    return ((stretch * (1 / length - 1) + shift + 1) * length - 1) / 2


def _inside(length: int, stretch: float, shift: float) -> slice | None:
    inside = np.flatnonzero(np.abs(stretch * _places(length) + shift) <= 1 - 1 / length)
    if len(inside) < _MIN_OVERLAP * length:
        return None
    return slice(int(inside[0]), int(inside[-1]) + 1)
