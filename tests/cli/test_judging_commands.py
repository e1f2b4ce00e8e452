"""evaluate, predict, compare and runs: what is chosen, looked at closely and listed."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

import sightline as sl
from sightline.cli import showing
from sightline.cli.app import app
from sightline.records import ClassScores, Interval

QUIET = sl.Silent()


def run_cli(*words: object) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words])


def shown(*words: object) -> str:
    done = run_cli(*words)
    assert done.exit_code == 0, done.stderr
    return done.stdout


def refused(*words: object) -> str:
    """Return the one plain message of a command that ends with exit code 2."""
    done = run_cli(*words)
    assert done.exit_code == 2, done.output
    assert isinstance(done.exception, SystemExit)
    assert done.stderr.startswith("Error: ")
    assert "Traceback" not in done.output
    return done.stderr.removeprefix("Error: ").removesuffix("\n")


@pytest.fixture(scope="module")
def judged(doubting: sl.Run, tmp_path_factory: pytest.TempPathFactory) -> sl.Run:
    """A run with a threshold; must not be changed."""
    path = tmp_path_factory.mktemp("judged") / "first"
    shutil.copytree(doubting.path, path)
    sl.evaluate(path, threshold="youden", progress=QUIET)
    return sl.open_run(path)


# --- evaluate --------------------------------------------------------------------------


def test_a_threshold_is_chosen_and_told(doubter: sl.Run) -> None:
    text = shown("evaluate", doubter.path, "--threshold", "sensitivity=0.9")
    threshold = sl.open_run(doubter.path).model["threshold"]
    assert f"An image is called malignant from a probability of {threshold:.4g} on" in text
    assert "thresholds for malignant, chosen on validation" in text
    assert "calibration: temperature" in text
    assert "sets of classes that are to hold the true one in 90.0%" in text


def test_costs_need_no_rule(doubter: sl.Run, tmp_path: Path) -> None:
    costs = tmp_path / "costs.csv"
    costs.write_text("true,benign,malignant\nbenign,0,1\nmalignant,20,0\n")
    told = json.loads(shown("evaluate", doubter.path, "--costs", costs, "--json"))
    assert told["decision"]["kind"] == "costs"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--threshold", "magic"], "'magic' is not a rule for a threshold"),
        (["--threshold", "f1:cat"], "'cat', which is not one of the classes"),
        (["--threshold", "costs"], "needs a table of what each mistake costs"),
        (["--costs", "none.csv"], "the costs none.csv cannot be read: No such file"),
        (["--coverage", "1"], "--coverage must be over 0 and under 1, got 1"),
        (["--slice-by", "age"], "there is no column 'age' in the manifest"),
        (["--slice-by", "age", "--metadata", "none.csv"], "none.csv"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_message(
    words: list[str], message: str, doubting: sl.Run
) -> None:
    assert message in refused("evaluate", doubting.path, *words)


def test_parts_of_the_images_are_shown(doubter: sl.Run, tmp_path: Path) -> None:
    table = tmp_path / "metadata.csv"
    own = doubter.manifest.table.select("record_id").with_row_index()
    own.select(image="record_id", site="index", scanner=pl.col("index") % 2).write_csv(table)
    words = ["--slice-by", "site", "--slice-by", "scanner", "--metadata", table]
    text = shown("evaluate", doubter.path, *words)
    assert "parts of the images (difference: accuracy less that of the rest, by class)" in text
    assert "scanner: 1" in text
    assert "site: " in text


def test_neighbours_are_found_when_asked(doubter: sl.Run) -> None:
    shown("evaluate", doubter.path, "--neighbours")
    table = pl.read_csv(doubter.path / "predictions" / "test-best-review.csv")
    assert "similar_3" in table.columns


@pytest.mark.parametrize("weights", ["best", "last", "average"])
def test_figures_name_their_weights(weights: str, doubter: sl.Run) -> None:
    text = shown("evaluate", doubter.path, "--weights", weights)
    assert text.startswith(f"test: 60 images; {weights} weights, epoch 3")


@pytest.mark.parametrize("command", ["evaluate", "predict"])
def test_an_average_that_was_not_kept_is_told_plainly(
    command: str, run: sl.Run, photos: Path
) -> None:
    words = [photos] if command == "predict" else []
    message = refused(command, run.path, *words, "--weights", "average")
    assert "keeps no average of its weights" in message
    assert "--set train.weight_average=" in message


def test_a_damaged_card_is_named(doubter: sl.Run) -> None:
    (doubter.path / "model.json").write_text("{")
    assert "model.json is damaged" in refused("evaluate", doubter.path)


def test_damaged_predictions_of_validation_are_made_anew(doubter: sl.Run) -> None:
    shown("evaluate", doubter.path)
    path = doubter.path / "predictions" / "validation-best.parquet"
    path.write_bytes(b"PAR1")
    assert "are made anew" in shown("evaluate", doubter.path)
    assert len(sl.Predictions.load(path)) == 60


# --- predict ---------------------------------------------------------------------------


def test_predict_decides_by_the_threshold(judged: sl.Run, tmp_path: Path) -> None:
    out = tmp_path / "p.csv"
    shown("predict", judged.path, judged.manifest.root, "--out", out)
    table = pl.read_csv(out)
    called = table["p_malignant"].cast(pl.Float32) >= judged.model["threshold"]
    assert ((table["predicted"] == "malignant") == called).all()


def test_predict_adds_what_is_asked_for(judged: sl.Run, tmp_path: Path) -> None:
    out, root = tmp_path / "p.parquet", judged.manifest.root
    shown("predict", judged.path, root, "--out", out, "--calibrated", "--coverage", "0.9")
    table = pl.read_parquet(out)
    assert table.columns == [
        "file", "predicted", "p_benign", "p_malignant", "classes", "reason"
    ]  # fmt: skip
    assert set(json.loads(table["classes"][0])) <= {"benign", "malignant"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--calibrated"], "First: sightline evaluate"),
        (["--coverage", "0.9"], "First: sightline evaluate"),
        (["--coverage", "0"], "--coverage must be over 0 and under 1, got 0"),
    ],
)
def test_columns_that_cannot_be_had_are_refused(
    words: list[str], message: str, doubting: sl.Run, tmp_path: Path
) -> None:
    root, out = doubting.manifest.root, tmp_path / "p.csv"
    assert message in refused("predict", doubting.path, root, "--out", out, *words)
    assert not out.exists()


# --- compare ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pair(judged: sl.Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run, and the same one with the most probable class."""
    other = tmp_path_factory.mktemp("pair") / "second"
    shutil.copytree(judged.path, other)
    sl.evaluate(other, threshold="argmax", progress=QUIET)
    return judged.path, other


def test_compare_says_what_this_set_can_show(pair: tuple[Path, Path]) -> None:
    text = shown("compare", *pair)
    assert text.startswith("test images, best weights; each figure of all its images")
    assert "second against first: " in text
    assert "On 60 images that both judged." in text
    assert text.endswith("The recipes are the same.\n")


def test_compare_speaks_json(pair: tuple[Path, Path]) -> None:
    told = json.loads(shown("compare", *pair, "--json"))
    assert told["names"] == ["first", "second"]
    assert told["comparisons"][0]["words"].startswith("second against first")


@pytest.mark.parametrize(
    ("places", "message"),
    [([0], "two runs or more are compared, got 1"), ([0, 1, 0], "was named twice")],
)
def test_runs_that_cannot_be_compared_are_refused(
    places: list[int], message: str, pair: tuple[Path, Path]
) -> None:
    assert message in refused("compare", *(pair[place] for place in places))


def test_a_split_beside_an_external_set_to_compare_on_is_refused(pair: tuple[Path, Path]) -> None:
    told = refused("compare", *pair, "--split", "test", "--data", pair[0])
    assert "--split test is one of the run's own splits" in told


def test_compare_takes_a_table(pair: tuple[Path, Path], tmp_path: Path) -> None:
    own, table = sl.open_run(pair[0]).manifest, tmp_path / "labels.csv"
    own.of_split("test").select("record_id", truth="label").write_csv(table)
    columns = ("--path-col", "record_id", "--label-col", "truth", "--allow-leak")
    text = shown("compare", *pair, "--data", own.root, "--labels", table, *columns)
    assert text.startswith(f"{table} images, best weights")


def test_runs_of_other_classes_cannot_be_compared(judged: sl.Run, trained: sl.Run) -> None:
    assert "only runs of the same classes" in refused("compare", judged.path, trained.path)


@pytest.mark.parametrize(
    ("difference", "text"),
    [
        (Interval(-0.05, -0.185, 0.00001), "-0.050  (-0.185 to +0.000)"),
        (Interval(0.5, 0.25, 0.999999), "+0.500  (+0.250 to +1.000)"),
        (Interval(0.0, None, None, "too few"), "+0.000  (too few to say)"),
        (None, "not defined"),
    ],
)
def test_a_difference_is_shown_with_its_sign(difference: Interval | None, text: str) -> None:
    assert showing._difference(difference) == text


# --- runs ------------------------------------------------------------------------------


def test_runs_list_recipe_parameters_best_epoch_and_metrics(judged: sl.Run) -> None:
    (row,) = json.loads(shown("runs", judged.path.parent, "--json"))["runs"]
    metrics = judged.evaluations[0].metrics
    assert (row["recipe"], row["best epoch"]) == ("basic", judged.model["best_epoch"] + 1)
    assert row["parameters"] == judged.summary.parameters > 0
    for name in ("accuracy", "balanced_accuracy", "roc_auc"):
        assert row[f"test {name.replace('_', ' ')}"] == metrics[name]


def test_runs_show_parameters_in_thousands(judged: sl.Run) -> None:
    assert f" {judged.summary.parameters:,} " in shown("runs", judged.path.parent)


def test_a_run_that_was_not_evaluated_is_listed_without_metrics(doubting: sl.Run) -> None:
    (row,) = json.loads(shown("runs", doubting.path.parent, "--json"))["runs"]
    assert (row["test accuracy"], row["test roc auc"]) == (None, None)


def test_figures_of_validation_or_of_other_weights_are_not_those_of_the_test_split(
    doubter: sl.Run,
) -> None:
    sl.evaluate(doubter, split="validation", progress=QUIET)
    sl.evaluate(doubter, weights="last", progress=QUIET)
    (row,) = json.loads(shown("runs", doubter.path.parent, "--json"))["runs"]
    assert row["test accuracy"] is None


def test_of_many_classes_the_most_frequent_confusions_stand_for_the_matrix(
    judged: sl.Run, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"class{index:02d}" for index in range(31)]
    confusion = np.diag(np.full(31, 9))
    confusion[4, 7], confusion[30, 0] = 5, 2
    classes = tuple(ClassScores(name, 9, {}) for name in names)
    showing.show(replace(judged.evaluations[0], classes=classes, confusion=confusion, points=()))
    told = capsys.readouterr().out
    assert "confusion matrix" not in told
    lines = told[told.index("most frequent confusions of 31 classes") :].splitlines()
    assert [line.split() for line in lines[2:4]] == [
        ["class04", "class07", "5", "14"], ["class30", "class00", "2", "11"],
    ]  # fmt: skip
