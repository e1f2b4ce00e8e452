"""The verb `diagnose`, on runs, on what real Keras leaves behind, and on mistakes."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sightline as sl
from listening_lines import Lines
from sightline import runs
from sightline.learning.models import backend
from sightline.records import Diagnosis
from sightline.runs.files import read_json, write_sealed
from sightline.workflow.diagnosing import facts_of_run


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


def test_a_run_that_another_process_works_in_is_diagnosed_and_not_written_to(run: sl.Run) -> None:
    kept, lines = run.path / "diagnosis.json", Lines()
    kept.unlink()
    with runs.locked(run.path):
        done = sl.diagnose(run, progress=lines)
    assert done.standing
    assert not kept.exists()
    (told,) = lines.said
    assert told.startswith(f"The diagnosis is not kept: {run.path} is in use by process")


def test_a_training_that_goes_on_is_diagnosed_as_far_as_it_is(run: sl.Run) -> None:
    about = read_json(run.path / "run.json")
    write_sealed(run.path / "run.json", {**about, "state": "training"})
    epochs = [{**row, "epoch": number, "val_loss": 1 / (1 + number)} for number in range(9)
              for row in run.history.table[:1].to_dicts()]  # fmt: skip
    (run.path / "history.jsonl").unlink()
    for row in epochs:
        runs.append_history(run.path / "history.jsonl", row)
    with runs.locked(run.path):
        done = sl.diagnose(run.path, progress=Lines())
    assert done.epochs == 9
    assert done["not-finished"].outcome == "not applicable"
    killed = sl.diagnose(run.path, progress=Lines())
    assert killed["not-finished"].outcome != "not applicable"


def test_a_run_that_is_read_only_is_diagnosed_and_says_that_nothing_is_kept(run: sl.Run) -> None:
    (run.path / "run.lock").unlink()
    (run.path / "run.lock").mkdir()  # so that not even the system's own user may write it
    lines = Lines()
    assert sl.diagnose(run, progress=lines).standing
    assert lines.said == [
        f"The diagnosis is not kept: cannot write into {run.path}: Is a directory. Copy the run "
        "folder to where you may."
    ]


def test_a_full_disk_does_not_hide_the_diagnosis(
    run: sl.Run, full_disk: Callable[..., AbstractContextManager[None]]
) -> None:
    lines = Lines()
    with full_disk(1000):
        assert sl.diagnose(run, progress=lines).standing
    assert lines.said == [
        f"The diagnosis is not kept: cannot write {run.path}/diagnosis.json: File too large."
    ]


def test_figures_of_weights_that_the_run_had_before_say_nothing(run: sl.Run) -> None:
    path = run.path / "evaluation.json"
    other = read_json(path)
    figures = [{**each, "model_fingerprint": "0" * 64} for each in other["evaluations"]]
    assert facts_of_run(run).evaluations
    write_sealed(path, {"evaluations": figures})
    assert facts_of_run(run).evaluations == ()


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
