"""How a folder of labelled images may be laid out: class folders, or splits holding those."""

from __future__ import annotations

from collections.abc import Mapping

from sightline.data.sources.options import SPLIT_WORDS
from sightline.data.sources.walk import Tree
from sightline.errors import DataError
from sightline.records import SPLITS, Split

_EXPECTED = """Expected one folder a class:
    {where}/
        cat/  1.jpg  2.jpg ...
        dog/  3.jpg  4.jpg ...
or such folders inside train/, validation/ and test/. With labels in a table, give the table; \
images without labels can only be predicted."""


def layout(tree: Tree) -> dict[str, Split]:
    """Return which first-level folder is which split; {} for a folder of class folders.

    Raises:
        DataError: There is no image, or the folder is laid out in neither way or in a mixture.
    """
    if not tree.num_images:
        raise DataError(
            f"there is no image in {tree.where}{_passed_over(tree)}. "
            f"{_EXPECTED.format(where=tree.where)}"
        )
    splits = split_folders(tree)
    if not splits:
        check_layout(tree)
        return {}
    _refuse_shards_in_splits(tree, splits)
    if tree.loose.count:
        raise _unlabelled(tree)
    for name in splits:
        check_layout(tree.below(name))
    return splits


def split_folders(tree: Tree) -> dict[str, Split]:
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


def check_layout(tree: Tree) -> None:
    """Refuse a folder that is not a folder of class folders, each with an image in it."""
    if tree.loose.count:
        raise _unlabelled(tree)
    filled = tree.folders_with_images()
    if not filled:
        raise DataError(
            f"there is no image in {tree.where}{_passed_over(tree)}. "
            f"{_EXPECTED.format(where=tree.where)}"
        )
    if len(filled) == 1:
        inner = tree.below(filled[0])
        if not inner.loose.count and len(inner.folders_with_images()) > 1:
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


def _refuse_shards_in_splits(tree: Tree, splits: Mapping[str, Split]) -> None:
    """Refuse shards beside images; an archive elsewhere is a download that was left lying."""
    inside = [path for path in tree.archives if path.partition("/")[0] in splits]
    if inside:
        raise DataError(
            f"{tree.where} mixes image files with {len(inside)} archives inside its split folders, "
            f"such as {inside[0]}. Keep either class folders of images, or .tar shards."
        )


def _unlabelled(tree: Tree) -> DataError:
    start = (
        f"{tree.loose.count} images lie directly in {tree.where} and so have no label: "
        f"{', '.join(tree.loose.first)}"
    )
    if tree.folders_with_images():
        return DataError(f"{start}. Move them into their class folders, or away.")
    return DataError(f"{start}; there are no class folders. {_EXPECTED.format(where=tree.where)}")


def _is_flat(tree: Tree) -> bool:
    return bool(tree.num_images) and not tree.folders_with_images()


def _passed_over(tree: Tree) -> str:
    counted = ", ".join(f"{count} {kind}" for kind, count in tree.passed_over.counts.items())
    return f" (passed over: {counted})" if counted else ""
