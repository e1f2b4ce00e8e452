"""What callbacks are told, what they may change, and what of them is saved."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from test_resuming import FEW, StopAt
from tiny import train

import sightline as sl
from listening_lines import Lines
from sightline.runs import load_checkpoint


class Holding(keras.callbacks.Callback):
    """Has a state, which may become another at the end of an epoch."""

    def __init__(self, state: Any, later: Any = None) -> None:
        super().__init__()
        self.state, self.later = state, later

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        self.state = self.state if self.later is None else self.later

    def get_state(self) -> Any:
        return self.state

    def set_state(self, state: Any) -> None:
        self.state = state


class Onlooker(keras.callbacks.Callback):
    """Writes down what it is told of validation, and of the end."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[Any] = []
        self.logs: dict[str, Mapping[str, Any]] = {}

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        self.told.append("step")

    def on_test_begin(self, logs: object = None) -> None:
        self.told.append("begins")

    def on_test_batch_begin(self, batch: int, logs: object = None) -> None:
        self.told.append(f"batch {batch}")

    def on_test_batch_end(self, batch: int, logs: Mapping[str, Any]) -> None:
        self.told.append(sorted(logs))

    def on_test_end(self, logs: Mapping[str, Any]) -> None:
        self.told.append("ends")
        self.logs["test"] = dict(logs)

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        self.told.append("epoch")

    def on_train_end(self, logs: Mapping[str, Any]) -> None:
        self.logs["train"] = dict(logs)


class Timer(keras.callbacks.Callback):
    """Sets up at an epoch's beginning what it uses at its end, and has no state."""

    def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
        self.begun = epoch

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        assert self.begun == epoch
        del self.begun


@pytest.mark.parametrize("step", [2, 5])  # within an epoch, and between two
def test_a_callback_that_begins_anew_is_told_of_the_epoch_in_hand(
    step: int, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    stopped = train(pictures, out, callbacks=[Timer(), StopAt(step)], **FEW)
    again = sl.train(
        resume=stopped.path, only_train=True, callbacks=[Timer()], progress=sl.Silent()
    )
    assert again.info["state"] == "finished"


@pytest.fixture(scope="module", params=[0.0, 0.9])
def tested(
    request: pytest.FixtureRequest, pictures: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[sl.Run, Onlooker]:
    """One epoch, with and without an average of the weights."""
    onlooker, settings = Onlooker(), {"train__epochs": 1, "train__weight_average": request.param}
    out = tmp_path_factory.mktemp("runs") / "tested"
    return train(pictures, out, callbacks=[onlooker], **settings), onlooker


def test_validation_is_told_as_keras_tells_it(tested: tuple[sl.Run, Onlooker]) -> None:
    validation = ["begins", "batch 0", ["loss"], "batch 1", ["loss"], "ends"]
    assert tested[1].told == [*["step"] * 5, *validation, "epoch"]


def test_the_end_of_validation_is_told_with_what_it_came_to(
    tested: tuple[sl.Run, Onlooker],
) -> None:
    row = tested[0].history.table.row(0, named=True)
    expected = {"loss": row["val_loss"], "accuracy": row["val_accuracy"]}
    assert tested[1].logs["test"] == pytest.approx(expected)


def test_the_end_of_training_is_told_the_last_line(tested: tuple[sl.Run, Onlooker]) -> None:
    told, row = tested[1].logs["train"], tested[0].history.table.row(0, named=True)
    assert (told["epoch"], told["val_loss"]) == (0, row["val_loss"])


class Zero(keras.callbacks.Callback):
    """Sets all weights to 0 at the end of an epoch, and looks at those of the next."""

    def __init__(self) -> None:
        super().__init__()
        self.sums: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
        arrays = [np.asarray(v) for v in self.model.trainable_variables]
        self.sums.append(sum(float(np.abs(array).sum()) for array in arrays))

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        for variable in self.model.trainable_variables:
            variable.assign(keras.ops.zeros_like(variable))


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_what_a_callback_makes_of_the_weights_lasts(
    average: float, pictures: Path, tmp_path: Path
) -> None:
    zero = Zero()
    train(pictures, tmp_path / "run", callbacks=[zero], train__weight_average=average)
    assert (zero.sums[0] > 0, zero.sums[1]) == (True, 0.0)


def test_numbers_of_numpy_in_a_state_come_back_as_plain_ones(
    pictures: Path, tmp_path: Path
) -> None:
    state = {"best": np.float32(0.1), "seen": [np.int64(3), np.bool_(True)]}
    run = train(pictures, tmp_path / "run", callbacks=[Holding(state), StopAt(2)], **FEW)
    later = Holding({})
    sl.train(resume=run.path, only_train=True, callbacks=[later], progress=sl.Silent())
    assert later.state == {"best": float(np.float32(0.1)), "seen": [3, True]}
    assert [type(each) for each in (later.state["best"], *later.state["seen"])] == [
        float,
        int,
        bool,
    ]


def test_a_state_that_cannot_be_saved_is_refused_before_the_first_step(
    pictures: Path, tmp_path: Path
) -> None:
    onlooker = Onlooker()
    message = r"callback Holding cannot be saved: .*type ndarray\. .* such as array\.tolist\(\)"
    with pytest.raises(sl.RunError, match=message):
        train(pictures, tmp_path / "run", callbacks=[Holding({"a": np.zeros(2)}), onlooker], **FEW)
    assert onlooker.told == []


def test_a_state_whose_keys_would_come_back_as_others_is_refused(
    pictures: Path, tmp_path: Path
) -> None:
    holding = Holding({"seen": [{3: 0.5}]})
    with pytest.raises(sl.RunError, match=r"gave a key of type int\. .* with strings as keys"):
        train(pictures, tmp_path / "run", callbacks=[holding], **FEW)


def test_a_state_that_can_no_longer_be_saved_is_said_once_and_ends_nothing(
    pictures: Path, tmp_path: Path
) -> None:
    lines, holding = Lines(), Holding(1, later=np.zeros(2))
    run = train(pictures, tmp_path / "run", callbacks=[holding], progress=lines, **FEW)
    assert run.state == "finished"
    assert len([line for line in lines.said if "callback Holding cannot be saved" in line]) == 1
    saved, _ = load_checkpoint(run.path)
    assert saved is not None
    assert saved.meta["callbacks"] == [{"class": "Holding", "state": None}]


def test_the_time_of_callbacks_after_an_epoch_counts_for_the_limit(
    pictures: Path, tmp_path: Path
) -> None:
    sleep = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: time.sleep(0.2))
    run = train(pictures, tmp_path / "run", callbacks=[sleep], train__epochs=2)
    saved, _ = load_checkpoint(run.path)
    assert saved is not None
    assert saved.meta["standing"]["clock"]["spent"] > run.history["seconds"].sum() + 0.39
