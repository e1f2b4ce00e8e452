"""One training that many tests look at, from folders of tiny real images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from sightline.learning.models import backend

backend.choose()  # before any test module of this wing imports Keras

import keras  # noqa: E402
from tiny import train, write_splits  # noqa: E402

from sightline.learning.models import forward  # noqa: E402
from sightline.runs import Run  # noqa: E402

Arrays = dict[str, npt.NDArray[np.generic]]


class Witness(keras.callbacks.Callback):
    """Writes down what a Keras callback is told, and the weights it sees at an epoch's end."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []
        self.logs: list[Mapping[str, Any]] = []
        self.weights: list[Arrays] = []

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        self.told.append("train begins")

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        self.told.append(f"epoch {epoch} begins")

    def on_train_batch_begin(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        self.told.append(f"step {batch} begins")

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        self.told.append(f"step {batch} ends")

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        self.told.append(f"epoch {epoch} ends")
        self.logs.append(dict(logs or {}))
        self.weights.append(forward.get_weights(self.model))

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        self.told.append("train ends")


class Spoiler(keras.callbacks.Callback):
    """Raises the learning rate so far, from one epoch on, that the weights get worse."""

    def __init__(self, epoch: int, rate: float) -> None:
        super().__init__()
        self.epoch, self.rate = epoch, rate

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        if epoch == self.epoch:
            self.model.optimizer.learning_rate = self.rate


@dataclass(frozen=True)
class Trained:
    folder: Path
    run: Run
    witness: Witness


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """33 training images (the last of five steps has one) and 14 to validate on, two classes."""
    folder = tmp_path_factory.mktemp("pictures")
    return write_splits(folder, {"cat": 22, "dog": 11}, {"cat": 8, "dog": 6})


@pytest.fixture(scope="session")
def spoiled(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A run of four epochs, ruined from the third on, with class weights and label smoothing."""
    witness = Witness()
    run = train(
        pictures,
        tmp_path_factory.mktemp("runs") / "spoiled",
        callbacks=[witness, Spoiler(epoch=2, rate=0.3)],
        train__epochs=4,
        train__label_smoothing=0.2,
        train__metrics=["accuracy", "recall"],
        balance__class_weights="balanced",
        balance__initial_bias=True,
    )
    return Trained(pictures, run, witness)
