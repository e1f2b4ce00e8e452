"""What no labelled data set may have: figures would come out of it, and would mean nothing."""

from __future__ import annotations

import unicodedata
from collections import defaultdict

import polars as pl

from sightline.errors import DataError
from sightline.records import SPLITS, Manifest


def check_classes(manifest: Manifest, *, learnable: bool = True) -> None:
    """Refuse labels that cannot be used; empty class folders the scan itself refuses.

    Args:
        manifest: As scanned.
        learnable: Refuse also what cannot be learned from: one class alone, lopsided splits.

    Raises:
        DataError: There is no image; two classes differ only in how their letters are encoded.
            With `learnable`: there is only one class; of several given splits, a label is in one
            alone or train lacks a label.
    """
    if not len(manifest):
        raise DataError(f"there is no image in {manifest.root}")
    _refuse_twins(manifest)
    if not learnable:
        return
    if len(manifest.class_names) < 2:
        raise DataError(
            f"{manifest.root} has images of a single class, {list(manifest.class_names)}; "
            "a classifier needs at least two. Add a second class, or point one folder up or down."
        )
    _refuse_lopsided_splits(manifest)


def _refuse_twins(manifest: Manifest) -> None:
    """Refuse names that look the same and are not, e.g. from macOS and from Linux."""
    spellings: defaultdict[str, list[str]] = defaultdict(list)
    for name in manifest.class_names:
        spellings[unicodedata.normalize("NFC", name)].append(name)
    for name, twins in spellings.items():
        if len(twins) > 1:
            raise DataError(
                f"{manifest.root} has {len(twins)} classes that all read {name!r} and differ only "
                f"in Unicode normalisation: {', '.join(ascii(twin) for twin in twins)}. "
                "Put their images under one of the names."
            )


def _refuse_lopsided_splits(manifest: Manifest) -> None:
    counts = (
        manifest.table.drop_nulls("split")
        .group_by("label", "split")
        .agg(pl.len().alias("images"))
        .sort("label")
    )
    given = [split for split in SPLITS if split in counts["split"]]
    if len(given) < 2:
        return
    for label in manifest.class_names:
        of_label = counts.filter(pl.col("label") == label)
        splits = [split for split in SPLITS if split in of_label["split"]]
        if not splits:
            continue
        images = int(of_label["images"].sum())
        if len(splits) == 1:
            raise DataError(
                f"label {label!r} is only in {splits[0]} ({images} images) of {manifest.root}, "
                f"which has {', '.join(given)}. Put images of it into the other splits too, "
                "remove it, or leave the splits out and let Sightline make them."
            )
        if "train" not in splits:
            raise DataError(
                f"label {label!r} is in {' and '.join(splits)} ({images} images) of "
                f"{manifest.root} but not in train, so it cannot be learned. Put images of it "
                "into train, or remove it."
            )
