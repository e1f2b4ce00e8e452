"""`tune` with the sampler on tiny real images: one study, cut off, shared, and looked at."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import optuna
import pytest
from typer.testing import CliRunner

import sightline as sl
from sightline.cli.app import app

MakePhotos = Callable[..., Path]
Settings = Mapping[str, Any]
SPACE = """
"train.learning_rate" = {low = 1e-4, high = 1e-2, log = true}
"train.optimizer" = ["adam", "sgd"]
"train.momentum" = {low = 0.5, high = 0.9}
"model.dropout" = {each = {low = 0.0, high = 0.5, step = 0.1}}
"""
PROGRAM = """
import json, sys
import sightline as sl
if __name__ == "__main__":
    sl.tune(**json.loads(sys.argv[1]), progress=sl.Silent())
"""


@pytest.fixture(scope="module")
def photos(make_photos: MakePhotos, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_photos(tmp_path_factory.mktemp("images") / "drawn", {"dark": 24, "light": 24})


@pytest.fixture(scope="module")
def settings(quick: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    space = tmp_path_factory.mktemp("space") / "space.toml"
    space.write_text(SPACE)
    changes = {**quick, "train.epochs": 1, "train.learning_rate": 0.001}
    return {"changes": changes, "strategy": "optuna", "space": str(space)}


@pytest.fixture(scope="module")
def tuned(photos: Path, settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> sl.Tuning:
    out = tmp_path_factory.mktemp("search") / "one"
    return sl.tune(photos, out=out, trials=3, progress=sl.Silent(), **settings)


def _study(folder: Path) -> list[optuna.trial.FrozenTrial]:
    storage = f"sqlite:///{folder / 'study.db'}"
    return list(optuna.load_study(study_name=folder.name, storage=storage).get_trials())


def test_its_folder_has_the_study_the_space_and_the_best_recipe(
    tuned: sl.Tuning, settings: Settings
) -> None:
    folder = Path(tuned.folder)
    assert (folder / "space.toml").read_text() == SPACE
    assert sl.Tuning.from_dict(json.loads((folder / "tuning.json").read_text())) == tuned
    assert tuned.strategy == "optuna"
    assert tuned.best is not None
    assert dict(tuned.changes) == dict(tuned.best.spec.changes)
    told = [each.user_attrs["key"] for each in _study(folder) if "trial" in each.user_attrs]
    assert sorted(told) == sorted(t.spec.key for t in tuned.trials if t.spec.fold is None)
    best = sl.load_recipe(folder / "best.toml")
    assert best.train.learning_rate == tuned.changes.get("train.learning_rate", 0.001)


def test_its_page_says_that_recipes_were_drawn(tuned: sl.Tuning) -> None:
    page = (Path(tuned.folder) / "tune.html").read_text()
    assert "recipes were trained" in page
    assert "What the parameters did" in page
    assert "What was tried on what" not in page
    for trial in tuned.trials:
        assert trial.run in page


def test_going_on_with_a_finished_search_trains_nothing_again(tuned: sl.Tuning) -> None:
    folder = Path(tuned.folder)
    before = {path.name: path.read_bytes() for path in (folder / "trials").glob("[!.]*.json")}
    again = sl.tune(resume=folder, progress=sl.Silent())
    assert {
        path.name: path.read_bytes() for path in (folder / "trials").glob("[!.]*.json")
    } == before
    assert again.trials == tuned.trials
    assert again.changes == tuned.changes


def test_half_a_file_that_a_kill_left_behind_is_no_training(tuned: sl.Tuning) -> None:
    folder = Path(tuned.folder)
    half = folder / "trials" / ".0123456789abcdef.1234.json"
    half.write_text('{"trial": {"spec"')
    again = sl.tune(resume=folder, progress=sl.Silent())
    half.unlink()
    assert again.trials == tuned.trials


def _begun(folder: Path) -> dict[str, str]:
    """Return when each training of a search began, by its key."""
    paths = (folder / "trials").glob("*/run.json")
    return {path.parent.name: json.loads(path.read_text())["started"] for path in paths}


def _started(arguments: Mapping[str, Any]) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", PROGRAM, json.dumps(arguments)])


@pytest.mark.slow
def test_killed_with_two_workers_no_finished_training_is_lost_or_done_twice(
    photos: Path, settings: Settings, tmp_path: Path
) -> None:
    out = tmp_path / "search"
    one = _started({"data": str(photos), "out": str(out), "trials": 24, **settings})
    while not (out / "search.json").exists():
        assert one.poll() is None
        time.sleep(0.05)
    more = {"resume": str(out)}
    other = _started(more)
    while len(list((out / "trials").glob("[!.]*.json"))) < 6:
        time.sleep(0.05)
    for process in (one, other):
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    done = {path.name: path.read_bytes() for path in (out / "trials").glob("[!.]*.json")}
    begun, study = _begun(out), {each.number: each.params for each in _study(out)}
    workers = [_started(more), _started(more)]
    assert [worker.wait(timeout=300) for worker in workers] == [0, 0]
    after = {path.name: path.read_bytes() for path in (out / "trials").glob("[!.]*.json")}
    assert {name: after[name] for name in done} == done
    assert {key: _begun(out)[key] for key in begun} == begun
    trials = _study(out)
    for number, params in study.items():
        assert params.items() <= trials[number].params.items()
    assert not [each for each in trials if not each.state.is_finished()]
    told = [each.user_attrs["key"] for each in trials if "trial" in each.user_attrs]
    assert len(told) == len(set(told)) >= 18
    tuning = sl.tune(resume=out, progress=sl.Silent())
    assert {each.spec.key for each in tuning.trials} == {name[:-5] for name in after}


@pytest.mark.slow
def test_two_machines_on_one_database_share_what_they_learn(
    photos: Path, settings: Settings, tmp_path: Path
) -> None:
    shared = {"storage": f"sqlite:///{tmp_path / 'shared.db'}", "study": "dark or light"}
    here = {"data": str(photos), "out": str(tmp_path / "here"), **settings, **shared}
    there = {**here, "out": str(tmp_path / "there")}
    machines = [_started({**each, "trials": 10}) for each in (here, there)]
    assert [machine.wait(timeout=300) for machine in machines] == [0, 0]
    begun = [set(_begun(tmp_path / name)) for name in ("here", "there")]
    last = sl.tune(resume=tmp_path / "here", progress=sl.Silent())
    drawn = {each.spec.key for each in last.trials if each.spec.fold is None}
    assert len(drawn) >= 8
    elsewhere = [each for each in last.trials if not each.run]
    assert elsewhere
    assert {each.spec.key for each in elsewhere} <= begun[1]
    assert not {each.spec.key for each in elsewhere} & begun[0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--space", "none.toml"], "add --strategy optuna"),
        (["--strategy", "optuna", "--trials", "0"], "give --minutes or --trials"),
        (["--strategy", "optuna", "--space", "none.toml"], "space none.toml cannot be read"),
        (["--strategy", "optuna", "--storage", "nonsense"], "the storage nonsense cannot be used"),
        (
            ["--strategy", "optuna", "--storage", "sqlite:////nowhere/at/all.db"],
            "unable to open database file",
        ),
        (
            ["--strategy", "optuna", "--storage", "nosuch://me:secret@host/db"],
            "nosuch://me:***@host/db cannot be used",
        ),
        (["--strategy", "magic"], "'magic' is not one of"),
    ],
)
def test_wrong_use_is_refused_in_a_line_before_anything_is_trained(
    arguments: list[str], said: str, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "x"
    result = CliRunner().invoke(
        app, ["tune", str(photos), "--out", str(out), "--trials", "9", *arguments]
    )
    assert result.exit_code == 2
    assert said in " ".join(result.output.split())
    assert "secret" not in result.output
    assert not out.exists()


def test_without_optuna_the_command_that_installs_it_is_said(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(sl.SetupError, match=r"needs the package 'optuna'.* pip install '?optuna"):
        sl.tune(photos, strategy="optuna", trials=9, out=tmp_path / "x", progress=sl.Silent())
    assert not (tmp_path / "x").exists()


def test_neither_the_package_nor_the_ladder_imports_optuna() -> None:
    code = "import sys, sightline as sl; sl.tune; sl.Tuning; assert 'optuna' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
