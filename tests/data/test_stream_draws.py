"""What sampling makes of batches: weights that count once, and changes of records that repeat."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_sets import (
    CHANGES,
    COUNT,
    MOVES,
    batch_bytes,
    config,
    manifest_below,
    path_of,
    read,
    row_bytes,
    rows_of,
    train_stream,
    write_pictures,
)

from sightline.data.stream import Stream
from sightline.records import Batch, Manifest, RecordIndex

WITH_REPEATS = ["weighted", "class-balanced", "oversample"]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Pictures of which few are of the second class, and each weighs something else."""
    root = write_pictures(tmp_path_factory.mktemp("pictures")).root
    labels = ["bee" if row % 6 == 0 else "ape" for row in range(COUNT)]
    return manifest_below(root, label=labels, weight=[0.5 + row % 4 for row in range(COUNT)])


# --- weights ---------------------------------------------------------------------------


def test_records_that_were_drawn_by_weight_all_weigh_one(manifest: Manifest) -> None:
    for batch in read(train_stream(manifest, sampling="weighted")):
        assert batch.weights.dtype == np.float32
        assert batch.weights.tolist() == [1.0] * len(batch)


@pytest.mark.parametrize("sampling", ["all", "class-balanced", "oversample", "undersample"])
def test_records_that_were_not_drawn_by_weight_keep_theirs(
    manifest: Manifest, sampling: str
) -> None:
    for batch in read(train_stream(manifest, sampling=sampling)):
        np.testing.assert_array_equal(batch.weights, 0.5 + batch.rows % 4)


@pytest.mark.parametrize("sampling", ["all", "weighted"])
def test_a_record_of_four_times_the_weight_counts_four_times(sampling: str) -> None:
    count, epochs = 20, 100
    heavy = np.arange(count) % 2 == 1
    index = RecordIndex.make(
        Path("/nowhere"),
        ["one"],
        np.zeros(count, np.uint8),
        np.arange(count + 1, dtype=np.uint32),
        np.zeros(count, np.int32),
        weights=np.where(heavy, 4, 1).astype(np.float32),
        pixels=np.zeros((count, 2, 2, 3), np.uint8),
    )
    how = config(image_size=(2, 2), batch_size=count, shuffle=True, sampling=sampling)
    told = np.zeros(count)
    with Stream(index, split=None, config=how) as stream:
        for epoch in range(epochs):
            for batch in stream.epoch(epoch):
                np.add.at(told, batch.rows, batch.weights)
    # Of 2,000 draws, 1,600 are heavy; with four deviations of 18, the quotient is 3.2..5.1.
    # Weighed twice, it would be 16.
    assert 3.2 < told[heavy].sum() / told[~heavy].sum() < 5.1


def test_a_damaged_file_that_is_drawn_by_weight_still_weighs_nothing(tmp_path: Path) -> None:
    made = write_pictures(tmp_path)
    weighted = manifest_below(made.root, weight=[9.0 if row == 7 else 1.0 for row in range(COUNT)])
    path_of(weighted, 7).write_bytes(b"")
    stream = train_stream(weighted, sampling="weighted", max_fault_share=1.0)
    batches = read(stream)
    assert rows_of(batches).count(7) > 1
    for batch in batches:
        assert batch.weights.tolist() == [float(row != 7) for row in batch.rows.tolist()]


# --- changes ---------------------------------------------------------------------------


def pictures_of(batches: list[Batch]) -> dict[int, list[bytes]]:
    """Return the pictures of each record, in the order they came."""
    found: dict[int, list[bytes]] = {}
    for batch in batches:
        for row, image in zip(batch.rows.tolist(), batch.images, strict=True):
            found.setdefault(row, []).append(image.tobytes())
    return found


def repeated(manifest: Manifest, epoch: int, **how: Any) -> dict[int, list[bytes]]:
    """Return the pictures of the records that come several times in an epoch."""
    found = pictures_of(read(train_stream(manifest, **how), epoch))
    found = {row: pictures for row, pictures in found.items() if len(pictures) > 1}
    assert found
    return found


@pytest.mark.parametrize("sampling", WITH_REPEATS)
@pytest.mark.parametrize("epoch", [0, 3])
def test_each_time_a_record_comes_in_an_epoch_it_is_changed_anew(
    manifest: Manifest, sampling: str, epoch: int
) -> None:
    for pictures in repeated(manifest, epoch, sampling=sampling).values():
        assert len(set(pictures)) == len(pictures)


@pytest.mark.parametrize("sampling", WITH_REPEATS)
def test_without_changes_a_record_is_the_same_each_time(manifest: Manifest, sampling: str) -> None:
    for pictures in repeated(manifest, 0, sampling=sampling, augment=None).values():
        assert len(set(pictures)) == 1


@pytest.mark.parametrize("sampling", WITH_REPEATS)
def test_a_record_that_repeats_is_changed_in_the_same_ways_in_another_run(
    manifest: Manifest, sampling: str
) -> None:
    how = {"sampling": sampling, "augment": CHANGES}
    first = batch_bytes(read(train_stream(manifest, num_threads=0, **how), 2))
    assert batch_bytes(read(train_stream(manifest, num_threads=3, **how), 2)) == first


@pytest.mark.parametrize("sampling", WITH_REPEATS)
def test_a_record_that_repeats_is_changed_in_other_ways_in_another_epoch(
    manifest: Manifest, sampling: str
) -> None:
    with train_stream(manifest, sampling=sampling) as stream:
        batches = [batch for epoch in range(3) for batch in stream.epoch(epoch)]
    seen = [picture for pictures in pictures_of(batches).values() for picture in pictures]
    assert len(set(seen)) == len(seen)


@pytest.mark.parametrize("num_shards", [2, 3])
@pytest.mark.parametrize("sampling", WITH_REPEATS)
def test_shards_change_a_record_that_repeats_as_one_stream_does(
    manifest: Manifest, sampling: str, num_shards: int
) -> None:
    whole = read(train_stream(manifest, sampling=sampling, batch_size=100))[0]
    how = config(shuffle=True, augment=MOVES, sampling=sampling, batch_size=100)
    for number in range(num_shards):
        part = Stream(
            manifest, split="train", config=how, shard_index=number, num_shards=num_shards
        )
        (found,) = read(part)
        np.testing.assert_array_equal(found.rows, whole.rows[number::num_shards])
        np.testing.assert_array_equal(found.images, whole.images[number::num_shards])


@pytest.mark.parametrize("augment", [MOVES, CHANGES])
@pytest.mark.parametrize("epoch", [0, 1, 5])
def test_an_undersampled_record_is_changed_as_if_all_records_came(
    manifest: Manifest, epoch: int, augment: Any
) -> None:
    # It comes once at most, so its place in the epoch must not decide how it looks.
    whole = row_bytes(read(train_stream(manifest, augment=augment), epoch))
    few = read(train_stream(manifest, augment=augment, sampling="undersample"), epoch)
    found = row_bytes(few)
    assert 0 < len(found) == len(rows_of(few)) < len(whole)
    assert found == {row: whole[row] for row in found}
