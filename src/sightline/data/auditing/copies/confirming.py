"""`similarity`: are two small grey pictures one picture, cropped, resized or encoded again?

The second is aligned with the first, by a shift and a stretch along each side, and then compared
by what is left when slow changes of brightness are taken away: films of different people agree in
these, copies agree in the rest as well.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from sightline.data.auditing.copies.alignment import Fit, align, overlap, warped

CONFIRMING_VERSION = 1  # raise it when any pair may be judged differently
VIEW_SIDE = 192

# All from benchmarks/copies_planted.py --calibrate; see there. Of copies at quality 50, 98 % have a
# similarity over 0.80; of quality 75, of 60 % of the size and of crops of 4 %, over 0.94. Films of
# different people reach 0.3, the same skin photographed twice mostly stays below 0.8.
MIN_SIMILARITY = 0.8
_BANDS = ((1.0, 3.0), (2.0, 6.0), (4.0, 12.0))  # pixels
_MIN_DETAIL = 1.0  # standard deviation of a band that still tells pictures apart, of 255
_NOISE = 4.0  # variance that encoding may add anywhere, of 255 squared
_WORST = 1.0  # percent of the places: these decide
_MIN_SIDE = 12  # of both pictures at a common size

# Longer side, steps, and the correlation of the finest band below which it is not worth going on:
# the edited copies had 0.98 and 0.95 at least, nine in ten other films that got here 0.89 and 0.79
# at most.
_LEVELS = ((32, 5, 0.9), (64, 4, 0.85), (VIEW_SIDE, 4, 0.0))

View = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


def view(luma: View) -> View:
    """Return the picture with its longer side at most 192: what `similarity` compares.

    Args:
        luma: (H, W) uint8, upright.
    """
    factor = VIEW_SIDE / max(luma.shape)
    if factor >= 1:
        return luma
    return _resized(luma, *(max(1, round(side * factor)) for side in luma.shape))


def similarity(first: View, second: View) -> float:
    """Return how alike two upright pictures are, 0..1; copies have MIN_SIMILARITY and more.

    The lower of two numbers: the correlation of the whole at the finest scale that has detail,
    and the likeness of the places that are least alike. 0 where nothing can be told: no detail,
    or an overlap of less than 70 % of a side.

    Args:
        first: (H, W) uint8, of `view`.
        second: (H', W') uint8.
    """
    fit = Fit()
    a = b = np.empty((0, 0), np.float32)
    for side, steps, enough in _LEVELS:
        a, b = _common(first, second, side)
        if min(a.shape) < _MIN_SIDE and side == VIEW_SIDE:
            return 0.0
        fit = align(_blurred(a, 1), _blurred(b, 1), fit, steps)
        if enough and _correlation(*_band(*_overlapping(a, b, fit), _BANDS[0])) < enough:
            return 0.0
    a, b = _overlapping(a, b, fit)
    if not a.size:
        return 0.0
    return float(np.clip(min(_of_whole(a, b), _of_worst_place(a, b)), 0, 1))


def _overlapping(a: Floats, b: Floats, fit: Fit) -> tuple[Floats, Floats]:
    """Return the parts of both, aligned, that both pictures show; empty where they are too few."""
    place = overlap(a.shape, fit)
    if place is None:
        return a[:0], b[:0]
    return a[place], warped(b, fit)[place]


def _of_whole(a: Floats, b: Floats) -> float:
    for band in _BANDS:
        fine_a, fine_b = _band(a, b, band)
        if np.sqrt(fine_a.std() * fine_b.std()) >= _MIN_DETAIL:
            return _correlation(fine_a, fine_b)
    return 0.0


def _of_worst_place(a: Floats, b: Floats) -> float:
    """Return the first percentile of a local likeness, 1 where only noise differs.

    The likeness is the contrast and structure of SSIM (Z. Wang and others, Image Quality
    Assessment: From Error Visibility to Structural Similarity, 2004) of the finest band.
    """
    fine_a, fine_b = _band(a, b, _BANDS[0])
    fine_b = fine_b * np.float32(np.clip(fine_a.std() / max(float(fine_b.std()), 1e-3), 0.5, 2))
    side = max(8, min(a.shape) // 8)

    def local_mean(image: Floats) -> Floats:
        mean: Floats = cv2.boxFilter(image, -1, (side, side), borderType=cv2.BORDER_REFLECT)
        return mean

    product, squares = local_mean(fine_a * fine_b), local_mean(fine_a**2 + fine_b**2)
    return float(np.percentile((2 * product + _NOISE) / (squares + _NOISE), _WORST))


def _band(a: Floats, b: Floats, band: tuple[float, float]) -> tuple[Floats, Floats]:
    fine_a = _blurred(a, band[0]) - _blurred(a, band[1])
    return fine_a, _blurred(b, band[0]) - _blurred(b, band[1])


def _correlation(a: Floats, b: Floats) -> float:
    if not a.size:
        return 0.0
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / scale if scale > 1e-3 else 0.0


def _common(first: View, second: View, side: int) -> tuple[Floats, Floats]:
    """Return both at the shape of the smaller one, or smaller yet with a longer side of `side`."""
    smaller = min(first.shape, second.shape, key=lambda shape: (max(shape), shape))
    factor = min(1.0, side / max(smaller))
    height, width = (max(1, round(length * factor)) for length in smaller)
    return (
        _resized(first, height, width).astype(np.float32),
        _resized(second, height, width).astype(np.float32),
    )


def _resized(image: View, height: int, width: int) -> View:
    if image.shape == (height, width):
        return image
    resized: View = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return resized


def _blurred(image: Floats, sigma: float) -> Floats:
    if not image.size:
        return image
    blurred: Floats = cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    return blurred
