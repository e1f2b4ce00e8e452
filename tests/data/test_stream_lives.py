"""A stream after a fork, freed in a thread, closed and taken up again; and at its door."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_sets import (
    LENIENT,
    NUM_TRAIN,
    batch_bytes,
    config,
    path_of,
    read,
    scanned,
    train_stream,
    write_pictures,
)

from sightline.data.stream import Stream, usable_cores
from sightline.data.stream.cache import cache_max_bytes, list_caches
from sightline.data.stream.cores import cores_of
from sightline.errors import DataError, SetupError
from sightline.records import Manifest


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    (tmp_path / "own").mkdir()
    return scanned(write_pictures(tmp_path / "own"))


# --- forked processes ------------------------------------------------------------------

FORK = """
import hashlib, os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from small_sets import digest, manifest_below, train_stream

stream = train_stream(manifest_below(Path(sys.argv[1])).index(), num_threads=2)
here = digest(stream.epoch(0))
begun = stream.epoch(1)
next(begun)
if os.fork():
    sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
assert digest(stream.epoch(0)) == here
try:
    next(begun)
except RuntimeError as error:
    assert "forked after batch 1 of epoch 1" in str(error), error
else:
    raise AssertionError("an epoch of another process went on")
stream.close()
os._exit(0)
"""


def test_a_forked_process_streams_with_threads_of_its_own(manifest: Manifest) -> None:
    command = [sys.executable, "-c", FORK, str(manifest.root), str(Path(__file__).parent)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr


# --- memory that is freed in a thread --------------------------------------------------


FREED = """
import faulthandler, gc, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from small_sets import manifest_below, own_threads, train_stream
from PIL import Image

root = Path(sys.argv[1])
manifest = manifest_below(root)
for name in manifest.table["record_id"]:
    Image.effect_noise((700, 700), 50).save(root / name)  # large, so that decoding goes on
stream = train_stream(manifest, num_threads=2, batch_size=12, prefetch=4)
next(stream.epoch(0))
faulthandler.dump_traceback_later(40, exit=True)
gc.collect()
gc.freeze()
for _ in range(6):
    gc.set_threshold(10**9)
    batches = stream.epoch(0)
    next(batches)
    cycle = [batches]
    cycle.append(cycle)  # as a kept traceback makes one
    del batches, cycle
    gc.set_threshold(3, 1, 1)  # any thread that allocates collects: a worker, while this one waits
    time.sleep(0.3)
    stream.close()
assert not own_threads()
"""


def test_an_abandoned_epoch_may_be_freed_by_a_thread_that_it_waits_for(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FREED, str(tmp_path), str(Path(__file__).parent)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr


def test_closing_from_a_thread_of_a_stream_does_not_wait_for_itself(manifest: Manifest) -> None:
    stream = train_stream(manifest, num_threads=1)
    next(stream.epoch(0))
    closed = threading.Thread(target=stream.close, name="sightline-stream_0")
    closed.start()
    closed.join(10)
    assert not closed.is_alive()
    assert len(list(stream.epoch(1))) == len(stream)
    stream.close()


# --- the cache of a closed stream ------------------------------------------------------


def test_a_closed_stream_lets_go_of_its_cache_and_takes_it_up_again(
    manifest: Manifest, tmp_path: Path
) -> None:
    cache = tmp_path / "kept"
    with train_stream(manifest, cache=cache) as stream:
        whole = batch_bytes(stream.epoch(0))
        assert list_caches(cache)[0].in_use
    assert not list_caches(cache)[0].in_use
    path_of(manifest, 0).unlink()  # so that only the cache has it
    assert batch_bytes(stream.epoch(0)) == whole
    assert list_caches(cache)[0].in_use
    stream.close()


def test_a_cache_that_cannot_be_taken_up_again_is_said_and_done_without(
    manifest: Manifest, tmp_path: Path
) -> None:
    cache, told = tmp_path / "kept", []
    settings = config(shuffle=True, cache=cache)
    stream = Stream(manifest, split="train", config=settings, say=told.append)
    whole = batch_bytes(read(stream))
    cache.rename(tmp_path / "aside")
    cache.write_text("in the way")
    for _ in range(2):
        assert batch_bytes(read(stream)) == whole
    assert len(told) == 1
    assert "no more decoded images are kept" in told[0]


def test_what_all_caches_may_take_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_max_bytes() == 50 * 10**9
    monkeypatch.setenv("SIGHTLINE_CACHE_GB", "0.5")
    assert cache_max_bytes() == 500_000_000
    for wrong in ("much", "-1", "nan", "inf"):
        monkeypatch.setenv("SIGHTLINE_CACHE_GB", wrong)
        with pytest.raises(SetupError, match=f"number of gigabytes, such as 50, got '{wrong}'"):
            cache_max_bytes()


def test_nothing_is_kept_where_nothing_may_be_taken(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGHTLINE_CACHE_GB", "0")
    told: list[str] = []
    settings = config(cache=tmp_path / "kept")
    read(Stream(manifest, split="train", config=settings, say=told.append))
    assert list_caches(tmp_path / "kept")[0].num_filled == 0
    assert len(told) == 1
    assert "all caches together may take 0 GB" in told[0]


# --- saved states ----------------------------------------------------------------------


def saved_after(stream: Stream, count: int) -> dict[str, Any]:
    """Return the state after some batches of epoch 0, as it comes back from a file."""
    with stream:
        for _, _ in zip(range(count), stream.epoch(0), strict=False):
            pass
        state: dict[str, Any] = json.loads(json.dumps(stream.state()))
    return state


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"seed": 3}, "seed 0, now 3"),
        ({"batch_size": 5}, "batch_size 4, now 5"),
        ({"sampling": "weighted"}, "sampling 'all', now 'weighted'"),
        ({"shuffle": False}, "shuffle True, now False"),
    ],
)
def test_the_state_of_a_stream_in_another_order_is_refused(
    manifest: Manifest, change: dict[str, Any], told: str
) -> None:
    state = saved_after(train_stream(manifest), 2)
    with pytest.raises(ValueError, match=f"saved by another stream: {told}. Give this one"):
        train_stream(manifest, **change).resume(state)


def test_the_state_of_other_images_or_another_shard_is_refused(
    manifest: Manifest, tmp_path: Path
) -> None:
    state = saved_after(train_stream(manifest), 2)
    settings = config(shuffle=True)
    second = Stream(manifest, split="train", config=settings, shard_index=1, num_shards=2)
    with pytest.raises(ValueError, match=r"shard \[0, 1\], now \[1, 2\]"):
        second.resume(state)
    names = [f"other-{name}" for name in manifest.table["record_id"]]
    others = Manifest.make(
        tmp_path, {"record_id": names, **manifest.table.select("label", "split").to_dict()}
    )
    with pytest.raises(ValueError, match=r"image_names '.*', now '"):
        train_stream(others).resume(state)


@pytest.mark.parametrize(
    "state", [None, {}, {"epoch": 0, "batch": "2"}, {"epoch": 1.5, "batch": 0}]
)
def test_what_is_no_state_is_refused(manifest: Manifest, state: Any) -> None:
    with pytest.raises(ValueError, match=r"a position is what|is not in an epoch of 6 batches"):
        train_stream(manifest).resume(state)


def test_files_that_were_lost_before_still_count_after_resuming(manifest: Manifest) -> None:
    budget = {"max_fault_share": 2 / NUM_TRAIN, "shuffle": False, "augment": None}
    train = [row for row, split in enumerate(manifest.table["split"]) if split == "train"]
    for row in (train[0], train[5], train[10]):
        path_of(manifest, row).unlink()
    state = saved_after(train_stream(manifest, **budget), 2)  # of 4 records each: two faults
    with train_stream(manifest, **budget) as resumed:
        resumed.resume(state)
        with pytest.raises(DataError, match="3 of 23 images could not be read") as caught:
            list(resumed.epoch(0))
    assert str(path_of(manifest, train[0])) in str(caught.value)
    with train_stream(manifest, **budget) as resumed:
        resumed.resume({**state, "faults": []})
        assert len(list(resumed.epoch(0))) == 4


def test_a_shard_has_its_share_of_the_budget(manifest: Manifest) -> None:
    how = config(max_fault_share=2 / NUM_TRAIN)
    train = [row for row, split in enumerate(manifest.table["split"]) if split == "train"]
    for row in (train[0], train[2]):  # two of the first shard's twelve
        path_of(manifest, row).unlink()
    with Stream(manifest, split="train", config=how, shard_index=1, num_shards=2) as second:
        list(second.epoch(0))
    first = Stream(manifest, split="train", config=how, shard_index=0, num_shards=2)
    with first, pytest.raises(DataError, match="2 of 12 images could not be read"):
        list(first.epoch(0))


def test_more_shards_than_records_are_refused(manifest: Manifest) -> None:
    with pytest.raises(ValueError, match="23 records cannot be shared by 24 shards"):
        Stream(manifest, split="train", config=config(), shard_index=0, num_shards=24)


# --- words and numbers -----------------------------------------------------------------


def test_numbers_and_paths_of_other_kinds_are_taken_for_what_they_are(
    manifest: Manifest, tmp_path: Path
) -> None:
    plain = train_stream(manifest, seed=5, cache=tmp_path / "kept")
    numpys = train_stream(
        manifest,
        seed=np.int64(5),
        batch_size=np.int32(4),
        image_size=list(plain.config.image_size),
        cache=str(tmp_path / "kept"),
    )
    assert numpys.config == plain.config
    with plain, numpys:
        assert batch_bytes(numpys.epoch(np.int64(3))) == batch_bytes(plain.epoch(3))


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ({"batch_size": 8.0}, "batch_size must be a whole number, at least 1, got 8.0"),
        ({"image_size": 16}, r"image_size must be \(height, width\) of at least 1, got 16"),
        ({"image_size": (16.0, 16.0)}, r"image_size must be .*, got \(16.0, 16.0\)"),
        ({"image_size": "auto"}, "image_size must be .*, got 'auto'"),
        ({"max_memory": "1GB"}, "max_memory must be a whole number, at least 1, got '1GB'"),
        ({"seed": 1.5}, r"seed must be a whole number, 0..2\*\*32-1, got 1.5"),
        ({"num_threads": 1.5}, "num_threads must be a whole number, at least 0, got 1.5"),
        ({"batch_size": True}, "batch_size must be a whole number, at least 1, got 'True'"),
        ({"augment": {"rotation": 20}}, "augment must be an AugmentSection or None, got {"),
        ({"shuffle": "no"}, "shuffle must be True or False, got 'no'"),
        ({"background": (0.5, 1, 2)}, r"background must be RGB 0..255, got \(0.5, 1, 2\)"),
    ],
)
def test_a_setting_of_another_kind_is_refused_by_name(setting: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        config(**setting)


def test_a_negative_epoch_is_refused_at_once(manifest: Manifest) -> None:
    with pytest.raises(ValueError, match="epochs count from 0, got -1"):
        train_stream(manifest).epoch(-1)


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), -1.0])
def test_weights_that_are_none_are_refused(tmp_path: Path, weight: float) -> None:
    columns = {"record_id": ["a", "b"], "label": ["x", "y"], "weight": [1.0, weight]}
    with pytest.raises(ValueError, match=r"finite and not negative, got .* for record 'b'"):
        Manifest.make(tmp_path, columns)


@pytest.mark.parametrize(
    ("quota", "cores"),
    [
        ("max 100000", None),
        ("200000 100000", 2),
        ("150000 100000\n", 2),
        ("5000 100000", 1),
        ("", None),
        ("1 0", None),
    ],
)
def test_a_containers_limit_is_counted_in_whole_cores(quota: str, cores: int | None) -> None:
    assert cores_of(quota) == cores


def test_at_least_one_core_is_usable() -> None:
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)


def test_without_a_fault_the_state_has_none(manifest: Manifest) -> None:
    assert saved_after(train_stream(manifest, **LENIENT), 1)["faults"] == []
