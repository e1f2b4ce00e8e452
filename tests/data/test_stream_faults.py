"""Files that cannot be read while they are streamed, errors of our own, and early ends."""

from __future__ import annotations

import gc
import hashlib
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest
from PIL import Image
from small_sets import (
    COUNT,
    LENIENT,
    NUM_TRAIN,
    SIZE,
    batch_bytes,
    config,
    manifest_below,
    own_threads,
    path_of,
    read,
    row_bytes,
    scanned,
    train_stream,
    write_pictures,
)

from sightline.data.stream import Stream, StreamConfig
from sightline.data.stream.cache import CacheWarning, list_caches
from sightline.errors import DataError
from sightline.records import Manifest


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """The set as it was before a test damaged it."""
    return write_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture
def manifest(pictures: Manifest, tmp_path: Path) -> Manifest:
    """The same set, over files that a test may damage; their sizes and times are known."""
    return scanned(manifest_below(Path(shutil.copytree(pictures.root, tmp_path / "own"))))


def damage(manifest: Manifest) -> dict[int, str]:
    """Damage three training files; return the reason expected of each row."""
    path_of(manifest, 0).write_bytes(b"")
    path_of(manifest, 7).unlink()
    path = path_of(manifest, 15)
    path.write_bytes(path.read_bytes()[:60])
    return {0: "EMPTY", 7: "MISSING", 15: "TRUNCATED"}


def unknown(manifest: Manifest) -> Manifest:
    """Return the manifest without the sizes and times of its files."""
    return manifest_below(manifest.root)


def reasons(stream: Stream) -> dict[int, str]:
    return {row: fault.reason for row, fault in stream.faults.items()}


# --- their place in the batch ----------------------------------------------------------


@pytest.mark.parametrize("num_threads", [0, 3])
def test_a_damaged_file_keeps_its_place_with_weight_zero(
    manifest: Manifest, num_threads: int
) -> None:
    damaged = damage(manifest)
    batches = read(train_stream(manifest, num_threads=num_threads, **LENIENT))
    weights = {
        row: weight
        for batch in batches
        for row, weight in zip(batch.rows.tolist(), batch.weights.tolist(), strict=True)
    }
    assert len(weights) == NUM_TRAIN
    assert {row for row, weight in weights.items() if weight == 0} == set(damaged)


@pytest.mark.parametrize(
    "how",
    [{}, {"dtype": "uint8"}, {"scaling": "per-image"}, {"layout": "channels-first"}],
)
def test_a_damaged_file_gives_a_black_image(manifest: Manifest, how: dict[str, Any]) -> None:
    damage(manifest)
    with train_stream(manifest, **how, **LENIENT) as stream:
        for epoch in (0, 1):  # the second in memory that the first has used
            batches = stream.epoch(epoch)
            assert not any(batch.images[batch.weights == 0].any() for batch in batches)


def test_damaged_files_change_no_other_record(manifest: Manifest, pictures: Manifest) -> None:
    damaged = damage(manifest)
    found = row_bytes(read(train_stream(manifest, **LENIENT)))
    whole = row_bytes(read(train_stream(pictures)))
    assert {row for row in whole if found[row] != whole[row]} == set(damaged)


def test_damaged_files_are_listed_with_their_ids_and_reasons(manifest: Manifest) -> None:
    damaged = damage(manifest)
    stream = train_stream(unknown(manifest), **LENIENT)
    read(stream)
    assert {fault.record_id: fault.reason for fault in stream.faults.values()} == {
        f"{row:02d}.png": reason for row, reason in damaged.items()
    }


def test_a_fault_says_where_and_what_to_do(manifest: Manifest) -> None:
    damage(manifest)
    stream = train_stream(manifest, **LENIENT)
    read(stream)
    message = stream.faults[7].message
    assert message.startswith(f"{manifest.root}/07.png: ")
    assert message.endswith("Scan the folder again.")


def test_a_file_that_fails_in_every_epoch_is_one_fault(manifest: Manifest) -> None:
    damage(manifest)
    with train_stream(manifest, **LENIENT) as stream:
        for epoch in range(3):
            list(stream.epoch(epoch))
        assert sorted(stream.faults) == [0, 7, 15]


def test_a_file_that_is_drawn_several_times_is_one_fault(manifest: Manifest) -> None:
    weighted = scanned(manifest, weight=[50.0 if row == 7 else 1.0 for row in range(COUNT)])
    path_of(manifest, 7).unlink()
    batches = read(stream := train_stream(weighted, sampling="weighted"))
    drawn = [row for batch in batches for row in batch.rows.tolist()].count(7)
    assert drawn > 5
    assert list(stream.faults) == [7]
    assert sum(int((batch.weights == 0).sum()) for batch in batches) == drawn


def test_a_file_that_is_repaired_is_no_fault_of_the_next_epoch(manifest: Manifest) -> None:
    path = path_of(manifest, 7)
    content = path.read_bytes()
    path.write_bytes(b"")
    with train_stream(manifest) as stream:
        list(stream.epoch(0))
        broken = sorted(stream.faults)
        path.write_bytes(content)
        list(stream.epoch(1))
        assert (broken, sorted(stream.faults)) == ([7], [])


# --- in the middle of an epoch ---------------------------------------------------------


def delete(path: Path) -> None:
    path.unlink()


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


def replace_by_a_larger_one(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


def replace_by_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def replace_by_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def lose_permission(path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    path.chmod(0)


@pytest.mark.parametrize("num_threads", [0, 2])
@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (delete, "MISSING"),
        (truncate, "CHANGED"),
        (replace_by_a_larger_one, "CHANGED"),
        (replace_by_a_folder, "NOT_A_FILE"),
        (replace_by_a_pipe, "NOT_A_FILE"),
        (lose_permission, "UNREADABLE"),
    ],
)
def test_a_file_that_is_harmed_in_the_middle_of_an_epoch_is_a_fault(
    manifest: Manifest, harm: Callable[[Path], None], reason: str, num_threads: int
) -> None:
    how = {"num_threads": num_threads, "prefetch": 1}
    with Stream(manifest, split=None, config=config(**how)) as stream:
        batches = stream.epoch(0)
        first = next(batches)
        harm(path_of(manifest, 21))
        rest = list(batches)
        assert reasons(stream) == {21: reason}
    assert first.weights.all()
    assert [row for batch in rest for row in batch.rows[batch.weights == 0]] == [21]


def test_a_file_cut_short_is_a_fault_also_where_its_size_was_not_known(
    manifest: Manifest,
) -> None:
    with Stream(unknown(manifest), split=None, config=config(prefetch=1, **LENIENT)) as stream:
        batches = stream.epoch(0)
        next(batches)
        for row in (21, 23):  # a PNG and a JPEG
            truncate(path_of(manifest, row))
        list(batches)
        assert reasons(stream) == {21: "TRUNCATED", 23: "TRUNCATED"}


# --- the budget ------------------------------------------------------------------------


@pytest.mark.parametrize("budget", [{"max_faults": 2}, {"max_fault_share": 2 / 23}])
def test_more_faults_than_the_budget_stop_the_stream_with_their_paths(
    manifest: Manifest, budget: dict[str, Any]
) -> None:
    damaged = damage(manifest)
    message = (
        r"(?s)3 of 23 images could not be read, more than the budget of .* files:\n"
        r".*07\.png: there is no such file.*Repair or remove them"
    )
    with pytest.raises(DataError, match=message) as caught:
        read(train_stream(manifest, **{**LENIENT, **budget}))
    assert all(str(path_of(manifest, row)) in str(caught.value) for row in damaged)


def test_the_budget_stops_the_stream_in_the_middle_of_an_epoch(manifest: Manifest) -> None:
    with train_stream(manifest, prefetch=1) as stream:
        batches = stream.epoch(0)
        seen = next(batches).rows.tolist()
        left = [row for row in stream_rows(manifest) if row not in seen]
        for row in left[:2]:
            path_of(manifest, row).unlink()
        with pytest.raises(DataError, match=r"2 of 23 images could not be read.*1% or 100 files"):
            list(batches)


def stream_rows(manifest: Manifest) -> list[int]:
    """Return the training rows in the order of epoch 0."""
    with train_stream(manifest) as stream:
        return [row for batch in stream.epoch(0) for row in batch.rows.tolist()]


@pytest.mark.parametrize("budget", [{"max_faults": 3}, {"max_fault_share": 3 / 23}])
def test_as_many_faults_as_the_budget_are_borne(manifest: Manifest, budget: dict[str, Any]) -> None:
    damage(manifest)
    assert len(read(train_stream(manifest, **{**LENIENT, **budget}))) == 6


def test_a_budget_below_one_percent_is_not_rounded_away(manifest: Manifest) -> None:
    damage(manifest)
    with pytest.raises(DataError, match=r"the budget of 0\.5% or 100 files"):
        read(train_stream(manifest, max_fault_share=0.005))


def test_only_the_first_five_faults_are_written_out(manifest: Manifest) -> None:
    for path in manifest.root.iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError, match="23 of 23 images") as caught:
        read(train_stream(manifest, batch_size=30))
    assert str(caught.value).count("\n  ") == 5


# --- faults and the cache --------------------------------------------------------------


def num_kept(cache: Path) -> int | None:
    (listed,) = list_caches(cache)
    return listed.num_filled


def test_a_fault_is_never_kept(manifest: Manifest, pictures: Manifest, tmp_path: Path) -> None:
    cache, damaged = tmp_path / "kept", damage(manifest)
    read(train_stream(manifest, cache=cache, **LENIENT))
    assert num_kept(cache) == NUM_TRAIN - len(damaged)
    for row in damaged:
        shutil.copy2(path_of(pictures, row), path_of(manifest, row))
    again = read(train_stream(manifest, cache=cache))
    assert batch_bytes(again) == batch_bytes(read(train_stream(pictures)))


def test_a_kept_image_whose_file_is_gone_is_still_served(
    manifest: Manifest, pictures: Manifest, tmp_path: Path
) -> None:
    how = {"cache": tmp_path / "kept"}
    read(train_stream(manifest, **how))
    damage(manifest)
    with train_stream(manifest, **how) as stream:
        found = batch_bytes(stream.epoch(1))
        assert not stream.faults
    assert found == batch_bytes(read(train_stream(pictures), 1))


def test_a_file_that_was_touched_is_streamed_but_not_kept(
    manifest: Manifest, pictures: Manifest, tmp_path: Path
) -> None:
    cache, path = tmp_path / "kept", path_of(manifest, 7)
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    with pytest.warns(CacheWarning, match="was written after it was scanned") as told:
        found = read(train_stream(manifest, cache=cache))
    assert str(path) in str(told[0].message)
    assert batch_bytes(found) == batch_bytes(read(train_stream(pictures)))
    assert num_kept(cache) == NUM_TRAIN - 1


def test_of_many_touched_files_one_is_named_and_once(manifest: Manifest, tmp_path: Path) -> None:
    for row in range(COUNT):
        os.utime(path_of(manifest, row), ns=(0, 7))
    told: list[str] = []
    config = StreamConfig(image_size=SIZE, cache=tmp_path / "kept", num_threads=4, batch_size=4)
    with Stream(manifest, split="train", config=config, say=told.append) as stream:
        for epoch in range(2):
            list(stream.epoch(epoch))
    assert len(told) == 1
    assert "decoded anew in every epoch. Scan the images again" in told[0]


def test_another_picture_of_the_same_size_in_bytes_is_never_kept_for_the_scanned_one(
    manifest: Manifest, pictures: Manifest, tmp_path: Path
) -> None:
    cache, path = tmp_path / "kept", path_of(manifest, 16)  # grey, of which all are small
    content = bytearray(path.read_bytes())
    path.write_bytes(path_of(manifest, 7).read_bytes().ljust(len(content), b"\0")[: len(content)])
    with pytest.warns(CacheWarning, match="was written after it was scanned"):
        read(train_stream(manifest, cache=cache, **LENIENT))
    shutil.copy2(path_of(pictures, 16), path)
    again = read(train_stream(manifest, cache=cache))
    assert batch_bytes(again) == batch_bytes(read(train_stream(pictures)))


def test_another_picture_is_never_kept_under_the_sha256_of_the_scanned_one(
    manifest: Manifest, tmp_path: Path
) -> None:
    path, how = path_of(manifest, 0), {"shuffle": False, "augment": None}
    plain = [Image.new("RGB", (9, 9), (level,) * 3) for level in (0, 200)]
    for image, target in zip(plain, (path, tmp_path / "other"), strict=True):
        image.save(target, "BMP")  # both of one size in bytes
    contents = [path_of(manifest, row).read_bytes() for row in range(COUNT)]
    known = manifest_below(
        manifest.root,
        bytes=[len(content) for content in contents],
        sha256=[hashlib.sha256(content).hexdigest() for content in contents],
    )
    shutil.copy(tmp_path / "other", path)
    with pytest.warns(CacheWarning, match="was scanned without its time"):
        read(train_stream(known, cache=tmp_path / "kept", **how))
    path.write_bytes(contents[0])
    with pytest.warns(CacheWarning, match="was scanned without its time"):
        first = read(train_stream(known, cache=tmp_path / "kept", **how))[0].images[0]
    assert not first.any()


# --- errors that are no fault of a file ------------------------------------------------


@pytest.mark.parametrize("num_threads", [0, 3])
def test_an_unexpected_error_reaches_the_caller_with_the_path(
    manifest: Manifest, num_threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("out of luck")

    monkeypatch.setattr(cv2, "resize", fail)
    with pytest.raises(RuntimeError, match="out of luck") as caught:
        read(Stream(manifest, split=None, config=config(num_threads=num_threads)))
    assert caught.value.__notes__ == [f"while reading {path_of(manifest, 0)}"]
    assert not own_threads()


def test_after_an_unexpected_error_the_stream_may_be_read_again(
    manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("out of luck")

    expected = batch_bytes(read(train_stream(manifest)))
    with train_stream(manifest) as stream:
        with monkeypatch.context() as broken:
            broken.setattr(cv2, "resize", fail)
            with pytest.raises(RuntimeError, match="out of luck"):
                list(stream.epoch(0))
        assert batch_bytes(stream.epoch(0)) == expected


def test_nothing_goes_on_behind_an_unexpected_error(
    manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    resize, begun = cv2.resize, []

    def fail_first(*positional: Any, **named: Any) -> Any:
        begun.append(positional)
        if len(begun) == 1:
            raise RuntimeError("out of luck")
        time.sleep(0.02)
        return resize(*positional, **named)

    monkeypatch.setattr(cv2, "resize", fail_first)
    how = config(batch_size=24, num_threads=2, prefetch=1)
    with Stream(manifest, split=None, config=how) as stream:
        with pytest.raises(RuntimeError, match="out of luck"):
            list(stream.epoch(0))
        before = len(begun)
        time.sleep(0.2)
        assert len(begun) == before


# --- early ends ------------------------------------------------------------------------


def test_leaving_the_context_stops_the_threads(manifest: Manifest) -> None:
    with train_stream(manifest, num_threads=3) as stream:
        next(stream.epoch(0))
        assert own_threads()
    assert not own_threads()


def test_leaving_the_context_by_an_error_stops_the_threads(manifest: Manifest) -> None:
    damage(manifest)
    with pytest.raises(DataError, match="could not be read"):
        read(train_stream(manifest))
    assert not own_threads()


def test_an_error_of_the_consumer_stops_the_threads(manifest: Manifest) -> None:
    def consume() -> None:
        with train_stream(manifest, num_threads=3) as stream:
            for _ in stream.epoch(0):
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        consume()
    assert not own_threads()


def test_threads_end_with_a_stream_that_nobody_holds_any_more(manifest: Manifest) -> None:
    stream = train_stream(manifest, num_threads=3)
    batches = stream.epoch(0)
    next(batches)
    assert own_threads()
    del stream, batches
    gc.collect()
    deadline = time.monotonic() + 10
    while own_threads() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not own_threads()


def test_closing_the_epoch_early_leaves_no_work_behind(
    manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, system = [], os.open

    def count(path: Any, *rest: Any, **named: Any) -> int:
        opened.append(str(path))
        return system(path, *rest, **named)

    monkeypatch.setattr(os, "open", count)
    with train_stream(manifest, num_threads=2, batch_size=2, prefetch=3) as stream:
        batches = stream.epoch(0)
        next(batches)
        batches.close()
        before = len(opened)
        time.sleep(0.1)
        assert 2 <= len(opened) == before <= 8


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
    assert not own_threads()


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
    manifest: Manifest, num_threads: int, prefetch: int, ahead: int
) -> None:
    how = {"batch_size": 1, "num_threads": num_threads, "prefetch": prefetch}
    with Stream(manifest, split=None, config=config(**how, **LENIENT)) as stream:
        batches = stream.epoch(0)
        next(batches)
        for row in range(ahead, len(manifest)):
            path_of(manifest, row).unlink()
        weights = {int(batch.rows[0]): float(batch.weights[0]) for batch in batches}
    assert not any(weights[row] for row in range(ahead, len(manifest)))
