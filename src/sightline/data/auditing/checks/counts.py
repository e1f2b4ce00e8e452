"""What is too little to measure on, and classes of very unequal size."""

from __future__ import annotations

from typing import Any

import polars as pl

from sightline.data.auditing.checks.audited import AuditedSet, counts_by
from sightline.data.auditing.checks.crossing import EXTERNAL
from sightline.data.auditing.checks.outcomes import Outcomes, counted, joined, part_of
from sightline.records import Finding, half_width, in_points

# Half-widths of a 95 % interval. Beyond 20 points (24 images or fewer) two models that differ by
# a third of all errors cannot be told apart; beyond 5 (384 or fewer) the differences that are
# usually reported cannot.
HOPELESS = 0.20
WIDE = 0.05

# Beyond 3:1 accuracy already rewards leaving the rare class out; beyond 10:1 a model that never
# says it is right 10 times in 11.
UNEQUAL = 3.0
VERY_UNEQUAL = 10.0

_HELD_OUT = ("validation", "test", EXTERNAL)

_SPLITS = Outcomes("small-splits", "error")
_CLASSES = Outcomes("small-classes", "error")
_IMBALANCE = Outcomes("class-imbalance", "warning")


def small_splits(audited: AuditedSet) -> Finding:
    """Return which held-out sides are too small, with the interval that their size allows."""
    sizes = counts_by(audited.usable, "split")
    held_out = {name: sizes[name] for name in _HELD_OUT if name in sizes}
    if not held_out:
        return _SPLITS.not_applicable("No images are held out yet.")
    said = joined([f"{in_points(n)} on {counted(n, f'{s} image')}" for s, n in held_out.items()])
    widths = {name: half_width(count) for name, count in held_out.items()}
    evidence = {
        "images": held_out,
        "half_widths": {name: round(width, 4) for name, width in widths.items()},
        "groups": _num_groups(audited, list(held_out)),
    }
    widest = max(widths.values())
    if widest <= WIDE:
        return _SPLITS.passed(f"A share is sure to {said}.", evidence)
    return _SPLITS.found(
        f"A share is sure only to {said}.",
        evidence,
        "Hold out more: `sightline split --resplit all` pools all images, and folds "
        "(--folds 5) use every image once.",
        severity="error" if widest > HOPELESS else "warning",
    )


def _num_groups(audited: AuditedSet, sides: list[str]) -> dict[str, int]:
    """Return how many groups each side holds, which count for less than their images."""
    grouped = audited.usable.drop_nulls(["group", "split"]).filter(pl.col("split").is_in(sides))
    counts = grouped.group_by("split").agg(pl.col("group").n_unique()).sort("split")
    return {str(side): int(count) for side, count in counts.iter_rows()}


def small_classes(audited: AuditedSet) -> Finding:
    """Return which classes are too small to measure: on a held-out side, and in all.

    An error where a side of train, validation and test has no image of a class at all.
    """
    if not audited.classes:
        return _CLASSES.not_applicable("The images have no labels.")
    table = _class_sizes(audited)
    missing = table.filter((pl.col("images") == 0) & ~pl.col("side").is_in(["all", EXTERNAL]))
    # What is trained on is not measured on: there any number but none will do.
    measured = (pl.col("side") != "train") | (pl.col("images") == 0)
    small = table.filter(measured & (pl.col("images") <= _most_hopeless()))
    if not len(small):
        return _CLASSES.passed(
            f"Every class has over {_most_hopeless()} images, on every side it is measured on."
        )
    label, side, images = small.sort("images", "side", "label").row(0)
    where = "in all" if side == "all" else f"in {side}"
    num_classes = len(audited.manifest.class_names)
    title = (
        f"{part_of(small['label'].n_unique(), num_classes, 'class', 'classes')} too small to "
        f"measure: {label!r} has "
        f"{counted(images, 'image')} {where} ({in_points(images)})."
    )
    if len(missing):
        title = f"{title[:-1]}; {_absent(missing)}."
    return _CLASSES.found(
        title,
        {"classes": _with_widths(small), "missing": _by_side(missing)},
        "Collect more images of them, join classes, or hold out more with `sightline split "
        "--resplit all`; until then read their figures with the interval.",
        severity="error" if len(missing) else "warning",
    )


def class_imbalance(audited: AuditedSet) -> Finding:
    """Return how unequal the classes are, among the training images where there is a split.

    The one class of a set is found too: nothing can be learned from it alone.
    """
    usable = audited.usable.drop_nulls("label")
    if len(audited.classes) == 1:
        return _one_class(audited.classes[0], len(usable))
    training = usable.filter(pl.col("split") == "train")
    counts = counts_by(training if len(training) else usable, "label")
    if len(counts) < 2:
        return _IMBALANCE.not_applicable("There are no two classes to compare.")
    (largest, most), *_, (smallest, least) = counts.items()
    ratio = most / least
    evidence = {
        "images": counts,
        "ratio": round(ratio, 3),
        "of": "train" if len(training) else "all images",
    }
    said = f"{largest!r} has {counted(most, 'image')} and {smallest!r} {least:,}: {ratio:.1f} to 1"
    if ratio <= UNEQUAL:
        return _IMBALANCE.passed(f"The classes are of similar size: {said}.", evidence)
    return _IMBALANCE.found(
        f"The classes are of unequal size: {said}.",
        evidence,
        "Judge by balanced accuracy, not accuracy, and let rare classes weigh more: "
        "`--set balance.class_weights=balanced`.",
        severity="warning" if ratio > VERY_UNEQUAL else "info",
        recipe_change="balance.class_weights=balanced",
    )


def _one_class(name: str, images: int) -> Finding:
    """Return that there is nothing to tell apart."""
    return _IMBALANCE.found(
        f"There is one class alone: {name!r}, with {counted(images, 'image')}. A model has nothing "
        "to tell apart.",
        {"images": {name: images}},
        "Give the folder that holds a folder for each class, or a table with the labels. Fine "
        "where the images are only judged on: an evaluation of them shows how many are recognised.",
    )


def _class_sizes(audited: AuditedSet) -> pl.DataFrame:
    """Return (label, side, images) for every class on every side in use, zeros too, and "all"."""
    usable = audited.usable.drop_nulls("label")
    classes = pl.DataFrame({"label": list(audited.manifest.class_names)}, {"label": pl.String})
    every = classes.join(pl.DataFrame({"side": audited.sides}, {"side": pl.String}), how="cross")
    counts = usable.drop_nulls("split").group_by("label", pl.col("split").alias("side")).agg(
        pl.len().cast(pl.Int64).alias("images")
    )  # fmt: skip
    total = usable.group_by("label").agg(pl.len().cast(pl.Int64).alias("images"))
    total = classes.join(total, on="label", how="left").with_columns(side=pl.lit("all"))
    sides = every.join(counts, on=["label", "side"], how="left")
    table = pl.concat([sides, total.select("label", "side", "images")])
    return table.with_columns(pl.col("images").fill_null(0))


def _most_hopeless() -> int:
    """Return the largest number of images whose interval is still wider than HOPELESS."""
    count = 1
    while half_width(count + 1) > HOPELESS:
        count += 1
    return count


def _absent(missing: pl.DataFrame) -> str:
    parts = [
        f"{side} has none of {joined([repr(label) for label in labels[:3]])}"
        + (f" and {len(labels) - 3:,} more" if len(labels) > 3 else "")
        for side, labels in _by_side(missing).items()
    ]
    return "; ".join(parts)


def _by_side(missing: pl.DataFrame) -> dict[str, list[str]]:
    lists = missing.group_by("side").agg(pl.col("label").sort()).sort("side")
    return dict(lists.iter_rows())


def _with_widths(small: pl.DataFrame) -> list[dict[str, Any]]:
    rows = small.sort("label", "side").rows(named=True)
    return [{**row, "half_width": round(half_width(row["images"]), 4)} for row in rows]
