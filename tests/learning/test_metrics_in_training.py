"""What an epoch's line says: every metric, what is followed, what was seen, and the time."""

from __future__ import annotations

import json
import math
import os
import signal
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from tiny import AfterSteps, Spoiler, train, write_splits

import sightline as sl
from listening_lines import Lines
from sightline.data.stream import Stream, StreamConfig
from sightline.judging import evaluation
from sightline.learning.training.standing import Tally
from sightline.runs import Run, load_checkpoint

ALL = ("accuracy", "balanced_accuracy", "precision", "recall", "f1", "auc")
THREE = {"ant": 20, "bee": 10, "cat": 5}


def write_three(folder: Path, seed: int = 0) -> Path:
    return write_splits(folder, THREE, {"ant": 6, "bee": 5, "cat": 4}, seed=seed)


@pytest.fixture(scope="module")
def insects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """35 training images of three classes (the smallest has 5), and 15 to validate on."""
    return write_three(tmp_path_factory.mktemp("insects"))


@pytest.fixture(scope="module")
def measured(insects: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One epoch at a rate too small to change anything, with every metric."""
    out = tmp_path_factory.mktemp("runs") / "measured"
    rate = {"train__learning_rate": 1e-12, "train__optimizer": "sgd"}
    return train(insects, out, train__epochs=1, train__metrics=list(ALL), **rate)


def judged(run: Run, folder: Path) -> dict[str, float]:
    found = sl.predict(run, folder, progress=sl.Silent())
    labels = [found.class_names.index(Path(each).parts[-2]) for each in found.table["record_id"]]
    return evaluation.validation_scores(found.probabilities, np.asarray(labels), ALL)


def test_every_metric_of_validation_is_that_of_evaluation(measured: Run, insects: Path) -> None:
    expected = judged(measured, insects / "val")
    found = {name: measured.history[f"val_{name}"][0] for name in ALL}
    assert found == pytest.approx(expected, abs=1e-6)


def test_every_metric_of_training_is_that_of_evaluation_the_area_but_for_its_bins(
    measured: Run, insects: Path
) -> None:
    expected = judged(measured, insects / "train")
    found = {name: measured.history[name][0] for name in ALL}
    # 35 outputs of an untrained network, which lie close together: some share a bin.
    assert found.pop("auc") == pytest.approx(expected.pop("auc"), abs=0.02)
    assert found == pytest.approx(expected)


def test_weights_may_be_chosen_by_a_figure_of_the_training_images(
    pictures: Path, tmp_path: Path
) -> None:
    run = train(
        pictures,
        tmp_path / "run",
        train__epochs=3,
        train__best="loss",
        train__metrics=["recall"],
        stop__monitor="recall",
    )
    assert run.history.monitor == "loss"
    assert run.history.best_epoch == run.history["loss"].arg_min()


@pytest.mark.parametrize("column", ["val_auc", "val_f1"])
def test_best_weights_and_early_stopping_may_follow_any_metric(
    column: str, insects: Path, tmp_path: Path
) -> None:
    run = train(
        insects,
        tmp_path / "run",
        callbacks=[Spoiler(epoch=0, rate=1e-9)],
        train__epochs=9,
        train__best=column,
        stop__monitor=column,
        stop__patience=2,
        stop__min_delta=0.01,
    )
    best = run.history[column].to_list()
    assert (run.history.monitor, run.history.best_epoch) == (column, best.index(max(best)))
    assert run.info["reason"] == f"Stopped early after 3 epochs: no better {column} for 2."


def test_a_metric_that_is_only_followed_is_not_counted_in_training(
    insects: Path, tmp_path: Path
) -> None:
    run = train(insects, tmp_path / "run", train__epochs=1, train__best="val_auc")
    assert "val_auc" in run.history
    assert "auc" not in run.history


def test_an_area_that_is_not_defined_is_never_better(tmp_path: Path) -> None:
    folder = write_splits(tmp_path / "images", {"cat": 8, "dog": 8}, {"cat": 4, "dog": 1}, seed=5)
    for path in (folder / "val" / "dog").iterdir():
        about = path.stat()
        ruined = bytes(about.st_size)

    def ruin(logs: object) -> None:  # after the audit, so that one class alone can be read
        path.write_bytes(ruined)
        os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))

    lines = Lines()
    run = train(
        folder,
        tmp_path / "run",
        callbacks=[keras.callbacks.LambdaCallback(on_train_begin=ruin)],
        progress=lines,
        train__best="val_auc",
    )
    assert all(math.isnan(value) for value in run.history["val_auc"])
    assert run.history.best_epoch == 0
    words = "val_auc has no value in epoch 1, so the epoch counts as no better."
    assert [line.startswith(words) for line in lines.said if "has no value" in line] == [True]


class StopAfter(AfterSteps):
    """Asks for the end of the process, as SIGTERM does, after some steps."""

    def act(self) -> None:
        signal.raise_signal(signal.SIGTERM)


EVENLY: dict[str, Any] = {"balance__sampling": "oversample", "train__metrics": ["accuracy", "auc"]}
EXACT = ("loss", "objective", "accuracy", "auc", "val_auc", "images", "distinct", "faults")


@pytest.fixture(scope="module")
def evenly(insects: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two epochs of 60 images: 20 of each class, some of them several times."""
    return train(insects, tmp_path_factory.mktemp("runs") / "evenly", **EVENLY)


def test_oversampling_sees_more_images_than_there_are_different_ones(evenly: Run) -> None:
    found = evenly.history.table.select("images", "distinct").rows()
    assert found == [(60, 35), (60, 35)]


def test_undersampling_sees_each_of_its_images_once(insects: Path, tmp_path: Path) -> None:
    run = train(insects, tmp_path / "run", train__epochs=1, balance__sampling="undersample")
    assert run.history.table.select("images", "distinct").row(0) == (15, 15)


def test_an_oversampled_epoch_stopped_in_its_middle_counts_as_if_it_had_not(
    evenly: Run, insects: Path, tmp_path: Path
) -> None:
    run = train(insects, tmp_path / "run", callbacks=[StopAfter(11)], **EVENLY)
    assert (run.state, len(run.history)) == ("interrupted", 1)
    kept, _ = load_checkpoint(run.path)
    assert kept is not None
    assert np.sum(kept.meta["standing"]["tally"]["ranks"]) == 3 * 3 * 8  # classes, steps, images
    resumed = sl.train(resume=run.path, only_train=True, progress=sl.Silent())
    for column in EXACT:
        assert resumed.history[column].to_list() == evenly.history[column].to_list()


def test_a_file_that_cannot_be_read_is_neither_seen_nor_distinct(tmp_path: Path) -> None:
    folder = write_three(tmp_path / "images", seed=70)  # not decoded for another test already
    broken = folder / "train" / "cat" / "002.png"
    about = broken.stat()

    def ruin(logs: object) -> None:
        broken.write_bytes(bytes(about.st_size))
        os.utime(broken, ns=(about.st_atime_ns, about.st_mtime_ns))

    callback = keras.callbacks.LambdaCallback(on_train_begin=ruin)
    run = train(folder, tmp_path / "run", callbacks=[callback], train__epochs=1, **EVENLY)
    # Its class has 5 images, so each comes 4 times.
    assert run.history.table.select("images", "distinct", "faults").row(0) == (56, 34, 1)


@pytest.mark.parametrize("sampling", ["all", "oversample", "undersample", "weighted"])
@pytest.mark.parametrize("shards", [1, 2])
def test_a_stream_knows_how_many_different_records_its_epochs_have(
    sampling: Any, shards: int, insects: Path
) -> None:
    config = StreamConfig(image_size=(12, 16), shuffle=True, sampling=sampling, seed=3)
    manifest = sl.scan(insects)
    for number in range(shards):
        with Stream(
            manifest, split="train", config=config, shard_index=number, num_shards=shards
        ) as stream:
            for epoch in range(2):
                given = {int(row) for batch in stream.epoch(epoch) for row in batch.rows}
                assert stream.distinct(epoch) == len(given)


@pytest.mark.parametrize("areas", [False, True])
def test_a_tally_comes_back_from_json_as_it_was(areas: bool) -> None:
    tally = Tally.empty(3, areas=areas)
    tally.confusion[1, 2], tally.entropy, tally.waiting = 7, 0.1 + 0.2, 1 / 3
    tally.ranks[..., 5] = 4
    again = Tally.from_dict(json.loads(json.dumps(tally.to_dict())))
    assert again.to_dict() == tally.to_dict()
    assert [again.ranks.shape, again.ranks.dtype] == [tally.ranks.shape, tally.ranks.dtype]


def test_the_next_epoch_counts_areas_again(evenly: Run) -> None:
    assert all(0 < value < 1 for value in evenly.history["auc"])


def test_no_epoch_is_begun_that_would_end_too_late(insects: Path, tmp_path: Path) -> None:
    run = train(insects, tmp_path / "run", train__epochs=5, stop__minutes=1e-6)
    assert (run.state, len(run.history), run.info["reason"]) == (
        "finished",
        1,
        "Stopped after 1 epoch: another would not end within 1e-06 minutes.",
    )


def test_with_more_time_a_training_goes_on(insects: Path, tmp_path: Path) -> None:
    run = train(insects, tmp_path / "run", train__epochs=2, stop__minutes=1e-6)
    longer = sl.train(
        resume=run.path, changes={"stop.minutes": 5}, only_train=True, progress=sl.Silent()
    )
    assert (len(longer.history), longer.info["reason"]) == (2, "All 2 epochs done.")


def test_enough_time_changes_nothing(insects: Path, tmp_path: Path) -> None:
    run = train(insects, tmp_path / "run", stop__minutes=30)
    assert run.info["reason"] == "All 2 epochs done."
