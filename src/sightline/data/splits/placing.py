"""The division itself: units between sides, class by class, as near to the shares as they allow."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from sightline.data.splits.units import Int64s, Units, hashes
from sightline.records import Manifest

_CHAIN = 3  # units that may have to move so that one class reaches one side
_TRIED = 24  # units that are tried for each step of such a chain

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Quota:
    """What one side is to hold of every class.

    Attributes:
        name: Of the side, for messages.
        share: Of the images of the class; the first side of a division takes the rest.
        images: The least number of images.
        units: The least number of units to leave to it.
    """

    name: str
    share: float
    images: int = 1
    units: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """The units that are to be divided, in the order of their hash.

    Attributes:
        names: The K classes in it, sorted.
        of_row: (n,) int64 unit of each manifest row, 0..U-1; -1 for rows outside of the pool.
        hashes: (U,) float64 ascending in [0, 1]: the beginning of the hash of each unit.
        begins: (U+1,) int64: the cells of unit u are begins[u]..begins[u+1]-1.
        labels: (E,) int64 class of each cell, ascending within a unit.
        images: (E,) int64 images of that class in that unit, at least 1.
        stratum: (U,) int64 the class that each unit is divided with: the one it holds most of.
            It depends on that unit alone. Were it the rarest, an image that joins a unit, or
            that changes which of two classes is the rarer, would exchange strata far more often.
    """

    names: tuple[str, ...]
    of_row: Int64s
    hashes: Floats
    begins: Int64s
    labels: Int64s
    images: Int64s
    stratum: Int64s

    @classmethod
    def of(
        cls, manifest: Manifest, units: Units, rows: pl.Series, *, seed: int, purpose: str = ""
    ) -> Pool:
        """Return the pool of the manifest rows where `rows` is true; all of them have labels."""
        inside = np.flatnonzero(rows.to_numpy())
        labels = manifest.table["label"].gather(inside)
        names = tuple(labels.unique().sort())
        found, dense = np.unique(units.of_row[inside], return_inverse=True)
        words = hashes(units.keys.gather(found), seed=seed, purpose=purpose)
        order = np.lexsort((words[:, 1], words[:, 0]))
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        of_row = np.full(len(manifest), -1, np.int64)
        of_row[inside] = place[dense]
        classes = {name: number for number, name in enumerate(names)}
        numbers = labels.replace_strict(classes, return_dtype=pl.Int64).to_numpy()
        cells, images = np.unique(of_row[inside] * len(names) + numbers, return_counts=True)
        owners, cell_labels = np.divmod(cells, len(names))
        begins = np.searchsorted(owners, np.arange(len(order) + 1)).astype(np.int64)
        chances = _chances(words[order, 1][owners], salts(names)[cell_labels])
        most = np.lexsort((chances, -images, owners))[begins[:-1]]
        stratum = cell_labels[most]
        places = np.asarray(words[order, 0] / 2.0**64, np.float64)
        return cls(names, of_row, places, begins, cell_labels, images.astype(np.int64), stratum)

    def __len__(self) -> int:
        return len(self.begins) - 1

    @property
    def owners(self) -> Int64s:
        """(E,) int64 unit of each cell."""
        return np.repeat(np.arange(len(self)), np.diff(self.begins))

    def units_of_class(self) -> Int64s:
        """Return (K,) int64: the number of units that hold each class."""
        return np.bincount(self.labels, minlength=len(self.names))

    def images_of_class(self) -> Int64s:
        """Return (K,) int64: the images of each class."""
        return _summed(self.labels, self.images, len(self.names))

    def size_of_unit(self) -> Int64s:
        """Return (U,) int64: the images in each unit."""
        return _summed(self.owners, self.images, len(self))

    def strata(self) -> Iterator[tuple[int, Int64s, Int64s]]:
        """Yield (class, units of its stratum, their images of that class), the rarest class first.

        The units are in the order of their hash.
        """
        owners = self.owners
        own = np.flatnonzero(self.labels == self.stratum[owners])  # one cell a unit
        grouped = own[np.argsort(self.labels[own], kind="stable")]
        bounds = np.searchsorted(self.labels[grouped], np.arange(len(self.names) + 1))
        for label in np.argsort(self.images_of_class(), kind="stable"):
            cells = grouped[bounds[label] : bounds[label + 1]]
            yield int(label), owners[cells], self.images[cells]


class Division:
    """Which side each unit of a pool is on, and what every side then holds."""

    def __init__(self, pool: Pool, num_sides: int, held: Int64s | None = None) -> None:
        """Begin with no unit placed; `held` (S, K) images are on the sides already."""
        shape = (num_sides, len(pool.names))
        self.pool = pool
        self.sides = np.full(len(pool), -1, np.int64)
        self.images = np.zeros(shape, np.int64) if held is None else held.copy()

    def place(self, units: Int64s, side: int | Int64s) -> None:
        """Put units on a side, or each on its own; a unit that was on another leaves it."""
        cells, lengths = _cells(self.pool, units)
        labels, images = self.pool.labels[cells], self.pool.images[cells]
        before = np.repeat(self.sides[units], lengths)
        left = before >= 0
        np.subtract.at(self.images, (before[left], labels[left]), images[left])
        self.sides[units] = side
        np.add.at(self.images, (np.repeat(self.sides[units], lengths), labels), images)

    def short(self, quotas: Sequence[Quota]) -> list[tuple[int, int]]:
        """Return (class, side) wherever a side has fewer images than its quota says."""
        least = np.asarray([quota.images for quota in quotas])[:, None]
        return [(int(label), int(side)) for side, label in np.argwhere(self.images < least)]

    def repair(self, quotas: Sequence[Quota]) -> list[tuple[int, int]]:
        """Move as few units as it takes for every side to have its least; return what is short."""
        for label, side in self.short(quotas):
            while self.images[side, label] < quotas[side].images:
                if not self._bring(label, side, quotas, frozenset(), _CHAIN):
                    break
        return self.short(quotas)

    def _bring(
        self, label: int, side: int, quotas: Sequence[Quota], fixed: frozenset[int], chain: int
    ) -> bool:
        """Bring one more unit of a class to a side, in a chain of moves if it must be."""
        for unit, lacking in self._candidates(label, side, quotas, fixed):
            donor = int(self.sides[unit])
            if not lacking:
                self.place(np.asarray([unit]), side)
                return True
            if chain == 1:
                break  # those that nothing would lack come first
            kept = self.sides.copy(), self.images.copy()
            self.place(np.asarray([unit]), side)
            frozen = fixed | {unit}
            if all(
                self.images[donor, other] >= quotas[donor].images
                or self._bring(other, donor, quotas, frozen, chain - 1)
                for other in lacking
            ):
                return True
            self.sides, self.images = kept
        return False

    def _candidates(
        self, label: int, side: int, quotas: Sequence[Quota], fixed: frozenset[int]
    ) -> list[tuple[int, list[int]]]:
        """Return units that hold a class on another side, and what that side would lack of.

        Those that cost nothing first, then the smallest, then in the order of the hash.
        """
        pool, owners = self.pool, self.pool.owners
        holding = owners[pool.labels == label]
        movable = holding[(self.sides[holding] != side) & (self.sides[holding] >= 0)]
        least = np.asarray([quota.images for quota in quotas])
        cells, lengths = _cells(pool, movable)
        donors = np.repeat(self.sides[movable], lengths)
        after = self.images[donors, pool.labels[cells]] - pool.images[cells]
        lacks = after < least[donors]
        starts = np.cumsum(lengths) - lengths
        costs = np.add.reduceat(lacks, starts, dtype=np.int64) if len(movable) else lengths
        sizes = np.add.reduceat(pool.images[cells], starts) if len(movable) else lengths
        best = np.lexsort((movable, sizes, costs))[:_TRIED]
        found = []
        for place in best:
            own = slice(int(starts[place]), int(starts[place] + lengths[place]))
            lacking = pool.labels[cells[own]][lacks[own]].tolist()
            if int(movable[place]) not in fixed:
                found.append((int(movable[place]), lacking))
        return found


def divide(pool: Pool, quotas: Sequence[Quota], *, held: Int64s | None = None) -> Division:
    """Return the division of all units; the first side takes what the others leave.

    The units of each class, those that hold most of it, are a stratum; the rarest comes first. In
    the order of their hash, the second side takes from the front and the third from the back, each
    up to its share of the stratum, as `measured`: so an image more or less shifts the two borders
    of one stratum by about itself, and what lies between them stays.

    Args:
        pool: The units.
        quotas: Two or three sides, or one alone.
        held: (S, K) images that are on the sides already and count for the shares.
    """
    division = Division(pool, len(quotas), held)
    totals = division.images.sum(axis=0) + pool.images_of_class()
    shares = np.asarray([quota.share for quota in quotas])[:, None]
    missing = (shares * totals - division.images) / np.maximum(pool.images_of_class(), 1)
    parts = np.clip(missing, 0.0, 1.0)
    for label, units, images in pool.strata():
        if not len(units):
            continue
        sizes, amounts = measured(pool, units, label, totals)
        left = np.arange(len(units))
        for side in range(1, len(quotas)):
            wanted = math.fsum(parts[side] * amounts)
            taken = _take(division, label, side, quotas, wanted, left, (images, sizes))
            division.place(units[taken], side)
            left = left[~np.isin(left, taken, assume_unique=True)]
        division.place(units[left], 0)
    return division


def measured(pool: Pool, units: Int64s, label: int, totals: Int64s) -> tuple[Floats, Floats]:
    """Return the size of each unit of a stratum, and how much of that is of each class.

    In a stratum of one class, a size is a number of images. Where units hold several, one measure
    has to stand for all shares, so each image weighs what it adds to the sum of the squared
    misses: that of each class's share, and K times that of the share of all images. What a unit
    holds beside its main class is so not left to chance.

    Args:
        pool: The units.
        units: (u,) int64 of one stratum, at least one.
        label: Its class; one image of it has size 1.
        totals: (K,) int64 images of each class, all those that the shares are of.

    Returns:
        (u,) float64 sizes, and (K,) float64 their sum by class.
    """
    cells, lengths = _cells(pool, units)
    labels, images = pool.labels[cells], pool.images[cells]
    held = _summed(labels, images, len(pool.names))
    gains = held / np.maximum(totals, 1) ** 2.0
    gains += len(pool.names) * int(held.sum()) / int(totals.sum()) ** 2
    weights = gains / gains[label]
    owners = np.repeat(np.arange(len(units)), lengths)
    sizes = np.bincount(owners, weights=weights[labels] * images, minlength=len(units))
    return np.asarray(sizes, np.float64), np.asarray(weights * held, np.float64)


def _take(
    division: Division,
    label: int,
    side: int,
    quotas: Sequence[Quota],
    wanted: float,
    left: Int64s,
    stratum: tuple[Int64s, Floats],
) -> Int64s:
    """Return which of the units that are left of a stratum go to a side.

    `stratum` is the images of the class in each of its units, and their sizes as measured.
    """
    images, sizes = stratum
    queue = left if side == 1 else left[::-1]
    needs = [quota.images - int(division.images[n, label]) for n, quota in enumerate(quotas)]
    others = [n for n in range(len(quotas)) if n != side and needs[n] > 0]
    # What the other sides need at least stays at the far end.
    far = np.cumsum(images[queue[::-1]])
    reserved = int(np.searchsorted(far, sum(needs[n] for n in others))) + 1 if others else 0
    reserved = max(reserved, sum(quotas[n].units for n in others))
    queue = queue[: max(0, len(queue) - reserved)]
    taken = queue[_up_to(sizes[queue], wanted)]
    lacking = needs[side] - int(images[taken].sum())
    if lacking <= 0:
        return taken
    rest = queue[~np.isin(queue, taken, assume_unique=True)]
    rest = rest[np.argsort(images[rest], kind="stable")]
    more = int(np.searchsorted(np.cumsum(images[rest]), lacking)) + 1
    return np.concatenate([taken, rest[:more]])


def _up_to(sizes: Floats, wanted: float) -> Int64s:
    """Return the places up to the border: where half of the next unit is no longer wanted.

    Units that could not bring the sum nearer wherever they stood are passed over. A gap before
    the border is not filled with smaller units from behind it: then one image more would move
    them all.
    """
    places = np.flatnonzero(sizes < 2 * wanted)
    sums = np.cumsum(sizes[places])
    return places[2 * sums - sizes[places] < 2 * wanted]


def salts(names: tuple[str, ...]) -> npt.NDArray[np.uint64]:
    """Return (K,) a hash of each class's name."""
    digests = b"".join(hashlib.blake2b(name.encode(), digest_size=8).digest() for name in names)
    return np.frombuffer(digests, ">u8").astype(np.uint64)


def _chances(
    words: npt.NDArray[np.uint64], salts: npt.NDArray[np.uint64]
) -> npt.NDArray[np.float64]:
    """Return (E,) in [0, 1]: a hash of each pair, by the end of SplitMix64 (Steele et al. 2014)."""
    mixed = words ^ salts
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return np.asarray((mixed ^ (mixed >> np.uint64(31))) / 2.0**64, np.float64)


def _cells(pool: Pool, units: Int64s) -> tuple[Int64s, Int64s]:
    """Return the cells of units end to end, and how many each has."""
    begins, lengths = pool.begins[units], pool.begins[units + 1] - pool.begins[units]
    starts = np.cumsum(lengths) - lengths
    cells = np.arange(int(lengths.sum())) + np.repeat(begins - starts, lengths)
    return cells.astype(np.int64), lengths


def _summed(places: Int64s, values: Int64s, length: int) -> Int64s:
    sums: npt.NDArray[np.int64] = np.zeros(length, np.int64)
    np.add.at(sums, places, values)
    return sums
