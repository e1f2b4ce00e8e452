"""Where the images of earlier manifests are: a place is a split and a fold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl

from sightline.data.splits.matching import Images
from sightline.data.splits.units import DIVISIBLE, Int64s
from sightline.errors import DataError
from sightline.records import Manifest

NOWHERE = -1


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """Every place that one of the earlier manifests has, and which image is where.

    Attributes:
        splits: (P,) split of each place, or None.
        folds: (P,) fold of each place, or None.
        of_image: (N,) int64 place of each image in the newest manifest that decides; else -1.
        left_out: (N,) bool: that one left it without a place, although usable and labelled.
    """

    splits: tuple[str | None, ...]
    folds: tuple[int | None, ...]
    of_image: Int64s
    left_out: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, images: Images, previous: Sequence[Manifest]) -> Places:
        """Return the places of the images in earlier manifests, the newest first.

        Raises:
            DataError: One has neither splits nor folds, or splits without train, or some have
                folds and others have none.
        """
        _refuse_useless(previous)
        pairs = [earlier.table.select("split", "fold") for earlier in previous]
        given = pl.concat(pairs).filter(pl.any_horizontal(pl.all().is_not_null())).unique()
        known = given.sort("split", "fold", nulls_last=True)
        of_image = np.full(len(images), NOWHERE, np.int64)
        left_out = np.zeros(len(images), bool)
        for earlier, table, image in zip(previous, pairs, images.of_row, strict=True):
            place = _numbered(table, known)
            usable = earlier.table.select(DIVISIBLE).to_series().to_numpy()
            undecided = (of_image[image] == NOWHERE) & ~left_out[image]
            left_out[image[undecided & usable & (place == NOWHERE)]] = True
            of_image[image[undecided]] = place[undecided]
        return cls(tuple(known["split"]), tuple(known["fold"]), of_image, left_out)

    def of_split(self, split: str) -> int | None:
        """Return the place of a split without a fold, else its first; None if there is none."""
        found = [n for n, name in enumerate(self.splits) if name == split]
        without = [n for n in found if self.folds[n] is None]
        return next(iter(without or found), None)

    def in_folds(self) -> list[int]:
        """Return the places that are folds of train and validation."""
        outside = ("test", "external")
        return [
            n
            for n, fold in enumerate(self.folds)
            if fold is not None and self.splits[n] not in outside
        ]

    def name(self, place: int) -> str:
        """Return what a place is called: by its fold, where it has one."""
        fold, split = self.folds[place], self.splits[place]
        return str(split) if fold is None else f"fold {fold}"

    def written(self, manifest: Manifest, at: Int64s) -> Manifest:
        """Return the manifest with these places as its splits and folds."""
        places = pl.Series(np.where(at < 0, len(self.splits), at))
        splits = pl.Series([*self.splits, None], dtype=pl.String).gather(places)
        folds = pl.Series([*self.folds, None], dtype=pl.Int32).gather(places)
        return replace(manifest, table=manifest.table.with_columns(split=splits, fold=folds))


def _numbered(pairs: pl.DataFrame, known: pl.DataFrame) -> Int64s:
    """Return (m,) int64: which of the known places each row has, -1 for none."""
    joined = pairs.join(
        known.with_row_index("place"), on=["split", "fold"], how="left",
        nulls_equal=True, maintain_order="left",
    )  # fmt: skip
    return joined["place"].cast(pl.Int64).fill_null(NOWHERE).to_numpy()


def _refuse_useless(previous: Sequence[Manifest]) -> None:
    """Refuse earlier manifests that say nothing, or that are not of one split."""
    for earlier in previous:
        splits, folds = earlier.table["split"], earlier.table["fold"]
        if splits.null_count() == folds.null_count() == len(earlier):
            raise DataError(
                f"the previous manifest, of {earlier.root}, has neither splits nor folds, so "
                "there is nothing to keep. Split without it."
            )
        if splits.null_count() < len(earlier) and not (splits == "train").any():
            raise DataError(
                f"the previous manifest, of {earlier.root}, has splits but none of them is train. "
                "Give the manifest that was trained with."
            )
    folded = [earlier.table["fold"].null_count() < len(earlier) for earlier in previous]
    if any(folded) and not all(folded):
        raise DataError(
            f"of the previous manifests, that of {previous[folded.index(True)].root} has folds "
            f"and that of {previous[folded.index(False)].root} has none, so they are not of one "
            "split. Give those alone that were kept one from the other."
        )
