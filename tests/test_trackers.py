"""Copies of the history for MLflow and W&B: what they hold, and that they never get in the way."""

from __future__ import annotations

import importlib.util
import json
import random
import time
from pathlib import Path
from typing import Any

import pytest

import sightline as sl
from sightline import runs

HAS_MLFLOW = importlib.util.find_spec("mlflow") is not None
HAS_WANDB = importlib.util.find_spec("wandb") is not None
with_mlflow = pytest.mark.skipif(not HAS_MLFLOW, reason="mlflow is not installed")
with_wandb = pytest.mark.skipif(not HAS_WANDB, reason="wandb is not installed")
theirs = pytest.mark.filterwarnings("ignore")  # their warnings are no matter of ours


@pytest.fixture(autouse=True)
def own_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the variables of whoever runs the tests."""
    names = ("TRACKING_URI", "EXPERIMENT_NAME")
    for name in (*(f"MLFLOW_{each}" for each in names), "WANDB_MODE", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)


def row_of(epoch: int) -> dict[str, Any]:
    return {"epoch": epoch, "loss": 1 / (epoch + 1), "val_loss": 0.5, "images": 20}


def about(run: Path) -> runs.About:
    run.mkdir(exist_ok=True)
    values = {"train.epochs": 3, "data.mean": [], **{f"data.v{n}": n for n in range(120)}}
    return runs.About(run, values, {"recipe": "a" * 64, "manifest": "b" * 64})


def log(name: str, run: Path, *epochs: int, state: str = "finished") -> runs.Tracker:
    """Log epochs in a process of their own, as it were; the history has all of them."""
    tracker = runs.Tracker(name, about(run))
    for epoch in epochs:
        if epoch >= len(runs.read_history(run / "history.jsonl")):
            runs.append_history(run / "history.jsonl", row_of(epoch))
        tracker.add(row_of(epoch))
    tracker.close(state)
    return tracker


def logged_to_mlflow(run: Path) -> tuple[Any, list[tuple[int, float]]]:
    """Return the one MLflow run and its losses."""
    import mlflow

    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{run / 'mlflow' / 'mlflow.db'}")
    (found,) = client.search_runs([client.get_experiment_by_name("sightline").experiment_id])
    history = client.get_metric_history(found.info.run_id, "loss")
    return found, [(each.step, each.value) for each in history]


@pytest.mark.skipif(HAS_MLFLOW, reason="mlflow is installed")
def test_a_missing_package_is_refused_with_the_command_that_installs_it() -> None:
    with pytest.raises(sl.SetupError, match=r"log_to has 'mlflow'.*pip install '?mlflow"):
        runs.refuse_missing(["mlflow"])


@pytest.mark.skipif(HAS_WANDB, reason="wandb is installed")
def test_a_missing_package_is_refused_before_any_image_is_looked_at(tmp_path: Path) -> None:
    with pytest.raises(sl.SetupError, match="log_to has 'wandb'"):
        sl.train(tmp_path / "nowhere", changes={"train.log_to": ["wandb"]}, progress=sl.Silent())


@pytest.mark.skipif(HAS_WANDB, reason="wandb is installed")
def test_a_folder_that_is_called_like_a_package_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wandb").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(sl.SetupError, match="log_to has 'wandb'"):
        runs.refuse_missing(["wandb"])


@theirs
def test_what_goes_wrong_is_told_and_never_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nowhere://there")
    assert log("mlflow", tmp_path / "run", 0, 1).trouble


@with_mlflow
@theirs
def test_a_folder_that_mlflow_cannot_address_is_told(tmp_path: Path) -> None:
    assert "folder with ? or % in its path" in log("mlflow", tmp_path / "100 %", 0).trouble


def test_a_tracker_that_was_given_nothing_closes_without_a_word(tmp_path: Path) -> None:
    tracker = runs.Tracker("mlflow", about(tmp_path / "run"))
    tracker.close()
    assert tracker.trouble == ""


@theirs
def test_to_add_an_epoch_takes_no_time(tmp_path: Path) -> None:
    tracker = runs.Tracker("mlflow", about(tmp_path / "run"))
    began = time.perf_counter()
    tracker.add(row_of(0))
    assert time.perf_counter() - began < 0.2
    tracker.close()


@with_mlflow
@theirs
class TestMLflow:
    @pytest.fixture(scope="class")
    def run(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """Two epochs logged; then resumed from after the first, to the fourth."""
        run = tmp_path_factory.mktemp("tracked") / "odd name #1"
        first = log("mlflow", run, 0, 1)
        second = log("mlflow", run, 1, 2, 3)
        assert (first.trouble, second.trouble) == ("", "")
        return run

    def test_a_resumed_training_is_one_run_without_an_epoch_twice(self, run: Path) -> None:
        assert logged_to_mlflow(run)[1] == [(n, 1 / (n + 1)) for n in range(4)]

    def test_every_value_of_the_recipe_is_a_parameter(self, run: Path) -> None:
        params = logged_to_mlflow(run)[0].data.params
        assert (len(params), params["train.epochs"]) == (122, "3")

    def test_the_digests_are_tags(self, run: Path) -> None:
        assert logged_to_mlflow(run)[0].data.tags["sightline.manifest"] == "b" * 64

    def test_it_is_called_as_the_run_folder(self, run: Path) -> None:
        assert logged_to_mlflow(run)[0].info.run_name == run.name

    def test_nothing_is_written_beside_the_run_folder(self, run: Path) -> None:
        assert [each.name for each in run.parent.iterdir()] == [run.name]

    def test_an_epoch_that_a_crash_kept_back_is_added_later(self, tmp_path: Path) -> None:
        log("mlflow", tmp_path / "run", 0)
        runs.append_history(tmp_path / "run" / "history.jsonl", row_of(1))
        log("mlflow", tmp_path / "run", 2)
        assert [step for step, _ in logged_to_mlflow(tmp_path / "run")[1]] == [0, 1, 2]

    def test_python_s_generator_is_left_alone(self, tmp_path: Path) -> None:
        before = random.getstate()
        log("mlflow", tmp_path / "run", 0)
        assert random.getstate() == before

    def test_an_interrupted_training_is_killed_in_its_words(self, tmp_path: Path) -> None:
        run = tmp_path / "run"
        log("mlflow", run, 0)  # so that the next is opened at once
        log("mlflow", run, 1, state="interrupted")
        assert logged_to_mlflow(run)[0].info.status == "KILLED"


@with_wandb
@theirs
class TestWandB:
    @pytest.fixture(scope="class")
    def run(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        run = tmp_path_factory.mktemp("tracked") / "run"
        first = log("wandb", run, 0, 1)
        second = log("wandb", run, 1, 2)
        assert (first.trouble, second.trouble) == ("", "")
        return run

    def test_it_stays_offline_in_the_run_folder(self, run: Path) -> None:
        files = list(run.glob("wandb/offline-run-*/run-*.wandb"))
        assert [path.stat().st_size > 0 for path in files] == [True, True]

    def test_a_resumed_training_is_the_same_run(self, run: Path) -> None:
        known = json.loads((run / "wandb" / "tracked.json").read_text())["id"]
        files = run.glob("wandb/offline-run-*/run-*.wandb")
        assert {path.stem for path in files} == {f"run-{known}"}

    def test_every_epoch_was_logged(self, run: Path) -> None:
        assert json.loads((run / "wandb" / "tracked.json").read_text())["epochs"] == 3

    def test_the_losses_are_in_its_file(self, run: Path) -> None:
        content = b"".join(path.read_bytes() for path in run.glob("wandb/*/run-*.wandb"))
        assert content.count(b"val_loss") >= 3


@with_mlflow
@theirs
@pytest.mark.parametrize("store", ["", "nowhere://there"])
def test_a_training_ends_with_or_without_its_tracker(
    store: str, photos: Path, quick: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if store:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    changes = {**quick, "train.log_to": ["mlflow"]}
    run = sl.train(
        photos, recipe="basic", changes=changes, out=tmp_path / "run", only_train=True,
        progress=sl.Silent(),
    )  # fmt: skip
    told = (run.path / "run.log").read_text("utf-8").count("nothing more is logged to mlflow")
    assert (run.state, told) == ("finished", int(bool(store)))
    assert store or len(logged_to_mlflow(run.path)[1]) == 2
