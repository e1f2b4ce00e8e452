"""The best weights on the disk are those of the epoch that the run calls the best."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import pytest
from test_diverging import Poison
from test_resuming import STEPS, StopAt
from tiny import train

import sightline as sl
from sightline.runs import read_best, read_tensors


class Biases(keras.callbacks.Callback):
    """Sets the bias of the output at the end of each epoch: the further from 0, the worse."""

    def __init__(self, *biases: float) -> None:
        super().__init__()
        self.left = list(biases)

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        if batch == STEPS - 1:
            bias = self.model.trainable_variables[-1]
            bias.assign(keras.ops.full(bias.shape, self.left.pop(0)))


SETTINGS: dict[str, Any] = {"train__optimizer": "sgd", "train__epochs": 3}
FIRST_AND_PART = STEPS + 2  # the one checkpoint is within the second epoch


def test_a_best_epoch_that_is_trained_again_leaves_nothing_behind(
    pictures: Path, tmp_path: Path
) -> None:
    settings, out = {**SETTINGS, "checkpoint__steps": FIRST_AND_PART}, tmp_path / "run"
    failing = [Biases(3.0, 0.0), Poison(2 * STEPS + 1)]
    with pytest.raises(sl.RunError, match=r"became (nan in epoch 3|NaN after 14 steps)"):
        train(pictures, out, callbacks=failing, **settings)
    assert read_best(out)[1] == sl.open_run(out).model["best_epoch"] == 1  # it can be used
    lower = {"train.learning_rate": 0.0001}
    worse = [Biases(6.0, 6.0)]
    run = sl.train(
        resume=out, changes=lower, callbacks=worse, only_train=True, progress=sl.Silent()
    )
    losses = run.history["val_loss"].to_list()
    best = losses.index(min(losses))
    kept = [read_tensors(path)[1] for path in sorted(out.rglob("best.safetensors"))]
    assert (best, run.model["best_epoch"], kept) == (0, 0, [0, 0])


@pytest.fixture(scope="module")
def interrupted(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> sl.Run:
    """A run that was finished after an epoch, went on to a better one, and was stopped."""
    out = tmp_path_factory.mktemp("runs") / "run"
    run = train(pictures, out, callbacks=[Biases(3.0)], **{**SETTINGS, "train__epochs": 1})
    assert (run.path / "model.keras").exists()
    return sl.train(
        resume=run.path,
        changes={"train.epochs": 3},
        callbacks=[Biases(0.0), StopAt(STEPS + 2)],
        only_train=True,
        progress=sl.Silent(),
    )


def test_what_is_for_keras_is_never_of_weights_that_were_the_best(interrupted: sl.Run) -> None:
    assert (interrupted.state, interrupted.model["best_epoch"]) == ("interrupted", 1)
    assert not (interrupted.path / "model.keras").exists()


def test_what_is_for_keras_comes_when_the_training_is_finished(interrupted: sl.Run) -> None:
    run = sl.train(resume=interrupted.path, only_train=True, progress=sl.Silent())
    assert (run.path / "model.keras").exists()
