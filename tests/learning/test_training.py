"""Whole trainings on tiny folders: what is recorded, what is kept, and how they end."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
import pytest
from tiny import Spoiler, Trained, Witness, train, write_splits

import sightline as sl
from sightline.errors import RunError
from sightline.judging import evaluation
from sightline.learning.training.interruption import stop_requests
from sightline.progress import Step
from sightline.records import Predictions, Weights
from sightline.runs import Run, latest_checkpoint, read_tensors


def predicted(run: Run, folder: Path, weights: Weights = "best") -> Predictions:
    return sl.predict(run, folder, weights=weights, progress=sl.Silent())


def labels_of(predictions: Predictions) -> npt.NDArray[np.int64]:
    """Return class indices from the folder that each file lies in."""
    names = [Path(record_id).parts[-2] for record_id in predictions.table["record_id"]]
    return np.asarray([predictions.class_names.index(name) for name in names])


def val_loss_of(trained: Trained, weights: Weights) -> float:
    predictions = predicted(trained.run, trained.folder / "val", weights)
    return evaluation.cross_entropy(predictions.probabilities, labels_of(predictions))


def same(first: dict[str, npt.NDArray[np.generic]], second: object) -> bool:
    assert isinstance(second, dict)
    return first.keys() == second.keys() and all(
        np.array_equal(first[name], second[name]) for name in first
    )


def test_a_row_of_the_history_has_what_was_asked_for(spoiled: Trained) -> None:
    wanted = {"epoch", "objective", "loss", "accuracy", "recall", "learning_rate", "val_loss"}
    wanted |= {"val_accuracy", "val_recall", "images", "distinct", "seconds"}
    wanted |= {"faults", "val_faults"}
    wanted |= {"seconds_waiting", "seconds_computing", "images_per_second", "memory_mb"}
    assert set(spoiled.run.history.table.columns) == wanted


def test_there_is_one_row_an_epoch(spoiled: Trained) -> None:
    assert spoiled.run.history["epoch"].to_list() == [0, 1, 2, 3]


def test_every_training_image_is_counted_once_an_epoch(spoiled: Trained) -> None:
    assert spoiled.run.history["images"].to_list() == [33] * 4


def test_the_learning_rate_of_each_epoch_is_recorded(spoiled: Trained) -> None:
    assert spoiled.run.history["learning_rate"].to_list() == pytest.approx([1e-3, 1e-3, 0.3, 0.3])


def test_val_loss_is_the_plain_cross_entropy_of_the_best_weights(spoiled: Trained) -> None:
    recorded = spoiled.run.history["val_loss"][spoiled.run.history.best_epoch]
    assert val_loss_of(spoiled, "best") == pytest.approx(recorded, abs=1e-5)


def test_val_loss_is_the_plain_cross_entropy_of_the_last_weights(spoiled: Trained) -> None:
    assert val_loss_of(spoiled, "last") == pytest.approx(
        spoiled.run.history["val_loss"][-1], abs=1e-5
    )


def test_validation_metrics_are_those_of_evaluation(spoiled: Trained) -> None:
    predictions = predicted(spoiled.run, spoiled.folder / "val", "last")
    confusion = evaluation.confusion_matrix(
        labels_of(predictions), predictions.predicted_indices(), 2
    )
    scores = evaluation.scores_from_confusion(confusion)
    found = [spoiled.run.history[f"val_{name}"][-1] for name in ("accuracy", "recall")]
    assert found == pytest.approx([scores["accuracy"], scores["recall"]])


def test_the_best_epoch_is_the_one_of_the_lowest_val_loss(spoiled: Trained) -> None:
    history = spoiled.run.history
    assert history.best_epoch == history["val_loss"].arg_min() != 3


def test_the_best_weights_are_those_of_the_best_epoch(spoiled: Trained) -> None:
    best = spoiled.run.model["best_epoch"]
    assert same(spoiled.run.weights("best"), spoiled.witness.weights[best])


def test_the_last_weights_are_kept_apart_from_the_best(spoiled: Trained) -> None:
    assert same(spoiled.run.weights("last"), spoiled.witness.weights[3])


def test_callbacks_are_told_in_the_order_of_keras(spoiled: Trained) -> None:
    expected = ["train begins"]
    for epoch in range(4):
        expected.append(f"epoch {epoch} begins")
        for step in range(5):
            expected += [f"step {step} begins", f"step {step} ends"]
        expected.append(f"epoch {epoch} ends")
    assert spoiled.witness.told == [*expected, "train ends"]


def test_callbacks_are_told_the_row_of_the_history(spoiled: Trained) -> None:
    columns = ("loss", "val_loss", "objective", "val_accuracy", "learning_rate")
    for column in columns:
        told = [logs[column] for logs in spoiled.witness.logs]
        assert told == pytest.approx(spoiled.run.history[column].to_list())


@pytest.fixture(scope="module")
def frozen(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One epoch at a rate too small to change anything, with class weights and smoothing."""
    return train(
        pictures,
        tmp_path_factory.mktemp("runs") / "frozen",
        train__epochs=1,
        train__learning_rate=1e-12,
        train__label_smoothing=0.2,
        balance__class_weights="balanced",
    )


def test_loss_is_the_plain_cross_entropy_of_the_training_images(
    frozen: Run, pictures: Path
) -> None:
    predictions = predicted(frozen, pictures / "train")
    expected = evaluation.cross_entropy(predictions.probabilities, labels_of(predictions))
    assert frozen.history["loss"][0] == pytest.approx(expected, abs=1e-5)


def test_the_objective_is_the_mean_over_images_of_what_is_optimised(
    frozen: Run, pictures: Path
) -> None:
    predictions = predicted(frozen, pictures / "train")
    labels, p = labels_of(predictions), predictions.probabilities[:, 1].astype(np.float64)
    target = labels * 0.8 + 0.1
    losses = -target * np.log(p) - (1 - target) * np.log(1 - p)
    weights = np.where(labels == 0, 33 / (2 * 22), 33 / (2 * 11))
    assert frozen.history["objective"][0] == pytest.approx((losses * weights).mean(), abs=1e-5)


def test_training_stops_early_after_its_patience(pictures: Path, tmp_path: Path) -> None:
    run = train(
        pictures,
        tmp_path / "run",
        train__epochs=9,
        train__learning_rate=1e-9,
        stop__patience=2,
        stop__min_delta=0.01,
    )
    assert (len(run.history), run.info["reason"]) == (
        3,
        "Stopped early after 3 epochs: no better val_loss for 2.",
    )


def test_a_callback_may_end_training(pictures: Path, tmp_path: Path) -> None:
    def stop(epoch: int, logs: object) -> None:
        callback.model.stop_training = epoch == 1

    callback = keras.callbacks.LambdaCallback(on_epoch_end=stop)
    run = train(pictures, tmp_path / "run", callbacks=[callback], train__epochs=5)
    assert (len(run.history), run.state, run.info["reason"]) == (
        2,
        "finished",
        "Stopped after 2 of 5 epochs, as a callback asked.",
    )


def test_the_learning_rate_scheduler_of_keras_works(pictures: Path, tmp_path: Path) -> None:
    scheduler = keras.callbacks.LearningRateScheduler(lambda epoch: 0.01 / (epoch + 1))
    run = train(pictures, tmp_path / "run", callbacks=[scheduler])
    assert run.history["learning_rate"].to_list() == pytest.approx([0.01, 0.005])


def test_the_schedule_of_the_recipe_sets_the_rate(pictures: Path, tmp_path: Path) -> None:
    run = train(pictures, tmp_path / "run", schedule__kind="exponential", schedule__epochs=1)
    assert run.history["learning_rate"].to_list() == pytest.approx([1e-3, 1e-4])


@pytest.fixture(scope="module")
def exploded(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Run]:
    """The message and the run of a training whose objective became NaN in its second epoch."""
    out = tmp_path_factory.mktemp("runs") / "exploded"
    changes = {"train__optimizer": "sgd", "train__epochs": 3}
    with pytest.raises(sl.RunError, match="the objective became") as caught:
        train(pictures, out, callbacks=[Spoiler(epoch=1, rate=1e18)], **changes)
    return str(caught.value), sl.open_run(out)


def test_an_objective_that_is_no_number_is_told_with_epoch_and_step(
    exploded: tuple[str, Run],
) -> None:
    assert "the objective became nan in epoch 2, step 2" in exploded[0]


def test_an_objective_that_is_no_number_is_told_with_its_records(
    exploded: tuple[str, Run],
) -> None:
    named = exploded[0].partition("(records ")[2].partition(" and 3 more)")[0].split(", ")
    assert len(named) == 5
    assert all((exploded[1].manifest.root / record_id).is_file() for record_id in named)


def test_a_run_whose_objective_became_nan_is_noted_as_failed(exploded: tuple[str, Run]) -> None:
    assert exploded[1].state == "failed"
    assert exploded[1].info["reason"] == f"RunError: {exploded[0]}"


def test_epochs_before_the_objective_became_nan_are_kept(
    exploded: tuple[str, Run], pictures: Path
) -> None:
    assert len(exploded[1].history) == 1
    assert len(predicted(exploded[1], pictures / "val")) == 14


def test_the_same_recipe_and_seed_give_bit_identical_weights(
    pictures: Path, tmp_path: Path
) -> None:
    changes = {"recipe": "skin-binary", "train__epochs": 2, "seed": 11}  # dropout, augmentation
    first, second = (train(pictures, tmp_path / name, **changes) for name in ("a", "b"))
    assert same(first.weights("last"), second.weights("last"))


class Averages(Witness):
    """Also averages the raw weights step by step, as the recipe's decay says."""

    def __init__(self, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self.average: list[npt.NDArray[np.float32]] = []
        self.raw: list[list[npt.NDArray[np.float32]]] = []
        self.at_start: list[list[npt.NDArray[np.float32]]] = []

    def _now(self) -> list[npt.NDArray[np.float32]]:
        return [np.array(v) for v in self.model.trainable_variables]

    def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
        self.at_start.append(self._now())

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        now = self._now()
        before = self.average or now
        self.average = [
            self.decay * old + (1 - self.decay) * new for old, new in zip(before, now, strict=True)
        ]
        if batch == 4:
            self.raw.append(now)


@pytest.fixture(scope="module")
def averaged(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Averages]:
    callback = Averages(0.9)
    out = tmp_path_factory.mktemp("runs") / "averaged"
    changes = {"train__weight_average": 0.9, "train__learning_rate": 0.01}
    return train(pictures, out, callbacks=[callback], **changes), callback


def test_the_validated_weights_are_the_moving_average(averaged: tuple[Run, Averages]) -> None:
    run, callback = averaged
    for kept, expected in zip(run.weights("average").values(), callback.average, strict=True):
        np.testing.assert_allclose(kept, expected, atol=1e-6)


def test_the_last_weights_are_those_that_training_left(averaged: tuple[Run, Averages]) -> None:
    run, callback = averaged
    for kept, expected in zip(run.weights("last").values(), callback.raw[-1], strict=True):
        np.testing.assert_array_equal(kept, expected)


def test_a_run_without_an_average_says_so(spoiled: Trained) -> None:
    with pytest.raises(RunError, match=r"keeps no average of its weights: .*--set train"):
        spoiled.run.weights("average")


def test_val_loss_is_that_of_the_averaged_weights(
    averaged: tuple[Run, Averages], pictures: Path
) -> None:
    run, callback = averaged
    assert val_loss_of(Trained(pictures, run, callback), "average") == pytest.approx(
        run.history["val_loss"][-1], abs=1e-5
    )


def test_the_raw_weights_are_back_after_validation(averaged: tuple[Run, Averages]) -> None:
    _, callback = averaged
    pairs = zip(callback.raw[0], callback.at_start[1], strict=True)
    assert all(np.array_equal(before, after) for before, after in pairs)


def test_the_average_is_not_the_raw_weights(averaged: tuple[Run, Averages]) -> None:
    run, callback = averaged
    pairs = zip(run.weights("average").values(), callback.raw[1], strict=True)
    assert not any(np.array_equal(kept, raw) for kept, raw in pairs)


def test_a_checkpoint_keeps_the_trained_weights_beside_their_average(
    averaged: tuple[Run, Averages],
) -> None:
    run, callback = averaged
    newest = latest_checkpoint(run.path)
    assert newest is not None
    state, _ = read_tensors(newest / "state.safetensors")
    raw = [state[name] for name in sorted(state) if name.startswith("raw/")]
    assert all(np.array_equal(a, b) for a, b in zip(raw, callback.raw[1], strict=True))


def rewrite(path: Path, content: bytes) -> None:
    """Write other bytes at the same time, as a failing disk does."""
    about = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))


def breaking(*paths: Path) -> keras.callbacks.Callback:
    """Return a callback that ruins files between the audit and the first step."""

    def ruin(logs: object) -> None:
        for path in paths:
            rewrite(path, bytes(path.stat().st_size))

    return keras.callbacks.LambdaCallback(on_train_begin=ruin)


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    """Two epochs on 120 images, one of which cannot be read in the first epoch."""
    folder = write_splits(
        tmp_path_factory.mktemp("faulty"), {"cat": 60, "dog": 60}, {"cat": 4, "dog": 4}
    )
    broken = folder / "train" / "dog" / "003.png"
    content = broken.read_bytes()
    mend = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: rewrite(broken, content))
    changes = {"train__batch_size": 32, "callbacks": [breaking(broken), mend]}
    return train(folder, tmp_path_factory.mktemp("runs") / "faulty", **changes), broken


@pytest.fixture(scope="module")
def half_unread(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two epochs with one validation image that cannot be read."""
    folder = write_splits(
        tmp_path_factory.mktemp("unread"), {"cat": 9, "dog": 9}, {"cat": 3, "dog": 3}
    )
    ruin = breaking(folder / "val" / "dog" / "000.png")
    return train(folder, tmp_path_factory.mktemp("runs") / "unread", callbacks=[ruin])


def test_an_unreadable_training_image_is_recorded_and_not_counted(
    faulty: tuple[Run, Path],
) -> None:
    assert (faulty[0].history["images"][0], faulty[0].history["faults"][0]) == (119, 1)


def test_an_unreadable_image_is_named_in_the_log_once(faulty: tuple[Run, Path]) -> None:
    log = (faulty[0].path / "run.log").read_text()
    assert log.count(f"left out, it cannot be read: {faulty[1]}") == 1


def test_an_unreadable_validation_image_is_recorded(half_unread: Run) -> None:
    assert half_unread.history["val_faults"].to_list() == [1, 1]


def test_a_validation_split_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    folder = write_splits(tmp_path / "images", {"cat": 9, "dog": 9}, {"cat": 1, "dog": 1})
    ruin = breaking(*(folder / "val").rglob("*.png"))
    with pytest.raises(sl.DataError, match="2 of 2 images could not be read, more than"):
        train(folder, tmp_path / "run", callbacks=[ruin])


def test_an_image_that_is_readable_again_is_counted_again(faulty: tuple[Run, Path]) -> None:
    assert faulty[0].history["images"][1] == 120


def test_an_image_that_the_audit_cannot_read_is_said_in_the_plan(tmp_path: Path) -> None:
    folder = write_splits(tmp_path / "images", {"cat": 60, "dog": 60}, {"cat": 4, "dog": 4})
    (folder / "train" / "dog" / "003.png").write_bytes(b"no image")
    run = train(folder, tmp_path / "run", train__epochs=1)
    (sentence,) = [each for each in run.plan if "cannot be read" in each]
    assert sentence.startswith("Warning: 1 of 128 files cannot be read (0.8 %): 1 NOT_AN_IMAGE")
    assert (run.history["images"][0], run.history["faults"][0]) == (119, 0)


def test_more_unreadable_images_than_the_budget_end_training(tmp_path: Path) -> None:
    folder = write_splits(tmp_path / "images", {"cat": 20, "dog": 20}, {"cat": 3, "dog": 3})
    ruin = breaking(*(folder / "train" / name / "000.png" for name in ("cat", "dog")))
    with pytest.raises(sl.DataError, match="2 of 40 images could not be read, more than"):
        train(folder, tmp_path / "run", callbacks=[ruin])
    assert sl.open_run(tmp_path / "run").state == "failed"


def interrupt_at(step: int) -> keras.callbacks.Callback:
    """Return a callback that sends this process SIGINT at the end of a step of each epoch."""

    def send(batch: int, logs: object) -> None:
        if batch == step:
            os.kill(os.getpid(), signal.SIGINT)

    return keras.callbacks.LambdaCallback(on_train_batch_end=send)


def test_a_run_interrupted_in_its_first_epoch_has_no_model(pictures: Path, tmp_path: Path) -> None:
    witness = Witness()
    run = train(pictures, tmp_path / "run", callbacks=[interrupt_at(1), witness])
    assert run.state == "interrupted"
    with pytest.raises(sl.RunError, match="no epoch was finished"):
        _ = run.model


def test_an_interrupted_epoch_ends_after_the_step_in_hand(pictures: Path, tmp_path: Path) -> None:
    witness = Witness()
    train(pictures, tmp_path / "run", callbacks=[interrupt_at(1), witness])
    assert witness.told[-3:] == ["step 1 begins", "step 1 ends", "train ends"]


class AtValidation(sl.Silent):
    """Sends this process SIGTERM when the validation of the second epoch has begun."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    @contextmanager
    def step(self, title: str, total: int | None) -> Iterator[Step]:
        self.batches.append(0)
        yield self

    def advance(self, done: int = 1, *, note: str = "") -> None:
        self.batches[-1] += note == "validation"
        if note == "validation" and len(self.batches) == 2:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture(scope="module")
def half_validated(
    pictures: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Run, AtValidation]:
    progress = AtValidation()
    out = tmp_path_factory.mktemp("runs") / "half"
    return train(pictures, out, progress=progress, train__epochs=4), progress


def test_a_request_to_stop_is_heard_during_validation(
    half_validated: tuple[Run, AtValidation],
) -> None:
    assert half_validated[1].batches == [2, 1]  # batches validated, of 2


def test_an_epoch_that_was_not_validated_does_not_count(
    half_validated: tuple[Run, AtValidation],
) -> None:
    run, _ = half_validated
    assert (len(run.history), run.model["last_epoch"], run.info["reason"]) == (
        1,
        0,
        "Interrupted after 1 finished epochs; their best weights are kept. "
        f"Go on: sightline train --resume {run.path}",
    )


def test_signals_act_as_before_once_training_has_ended(pictures: Path, tmp_path: Path) -> None:
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    train(pictures, tmp_path / "run", train__epochs=1)
    assert [signal.getsignal(number) for number in numbers] == before


def test_only_the_first_signal_is_a_request() -> None:
    before = signal.getsignal(signal.SIGINT)
    with stop_requests() as request:
        signal.raise_signal(signal.SIGINT)
        assert request.signal_number == signal.SIGINT
        assert signal.getsignal(signal.SIGINT) is before


def test_a_thread_leaves_signals_alone() -> None:
    seen: list[object] = []
    before = signal.getsignal(signal.SIGTERM)

    def in_a_thread() -> None:
        with stop_requests():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=in_a_thread)
    thread.start()
    thread.join()
    assert seen == [before]
