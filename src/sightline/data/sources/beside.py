"""What else a table knows of the images of a manifest: age, sex, site, scanner ..."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from sightline.data.sources.table import as_text, open_table
from sightline.errors import DataError
from sightline.records import Manifest

_NOT_KNOWN = ("", "na", "n/a", "nan", "null", "none", "unknown")
_DATE = "%Y-%m-%d"  # as ISO 8601 has it; other ways of writing may mean two days
_TIMES = tuple(f"{_DATE}{between}%H:%M{rest}" for between in "T " for rest in ("", ":%S", ":%S%.f"))
_SHOWN = 5
# The full path decides, then the name, then the name without extension.
_WAYS: tuple[Callable[[str], str], ...] = (
    posixpath.normpath,
    posixpath.basename,
    lambda path: posixpath.splitext(posixpath.basename(path))[0],
)


def columns_beside(
    manifest: Manifest, columns: Sequence[str], *, table: Path | None = None
) -> pl.DataFrame:
    """Return `record_id` and the asked columns, one row for each record of the manifest.

    A column is that of the table, or else the manifest's own (width, height, mode, bytes ...). The
    table's column that names the most images says which row is of which: by path, or else by file
    name, or else by file name without extension. Rows of other images are passed over. Columns of
    numbers alone become numbers, of ISO 8601 dates alone (2024-05-17, 2024-05-17 09:30) dates; an
    empty cell, "NA", "unknown" and the like, and a record without
    a row, null.

    Args:
        manifest: What is judged.
        columns: Names.
        table: A .csv, .tsv or .parquet file; not needed for the manifest's own columns.

    Raises:
        DataError: A column is in neither, or is record_id; no row is of a record, a row could be
            of several, or two rows say different things of one record.
    """
    if "record_id" in columns:
        raise DataError("record_id says which image it is, and is no column that images share.")
    ids = manifest.table.select("record_id")
    found = ids if table is None else ids.join(
        _rows_by_record(manifest, columns, table), on="record_id", how="left"
    )  # fmt: skip
    own = [name for name in columns if name not in found.columns]
    for name in own:
        if name not in manifest.table.columns:
            where = "the manifest, and no table is given" if table is None else f"the table {table}"
            raise DataError(
                f"there is no column {name!r} in {where}. Give a column of a table (--metadata), "
                "or width, height, mode or bytes of the images themselves."
            )
    beside = manifest.table.select("record_id", *own)
    return found.join(beside, on="record_id", how="left").select("record_id", *columns)


def _rows_by_record(manifest: Manifest, columns: Sequence[str], table: Path) -> pl.DataFrame:
    """Return record_id and those of the columns that the table has, of the records it knows."""
    frame = open_table(table)
    index = _Names.of(manifest.table["record_id"].to_list())
    flat = [column.name for column in frame if not column.dtype.is_nested()]
    cells = {name: as_text(table, frame[name]) for name in flat}
    known = {name: sum(map(index.knows, cells[name])) for name in flat}
    naming = max(flat, key=lambda name: known[name], default="")
    if not known.get(naming):
        raise DataError(
            f"no column of {table} names an image of {manifest.root}: its columns are "
            f"{frame.columns}, the images {manifest.table['record_id'][:_SHOWN].to_list()} and so "
            "on. Give a table with their paths or file names in a column."
        )
    for row, cell in enumerate(cells[naming]):
        if len(matching := index.of_name(cell)) > 1:
            raise DataError(
                f"{table}, row {row + 1}, column {naming!r}: {cell!r} could be any of "
                f"{len(matching)} images, {matching[:_SHOWN]}. Give paths below {manifest.root}."
            )
    records = [next(iter(index.of_name(cell)), None) for cell in cells[naming]]
    said = pl.DataFrame(
        {"record_id": pl.Series(records, dtype=pl.String)}
        | {name: _values(cells[name]) for name in columns if name in cells}
    )
    said = said.drop_nulls("record_id").unique(maintain_order=True)
    twice = said.filter(pl.col("record_id").is_duplicated())
    if len(twice):
        raise DataError(
            f"{table} says different things of {twice['record_id'][0]!r} in different rows: "
            f"{twice.rows(named=True)[:2]}. Keep one row an image."
        )
    return said


@dataclass(frozen=True, slots=True)
class _Names:
    """The records by what a table may call them.

    Attributes:
        indices: By path, by file name, by file name without extension.
    """

    indices: tuple[dict[str, list[str]], ...]

    @classmethod
    def of(cls, record_ids: Sequence[str]) -> _Names:
        indices: tuple[dict[str, list[str]], ...] = tuple({} for _ in _WAYS)
        for record_id in record_ids:
            for way, index in zip(_WAYS, indices, strict=True):
                index.setdefault(way(record_id), []).append(record_id)
        return cls(indices)

    def knows(self, cell: str) -> bool:
        return bool(self.of_name(cell))

    def of_name(self, cell: str) -> list[str]:
        """Return the records that a cell may mean: those of the first way that knows any."""
        for way, index in zip(_WAYS, self.indices, strict=True):
            if cell and (found := index.get(way(cell))):
                return found
        return []


def _values(cells: Sequence[str]) -> pl.Series:
    """Return cells as numbers, dates or times where all that are known are such, else as text."""
    known = pl.Series(
        [None if cell.casefold() in _NOT_KNOWN else cell for cell in cells], dtype=pl.String
    )
    numbers = known.cast(pl.Float64, strict=False)
    dates = known.str.to_date(_DATE, strict=False)
    times = (known.str.to_datetime(form, strict=False) for form in _TIMES)
    readings = (numbers, dates, *times)
    return next((each for each in readings if each.null_count() == known.null_count()), known)
