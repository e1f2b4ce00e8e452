"""Tar shards in WebDataset's layout: images and labels of one key side by side in a .tar.

    photos-000.tar:   0001.jpg  0001.cls  0002.jpg  0002.cls ...

A key is a member's name up to the first dot after the last slash. Only the headers and the
labels are read; an image stays where it is, as a part of its shard (layout after WebDataset,
Aizman, Maltby and Breuel, "High Performance I/O For Large Scale Deep Learning", 2019).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar

import polars as pl

from sightline.data.sources.checks import checked_manifest
from sightline.data.sources.layout import split_folders
from sightline.data.sources.members import Sample, samples_of
from sightline.data.sources.options import DEFAULTS, SPLIT_WORDS, ScanOptions
from sightline.data.sources.passed import PassedOver
from sightline.data.sources.walk import (
    Own,
    Tree,
    absolute,
    absolute_folder,
    is_utf8,
    refuse_outside,
    relative,
    walk,
)
from sightline.errors import DataError
from sightline.records import Manifest

_SHOWN = 5
_SCHEMA = pl.Schema(
    {
        "record_id": pl.String,
        "label": pl.String,
        "bytes": pl.Int64,
        "mtime_ns": pl.Int64,
        "begin": pl.Int64,
    }
)


def scan_shards(
    shards: Path | str | Sequence[Path | str],
    options: ScanOptions = DEFAULTS,
    *,
    class_names: Sequence[str] | None = None,
) -> Manifest:
    """Return the manifest of the images in .tar shards.

    A record's id is its member's name behind the shard's, `photos-000.tar/0001.jpg`; its data
    are `bytes` bytes at `begin` of the shard. Its label is the text or whole number in its
    `.cls`, or under "label", "cls" or "class" of its `.json`, or in its `.txt`.

    Args:
        shards: A folder, read at every depth, or one in which shards lie in split folders
            (train, validation, test); or the shards themselves, whose common folder is the root.
        options: As every scan; the group pattern is searched in record ids.
        class_names: What numbers stand for: label 0 is the first. By default the number itself.

    Raises:
        DataError: A shard cannot be read, is compressed, cut short or not in this layout, or
            `check_classes` refuses its labels. The message names the shard and the member.
    """
    if isinstance(shards, (str, Path)) and Path(shards).is_dir():
        where = absolute_folder(shards, what="the data folder")
        tree = walk(where, _Nothing(), follow_links=options.follow_links)
        if tree.num_images:
            folder, own = next(iter(tree.own.items()))
            raise DataError(
                f"{where} mixes shards with {tree.num_images} image files, such as "
                f"{folder}{'/' if folder else ''}{own.first[0]}. Keep one or the other."
            )
        return scan_tree(tree, options, class_names=class_names)
    given = [shards] if isinstance(shards, (str, Path)) else list(shards)
    if not given:
        raise DataError("no shard was given. Name .tar files, or the folder that holds them.")
    paths = sorted({absolute(path) for path in given})
    root = os.path.commonpath([str(Path(path).parent) for path in paths])
    names = [relative(path, root) for path in paths]
    rows, passed_over = read_shards(root, names, options, class_names=class_names)
    return checked_manifest(root, [rows], passed_over, options)


def holds_shards(tree: Tree) -> bool:
    """Return whether a folder is a set of shards: archives, and no image file at any depth."""
    return bool(tree.archives) and not tree.num_images


def as_folders(tree: Tree) -> Tree:
    """Return the tree as if its archives were images, so that split folders are found alike."""
    inside: dict[str, list[str]] = {}
    for path in tree.archives:
        folder, _, name = path.rpartition("/")
        inside.setdefault(folder, []).append(name)
    own = {folder: Own(len(names), tuple(names[:_SHOWN])) for folder, names in inside.items()}
    return Tree(tree.where, tree.folders, own, tree.archives, tree.beside)


def scan_tree(
    tree: Tree, options: ScanOptions, *, class_names: Sequence[str] | None = None
) -> Manifest:
    """Return the manifest of the shards of a folder that was walked.

    Raises:
        DataError: As `scan_shards`.
    """
    if not tree.archives:
        raise DataError(f"there is no .tar file in {tree.where}. Point at the folder of shards.")
    folders = as_folders(tree)
    splits = split_folders(folders)
    named = [name for name in folders.folders_with_images() if name.casefold() in SPLIT_WORDS]
    if named and not splits:  # a class may be called "train", a folder of shards is no class
        raise DataError(
            f"{tree.where} mixes split folders {named} with other folders of shards: "
            f"{[name for name in folders.folders_with_images() if name not in named]}. Keep "
            "either, and move the rest away."
        )
    if splits and folders.loose.count:
        raise DataError(
            f"{tree.where} has shards beside its split folders {sorted(splits)}: "
            f"{', '.join(folders.loose.first)}. Move them into a split, or away."
        )
    for name in splits:
        if not folders.below(name).num_images:
            raise DataError(f"there is no .tar file in {tree.where}/{name}. Add one, or remove it.")
    rows, passed_over = read_tree(tree, options, class_names=class_names)
    if splits:
        top = pl.col("record_id").str.splitn("/", 2).struct[0]
        rows = rows.with_columns(split=top.replace_strict(dict(splits)))
    return checked_manifest(tree.where, [rows], passed_over, options)


def read_tree(
    tree: Tree, options: ScanOptions, *, class_names: Sequence[str] | None = None
) -> tuple[pl.DataFrame, PassedOver]:
    """Return one row an image of a folder's shards, and what was passed over.

    Raises:
        DataError: As `scan_shards`.
    """
    rows, passed_over = read_shards(tree.where, tree.archives, options, class_names=class_names)
    passed_over.merge(tree.beside)
    return rows, passed_over


def read_shards(
    root: str,
    shards: Iterable[str],
    options: ScanOptions,
    *,
    class_names: Sequence[str] | None = None,
    labelled: bool = True,
) -> tuple[pl.DataFrame, PassedOver]:
    """Return one row an image of every shard, and which members were passed over.

    Args:
        root: Absolute folder.
        shards: Their paths relative to `root`.
        options: Whether links may lead out of `root`.
        class_names: What numbers stand for.
        labelled: False takes every image, without a label.

    Raises:
        DataError: As `scan_shards`.
    """
    parts = [pl.DataFrame(schema=_SCHEMA)]
    passed_over = PassedOver()
    names = None if class_names is None else tuple(class_names)
    for shard in shards:
        path = f"{root.rstrip('/')}/{shard}"
        _refuse_place(path, shard)
        if not options.follow_links and Path(path).is_symlink():
            refuse_outside(path, root)
        samples, mtime_ns, beside = samples_of(path, labelled=labelled)
        passed_over.merge(beside, f"{shard}/")
        columns = {
            "record_id": [f"{shard}/{sample.image}" for sample in samples],
            "label": [_label(path, sample, names) for sample in samples],
            "bytes": [sample.size for sample in samples],
            "mtime_ns": [mtime_ns] * len(samples),
            "begin": [sample.begin for sample in samples],
        }
        parts.append(pl.DataFrame(columns, schema=_SCHEMA))
    return pl.concat(parts), passed_over


class _Nothing:
    """Keeps nothing of the images that a walk finds; they are counted all the same."""

    with_stat: ClassVar[bool] = False

    def add(self, *_: object) -> None:
        """Let the images go."""


def _label(path: str, sample: Sample, class_names: tuple[str, ...] | None) -> str | None:
    """Return the label of a sample; a number stands for a class name where there are any."""
    label = sample.label
    if class_names is None or label is None:
        return None if label is None else str(label)
    if isinstance(label, int) and 0 <= label < len(class_names):
        return class_names[label]
    if label in class_names:
        return str(label)
    raise DataError(
        f"{path}, member {sample.label_member!r}: label {label!r} is not one of the "
        f"{len(class_names)} classes {list(class_names)}. Correct the class names."
    )


def _refuse_place(path: str, shard: str) -> None:
    """Refuse what a record id could not be taken apart from again."""
    if not is_utf8(shard):
        raise DataError(f"the name {shard!a} is not valid UTF-8. Rename the file.")
    folder = next((part for part in shard.split("/")[:-1] if part.lower().endswith(".tar")), None)
    if folder is not None:
        raise DataError(
            f"{path} lies in a folder called {folder!r}, which looks like a shard itself. "
            "Rename the folder."
        )
