"""Rows streamed into a CSV or parquet file, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from sightline.errors import DataError
from sightline.runs.files import write_atomically

_FORMATS = (".csv", ".parquet")
_OURS = ["file", "predicted"]  # the first columns of every table of predictions

_OF_THE_DISK = ("os error", "transport error")  # what polars says where the system failed


def check_table_path(path: Path) -> None:
    """Refuse an output file before hours of work have gone into it.

    Raises:
        DataError: The extension is not one that `write_rows` knows, `path` is a folder, or it
            is a file that is not an earlier table of predictions.
    """
    if path.suffix.lower() not in _FORMATS:
        raise DataError(f"the output {path} must end in {' or '.join(_FORMATS)}")
    if path.is_dir():
        raise DataError(f"the output {path} is a folder. Name a file in it.")
    if path.exists() and not _is_ours(path):
        raise DataError(
            f"the output {path} exists and is not a table of predictions; it was not touched. "
            "Name another file."
        )


def write_rows(path: Path, frames: Iterator[pl.DataFrame]) -> int:
    """Write frames of equal columns, at least one, after another; return the number of rows.

    The file appears complete or not at all. Parquet is made from a CSV beside it, so that no
    more than one frame is ever in memory.

    Raises:
        DataError: As `check_table_path`.
        OSError: It cannot be written.
    """
    check_table_path(path)
    rows = 0

    def write(beside: Path) -> None:
        nonlocal rows
        text = beside if path.suffix.lower() == ".csv" else beside.with_suffix(".rows")
        schema = pl.Schema()
        try:
            with text.open("wb") as file:
                for frame in frames:
                    frame.write_csv(file, include_header=not schema)
                    rows += len(frame)
                    schema = frame.schema
            if text != beside:
                # An empty text is quoted and a null is not, so both come back as they were.
                found = pl.scan_csv(text, schema=schema, glob=False)
                try:
                    found.sink_parquet(beside)
                except pl.exceptions.ComputeError as error:
                    if not any(words in str(error) for words in _OF_THE_DISK):
                        raise
                    raise OSError(f"{path} cannot be written: {error}") from error
        finally:
            if text != beside:
                text.unlink(missing_ok=True)

    write_atomically(path, write)
    return rows


def _is_ours(path: Path) -> bool:
    """Say whether a file may be replaced: an earlier output, and nothing that someone made."""
    try:
        read = pl.scan_csv if path.suffix.lower() == ".csv" else pl.scan_parquet
        return read(path, glob=False).collect_schema().names()[:2] == _OURS
    except (OSError, pl.exceptions.PolarsError):
        return False
