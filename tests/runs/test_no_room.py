"""A disk that is full, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import polars as pl
import pytest

from sightline.errors import RunError
from sightline.records import Manifest
from sightline.runs import save_manifest, write_json, write_rows, writing

FullDisk = Callable[..., AbstractContextManager[None]]


def test_where_a_disk_is_full_before_there_is_a_run_nobody_is_told_to_resume_it(
    tmp_path: Path, full_disk: FullDisk
) -> None:
    expected = r"File too large.* start it again as before: there is nothing to resume yet\.$"
    with pytest.raises(RunError, match=expected), writing(tmp_path), full_disk():
        write_json(tmp_path / "run.json", {})
    assert list(tmp_path.iterdir()) == []


def test_where_a_disk_is_full_while_there_is_a_run_it_can_be_resumed(
    tmp_path: Path, full_disk: FullDisk
) -> None:
    write_json(tmp_path / "run.json", {})
    expected = f"What was saved is kept; go on: sightline train --resume {tmp_path}$"
    with pytest.raises(RunError, match=expected), writing(tmp_path), full_disk():
        write_json(tmp_path / "model.json", {})


def test_a_table_that_the_system_cannot_write_is_an_error_of_the_system(
    tmp_path: Path, full_disk: FullDisk
) -> None:
    manifest = Manifest.make(tmp_path, {"record_id": ["a.png"]})
    with pytest.raises(OSError, match="File too large"), full_disk():
        save_manifest(manifest, tmp_path / "manifest.parquet")


@pytest.mark.parametrize(
    ("name", "room", "said"),
    [
        ("rows.csv", 0, "File too large"),
        ("rows.parquet", 64, r"rows\.parquet cannot be written: .*(os|transport) error"),
    ],
)
def test_rows_that_the_system_cannot_write_are_an_error_of_the_system(
    name: str, room: int, said: str, tmp_path: Path, full_disk: FullDisk
) -> None:
    frames = iter([pl.DataFrame({"file": ["a.png"], "predicted": ["cat"]})])
    with pytest.raises(OSError, match=said), full_disk(room):
        write_rows(tmp_path / name, frames)
    assert list(tmp_path.iterdir()) == []
