"""A stream through Keras' fit, evaluate and predict, on the backend that KERAS_BACKEND names."""

from __future__ import annotations

import gc
import importlib.util
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from feeding import (
    NUM_TRAIN,
    NUM_VALIDATION,
    STEP,
    Follower,
    StopAt,
    batches_of,
    flat,
    reading_model,
    rows_of,
    threads_of_streams,
    train_stream,
    validation_stream,
    write_records,
)

from sightline.data.stream import Stream
from sightline.learning.feeds import keras_dataset
from sightline.records import Manifest

BACKEND = keras.config.backend()
TRAIN_ROWS = list(range(NUM_TRAIN))
# TensorFlow brings an error of Python's code as its own, with the text of the first.
ERRORS: tuple[type[Exception], ...] = (ValueError,)
if BACKEND == "tensorflow":
    import tensorflow as tf

    ERRORS = (tf.errors.InvalidArgumentError,)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return write_records(tmp_path_factory.mktemp("records"))


@pytest.fixture
def stream(manifest: Manifest) -> Iterator[Stream]:
    with train_stream(manifest) as stream:
        yield stream


def fit(feed: keras.utils.PyDataset, *callbacks: keras.callbacks.Callback, **arguments: Any) -> Any:
    """Train a network of its own and return what was seen of the batches."""
    model, observer = reading_model()
    model.fit(feed, callbacks=[observer, *callbacks], verbose=0, **arguments)
    return observer


def test_every_record_comes_exactly_once_an_epoch(stream: Stream) -> None:
    seen = fit(keras_dataset(stream), epochs=3)
    assert seen.counts == [6, 6, 6]
    assert [flat(epoch) for epoch in seen.epochs] == [TRAIN_ROWS] * 3
    assert [[len(batch) for batch in epoch] for epoch in seen.epochs] == [[4, 4, 4, 4, 4, 3]] * 3


def test_epoch_n_of_fit_is_epoch_n_of_the_stream(stream: Stream, manifest: Manifest) -> None:
    seen = fit(keras_dataset(stream), epochs=3)
    assert seen.epochs == [rows_of(manifest, epoch) for epoch in range(3)]


def test_fit_without_shuffle_gives_the_same_order(stream: Stream, manifest: Manifest) -> None:
    seen = fit(keras_dataset(stream), epochs=2, shuffle=False)
    assert seen.epochs == [rows_of(manifest, epoch) for epoch in range(2)]


def test_the_first_epoch_can_be_chosen(stream: Stream, manifest: Manifest) -> None:
    seen = fit(keras_dataset(stream, first_epoch=5), epochs=2)
    assert seen.epochs == [rows_of(manifest, 5), rows_of(manifest, 6)]


def test_a_second_fit_goes_on_with_the_next_epoch(stream: Stream, manifest: Manifest) -> None:
    feed = keras_dataset(stream)
    fit(feed, epochs=2)
    seen = fit(feed, epochs=2)
    assert seen.epochs == [rows_of(manifest, 2), rows_of(manifest, 3)]
    assert feed.epoch == 4


def test_fewer_steps_than_batches_leave_out_the_rest_of_each_epoch(
    stream: Stream, manifest: Manifest
) -> None:
    seen = fit(keras_dataset(stream, steps_per_epoch=NUM_TRAIN // 4), epochs=4)
    assert seen.counts == [5, 5, 5, 5]
    assert seen.epochs == [rows_of(manifest, epoch)[:5] for epoch in range(4)]


@pytest.mark.parametrize("steps", [2, 6])
def test_steps_told_to_both_the_feed_and_fit_change_nothing(
    stream: Stream, manifest: Manifest, steps: int
) -> None:
    seen = fit(keras_dataset(stream, steps_per_epoch=steps), epochs=3, steps_per_epoch=steps)
    assert seen.epochs == [rows_of(manifest, epoch)[:steps] for epoch in range(3)]


def test_one_step_an_epoch_is_the_first_batch_of_each(stream: Stream, manifest: Manifest) -> None:
    seen = fit(keras_dataset(stream, steps_per_epoch=1), epochs=3)
    assert seen.epochs == [rows_of(manifest, epoch)[:1] for epoch in range(3)]


def test_more_steps_than_batches_go_on_through_the_next_epochs(manifest: Manifest) -> None:
    model, observer = reading_model()
    follower = Follower(observer.seen)
    with train_stream(manifest, batch_size=8) as stream:  # 3 batches
        feed = keras_dataset(stream, steps_per_epoch=4)
        model.fit(feed, epochs=2, callbacks=[follower], verbose=0)
    epochs = [rows_of(manifest, epoch, batch_size=8) for epoch in range(4)]
    assert follower.batches == [*epochs[0], epochs[1][0], *epochs[2], epochs[3][0]]
    assert feed.epoch == 4


def test_steps_told_to_fit_alone_are_warned_of_with_what_to_do(stream: Stream) -> None:
    feed = keras_dataset(stream)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert fit(feed, epochs=4, steps_per_epoch=5).counts == [5, 1, 5, 1]
    ours = [str(each.message) for each in told if "keras_dataset" in str(each.message)]
    assert len(ours) == 2
    assert "left of 6 batches" in ours[0]
    assert "keras_dataset(stream, steps_per_epoch=...)" in ours[0]


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_fewer_steps_of_validation_or_prediction_are_no_mistake(
    manifest: Manifest, steps: int
) -> None:
    model, _ = reading_model()
    with validation_stream(manifest) as held_out:
        feed = keras_dataset(held_out)
        for _ in range(3):  # warnings are errors here
            model.evaluate(feed, steps=steps, verbose=0)
            model.predict(feed, steps=steps, verbose=0)


def test_an_epoch_of_one_batch_is_counted_once(manifest: Manifest) -> None:
    with train_stream(manifest, batch_size=32) as stream:
        feed = keras_dataset(stream)
        seen = fit(feed, epochs=3)
    assert seen.counts == [1, 1, 1]
    assert [flat(epoch) for epoch in seen.epochs] == [TRAIN_ROWS] * 3
    assert feed.epoch == 3


@pytest.mark.skipif(BACKEND == "torch", reason="torch has no steps_per_execution")
def test_several_steps_an_execution_end_an_epoch_where_it_ends(
    stream: Stream, manifest: Manifest
) -> None:
    model, observer = reading_model(steps_per_execution=4)
    model.fit(keras_dataset(stream), epochs=3, callbacks=[observer], verbose=0)
    assert observer.epochs == [rows_of(manifest, epoch) for epoch in range(3)]


def test_validation_sees_its_whole_split_after_every_epoch(
    stream: Stream, manifest: Manifest
) -> None:
    with validation_stream(manifest) as held_out:
        seen = fit(keras_dataset(stream), epochs=3, validation_data=keras_dataset(held_out))
    assert seen.counts == [6, 6, 6]
    assert seen.validated == [3, 3, 3]
    assert seen.epochs == [rows_of(manifest, epoch) for epoch in range(3)]


def test_validation_steps_begin_at_the_first_record_each_time(
    stream: Stream, manifest: Manifest
) -> None:
    with validation_stream(manifest) as held_out:
        seen = fit(
            keras_dataset(stream),
            epochs=3,
            validation_data=keras_dataset(held_out),
            validation_steps=2,
        )
    assert (seen.counts, seen.validated) == ([6, 6, 6], [2, 2, 2])
    first = list(range(NUM_TRAIN, NUM_TRAIN + 8))
    assert flat(seen.seen.batches()) == first


def test_one_feed_may_train_and_validate(stream: Stream) -> None:
    feed = keras_dataset(stream, steps_per_epoch=5)
    seen = fit(feed, epochs=3, validation_data=feed)
    assert (seen.counts, seen.validated) == ([5, 5, 5], [5, 5, 5])


def test_evaluate_weighs_each_record_once(manifest: Manifest) -> None:
    model, _ = reading_model()
    with validation_stream(manifest) as held_out:
        told = model.evaluate(keras_dataset(held_out), verbose=0, return_dict=True)
        targets = np.concatenate([batch.targets for batch in held_out.epoch(0)])
    outputs = STEP * np.arange(NUM_TRAIN, NUM_TRAIN + NUM_VALIDATION) / 255
    assert told["seen"] == 3
    assert told["loss"] == pytest.approx(np.mean((outputs - targets) ** 2), rel=1e-5)


@pytest.mark.parametrize("steps", [None, 2])
def test_predict_keeps_the_order_of_the_records(manifest: Manifest, steps: int | None) -> None:
    model, _ = reading_model()
    with validation_stream(manifest) as held_out:
        feed = keras_dataset(held_out, images_only=True)
        once, again = (model.predict(feed, verbose=0, steps=steps) for _ in range(2))
    rows = np.rint(once[:, 0] * 255 / STEP).astype(int).tolist()
    count = NUM_VALIDATION if steps is None else 4 * steps
    assert rows == list(range(NUM_TRAIN, NUM_TRAIN + count))
    np.testing.assert_array_equal(once, again)


def test_a_batch_is_the_bytes_of_the_stream_in_whatever_order_it_is_asked_for(
    stream: Stream, manifest: Manifest
) -> None:
    feed, expected = keras_dataset(stream), batches_of(manifest, 0)
    for number in (0, 1, 4, 2, 3, 3, 5, 0):
        images, targets, weights = feed[number]
        np.testing.assert_array_equal(images, expected[number].images)
        np.testing.assert_array_equal(targets, expected[number].targets)
        np.testing.assert_array_equal(weights, expected[number].weights)


def test_a_number_asked_for_twice_in_an_epoch_gets_its_batch_again(
    stream: Stream, manifest: Manifest
) -> None:
    feed = keras_dataset(stream)
    feed.on_epoch_begin()
    images = [feed[number][0].copy() for number in (3, 0, 3, 5, 0)]
    for found, place in zip(images, (0, 1, 0, 2, 1), strict=True):
        np.testing.assert_array_equal(found, batches_of(manifest, 0)[place].images)


def test_each_epoch_has_random_changes_of_its_own(stream: Stream, manifest: Manifest) -> None:
    feed = keras_dataset(stream)
    for epoch in range(2):
        feed.on_epoch_begin()
        for (images, _, _), batch in zip(feed, batches_of(manifest, epoch), strict=True):
            np.testing.assert_array_equal(images, batch.images)
        feed.on_epoch_end()


def test_batches_that_are_kept_are_not_written_over(stream: Stream, manifest: Manifest) -> None:
    kept = list(keras_dataset(stream))
    for (images, _, _), batch in zip(kept, batches_of(manifest, 0), strict=True):
        np.testing.assert_array_equal(images, batch.images)


def test_a_resumed_stream_still_gives_whole_epochs(stream: Stream, manifest: Manifest) -> None:
    stream.resume({"epoch": 0, "batch": 4})
    seen = fit(keras_dataset(stream), epochs=2)
    assert seen.epochs == [rows_of(manifest, 0), rows_of(manifest, 1)]


def test_after_an_epoch_stopped_in_its_middle_the_next_one_comes(
    stream: Stream, manifest: Manifest
) -> None:
    feed = keras_dataset(stream)
    fit(feed, StopAt(batch=1), epochs=3)
    assert feed.epoch == 1
    seen = fit(feed, epochs=2)
    assert seen.epochs == [rows_of(manifest, 1), rows_of(manifest, 2)]


def test_no_thread_is_left_when_fit_ends(stream: Stream, manifest: Manifest) -> None:
    with validation_stream(manifest) as held_out:
        fit(keras_dataset(stream), epochs=2, validation_data=keras_dataset(held_out))
        assert not threads_of_streams()


def test_no_thread_is_left_when_fit_is_stopped_and_the_feed_closed(stream: Stream) -> None:
    with keras_dataset(stream) as feed:
        fit(feed, StopAt(batch=1), epochs=3)
    assert not threads_of_streams()


def test_no_thread_is_left_when_an_error_of_fit_was_handled(stream: Stream) -> None:
    with keras_dataset(stream) as feed, pytest.raises(RuntimeError, match="out of patience"):
        fit(feed, StopAt(batch=1, error="out of patience"), epochs=3)
    assert not threads_of_streams()


def test_the_end_of_a_call_does_not_disturb_another_use_of_the_stream(stream: Stream) -> None:
    feed = keras_dataset(stream)
    fit(feed, epochs=1)
    batches = stream.epoch(1)
    next(batches)
    gc.collect()
    time.sleep(0.2)  # for what frees the call's leavings
    feed.close()
    assert len(list(batches)) == 5


def test_no_thread_is_left_after_a_with_block(stream: Stream) -> None:
    with keras_dataset(stream) as feed:
        feed[0]
    assert not threads_of_streams()


@pytest.mark.skipif(BACKEND == "tensorflow", reason="TensorFlow may have asked on already")
def test_closing_a_feed_within_an_epoch_is_an_error(stream: Stream) -> None:
    feed = keras_dataset(stream)
    close = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: feed.close())
    with pytest.raises(RuntimeError, match="after its epoch was left"):
        fit(feed, close)


@pytest.mark.parametrize("places", [(0, 1), (21, 22)], ids=["first batch", "last batch"])
def test_files_that_cannot_be_read_reach_the_caller_by_their_path(
    tmp_path: Path, places: tuple[int, int]
) -> None:
    manifest = write_records(tmp_path)
    with train_stream(manifest) as stream:
        order = np.concatenate([batch.rows for batch in stream.epoch(0)])
        lost = [tmp_path / f"{order[place]:02d}.png" for place in places]
        for path in lost:
            path.unlink()
        feed = keras_dataset(stream)
        with pytest.raises((ValueError, *ERRORS), match=str(lost[0])):
            fit(feed, epochs=2)
        assert not threads_of_streams()


def test_the_error_of_predict_names_the_file(tmp_path: Path) -> None:
    manifest = write_records(tmp_path)
    for row in (NUM_TRAIN + 7, NUM_TRAIN + 8):
        (tmp_path / f"{row:02d}.png").unlink()
    model, _ = reading_model()
    with validation_stream(manifest) as held_out:
        feed = keras_dataset(held_out, images_only=True)
        with pytest.raises(ERRORS, match=str(tmp_path / f"{NUM_TRAIN + 7:02d}.png")):
            model.predict(feed, verbose=0)


def test_class_weights_beside_the_records_weights_are_refused(stream: Stream) -> None:
    with pytest.raises(ValueError, match="`class_weight` and `sample_weight` at the same time"):
        fit(keras_dataset(stream), class_weight={0: 1.0, 1: 2.0})


def test_workers_of_keras_are_refused(stream: Stream) -> None:
    feed = keras_dataset(stream)
    with pytest.raises(ValueError, match=r"workers .* must be 1, got 4: .*num_threads"):
        feed.workers = 4
    with pytest.raises(ValueError, match=r"use_multiprocessing .* must be False, got True"):
        feed.use_multiprocessing = True
    feed.workers, feed.use_multiprocessing = 1, False


@pytest.mark.parametrize("index", [-1, 6])
def test_a_batch_that_does_not_exist_is_refused(stream: Stream, index: int) -> None:
    with pytest.raises(IndexError, match=rf"batch {index} is not one of 0\.\.5"):
        keras_dataset(stream)[index]


def test_a_negative_first_epoch_is_refused(stream: Stream) -> None:
    with pytest.raises(ValueError, match="epochs count from 0, got -1"):
        keras_dataset(stream, first_epoch=-1)


def test_steps_below_one_are_refused(stream: Stream) -> None:
    with pytest.raises(ValueError, match="steps_per_epoch must be at least 1, got 0"):
        keras_dataset(stream, steps_per_epoch=0)


@pytest.mark.parametrize("backend", sorted({"tensorflow", "jax", "torch"} - {BACKEND}))
def test_every_other_backend_keeps_the_same_promises(backend: str) -> None:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", __file__, "-k", "not every_other_backend"],
        env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout


def test_importing_the_feeds_loads_no_framework() -> None:
    program = (
        "import sys, sightline, sightline.learning.feeds\n"
        "print([name for name in ('keras', 'tensorflow', 'jax', 'torch') if name in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ended.stdout.strip() == "[]", ended.stderr
