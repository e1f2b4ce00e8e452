"""What no labelled data set may have: figures would come out of it, and would mean nothing."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from sightline.data.sources.options import ScanOptions
from sightline.data.sources.passed import PassedOver
from sightline.errors import DataError
from sightline.records import SPLITS, Manifest

Counts = Mapping[tuple[str | None, str | None], int]


def checked_manifest(
    root: str, parts: list[pl.DataFrame], passed_over: PassedOver, options: ScanOptions
) -> Manifest:
    """Return the manifest of all parts, with the groups that are asked for.

    Raises:
        DataError: As `check_classes`; or the group pattern cannot be used.
    """
    table = parts[0] if len(parts) == 1 else pl.concat(parts, how="diagonal")
    groups = options.groups(table["record_id"])
    if groups is not None:
        table = table.with_columns(groups.alias("group"))
    manifest = Manifest.make(
        Path(root), table, ignored=passed_over.counts, passed_over=passed_over.names
    )
    check_classes(manifest, learnable=options.learnable)
    return manifest


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
    counted = manifest.table.group_by("label", "split").agg(pl.len())
    counts = {(label, split): count for label, split, count in counted.iter_rows()}
    check_counts(manifest.root, counts, learnable=learnable)


def check_counts(root: Path, counts: Counts, *, learnable: bool) -> None:
    """Do the same with nothing but how many images each (label, split) has.

    Raises:
        DataError: As `check_classes`.
    """
    if not sum(counts.values()):
        raise DataError(f"there is no image in {root}")
    class_names = sorted({label for label, _ in counts if label is not None})
    _refuse_twins(root, class_names)
    if not learnable:
        return
    if len(class_names) < 2:
        raise DataError(
            f"{root} has images of a single class, {class_names}; "
            "a classifier needs at least two. Add a second class, or point one folder up or down."
        )
    for label in class_names:
        _refuse_lopsided(root, label, counts)


def _refuse_twins(root: Path, class_names: Sequence[str]) -> None:
    """Refuse names that look the same and are not, e.g. from macOS and from Linux."""
    spellings: defaultdict[str, list[str]] = defaultdict(list)
    for name in class_names:
        spellings[unicodedata.normalize("NFC", name)].append(name)
    for name, twins in spellings.items():
        if len(twins) > 1:
            raise DataError(
                f"{root} has {len(twins)} classes that all read {name!r} and differ only "
                f"in Unicode normalisation: {', '.join(ascii(twin) for twin in twins)}. "
                "Put their images under one of the names."
            )


def _refuse_lopsided(root: Path, label: str, counts: Counts) -> None:
    """Refuse a label that is in one of several splits alone, or that train lacks."""
    given = [split for split in SPLITS if any(split == other for _, other in counts)]
    splits = [split for split in given if counts.get((label, split))]
    if len(given) < 2 or not splits:
        return
    images = sum(counts[label, split] for split in splits)
    inner = [split for split in given if split != "external"]  # which need not hold every class
    if len(splits) == 1 and splits[0] in inner:
        if len(inner) == 1:
            return
        raise DataError(
            f"label {label!r} is only in {splits[0]} ({images} images) of {root}, "
            f"which has {', '.join(given)}. Put images of it into the other splits too, "
            "remove it, or leave the splits out and let Sightline make them."
        )
    if "train" not in splits:
        raise DataError(
            f"label {label!r} is in {' and '.join(splits)} ({images} images) of "
            f"{root} but not in train, so it cannot be learned. Put images of it "
            "into train, or remove it."
        )
