from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sightline.data import images
from sightline.data.stream import Stream, StreamConfig, epoch_order
from sightline.errors import DataError
from sightline.recipes import AugmentSection
from sightline.records import Batch, Manifest, RecordIndex

SIZE = (6, 8)
LABELS = ("ape", "bee", "cow")
NUM_TRAIN, NUM_VALIDATION = 23, 5
MOVES = AugmentSection(
    rotation=20, width_shift=0.2, height_shift=0.2, shear=3, zoom=0.2, horizontal_flip=True
)
Bytes = dict[int, tuple[bytes, ...]]


def write_picture(path: Path, number: int) -> None:
    """Write a picture of its own size and pixels: colour PNG, grey PNG or JPEG in turn."""
    rng = np.random.default_rng(number)
    pixels = rng.integers(0, 256, (5 + number % 7, 6 + number % 5, 3)).astype(np.uint8)
    image = Image.fromarray(pixels)
    (image.convert("L") if number % 3 == 1 else image).save(path, quality=95)


def manifest_below(root: Path, **columns: list[Any]) -> Manifest:
    """Return 23 train and 5 validation records of three classes."""
    count = NUM_TRAIN + NUM_VALIDATION
    names = [f"{n:02d}.{'jpg' if n % 3 == 2 else 'png'}" for n in range(count)]
    splits = ["validation" if n % 5 == 4 else "train" for n in range(count)]
    labels = [LABELS[n % 3] for n in range(count)]
    values = {"record_id": names, "label": labels, "split": splits, **columns}
    return Manifest.make(root, values)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    made = manifest_below(tmp_path_factory.mktemp("pictures"))
    for number, record_id in enumerate(made.table["record_id"]):
        write_picture(made.root / record_id, number)
    return made


@pytest.fixture
def own_manifest(manifest: Manifest, tmp_path: Path) -> Manifest:
    """Return the same manifest over files that a test may damage."""
    return manifest_below(Path(shutil.copytree(manifest.root, tmp_path / "own")))


def config(**changes: Any) -> StreamConfig:
    return StreamConfig(**{"image_size": SIZE, "batch_size": 4, "num_threads": 2, **changes})


def train_stream(manifest: Manifest | RecordIndex, **changes: Any) -> Stream:
    return Stream(manifest, split="train", config=config(shuffle=True, augment=MOVES, **changes))


def row_bytes(batches: Iterable[Batch]) -> Bytes:
    """Return everything that is known of each record, by its row."""
    return {
        row: tuple(
            getattr(batch, name)[place].tobytes()
            for name in ("images", "labels", "targets", "weights")
        )
        for batch in batches
        for place, row in enumerate(batch.rows.tolist())
    }


def batch_bytes(batches: Iterable[Batch]) -> list[tuple[bytes, ...]]:
    names = ("images", "labels", "targets", "weights", "rows")
    return [tuple(getattr(batch, name).tobytes() for name in names) for batch in batches]


def rows_of(batches: Iterable[Batch]) -> list[int]:
    return [row for batch in batches for row in batch.rows.tolist()]


def read(stream: Stream, epoch: int = 0) -> list[Batch]:
    with stream:
        return list(stream.epoch(epoch))


# --- the same bytes, however they are made ---------------------------------------------


@settings(deadline=None, max_examples=40)
@given(
    batch_size=st.integers(1, 30),
    num_threads=st.integers(0, 4),
    prefetch=st.integers(1, 5),
    num_shards=st.integers(1, 4),
    seed=st.integers(0, 2**32 - 1),
    epoch=st.integers(0, 9),
    dtype=st.sampled_from(["float32", "uint8"]),
)
def test_a_record_has_the_same_bytes_in_any_batch_thread_and_shard(
    manifest: Manifest,
    batch_size: int,
    num_threads: int,
    prefetch: int,
    num_shards: int,
    seed: int,
    epoch: int,
    dtype: str,
) -> None:
    plain = {"seed": seed, "dtype": dtype}
    expected = row_bytes(read(train_stream(manifest, num_threads=0, **plain), epoch))
    how = {"batch_size": batch_size, "num_threads": num_threads, "prefetch": prefetch}
    found: Bytes = {}
    for shard_index in range(num_shards):
        stream = Stream(
            manifest,
            split="train",
            config=config(shuffle=True, augment=MOVES, **how, **plain),
            shard_index=shard_index,
            num_shards=num_shards,
        )
        found |= row_bytes(read(stream, epoch))
    assert found == expected


@settings(deadline=None, max_examples=40)
@given(
    batch_size=st.integers(1, 30),
    num_threads=st.integers(0, 3),
    taken=st.integers(0, 23),
    epoch=st.integers(0, 3),
)
def test_what_came_before_and_what_comes_after_resuming_is_the_whole(
    manifest: Manifest, batch_size: int, num_threads: int, taken: int, epoch: int
) -> None:
    how = {"batch_size": batch_size, "num_threads": num_threads}
    whole = read(train_stream(manifest, **how), epoch)
    with train_stream(manifest, **how) as interrupted:
        batches = interrupted.epoch(epoch)
        before = [next(batches) for _ in range(min(taken, len(whole)))]
        state = json.loads(json.dumps(interrupted.state()))
    with train_stream(manifest, **how) as resumed:
        if before:
            resumed.resume(state)
        after = list(resumed.epoch(epoch))
    assert batch_bytes([*before, *after]) == batch_bytes(whole)


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


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("augment", [None, MOVES])
def test_images_have_the_size_and_channels_that_were_asked_for(
    manifest: Manifest, channels: int, augment: AugmentSection | None
) -> None:
    stream = Stream(manifest, split="train", config=config(channels=channels, augment=augment))
    assert read(stream)[0].images.shape == (4, *SIZE, channels)


def test_scaled_images_are_the_bytes_over_255(manifest: Manifest) -> None:
    (whole,) = read(Stream(manifest, split="train", config=config(dtype="uint8", batch_size=30)))
    (scaled,) = read(Stream(manifest, split="train", config=config(batch_size=30)))
    np.testing.assert_array_equal(scaled.images, whole.images * np.float32(1 / 255))


def test_unscaled_images_keep_0_to_255(manifest: Manifest) -> None:
    (whole,) = read(Stream(manifest, split="train", config=config(dtype="uint8", batch_size=30)))
    (floats,) = read(Stream(manifest, split="train", config=config(scaling="none", batch_size=30)))
    np.testing.assert_array_equal(floats.images, whole.images.astype(np.float32))


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


# --- files that cannot be read ---------------------------------------------------------


def damage(manifest: Manifest) -> dict[int, str]:
    """Damage three training files; return the reason expected of each row."""
    (manifest.root / "00.png").write_bytes(b"")
    (manifest.root / "07.png").unlink()
    path = manifest.root / "15.png"
    path.write_bytes(path.read_bytes()[:60])
    return {0: "EMPTY", 7: "MISSING", 15: "TRUNCATED"}


LENIENT = {"max_fault_share": 1.0}


@pytest.mark.parametrize("num_threads", [0, 3])
def test_a_damaged_file_keeps_its_place_with_weight_zero(
    own_manifest: Manifest, num_threads: int
) -> None:
    damaged = damage(own_manifest)
    batches = read(train_stream(own_manifest, num_threads=num_threads, **LENIENT))
    weights = {
        row: weight
        for batch in batches
        for row, weight in zip(batch.rows.tolist(), batch.weights.tolist(), strict=True)
    }
    assert len(weights) == NUM_TRAIN
    assert {row for row, weight in weights.items() if weight == 0} == set(damaged)


def test_a_damaged_file_gives_a_black_image(own_manifest: Manifest) -> None:
    damage(own_manifest)
    batches = read(train_stream(own_manifest, **LENIENT))
    assert not any(batch.images[batch.weights == 0].any() for batch in batches)


def test_damaged_files_change_no_other_record(manifest: Manifest, own_manifest: Manifest) -> None:
    damaged = damage(own_manifest)
    found = row_bytes(read(train_stream(own_manifest, **LENIENT)))
    whole = row_bytes(read(train_stream(manifest)))
    assert {row for row in whole if found[row] != whole[row]} == set(damaged)


def test_damaged_files_are_listed_with_their_ids_and_reasons(own_manifest: Manifest) -> None:
    damaged = damage(own_manifest)
    stream = train_stream(own_manifest, **LENIENT)
    read(stream)
    assert {fault.record_id: fault.reason for fault in stream.faults.values()} == {
        f"{row:02d}.png": reason for row, reason in damaged.items()
    }


def test_a_fault_says_where_and_what_to_do(own_manifest: Manifest) -> None:
    damage(own_manifest)
    stream = train_stream(own_manifest, **LENIENT)
    read(stream)
    message = stream.faults[7].message
    assert message.startswith(f"{own_manifest.root}/07.png: ")
    assert message.endswith("Scan the folder again.")


def test_a_file_that_fails_in_every_epoch_is_one_fault(own_manifest: Manifest) -> None:
    damage(own_manifest)
    with train_stream(own_manifest, **LENIENT) as stream:
        for epoch in range(3):
            list(stream.epoch(epoch))
        assert sorted(stream.faults) == [0, 7, 15]


@pytest.mark.parametrize("budget", [{"max_faults": 2}, {"max_fault_share": 2 / 23}])
def test_more_faults_than_the_budget_stop_the_stream(
    own_manifest: Manifest, budget: dict[str, Any]
) -> None:
    damage(own_manifest)
    message = (
        r"(?s)3 of 23 images could not be read, more than the budget of .* files:\n"
        r".*07\.png: there is no such file.*Repair or remove them"
    )
    with pytest.raises(DataError, match=message):
        read(train_stream(own_manifest, **{**LENIENT, **budget}))


@pytest.mark.parametrize("budget", [{"max_faults": 3}, {"max_fault_share": 3 / 23}])
def test_as_many_faults_as_the_budget_are_borne(
    own_manifest: Manifest, budget: dict[str, Any]
) -> None:
    damage(own_manifest)
    assert len(read(train_stream(own_manifest, **{**LENIENT, **budget}))) == 6


def test_a_budget_below_one_percent_is_not_rounded_away(own_manifest: Manifest) -> None:
    damage(own_manifest)
    with pytest.raises(DataError, match=r"the budget of 0\.5% or 100 files"):
        read(train_stream(own_manifest, max_fault_share=0.005))


def test_only_the_first_five_faults_are_written_out(own_manifest: Manifest) -> None:
    for path in own_manifest.root.iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError, match="23 of 23 images") as caught:
        read(train_stream(own_manifest, batch_size=30))
    assert str(caught.value).count("\n  ") == 5


# --- state, closing, memory ------------------------------------------------------------


def test_the_state_counts_what_was_handed_out_not_what_was_read_ahead(manifest: Manifest) -> None:
    with train_stream(manifest, prefetch=4) as stream:
        batches = stream.epoch(3)
        next(batches)
        next(batches)
        assert stream.state() == {"epoch": 3, "batch": 2}


def test_after_an_epoch_the_state_is_the_next_ones_beginning(manifest: Manifest) -> None:
    stream = train_stream(manifest)
    read(stream, 3)
    assert stream.state() == {"epoch": 4, "batch": 0}


def test_a_resumed_stream_is_where_it_was_saved(manifest: Manifest) -> None:
    stream = train_stream(manifest)
    stream.resume({"epoch": 2, "batch": 5})
    assert stream.state() == {"epoch": 2, "batch": 5}


def test_resuming_after_the_last_batch_ends_the_epoch_at_once(manifest: Manifest) -> None:
    with train_stream(manifest) as stream:
        stream.resume({"epoch": 2, "batch": 6})
        assert list(stream.epoch(2)) == []
        assert stream.state() == {"epoch": 3, "batch": 0}


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
    manifest: Manifest, state: dict[str, int]
) -> None:
    with pytest.raises(ValueError, match=r"position .* epoch of 6 batches.*another batch size"):
        train_stream(manifest).resume(state)


def test_an_epoch_below_zero_is_refused(manifest: Manifest) -> None:
    with pytest.raises(ValueError, match="epochs count from 0, got -1"):
        next(train_stream(manifest).epoch(-1))


def own_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("sightline")]


def test_leaving_the_context_stops_the_threads(manifest: Manifest) -> None:
    with train_stream(manifest, num_threads=3) as stream:
        next(stream.epoch(0))
        assert own_threads()
    assert not own_threads()


def test_leaving_the_context_by_an_error_stops_the_threads(own_manifest: Manifest) -> None:
    damage(own_manifest)
    with pytest.raises(DataError, match="could not be read"):
        read(train_stream(own_manifest))
    assert not own_threads()


@pytest.mark.parametrize("num_threads", [0, 2])
def test_going_on_with_an_epoch_after_closing_is_refused(
    manifest: Manifest, num_threads: int
) -> None:
    stream = train_stream(manifest, num_threads=num_threads)
    batches = stream.epoch(1)
    next(batches)
    stream.close()
    with pytest.raises(RuntimeError, match=r"closed after batch 1 of epoch 1\. Ask for epoch\(1\)"):
        next(batches)


def test_a_closed_stream_may_begin_a_new_epoch(manifest: Manifest) -> None:
    stream = train_stream(manifest)
    first = batch_bytes(read(stream))
    assert batch_bytes(read(stream)) == first


def test_closing_twice_is_harmless(manifest: Manifest) -> None:
    stream = train_stream(manifest)
    read(stream)
    stream.close()
    assert not own_threads()


@pytest.mark.parametrize(("num_threads", "prefetch", "ahead"), [(2, 1, 1), (2, 3, 3), (0, 4, 1)])
def test_no_more_batches_than_asked_for_are_read_ahead(
    own_manifest: Manifest, num_threads: int, prefetch: int, ahead: int
) -> None:
    how = {"batch_size": 1, "num_threads": num_threads, "prefetch": prefetch}
    with Stream(own_manifest, split=None, config=config(**how, **LENIENT)) as stream:
        batches = stream.epoch(0)
        next(batches)
        for row in range(ahead, len(own_manifest)):
            (own_manifest.root / stream.record_id(row)).unlink()
        weights = {int(batch.rows[0]): float(batch.weights[0]) for batch in batches}
    assert not any(weights[row] for row in range(ahead, len(own_manifest)))


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


def test_a_file_that_is_repaired_is_no_fault_of_the_next_epoch(own_manifest: Manifest) -> None:
    path = own_manifest.root / own_manifest.table["record_id"][7]
    content = path.read_bytes()
    path.write_bytes(b"")
    with train_stream(own_manifest) as stream:
        list(stream.epoch(0))
        broken = sorted(stream.faults)
        path.write_bytes(content)
        list(stream.epoch(1))
        assert (broken, sorted(stream.faults)) == ([7], [])
