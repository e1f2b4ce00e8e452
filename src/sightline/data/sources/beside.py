"""What else a table knows of the images of a manifest: age, sex, site, scanner ..."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl

from sightline.data.sources.table import as_text, open_table
from sightline.errors import DataError
from sightline.records import Manifest

_NOT_KNOWN = ("", "na", "n/a", "nan", "null", "none", "unknown")
_SHOWN = 5


def columns_beside(
    manifest: Manifest, columns: Sequence[str], *, table: Path | None = None, path_col: str = ""
) -> pl.DataFrame:
    """Return `record_id` and the asked columns, one row for each record of the manifest.

    A column is that of the table, or else the manifest's own (width, height, mode, bytes ...). A
    row of the table is of the record with its path, or else with its file name, or else with its
    file name without extension; rows of other images are passed over. Columns of numbers alone
    become numbers; an empty cell, "NA", "unknown" and the like, and a record without a row, null.

    Args:
        manifest: What is judged.
        columns: Names.
        table: A .csv, .tsv or .parquet file; not needed for the manifest's own columns.
        path_col: Its column of paths or file names.

    Raises:
        DataError: A column is in neither; no row is of a record, a row could be of several, or two
            rows say different things of one record.
    """
    ids = manifest.table.select("record_id")
    found = _rows_by_record(manifest, columns, table, path_col) if table is not None else None
    own = [name for name in columns if found is None or name not in found.columns]
    for name in own:
        if name not in manifest.table.columns:
            where = (
                f"the table {table}" if table is not None else "the manifest (no table is given)"
            )
            raise DataError(
                f"there is no column {name!r} in {where}. Give a column of a table (--metadata), "
                "or width, height, mode or bytes of the images themselves."
            )
    joined = ids if found is None else ids.join(found, on="record_id", how="left")
    if own:
        joined = joined.join(manifest.table.select("record_id", *own), on="record_id", how="left")
    return joined.select("record_id", *columns)


def _rows_by_record(
    manifest: Manifest, columns: Sequence[str], table: Path, path_col: str
) -> pl.DataFrame:
    """Return record_id and those of the columns that the table has, of the records it knows."""
    frame = open_table(table)
    if path_col not in frame.columns:
        raise DataError(
            f"{table} has no column {path_col!r}. Its columns are {frame.columns}; give the one "
            "with the file names (--path-col)."
        )
    wanted = [name for name in columns if name in frame.columns]
    cells = as_text(table, frame[path_col])
    records = _records_of(table, path_col, cells, manifest)
    if not any(records):
        raise DataError(
            f"no row of {table} is of an image of {manifest.root}: column {path_col!r} begins with "
            f"{cells[:_SHOWN]}, the images with {manifest.table['record_id'][:_SHOWN].to_list()}. "
            "Give the column with their paths or file names (--path-col)."
        )
    said = pl.DataFrame(
        {"record_id": pl.Series(records, dtype=pl.String)}
        | {name: _values(as_text(table, frame[name])) for name in wanted}
    )
    said = said.drop_nulls("record_id").unique(maintain_order=True)
    twice = said.filter(pl.col("record_id").is_duplicated())
    if len(twice):
        raise DataError(
            f"{table} says different things of {twice['record_id'][0]!r} in different rows: "
            f"{twice.rows(named=True)[:2]}. Keep one row an image."
        )
    return said


def _records_of(
    table: Path, path_col: str, cells: Sequence[str], manifest: Manifest
) -> list[str | None]:
    """Return which record each row is of; None for those of other images."""
    ids = manifest.table["record_id"].to_list()
    # The full path decides, then the name, then the name without extension.
    ways: list[Callable[[str], str]] = [
        posixpath.normpath,
        posixpath.basename,
        lambda path: posixpath.splitext(posixpath.basename(path))[0],
    ]
    indices: list[dict[str, list[str]]] = [{} for _ in ways]
    for record_id in ids:
        for way, index in zip(ways, indices, strict=True):
            index.setdefault(way(record_id), []).append(record_id)
    found: list[str | None] = []
    for row, cell in enumerate(cells):
        matching = next(
            (index[key] for way, index in zip(ways, indices, strict=True)
             if (key := way(cell)) in index),
            [],
        )  # fmt: skip
        if len(matching) > 1:
            raise DataError(
                f"{table}, row {row + 1}, column {path_col!r}: {cell!r} could be any of "
                f"{len(matching)} images, {matching[:_SHOWN]}. Give paths below {manifest.root}."
            )
        found.append(matching[0] if matching else None)
    return found


def _values(cells: Sequence[str]) -> pl.Series:
    """Return cells as numbers where all that are known are numbers, else as text."""
    known = pl.Series(
        [None if cell.casefold() in _NOT_KNOWN else cell for cell in cells], dtype=pl.String
    )
    numbers = known.cast(pl.Float64, strict=False)
    return numbers if numbers.null_count() == known.null_count() else known
