"""`Screen`: throws out most candidate pairs by their stored thumbnails, without decoding a file."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sightline.data.auditing.copies.fingerprints import THUMB_SIDE
from sightline.data.auditing.copies.variants import SAME, Variant

# Both from benchmarks/copies_planted.py --calibrate (skin_binary and the full-size films): of
# copies cropped by 4 % a side, 1 % have a correlation below 0.79 and 1 % an aligned one below
# 0.966; of other pairs within 12 bits, 13 % (skin) and 14 % (films) have an aligned one over 0.97.
MIN_CORRELATION = 0.75
MIN_ALIGNED = 0.97
_AT_ONCE = 1 << 12  # pairs: 4 MB a side

_PIXELS = THUMB_SIDE * THUMB_SIDE
_NEIGHBOUR = 0.21  # weight of each neighbour in a small blur, a Gaussian of 0.7 pixels

Indices = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


class Screen:
    """Thumbnails prepared for comparisons.

    Args:
        thumbs: (n, 16, 16) uint8, of `fingerprint`.

    Raises:
        ValueError: `thumbs` is none of these.
    """

    def __init__(self, thumbs: npt.NDArray[np.uint8]) -> None:
        if thumbs.dtype != np.uint8 or thumbs.shape[1:] != (THUMB_SIDE, THUMB_SIDE):
            raise ValueError(f"thumbs must be (n, 16, 16) uint8, got {thumbs.shape} {thumbs.dtype}")
        self._thumbs = thumbs.reshape(-1, _PIXELS)

    def passes(self, variant: Variant, first: Indices, second: Indices) -> npt.NDArray[np.bool_]:
        """Return (P,) whether the first of each pair, changed by the variant, may be the second.

        First the plain correlation of the two; then, where it is high, how much of the one is
        explained by the other when it may also be shifted and stretched a little.
        """
        passed = np.zeros(len(first), np.bool_)
        places = np.arange(_PIXELS).reshape(THUMB_SIDE, THUMB_SIDE).astype(np.uint8)
        moved = variant.apply(places).ravel()
        for begin in range(0, len(first), _AT_ONCE):
            some = slice(begin, begin + _AT_ONCE)
            a: Floats = self._thumbs[first[some]].astype(np.float32)
            b: Floats = self._thumbs[second[some]].astype(np.float32)
            a = a if variant is SAME else a[:, moved]
            likely = np.flatnonzero(_correlation(a, b) >= MIN_CORRELATION)
            if len(likely):
                a, b = _blurred(a[likely]), _blurred(b[likely])
                aligned = np.maximum(_explained(a, b), _explained(b, a))
                passed[begin + likely[aligned >= MIN_ALIGNED]] = True
        return passed


def _correlation(a: Floats, b: Floats) -> Floats:
    """Return (P,) the correlation of rows; 0 where one is constant."""
    centred = np.einsum("ij,ij->i", a, b) - _PIXELS * a.mean(axis=1) * b.mean(axis=1)
    scale = a.std(axis=1) * b.std(axis=1) * _PIXELS
    result: Floats = np.divide(centred, scale, out=np.zeros_like(centred), where=scale > 1e-3)
    return result


def _blurred(rows: Floats) -> Floats:
    """Return (P, 16, 16), each pixel mixed with its neighbours."""
    images = rows.reshape(-1, THUMB_SIDE, THUMB_SIDE)
    for axis in (1, 2):
        width = [(0, 0), (0, 0), (0, 0)]
        width[axis] = (1, 1)
        wide = np.pad(images, width, mode="edge")
        before = wide[:, :-2] if axis == 1 else wide[:, :, :-2]
        after = wide[:, 2:] if axis == 1 else wide[:, :, 2:]
        images = (1 - 2 * _NEIGHBOUR) * images + _NEIGHBOUR * (before + after)
    return images


def _explained(of: Floats, by: Floats) -> Floats:
    """Return (P,) the correlation of `of` with its best fit by `by`, shifted and stretched.

    To first order, a shift adds a multiple of the slope, a stretch one of place times slope.
    """
    down, across = np.gradient(by, axis=(1, 2))
    place = (np.arange(THUMB_SIDE, dtype=np.float32) - (THUMB_SIDE - 1) / 2) / (THUMB_SIDE / 2)
    basis = np.stack([by, across, down, across * place, down * place[:, None]], axis=1)
    basis = basis.reshape(len(by), 5, _PIXELS)
    basis = basis - basis.mean(axis=2, keepdims=True)
    target = of.reshape(-1, _PIXELS, 1)
    target = target - target.mean(axis=1, keepdims=True)
    moments = (basis @ basis.transpose(0, 2, 1)).astype(np.float64)
    moments += 1e-3 * np.eye(5)
    products = (basis @ target).astype(np.float64)
    fitted = (products * np.linalg.solve(moments, products)).sum(axis=(1, 2))
    share = fitted / np.maximum((target**2).sum(axis=(1, 2)), 1e-3)
    result: Floats = np.sqrt(np.clip(share, 0, 1)).astype(np.float32)
    return result
