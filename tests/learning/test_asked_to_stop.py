"""A callback's wish that training ends: it outlasts the process that it was made in."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import keras
import pytest
from test_resuming import STEPS, Lines, Order, differing
from tiny import train, train_alike

import sightline as sl
from sightline.runs import write_sealed

LONG: dict[str, Any] = {"train__epochs": 3, "checkpoint__steps": 1}
ASKED = "Stopped after 1 of 3 epochs, as a callback asked."


class Ends(Order):
    """Asks for the end after the first epoch; its count of steps is saved."""

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        if epoch == 0:
            self.model.stop_training = True


class EndsWithin(keras.callbacks.Callback):
    """Asks for the end within the first epoch, where the process is stopped a step later."""

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        if batch == 1:
            self.model.stop_training = True
        if batch == 2:
            signal.raise_signal(signal.SIGTERM)


def died_before_its_end_was_noted(run: sl.Run) -> Path:
    about = run.path / "run.json"
    write_sealed(about, json.loads(about.read_text("utf-8")) | {"state": "training"})
    return run.path


def resumed(path: Path, callbacks: Any = (), **more: Any) -> sl.Run:
    return sl.train(
        resume=path, only_train=True, callbacks=callbacks, **{"progress": sl.Silent()} | more
    )


@pytest.fixture(scope="module")
def ended(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> sl.Run:
    path = tmp_path_factory.mktemp("runs") / "ended"
    return train_alike(pictures, path, callbacks=[Ends()], **LONG)


@pytest.mark.slow
def test_what_was_asked_for_holds_after_the_process_died(pictures: Path, tmp_path: Path) -> None:
    run = train(pictures, tmp_path / "run", callbacks=[Ends()], **LONG)
    later = Ends()
    again = resumed(died_before_its_end_was_noted(run), [later])
    assert (len(again.history), again.state, again.info["reason"]) == (1, "finished", ASKED)
    assert later.steps == [*range(STEPS)]


def test_asked_for_within_an_epoch_it_holds_at_the_end_of_that_epoch(
    pictures: Path, ended: sl.Run, tmp_path: Path
) -> None:
    run = train_alike(pictures, tmp_path / "run", callbacks=[EndsWithin()], **LONG)
    assert (run.state, len(run.history)) == ("interrupted", 0)
    again = resumed(run.path)
    assert (again.state, again.info["reason"]) == ("finished", ASKED)
    assert differing(again, ended) == []


def test_a_signal_that_comes_behind_the_wish_finds_the_training_finished(
    pictures: Path, tmp_path: Path
) -> None:
    late = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: signal.raise_signal(signal.SIGTERM)
    )
    run = train(pictures, tmp_path / "run", callbacks=[Ends(), late], **LONG)
    assert (run.state, run.info["reason"]) == ("finished", ASKED)


def test_with_more_epochs_it_goes_on_and_that_is_said(pictures: Path, tmp_path: Path) -> None:
    run = train(pictures, tmp_path / "run", callbacks=[Ends()], **LONG)
    lines = Lines()
    again = resumed(run.path, changes={"train.epochs": 4}, progress=lines)
    assert len(again.history) == 4
    assert "A callback had asked to stop; with more epochs it goes on." in lines.said
