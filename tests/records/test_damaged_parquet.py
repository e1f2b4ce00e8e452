"""Parquet files that are damaged: an error of Polars, whatever it was that it met."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from sightline.records.parquet import read_parquet


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A table with a column of few words, which are kept as a dictionary, and of numbers."""
    words = [None if row % 7 == 0 else f"class {row % 3}" for row in range(300)]
    table = pl.DataFrame({"word": words, "number": np.arange(300) / 7})
    table.write_parquet(tmp_path / "t.parquet", metadata={"about": "it"})
    return tmp_path / "t.parquet"


def test_the_table_comes_with_what_is_written_beside_it(path: Path) -> None:
    table, about = read_parquet(path)
    assert (table.shape, about["about"]) == ((300, 2), "it")


def test_no_flipped_bit_ends_in_anything_but_a_table_or_an_error_of_polars(path: Path) -> None:
    content, chance, refused = path.read_bytes(), np.random.default_rng(0), 0
    for _ in range(300):
        damaged = bytearray(content)
        damaged[chance.integers(len(damaged))] ^= 1 << int(chance.integers(8))
        path.write_bytes(damaged)
        try:
            read_parquet(path)
        except (pl.exceptions.PolarsError, OSError):
            refused += 1
    assert refused
