from __future__ import annotations

import errno
import os
import shutil
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_sets import (
    CHANGES,
    LABELS,
    MOVES,
    NUM_TRAIN,
    NUM_VALIDATION,
    SIZE,
    batch_bytes,
    config,
    digest,
    manifest_below,
    read,
    row_bytes,
    rows_of,
    scanned,
    train_stream,
    two_epochs,
    write_pictures,
)

from sightline.data import images
from sightline.data.stream import Stream, epoch_order
from sightline.data.stream.cache import CacheWarning
from sightline.errors import DataError
from sightline.recipes import AugmentSection
from sightline.records import Manifest, RecordIndex


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return write_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture
def own_manifest(manifest: Manifest, tmp_path: Path) -> Manifest:
    """Return the same manifest over files that a test may damage."""
    return manifest_below(Path(shutil.copytree(manifest.root, tmp_path / "own")))


# --- the same bytes, however they are made ---------------------------------------------


def in_order(streams: list[Stream], epoch: int) -> list[tuple[Any, ...]]:
    """Return all that is known of each record of an epoch; of shards, in turns."""
    found: list[list[tuple[Any, ...]]] = []
    for stream in streams:
        parts = [(batch, row_bytes([batch])) for batch in read(stream, epoch)]
        found.append([(row, known[row]) for batch, known in parts for row in batch.rows.tolist()])
    return [turn for turns in zip_longest(*found) for turn in turns if turn is not None]


@settings(deadline=None, max_examples=50)
@given(
    batch_size=st.integers(1, 30),
    num_threads=st.integers(0, 4),
    prefetch=st.integers(1, 5),
    num_shards=st.integers(1, 4),
    settings_of_pixels=st.fixed_dictionaries(
        {
            "seed": st.integers(0, 2**32 - 1),
            "dtype": st.sampled_from(["float32", "uint8"]),
            "quality": st.sampled_from(["fast", "best", "compat"]),
            "sampling": st.sampled_from(["all", "undersample"]),
            "augment": st.sampled_from([None, MOVES, CHANGES]),
        }
    ),
    epoch=st.integers(0, 9),
)
def test_a_record_has_the_same_bytes_in_any_batch_thread_and_shard(
    manifest: Manifest,
    batch_size: int,
    num_threads: int,
    prefetch: int,
    num_shards: int,
    settings_of_pixels: dict[str, Any],
    epoch: int,
) -> None:
    expected = in_order([train_stream(manifest, num_threads=0, **settings_of_pixels)], epoch)
    how = config(
        shuffle=True,
        batch_size=batch_size,
        num_threads=num_threads,
        prefetch=prefetch,
        **settings_of_pixels,
    )
    shards = [
        Stream(manifest, split="train", config=how, shard_index=number, num_shards=num_shards)
        for number in range(num_shards)
    ]
    assert in_order(shards, epoch) == expected


@pytest.mark.parametrize("sampling", ["weighted", "class-balanced", "oversample"])
@pytest.mark.parametrize(("batch_size", "num_threads"), [(1, 2), (5, 0), (30, 3)])
def test_a_record_that_comes_again_has_the_same_bytes_in_any_batch(
    manifest: Manifest, sampling: str, batch_size: int, num_threads: int
) -> None:
    def images_of(**how: Any) -> list[bytes]:
        batches = read(train_stream(manifest, sampling=sampling, **how), 1)
        return [image.tobytes() for batch in batches for image in batch.images]

    whole = images_of(num_threads=0, batch_size=7)
    assert images_of(batch_size=batch_size, num_threads=num_threads) == whole


def test_a_record_that_comes_again_is_changed_anew(manifest: Manifest) -> None:
    (batch,) = read(train_stream(manifest, sampling="weighted", batch_size=30))
    images_of: dict[int, list[bytes]] = {}
    for row, image in zip(batch.rows.tolist(), batch.images, strict=True):
        images_of.setdefault(row, []).append(image.tobytes())
    assert len(images_of) < NUM_TRAIN
    assert all(len(set(found)) == len(found) for found in images_of.values())


def index_of(count: int) -> RecordIndex:
    """Return records of which each is a picture of its own number."""
    ids = [f"{row:03d}".encode() for row in range(count)]
    pixels = np.repeat(np.arange(count, dtype=np.uint8), 12).reshape(count, 2, 2, 3)
    return RecordIndex.make(
        Path("/nowhere"),
        ["one"],
        np.frombuffer(b"".join(ids), np.uint8),
        np.arange(0, 3 * count + 1, 3, dtype=np.uint32),
        np.zeros(count, np.int32),
        pixels=pixels,
    )


@settings(deadline=None, max_examples=150)
@given(
    count=st.integers(1, 120),
    batch_size=st.integers(1, 130),
    num_shards=st.integers(1, 5),
    num_threads=st.integers(0, 4),
    prefetch=st.integers(1, 6),
    shuffle=st.booleans(),
    epoch=st.integers(0, 3),
)
def test_an_epoch_has_each_record_once_with_its_own_pixels(
    count: int,
    batch_size: int,
    num_shards: int,
    num_threads: int,
    prefetch: int,
    shuffle: bool,
    epoch: int,
) -> None:
    how = config(
        image_size=(2, 2),
        batch_size=batch_size,
        num_threads=num_threads,
        prefetch=prefetch,
        shuffle=shuffle,
        dtype="uint8",
    )
    seen: list[int] = []
    for shard_index in range(min(num_shards, count)):
        stream = Stream(
            index_of(count),
            split=None,
            config=how,
            shard_index=shard_index,
            num_shards=min(num_shards, count),
        )
        batches = read(stream, epoch)
        assert len(batches) == len(stream)
        assert all((batch.rows == batch.images.T).all() for batch in batches)
        seen += rows_of(batches)
    assert sorted(seen) == list(range(count))


# --- the same bytes, whatever is kept --------------------------------------------------


def fill_partly(manifest: Manifest, cache: Path) -> None:
    with train_stream(manifest, cache=cache) as stream:
        batches = stream.epoch(0)
        for _ in range(3):
            next(batches)


@pytest.mark.parametrize("num_threads", [0, 1, 2, 4])
@pytest.mark.parametrize("kept", ["no cache", "cold", "half", "warm"])
def test_two_epochs_have_the_same_bytes_with_any_threads_and_cache(
    manifest: Manifest, kept: str, num_threads: int, tmp_path: Path
) -> None:
    known, cache = scanned(manifest), tmp_path / "kept"
    if kept == "half":
        fill_partly(known, cache)
    elif kept == "warm":
        two_epochs(train_stream(known, augment=CHANGES, cache=cache))
    how = {"num_threads": num_threads, "cache": None if kept == "no cache" else cache}
    expected = two_epochs(train_stream(manifest, num_threads=0, augment=CHANGES))
    assert two_epochs(train_stream(known, augment=CHANGES, **how)) == expected


@pytest.mark.parametrize("num_threads", [0, 3])
@pytest.mark.parametrize("writes", [0, 1, 8, 9])
def test_a_full_disk_changes_no_byte_and_is_said_once(
    manifest: Manifest,
    writes: int,
    num_threads: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    room, write = [writes], os.pwrite

    def pwrite(descriptor: int, content: Any, begin: int) -> int:
        room[0] -= 1
        if room[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, content, begin)

    expected = two_epochs(train_stream(manifest, num_threads=0))
    monkeypatch.setattr(os, "pwrite", pwrite)
    how = {"num_threads": num_threads, "cache": tmp_path / "kept"}
    with pytest.warns(CacheWarning, match="No space left on device") as caught:
        assert two_epochs(train_stream(scanned(manifest), **how)) == expected
    assert len(caught) == 1


def test_images_are_decoded_once_where_they_are_kept(
    own_manifest: Manifest, tmp_path: Path
) -> None:
    known = scanned(own_manifest)
    first = read(train_stream(known, cache=tmp_path / "kept"))
    shutil.rmtree(own_manifest.root)
    again = read(train_stream(known, cache=tmp_path / "kept"))
    assert batch_bytes(again) == batch_bytes(first)


@pytest.mark.parametrize(
    "other",
    [{"quality": "best"}, {"channels": 1}, {"image_size": (8, 6)}, {"background": (0, 0, 0)}],
)
def test_what_is_kept_for_other_pixels_is_not_taken(
    manifest: Manifest, other: dict[str, Any], tmp_path: Path
) -> None:
    known, cache = scanned(manifest), tmp_path / "kept"
    read(train_stream(known, cache=cache))
    expected = digest(read(train_stream(manifest, **other)))
    assert digest(read(train_stream(known, cache=cache, **other))) == expected


def test_a_cache_of_images_whose_times_are_not_known_is_refused(
    manifest: Manifest, tmp_path: Path
) -> None:
    with pytest.raises(
        ValueError, match=r"a cache needs the sizes and times of the files.* Scan the"
    ):
        train_stream(manifest, cache=tmp_path / "kept")


# --- the same bytes, again and again ---------------------------------------------------


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 3), st.integers(1, 30))
def test_reading_an_epoch_again_gives_the_same_bytes(
    manifest: Manifest, epoch: int, batch_size: int
) -> None:
    with train_stream(manifest, batch_size=batch_size) as stream:
        first = batch_bytes(stream.epoch(epoch))
        list(stream.epoch(epoch + 1))
        assert batch_bytes(stream.epoch(epoch)) == first


def test_looking_at_one_batch_takes_nothing_from_the_epoch(manifest: Manifest) -> None:
    with train_stream(manifest) as stream:
        next(stream.epoch(0))
        assert len(list(stream.epoch(0))) == len(stream)


def test_two_streams_side_by_side_do_not_disturb_each_other(manifest: Manifest) -> None:
    alone = batch_bytes(read(train_stream(manifest)))
    with train_stream(manifest) as one, train_stream(manifest) as other:
        pairs = list(zip(one.epoch(0), other.epoch(0), strict=True))
    assert [batch_bytes(side) for side in zip(*pairs, strict=True)] == [alone, alone]


def test_another_epoch_has_other_pixels(manifest: Manifest) -> None:
    stream = Stream(manifest, split="train", config=config(augment=MOVES))
    first, second = (row_bytes(stream.epoch(epoch)) for epoch in (0, 1))
    stream.close()
    assert all(first[row][0] != second[row][0] for row in first)


def test_the_mapped_index_gives_the_same_bytes_as_the_manifest(
    manifest: Manifest, tmp_path: Path
) -> None:
    manifest.save(tmp_path / "m.parquet")
    mapped = RecordIndex.open(tmp_path / "m.parquet.npy")
    found = batch_bytes(read(train_stream(mapped)))
    assert found == batch_bytes(read(train_stream(manifest)))


# --- order -----------------------------------------------------------------------------


def test_a_shuffled_epoch_is_in_the_order_of_its_seed_and_number(manifest: Manifest) -> None:
    rows = manifest.index().rows_of("train")
    expected = epoch_order(rows, seed=9, epoch=2, shuffle=True).tolist()
    assert rows_of(read(train_stream(manifest, seed=9), 2)) == expected


@pytest.mark.parametrize("epoch", [0, 3])
def test_validation_comes_in_the_order_of_the_manifest(manifest: Manifest, epoch: int) -> None:
    batches = read(Stream(manifest, split="validation", config=config(seed=5)), epoch)
    assert rows_of(batches) == [4, 9, 14, 19, 24]


def test_no_split_means_every_row(manifest: Manifest) -> None:
    batches = read(Stream(manifest, split=None, config=config()))
    assert rows_of(batches) == list(range(NUM_TRAIN + NUM_VALIDATION))


def test_quarantined_records_are_not_streamed(manifest: Manifest) -> None:
    status = ["quarantined", None] + ["ok"] * (NUM_TRAIN + NUM_VALIDATION - 2)
    quarantined = manifest_below(manifest.root, status=status)
    rows = rows_of(read(Stream(quarantined, split="train", config=config())))
    assert rows[:2] == [1, 2]


# --- batches ---------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 4, 23, 24])
def test_len_is_the_number_of_batches(manifest: Manifest, batch_size: int) -> None:
    stream = train_stream(manifest, batch_size=batch_size)
    assert len(stream) == len(read(stream))


def test_the_last_batch_holds_what_is_left(manifest: Manifest) -> None:
    assert [len(batch) for batch in read(train_stream(manifest))] == [4, 4, 4, 4, 4, 3]


def test_a_shard_counts_its_own_records(manifest: Manifest) -> None:
    streams = [
        Stream(manifest, split="train", config=config(), shard_index=number, num_shards=3)
        for number in range(3)
    ]
    assert [stream.num_records for stream in streams] == [8, 8, 7]


def test_without_augmentation_an_image_is_decoded_and_resized_and_no_more(
    manifest: Manifest,
) -> None:
    stream = Stream(manifest, split="train", config=config(dtype="uint8", batch_size=30))
    (batch,) = read(stream)
    for image, row in zip(batch.images, batch.rows.tolist(), strict=True):
        path = manifest.root / stream.record_id(row)
        expected = images.resize(images.load(path, min_size=SIZE), SIZE)
        np.testing.assert_array_equal(image, expected)


def test_augmentation_with_every_range_at_zero_changes_no_byte(manifest: Manifest) -> None:
    plain = read(Stream(manifest, split="train", config=config()))
    still = read(Stream(manifest, split="train", config=config(augment=AugmentSection())))
    assert batch_bytes(still) == batch_bytes(plain)


def test_horizontal_flips_mirror_some_images_and_leave_the_others(manifest: Manifest) -> None:
    flips = AugmentSection(horizontal_flip=True)
    (plain,) = read(Stream(manifest, split="train", config=config(batch_size=30)))
    (found,) = read(Stream(manifest, split="train", config=config(batch_size=30, augment=flips)))
    same = (found.images == plain.images).all(axis=(1, 2, 3))
    mirrored = (found.images == plain.images[:, :, ::-1]).all(axis=(1, 2, 3))
    assert (same ^ mirrored).all()
    assert 0 < mirrored.sum() < NUM_TRAIN


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("augment", [None, MOVES])
def test_images_have_the_size_and_channels_that_were_asked_for(
    manifest: Manifest, channels: int, augment: AugmentSection | None
) -> None:
    stream = Stream(manifest, split="train", config=config(channels=channels, augment=augment))
    assert read(stream)[0].images.shape == (4, *SIZE, channels)


def all_images(manifest: Manifest, **how: Any) -> npt.NDArray[Any]:
    """Return the training images in the order of the manifest."""
    settings = {"batch_size": 30, "shuffle": False, "augment": None, **how}
    return read(train_stream(manifest, **settings))[0].images


def test_scaled_images_are_the_bytes_over_255(manifest: Manifest) -> None:
    whole = all_images(manifest, dtype="uint8")
    np.testing.assert_array_equal(all_images(manifest), whole * np.float32(1 / 255))


def test_unscaled_images_keep_0_to_255(manifest: Manifest) -> None:
    whole = all_images(manifest, dtype="uint8")
    floats = all_images(manifest, scaling="none")
    np.testing.assert_array_equal(floats, whole.astype(np.float32))


def test_a_mean_and_deviation_are_of_values_of_0_to_1(manifest: Manifest) -> None:
    mean, std = (0.2, 0.5, 0.7), (0.1, 0.25, 0.5)
    whole = all_images(manifest, dtype="uint8")
    found = all_images(manifest, scaling="mean-std", mean=mean, std=std)
    np.testing.assert_allclose(found, (whole / 255 - mean) / std, atol=1e-5)


def test_each_image_alone_may_have_mean_0_and_deviation_1(manifest: Manifest) -> None:
    found = all_images(manifest, scaling="per-image", augment=CHANGES).reshape(NUM_TRAIN, -1)
    np.testing.assert_allclose(found.mean(axis=1), 0, atol=1e-4)
    np.testing.assert_allclose(found.std(axis=1), 1, atol=1e-4)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("how", [{"dtype": "uint8"}, {}, {"scaling": "none"}])
def test_channels_first_is_the_transpose(
    manifest: Manifest, how: dict[str, Any], channels: int
) -> None:
    changes = {"augment": CHANGES, "channels": channels, **how}
    last = all_images(manifest, **changes)
    first = all_images(manifest, layout="channels-first", **changes)
    np.testing.assert_array_equal(first, last.transpose(0, 3, 1, 2))


def test_brightness_and_channel_shift_change_levels_and_no_place(manifest: Manifest) -> None:
    plain = all_images(manifest, scaling="none")
    section = AugmentSection(channel_shift=40)
    found = all_images(manifest, scaling="none", augment=section)
    low, high = (getattr(plain, name)(axis=(1, 2, 3), keepdims=True) for name in ("min", "max"))
    inside = (found > low) & (found < high)
    for image, before, free in zip(found, plain, inside, strict=True):
        assert np.ptp((image - before)[free]) < 1e-3  # one shift for the whole picture


def test_several_classes_have_one_hot_targets(manifest: Manifest) -> None:
    batch = read(Stream(manifest, split="train", config=config()))[0]
    np.testing.assert_array_equal(batch.targets, np.eye(3)[batch.rows % 3])


def test_two_classes_have_targets_of_zero_and_one(manifest: Manifest) -> None:
    labels = ["no", "yes"] * 14
    binary = manifest_below(manifest.root, label=labels)
    batch = read(Stream(binary, split="train", config=config()))[0]
    np.testing.assert_array_equal(batch.targets, batch.rows % 2)


def test_a_record_without_a_label_has_label_minus_one(manifest: Manifest) -> None:
    labels = [None, *[LABELS[n % 3] for n in range(1, NUM_TRAIN + NUM_VALIDATION)]]
    batch = read(
        Stream(manifest_below(manifest.root, label=labels), split="train", config=config())
    )[0]
    assert (batch.labels[0], batch.targets[0].tolist()) == (-1, [0, 0, 0])


def test_weights_of_the_manifest_reach_the_batch(manifest: Manifest) -> None:
    weights = [0.5 + row for row in range(NUM_TRAIN + NUM_VALIDATION)]
    weighted = manifest_below(manifest.root, weight=weights)
    batch = read(Stream(weighted, split="train", config=config()))[0]
    np.testing.assert_array_equal(batch.weights, 0.5 + batch.rows)


def test_changing_a_batch_does_not_change_the_next_epoch(manifest: Manifest) -> None:
    with Stream(manifest, split="validation", config=config()) as stream:
        for batch in stream.epoch(0):
            batch.rows[:] = 0
            batch.images[:] = 0
        assert rows_of(stream.epoch(1)) == [4, 9, 14, 19, 24]


# --- what is refused -------------------------------------------------------------------


def test_a_split_without_images_is_refused(manifest: Manifest) -> None:
    with pytest.raises(DataError, match=rf"{manifest.root} has no images in split 'test'\. Split"):
        Stream(manifest, split="test", config=config())


def test_an_unknown_split_is_refused(manifest: Manifest) -> None:
    with pytest.raises(ValueError, match=r"split must be one of .*'validation'.* got 'val'"):
        Stream(manifest, split="val", config=config())  # type: ignore[arg-type]


@pytest.mark.parametrize(("shard_index", "num_shards"), [(2, 2), (-1, 2), (0, 0)])
def test_a_shard_that_does_not_exist_is_refused(
    manifest: Manifest, shard_index: int, num_shards: int
) -> None:
    with pytest.raises(ValueError, match=rf"0..num_shards-1, got {shard_index} of {num_shards}"):
        Stream(
            manifest,
            split="train",
            config=config(),
            shard_index=shard_index,
            num_shards=num_shards,
        )
