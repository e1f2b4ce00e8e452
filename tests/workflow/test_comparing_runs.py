"""compare: which of several runs is better, as far as the images that both judged can show."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import sightline as sl
from listening_lines import Lines
from sightline.records import RunsCompared

PutManifest = Callable[[sl.Run, sl.Manifest], sl.Run]
QUIET = sl.Silent()


@pytest.fixture(scope="module")
def pair(doubting: sl.Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two runs of the same images, both evaluated, of other seeds and widths."""
    folder = tmp_path_factory.mktemp("pair")
    first = Path(shutil.copytree(doubting.path, folder / "first"))
    sl.evaluate(first, progress=QUIET)
    second = sl.train(
        doubting.path / "manifest.parquet",
        recipe=doubting.path / "recipe.toml",
        changes={"model.width": 6, "train.epochs": 1, "train.weight_average": 0},
        out=folder / "second",
        only_train=True,
        progress=QUIET,
    )
    sl.evaluate(second, progress=QUIET)
    return first, second.path


@pytest.fixture(scope="module")
def compared(pair: tuple[Path, Path]) -> RunsCompared:
    return sl.compare(pair, progress=QUIET)


@pytest.fixture
def copies(pair: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    """Copies that a test may change."""
    first, second = (Path(shutil.copytree(path, tmp_path / path.name)) for path in pair)
    return first, second


# --- what it says ----------------------------------------------------------------------


def test_runs_are_called_by_their_folders(compared: RunsCompared) -> None:
    assert compared.names == ("first", "second")
    assert [pair.names for pair in compared.comparisons] == [("first", "second")]


def test_the_difference_is_that_of_the_figures(compared: RunsCompared) -> None:
    first, second = (each.metrics["accuracy"] for each in compared.evaluations)
    assert first is not None
    assert second is not None
    found = compared.comparisons[0].differences["accuracy"]
    assert found.value == pytest.approx(second - first)
    assert found.low is not None


def test_all_test_images_are_compared(compared: RunsCompared) -> None:
    assert compared.comparisons[0].count == 60


def test_what_the_recipes_differ_in_is_told_and_nothing_else(compared: RunsCompared) -> None:
    assert dict(compared.recipe_differences) == {
        "model.width": (4, 6), "train.epochs": (3, 1), "train.weight_average": (0.5, 0.0)
    }  # fmt: skip


def test_the_words_name_both_and_the_headline(compared: RunsCompared) -> None:
    assert compared.words().startswith("second against first: ")
    assert "accuracy " in compared.words()


def test_it_can_be_written_as_json(compared: RunsCompared) -> None:
    told = json.loads(json.dumps(compared.to_dict()))
    assert told["names"] == ["first", "second"]
    assert told["comparisons"][0]["words"] == compared.words()
    assert told["recipe_differences"]["model.width"] == [4, 6]


def test_a_run_and_its_copy_do_not_differ(pair: tuple[Path, Path], tmp_path: Path) -> None:
    again = shutil.copytree(pair[0], tmp_path / "again")
    found = sl.compare([pair[0], again], progress=QUIET)
    assert found.recipe_differences == {}
    assert found.comparisons[0].mcnemar == 1
    assert "no difference that this test set can show" in found.words()


def test_more_than_two_are_each_compared_with_the_first(
    pair: tuple[Path, Path], tmp_path: Path
) -> None:
    third = shutil.copytree(pair[0], tmp_path / "third")
    found = sl.compare([*pair, third], progress=QUIET)
    assert [each.names for each in found.comparisons] == [("first", "second"), ("first", "third")]
    assert [each.pairs for each in found.comparisons] == [2, 2]


def test_runs_of_one_name_are_called_by_their_paths(
    pair: tuple[Path, Path], tmp_path: Path
) -> None:
    other = Path(shutil.copytree(pair[1], tmp_path / "first"))
    assert sl.compare([pair[0], other], progress=QUIET).names == (str(pair[0]), str(other))


# --- which figures are taken -----------------------------------------------------------


def test_figures_that_are_kept_are_no_new_look(copies: tuple[Path, Path]) -> None:
    before = [(path / "evaluation.json").read_bytes() for path in copies]
    lines = Lines()
    sl.compare(copies, progress=lines)
    assert [(path / "evaluation.json").read_bytes() for path in copies] == before
    assert lines.said == []


def test_a_run_whose_predictions_are_gone_is_evaluated_again(copies: tuple[Path, Path]) -> None:
    before = sl.open_run(copies[1]).evaluations[-1].looks
    (copies[1] / "predictions" / "test-best.parquet").unlink()
    lines = Lines()
    found = sl.compare(copies, progress=lines)
    assert found.evaluations[1].looks > before
    assert lines.said == [
        f"{copies[1]} has no figures and predictions of its test split by the best weights that "
        "it has now: it is evaluated."
    ]


def test_figures_of_a_decision_that_a_run_had_before_are_by_the_one_it_has_now(
    copies: tuple[Path, Path], tmp_path: Path
) -> None:
    sl.evaluate(copies[0], split="validation", threshold="0.9", progress=QUIET)
    before, lines = (copies[0] / "evaluation.json").read_bytes(), Lines()
    found = sl.compare(copies, progress=lines)
    assert (copies[0] / "evaluation.json").read_bytes() == before
    (told,) = lines.said
    assert told.startswith(
        f"Since {copies[0]} was judged on its test split, how a class is chosen has changed: An "
        "image is called malignant from a probability of 0.9 on"
    )
    again = Path(shutil.copytree(copies[0], tmp_path / "again"))
    expected = sl.evaluate(again, progress=QUIET)
    assert found.evaluations[0].decision == expected.decision
    assert dict(found.evaluations[0].metrics) == dict(expected.metrics)
    assert (found.evaluations[0].confusion == expected.confusion).all()
    accuracy = found.comparisons[0].values["accuracy"][0]
    assert accuracy == pytest.approx(expected.metrics["accuracy"])


def test_predictions_that_are_not_those_of_the_figures_are_made_anew(
    copies: tuple[Path, Path],
) -> None:
    path = copies[1] / "predictions" / "test-best.parquet"
    own = sl.records.Predictions.load(path)
    own.chosen(np.arange(50)).save(path)
    assert sl.compare(copies, progress=QUIET).comparisons[0].count == 60


def test_a_table_can_be_compared_on(copies: tuple[Path, Path], tmp_path: Path) -> None:
    own = sl.open_run(copies[0]).manifest
    table = tmp_path / "labels.csv"
    own.table.select("record_id", truth="label")[::3].write_csv(table)
    found = sl.compare(
        copies, data=own.root, labels=table, path_col="record_id", label_col="truth", progress=QUIET
    )
    assert {each.source for each in found.evaluations} == {str(table)}
    assert found.comparisons[0].count == 60


def test_splits_that_leak_are_compared_where_that_is_allowed(
    copies: tuple[Path, Path], put_manifest: PutManifest
) -> None:
    for path in copies:
        (path / "evaluation.json").unlink()
        own = sl.open_run(path).manifest
        leaking = own.table.with_columns(sha256=pl.lit("0" * 64))
        put_manifest(sl.open_run(path), sl.Manifest.make(own.root, leaking))
    with pytest.raises(sl.DataError, match=r"60 test images of .* have a copy"):
        sl.compare(copies, progress=QUIET)
    found = sl.compare(copies, allow_leak=True, progress=QUIET)
    assert [each.leaked for each in found.evaluations] == [60, 60]


def test_another_split_is_evaluated_where_it_was_not_yet(copies: tuple[Path, Path]) -> None:
    found = sl.compare(copies, split="validation", progress=QUIET)
    assert [each.source for each in found.evaluations] == ["validation", "validation"]
    assert [each.source for each in sl.open_run(copies[0]).evaluations] == ["test", "validation"]


def test_an_external_set_can_be_compared_on(copies: tuple[Path, Path]) -> None:
    root = sl.open_run(copies[0]).manifest.root
    found = sl.compare(copies, data=root, progress=QUIET)
    assert found.comparisons[0].count == 180


def test_other_weights_can_be_compared(copies: tuple[Path, Path]) -> None:
    found = sl.compare(copies, weights="last", progress=QUIET)
    assert {each.weights for each in found.evaluations} == {"last"}


# --- what cannot be compared -----------------------------------------------------------


def test_one_run_is_refused(pair: tuple[Path, Path]) -> None:
    with pytest.raises(sl.DataError, match="two runs or more are compared, got 1"):
        sl.compare(pair[:1], progress=QUIET)


def test_one_path_is_one_run(pair: tuple[Path, Path]) -> None:
    with pytest.raises(sl.DataError, match="two runs or more are compared, got 1"):
        sl.compare(str(pair[0]), progress=QUIET)


@pytest.mark.parametrize("way", ["{}", "{}/", "{}/../first", "link"])
def test_the_same_run_twice_is_refused(
    way: str, pair: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("link").symlink_to(pair[0])
    with pytest.raises(sl.DataError, match="was named twice"):
        sl.compare([pair[0], pair[1], way.format(pair[0])], progress=QUIET)


def test_runs_of_other_classes_are_refused_before_one_is_evaluated(
    doubter: sl.Run, trained: sl.Run
) -> None:
    told = r"doubter has the classes \['benign', 'malignant'\] and trained \['dark', 'light'\]"
    with pytest.raises(sl.DataError, match=told):
        sl.compare([doubter, trained], progress=QUIET)
    assert doubter.evaluations == []


def test_runs_whose_images_only_share_their_names_are_refused(
    copies: tuple[Path, Path], put_manifest: PutManifest
) -> None:
    own = sl.open_run(copies[1]).manifest
    turned = own.table.with_columns(sha256=pl.col("sha256").reverse())
    put_manifest(sl.open_run(copies[1]), sl.Manifest.make(own.root, turned))
    with pytest.raises(sl.DataError, match=r"60 test images of first and second have the same na"):
        sl.compare(copies, progress=QUIET)


def test_damaged_predictions_are_named_with_what_to_do(copies: tuple[Path, Path]) -> None:
    (copies[0] / "predictions" / "test-best.parquet").write_bytes(b"PAR1")
    told = r"test-best\.parquet holds no predictions .* Remove that file and compare again"
    with pytest.raises(sl.DataError, match=told):
        sl.compare(copies, progress=QUIET)


def test_a_split_of_another_name_is_refused(pair: tuple[Path, Path]) -> None:
    split: Any = "holdout"
    with pytest.raises(ValueError, match="split must be one of"):
        sl.compare(pair, split=split, progress=QUIET)


def test_a_run_without_an_average_is_told_plainly(pair: tuple[Path, Path]) -> None:
    with pytest.raises(sl.RunError, match=r"second keeps no average of its weights"):
        sl.compare(pair, weights="average", progress=QUIET)
