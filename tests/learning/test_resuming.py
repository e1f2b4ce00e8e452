"""A training that stopped and went on ends as one that never stopped, to the last bit."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from tiny import train, train_alike, write_splits

import sightline as sl
from listening_lines import Lines
from sightline.progress import Step
from sightline.recipes import dump_recipe
from sightline.runs import Checkpoint, load_checkpoint, replace_file, write_sealed

# Everything that has a state: dropout, batch normalisation, moments, a moving average, a schedule.
RICH: dict[str, Any] = {
    "recipe": "auto",
    "model__dropout": [0.3],
    "train__epochs": 3,
    "train__optimizer": "adamw",
    "train__weight_average": 0.9,
    "schedule__kind": "plateau",
    "schedule__patience": 1,
    "checkpoint__steps": 1,
    "augment__rotation": 20,
}
FEW: dict[str, Any] = {"train__epochs": 2, "checkpoint__steps": 1}
STEPS = 5
_TIMES = ("seconds", "seconds_waiting", "seconds_computing", "images_per_second", "memory_mb")


class StopAt(keras.callbacks.Callback):
    """Asks for the end of the process, as SIGTERM does, after some steps."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.left = step

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        self.left -= 1
        if not self.left:
            signal.raise_signal(signal.SIGTERM)


class Order(keras.callbacks.Callback):
    """Counts steps, in a state that is saved."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[int] = []

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        self.steps.append(batch)

    def get_state(self) -> list[int]:
        return list(self.steps)

    def set_state(self, state: list[int]) -> None:
        self.steps = list(state)


@pytest.fixture(scope="session")
def unstopped(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> sl.Run:
    return train_alike(pictures, tmp_path_factory.mktemp("runs") / "unstopped", **RICH)


def newest(run: sl.Run) -> Checkpoint:
    found, damaged = load_checkpoint(run.path)
    assert found is not None
    assert not damaged
    return found


def differing(one: sl.Run, other: sl.Run) -> list[str]:
    """Return what differs in two runs: tensors, and all that is saved beside them but times."""
    first, second = newest(one), newest(other)
    names = sorted(first.tensors.keys() | second.tensors.keys())
    found = [
        name
        for name in names
        if name not in first.tensors
        or name not in second.tensors
        or not np.array_equal(first.tensors[name], second.tensors[name])
    ]
    plain = [without_times(each.meta) for each in (first, second)]
    found += [key for key in plain[0] | plain[1] if plain[0].get(key) != plain[1].get(key)]
    tables = [run.history.table.drop(_TIMES) for run in (one, other)]
    return found + ([] if tables[0].equals(tables[1]) else ["history"])


def without_times(meta: Any) -> dict[str, Any]:
    plain = json.loads(json.dumps(meta))
    plain["standing"]["tally"] |= {"waiting": 0, "computing": 0}
    del plain["standing"]["clock"]
    del plain["callbacks"]  # who stopped it is not the same
    plain["identity"].pop("manifest", None)
    return plain


QUICK = (STEPS + 1,)  # after the first validation


@pytest.mark.parametrize(
    "step",
    [
        *QUICK,
        *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, 3 * STEPS) if n not in QUICK),
    ],
)
def test_stopped_anywhere_it_ends_as_if_it_had_not(
    step: int, pictures: Path, unstopped: sl.Run, tmp_path: Path
) -> None:
    stopped = train_alike(pictures, tmp_path / "run", callbacks=[StopAt(step)], **RICH)
    assert stopped.state == "interrupted"
    assert len(stopped.history) == (step - 1) // STEPS
    resumed = sl.train(resume=stopped.path, only_train=True, progress=sl.Silent())
    assert resumed.state == "finished"
    assert differing(resumed, unstopped) == []
    best, other = resumed.weights("best"), unstopped.weights("best")
    assert all(np.array_equal(best[name], other[name]) for name in best | other)
    assert dict(resumed.model) == dict(unstopped.model)


class StopInValidation(sl.Silent):
    """Asks for the end of the process when the validation of an epoch has begun."""

    def __init__(self, epoch: int) -> None:
        self.epoch, self.seen = epoch, 0

    @contextmanager
    def step(self, title: str, total: int | None) -> Iterator[Step]:
        self.seen += title.startswith("epoch")
        yield self

    def advance(self, done: int = 1, *, note: str = "") -> None:
        if note == "validation" and self.seen == self.epoch:
            self.seen += 1
            signal.raise_signal(signal.SIGTERM)


@pytest.mark.slow
@pytest.mark.parametrize("epoch", [1, 3])
def test_stopped_while_it_validates_it_ends_as_if_it_had_not(
    epoch: int, pictures: Path, unstopped: sl.Run, tmp_path: Path
) -> None:
    stopped = train_alike(pictures, tmp_path / "run", progress=StopInValidation(epoch), **RICH)
    assert (stopped.state, len(stopped.history)) == ("interrupted", epoch - 1)
    assert newest(stopped).meta["standing"]["batch"] == STEPS
    resumed = sl.train(resume=stopped.path, only_train=True, progress=sl.Silent())
    assert differing(resumed, unstopped) == []


@pytest.mark.slow
def test_stopped_many_times_it_ends_as_if_it_had_not(
    pictures: Path, unstopped: sl.Run, tmp_path: Path
) -> None:
    run = train_alike(pictures, tmp_path / "run", callbacks=[StopAt(2)], **RICH)
    while run.state == "interrupted":
        run = sl.train(
            resume=run.path, only_train=True, callbacks=[StopAt(3)], progress=sl.Silent()
        )
    assert differing(run, unstopped) == []


@pytest.mark.slow
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(
    pictures: Path, unstopped: sl.Run, tmp_path: Path
) -> None:
    run = train_alike(pictures, tmp_path / "run", callbacks=[StopAt(7)], **RICH)
    state = newest(run).path / "state.safetensors"
    content = bytearray(state.read_bytes())
    content[len(content) // 2] ^= 4
    state.write_bytes(content)
    lines = Lines()
    resumed = sl.train(resume=run.path, only_train=True, progress=lines)
    assert any("is damaged" in line for line in lines.said)
    assert differing(resumed, unstopped) == []


def test_a_file_that_could_not_be_read_before_the_stop_is_still_counted_after_it(
    tmp_path: Path,
) -> None:
    # Images of its own: those of other tests are decoded already, and would not be read again.
    counts = {"cat": 22, "dog": 11}, {"cat": 8, "dog": 6}
    folder = write_splits(tmp_path / "images", *counts, seed=90)
    broken = folder / "train" / "cat" / "000.png"
    about, content = broken.stat(), broken.read_bytes()

    def rewrite(what: bytes) -> None:
        broken.write_bytes(what)
        os.utime(broken, ns=(about.st_atime_ns, about.st_mtime_ns))

    ruin = keras.callbacks.LambdaCallback(on_train_begin=lambda logs: rewrite(bytes(len(content))))
    run = train(folder, tmp_path / "run", callbacks=[ruin, StopAt(STEPS)], **FEW)
    assert (run.state, len(run.history)) == ("interrupted", 0)
    rewrite(content)
    resumed = sl.train(resume=run.path, only_train=True, progress=sl.Silent())
    assert resumed.history["faults"].to_list() == [1, 0]
    assert resumed.history["images"].to_list() == [32, 33]


@pytest.mark.slow
def test_a_callback_with_a_state_is_resumed_exactly(pictures: Path, tmp_path: Path) -> None:
    order = Order()
    run = train_alike(pictures, tmp_path / "run", callbacks=[order, StopAt(7)], **RICH)
    later = Order()
    sl.train(resume=run.path, only_train=True, callbacks=[later], progress=sl.Silent())
    assert later.steps == [*range(STEPS)] * 3


def test_a_callback_without_a_state_is_warned_of(pictures: Path, tmp_path: Path) -> None:
    lines = Lines()
    train(pictures, tmp_path / "run", callbacks=[StopAt(99)], progress=lines, train__epochs=1)
    assert any("begin anew when this training is resumed: StopAt" in line for line in lines.said)


def test_a_finished_training_is_left_as_it_is(unstopped: sl.Run, tmp_path: Path) -> None:
    run = sl.open_run(shutil.copytree(unstopped.path, tmp_path / "run"))
    before = newest(run).meta
    lines = Lines()
    again = sl.train(resume=run.path, only_train=True, progress=lines)
    assert again.state == "finished"
    assert newest(again).meta == before
    assert any("is finished already: All 3 epochs done." in line for line in lines.said)


def test_a_finished_training_goes_on_for_more_epochs(unstopped: sl.Run, tmp_path: Path) -> None:
    run = sl.open_run(shutil.copytree(unstopped.path, tmp_path / "run"))
    longer = sl.train(
        resume=run.path, changes={"train.epochs": 4}, only_train=True, progress=sl.Silent()
    )
    assert longer.history["epoch"].to_list() == [0, 1, 2, 3]
    assert longer.recipe.train.epochs == 4
    assert longer.history.table[:3].equals(unstopped.history.table)


def test_another_recipe_or_other_images_are_refused(unstopped: sl.Run, tmp_path: Path) -> None:
    run = sl.open_run(shutil.copytree(unstopped.path, tmp_path / "run"))
    with pytest.raises(sl.RecipeError, match=r"train\.batch_size cannot be changed"):
        sl.train(resume=run.path, changes={"train.batch_size": 4}, progress=sl.Silent())
    with pytest.raises(sl.RunError, match="so data cannot be given as well"):
        sl.train("elsewhere", resume=run.path, progress=sl.Silent())
    text = dump_recipe(run.recipe.model_copy(update={"seed": 1}))
    replace_file(run.path, "recipe.toml", text.encode())
    with pytest.raises(sl.RunError, match=r"the recipe of .* not those that this training was"):
        sl.train(resume=run.path, progress=sl.Silent())


def test_before_the_first_checkpoint_it_begins_again(
    pictures: Path, unstopped: sl.Run, tmp_path: Path
) -> None:
    run = train_alike(pictures, tmp_path / "run", callbacks=[StopAt(2)], **RICH)
    shutil.rmtree(run.path / "checkpoints")
    lines = Lines()
    resumed = sl.train(resume=run.path, only_train=True, progress=lines)
    assert any("begins again" in line for line in lines.said)
    assert differing(resumed, unstopped) == []


def test_other_versions_go_on_with_a_plain_sentence(unstopped: sl.Run, tmp_path: Path) -> None:
    run = sl.open_run(shutil.copytree(unstopped.path, tmp_path / "run"))
    about = json.loads((run.path / "run.json").read_text("utf-8"))
    about["packages"]["keras"], about["threads"] = "3.0.0", 64
    write_sealed(run.path / "run.json", about)
    lines = Lines()
    sl.train(resume=run.path, changes={"train.epochs": 4}, only_train=True, progress=lines)
    (line,) = [line for line in lines.said if line.startswith("Not as when this training began")]
    assert "threads 64, now" in line
    assert "keras 3.0.0, now" in line
