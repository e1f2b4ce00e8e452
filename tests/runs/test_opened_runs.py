"""An opened run folder: what it says, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sightline.errors import RecipeError, RunError
from sightline.recipes import dump_recipe, load_recipe
from sightline.runs import (
    append_history,
    create_run,
    list_runs,
    locked,
    open_run,
    save_checkpoint,
    write_json,
    write_tensors,
)
from test_runs import TENSORS, flip_last_byte, names


def make_run(path: Path, **info: Any) -> Path:
    """Write a run of one finished epoch."""
    create_run(path)
    said = {"started": "2026-01-01T12:00:00+00:00", "data": {}, "network": {}}
    write_json(path / "run.json", {"format_version": 1, "state": "finished", **said, **info})
    (path / "recipe.toml").write_text(dump_recipe(load_recipe("basic")))
    append_history(path / "history.jsonl", {"epoch": 0, "val_loss": 0.5})
    save_checkpoint(path, 4, TENSORS, {"epoch": 0})
    write_tensors(path / "best.safetensors", {"w": np.ones(2, np.float32)}, epoch=0)
    write_json(path / "model.json", {"class_names": ["a", "b"], "best_epoch": 0, "last_epoch": 0})
    return path


def test_an_opened_run_has_its_recipe_and_state(tmp_path: Path) -> None:
    run = open_run(make_run(tmp_path / "r"))
    assert (run.name, run.state, run.recipe) == ("r", "finished", load_recipe("basic"))


def test_an_opened_run_has_its_history_and_best_epoch(tmp_path: Path) -> None:
    history = open_run(make_run(tmp_path / "r")).history
    assert (history["val_loss"].to_list(), history.best_epoch) == ([0.5], 0)


def test_the_best_weights_are_read(tmp_path: Path) -> None:
    weights = open_run(make_run(tmp_path / "r")).weights("best")
    assert {name: array.tolist() for name, array in weights.items()} == {"w": [1, 1]}


def test_the_last_weights_are_those_of_the_model_in_the_newest_checkpoint(tmp_path: Path) -> None:
    assert list(open_run(make_run(tmp_path / "r")).weights("last")) == ["w"]


def test_weights_keep_their_own_epoch_when_a_kill_leaves_the_card_behind(tmp_path: Path) -> None:
    run = open_run(make_run(tmp_path / "r"))
    write_tensors(run.path / "best.safetensors", {"w": np.zeros(2, np.float32)}, epoch=1)
    save_checkpoint(run.path, 8, TENSORS, {"epoch": 1})
    assert [run.kept(which).epoch for which in ("best", "last")] == [1, 1]


def test_best_and_last_weights_have_fingerprints_of_their_own(tmp_path: Path) -> None:
    run = open_run(make_run(tmp_path / "r"))
    assert run.kept("best").fingerprint != run.kept("last").fingerprint


def test_a_new_checkpoint_removes_what_a_killed_process_left(tmp_path: Path) -> None:
    (tmp_path / "checkpoints" / ".step-00000007.1").mkdir(parents=True)
    save_checkpoint(tmp_path, 8, TENSORS, {"epoch": 1})
    assert names(tmp_path / "checkpoints") == ["step-00000008"]


def test_a_checkpoint_whose_hash_does_not_match_is_refused(tmp_path: Path) -> None:
    run = open_run(make_run(tmp_path / "r"))
    flip_last_byte(tmp_path / "r/checkpoints/step-00000004/state.safetensors")
    with pytest.raises(RunError, match=r"can be used:\n.*step-00000004 is damaged: its file"):
        run.weights("last")


def test_best_weights_whose_hash_does_not_match_are_refused(tmp_path: Path) -> None:
    run = open_run(make_run(tmp_path / "r"))
    flip_last_byte(tmp_path / "r/best.safetensors")
    with pytest.raises(RunError, match=r"best\.safetensors is damaged: its sha256"):
        run.weights("best")


def test_opening_a_run_changes_nothing(tmp_path: Path) -> None:
    path = make_run(tmp_path / "r")
    before = {file: file.stat().st_mtime_ns for file in path.rglob("*")}
    run = open_run(path)
    assert (len(run.history), len(run.weights("best")), run.evaluations) == (1, 1, [])
    assert {file: file.stat().st_mtime_ns for file in path.rglob("*")} == before


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"evaluations": [', "Expecting value"),
        ("[]", "it holds no JSON object"),
        ("{}", "'evaluations'"),
        ('{"evaluations": [{"source": "test"}]}', "'classes'"),
        ('{"evaluations": [], "evaluation": []}', "'evaluation' does not belong there"),
        ('{"evaluations": [], "sha256": "0"}', "does not have the sha256 written in it"),
    ],
)
def test_damaged_figures_are_refused_and_may_be_made_anew(
    tmp_path: Path, text: str, why: str
) -> None:
    run = open_run(make_run(tmp_path / "r"))
    (run.path / "evaluation.json").write_text(text)
    said = (
        rf"evaluation\.json is damaged.*{why}.*\. To make it anew, remove it and evaluate again\."
    )
    with pytest.raises(RunError, match=said):
        assert run.evaluations


def test_a_run_without_a_finished_epoch_says_so(tmp_path: Path) -> None:
    path = make_run(tmp_path / "r", state="interrupted")
    (path / "model.json").unlink()
    with pytest.raises(RunError, match=r"r holds no model: the run is 'interrupted'.*again"):
        open_run(path).model  # noqa: B018


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=rf"no run at {tmp_path}: it has no run\.json"):
        open_run(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", ""])
def test_a_damaged_run_file_is_named(tmp_path: Path, text: str) -> None:
    (make_run(tmp_path / "r") / "run.json").write_text(text)
    with pytest.raises(RunError, match=r"r/run\.json is damaged"):
        open_run(tmp_path / "r")


@pytest.mark.parametrize("key", ["state", "started", "data", "network"])
def test_a_run_file_that_lacks_something_is_refused_by_its_name(tmp_path: Path, key: str) -> None:
    path = make_run(tmp_path / "r")
    kept = json.loads((path / "run.json").read_text())
    del kept[key]
    write_json(path / "run.json", kept)
    with pytest.raises(RunError, match=rf"r/run\.json is damaged: it does not say {key}\. Copy"):
        open_run(path)


@pytest.mark.parametrize("name", ["facts", "summary"])
def test_a_run_file_with_other_contents_is_refused(tmp_path: Path, name: str) -> None:
    run = open_run(make_run(tmp_path / "r", data={"count": 1}, network={"layers": [{}]}))
    with pytest.raises(RunError, match=r"r/run\.json is damaged: (data|network): "):
        getattr(run, name)


@pytest.mark.parametrize("key", ["class_names", "best_epoch"])
def test_a_model_file_that_lacks_something_is_refused_by_its_name(tmp_path: Path, key: str) -> None:
    path = make_run(tmp_path / "r")
    card = json.loads((path / "model.json").read_text())
    write_json(path / "model.json", {name: card[name] for name in card if name != key})
    with pytest.raises(RunError, match=rf"r/model\.json is damaged: it does not say {key}\."):
        open_run(path).model  # noqa: B018


def test_a_run_of_a_later_sightline_is_refused(tmp_path: Path) -> None:
    path = make_run(tmp_path / "r", format_version=99)
    with pytest.raises(RunError, match=r"run format 99; this Sightline knows 1\. Update"):
        open_run(path)


def test_a_run_without_its_recipe_is_refused_by_its_path(tmp_path: Path) -> None:
    (make_run(tmp_path / "r") / "recipe.toml").unlink()
    with pytest.raises(RecipeError, match=r"r/recipe\.toml cannot be read"):
        open_run(tmp_path / "r")


def test_runs_are_listed_by_name_and_other_folders_are_passed_over(tmp_path: Path) -> None:
    make_run(tmp_path / "b")
    make_run(tmp_path / "a")
    (tmp_path / "c").mkdir()
    opened, _ = list_runs(tmp_path)
    assert [run.name for run in opened] == ["a", "b"]


def test_a_damaged_run_does_not_hide_the_others(tmp_path: Path) -> None:
    make_run(tmp_path / "a")
    (make_run(tmp_path / "b") / "run.json").write_text("{")
    opened, complaints = list_runs(tmp_path)
    assert [run.name for run in opened] == ["a"]
    assert "b/run.json is damaged" in complaints[0]


def test_a_folder_that_is_not_there_has_no_runs(tmp_path: Path) -> None:
    assert list_runs(tmp_path / "nowhere") == ([], [])


def test_a_run_whose_process_is_gone_is_interrupted(tmp_path: Path) -> None:
    run = make_run(tmp_path, state="training")
    assert open_run(run).state == "interrupted"


def test_a_run_that_a_process_works_in_is_training(tmp_path: Path) -> None:
    run = make_run(tmp_path, state="training")
    with locked(run):
        assert open_run(run).state == "training"
