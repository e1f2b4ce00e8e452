"""What each side of a split holds, and how sure a figure measured on it can be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from sightline.data.splits.refusals import counted
from sightline.data.splits.units import DIVISIBLE, Units
from sightline.records import SPLITS, Manifest, Split
from sightline.records.sureness import in_points


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a split.

    Attributes:
        split: Its name.
        images: Usable labelled images.
        units: Groups that are never divided: patients, copies, or single images.
        classes: Class -> images, of every class of the manifest, in class order.
    """

    split: Split
    images: int
    units: int
    classes: Mapping[str, int]

    @property
    def smallest(self) -> str:
        """The class with the fewest images."""
        return min(self.classes, key=self.classes.__getitem__)

    def in_words(self) -> str:
        """Return the side in a sentence or two; of a held-out one, how sure a figure can be."""
        count = self.classes[self.smallest]
        words = (
            f"{self.split.capitalize()}: {counted(self.images, 'image')} in "
            f"{counted(self.units, 'group')}, from {counted(count, 'image')} of {self.smallest!r} "
            f"to {max(self.classes.values()):,} of the largest class."
        )
        if self.split == "train":
            return words
        return (
            f"{words} An accuracy measured here is sure to {in_points(self.images)} at best, the "
            f"recall of {self.smallest!r} to {in_points(count)}."
        )


def sides(manifest: Manifest) -> tuple[Side, ...]:
    """Return the sides that a manifest has, in the order of SPLITS; external last."""
    units = pl.Series(Units.of(manifest).of_row, dtype=pl.Int64)
    table = manifest.table.with_columns(unit=units).filter(DIVISIBLE)
    found = []
    for split in SPLITS:
        part = table.filter(pl.col("split") == split)
        if len(part):
            counts = dict(part.group_by("label").len().iter_rows())
            classes = {name: counts.get(name, 0) for name in manifest.class_names}
            found.append(Side(split, len(part), part["unit"].n_unique(), classes))
    return tuple(found)


def sides_in_words(manifest: Manifest) -> list[str]:
    """Return what each side holds, and how sure an accuracy and the smallest recall can be."""
    return [side.in_words() for side in sides(manifest)]
