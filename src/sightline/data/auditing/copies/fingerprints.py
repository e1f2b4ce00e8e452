"""`fingerprint`: what a picture leaves behind so that its copies are found without decoding it.

The hash follows the idea of perceptual hashes of the DCT (C. Zauner, Implementation and
Benchmarking of Perceptual Image Hash Functions, 2010): a few low frequencies of a small grey
picture survive resizing, re-encoding and small crops. Two things differ. The bits are the signs of
the coefficients, not a comparison with their median, and the frequencies are a set closed under
transposition. So mirroring, flipping and turning a picture flips the bits of odd frequencies and
swaps pairs of bits: the hashes of all eight orientations follow from one.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

FINGERPRINT_VERSION = 1
HASH_BITS = 64
THUMB_SIDE = 16
_SIDE = 32


def _lowest_frequencies() -> npt.NDArray[np.int64]:
    """Return (64, 2) frequencies (down, across), none of them constant, low ones first."""
    by_radius = sorted(
        ((v, u) for v in range(_SIDE) for u in range(_SIDE) if v + u > 0),
        key=lambda f: (f[0] ** 2 + f[1] ** 2, max(f), f),
    )
    chosen: list[tuple[int, int]] = []
    for frequency in by_radius:
        pair = {frequency, frequency[::-1]}
        if frequency not in chosen and len(chosen) + len(pair) <= HASH_BITS:
            chosen += sorted(pair)
    return np.array(chosen, np.int64)


FREQUENCIES = _lowest_frequencies()


def fingerprint(luma: npt.NDArray[np.uint8]) -> tuple[int, bytes]:
    """Return the perceptual hash and the thumbnail of one upright grey picture.

    Args:
        luma: (H, W) uint8, 0 (black) to 255, both sides at least 1.

    Returns:
        The hash, 0 to 2**64 - 1: bit k is set where the coefficient of FREQUENCIES[k] is positive.
        The thumbnail: 256 bytes, (16, 16) uint8 grey, row by row.

    Raises:
        ValueError: `luma` is not a (H, W) uint8 array with pixels.
    """
    if luma.ndim != 2 or luma.dtype != np.uint8 or not luma.size:
        raise ValueError(
            f"luma must be (H, W) uint8 with pixels, got {luma.shape} {luma.dtype}. "
            "Convert the picture to 8-bit grey first."
        )
    small = cv2.resize(luma, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    thumb = cv2.resize(small, (THUMB_SIDE, THUMB_SIDE), interpolation=cv2.INTER_AREA)
    spectrum = cv2.dct(small.astype(np.float32))
    bits = spectrum[FREQUENCIES[:, 0], FREQUENCIES[:, 1]] > 0
    (number,) = np.packbits(bits, bitorder="little").view("<u8")
    return int(number), thumb.tobytes()
