"""Real trainings, really killed, and gone on with."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import sightline as sl
from sightline.runs import load_checkpoint

MakePhotos = Callable[..., Path]

_SETTINGS = (
    "train.epochs=6",
    "train.batch_size=4",
    "data.image_size=[8, 8]",
    "data.test=0",
    "model.width=4",
    "augment.rotation=20",
    "checkpoint.steps=1",
)


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "sightline", "train", *map(str, words), "--only-train"]


def begun(folder: Path, run: Path) -> list[str]:
    changes = [word for setting in _SETTINGS for word in ("--set", setting)]
    return command(folder, "--recipe", "basic", "--out", run, *changes)


def finished(words: list[str], **more: str) -> None:
    done = subprocess.run(
        words, capture_output=True, text=True, check=False, timeout=300, env=os.environ | more
    )
    assert done.returncode == 0, done.stderr


def killed(words: list[str], run: Path, after: float, **more: str) -> int:
    """Start a training, kill it `after` seconds past its next checkpoint; return its exit code."""
    before = newest_step(run)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(words, env=os.environ | more, **quiet) as process:
        while process.poll() is None and newest_step(run) == before:
            time.sleep(0.002)
        time.sleep(after)
        process.kill()
    return process.returncode


def newest_step(run: Path) -> str:
    found = sorted((run / "checkpoints").glob("step-*/SHA256"))
    return found[-1].parent.name if found else ""


def assert_same(one: Path, other: Path) -> None:
    """Compare every tensor, where the training stands, the history, and the best weights."""
    (first, _), (second, _) = load_checkpoint(one), load_checkpoint(other)
    assert first is not None
    assert second is not None
    assert first.tensors.keys() == second.tensors.keys()
    for name in first.tensors:
        assert np.array_equal(first.tensors[name], second.tensors[name]), name
    for key in ("epoch", "batch", "rate", "best", "stop"):
        assert first.meta["standing"][key] == second.meta["standing"][key], key
    runs = [sl.open_run(path) for path in (one, other)]
    tables = [
        run.history.table.select("epoch", "loss", "val_loss", "objective", "images", "faults")
        for run in runs
    ]
    assert tables[0].equals(tables[1])
    assert dict(runs[0].model) == dict(runs[1].model)


@pytest.mark.parametrize(
    ("backend", "kills"),
    [
        ("tensorflow", 2),
        pytest.param("tensorflow", 20, marks=pytest.mark.slow),
        pytest.param("jax", 6, marks=pytest.mark.slow),
        pytest.param("torch", 6, marks=pytest.mark.slow),
    ],
)
def test_a_training_that_is_killed_ends_as_one_that_was_not(
    backend: str, kills: int, make_photos: MakePhotos, tmp_path: Path
) -> None:
    pytest.importorskip(backend)
    folder = make_photos(tmp_path / "photos", {"dark": 50, "light": 50})
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    finished(begun(folder, whole), KERAS_BACKEND=backend)
    chance, codes = random.Random(kills), []
    words = begun(folder, broken)
    for _ in range(kills):
        codes.append(killed(words, broken, chance.random() * 0.02, KERAS_BACKEND=backend))
        words = command("--resume", broken)
        if codes[-1] == 0:
            break
    assert codes.count(-signal.SIGKILL) >= min(kills, 5) - 1
    finished(command("--resume", broken))
    run = sl.open_run(broken)
    assert (run.state, run.info["backend"]) == ("finished", backend)
    assert_same(broken, whole)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_while_it_validates_it_saves_at_once_and_ends_as_if_it_had_not(
    number: signal.Signals, make_photos: MakePhotos, tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    make_photos(folder / "train", {"dark": 10, "light": 10})  # five steps
    make_photos(folder / "val", {"dark": 400, "light": 400})  # which take long to be judged
    whole, run = tmp_path / "whole", tmp_path / "run"
    finished(begun(folder, whole))
    with subprocess.Popen(begun(folder, run), stdout=subprocess.DEVNULL) as process:
        while process.poll() is None and newest_step(run) != "step-00000005":
            time.sleep(0.002)
        process.send_signal(number)
        asked = time.monotonic()
        assert process.wait(60) == 128 + number
        assert time.monotonic() - asked < 10
    saved, _ = load_checkpoint(run)
    assert saved is not None
    standing = saved.meta["standing"]
    assert (standing["epoch"], standing["batch"]) == (0, 5)  # all steps taken, and not yet judged
    assert not (run / "history.jsonl").exists()
    finished(command("--resume", run))
    assert_same(run, whole)


def test_sigterm_saves_within_seconds_and_says_how_to_go_on(
    make_photos: MakePhotos, tmp_path: Path
) -> None:
    folder, run = make_photos(tmp_path / "photos", {"dark": 50, "light": 50}), tmp_path / "run"
    with subprocess.Popen(begun(folder, run), stdout=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not newest_step(run):
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGTERM)
        asked = time.monotonic()
        output, _ = process.communicate(timeout=60)
        assert time.monotonic() - asked < 10
    assert process.returncode == 128 + signal.SIGTERM
    assert f"Go on: sightline train --resume {run}" in output
    finished(command("--resume", run))
    assert len(sl.open_run(run).history) == 6
