"""`tune` on tiny real images: a ladder of real trainings, cut off and gone on with."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import pytest

import sightline as sl
from listening_lines import Lines
from sightline.recipes import dump_recipe
from sightline.records import Trial
from sightline.records.trials import TrialSpec
from sightline.search import FOLDS
from sightline.workflow import trials
from sightline.workflow.auditing import audit
from sightline.workflow.retraining import retrained
from sightline.workflow.training import planned
from tiny_backbone import tiny

MakePhotos = Callable[..., Path]
Settings = Mapping[str, Any]
COUNTS = {"dark": 24, "light": 24}
PROGRAM = """
import json, sys
import sightline as sl
if __name__ == "__main__":
    sl.tune(**json.loads(sys.argv[1]), progress=sl.Silent())
"""


@pytest.fixture(scope="module")
def photos(make_photos: MakePhotos, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_photos(tmp_path_factory.mktemp("images") / "photos", COUNTS)


@pytest.fixture(scope="module")
def settings(quick: Settings) -> Settings:
    return {"changes": {**quick, "train.epochs": 1}, "trials": 6}


@pytest.fixture(scope="module")
def tuned(
    photos: Path, settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> tuple[sl.Tuning, Lines]:
    lines = Lines()
    out = tmp_path_factory.mktemp("search") / "one"
    return sl.tune(photos, out=out, retrain=True, progress=lines, **settings), lines


def trained_keys(folder: Path) -> dict[str, str]:
    """Return when each training of a search began, by its key."""
    paths = (folder / "trials").glob("*/run.json")
    return {path.parent.name: json.loads(path.read_text())["started"] for path in paths}


def test_a_search_ends_where_it_may_not_train_more(tuned: tuple[sl.Tuning, Lines]) -> None:
    tuning, _ = tuned
    assert "The time is over" in tuning.ended
    assert 5 <= len(tuning.trials) <= 8  # some are kept back for the end; the best one comes last
    assert tuning.first is not None
    assert tuning.best is not None


def test_its_folder_has_the_best_recipe_the_trials_and_a_page(
    tuned: tuple[sl.Tuning, Lines],
) -> None:
    folder = Path(tuned[0].folder)
    assert sl.load_recipe(folder / "best.toml").model.network == "basic"
    assert sl.Tuning.from_dict(json.loads((folder / "tuning.json").read_text())) == tuned[0]
    page = (folder / "tune.html").read_text()
    assert "What was learnt" in page
    for trial in tuned[0].trials:
        assert (folder / "trials" / trial.run / "run.json").exists()
        assert trial.run in page


def test_no_trial_reads_a_test_image_or_trains_on_its_own_fold(
    tuned: tuple[sl.Tuning, Lines],
) -> None:
    folder = Path(tuned[0].folder)
    given = sl.open_run(folder / "trials" / tuned[0].trials[0].run).manifest
    test = set(given.of_split("test")["record_id"])
    assert test
    folds: dict[int | None, set[str]] = {}
    for trial in tuned[0].trials:
        manifest = sl.open_run(folder / "trials" / trial.run).manifest
        assert set(manifest.of_split("test")["record_id"]) == test
        validation = set(manifest.of_split("validation")["record_id"])
        assert not validation & set(manifest.of_split("train")["record_id"])
        assert folds.setdefault(trial.spec.fold, validation) == validation
    assert len(folds) >= 3


def test_each_training_is_a_row_of_the_table_and_has_a_report(
    tuned: tuple[sl.Tuning, Lines],
) -> None:
    tuning, lines = tuned
    rows = [line for line in lines.said if line.endswith(" epochs   time  changes")]
    assert len(rows) == 1
    numbered = [line for line in lines.said if line[:5].strip().isdigit()]
    assert len(numbered) == len(tuning.trials)
    assert "as it is" in numbered[0]
    for trial in tuning.trials:
        assert (Path(tuning.folder) / "trials" / trial.run / "report.html").exists()


def test_the_best_recipe_is_trained_on_train_and_validation_together(
    tuned: tuple[sl.Tuning, Lines],
) -> None:
    folder = Path(tuned[0].folder)
    run = sl.open_run(folder / "retrained")
    given = sl.open_run(folder / "trials" / tuned[0].trials[0].run).manifest
    pool = {*given.of_split("train")["record_id"], *given.of_split("validation")["record_id"]}
    assert set(run.manifest.of_split("train")["record_id"]) == pool
    assert not len(run.manifest.of_split("validation"))
    assert set(run.manifest.of_split("test")["record_id"]) == set(
        given.of_split("test")["record_id"]
    )
    assert run.state == "finished"
    assert "val_loss" not in run.history.table.columns
    assert run.history.best_epoch == len(run.history) - 1
    evaluated = sl.evaluate(run, split="test", progress=sl.Silent())
    assert evaluated.count == len(given.of_split("test"))


def test_going_on_with_a_finished_search_trains_nothing_again(
    tuned: tuple[sl.Tuning, Lines],
) -> None:
    folder = Path(tuned[0].folder)
    before = trained_keys(folder)
    again = sl.tune(resume=folder, progress=sl.Silent())
    assert trained_keys(folder) == before
    assert again.trials == tuned[0].trials
    assert again.attempts == tuned[0].attempts


@pytest.mark.slow
def test_killed_with_two_workers_no_finished_training_is_lost_or_done_twice(
    photos: Path, settings: Settings, tmp_path: Path
) -> None:
    out = tmp_path / "search"
    first = {"data": str(photos), "out": str(out), **settings, "trials": 10}
    more = {"resume": str(out)}
    one = _started(first)
    while not (out / "search.json").exists():
        assert one.poll() is None
        time.sleep(0.05)
    other = _started(more)
    while len(list((out / "trials").glob("*.json"))) < 3:
        time.sleep(0.05)
    for process in (one, other):
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    done = {path.name: path.read_bytes() for path in (out / "trials").glob("*.json")}
    begun = trained_keys(out)
    workers = [_started(more), _started(more)]
    assert [worker.wait(timeout=300) for worker in workers] == [0, 0]
    after = {path.name: path.read_bytes() for path in (out / "trials").glob("*.json")}
    assert {name: after[name] for name in done} == done
    assert {key: trained_keys(out)[key] for key in begun} == begun
    assert len(after) >= 8  # a quarter of the ten is kept back for the end


def _started(arguments: Mapping[str, Any]) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", PROGRAM, json.dumps(arguments)])


def test_a_training_that_fails_is_told_with_its_reason(
    photos: Path, quick: Settings, tmp_path: Path
) -> None:
    changes = {**quick, "train.epochs": 1, "train.learning_rate": 1e30}
    with pytest.raises(sl.RunError, match="the first training failed"):
        sl.tune(photos, changes=changes, out=tmp_path / "x", trials=2, progress=sl.Silent())
    (kept,) = (tmp_path / "x" / "trials").glob("*.json")
    trial = Trial.from_dict(json.loads(kept.read_text())["trial"])
    assert trial.state == "failed"
    assert trial.reason


def test_whatever_a_framework_raises_is_the_reason_of_that_training(
    photos: Path, quick: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise ValueError("shapes (3, 4) and (5,)\nand a dump of everything")

    monkeypatch.setattr(trials, "carry_out", fails)
    with pytest.raises(sl.RunError, match=r"ValueError: shapes \(3, 4\) and \(5,\)$"):
        sl.tune(photos, changes=quick, out=tmp_path / "x", trials=2, progress=sl.Silent())


def test_a_full_disk_is_no_trial_that_failed(
    photos: Path, quick: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise sl.RunError("cannot write") from OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(trials, "carry_out", fails)
    with pytest.raises(sl.RunError, match="cannot write"):
        sl.tune(photos, changes=quick, out=tmp_path / "x", trials=2, progress=sl.Silent())
    assert not list((tmp_path / "x" / "trials").glob("*.json"))


@pytest.mark.parametrize(
    ("wrong", "error", "said"),
    [
        ({"objective": "beauty"}, sl.RecipeError, "there is no objective 'beauty'"),
        ({"minutes": -1}, sl.RecipeError, "minutes must be 0 or more, got -1"),
        ({"resume": "nowhere"}, sl.RunError, "holds no search"),
    ],
)
def test_wrong_use_is_refused_before_anything_is_trained(
    wrong: dict[str, Any], error: type[Exception], said: str, photos: Path, tmp_path: Path
) -> None:
    given = {} if "resume" in wrong else {"data": photos, "out": tmp_path / "x"}
    with pytest.raises(error, match=said):
        sl.tune(**given, **wrong, progress=sl.Silent())
    assert not (tmp_path / "x").exists()


@pytest.mark.slow
def test_transfer_takes_part_with_weights_of_the_users_own(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The head learns alone at first, also in a short training; then all of it."""
    monkeypatch.setattr(keras.applications, "Tiny", tiny, raising=False)
    weights = tmp_path / "tiny.weights.h5"
    backbone = tiny(include_top=False, weights=None, pooling="avg", input_shape=(16, 16, 3))
    backbone.save_weights(weights)
    own = {"model.backbone": "Tiny", "model.weights": str(weights), "train.epochs": 6}
    changes = {**own, "data.image_size": [16, 16], "data.channels": 3}
    tuning = sl.tune(
        photos, recipe="transfer", changes=changes, trials=8, out=tmp_path / "x",
        progress=sl.Silent(),
    )  # fmt: skip
    assert all(trial.state != "failed" for trial in tuning.trials)
    tried = {key for trial in tuning.trials for key in trial.spec.changes}
    assert "model.unfrozen_rate" in tried
    short = next(trial for trial in tuning.trials if trial.spec.quick)
    rates = sl.open_run(tmp_path / "x" / "trials" / short.run).history["learning_rate"]
    assert rates[1] == pytest.approx(rates[0] / 10)
    whole = sl.open_run(tmp_path / "x" / "trials" / tuning.trials[0].run).history["learning_rate"]
    assert whole[3] == pytest.approx(whole[2] / 10)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"changes": {"train.epochs": 9}}, "changes cannot be given"),
        ({"strategy": "optuna"}, "with strategy ladder, and cannot go on with optuna"),
        ({"objective": "f1"}, "with objective val_loss, and cannot go on with f1"),
    ],
)
def test_a_search_goes_on_as_what_it_is(
    given: dict[str, Any], said: str, tuned: tuple[sl.Tuning, Lines]
) -> None:
    with pytest.raises(sl.RunError, match=said):
        sl.tune(resume=tuned[0].folder, **given, progress=sl.Silent())


def test_another_best_recipe_is_trained_anew_beside_the_one_before(
    tuned: tuple[sl.Tuning, Lines], tmp_path: Path
) -> None:
    folder = shutil.copytree(tuned[0].folder, tmp_path / "search")
    best = sl.load_recipe(folder / "best.toml", {"train.learning_rate": 0.0123})
    (folder / "best.toml").write_text(dump_recipe(best))
    tuning = dataclasses.replace(tuned[0], folder=str(folder))
    manifest = sl.open_run(folder / "trials" / tuning.trials[0].run).manifest
    again = [
        retrained(tuning, manifest, cache=True, progress=sl.Silent()) for _ in range(2)
    ]  # fmt: skip
    assert [run.path.name for run in again] == ["retrained-2", "retrained-2"]
    assert again[0].recipe.train.learning_rate == 0.0123
    assert sl.open_run(folder / "retrained").recipe.train.learning_rate != 0.0123


def test_why_a_training_was_ended_is_known_when_its_process_died_before_it_was_written(
    photos: Path, quick: Settings, tmp_path: Path
) -> None:
    audited = audit(sl.scan(photos), progress=sl.Silent())
    recipe = sl.load_recipe("basic", {**quick, "train.epochs": 3})
    plan = planned(audited, recipe, None, cached=True, allow_leak=False)
    work = trials.Trials(tmp_path / "search", plan, audited)

    def watch(values: Sequence[float]) -> str:
        return "enough" if len(values) == 2 else ""

    first, again = (work.train(TrialSpec(), watch) for _ in range(2))
    assert (first.state, first.reason, len(first.curve)) == ("stopped", "enough", 2)
    assert (again.state, again.reason, again.curve) == ("stopped", "enough", first.curve)
    assert again.seconds >= sum(
        sl.open_run(tmp_path / "search" / "trials" / again.run).history["seconds"]
    )


@pytest.mark.parametrize("count", range(4, 11))
def test_short_trainings_share_no_fold_with_whole_ones(count: int) -> None:
    whole = {trials._fold_of(fold, count) for fold in range(FOLDS - 2)}
    short = {trials._fold_of(fold, count) for fold in (FOLDS - 2, FOLDS - 1)}
    assert len(short) == 2
    assert whole | short == set(range(count))
    assert not whole & short
