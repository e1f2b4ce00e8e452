"""A run that was judged and goes on: its figures are of the weights that it has."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import sightline as sl
from listening_lines import Lines

MakePhotos = Callable[..., Path]
MORE = {"train.epochs": 3}


@dataclass(frozen=True)
class GoneOn:
    """A run before and after more epochs, which made its weights better; and what was said."""

    before: sl.Run
    after: sl.Run
    said: list[str]


@pytest.fixture(scope="module")
def judged(
    make_photos: MakePhotos, quick: Mapping[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> sl.Run:
    """A run of one epoch, judged on its splits, on another set, and with its last weights."""
    folder = tmp_path_factory.mktemp("judged")
    changes = {**quick, "train.epochs": 1, "schedule.kind": "constant"}
    photos = make_photos(folder / "own")
    out, quiet = folder / "run", sl.Silent()
    run = sl.train(photos, recipe="basic", changes=changes, out=out, progress=quiet)
    sl.evaluate(run, data=make_photos(folder / "other"), progress=quiet)
    sl.evaluate(sl.open_run(out), split="validation", weights="last", progress=quiet)
    return sl.open_run(out)


@pytest.fixture(scope="module")
def gone_on(judged: sl.Run, tmp_path_factory: pytest.TempPathFactory) -> GoneOn:
    lines, path = Lines(), tmp_path_factory.mktemp("on") / "run"
    shutil.copytree(judged.path, path)
    run = sl.train(resume=path, changes=MORE, progress=lines)
    assert run.history.best_epoch > 0
    return GoneOn(judged, run, lines.said)


def figures(run: sl.Run, source: str = "test") -> Any:
    (found,) = [each for each in run.evaluations if (each.source, each.weights) == (source, "best")]
    return found


@pytest.mark.parametrize("split", ["validation", "test"])
def test_better_weights_are_judged_again(gone_on: GoneOn, split: str) -> None:
    assert figures(gone_on.before, split).epoch == 0
    assert figures(gone_on.after, split).epoch == gone_on.after.history.best_epoch


def test_judging_again_is_another_look_at_the_test_split(gone_on: GoneOn) -> None:
    assert figures(gone_on.after).looks == figures(gone_on.before).looks + 1


def test_the_report_is_of_the_better_weights(gone_on: GoneOn) -> None:
    loss = sl.records.rounded(figures(gone_on.after).metrics["log_loss"])
    assert loss in (gone_on.after.path / "report.html").read_text("utf-8")


def test_figures_that_are_not_judged_again_are_named(gone_on: GoneOn) -> None:
    run, (external,) = (
        gone_on.after,
        [each.source for each in gone_on.after.evaluations if each.source.startswith("/")],
    )
    told = [line.partition("Judge again: ")[2] for line in gone_on.said if "Judge again" in line]
    assert sorted(told) == sorted(
        [
            f"sightline evaluate {run.path} --data {external}",
            f"sightline evaluate {run.path} --split validation --weights last",
        ]
    )


def test_training_alone_names_the_figures_that_are_older(judged: sl.Run, tmp_path: Path) -> None:
    lines, path = Lines(), Path(shutil.copytree(judged.path, tmp_path / "run"))
    run = sl.train(resume=path, changes=MORE, only_train=True, progress=lines)
    assert figures(run).epoch == 0
    again = f"before, of epoch 1. Judge again: sightline evaluate {path} --split test"
    assert any(line.endswith(again) for line in lines.said)


def test_validation_figures_are_of_the_predictions_that_a_later_look_at_test_has_kept(
    judged: sl.Run, tmp_path: Path
) -> None:
    lines, path = Lines(), Path(shutil.copytree(judged.path, tmp_path / "run"))
    run = sl.train(resume=path, changes=MORE, only_train=True, progress=sl.Silent())
    sl.evaluate(run, progress=lines)
    kept = run.predictions("validation", "best")
    assert figures(run, "validation").epoch == run.history.best_epoch
    assert figures(run, "validation").predictions_hash == kept.content_hash()
    assert any(line.startswith("The validation split was judged anew") for line in lines.said)


def test_the_same_weights_are_not_judged_again(judged: sl.Run, tmp_path: Path) -> None:
    lines, path = Lines(), Path(shutil.copytree(judged.path, tmp_path / "run"))
    run = sl.train(resume=path, changes={"stop.patience": 7}, progress=lines)
    assert run.recipe.stop.patience == 7  # which is another recipe, and so another fingerprint
    assert [each.to_dict() for each in run.evaluations] == [
        each.to_dict() for each in judged.evaluations
    ]
    assert not any("Judge again" in line for line in lines.said)


def test_a_run_that_died_before_it_was_judged_again_is_judged_when_resumed(
    judged: sl.Run, tmp_path: Path
) -> None:
    path = Path(shutil.copytree(judged.path, tmp_path / "run"))
    sl.train(resume=path, changes=MORE, only_train=True, progress=sl.Silent())
    run = sl.train(resume=path, progress=sl.Silent())
    assert figures(run).epoch == run.history.best_epoch


def test_a_run_that_died_between_its_figures_and_its_report_gets_what_is_missing(
    judged: sl.Run, tmp_path: Path
) -> None:
    path = Path(shutil.copytree(judged.path, tmp_path / "run"))
    shutil.rmtree(path / "explain")
    for name in ("diagnosis.json", "report.html", "model_card.md"):
        (path / name).unlink()
    run = sl.train(resume=path, progress=sl.Silent())
    assert [each.looks for each in run.evaluations] == [each.looks for each in judged.evaluations]
    for name in ("explain", "diagnosis.json", "report.html", "model_card.md"):
        assert (path / name).exists()


def test_curves_that_went_on_are_diagnosed_anew(judged: sl.Run, tmp_path: Path) -> None:
    path = Path(shutil.copytree(judged.path, tmp_path / "run"))
    before = (path / "diagnosis.json").stat().st_mtime_ns
    sl.train(resume=path, changes={"stop.patience": 7}, progress=sl.Silent())
    assert (path / "diagnosis.json").stat().st_mtime_ns > before
