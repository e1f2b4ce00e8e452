"""Mixup and cutmix: two images of a split become one, and so do their targets.

Mixup lays one over the other (Zhang, Cisse, Dauphin & Lopez-Paz, "mixup: Beyond empirical risk
minimization", ICLR 2018); cutmix puts a rectangle of the one into the other (Yun, Han, Oh, Chun,
Choe & Yoo, "CutMix", ICCV 2019), with the share corrected to what is left after clipping.

Both papers mix within a batch. Here the other image comes from the whole epoch and is chosen by a
hash, as every draw: so what a record becomes does not depend on which others share its batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from sightline.data.stream import augment
from sightline.data.stream.augment import Changes
from sightline.data.stream.config import StreamConfig
from sightline.data.stream.keys import MIX, uniforms
from sightline.data.stream.order import Order
from sightline.recipes import AugmentSection

Int64s = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Float32s = npt.NDArray[np.float32]

# Which of the two, the partner, its substitute, two for the share, the rectangle's centre: a new
# draw goes to the end.
_DRAWS = 7
_LARGEST_EXPONENT = 700.0  # of e, in float64


@dataclass(frozen=True, slots=True)
class Mixing:
    """What is mixed into each record of a batch.

    Attributes:
        rows: (B,) int64 manifest rows of the partners.
        changes: Of the partners.
        shares: (B,) float32, how much of the target stays the record's own; 1 is not mixed.
        boxes: (B, 4) int32 top, left, bottom, right in pixels, the last two exclusive: the part
            of the picture that is mixed.
        keeps: (B,) float32, how much of each pixel in there stays the record's own.
    """

    rows: Int64s
    changes: Changes
    shares: Float32s
    boxes: npt.NDArray[np.int32]
    keeps: Float32s

    def part(self, begin: int, end: int) -> Mixing:
        """Return those of the records begin..end-1; they share their memory with these."""
        return Mixing(
            self.rows[begin:end],
            self.changes.part(begin, end),
            self.shares[begin:end],
            self.boxes[begin:end],
            self.keeps[begin:end],
        )

    def leave_alone(self, places: list[int]) -> None:
        """Mix nothing into these places."""
        self.shares[places] = 1
        self.boxes[places] = 0

    def targets(self, own: Float32s, partners: Float32s) -> Float32s:
        """Return the mixed targets: (B,) or (B, K) float32.

        Args:
            own: Of the records, (B,) or (B, K).
            partners: Of their partners, likewise.
        """
        shares = self.shares if own.ndim == 1 else self.shares[:, None]
        return np.asarray(shares * own + (np.float32(1) - shares) * partners, np.float32)


@dataclass(frozen=True, slots=True)
class Mixer:
    """Draws what is mixed into records of one split; a pure function, record by record.

    Attributes:
        augment: Ranges to draw from.
        size: (height, width) of the images in pixels.
        seed: 0..2**32-1.
        order: Of the split's epochs: partners come as often as it lets them come themselves.
        rows: Of the split, at least two.
    """

    augment: AugmentSection
    size: tuple[int, int]
    seed: int
    order: Order
    rows: npt.NDArray[np.uint32]

    @classmethod
    def of(cls, config: StreamConfig, order: Order, rows: npt.NDArray[np.uint32]) -> Self | None:
        """Return what mixes; None where nothing is to be mixed, or nothing else is there."""
        section = config.augment
        if section is None or not (section.mixup or section.cutmix) or len(rows) < 2:
            return None
        return cls(section, config.image_size, config.seed, order, rows)

    def draw(self, epoch: int, *, rows: Int64s, keys: Int64s) -> Mixing:
        """Return what is mixed into these records in this epoch.

        A partner is changed as when it comes by itself, once in the epoch, and never mixed.

        Args:
            epoch: 0-based.
            rows: (N,) manifest rows.
            keys: (N,) as for `augment.draw`.
        """
        draws = uniforms(MIX, seed=self.seed, epoch=epoch, rows=keys, draws=_DRAWS)
        partners = self._partners(epoch, rows, draws[:, 1], draws[:, 2])
        section = self.augment
        cut = draws[:, 0] < (0.5 if section.mixup and section.cutmix else bool(section.cutmix))
        shape = np.where(cut, section.cutmix, section.mixup)
        own = symmetric_beta(shape, draws[:, 3], draws[:, 4])
        boxes, left = cut_boxes(self.size, own, y=draws[:, 5], x=draws[:, 6])
        boxes[~cut] = (0, 0, *self.size)
        changes = augment.draw(section, size=self.size, seed=self.seed, epoch=epoch, keys=partners)
        return Mixing(
            partners,
            changes,
            np.where(cut, left, own).astype(np.float32),
            boxes,
            np.where(cut, 0, own).astype(np.float32),
        )

    def _partners(self, epoch: int, rows: Int64s, place: Floats, substitute: Floats) -> Int64s:
        """Return (N,) another record for each, from any place of the epoch.

        Who draws itself gets any other record of the split: in an epoch that has every record
        once, all others are then equally likely.
        """
        chosen = self.order.rows(epoch, (place * len(self.order)).astype(np.int64))
        itself = chosen == rows
        # In the split's own dtype: else the search would copy a whole split.
        own = np.searchsorted(self.rows, rows[itself].astype(self.rows.dtype))
        others = (substitute[itself] * (len(self.rows) - 1)).astype(np.int64)
        chosen[itself] = self.rows[others + (others >= own)]
        return chosen


def symmetric_beta(shape: Floats, first: Floats, second: Floats) -> Floats:
    """Return (N,) draws from Beta(shape, shape), in 0..1.

    T = sqrt(n (U ** (-2 / n) - 1)) cos(2 pi V) has Student's t distribution with n degrees of
    freedom (Bailey, "Polar generation of random variates with the t-distribution", Mathematics of
    Computation 62, 1994), and (1 + T / sqrt(n + T ** 2)) / 2 is then Beta(n / 2, n / 2) (Devroye,
    "Random variate generation in one line of code", 1996). Exact for every shape, and without a
    rejection, whose number of draws would differ between the records.

    Args:
        shape: (N,) above 0.
        first: (N,) uniform in [0, 1).
        second: (N,) likewise.
    """
    exponent = np.minimum(-np.log1p(-first) / shape, _LARGEST_EXPONENT)
    cosine = np.cos(2 * np.pi * second)
    with np.errstate(divide="ignore"):  # first = 0: the middle
        inverse = 1 / np.expm1(exponent)
    half: Floats = cosine / np.sqrt(inverse + cosine**2)
    return (1 + half) / 2


def cut_boxes(
    size: tuple[int, int], own: Floats, *, y: Floats, x: Floats
) -> tuple[npt.NDArray[np.int32], Floats]:
    """Return (N, 4) rectangles for cutmix, and (N,) the share of the picture outside of each.

    Args:
        size: (height, width) of the picture in pixels.
        own: (N,) shares that are to stay outside, before clipping at the edges.
        y: (N,) in [0, 1), of the centre.
        x: (N,) likewise.
    """
    sides = np.sqrt(1 - own)
    found = []
    for length, centre in zip(size, (y, x), strict=True):
        extent = np.rint(length * sides)
        begin = np.floor(centre * length) - extent // 2
        found.append((np.clip(begin, 0, length), np.clip(begin + extent, 0, length)))
    (top, bottom), (left, right) = found
    cut = (bottom - top) * (right - left) / (size[0] * size[1])
    return np.stack([top, left, bottom, right], axis=1).astype(np.int32), 1 - cut
