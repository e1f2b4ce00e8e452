"""The images of a cross-validation in folds: what is asked, dealt, and refused beforehand."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import polars as pl

from sightline.data import splits
from sightline.data.splits.units import DIVISIBLE
from sightline.errors import DataError, RecipeError
from sightline.records import Manifest

USUAL = 5  # folds, where nothing else is said


@dataclass(frozen=True, slots=True)
class Asked:
    """How the images are divided, and what holds for every fold.

    Attributes:
        folds: How many; 0 for those that the images came with.
        repeats: How often they are dealt.
        cache: Keep decoded images on disk.
        allow_leak: Go on with given folds that share groups or copies.
    """

    folds: int
    repeats: int = 1
    cache: bool = True
    allow_leak: bool = False

    @classmethod
    def of(
        cls, manifest: Manifest, folds: int | None, repeats: int, *, cache: bool, allow_leak: bool
    ) -> Asked:
        """Return what is asked of these images.

        Raises:
            RecipeError: A number is out of range, or given folds are to be repeated.
        """
        for name, value, least in (("folds", folds, 2), ("repeats", repeats, 1)):
            if value is not None and value < least:
                raise RecipeError(f"{name} must be {least} or more, got {value}")
        if folds is None:
            folds = 0 if manifest.table["fold"].count() else USUAL
        if not folds and repeats > 1:
            raise RecipeError(
                f"the images came with folds, which are the same however often: {repeats} repeats "
                "need others. Say how many (--folds 5), or leave --repeats out."
            )
        return cls(folds, repeats, cache, allow_leak)


def pool_of(manifest: Manifest) -> Manifest:
    """Return the images that are divided into folds: train and validation, or all without splits.

    Test and external images are not in it: nothing of them is read.

    Raises:
        DataError: There are none.
    """
    split = pl.col("split")
    given = manifest.table["split"].is_in(["train", "validation"]).any()
    rows = split.is_in(["train", "validation"]) if given else split.is_null()
    table = manifest.table.filter(rows).with_columns(split=pl.lit(None, dtype=pl.String))
    if not len(table):
        raise DataError(
            f"{manifest.root} has neither train nor validation images, which are what is divided "
            "into folds. Test and external images stay apart."
        )
    return dataclasses.replace(manifest, table=table)


@dataclass(slots=True)
class Dealt:
    """The images of a pool in folds.

    Attributes:
        manifest: The pool.
        asked: How it is divided.
        seed: Of the folds.
    """

    manifest: Manifest
    asked: Asked
    seed: int

    def names(self) -> dict[str, tuple[int, int]]:
        """Return the name of each fold to its repeat and number, in order."""
        numbers = range(self.asked.folds)
        if not self.asked.folds:
            numbers = sorted(self._usable()["fold"].drop_nulls().unique())  # type: ignore[assignment]
        return {
            f"r{repeat}-f{fold}": (repeat, fold)
            for repeat in range(self.asked.repeats)
            for fold in numbers
        }

    def count(self) -> int:
        """Return how many images are divided."""
        folded = self.of_repeat(0).table
        return int(folded.filter(DIVISIBLE)["fold"].count())

    def _usable(self) -> pl.DataFrame:
        return self.manifest.table.filter(DIVISIBLE)

    def of_repeat(self, repeat: int) -> Manifest:
        """Return the pool with its folds.

        Raises:
            DataError: There cannot be so many.
        """
        if not self.asked.folds:
            return self.manifest
        return splits.assign_folds(self.manifest, self.asked.folds, seed=self.seed, repeat=repeat)

    def sides(self, repeat: int, fold: int, validation: float) -> Manifest:
        """Return the pool with one fold as test, and validation out of the others.

        Raises:
            DataError: They cannot be divided so.
        """
        folded, number = self.of_repeat(repeat), pl.col("fold")
        split = folded.table.select(
            pl.when(number == fold)
            .then(pl.lit("test"))
            .when(number.is_not_null())
            .then(pl.lit("train"))
        ).to_series()
        shares = splits.SplitShares(validation=validation, test=0)
        return splits.complete(folded.with_splits(split), shares, seed=self.seed + repeat)

    def refuse_unfit(self, validation: float, *, needed: bool = True) -> None:
        """Refuse folds that cannot be used, before anything is trained.

        Args:
            validation: Share of the other folds' images that weights are chosen by.
            needed: Whether the recipe chooses any.

        Raises:
            DataError: There are fewer than two, images without one, or what belongs together is in
                several and that was not allowed; the images outside of one lack a class, or cannot
                give up validation images; or there is nothing to choose weights by.
        """
        if needed and not validation:
            raise DataError(
                "the best weights of each fold are chosen on images out of the other folds, and "
                "the recipe takes a share of 0 for them. Set data.validation above 0. (To train "
                "all folds for as long, with nothing chosen: --set train.best=epoch --set "
                "stop.patience=0.)"
            )
        if not self.asked.folds:
            self._refuse_given()
        for place in self.names().values():
            self._refuse_untrainable(*place, validation)

    def _refuse_given(self) -> None:
        """Refuse given folds that are fewer than two, or lack images."""
        root, usable = self.manifest.root, self._usable()
        without = usable.filter(pl.col("fold").is_null())["record_id"]
        if len(without):
            raise DataError(
                f"{len(without):,} of {len(usable):,} images of {root} have no fold, first "
                f"{without[0]}. Fill in the fold column, or have all dealt anew (--folds 5)."
            )
        if len(self.names()) < 2:
            raise DataError(
                f"all images of {root} are in fold {usable['fold'][0]}, so none is left to learn "
                "from. Have folds dealt (--folds 5)."
            )

    def _refuse_untrainable(self, repeat: int, fold: int, validation: float) -> None:
        """Refuse a fold that leaks, or whose others cannot teach every class."""
        folded = self.of_repeat(repeat)
        outside = folded.table.filter(DIVISIBLE & (pl.col("fold") != fold))
        root, others = folded.root, f"the images outside of fold {fold} (repeat {repeat})"
        if missing := sorted(set(self._usable()["label"]) - set(outside["label"])):
            raise DataError(
                f"class {missing[0]!r} of {root} is in fold {fold} alone, so nothing is left to "
                "learn it from. Have folds dealt that share each class (--folds 5), or leave the "
                "class out."
            )
        try:
            sides = self.sides(repeat, fold, validation)
        except DataError as error:
            why = str(error).partition(" Add images")[0]  # what else it advises is not for folds
            raise DataError(
                f"{others} cannot be divided into train and validation: {why} Ask for another "
                "number of folds (--folds), add images, or leave small classes out."
            ) from error
        if self.asked.folds or self.asked.allow_leak:  # dealt ones keep together what belongs so
            return
        if crossing := splits.leaks(sides):
            raise DataError(
                f"the folds of {root} leak: of fold {fold} and the others, "
                f"{' '.join(crossing.in_words())} Figures would look better than they are. "
                "Have folds dealt that keep those together (--folds 5), or go on all the same "
                "(--allow-leak)."
            )
