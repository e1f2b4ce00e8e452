"""One training that many tests look at, on a folder of tiny real images."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import Spoiler, Trained, Witness, train, write_splits


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
