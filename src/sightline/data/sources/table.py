"""A table that names image files and their labels."""

from __future__ import annotations

import os
import re
import stat
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from sightline.data.sources.checks import check_classes
from sightline.data.sources.kept import KeptFiles
from sightline.data.sources.options import DEFAULTS, SPLIT_WORDS, ScanOptions
from sightline.data.sources.walk import (
    FoundFile,
    absolute,
    absolute_folder,
    is_inside,
    refuse_outside,
    relative,
    walk,
)
from sightline.errors import DataError
from sightline.records import Manifest, Split
from sightline.records.parquet import read_parquet

_SEPARATORS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
_PARQUET = (".parquet", ".pq")
_WHOLE_NUMBER = re.compile(r"(\d{1,9})(\.0*)?")  # "3.0": pandas makes floats where a cell is empty
_SHOWN = 5
# Only a table can name images that are kept aside: a folder called external is no split folder.
_SPLIT_WORDS: dict[str, Split] = {**SPLIT_WORDS, "external": "external"}


@dataclass(frozen=True, slots=True)
class TableColumns:
    """A table and what its columns mean.

    Attributes:
        path: A .csv, .tsv or .parquet file with one row an image.
        path_col: File names, relative to the root; the extension may be left out.
        label_col: The label of each image.
        group_col: What must stay together (a patient, a lesion); an empty cell: nothing.
        split_col: train, validation (val, valid, validate), test or external, in every row.
        fold_col: Whole numbers, kept in the manifest; an empty cell: no fold.
    """

    path: Path
    path_col: str
    label_col: str
    group_col: str | None = None
    split_col: str | None = None
    fold_col: str | None = None

    def where(self, row: int, column: str | None) -> str:
        """Return how a message names a cell; `row` counts data rows from 0."""
        return f"{self.path}, row {row + 1}, column {column!r}"


def scan_table(
    table: TableColumns, root: Path | str | None = None, options: ScanOptions = DEFAULTS
) -> Manifest:
    """Return the manifest of the images a table names.

    A path cell is looked for below `root` (by default the table's folder) as it stands; then
    by file name in every folder below; then by file name without extension.

    Raises:
        DataError: The table, a column, a cell or a file cannot be used; the message names the
            table, the data row (from 1), the column and the value.
    """
    place = Path(absolute(table.path))
    top = absolute_folder(place.parent if root is None else root, what="the image folder")
    cells = _read(table)
    labels = _cells_without_gaps(table, table.label_col, cells["label"])
    found = _find_files(table, cells["path"], top, options)
    record_ids = [file.record_id for file in found]
    _refuse_repeats(table, record_ids)
    if "group" in cells and options.group_regex is not None:
        raise DataError(
            f"groups are given twice: by column {table.group_col!r} and by the pattern "
            f"{options.group_regex!r}. Leave one of them out."
        )
    cell_groups = cells.get("group")
    groups = (
        options.groups(pl.Series(record_ids, dtype=pl.String))
        if cell_groups is None
        else [cell or None for cell in cell_groups]
    )
    manifest = Manifest.make(
        Path(top),
        {
            "record_id": record_ids,
            "label": labels,
            "group": groups,
            "split": _splits(table, cells["split"]) if "split" in cells else None,
            "fold": _folds(table, cells["fold"]) if "fold" in cells else None,
            "bytes": [file.bytes for file in found],
            "mtime_ns": [file.mtime_ns for file in found],
        },
    )
    try:
        check_classes(manifest, learnable=options.learnable)
    except DataError as error:
        raise DataError(f"{table.path}: {error}") from error
    return manifest


def _read(table: TableColumns) -> dict[str, list[str]]:
    """Return the wanted columns as text without spaces around it; an empty cell is ""."""
    wanted = {
        "path": table.path_col,
        "label": table.label_col,
        "group": table.group_col,
        "split": table.split_col,
        "fold": table.fold_col,
    }
    frame = open_table(table.path)
    for column in wanted.values():
        if column is not None and column not in frame.columns:
            raise DataError(
                f"{table.path} has no column {column!r}. Its columns are {frame.columns}."
            )
    if not len(frame):
        raise DataError(f"{table.path} has no rows below its header. Give one row an image.")
    return {
        name: as_text(table.path, frame[column])
        for name, column in wanted.items()
        if column is not None
    }


def as_text(path: Path, column: pl.Series) -> list[str]:
    """Return a column as text without spaces around it; an empty cell is "".

    Raises:
        DataError: It holds lists or the like.
    """
    if column.dtype.is_nested():
        raise DataError(
            f"{path}, column {column.name!r}, holds {column.dtype}. Give one text or number a row."
        )
    return column.cast(pl.String).fill_null("").str.strip_chars().to_list()


def open_table(path: Path) -> pl.DataFrame:
    """Return a .csv, .tsv or .parquet file; every cell of the first two is text.

    Raises:
        DataError: It is missing, cannot be read, or has another extension.
    """
    extension = path.suffix.lower()
    if not path.is_file():
        raise DataError(f"there is no table {path}. Check the path for a typing error.")
    try:
        if extension in _PARQUET:
            return read_parquet(path)[0]
        if extension in _SEPARATORS:
            return pl.read_csv(
                path, separator=_SEPARATORS[extension], infer_schema=False, glob=False
            )
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"cannot read the table {path}: {reason}. Save it as UTF-8 text with one header row."
        ) from error
    known = ", ".join([*_SEPARATORS, *_PARQUET])
    raise DataError(f"the table {path} has extension {extension!r}; known are {known}.")


def _cells_without_gaps(table: TableColumns, column: str, cells: list[str]) -> list[str]:
    empty = [row for row, cell in enumerate(cells) if not cell]
    if empty:
        raise DataError(
            f"{len(empty)} of {len(cells)} cells are empty: {table.where(empty[0], column)}"
            f"{_more_rows(empty)}. Fill them in, or remove the rows."
        )
    return cells


def _refuse_repeats(table: TableColumns, record_ids: list[str]) -> None:
    first: dict[str, int] = {}
    for row, record_id in enumerate(record_ids):
        earlier = first.setdefault(record_id, row)
        if earlier != row:
            raise DataError(
                f"{table.where(row, table.path_col)}: {record_id!r} was already named in row "
                f"{earlier + 1}. Keep one row an image."
            )


def _splits(table: TableColumns, cells: list[str]) -> list[Split]:
    for row, cell in enumerate(cells):
        if cell.casefold() not in _SPLIT_WORDS:
            raise DataError(
                f"{table.where(row, table.split_col)}: {cell!r} is not a split. Write one of "
                f"{', '.join(_SPLIT_WORDS)}, or remove the row."
            )
    return [_SPLIT_WORDS[cell.casefold()] for cell in cells]


def _folds(table: TableColumns, cells: list[str]) -> list[int | None]:
    folds = []
    for row, cell in enumerate(cells):
        match = _WHOLE_NUMBER.fullmatch(cell)
        if cell and not match:
            raise DataError(
                f"{table.where(row, table.fold_col)}: {cell!r} is not a fold number. Write "
                "0, 1, 2 ..., or leave the cell empty."
            )
        folds.append(int(match.group(1)) if match else None)
    return folds


def _find_files(
    table: TableColumns, cells: list[str], root: str, options: ScanOptions
) -> list[FoundFile]:
    """Return the file of every row; the folders are only searched when a cell needs it."""
    cells = _cells_without_gaps(table, table.path_col, cells)
    real_parents: set[str] = set()
    found: list[FoundFile | None] = []
    for row, cell in enumerate(cells):
        path = os.path.normpath(f"{root}/{cell}" if not cell.startswith("/") else cell)
        if not is_inside(path, root):
            raise DataError(
                f"{table.where(row, table.path_col)}: {cell!r} lies outside the image folder "
                f"{root}. Give a folder that holds every image as the root."
            )
        file = _file_at(path, root)
        if file is not None and not options.follow_links:
            _refuse_links(path, root, real_parents)
        found.append(file)
    if None in found:
        files = KeptFiles()
        walk(root, files, follow_links=options.follow_links)
        index = _NameIndex(FoundFile._make(row) for row in files.table().iter_rows())
        for row, file in enumerate(found):
            if file is None:
                found[row] = _the_one(table, row, cells[row], index.search(cells[row]))
    missing = [row for row, file in enumerate(found) if file is None]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(cells)} files of {table.path} are not below {root}: "
            f"{_list_cells(table.path_col, missing, cells)}. Correct the names, give the folder "
            "that holds the images as the root, or remove the rows."
        )
    return [file for file in found if file is not None]


def _file_at(path: str, root: str) -> FoundFile | None:
    try:
        about = Path(path).stat()
    except (OSError, ValueError):  # no such file, name too long; ValueError: a NUL in the cell
        return None
    if not stat.S_ISREG(about.st_mode):
        return None
    return FoundFile(relative(path, root), about.st_size, about.st_mtime_ns)


def _refuse_links(path: str, root: str, real_parents: set[str]) -> None:
    """Refuse a file that a link leads out of the root; each folder is looked at once."""
    parent = str(Path(path).parent)
    if parent not in real_parents:
        refuse_outside(parent, root)
        real_parents.add(parent)
    if Path(path).is_symlink():
        refuse_outside(path, root)


def _the_one(
    table: TableColumns, row: int, cell: str, candidates: Sequence[FoundFile]
) -> FoundFile | None:
    if len(candidates) > 1:
        names = ", ".join(file.record_id for file in candidates[:_SHOWN])
        raise DataError(
            f"{table.where(row, table.path_col)}: {cell!r} could be any of {len(candidates)} "
            f"files: {names}. Write the path with its folder and extension."
        )
    return candidates[0] if candidates else None


class _NameIndex:
    """Finds files by the end of their path, with or without the extension."""

    def __init__(self, images: Iterable[FoundFile]) -> None:
        self._by_name: defaultdict[str, list[FoundFile]] = defaultdict(list)
        self._by_stem: defaultdict[str, list[FoundFile]] = defaultdict(list)
        for image in images:
            name = _last_part(image.record_id)
            self._by_name[_small_extension(name)].append(image)
            self._by_stem[_stem(name)].append(image)

    def search(self, cell: str) -> list[FoundFile]:
        """Return the files whose path ends with `cell`; extensions in capitals or not."""
        wanted = os.path.normpath(cell.replace("\\", "/")).lstrip("/")  # tables made on Windows
        exact = _small_extension(wanted)
        return [
            image
            for image in self._by_name.get(_last_part(exact), ())
            if _ends_with(_small_extension(image.record_id), exact)
        ] or [
            image
            for image in self._by_stem.get(_last_part(wanted), ())
            if _ends_with(_stem(image.record_id), wanted)
        ]


def _ends_with(path: str, end: str) -> bool:
    """Return whether the last whole parts of `path` are `end`."""
    return f"/{path}".endswith(f"/{end}")


def _last_part(path: str) -> str:
    return path.rpartition("/")[2]


def _stem(path: str) -> str:
    return path.rpartition(".")[0]


def _small_extension(path: str) -> str:
    start, dot, extension = path.rpartition(".")
    return start + dot + extension.lower() if dot and "/" not in extension else path


def _list_cells(column: str, rows: list[int], cells: list[str]) -> str:
    shown = ", ".join(f"row {row + 1} {cells[row]!r}" for row in rows[:_SHOWN])
    return f"column {column!r}, {shown}{' ...' if len(rows) > _SHOWN else ''}"


def _more_rows(rows: list[int]) -> str:
    others = ", ".join(str(row + 1) for row in rows[1:_SHOWN])
    return f" (also rows {others}{' ...' if len(rows) > _SHOWN else ''})" if others else ""
