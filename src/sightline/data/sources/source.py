"""One door for every form in which labelled images are given."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

from sightline.data.sources.folders import scan_folder, scan_splits
from sightline.data.sources.options import ScanOptions
from sightline.data.sources.table import TableColumns, scan_table
from sightline.errors import DataError
from sightline.records import Manifest

_TABLES = (".csv", ".tsv", ".tab")
_PARQUET = (".parquet", ".pq")
_TABLE_ONLY = ("path_col", "label_col", "group_col", "split_col", "fold_col")
_FOLDERS = ("train", "validation", "test")


class SourceOptions(TypedDict, total=False):
    """How labelled images are given, beside one folder or manifest.

    Attributes:
        train: Folder of class folders to train on; instead of one folder for everything.
        validation: Folder of class folders to choose weights by.
        test: Folder of class folders to judge on.
        labels: A .csv, .tsv or .parquet table with one row an image.
        path_col: Its column of file names; the extension may be left out.
        label_col: Its column of labels.
        group_col: Its column of what must stay together (a patient, a lesion).
        split_col: Its column of train, validation, test or external.
        fold_col: Its column of fold numbers, which the manifest keeps. Without any split given,
            `train` chooses weights by the lowest fold.
        group_regex: Finds the group in each file's path, where no column gives it.
        follow_links: Follow symbolic links that lead out of the folder.
    """

    train: str | Path | None
    validation: str | Path | None
    test: str | Path | None
    labels: str | Path | None
    path_col: str | None
    label_col: str | None
    group_col: str | None
    split_col: str | None
    fold_col: str | None
    group_regex: str | None
    follow_links: bool


def read_source(
    path: str | Path | None, given: SourceOptions, *, learnable: bool = True
) -> Manifest:
    """Return the manifest of labelled images, however they are given.

    Args:
        path: A folder of class folders (or of split folders), or of .tar shards; a saved
            manifest (.parquet); a table (.csv, .tsv, or .parquet with `path_col`); the images'
            folder when `labels` is given; None with `train`.
        given: The rest.
        learnable: Refuse also what cannot be learned from; a set that is only judged may have
            a single class or lopsided splits.

    Raises:
        DataError: The forms are mixed or incomplete, or what is there cannot be used.
    """
    options = ScanOptions(
        group_regex=given.get("group_regex"),
        follow_links=given.get("follow_links") or False,
        learnable=learnable,
    )
    labels = given.get("labels")
    if path is not None and labels is None and _is_table(Path(path), given):
        labels, path = path, None
    _refuse_mixture(path, labels, given)
    if labels is not None:
        return scan_table(_columns(Path(labels), given), path, options)
    if path is None:
        train = given.get("train")
        if train is None:
            others = [name for name in _FOLDERS if given.get(name) is not None]
            start = (
                f"a {' and a '.join(others)} folder alone cannot be used"
                if others
                else ("no images were given")
            )
            raise DataError(
                f"{start}. Give a folder of class folders, or a train folder "
                "(--train), or a table of labels (--labels)."
            )
        return scan_splits(train, given.get("validation"), given.get("test"), options)
    if Path(path).suffix.lower() in _PARQUET and not Path(path).is_dir():
        if options != ScanOptions(learnable=learnable):
            raise DataError(
                f"{path} is a manifest: its groups and files stand already. Leave the scan "
                "options out, or scan the images again."
            )
        return Manifest.load(Path(path))
    return scan_folder(path, options)


def _is_table(path: Path, given: SourceOptions) -> bool:
    """Say whether a path is a table of labels; a .parquet is one if its columns are named."""
    named = given.get("path_col") is not None and path.suffix.lower() in _PARQUET
    return (named or path.suffix.lower() in _TABLES) and not path.is_dir()


def _refuse_mixture(
    path: str | Path | None, labels: str | Path | None, given: SourceOptions
) -> None:
    folders = [name for name in _FOLDERS if given.get(name) is not None]
    columns = [name for name in _TABLE_ONLY if given.get(name) is not None]
    if folders and (path is not None or labels is not None):
        raise DataError(
            f"{path if path is not None else labels} and separate folders for "
            f"{', '.join(folders)} were both given. Give one or the other."
        )
    if columns and labels is None:
        raise DataError(
            f"columns of a table were named ({', '.join(columns)}), but no table was given. "
            "Add it with labels (--labels CSV)."
        )


def _columns(table: Path, given: SourceOptions) -> TableColumns:
    if not table.is_file():
        raise DataError(f"there is no table {table}. Check the path for a typing error.")
    path_col, label_col = given.get("path_col"), given.get("label_col")
    if path_col is None or label_col is None:
        missing = [name for name in ("path_col", "label_col") if given.get(name) is None]
        raise DataError(
            f"the table {table} needs {' and '.join(missing)}: which columns hold the file names "
            "and the labels (--path-col, --label-col)."
        )
    return TableColumns(
        path=table,
        path_col=path_col,
        label_col=label_col,
        group_col=given.get("group_col"),
        split_col=given.get("split_col"),
        fold_col=given.get("fold_col"),
    )
