"""What came before and what comes after resuming is the whole, wherever a stream was stopped."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_sets import (
    CHANGES,
    COUNT,
    batch_bytes,
    config,
    manifest_below,
    path_of,
    read,
    scanned,
    train_stream,
    write_pictures,
)

from sightline.data.stream import Stream
from sightline.data.stream.cache import list_caches
from sightline.records import Manifest

EPOCHS = 2
SAMPLINGS = ["all", "weighted", "class-balanced", "oversample", "undersample"]

MakeStream = Callable[[], Stream]
Bytes = list[tuple[bytes, ...]]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Every record has a weight of its own."""
    made = write_pictures(tmp_path_factory.mktemp("pictures"))
    return scanned(made, weight=[0.5 + row % 4 for row in range(COUNT)])


def all_batches(make: MakeStream) -> Bytes:
    """Return every batch of the epochs, read without a stop."""
    with make() as stream:
        return [part for epoch in range(EPOCHS) for part in batch_bytes(stream.epoch(epoch))]


def with_a_stop(make: MakeStream, taken: int) -> Bytes:
    """Return the same, read in two lives: the second goes on after `taken` batches."""
    before: Bytes = []
    with make() as first:
        while len(before) < taken:
            for batch in first.epoch(first.state()["epoch"]):
                before += batch_bytes([batch])
                if len(before) == taken:
                    break
        saved = json.dumps(first.state())
    with make() as second:
        second.resume(json.loads(saved))
        after: Bytes = []
        for epoch in range(second.state()["epoch"], EPOCHS):
            after += batch_bytes(second.epoch(epoch))
    return before + after


def check_every_batch(make: MakeStream) -> None:
    whole = all_batches(make)
    for taken in range(len(whole) + 1):
        assert with_a_stop(make, taken) == whole, f"stopped after {taken} of {len(whole)} batches"


# --- from every batch ------------------------------------------------------------------


@pytest.mark.parametrize("num_threads", [0, 3])
@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_a_stream_goes_on_after_any_batch(
    manifest: Manifest, sampling: str, num_threads: int
) -> None:
    how = {"sampling": sampling, "num_threads": num_threads, "augment": CHANGES}
    check_every_batch(lambda: train_stream(manifest, **how))


def test_a_stream_in_the_order_of_the_manifest_goes_on_after_any_batch(
    manifest: Manifest,
) -> None:
    check_every_batch(lambda: train_stream(manifest, shuffle=False))


@pytest.mark.parametrize("sampling", ["all", "oversample"])
@pytest.mark.parametrize("shard_index", [0, 1, 2])
def test_a_shard_goes_on_after_any_batch(
    manifest: Manifest, shard_index: int, sampling: str
) -> None:
    how = config(shuffle=True, augment=CHANGES, batch_size=3, sampling=sampling)
    check_every_batch(
        lambda: Stream(manifest, split="train", config=how, shard_index=shard_index, num_shards=3)
    )


@pytest.mark.parametrize("num_threads", [0, 2])
def test_a_stream_goes_on_after_any_batch_with_a_cache_in_use(
    manifest: Manifest, num_threads: int, tmp_path: Path
) -> None:
    whole = all_batches(lambda: train_stream(manifest))
    half_filled = 0
    for taken in range(len(whole) + 1):
        cache = tmp_path / str(taken)
        how = {"cache": cache, "num_threads": num_threads, "prefetch": 1}
        with train_stream(manifest, **how) as stream:
            batches = stream.epoch(0)
            for _ in range(min(taken, len(stream))):
                next(batches)
        (listed,) = list_caches(cache)
        half_filled += 0 < (listed.num_filled or 0) < len(stream) * stream.config.batch_size - 1
        assert with_a_stop(lambda how=how: train_stream(manifest, **how), taken) == whole
    assert half_filled >= 4


def test_a_stream_goes_on_where_the_first_life_had_no_cache(
    manifest: Manifest, tmp_path: Path
) -> None:
    whole = all_batches(lambda: train_stream(manifest))
    with train_stream(manifest) as first:
        batches = first.epoch(0)
        before = batch_bytes(next(batches) for _ in range(3))
        saved = first.state()
    with train_stream(manifest, cache=tmp_path) as second:
        second.resume(saved)
        after = batch_bytes([*second.epoch(0), *second.epoch(1)])
    assert before + after == whole


@settings(deadline=None, max_examples=60)
@given(
    batch_size=st.integers(1, 30),
    threads=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    prefetch=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    taken=st.integers(1, 23),
    epoch=st.integers(0, 3),
)
def test_the_second_life_may_have_other_threads_and_read_further_ahead(
    manifest: Manifest,
    batch_size: int,
    threads: tuple[int, int],
    prefetch: tuple[int, int],
    taken: int,
    epoch: int,
) -> None:
    first, second = (
        train_stream(manifest, batch_size=batch_size, num_threads=number, prefetch=ahead)
        for number, ahead in zip(threads, prefetch, strict=True)
    )
    whole = batch_bytes(read(train_stream(manifest, batch_size=batch_size), epoch))
    with first, second:
        batches = first.epoch(epoch)
        before = batch_bytes(next(batches) for _ in range(min(taken, len(whole))))
        second.resume(first.state())
        after = batch_bytes(second.epoch(epoch))
    assert before + after == whole


def test_what_was_taken_before_is_not_read_again(manifest: Manifest, tmp_path: Path) -> None:
    own = manifest_below(Path(shutil.copytree(manifest.root, tmp_path / "own")))
    with train_stream(own) as stream:
        batches = stream.epoch(0)
        taken = [row for _ in range(3) for row in next(batches).rows.tolist()]
        saved = stream.state()
    for row in taken:
        path_of(own, row).unlink()
    with train_stream(own) as resumed:
        resumed.resume(saved)
        list(resumed.epoch(0))
        assert not resumed.faults


# --- state and position ----------------------------------------------------------------


def position(stream: Stream) -> dict[str, int]:
    return {name: stream.state()[name] for name in ("epoch", "batch")}


def test_the_state_counts_what_was_handed_out_not_what_was_read_ahead(manifest: Manifest) -> None:
    with train_stream(manifest, prefetch=4) as stream:
        batches = stream.epoch(3)
        next(batches)
        next(batches)
        assert position(stream) == {"epoch": 3, "batch": 2}


def test_a_new_stream_is_at_the_beginning(manifest: Manifest) -> None:
    assert position(train_stream(manifest)) == {"epoch": 0, "batch": 0}


def test_after_an_epoch_the_state_is_the_next_ones_beginning(manifest: Manifest) -> None:
    stream = train_stream(manifest)
    read(stream, 3)
    assert position(stream) == {"epoch": 4, "batch": 0}


def test_a_resumed_stream_is_where_it_was_saved(manifest: Manifest) -> None:
    stream = train_stream(manifest)
    stream.resume({"epoch": 2, "batch": 5})
    assert position(stream) == {"epoch": 2, "batch": 5}


def test_resuming_after_the_last_batch_ends_the_epoch_at_once(manifest: Manifest) -> None:
    with train_stream(manifest) as stream:
        stream.resume({"epoch": 2, "batch": 6})
        assert list(stream.epoch(2)) == []
        assert position(stream) == {"epoch": 3, "batch": 0}


def test_a_position_to_resume_at_counts_once(manifest: Manifest) -> None:
    with train_stream(manifest) as stream:
        stream.resume({"epoch": 0, "batch": 4})
        lengths = [len(list(stream.epoch(0))) for _ in range(2)]
    assert lengths == [2, 6]


def test_a_position_of_another_epoch_is_not_resumed_at(manifest: Manifest) -> None:
    with train_stream(manifest) as stream:
        stream.resume({"epoch": 0, "batch": 4})
        assert len(list(stream.epoch(1))) == 6


@pytest.mark.parametrize(
    "state",
    [{"epoch": 0, "batch": 7}, {"epoch": 0, "batch": -1}, {"epoch": -1, "batch": 0}, {"epoch": 0}],
)
def test_a_position_that_does_not_exist_is_refused(
    manifest: Manifest, state: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=r"position .* epoch of 6 batches.*another batch size"):
        train_stream(manifest).resume(state)


def test_an_epoch_below_zero_is_refused(manifest: Manifest) -> None:
    with pytest.raises(ValueError, match="epochs count from 0, got -1"):
        next(train_stream(manifest).epoch(-1))
