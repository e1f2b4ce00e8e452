"""Parquet files, which may be damaged."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import polars as pl


def read_parquet(path: Path) -> tuple[pl.DataFrame, dict[str, str]]:
    """Return the table in a parquet file, and what is written beside it.

    Raises:
        polars.exceptions.PolarsError: It is no such file, or is damaged. Polars itself may panic
            on a damaged one, with an exception that nothing but `except BaseException` catches.
        OSError: It is missing, or cannot be read.
    """
    try:
        return pl.read_parquet(path, glob=False), pl.read_parquet_metadata(path)
    except pl.exceptions.PanicException as error:
        raise pl.exceptions.ComputeError(f"it is damaged: {error}") from error


def write_parquet(table: pl.DataFrame, path: Path, about: Mapping[str, str]) -> None:
    """Write a table to a parquet file, and what is to stand beside it.

    Raises:
        OSError: It cannot be written.
    """
    content = BytesIO()  # on a full disk polars itself raises errors that do not say so
    table.write_parquet(content, metadata=dict(about))
    path.write_bytes(content.getbuffer())
