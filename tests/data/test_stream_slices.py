"""Batches that several tasks fill: out of the cache, out of files, or some of each."""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from small_sets import (
    CHANGES,
    batch_bytes,
    config,
    read,
    row_bytes,
    rows_of,
    two_epochs,
    without_files,
)

from sightline.data.sources import index_arrays
from sightline.data.stream import Stream
from sightline.data.stream.cache import list_caches
from sightline.records import Manifest, Split

SIDE = 16
ROW_BYTES = SIDE * SIDE * 3
KEPT = 32  # pictures that one task takes from the cache; of files, it decodes 8
BATCH = 70  # three tasks, the last one smaller
RECORDS = 150  # batches of 70, 70 and 10

threads = pytest.mark.parametrize("num_threads", [0, 4])


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Pictures of noise; every third is of the validation split."""
    root = tmp_path_factory.mktemp("pictures")
    names = [f"{number:03d}.png" for number in range(RECORDS)]
    rng = np.random.default_rng(0)
    for name in names:
        pixels = rng.integers(0, 256, (*rng.integers(10, 24, 2), 3)).astype(np.uint8)
        Image.fromarray(pixels).save(root / name)
    found = [(root / name).stat() for name in names]
    return Manifest.make(
        root,
        {
            "record_id": names,
            "label": ["ape", "bee"] * (RECORDS // 2),
            "split": ["train", "train", "validation"] * (RECORDS // 3),
            "bytes": [one.st_size for one in found],
            "mtime_ns": [one.st_mtime_ns for one in found],
        },
    )


def stream_of(manifest: Manifest, split: Split | None = None, **how: Any) -> Stream:
    """Return a shuffled and changed stream in large batches."""
    settings = {
        "image_size": (SIDE, SIDE),
        "batch_size": BATCH,
        "shuffle": True,
        "augment": CHANGES,
        **how,
    }
    return Stream(manifest, split=split, config=config(**settings))


def fill(manifest: Manifest, cache: Path, split: Split | None = None) -> Path:
    """Fill a cache with a split; return the file of its rows."""
    read(stream_of(manifest, split, cache=cache))
    (kept,) = list_caches(cache)
    assert kept.num_filled == len(manifest.index().rows_of(split))
    return kept.path / "rows.u8"


def flip_a_bit(rows: Path, row: int) -> None:
    """Damage one pixel of a kept picture, as a bad disk would."""
    with rows.open("r+b") as file:
        file.seek(row * ROW_BYTES + ROW_BYTES // 2)
        (byte,) = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 16]))


# --- out of the cache ------------------------------------------------------------------


@threads
@pytest.mark.parametrize("batch_size", [33, 64, 65, BATCH, RECORDS])
def test_a_batch_of_several_slices_has_the_same_bytes_out_of_a_full_cache(
    manifest: Manifest, batch_size: int, num_threads: int, tmp_path: Path
) -> None:
    expected = two_epochs(stream_of(manifest, num_threads=0, batch_size=batch_size))
    fill(manifest, tmp_path / "kept")
    how: dict[str, Any] = {"num_threads": num_threads, "batch_size": batch_size}
    with without_files(manifest):
        kept = stream_of(manifest, cache=tmp_path / "kept", **how)
        assert two_epochs(kept) == expected
        assert not kept.faults


@threads
@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_batch_of_several_slices_has_the_same_bytes_where_some_are_kept(
    manifest: Manifest, split: Split, num_threads: int, tmp_path: Path
) -> None:
    expected = two_epochs(stream_of(manifest, num_threads=0))
    fill(manifest, tmp_path / "kept", split)
    kept = stream_of(manifest, num_threads=num_threads, cache=tmp_path / "kept")
    assert two_epochs(kept) == expected


@threads
def test_each_record_of_a_batch_of_several_slices_is_its_own(
    manifest: Manifest, num_threads: int, tmp_path: Path
) -> None:
    alone = row_bytes(read(stream_of(manifest, batch_size=1)))
    fill(manifest, tmp_path / "kept")
    how: dict[str, Any] = {"num_threads": num_threads, "cache": tmp_path / "kept"}
    assert row_bytes(read(stream_of(manifest, **how))) == alone


@threads
@pytest.mark.parametrize(
    "places",
    [[KEPT + 5], [2 * KEPT + 3], [40, 41, 69], [*range(KEPT, 2 * KEPT)]],
    ids=["second slice", "third slice", "both", "the whole second slice"],
)
def test_a_damaged_row_in_a_later_slice_is_decoded_anew_and_mended(
    manifest: Manifest, places: list[int], num_threads: int, tmp_path: Path
) -> None:
    plain = read(stream_of(manifest))
    rows = fill(manifest, tmp_path / "kept")
    whole = rows.read_bytes()
    for place in places:
        flip_a_bit(rows, int(plain[0].rows[place]))
    assert rows.read_bytes() != whole
    kept = stream_of(manifest, num_threads=num_threads, cache=tmp_path / "kept")
    assert batch_bytes(read(kept)) == batch_bytes(plain)
    assert rows.read_bytes() == whole


@threads
def test_damaged_rows_without_their_files_are_the_only_faults(
    manifest: Manifest, num_threads: int, tmp_path: Path
) -> None:
    (*plain,) = read(stream_of(manifest))
    rows = fill(manifest, tmp_path / "kept")
    damaged = plain[0].rows[[35, 68]].tolist()
    for row in damaged:
        flip_a_bit(rows, row)
    how: dict[str, Any] = {
        "num_threads": num_threads,
        "cache": tmp_path / "kept",
        "max_fault_share": 1.0,
    }
    with without_files(manifest):
        found = read(kept := stream_of(manifest, **how))
    assert sorted(kept.faults) == sorted(damaged)
    assert np.flatnonzero(found[0].weights == 0).tolist() == [35, 68]
    expected, served = row_bytes(plain), row_bytes(found)
    assert {row for row in expected if served[row] != expected[row]} == set(damaged)


# --- a cache larger than the memory ----------------------------------------------------

LARGE = 64  # a picture is then 4,096 bytes, and all are a whole number of pages of 4 to 64 kB


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Return the parts of maps that the system is asked to read ahead: (begin, length) each."""
    found: list[tuple[int, int]] = []

    class Watched(mmap.mmap):
        def madvise(self, option: int, start: int = 0, length: int = 0) -> None:
            super().madvise(option, start, length)  # refuses what is not of the map
            if option == mmap.MADV_WILLNEED:
                found.append((start, length))

    monkeypatch.setattr(mmap, "mmap", Watched)
    return found


@pytest.fixture
def grey(tmp_path: Path) -> Manifest:
    """64 pictures of one file; of a size that fills pages."""
    Image.effect_noise((LARGE, LARGE), 80).save(tmp_path / "noise.png")
    names = [f"{number:02d}.png" for number in range(LARGE)]
    (tmp_path / "grey").mkdir()
    for name in names:
        (tmp_path / "grey" / name).symlink_to(tmp_path / "noise.png")
    found = (tmp_path / "noise.png").stat()
    known = {"bytes": [found.st_size] * LARGE, "mtime_ns": [found.st_mtime_ns] * LARGE}
    return Manifest.make(tmp_path / "grey", {"record_id": names, **known})


def grey_stream(manifest: Manifest, **how: Any) -> Stream:
    size = {"image_size": (LARGE, LARGE), "channels": 1, "batch_size": 40}
    return stream_of(manifest, **{**size, **how})


def pretend_memory(monkeypatch: pytest.MonkeyPatch, pages: int) -> None:
    """Let the system say that this machine has so many pages of memory."""
    ask = os.sysconf
    monkeypatch.setattr(os, "sysconf", lambda name: pages if name == "SC_PHYS_PAGES" else ask(name))


TWICE = 2 * LARGE**3 // mmap.PAGESIZE  # pages of twice the cache


@threads
@pytest.mark.parametrize("pages", [1, TWICE - 1])
def test_rows_of_a_cache_past_half_the_memory_are_read_ahead_and_the_bytes_are_the_same(
    grey: Manifest,
    asked: list[tuple[int, int]],
    pages: int,
    num_threads: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = read(grey_stream(grey))
    read(grey_stream(grey, cache=tmp_path / "kept"))
    pretend_memory(monkeypatch, pages)
    with grey_stream(grey, num_threads=num_threads, cache=tmp_path / "kept", prefetch=1) as kept:
        batches = kept.epoch(0)
        first = next(batches)
        covered = np.zeros((LARGE, LARGE * LARGE), np.bool_)
        for begin, length in asked:
            covered.reshape(-1)[begin : begin + length] = True
        assert covered[first.rows].all()
        assert batch_bytes([first, *batches]) == batch_bytes(expected)
    assert sum(length for _, length in asked) >= covered.size


@pytest.mark.parametrize("pages", [None, TWICE])
def test_a_cache_that_fits_into_half_the_memory_is_not_read_ahead(
    grey: Manifest,
    asked: list[tuple[int, int]],
    pages: int | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if pages is not None:
        pretend_memory(monkeypatch, pages)
    expected = read(grey_stream(grey))
    for _ in range(2):
        kept = read(grey_stream(grey, cache=tmp_path / "kept"))
        assert batch_bytes(kept) == batch_bytes(expected)
    assert asked == []


def test_a_cache_past_the_memory_that_lacks_rows_gives_the_same_bytes(
    manifest: Manifest,
    asked: list[tuple[int, int]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = two_epochs(stream_of(manifest))
    pretend_memory(monkeypatch, 1)
    fill(manifest, tmp_path / "kept", "train")
    assert two_epochs(stream_of(manifest, cache=tmp_path / "kept")) == expected
    assert asked  # from the second epoch on, every row is there


# --- many batches ----------------------------------------------------------------------


@pytest.mark.parametrize("num_shards", [1, 2])
def test_the_changes_of_a_record_are_its_own_far_into_an_epoch(num_shards: int) -> None:
    count = 2500  # order and changes are worked out for about a thousand at once
    pixels = np.random.default_rng(0).integers(0, 256, (count, 4, 4, 3)).astype(np.uint8)
    index = index_arrays(pixels, np.zeros(count, np.int64), class_names=["one"])
    how = {"image_size": (4, 4), "shuffle": True, "augment": CHANGES}
    whole = read(Stream(index, split=None, config=config(batch_size=count, **how)))
    parts = [
        Stream(
            index,
            split=None,
            config=config(batch_size=BATCH, **how),
            shard_index=number,
            num_shards=num_shards,
        )
        for number in range(num_shards)
    ]
    found = [batch for part in parts for batch in read(part)]
    assert sorted(rows_of(found)) == list(range(count))
    assert row_bytes(found) == row_bytes(whole)
