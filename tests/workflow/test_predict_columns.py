"""predict: probabilities that can be believed, and sets of classes, as columns of a table."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import sightline as sl
from listening_lines import Lines
from sightline.records import tempered

QUIET = sl.Silent()
PROBABILITIES = ["p_benign", "p_malignant"]


@pytest.fixture(scope="module")
def judged(doubting: sl.Run, tmp_path_factory: pytest.TempPathFactory) -> sl.Run:
    """A run that was evaluated; must not be changed."""
    path = tmp_path_factory.mktemp("judged") / "run"
    shutil.copytree(doubting.path, path)
    sl.evaluate(path, progress=QUIET)
    return sl.open_run(path)


@pytest.fixture(scope="module")
def images(doubting: sl.Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run's own images, and a file that is none."""
    folder = tmp_path_factory.mktemp("images") / "some"
    shutil.copytree(doubting.manifest.root, folder)
    (folder / "broken.png").write_text("not an image")
    return folder


@pytest.fixture(scope="module")
def table(judged: sl.Run, images: Path, tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    """What predict writes with both columns."""
    out = tmp_path_factory.mktemp("table") / "p.parquet"
    sl.predict(judged, images, out=out, calibrated=True, coverage=0.8, progress=QUIET)
    return pl.read_parquet(out)


@pytest.fixture(scope="module")
def plain(judged: sl.Run, images: Path) -> sl.Predictions:
    return sl.predict(judged, images, progress=QUIET)


def test_calibrated_probabilities_sum_to_1(table: pl.DataFrame) -> None:
    sums = table.select(pl.sum_horizontal(PROBABILITIES)).to_series().to_numpy()
    readable = table["reason"].is_null().to_numpy()
    np.testing.assert_allclose(sums[readable], 1, atol=1e-6)


def test_calibrated_probabilities_are_those_of_the_temperature(
    judged: sl.Run, table: pl.DataFrame, plain: sl.Predictions
) -> None:
    temperature = judged.model["temperature"]
    assert temperature != 1
    expected = tempered(plain.probabilities, temperature).astype(np.float32)
    written = table.select(pl.col(PROBABILITIES).fill_null(np.nan)).to_numpy()
    np.testing.assert_array_equal(written.astype(np.float32), expected)


def test_the_class_is_chosen_as_without(table: pl.DataFrame, plain: sl.Predictions) -> None:
    assert table["predicted"].to_list() == plain.to_table()["predicted"].to_list()


def test_a_file_that_cannot_be_read_has_nothing_but_a_reason(table: pl.DataFrame) -> None:
    (row,) = table.filter(pl.col("file").str.ends_with("broken.png")).rows(named=True)
    assert row.pop("reason") == "NOT_AN_IMAGE"
    del row["file"]
    assert set(row.values()) == {None}


def test_a_set_of_classes_is_a_json_list_of_names(table: pl.DataFrame) -> None:
    known = table.drop_nulls("classes")["classes"]
    assert len(known) == 180
    found = {tuple(json.loads(cell)) for cell in known}
    assert {("benign",), ("malignant",), ("benign", "malignant")} >= found
    assert len(found) > 1


def test_sets_are_in_a_csv_as_well(
    judged: sl.Run, images: Path, table: pl.DataFrame, tmp_path: Path
) -> None:
    out = tmp_path / "p.csv"
    sl.predict(judged, images, out=out, coverage=0.8, progress=QUIET)
    assert pl.read_csv(out)["classes"].to_list() == table["classes"].to_list()


def test_sets_hold_the_true_class_of_validation_images_as_often_as_asked(
    judged: sl.Run, table: pl.DataFrame
) -> None:
    own = judged.manifest.of_split("validation").select("record_id", "label")
    ids = table["file"].str.extract(r"((?:benign|malignant)/[^/]+)$")
    both = table.with_columns(record_id=ids).join(own, on="record_id")
    held = [label in json.loads(cell) for label, cell in both.select("label", "classes").rows()]
    assert len(held) == 60
    assert sum(held) >= 0.8 * 60


def test_without_being_asked_there_are_no_such_columns(
    judged: sl.Run, images: Path, tmp_path: Path
) -> None:
    out = sl.predict(judged, images, out=tmp_path / "p.csv", progress=QUIET)
    assert pl.read_csv(out).columns == ["file", "predicted", *PROBABILITIES, "reason"]


def test_a_coverage_that_so_few_images_cannot_give_is_said(
    judged: sl.Run, images: Path, tmp_path: Path
) -> None:
    lines = Lines()
    sl.predict(judged, images, out=tmp_path / "p.csv", coverage=0.999, progress=lines)
    assert "every class is in every set: 999 records are needed for a coverage of 0.999." in (
        lines.said
    )


def test_a_temperature_that_changes_nothing_is_said(run: sl.Run, tmp_path: Path) -> None:
    lines, own = Lines(), run.manifest
    sl.predict(run, own.root, out=tmp_path / "p.csv", calibrated=True, progress=lines)
    assert lines.said == [
        "Probabilities are as predicted: the 2 validation images gave no temperature that would "
        "mend them."
    ]


@pytest.mark.parametrize("asked", [{"calibrated": True}, {"coverage": 0.9}])
def test_a_run_that_was_not_evaluated_is_refused(
    asked: Any, doubting: sl.Run, images: Path, tmp_path: Path
) -> None:
    with pytest.raises(sl.DataError, match=r"was not evaluated .* First: sightline evaluate .*$"):
        sl.predict(doubting, images, out=tmp_path / "p.csv", progress=QUIET, **asked)


def test_other_weights_have_to_be_evaluated_themselves(
    judged: sl.Run, images: Path, tmp_path: Path
) -> None:
    out = tmp_path / "p.csv"
    with pytest.raises(sl.DataError, match=r"First: sightline evaluate .* --weights last$"):
        sl.predict(judged, images, out=out, weights="last", coverage=0.9, progress=QUIET)


@pytest.mark.parametrize("asked", [{"calibrated": True}, {"coverage": 0.9}])
def test_without_a_table_they_are_refused(asked: Any, judged: sl.Run, images: Path) -> None:
    with pytest.raises(sl.DataError, match=r"are columns of a table\. Say where it goes: out="):
        sl.predict(judged, images, progress=QUIET, **asked)


def test_a_coverage_out_of_range_is_refused(judged: sl.Run, images: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"coverage must be over 0 and under 1, got 0"):
        sl.predict(judged, images, out=tmp_path / "p.csv", coverage=0, progress=QUIET)


def test_damaged_validation_predictions_are_named(
    judged: sl.Run, images: Path, tmp_path: Path
) -> None:
    path = Path(shutil.copytree(judged.path, tmp_path / "run"))
    (path / "predictions" / "validation-best.parquet").write_bytes(b"PAR1")
    told = r"validation-best\.parquet holds no predictions .* First: sightline evaluate"
    with pytest.raises(sl.DataError, match=told):
        sl.predict(path, images, out=tmp_path / "p.csv", coverage=0.9, progress=QUIET)


@pytest.fixture
def read_only(judged: sl.Run, tmp_path: Path) -> Iterator[sl.Run]:
    """A run that nobody may write into, not even its owner."""
    path = Path(shutil.copytree(judged.path, tmp_path / "run"))
    for each in [path, *path.rglob("*")]:
        each.chmod(0o555 if each.is_dir() else 0o444)
    if os.access(path, os.W_OK):
        pytest.skip("this user may write anywhere")
    yield sl.open_run(path)
    for each in [path, *path.rglob("*")]:
        each.chmod(0o755)


def test_a_read_only_run_gives_them_all_the_same(
    read_only: sl.Run, images: Path, tmp_path: Path
) -> None:
    out = tmp_path / "p.csv"
    sl.predict(read_only, images, out=out, calibrated=True, coverage=0.9, progress=QUIET)
    assert "classes" in pl.read_csv(out).columns


def test_a_read_only_run_cannot_be_evaluated_and_says_so(read_only: sl.Run) -> None:
    with pytest.raises(sl.RunError, match=r"cannot write into .* Copy the run folder to where"):
        sl.evaluate(read_only, progress=QUIET)
