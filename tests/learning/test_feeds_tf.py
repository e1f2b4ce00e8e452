"""A stream as a tf.data dataset."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from feeding import (
    NUM_TRAIN,
    SIZE,
    STEP,
    batches_of,
    flat,
    threads_of_streams,
    train_stream,
    write_records,
)

from sightline.data.stream import Stream
from sightline.learning.feeds import tf_dataset
from sightline.records import Manifest

tf = pytest.importorskip("tensorflow", reason="TensorFlow is not installed")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return write_records(tmp_path_factory.mktemp("records"))


@pytest.fixture
def stream(manifest: Manifest) -> Iterator[Stream]:
    with train_stream(manifest) as stream:
        yield stream


def specs(dataset: Any) -> list[tuple[list[int | None], str]]:
    found = dataset.element_spec
    return [
        (spec.shape.as_list(), spec.dtype.name)
        for spec in (found if isinstance(found, tuple) else (found,))
    ]


def test_the_signature_of_two_classes_is_static(stream: Stream) -> None:
    dataset = tf_dataset(stream)
    assert specs(dataset) == [
        ([None, *SIZE, 3], "float32"),
        ([None], "float32"),
        ([None], "float32"),
    ]
    assert dataset.cardinality() == len(stream) == 6


def test_the_signature_of_more_classes_has_one_target_a_class(tmp_path: Path) -> None:
    manifest = write_records(tmp_path, labels=("ape", "bee", "cow"))
    with train_stream(manifest, dtype="uint8", layout="channels-first", channels=1) as stream:
        dataset = tf_dataset(stream)
        assert specs(dataset) == [
            ([None, 1, *SIZE], "uint8"),
            ([None, 3], "float32"),
            ([None], "float32"),
        ]
        assert len(list(dataset)) == 6


def test_every_iteration_is_the_streams_next_epoch(stream: Stream, manifest: Manifest) -> None:
    dataset = tf_dataset(stream, first_epoch=1)
    for epoch in range(1, 4):
        given = list(dataset)  # kept: nothing may be written over
        for (images, targets, weights), batch in zip(
            given, batches_of(manifest, epoch), strict=True
        ):
            np.testing.assert_array_equal(images.numpy(), batch.images)
            np.testing.assert_array_equal(targets.numpy(), batch.targets)
            np.testing.assert_array_equal(weights.numpy(), batch.weights)


def test_repeat_goes_on_with_the_next_epoch(stream: Stream) -> None:
    dataset = tf_dataset(stream, images_only=True).repeat(3).prefetch(2)
    reds = [np.rint(images.numpy()[:, 0, 0, 0] * 255 / STEP).astype(int) for images in dataset]
    epochs = [flat(reds[begin : begin + 6]) for begin in (0, 6, 12)]
    assert epochs == [list(range(NUM_TRAIN))] * 3
    assert len(reds) == 18


def test_images_may_come_alone(stream: Stream, manifest: Manifest) -> None:
    dataset = tf_dataset(stream, images_only=True)
    assert specs(dataset) == [([None, *SIZE, 3], "float32")]
    for images, batch in zip(dataset, batches_of(manifest, 0), strict=True):
        np.testing.assert_array_equal(images.numpy(), batch.images)


def test_a_resumed_stream_still_gives_whole_epochs(stream: Stream) -> None:
    stream.resume({"epoch": 0, "batch": 4})
    assert len(list(tf_dataset(stream))) == 6


def test_no_thread_is_left_when_an_epoch_ends(stream: Stream) -> None:
    for _ in tf_dataset(stream).prefetch(2):
        pass
    assert not threads_of_streams()


def test_no_thread_is_left_when_an_iteration_is_broken_off(stream: Stream) -> None:
    dataset = tf_dataset(stream)
    for _ in dataset:
        break
    assert not threads_of_streams()


def test_files_that_cannot_be_read_reach_the_caller_by_their_path(tmp_path: Path) -> None:
    manifest = write_records(tmp_path)
    for row in (3, 4):
        (tmp_path / f"{row:02d}.png").unlink()
    with train_stream(manifest) as stream:
        dataset = tf_dataset(stream).prefetch(2)
        with pytest.raises(tf.errors.InvalidArgumentError, match=str(tmp_path / "03.png")):
            list(dataset)
        assert not threads_of_streams()


def test_a_negative_epoch_is_refused(stream: Stream) -> None:
    with pytest.raises(ValueError, match="epochs count from 0, got -1"):
        tf_dataset(stream, first_epoch=-1)
