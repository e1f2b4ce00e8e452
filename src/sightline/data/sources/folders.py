"""Class folders, split folders holding class folders, and three unrelated folders."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from sightline.data.sources.checks import check_classes
from sightline.data.sources.options import DEFAULTS, SPLIT_WORDS, ScanOptions
from sightline.data.sources.walk import Tree, absolute_folder, is_inside, relative, walk
from sightline.errors import DataError
from sightline.records import SPLITS, Manifest, Split

_EXPECTED = """Expected one folder a class:
    {where}/
        cat/  1.jpg  2.jpg ...
        dog/  3.jpg  4.jpg ...
or such folders inside train/, validation/ and test/. With labels in a table, give the table; \
images without labels can only be predicted."""


class _Part(NamedTuple):
    """A folder of class folders: its place below the root, and the split it is."""

    prefix: str
    split: Split | None
    tree: Tree


def scan_folder(root: Path | str, options: ScanOptions = DEFAULTS) -> Manifest:
    """Return the manifest of a folder of class folders, or of split folders holding those.

    Class folders are read at every depth; the label is the folder's own name. Split folders
    are recognised by name, in capitals or not: train, training; validation, val, valid,
    validate; test, testing.

    Raises:
        DataError: The folder cannot be read, is laid out in neither way or in a mixture, an
            image lies outside class folders, or `check_classes` refuses what is there.
    """
    where = absolute_folder(root, what="the data folder")
    tree = walk(where, follow_links=options.follow_links)
    if not tree.images:
        raise DataError(
            f"there is no image in {where}{_passed_over(tree)}. {_EXPECTED.format(where=where)}"
        )
    split_folders = _split_folders(tree)
    if not split_folders:
        return _manifest(where, [_Part("", None, tree)], tree.ignored, options)
    if tree.loose_images():
        raise _unlabelled(tree)
    parts = [_Part(name, split, tree.below(name)) for name, split in split_folders.items()]
    return _manifest(where, parts, tree.ignored, options)


def scan_splits(
    train: Path | str,
    validation: Path | str | None,
    test: Path | str | None,
    options: ScanOptions = DEFAULTS,
) -> Manifest:
    """Return the manifest of up to three unrelated folders of class folders.

    The root is their common parent.

    Raises:
        DataError: As `scan_folder`; or one of the folders is, or lies inside, another.
    """
    given = {
        split: absolute_folder(folder, what=f"the {split} folder")
        for split, folder in zip(SPLITS, (train, validation, test), strict=True)
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
    ignored: Counter[str] = Counter()
    for split, folder in given.items():
        tree = walk(folder, follow_links=options.follow_links)
        if _split_folders(tree):
            raise DataError(
                f"the {split} folder {folder} holds split folders itself. Give the folder inside "
                "it that holds the class folders, or give it alone, as the data folder."
            )
        parts.append(_Part(relative(folder, root), split, tree))
        ignored += tree.ignored
    return _manifest(root, parts, ignored, options)


def _manifest(
    root: str, parts: list[_Part], ignored: Counter[str], options: ScanOptions
) -> Manifest:
    """Return the checked manifest of every part."""
    found = []
    for prefix, split, tree in parts:
        _check_layout(tree)
        start = f"{prefix}/" if prefix else ""
        found += [(start + image.record_id, image, split) for image in tree.images]
    found.sort(key=lambda row: row[0])
    record_ids = [record_id for record_id, _, _ in found]
    manifest = Manifest.make(
        Path(root),
        {
            "record_id": record_ids,
            "label": [image.record_id.partition("/")[0] for _, image, _ in found],
            "group": options.groups(record_ids),
            "split": [split for _, _, split in found],
            "bytes": [image.bytes for _, image, _ in found],
            "mtime_ns": [image.mtime_ns for _, image, _ in found],
        },
        ignored=ignored,
    )
    check_classes(manifest, learnable=options.learnable)
    return manifest


def _split_folders(tree: Tree) -> dict[str, Split]:
    """Return which first-level folder is which split; {} for a folder of class folders.

    Raises:
        DataError: Split folders and others that hold images are mixed, a split is there twice,
            or there is no train folder.
    """
    named = {
        name: SPLIT_WORDS[name.casefold()]
        for name in tree.top_folders()
        if name.casefold() in SPLIT_WORDS
    }
    if not named:
        return {}
    others = [name for name in tree.folders_with_images() if name not in named]
    if others and list(named.values()) == ["train"] and _is_flat(tree.below(next(iter(named)))):
        return {}  # vehicles have a class "train", beside "bus"
    if others:
        raise DataError(
            f"{tree.where} mixes split folders {sorted(named)} with other folders that hold "
            f"images: {others}. Keep either class folders, or split folders holding class "
            "folders, and move the rest away."
        )
    for split in SPLITS:
        twins = [name for name, meant in named.items() if meant == split]
        if len(twins) > 1:
            raise DataError(
                f"{tree.where} has {len(twins)} folders for {split}: {twins}. Join or rename them."
            )
    if "train" not in named.values():
        raise DataError(
            f"{tree.where} has split folders {sorted(named)} but no train folder. Add train, or "
            f"point at one folder of class folders, e.g. {tree.where}/{min(named)}"
        )
    return named


def _check_layout(tree: Tree) -> None:
    """Refuse a folder that is not a folder of class folders, each with an image in it."""
    if tree.loose_images():
        raise _unlabelled(tree)
    filled = tree.folders_with_images()
    if not filled:
        raise DataError(
            f"there is no image in {tree.where}{_passed_over(tree)}. "
            f"{_EXPECTED.format(where=tree.where)}"
        )
    if len(filled) == 1:
        inner = tree.below(filled[0])
        if not inner.loose_images() and len(inner.folders_with_images()) > 1:
            raise DataError(
                f"{tree.where} holds a single folder with images, {filled[0]!r}, which is itself "
                f"a data set. Did you mean {inner.where}?"
            )
    empty = [f"{tree.where}/{name}" for name in tree.top_folders() if name not in filled]
    if empty:
        raise DataError(
            f"{len(empty)} class folder{'s hold' if len(empty) > 1 else ' holds'} no image: "
            f"{', '.join(empty[:5])}. "
            "Put images into them, or remove them."
        )


def _unlabelled(tree: Tree) -> DataError:
    names = tree.loose_images()
    start = (
        f"{len(names)} images lie directly in {tree.where} and so have no label: "
        f"{', '.join(names[:5])}"
    )
    if tree.folders_with_images():
        return DataError(f"{start}. Move them into their class folders, or away.")
    return DataError(f"{start}; there are no class folders. {_EXPECTED.format(where=tree.where)}")


def _is_flat(tree: Tree) -> bool:
    return bool(tree.images) and not tree.folders_with_images()


def _passed_over(tree: Tree) -> str:
    counted = ", ".join(f"{count} {kind}" for kind, count in sorted(tree.ignored.items()))
    return f" (passed over: {counted})" if counted else ""
