"""The verb `diagnose`, on runs, on what real Keras leaves behind, and on mistakes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sightline as sl
from sightline import runs
from sightline.learning.models import backend
from sightline.records import Diagnosis
from sightline.runs.files import read_json


def test_a_run_keeps_its_diagnosis(run: sl.Run) -> None:
    done = sl.diagnose(run)
    kept = Diagnosis.from_dict(read_json(run.path / "diagnosis.json"))
    assert kept.to_dict() == done.to_dict()


def test_a_folder_is_diagnosed_as_its_run_is(run: sl.Run) -> None:
    assert sl.diagnose(str(run.path)).to_dict() == sl.diagnose(run).to_dict()


def test_a_kept_diagnosis_that_was_changed_is_noticed(run: sl.Run) -> None:
    sl.diagnose(run)
    path = run.path / "diagnosis.json"
    path.write_text(path.read_text("utf-8").replace('"epochs": 2', '"epochs": 3'))
    with pytest.raises(sl.RunError, match="was changed by hand"):
        read_json(path)


def test_a_run_says_how_many_images_it_had(run: sl.Run) -> None:
    found = sl.diagnose(run)["small-validation"]
    assert found.evidence["images"] == len(run.manifest.of_split("validation"))
    assert found.stands


def test_sizes_beside_a_run_are_refused(run: sl.Run) -> None:
    with pytest.raises(sl.DataError, match="says itself what num_train, patience would"):
        sl.diagnose(run, num_train=3, patience=2)


def test_a_run_that_another_process_works_in_is_not_written_to(run: sl.Run) -> None:
    with runs.locked(run.path), pytest.raises(sl.RunError, match="is in use"):
        sl.diagnose(run)


def test_a_folder_that_is_no_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(sl.RunError, match="there is no run at"):
        sl.diagnose(tmp_path)


@pytest.fixture(scope="module")
def keras_left(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """The History of a real `fit`, and what CSVLogger wrote in it."""
    backend.choose()
    import keras

    path = tmp_path_factory.mktemp("keras") / "log.csv"
    rng = np.random.default_rng(0)
    images, labels = rng.normal(size=(48, 4)).astype("float32"), rng.integers(0, 2, 48)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, "sigmoid")])
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    history = model.fit(
        images[:32], labels[:32], validation_data=(images[32:], labels[32:]), epochs=5,
        batch_size=8, verbose=0, callbacks=[keras.callbacks.CSVLogger(path, separator=";")],
    )  # fmt: skip
    return history, path


def test_the_history_of_real_keras_is_diagnosed(keras_left: tuple[Any, Path]) -> None:
    done = sl.diagnose(keras_left[0], num_validation=16, class_counts={"a": 16, "b": 16})
    assert done.epochs == 5
    assert "small-validation" in [finding.code for finding in done.standing]


def test_history_dictionary_and_file_say_the_same(keras_left: tuple[Any, Path]) -> None:
    history, path = keras_left
    sizes = {"num_train": 32, "num_validation": 16, "patience": 0}
    told = [sl.diagnose(each, **sizes).to_dict() for each in (history, history.history, path)]
    assert {json.dumps(each["findings"]) for each in told} == {json.dumps(told[0]["findings"])}


def test_a_diagnosis_says_what_is_missing_for_more() -> None:
    done = sl.diagnose({"loss": [0.7, 0.6, 0.5]})
    assert "There is no val_loss" in done.notes[0]


def test_without_a_number_of_validation_images_noise_is_not_judged() -> None:
    done = sl.diagnose({"loss": [0.7] * 9, "val_loss": [0.7, 0.9] * 4 + [0.7]})
    assert done["erratic-validation"].outcome == "not applicable"
    assert "num_validation" in done.notes[0]
