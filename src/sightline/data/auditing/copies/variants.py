"""The eight ways to mirror and turn a picture, and what each does to pixels and to hashes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sightline.data.auditing.copies.fingerprints import FREQUENCIES

Bits = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Variant:
    """What has to be done to one picture for it to become the other.

    Attributes:
        how: The word of PAIRS_SCHEMA.
        transposed: Rows become columns first.
        across: Then left and right are exchanged.
        down: And up and down.
    """

    how: str
    transposed: bool
    across: bool
    down: bool

    @property
    def is_own_inverse(self) -> bool:
        """True but for the quarter turns, of which each undoes the other."""
        return not (self.transposed and self.across != self.down)

    def apply(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Return the changed picture, (H, W) or (W, H) uint8, C-contiguous."""
        changed = image.T if self.transposed else image
        changed = changed[:, ::-1] if self.across else changed
        return np.ascontiguousarray(changed[::-1] if self.down else changed)

    def bits(self) -> tuple[Bits, npt.NDArray[np.bool_]]:
        """Return for each bit of the changed picture's hash which bit it was, and if it flips."""
        place = {(int(v), int(u)): bit for bit, (v, u) in enumerate(FREQUENCIES)}
        down, across = FREQUENCIES.T
        old = FREQUENCIES[:, ::-1] if self.transposed else FREQUENCIES
        source = np.array([place[int(v), int(u)] for v, u in old], np.int64)
        flips = (self.across * across + self.down * down) % 2 == 1
        return source, flips


VARIANTS = (
    Variant("same", False, False, False),
    Variant("mirrored", False, True, False),
    Variant("flipped", False, False, True),
    Variant("rotated 90", True, False, True),
    Variant("rotated 180", False, True, True),
    Variant("rotated 270", True, True, False),
    Variant("transposed", True, False, False),
    Variant("transversed", True, True, True),
)
SAME = VARIANTS[0]
BY_HOW = {variant.how: variant for variant in VARIANTS}
# A turn by 270 degrees is found as the turn by 90 of the other picture.
SEARCHED = tuple(variant for variant in VARIANTS if variant.how != "rotated 270")


def inverse(variant: Variant) -> Variant:
    """Return what undoes a variant."""
    if variant.is_own_inverse:
        return variant
    return BY_HOW["rotated 270" if variant.how == "rotated 90" else "rotated 90"]
