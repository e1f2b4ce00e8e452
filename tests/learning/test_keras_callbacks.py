"""Keras' own callbacks: which way their column gets better, and whose learning rate holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import keras
import pytest
from keras.callbacks import (
    EarlyStopping,
    LearningRateScheduler,
    ModelCheckpoint,
    ReduceLROnPlateau,
)
from tiny import train

from listening_lines import Lines
from sightline.recipes.sections import MetricName

LOWER = ["loss", "objective", "val_loss", "raw_val_loss"]
HIGHER = [f"{side}{name}" for side in ("", "val_") for name in get_args(MetricName)]


@pytest.fixture(scope="module")
def following(
    pictures: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, keras.callbacks.Callback]:
    """One callback for each column, after two epochs, and one that saves the best by its area."""
    out = tmp_path_factory.mktemp("runs") / "following"
    callbacks = {name: EarlyStopping(monitor=name, patience=99) for name in LOWER + HIGHER}
    saving = ModelCheckpoint(out.parent / "best.keras", monitor="val_auc", save_best_only=True)
    lowering = ReduceLROnPlateau(monitor="val_f1", patience=99)
    settings: dict[str, Any] = {
        "train__metrics": list(get_args(MetricName)),
        "train__weight_average": 0.5,
    }
    train(pictures, out, callbacks=[*callbacks.values(), saving, lowering], **settings)
    return {**callbacks, "saving": saving, "lowering": lowering}


@pytest.mark.parametrize("column", LOWER)
def test_of_what_is_optimised_less_is_better(
    column: str, following: dict[str, keras.callbacks.Callback]
) -> None:
    assert following[column]._is_improvement(0.4, 0.5)
    assert not following[column]._is_improvement(0.5, 0.4)


@pytest.mark.parametrize("column", [*HIGHER, "saving", "lowering"])
def test_of_a_metric_more_is_better(
    column: str, following: dict[str, keras.callbacks.Callback]
) -> None:
    assert following[column]._is_improvement(0.5, 0.4)
    assert not following[column]._is_improvement(0.4, 0.5)


def test_what_is_saved_by_a_metric_is_opened_by_plain_keras(
    following: dict[str, keras.callbacks.Callback],
) -> None:
    assert keras.models.load_model(following["saving"].filepath).count_params()


def test_a_mode_that_was_given_stays(pictures: Path, tmp_path: Path) -> None:
    given = EarlyStopping(monitor="val_accuracy", mode="min", patience=99)
    train(pictures, tmp_path / "run", callbacks=[given], train__epochs=1)
    assert given._is_improvement(0.4, 0.5)


def overruled(folder: Path, out: Path, callback: Any, **changes: Any) -> list[str]:
    """Return what was said of a learning rate that a callback had set."""
    lines = Lines()
    train(folder, out, callbacks=[callback], progress=lines, train__epochs=3, **changes)
    return [line for line in lines.said if line.startswith("A callback set the learning rate")]


class Sets(keras.callbacks.Callback):
    """Sets a learning rate whenever it is told of something."""

    def __init__(self, told: str) -> None:
        super().__init__()
        setattr(self, told, self.sets)

    def sets(self, number: int, logs: object = None) -> None:
        self.model.optimizer.learning_rate = 0.5


def falling() -> keras.callbacks.Callback:
    return LearningRateScheduler(lambda epoch: 0.01 / (epoch + 1))


def test_a_rate_that_the_schedule_takes_back_is_said_once(pictures: Path, tmp_path: Path) -> None:
    cosine = {"schedule__kind": "cosine", "schedule__warmup": 0.2}
    assert overruled(pictures, tmp_path / "run", falling(), **cosine) == [
        "A callback set the learning rate to 0.01; the cosine schedule of the recipe takes it "
        "back, to 0.000333. schedule.kind=constant leaves it to callbacks."
    ]


def test_a_rate_that_is_lowered_at_the_end_of_an_epoch_is_noticed(
    pictures: Path, tmp_path: Path
) -> None:
    lowering = ReduceLROnPlateau(monitor="loss", patience=1, min_delta=99.0, factor=0.5)
    said = overruled(pictures, tmp_path / "run", lowering, schedule__kind="cosine")
    assert len(said) == 1


def test_a_rate_that_the_schedule_leaves_alone_is_not_worth_a_word(
    pictures: Path, tmp_path: Path
) -> None:
    assert overruled(pictures, tmp_path / "run", falling(), schedule__kind="constant") == []


def test_a_rate_that_the_schedule_wants_as_well_is_not_worth_a_word(
    pictures: Path, tmp_path: Path
) -> None:
    same = LearningRateScheduler(lambda epoch: 1e-3 * 0.5**epoch)
    halved = {"schedule__kind": "step", "schedule__epochs": 1, "schedule__factor": 0.5}
    assert overruled(pictures, tmp_path / "run", same, **halved) == []


@pytest.mark.parametrize("told", ["on_epoch_begin", "on_train_batch_begin", "on_train_batch_end"])
def test_a_schedule_has_the_last_word_at_each_step(
    told: str, pictures: Path, tmp_path: Path
) -> None:
    run = train(pictures, tmp_path / "run", callbacks=[Sets(told)], schedule__kind="plateau")
    plain = train(pictures, tmp_path / "plain", schedule__kind="plateau")
    assert run.history["loss"].to_list() == plain.history["loss"].to_list()


def test_a_schedule_that_nobody_disturbs_is_not_worth_a_word(
    pictures: Path, tmp_path: Path
) -> None:
    onlooker = keras.callbacks.Callback()
    assert overruled(pictures, tmp_path / "run", onlooker, schedule__kind="cosine") == []
