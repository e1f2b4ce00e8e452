"""A training that goes on with other values, or callbacks, than it stopped with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import pytest
from test_resuming import FEW, STEPS, Order, StopAt
from tiny import train

import sightline as sl
from listening_lines import Lines
from sightline.runs import load_checkpoint, save_checkpoint


def gone_on(run: sl.Run, callbacks: Any = (), **changes: Any) -> tuple[sl.Run, list[str]]:
    """Return a run that went on with changes, and what was said."""
    lines, dotted = Lines(), {name.replace("__", "."): value for name, value in changes.items()}
    again = sl.train(
        resume=run.path, changes=dotted, only_train=True, callbacks=callbacks, progress=lines
    )
    return again, lines.said


def test_another_column_to_stop_by_begins_anew_and_is_said(pictures: Path, tmp_path: Path) -> None:
    # val_loss is 0.6 or so and val_recall 0 or 1: were one held against the other, it would stop.
    settings = {**FEW, "train__epochs": 4, "train__learning_rate": 1e-9, "stop__patience": 3}
    run = train(pictures, tmp_path / "run", callbacks=[StopAt(STEPS + 2)], **settings)
    again, said = gone_on(run, stop__monitor="val_accuracy")
    words = "stop.monitor is val_accuracy from here on, and was val_loss: early stopping begins"
    assert any(line.startswith(words) for line in said)
    saved, _ = load_checkpoint(again.path)
    assert saved is not None
    stop = saved.meta["standing"]["stop"]
    assert (stop["column"], stop["best"]) == ("val_accuracy", again.history["val_accuracy"][1])


def test_the_same_column_to_stop_by_is_not_worth_a_word(pictures: Path, tmp_path: Path) -> None:
    run = train(pictures, tmp_path / "run", callbacks=[StopAt(STEPS + 2)], **FEW)
    assert not any("early stopping" in line for line in gone_on(run)[1])


def test_a_curve_that_becomes_longer_is_said(pictures: Path, tmp_path: Path) -> None:
    run = train(pictures, tmp_path / "run", schedule__kind="cosine", **FEW)
    again, said = gone_on(run, train__epochs=4)
    assert any("cosine schedule is laid out over 4 epochs from here on" in line for line in said)
    rates = again.history["learning_rate"].to_list()
    assert rates[2] > rates[1]


def test_fewer_epochs_than_were_done_are_refused_and_nothing_is_changed(
    pictures: Path, tmp_path: Path
) -> None:
    run = train(pictures, tmp_path / "run", **FEW)
    before = (run.path / "recipe.toml").read_bytes()
    with pytest.raises(
        sl.RecipeError, match=r"train\.epochs 1 lies behind: .* has done 2\. Set it"
    ):
        gone_on(run, train__epochs=1)
    assert (run.path / "recipe.toml").read_bytes() == before
    assert sl.open_run(run.path).state == "finished"


def test_an_epoch_that_was_begun_cannot_be_left_out(pictures: Path, tmp_path: Path) -> None:
    run = train(pictures, tmp_path / "run", callbacks=[StopAt(STEPS + 2)], **FEW)
    with pytest.raises(sl.RecipeError, match=r"has done 1 and is within epoch 2\. Set it to 2"):
        gone_on(run, train__epochs=1)


def test_automatic_epochs_are_refused_in_the_middle_of_a_training(
    pictures: Path, tmp_path: Path
) -> None:
    run = train(pictures, tmp_path / "run", callbacks=[StopAt(1)], **FEW)
    with pytest.raises(sl.RecipeError, match=r"was to have \d+: give a number instead of auto"):
        gone_on(run, train__epochs="auto")


def test_as_many_epochs_as_were_done_end_a_training(pictures: Path, tmp_path: Path) -> None:
    stop = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: setattr(stop.model, "stop_training", True)
    )
    run = train(pictures, tmp_path / "run", callbacks=[stop], train__epochs=5)
    again, _ = gone_on(run, train__epochs=1)
    assert (again.state, again.info["reason"]) == ("finished", "The one epoch is done.")


def test_a_checkpoint_of_another_format_is_refused_with_what_can_be_done(
    pictures: Path, tmp_path: Path
) -> None:
    run = train(pictures, tmp_path / "run", callbacks=[StopAt(2)], **FEW)
    saved, _ = load_checkpoint(run.path)
    assert saved is not None
    older = json.loads(json.dumps(saved.meta)) | {"format_version": 1}
    save_checkpoint(run.path, 2, saved.tensors, older)
    message = r"step-00000002\.2 was saved by another version of Sightline \(format 1, .*train anew"
    with pytest.raises(sl.RunError, match=message):
        gone_on(run)


def test_a_saved_state_that_no_callback_takes_is_named(pictures: Path, tmp_path: Path) -> None:
    run = train(pictures, tmp_path / "run", callbacks=[Order(), StopAt(2)], **FEW)
    _, said = gone_on(run)
    assert any(
        line.startswith("Not used, the saved state of Order (number 1 of the callbacks)")
        for line in said
    )


def test_a_callback_that_finds_no_saved_state_is_named(pictures: Path, tmp_path: Path) -> None:
    run = train(pictures, tmp_path / "run", callbacks=[StopAt(2)], **FEW)
    later = Order()
    _, said = gone_on(run, callbacks=[later])
    assert "Nothing was saved of Order (number 1 of the callbacks): begun anew." in said


def test_the_same_callbacks_are_not_worth_a_word(pictures: Path, tmp_path: Path) -> None:
    run = train(pictures, tmp_path / "run", callbacks=[Order(), StopAt(2)], **FEW)
    _, said = gone_on(run, callbacks=[Order(), StopAt(99)])
    words = ("Not used", "Nothing was saved", "Given before")
    assert not any(line.startswith(words) for line in said)


def test_callbacks_without_a_state_that_are_given_no_more_are_named(
    pictures: Path, tmp_path: Path
) -> None:
    stopping = [keras.callbacks.EarlyStopping(patience=9) for _ in range(2)]
    run = train(pictures, tmp_path / "run", callbacks=[*stopping, Order(), StopAt(2)], **FEW)
    _, said = gone_on(run, callbacks=[Order(), StopAt(99), stopping[0]])
    assert any(
        line.startswith("Given before and not now: EarlyStopping. Training goes on without")
        for line in said
    )


def test_more_epochs_for_a_training_that_stopped_early_say_what_to_raise(
    pictures: Path, tmp_path: Path
) -> None:
    never = {"stop__patience": 1, "stop__min_delta": 99.0}
    run = train(pictures, tmp_path / "run", train__epochs=5, **never)
    reason = "Stopped early after 2 epochs: no better val_loss for 1."
    assert run.info["reason"] == reason
    again, _ = gone_on(run, train__epochs=9)
    assert again.info["reason"] == f"{reason} To train on, raise stop.patience."
