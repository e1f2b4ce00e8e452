"""The one prediction loop: what probabilities depend on, and what they do not."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path

import keras
import numpy as np
import polars as pl
import pytest
from tiny import Trained, small_recipe, write_images

import sightline as sl
from sightline.data.sources import scan_files
from sightline.data.stream import Stream, StreamConfig
from sightline.learning import prediction
from sightline.learning.models import networks
from sightline.records import Manifest, Predictions
from sightline.runs import KeptWeights

RECIPE = small_recipe("auto")
CONFIG = StreamConfig.of(RECIPE, training=False)


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return networks.build(RECIPE, 2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """13 images of two classes."""
    return write_images(tmp_path_factory.mktemp("folder"), {"cat": 7, "dog": 6})


def predict(model: keras.Model, manifest: Manifest, config: StreamConfig = CONFIG) -> Predictions:
    with Stream(manifest, split=None, config=config) as stream:
        parts = prediction.predict(
            model,
            manifest,
            stream,
            class_names=("cat", "dog"),
            kept=KeptWeights("last", {}, 6, "of the model"),
        )
        return Predictions.together(list(parts))


@pytest.mark.parametrize("batch_size", [1, 3, 13, 64])
def test_probabilities_do_not_depend_on_the_batch_size(
    model: keras.Model, folder: Path, batch_size: int
) -> None:
    manifest = sl.scan(folder)
    config = dataclasses.replace(CONFIG, batch_size=batch_size)
    np.testing.assert_allclose(
        predict(model, manifest, config).probabilities,
        predict(model, manifest).probabilities,
        atol=1e-5,
    )


def test_probabilities_do_not_depend_on_the_order(model: keras.Model, folder: Path) -> None:
    manifest = sl.scan(folder)
    in_order = predict(model, manifest)
    shuffled = predict(model, manifest, dataclasses.replace(CONFIG, shuffle=True, seed=3))
    assert shuffled.table["record_id"].to_list() != in_order.table["record_id"].to_list()
    places = shuffled.table["record_id"].arg_sort().to_numpy()
    np.testing.assert_allclose(shuffled.probabilities[places], in_order.probabilities, atol=1e-5)


def test_probabilities_do_not_depend_on_labels(model: keras.Model, folder: Path) -> None:
    labelled, unlabelled = predict(model, sl.scan(folder)), predict(model, scan_files([folder]))
    np.testing.assert_allclose(unlabelled.probabilities, labelled.probabilities, atol=1e-5)


def test_probabilities_do_not_depend_on_the_number_of_threads(
    model: keras.Model, folder: Path
) -> None:
    alone, three = (
        predict(model, sl.scan(folder), dataclasses.replace(CONFIG, num_threads=number))
        for number in (0, 3)
    )
    assert np.array_equal(alone.probabilities, three.probabilities)


def test_the_order_of_paths_changes_nothing(spoiled: Trained) -> None:
    paths = sorted((spoiled.folder / "val").rglob("*.png"))
    mixed = random.Random(0).sample(paths, len(paths))
    first, second = (
        sl.predict(spoiled.run, given, progress=sl.Silent()) for given in (paths, mixed)
    )
    assert first.content_hash() == second.content_hash()


def test_labels_and_groups_come_from_the_manifest(model: keras.Model, folder: Path) -> None:
    manifest = sl.scan(folder, group_regex="([0-9])[.]png")
    table = predict(model, manifest).table
    assert table.select("record_id", "label", "group").equals(
        manifest.table.select("record_id", "label", "group")
    )


def test_images_without_labels_have_none(model: keras.Model, folder: Path) -> None:
    assert predict(model, scan_files([folder])).table["label"].null_count() == 13


def test_predictions_carry_the_identity_of_the_model(model: keras.Model, folder: Path) -> None:
    found = predict(model, sl.scan(folder))
    assert (found.model_fingerprint, found.weights, found.epoch) == ("of the model", "last", 6)


def test_an_unreadable_image_has_its_row_with_the_reason(
    model: keras.Model, tmp_path: Path
) -> None:
    folder = write_images(tmp_path, {"cat": 3, "dog": 3})
    (folder / "cat" / "001.png").write_bytes(b"")
    found = predict(model, sl.scan(folder))
    assert found.table.filter(pl.col("reason").is_not_null()).rows() == [
        ("cat/001.png", "cat", None, "EMPTY")
    ]


def test_an_unreadable_image_has_no_probabilities(model: keras.Model, tmp_path: Path) -> None:
    folder = write_images(tmp_path, {"cat": 3, "dog": 3})
    (folder / "cat" / "001.png").write_bytes(b"")
    missing = np.isnan(predict(model, sl.scan(folder)).probabilities)
    assert missing.tolist() == [[row == 1] * 2 for row in range(6)]


def test_an_unreadable_image_changes_no_other(model: keras.Model, tmp_path: Path) -> None:
    folder = write_images(tmp_path, {"cat": 3, "dog": 3})
    before = predict(model, sl.scan(folder)).probabilities
    (folder / "cat" / "001.png").write_bytes(b"")
    after = predict(model, sl.scan(folder)).probabilities
    kept = [0, 2, 3, 4, 5]
    np.testing.assert_allclose(after[kept], before[kept], atol=1e-6)


def test_each_batch_is_reported_with_its_records(model: keras.Model, folder: Path) -> None:
    manifest, told = sl.scan(folder), []
    with Stream(manifest, split=None, config=CONFIG) as stream:
        for _ in prediction.predict(
            model,
            manifest,
            stream,
            class_names=("cat", "dog"),
            kept=KeptWeights("best", {}, 0, ""),
            on_batch=told.append,
        ):
            pass
    assert told == [8, 5]


def test_scored_batches_name_rows_and_class_indices(model: keras.Model, folder: Path) -> None:
    with Stream(sl.scan(folder), split=None, config=CONFIG) as stream:
        scored = list(prediction.score(model, stream))
    assert np.concatenate([part.rows for part in scored]).tolist() == list(range(13))
    assert np.concatenate([part.labels for part in scored]).tolist() == [0] * 7 + [1] * 6
