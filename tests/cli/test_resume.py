"""Real trainings, really killed, and gone on with."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sightline as sl
from sightline.runs import load_checkpoint

MakePhotos = Callable[..., Path]
PROGRAM = Path(__file__).parents[1] / "learning" / "killed_training.py"

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


def newest_step(run: Path) -> str:
    found = sorted((run / "checkpoints").glob("step-*/SHA256"))
    return found[-1].parent.name if found else ""


_TIMES = {"seconds", "waiting", "computing", "clock"}
_COLUMNS = ("seconds", "seconds_waiting", "seconds_computing", "images_per_second", "memory_mb")


def everything(run: Path) -> dict[str, Any]:
    """Return all that was saved of a training, by name, but for times and memory."""
    saved, damaged = load_checkpoint(run)
    assert saved is not None
    assert not damaged
    opened = sl.open_run(run)
    found: dict[str, Any] = {**saved.tensors, **dict(_leaves(saved.meta, "meta"))}
    found |= {f"best/{name}": array for name, array in opened.weights("best").items()}
    table = opened.history.table.drop(_COLUMNS)
    found |= {f"history/{name}": table[name].to_list() for name in table.columns}
    return found | dict(_leaves(dict(opened.model), "model")) | {"state": opened.state}


def _leaves(value: Any, way: str) -> list[tuple[str, Any]]:
    if isinstance(value, Mapping):
        plain = {key: each for key, each in value.items() if key not in _TIMES}
        return [leaf for key in plain for leaf in _leaves(plain[key], f"{way}/{key}")]
    return [(way, value)]


def differing(one: Path, other: Path) -> list[str]:
    first, second = everything(one), everything(other)
    return sorted(
        name
        for name in first.keys() | second.keys()
        if name not in first or name not in second or not _equal(first[name], second[name])
    )


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray):
        return bool(one.dtype == other.dtype and np.array_equal(one, other))
    return bool(one == other)


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
    # The generators of the process, from which nobody draws, begin elsewhere in each.
    assert [name for name in differing(run, whole) if "/randomness/" not in name] == []


@pytest.mark.slow
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


# --- killed --------------------------------------------------------------------------

# Everything that has a state, and the changes that go by more than one image.
_RICH: dict[str, Any] = {
    "data.image_size": [8, 8],
    "data.test": 0,
    "augment.rotation": 20,
    "augment.erasing": 0.3,
    "augment.mixup": 0.2,
    "augment.cutmix": 0.5,
    "model.width": 4,
    "model.normalisation": "batch",
    "model.dropout": [0.1, 0.2, 0.3],
    "balance.class_weights": "balanced",
    "balance.focal_gamma": 1.0,
    "train.epochs": 5,
    "train.batch_size": 4,
    "train.optimizer": "adamw",
    "train.weight_decay": 0.01,
    "train.accumulate": 2,
    "train.clip_norm": 1.0,
    "train.label_smoothing": 0.1,
    "train.weight_average": 0.9,
    "train.metrics": ["accuracy", "recall", "auc"],
    "schedule.kind": "plateau",
    "schedule.patience": 1,
    "stop.patience": 4,
    "checkpoint.steps": 1,
}
_STEPS = 7  # of an epoch: 27 or 28 images
_GROUPS = ("model", "raw", "seeds", "optimizer")  # of tensors

# Events at which a training kills itself, and (True) after which it is killed from outside, a
# random time later.
_PLACES = (
    ("step 1 begins", False),  # before there is any checkpoint
    ("training begins", False),
    ("step 3 ends", True),
    ("step 6 begins", True),
    ("step 7 begins", True),
    ("validation 0 batch 1 ends", False),
    ("epoch 0 ends", False),
    ("step 9 begins", True),
    ("step 10 ends", True),
    ("step 12 ends", True),
    ("validation 1 begins", True),
    ("epoch 1 ends", True),
    ("epoch 2 begins", False),
    ("step 15 ends", True),
    ("step 17 ends", True),
    ("step 19 begins", True),
    ("step 20 ends", True),
    ("validation 2 ends", True),
    ("step 23 begins", True),
    ("step 26 ends", False),
    ("step 28 begins", True),
    ("validation 3 batch 0 ends", True),
    ("epoch 4 begins", True),
    ("step 31 begins", True),
    ("step 34 ends", True),
    ("validation 4 begins", True),
)
_FEW = (*_PLACES[2:7], _PLACES[8], _PLACES[14], _PLACES[23])
_ONE = (_PLACES[7],)
_LONGEST = 0.02  # s: what a step takes, with its checkpoint


def _course() -> list[str]:
    """Return all events of a training that nobody kills."""
    course = ["training begins"]
    for epoch in range(_RICH["train.epochs"]):
        course.append(f"epoch {epoch} begins")
        steps = range(epoch * _STEPS + 1, (epoch + 1) * _STEPS + 1)
        course += [f"step {step} {what}" for step in steps for what in ("begins", "ends")]
        parts = ("begins", *(f"batch {batch} ends" for batch in range(3)), "ends")
        course += [f"validation {epoch} {part}" for part in parts]
        course.append(f"epoch {epoch} ends")
    return course


_COURSE = _course()


@dataclass(frozen=True)
class Told:
    """An event that a training told: when (monotonic ns), and the checksum of a step's batch."""

    time: int
    event: str
    checksum: str


@dataclass(frozen=True)
class Training:
    """A training in processes of its own, in the folder `place`."""

    images: Path
    place: Path
    backend: str

    @property
    def run(self) -> Path:
        return self.place / "run"

    def start(self, die_at: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        """Begin it, or go on with it, in a new process."""
        told = self.place / "told"
        spec = {"images": str(self.images), "run": str(self.run), "changes": _RICH}
        spec |= {"told": str(told), "die_at": list(die_at)}
        self.place.mkdir(exist_ok=True)
        told.write_text("")
        (self.place / "spec.json").write_text(json.dumps(spec))
        with (self.place / "errors").open("wb") as errors:
            return subprocess.Popen(
                [sys.executable, PROGRAM, self.place / "spec.json"],
                env=os.environ | {"KERAS_BACKEND": self.backend},
                stdout=subprocess.DEVNULL,
                stderr=errors,
            )

    def told(self) -> list[Told]:
        """Return what the process that ran last has told."""
        lines = (self.place / "told").read_text().splitlines(keepends=True)
        parts = (line.rstrip("\n").split("\t") for line in lines if line.endswith("\n"))
        return [Told(int(when), event, checksum) for when, event, checksum in parts]

    def errors(self) -> str:
        return (self.place / "errors").read_text()[-4000:]


def killed(training: Training, due: Sequence[str], after: float | None) -> int:
    """Go on until one of the events that are due, and kill it there; return when, or 0: it ended.

    Args:
        training: Any.
        due: The event, and those that come later.
        after: So many seconds later, from outside; None: the process itself, at the event.
    """
    when = 0
    with training.start(due if after is None else ()) as process:
        while process.poll() is None and after is not None:
            if {one.event for one in training.told()} & set(due):
                time.sleep(after)
                when = time.monotonic_ns()
                process.kill()
                break
            time.sleep(0.002)
    assert process.returncode in (0, -signal.SIGKILL), training.errors()
    if after is None:
        when = training.told()[-1].time
    return when if process.returncode else 0


def epoch_of(event: str) -> int:
    kind, number, *_ = event.split()
    return (int(number) - 1) // _STEPS if kind == "step" else int(number)


@pytest.mark.parametrize(
    ("backend", "places"),
    [
        ("tensorflow", _ONE),
        pytest.param("tensorflow", _PLACES, marks=pytest.mark.slow),
        pytest.param("jax", _FEW, marks=pytest.mark.slow),
        pytest.param("torch", _FEW, marks=pytest.mark.slow),
    ],
    ids=["tensorflow-1", "tensorflow-26", "jax-8", "torch-8"],
)
def test_a_training_that_is_killed_ends_as_one_that_was_not(
    backend: str, places: Sequence[tuple[str, bool]], make_photos: MakePhotos, tmp_path: Path
) -> None:
    if not find_spec(backend):  # not imported here, which would take seconds
        pytest.skip(f"{backend} is not installed")
    folder = tmp_path / "photos"
    # With one more, the last batch of an epoch is whole, and there is less to compile.
    make_photos(folder / "train", {"dark": 17 + (len(places) == 1), "light": 10}, seed=1)
    make_photos(folder / "val", {"dark": 6, "light": 6}, seed=2)
    whole, broken = (Training(folder, tmp_path / name, backend) for name in ("whole", "broken"))
    chance, lives = random.Random(len(places)), []
    died: list[tuple[str, float]] = []  # the last event before, and how many ms before
    with whole.start() as unbroken:
        for place, from_outside in places:
            due = [place] if place == "training begins" else _COURSE[_COURSE.index(place) :]
            when = killed(broken, due, chance.random() * _LONGEST if from_outside else None)
            assert when, f"it was over before {place}"
            lives.append(broken.told())
            died.append((lives[-1][-1].event, (when - lives[-1][-1].time) / 1e6))
        assert broken.start().wait(300) == 0, broken.errors()
        lives.append(broken.told())
        assert unbroken.wait(300) == 0, whole.errors()
    (tmp_path / "died.json").write_text(json.dumps(died))
    assert len(died) == len(places)
    if len(places) > 1:
        assert_everywhere([event for event, _ in died])
    assert_one_course(lives, whole.told())
    assert {name.split("/")[0] for name in everything(broken.run)} >= {*_GROUPS, "history", "best"}
    assert differing(broken.run, whole.run) == []
    assert sl.open_run(broken.run).info["backend"] == backend


def assert_one_course(lives: Sequence[Sequence[Told]], whole: Sequence[Told]) -> None:
    """Assert that each process went on where the one before it died, with the same batches.

    It took the steps in order, each on the batch that it has in a training that nobody killed, and
    began with the step that the process before it had begun last, or with the one after that.
    """
    assert [one.event for one in whole] == _COURSE
    batches = {one.event: one.checksum for one in whole if one.checksum}
    assert len(set(batches.values())) == len(batches)
    reached = 0
    for told in lives:
        steps = {one.event: one.checksum for one in told if one.checksum}
        assert steps.items() <= batches.items()
        numbers = [int(event.split()[1]) for event in steps]
        if numbers:
            assert numbers == list(range(numbers[0], numbers[-1] + 1))
            assert numbers[0] in (max(reached, 1), reached + 1)
            reached = numbers[-1]
    assert reached == len(batches)


def assert_everywhere(died: Sequence[str]) -> None:
    """Assert where trainings died, by the last event that each of them told."""
    following = dict(pairwise(_COURSE))
    validating = [each for each in died if each.startswith("validation ")]
    assert any("batch" in following[each] for each in validating), died  # not at its end
    assert [each for each in died if each.startswith("epoch ")], died  # between two epochs
    within = Counter(epoch_of(each) for each in died if each.startswith("step "))
    assert max(within.values()) >= 2, died
