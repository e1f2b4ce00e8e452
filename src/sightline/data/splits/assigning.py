"""Which records are trained on, chosen by and judged on: grouped, stratified, and repeatable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from sightline.data.splits.placing import Pool, Quota, divide
from sightline.data.splits.refusals import (
    counted,
    refuse_few_given,
    refuse_nothing,
    refuse_short,
    refuse_small_classes,
)
from sightline.data.splits.shares import SplitShares
from sightline.data.splits.units import DIVISIBLE, Units
from sightline.errors import DataError, RecipeError
from sightline.records import Finding, Manifest, Split

LEFT_OUT, REACHING = "left-out-validation", "groups-reach-external"


def assign(manifest: Manifest, shares: SplitShares, *, seed: int, minimum: int = 1) -> Manifest:
    """Return the manifest with every usable labelled record on one side; other splits are null.

    What belongs together is never on two sides: a group, copies, near copies, and chains of
    those; a record without any is alone. Every class is on every side that is asked for. Records
    that are kept aside as external stay there.

    The shares are met as nearly as whole units allow, without a search: for a class that shares no
    unit with others, to within its largest unit. Where units hold several classes it is measured:
    in 541 simulated sets of 30 to 400 units of up to 40 images, a side's share of all images was
    off by 0.5 points in the median, by no more than the largest unit on 94 of 100 sides, and
    always by less than 1.5 times that unit and 2 % of the set together; the share of a class by
    less than 2.2 times the largest unit and 1 % of the class together.

    A pure function of contents (record ids, where they are not known), groups and seed: neither
    the folder nor the names of an audited set matter. While no unit is larger than a
    two-hundredth of the set, p % more images, up to 20 %, move at most p + 2 % of those that were
    there (1,200 simulated cases, the worst p + 1.0). With larger ones, a unit at a border can tip
    over: of units of up to a thirtieth, 24 of 300 cases went beyond, the worst by 9.2 points.

    Args:
        manifest: Audited, if copies are to be kept together.
        shares: How much is held out.
        seed: Another seed gives another division.
        minimum: Images that every class has on every side, at least 1.

    Raises:
        DataError: There is no labelled record, or a class has too few groups or images; the
            message says what is possible.
        RecipeError: The minimum is below 1.
    """
    _refuse_minimum(minimum)
    manifest = cleared(manifest)
    rows = manifest.table.select(DIVISIBLE & pl.col("split").is_null()).to_series()
    sides: list[tuple[Split, float]] = [("test", shares.test), ("validation", shares.validation)]
    return carve(manifest, rows, [side for side in sides if side[1] > 0], seed, minimum)


def complete(manifest: Manifest, shares: SplitShares, *, seed: int, minimum: int = 1) -> Manifest:
    """Return the manifest with the splits it has, and those it lacks taken out of train.

    Without any split this is `assign`, unless there are folds: then the lowest fold is validation
    as a whole, whatever its share, and the others are train. Otherwise a missing validation or
    test split becomes its share of the train records, as `assign` would choose it; all else stays,
    even groups that are on two of the given sides, and records that were given no split. The
    split external counts as none: it is kept as it is.

    A minimum above 1 is asked of the given sides too, external apart.

    Raises:
        DataError: As `assign`; or splits are given and none of them is train, or one has fewer
            images of a class than a minimum above 1; or all records are in one fold.
        RecipeError: The minimum is below 1.
    """
    _refuse_minimum(minimum)
    fold = _validation_fold(manifest)
    if fold is not None:
        manifest = _with_fold(manifest, fold)
    given = set(manifest.table["split"].drop_nulls().unique()) - {"external"}
    if not given:
        return assign(manifest, shares, seed=seed, minimum=minimum)
    if "train" not in given:
        raise DataError(
            f"{manifest.root} has records in {' and '.join(sorted(given))} but none in train. "
            "Add training images, or leave the splits out and let Sightline make them."
        )
    sides: list[tuple[Split, float]] = [("test", shares.test), ("validation", shares.validation)]
    missing = [(side, share) for side, share in sides if side not in given and share > 0]
    if missing:
        rows = manifest.table.select(DIVISIBLE & (pl.col("split") == "train").fill_null(False))
        manifest = carve(manifest, rows.to_series(), missing, seed, minimum)
    refuse_few_given(manifest, minimum)
    return manifest


def _refuse_minimum(minimum: int) -> None:
    if minimum < 1:
        raise RecipeError(
            f"the minimum of images a class and side must be 1 or more, got {minimum}"
        )


def pooled(manifest: Manifest) -> Manifest:
    """Return the manifest without splits and folds: all folders in one, to be split anew."""
    table = manifest.table.with_columns(
        split=pl.lit(None, dtype=pl.String), fold=pl.lit(None, dtype=pl.Int32)
    )
    return replace(manifest, table=table)


def cleared(manifest: Manifest) -> Manifest:
    """Return the manifest without splits and folds, but for the records kept aside as external."""
    kept = pl.when(pl.col("split") == "external").then("split")
    return pooled(manifest).with_splits(manifest.table.select(split=kept).to_series())


def resplit_train(
    manifest: Manifest, shares: SplitShares, *, seed: int, minimum: int = 1
) -> tuple[Manifest, list[Finding]]:
    """Return the manifest with its train split divided three ways, and what there is to say of it.

    The given test split becomes "external": reported, and never trained on or chosen by. The
    given validation records are left without a split. Folds are dropped.

    Findings: "left-out-validation" (info), where there is a given validation split; and
    "groups-reach-external" (warning), where images of what was divided belong together with
    external ones, with the record ids of both.

    Raises:
        DataError: As `assign`; or there is no train split.
        RecipeError: The minimum is below 1.
    """
    split = manifest.table["split"]
    if "train" not in split:
        raise DataError(
            f"{manifest.root} has no train split that could be divided. Point at train and test "
            "folders, or split all of the images."
        )
    outside = {"test": "external", "external": "external"}
    aside = split.replace_strict(outside, default=None, return_dtype=pl.String)
    rows = manifest.table.select(DIVISIBLE & (pl.col("split") == "train").fill_null(False))
    sides: list[tuple[Split, float]] = [("test", shares.test), ("validation", shares.validation)]
    alone = pooled(manifest).with_splits(aside)
    asked = [side for side in sides if side[1] > 0]
    divided = carve(alone, rows.to_series(), asked, seed, minimum)
    return divided, [*_left_out(manifest), *_reaching(divided)]


def folds_in_words(manifest: Manifest) -> list[str]:
    """Return how `complete` uses the folds of a manifest, in a sentence; [] where it does not."""
    fold = _validation_fold(manifest)
    if fold is None:
        return []
    return [
        f"Folds were given and no splits: fold {fold} is the validation split as a whole, the "
        "others are trained on (and a test split is taken out of them). The manifest keeps them."
    ]


def carve(
    manifest: Manifest,
    rows: pl.Series,
    sides: Sequence[tuple[Split, float]],
    seed: int,
    minimum: int,
    *,
    in_train: int = 1,
) -> Manifest:
    """Return the manifest with the given rows divided between train and `sides`.

    Args:
        manifest: Splits of its other rows stay as they are.
        rows: (n,) which rows are divided; all of them usable and labelled.
        sides: Which sides are asked for, and their shares.
        seed: Of the order of the units.
        minimum: Images of every class on every side.
        in_train: Times the minimum that train needs, each from units of its own.
    """
    refuse_nothing(manifest, rows)
    pool = Pool.of(manifest, Units.of(manifest), rows, seed=seed)

    def quotas(least: int) -> list[Quota]:
        rest = Quota("train", 0.0, least * in_train, in_train)
        return [rest, *(Quota(side, share, least) for side, share in sides)]

    asked = quotas(minimum)
    refuse_small_classes(manifest, pool, asked)
    division = divide(pool, asked)
    short = division.repair(asked)
    refuse_short(
        manifest,
        pool,
        asked,
        short,
        lambda least: divide(pool, quotas(least)).repair(quotas(least)),
    )
    names = pl.Series([quota.name for quota in asked], dtype=pl.String)
    new = pl.Series(division.sides[pool.of_row], dtype=pl.Int64)  # of rows outside: any, not used
    return manifest.with_splits(
        manifest.table.select(
            pl.when(rows).then(names.gather(new)).otherwise("split").alias("split")
        ).to_series()
    )


def _left_out(manifest: Manifest) -> list[Finding]:
    left = manifest.of_split("validation")["record_id"].to_list()
    if not left:
        return []
    return [
        Finding(
            LEFT_OUT,
            "info",
            f"{counted(len(left), 'image')} of the given validation split "
            f"{'is' if len(left) == 1 else 'are'} left without a split: only train was divided.",
            {"record_ids": left},
            "To use them, pool all folders and split anew.",
        )
    ]


def _reaching(divided: Manifest) -> list[Finding]:
    """Report the units that hold external records and divided ones."""
    unit = pl.Series(Units.of(divided).of_row, dtype=pl.Int64)
    table = divided.table.with_columns(unit=unit, outside=pl.col("split") == "external").filter(
        DIVISIBLE & pl.col("split").is_not_null()
    )
    both = table.filter(pl.col("outside").n_unique().over("unit") > 1)
    if not len(both):
        return []
    inner = both.filter(~pl.col("outside"))["record_id"].to_list()
    outer = both.filter("outside")["record_id"].to_list()
    return [
        Finding(
            REACHING,
            "warning",
            f"{counted(len(outer), 'external image')} "
            f"{'belongs' if len(outer) == 1 else 'belong'} together with "
            f"{counted(len(inner), 'image')} that were divided "
            f"({counted(both['unit'].n_unique(), 'group')} in all).",
            {"external": outer, "divided": inner},
            "The external figures will look better than they are. Judge on the others alone, or "
            "pool all folders and split anew.",
        )
    ]


def _validation_fold(manifest: Manifest) -> int | None:
    """Return the fold that becomes validation; None where splits are given, or no folds."""
    splits = manifest.table["split"]
    if splits.null_count() + (splits == "external").sum() < len(manifest):
        return None
    folds = manifest.table.filter(DIVISIBLE)["fold"].drop_nulls()
    return min(folds, default=None)


def _with_fold(manifest: Manifest, fold: int) -> Manifest:
    """Return the manifest with one fold as validation and all other usable records in train."""
    external = pl.col("split").eq_missing("external")
    splits = manifest.table.select(
        split=pl.when(external)
        .then("split")
        .when(DIVISIBLE & pl.col("fold").eq_missing(fold))
        .then(pl.lit("validation"))
        .when(DIVISIBLE)
        .then(pl.lit("train"))
    ).to_series()
    if "train" not in splits:
        raise DataError(
            f"all images of {manifest.root} are in fold {fold}, so none is left to train on. "
            "Give at least two folds, or leave the fold column out."
        )
    return manifest.with_splits(splits)
