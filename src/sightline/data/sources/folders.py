"""Class folders, split folders holding class folders, and three unrelated folders."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from sightline.data.sources.checks import checked_manifest
from sightline.data.sources.kept import KeptFiles
from sightline.data.sources.layout import check_layout, layout, split_folders
from sightline.data.sources.options import DEFAULTS, ScanOptions
from sightline.data.sources.passed import PassedOver
from sightline.data.sources.shards import as_folders, holds_shards, read_tree, scan_tree
from sightline.data.sources.walk import absolute_folder, is_inside, relative, walk
from sightline.errors import DataError
from sightline.records import SPLITS, Manifest, Split


def scan_folder(root: Path | str, options: ScanOptions = DEFAULTS) -> Manifest:
    """Return the manifest of a folder of class folders, or of split folders holding those.

    Class folders are read at every depth; the label is the folder's own name. Split folders
    are recognised by name, in capitals or not: train, training; validation, val, valid,
    validate; test, testing. A folder that holds .tar shards instead of images is read as
    `scan_shards` does.

    Raises:
        DataError: The folder cannot be read, is laid out in neither way or in a mixture, an
            image lies outside class folders, or `check_classes` refuses what is there.
    """
    where = absolute_folder(root, what="the data folder")
    files = KeptFiles()
    tree = walk(where, files, follow_links=options.follow_links)
    if holds_shards(tree):
        return scan_tree(tree, options)
    splits = layout(tree)
    return checked_manifest(where, [_labelled(files.table(), splits)], tree.passed_over, options)


def scan_splits(
    train: Path | str,
    validation: Path | str | None,
    test: Path | str | None,
    options: ScanOptions = DEFAULTS,
) -> Manifest:
    """Return the manifest of up to three unrelated folders of class folders, or of shards.

    The root is their common parent.

    Raises:
        DataError: As `scan_folder`; or one of the folders is, or lies inside, another.
    """
    given = {
        split: absolute_folder(folder, what=f"the {split} folder")
        for split, folder in zip(SPLITS[:3], (train, validation, test), strict=True)
        if folder is not None
    }
    for split, folder in given.items():
        for other, place in given.items():
            if split != other and is_inside(folder, place):
                raise DataError(
                    f"the {split} folder {folder} is inside the {other} folder {place}, so its "
                    "images would be in both. Give three separate folders."
                )
    root = os.path.commonpath(given.values())
    parts = []
    passed_over = PassedOver()
    for split, folder in given.items():
        rows, beside = _one_split(folder, split, options)
        place = relative(folder, root)
        start = f"{place}/" if place else ""
        ids = pl.lit(start) + pl.col("record_id")
        parts.append(rows.with_columns(record_id=ids, split=pl.lit(split)))
        passed_over.merge(beside, start)
    return checked_manifest(root, parts, passed_over, options)


def _one_split(folder: str, split: Split, options: ScanOptions) -> tuple[pl.DataFrame, PassedOver]:
    """Return the labelled images of one of several folders, and what was passed over."""
    files = KeptFiles()
    tree = walk(folder, files, follow_links=options.follow_links)
    shards = holds_shards(tree)
    if split_folders(as_folders(tree) if shards else tree):
        raise DataError(
            f"the {split} folder {folder} holds split folders itself. Give the folder inside "
            "it that holds the class folders, or give it alone, as the data folder."
        )
    if shards:
        return read_tree(tree, options)
    check_layout(tree)
    return _labelled(files.table(), {}), tree.passed_over


def _labelled(files: pl.DataFrame, splits: Mapping[str, Split]) -> pl.DataFrame:
    """Return the same rows with their label and split, which the folders' names are."""
    depth = 1 if splits else 0
    parts = pl.col("record_id").str.splitn("/", depth + 2).struct
    if not splits:
        return files.with_columns(label=parts[depth])
    return files.with_columns(label=parts[depth], split=parts[0].replace_strict(dict(splits)))
