"""The cache of decoded images, in one process: what is kept, for how long, and what is found."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from sightline.data.stream.cache import (
    CacheKey,
    CacheWarning,
    PixelCache,
    clear_caches,
    list_caches,
)

SHAPE = (32, 24, 3)
NUM_ROWS = 200
ROW_BYTES = 32 * 24 * 3
ALL = np.arange(NUM_ROWS)
KEY = CacheKey(
    index_fingerprint="of these files",
    num_rows=NUM_ROWS,
    image_size=SHAPE[:2],
    channels=3,
    quality="fast",
    interpolation="bilinear",
    crop_to_aspect_ratio=False,
    rule_set="sightline",
    background=(255, 255, 255),
    resize_version=1,
)
CHANGED: dict[str, Any] = {
    "index_fingerprint": "of other files",
    "num_rows": NUM_ROWS + 1,
    "image_size": (24, 32),
    "channels": 1,
    "quality": "best",
    "interpolation": "nearest",
    "crop_to_aspect_ratio": True,
    "rule_set": "keras",
    "background": (255, 255, 254),
    "resize_version": 2,
    "decoder_version": KEY.decoder_version + 1,
    "simplejpeg": "0.0.1",
    "pillow": "0.0.1",
    "opencv": "0.0.1",
    "machine": "vax",
}

Open = Callable[..., PixelCache]


def image(row: int) -> npt.NDArray[np.uint8]:
    """Return the picture that a file of this row would be decoded to."""
    return np.random.default_rng(row).integers(0, 256, SHAPE, np.uint8)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "kept"


@pytest.fixture
def opened(root: Path) -> Iterator[Open]:
    """Return a function that opens a cache, which the test need not close."""
    caches = []

    def opening(key: CacheKey = KEY, **more: Any) -> PixelCache:
        cache = PixelCache.open(root, key, images_root="photos", **more)
        assert cache is not None
        caches.append(cache)
        return cache

    yield opening
    for cache in caches:
        cache.close()


@pytest.fixture
def full(opened: Open) -> PixelCache:
    """A cache with every row."""
    cache = opened()
    write_rows(cache)
    return cache


def write_rows(cache: PixelCache, count: int = NUM_ROWS) -> None:
    """Write rows in order, from the first again after the last."""
    for number in range(count):
        cache.write(number % NUM_ROWS, image(number % NUM_ROWS))


def right_rows(cache: PixelCache) -> int:
    """Return how many rows are whole and have the bytes they should have."""
    whole = np.flatnonzero(cache.check(ALL))
    return sum(np.array_equal(cache.rows[row], image(row)) for row in whole.tolist())


def change_byte(path: Path, offset: int, mask: int) -> None:
    """Flip the bits of `mask` in one byte of a file, behind everybody's back."""
    with path.open("r+b") as file:
        file.seek(offset)
        (byte,) = file.read(1)
        file.seek(offset)
        file.write(bytes([byte ^ mask]))


def warned(caught: pytest.WarningsRecorder) -> str:
    """Return the only warning."""
    (warning,) = caught
    return str(warning.message)


# --- rows ------------------------------------------------------------------------------


def test_a_row_comes_back_as_it_was_written(opened: Open) -> None:
    cache = opened()
    cache.write(7, image(7))
    row = cache.read(7)
    assert row is not None
    np.testing.assert_array_equal(row, image(7))


def test_a_row_that_was_not_written_is_absent(opened: Open) -> None:
    cache = opened()
    cache.write(7, image(7))
    assert cache.read(8) is None


@pytest.mark.parametrize("ask", [PixelCache.present, PixelCache.check])
def test_only_written_rows_are_found(opened: Open, ask: Callable[..., Any]) -> None:
    cache = opened()
    for row in (0, 5, NUM_ROWS - 1):
        cache.write(row, image(row))
    assert np.flatnonzero(ask(cache, ALL)).tolist() == [0, 5, NUM_ROWS - 1]


def test_rows_are_answered_in_the_order_they_are_asked_for(opened: Open) -> None:
    cache = opened()
    cache.write(3, image(3))
    assert cache.check(np.asarray([5, 3, 4, 3])).tolist() == [False, True, False, True]


def test_a_second_process_life_finds_every_row(full: PixelCache, opened: Open) -> None:
    full.close()
    assert right_rows(opened()) == NUM_ROWS


def test_two_openings_see_each_others_rows_at_once(opened: Open) -> None:
    one, other = opened(), opened()
    one.write(1, image(1))
    other.write(2, image(2))
    assert np.flatnonzero(one.check(ALL)).tolist() == [1, 2]
    assert np.flatnonzero(other.check(ALL)).tolist() == [1, 2]


def test_rows_cannot_be_changed_through_the_mapping(full: PixelCache) -> None:
    with pytest.raises(ValueError, match="read-only"):
        full.rows[0, 0, 0, 0] = 1


def test_a_black_image_is_a_row_like_any_other(opened: Open) -> None:
    cache = opened()
    cache.write(0, np.zeros(SHAPE, np.uint8))
    assert cache.check(ALL[:2]).tolist() == [True, False]


def test_an_image_that_is_a_view_with_strides_is_kept_whole(opened: Open) -> None:
    cache = opened()
    flipped = image(0)[:, ::-1]
    cache.write(0, flipped)
    np.testing.assert_array_equal(cache.rows[0], flipped)


def test_prefetching_changes_nothing_but_the_time(full: PixelCache) -> None:
    full.prefetch(ALL[::-1])
    assert right_rows(full) == NUM_ROWS


@pytest.mark.parametrize("wrong", [np.zeros((24, 32, 3), np.uint8), np.zeros(SHAPE, np.float32)])
def test_an_image_of_another_shape_or_type_is_refused(
    opened: Open, wrong: npt.NDArray[Any]
) -> None:
    with pytest.raises(ValueError, match=r"an image of this cache is \(32, 24, 3\) uint8, got"):
        opened().write(0, wrong)


@pytest.mark.parametrize("row", [-1, NUM_ROWS])
def test_a_row_that_does_not_exist_is_refused(opened: Open, row: int) -> None:
    cache = opened()
    with pytest.raises(IndexError, match=str(row)):
        cache.write(row, image(0))
    with pytest.raises(IndexError, match=str(row)):
        cache.read(row)


def test_threads_may_fill_one_cache_at_once(opened: Open) -> None:
    cache = opened()

    def fill(seed: int) -> None:
        for row in np.random.default_rng(seed).permutation(NUM_ROWS).tolist():
            if cache.read(row) is None:
                cache.write(row, image(row))

    threads = [threading.Thread(target=fill, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (right_rows(cache), cache.damaged) == (NUM_ROWS, 0)


# --- closing ---------------------------------------------------------------------------


def test_a_closed_cache_says_so(full: PixelCache) -> None:
    full.close()
    with pytest.raises(ValueError, match="is closed"):
        full.check(ALL)


def test_rows_that_were_handed_out_outlive_the_cache(opened: Open) -> None:
    with opened() as cache:
        cache.write(0, image(0))
        row = cache.read(0)
    assert row is not None
    np.testing.assert_array_equal(row, image(0))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="no /proc on this system")
def test_closing_leaves_no_open_file(opened: Open) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    cache = opened()
    cache.write(0, image(0))
    cache.close()
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_closing_under_a_writing_thread_hits_no_other_file(opened: Open, tmp_path: Path) -> None:
    for attempt in range(20):
        cache = opened()
        begun = threading.Event()

        def write(cache: PixelCache = cache, begun: threading.Event = begun) -> None:
            begun.set()
            with pytest.raises(ValueError, match="is closed"):
                write_rows(cache, 10**9)

        thread = threading.Thread(target=write)
        thread.start()
        begun.wait()
        cache.close()  # its numbers are free now, and the next files get them
        others = [tmp_path / f"{attempt}-{number}" for number in range(5)]
        files = [other.open("wb") for other in others]
        thread.join()
        for file in files:
            file.close()
        assert [other.stat().st_size for other in others] == [0] * 5


# --- the key ---------------------------------------------------------------------------


def test_every_field_of_the_key_is_tried() -> None:
    assert list(CHANGED) == [field.name for field in fields(CacheKey)]


@pytest.mark.parametrize("name", CHANGED)
def test_another_value_of_any_field_of_the_key_misses_every_row(
    name: str, full: PixelCache, opened: Open
) -> None:
    other = opened(replace(KEY, **{name: CHANGED[name]}))
    rows = np.arange(replace(KEY, **{name: CHANGED[name]}).num_rows)
    assert not other.present(rows).any()
    assert right_rows(full) == NUM_ROWS


def test_an_equal_key_is_the_same_cache(full: PixelCache, opened: Open) -> None:
    assert opened(replace(KEY)).present(ALL).all()


def test_the_key_can_be_read_beside_the_rows(full: PixelCache) -> None:
    about = json.loads((full.folder / "about.json").read_text())
    assert about["key"] == {**KEY.to_dict(), "image_size": [32, 24]}
    assert (about["images_root"], about["num_rows"], about["shape"]) == ("photos", 200, [*SHAPE])


@pytest.mark.parametrize("name", ["num_rows", "channels"])
def test_a_count_below_one_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        replace(KEY, **{name: 0})


def test_an_image_size_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match=r"image_size must be .* got \(0, 3\)"):
        replace(KEY, image_size=(0, 3))


# --- damage ----------------------------------------------------------------------------


def test_one_flipped_bit_in_every_row_is_found_and_mended_200_times_of_200(
    full: PixelCache,
) -> None:
    rng = np.random.default_rng(0)
    for row in range(NUM_ROWS):
        place = row * ROW_BYTES + int(rng.integers(ROW_BYTES))
        change_byte(full.folder / "rows.u8", place, 1 << int(rng.integers(8)))
    assert not full.check(ALL).any()
    assert full.damaged == 200
    assert not full.present(ALL).any()
    write_rows(full)
    assert (right_rows(full), full.damaged) == (200, 200)


def test_one_flipped_bit_in_any_checksum_gives_its_row_up(full: PixelCache) -> None:
    rng = np.random.default_rng(1)
    for row in range(NUM_ROWS):
        change_byte(full.folder / "sums.u64", row * 8 + int(rng.integers(8)), 1 << (row % 8))
    assert (right_rows(full), full.damaged) == (0, NUM_ROWS)


def test_reading_a_damaged_row_gives_nothing(full: PixelCache) -> None:
    change_byte(full.folder / "rows.u8", 9 * ROW_BYTES, 1)
    assert full.read(9) is None
    assert full.read(8) is not None


def test_a_row_in_another_rows_place_is_found(full: PixelCache) -> None:
    sums, rows = full.folder / "sums.u64", full.folder / "rows.u8"
    for path, size in ((rows, ROW_BYTES), (sums, 8)):
        content = path.read_bytes()
        with path.open("r+b") as file:
            file.write(content[size : 2 * size] + content[:size])
    assert full.check(ALL[:3]).tolist() == [False, False, True]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"key": 3}', b"\xff\xfe", b"[" * 9999])
def test_a_damaged_description_is_written_anew_and_costs_no_row(
    content: bytes, full: PixelCache, opened: Open
) -> None:
    full.close()
    (full.folder / "about.json").write_bytes(content)
    assert right_rows(opened()) == NUM_ROWS
    assert json.loads((full.folder / "about.json").read_text())["key"] == KEY.to_dict()


@pytest.mark.parametrize("length", [0, 1, NUM_ROWS * ROW_BYTES - 1, NUM_ROWS * ROW_BYTES + 1])
def test_rows_of_the_wrong_length_are_begun_anew(
    length: int, full: PixelCache, opened: Open
) -> None:
    full.close()
    os.truncate(full.folder / "rows.u8", length)
    cache = opened()
    assert not cache.present(ALL).any()
    cache.write(4, image(4))
    assert right_rows(cache) == 1


@pytest.mark.parametrize("length", [0, 1, NUM_ROWS * 8 - 1, NUM_ROWS * 8 + 1])
def test_sums_of_the_wrong_length_are_begun_anew(
    length: int, full: PixelCache, opened: Open
) -> None:
    full.close()
    os.truncate(full.folder / "sums.u64", length)
    assert not opened().present(ALL).any()


@pytest.mark.parametrize("name", ["rows.u8", "sums.u64"])
def test_a_lost_file_is_begun_anew(name: str, full: PixelCache, opened: Open) -> None:
    full.close()
    (full.folder / name).unlink()
    cache = opened()
    assert not cache.present(ALL).any()
    cache.write(4, image(4))
    assert right_rows(cache) == 1


def test_what_is_not_ours_is_passed_over(full: PixelCache, opened: Open, root: Path) -> None:
    (full.folder / "notes.txt").write_text("mine")
    (root / "decoded" / "holiday").mkdir()
    (root / "decoded" / ("e" * 64)).write_text("a file with the name of a cache")
    (root / "decoded" / ("d" * 64)).mkdir()
    assert right_rows(opened()) == NUM_ROWS
    assert len(list_caches(root)) == 2
    clear_caches(root)
    assert (root / "decoded" / "holiday").exists()


@pytest.mark.parametrize("name", ["rows.u8", "sums.u64", "used", "about.json"])
def test_a_folder_in_the_place_of_a_file_is_warned_of_once(
    name: str, full: PixelCache, root: Path
) -> None:
    full.close()
    (full.folder / name).unlink()
    (full.folder / name).mkdir()
    with pytest.warns(CacheWarning, match="Is a directory") as caught:
        assert PixelCache.open(root, KEY, images_root="photos") is None
    assert warned(caught)
    assert len(list_caches(root)) == 1


@pytest.mark.parametrize("name", ["rows.u8", "sums.u64", "used", "about.json"])
def test_a_pipe_in_the_place_of_a_file_keeps_nobody_waiting(
    name: str, full: PixelCache, root: Path
) -> None:
    full.close()
    (full.folder / name).unlink()
    os.mkfifo(full.folder / name)
    heard: list[str] = []
    PixelCache.open(root, KEY, images_root="photos", say=heard.append)
    assert len(list_caches(root)) == 1


# --- limits ----------------------------------------------------------------------------


def taken(root: Path) -> int:
    """Return what lies on the disk in all caches."""
    files = [path for path in (root / "decoded").rglob("*") if path.is_file()]
    return sum(path.stat().st_blocks * 512 for path in files)


def test_rows_past_the_cap_stay_absent_with_one_warning(opened: Open, root: Path) -> None:
    cache = opened(max_bytes=200_000)
    with pytest.warns(CacheWarning, match="all caches together may take 0.0002 GB") as caught:
        write_rows(cache)
    assert warned(caught).startswith(f"no more decoded images are kept in {cache.folder}: ")
    assert not cache.filling
    assert 30 < right_rows(cache) < NUM_ROWS
    assert 100_000 < taken(root) <= 200_000


def test_free_space_is_kept(opened: Open) -> None:
    cache = opened(keep_free_bytes=10**18)
    with pytest.warns(CacheWarning, match="1e\\+09 GB are kept free") as caught:
        write_rows(cache)
    assert warned(caught)
    assert not cache.present(ALL).any()


def test_the_warning_can_go_elsewhere(opened: Open) -> None:
    heard: list[str] = []
    write_rows(opened(max_bytes=0, say=heard.append))
    assert len(heard) == 1


def test_images_larger_than_a_step_of_counting_are_kept(opened: Open) -> None:
    cache = opened(replace(KEY, num_rows=2, image_size=(2000, 2000)))
    large = np.full((2000, 2000, 3), 7, np.uint8)
    cache.write(1, large)
    assert cache.check(ALL[:2]).tolist() == [False, True]


@pytest.mark.parametrize("name", ["max_bytes", "keep_free_bytes"])
def test_a_negative_limit_is_refused(name: str, opened: Open) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 0, got -1"):
        opened(**{name: -1})


def filled(opened: Open, fingerprint: str, *, last_used: int) -> PixelCache:
    """Return a full cache of about 500 kB that was last opened at a time."""
    cache = opened(replace(KEY, index_fingerprint=fingerprint))
    write_rows(cache)
    os.utime(cache.folder / "used", (last_used, last_used))
    return cache


def test_the_least_recently_used_cache_makes_room(opened: Open) -> None:
    new, old = filled(opened, "new", last_used=2), filled(opened, "old", last_used=1)
    new.close()
    old.close()
    cache = filled(lambda key: opened(key, max_bytes=1_300_000), "newest", last_used=3)
    assert (old.folder.exists(), new.folder.exists()) == (False, True)
    assert (right_rows(cache), cache.filling) == (NUM_ROWS, True)


def test_a_cache_that_is_open_is_not_evicted(opened: Open) -> None:
    new, old = filled(opened, "new", last_used=2), filled(opened, "old", last_used=1)
    new.close()
    filled(lambda key: opened(key, max_bytes=1_300_000), "newest", last_used=3)
    assert (old.folder.exists(), new.folder.exists()) == (True, False)
    assert right_rows(old) == NUM_ROWS


def test_nothing_is_evicted_before_room_is_needed(opened: Open) -> None:
    old = filled(opened, "old", last_used=1)
    old.close()
    cache = opened(max_bytes=600_000)
    assert old.folder.exists()
    cache.write(0, image(0))
    assert not old.folder.exists()


def test_two_caches_that_grow_at_once_keep_one_cap(opened: Open, root: Path) -> None:
    heard: list[str] = []
    keys = [replace(KEY, index_fingerprint=name) for name in ("one", "other")]
    caches = [opened(key, max_bytes=600_000, say=heard.append) for key in keys]
    for row in range(NUM_ROWS):
        for cache in caches:
            cache.write(row, image(row))
    # Each may go on for what it was granted last: at most one of them past the cap.
    assert taken(root) <= 600_000 + NUM_ROWS * ROW_BYTES
    assert len(heard) >= 1


def test_what_an_eviction_left_behind_is_swept(opened: Open, root: Path) -> None:
    left = root / "decoded" / ".trash-of-a-process-that-was-killed"
    left.mkdir(parents=True)
    (left / "rows.u8").write_bytes(b"pixels")
    opened()
    assert not left.exists()


def test_a_cache_that_was_removed_by_hand_is_read_on_and_not_filled(
    opened: Open, root: Path
) -> None:
    cache = opened()
    (cache.folder / "rows.u8").unlink()
    with pytest.warns(CacheWarning, match="it was removed while it was in use"):
        cache.write(0, image(0))
    assert not cache.present(ALL).any()


# --- list and clear --------------------------------------------------------------------


def test_the_list_tells_how_full_a_cache_is(opened: Open, root: Path) -> None:
    cache = opened()
    write_rows(cache, 50)
    (listed,) = list_caches(root)
    assert (listed.num_filled, listed.num_rows, listed.shape) == (50, NUM_ROWS, SHAPE)
    assert (listed.images_root, listed.quality, listed.in_use) == ("photos", "fast", True)
    assert 50 * ROW_BYTES <= listed.num_bytes < 60 * ROW_BYTES + 20_000


def test_the_list_says_that_nobody_has_a_cache_open(full: PixelCache, root: Path) -> None:
    full.close()
    assert [each.in_use for each in list_caches(root)] == [False]


def test_clearing_keeps_what_is_in_use(full: PixelCache, opened: Open, root: Path) -> None:
    other = opened(replace(KEY, quality="best"))
    other.close()
    cleared = clear_caches(root)
    assert [each.path for each in cleared.removed] == [other.folder]
    assert [each.path for each in cleared.in_use] == [full.folder]
    assert right_rows(full) == NUM_ROWS


def test_a_cleared_cache_begins_anew(full: PixelCache, opened: Open, root: Path) -> None:
    full.close()
    clear_caches(root)
    assert sorted(path.name for path in (root / "decoded").iterdir()) == [".lock"]
    assert not opened().present(ALL).any()


def test_nothing_to_list_or_clear_makes_no_folder(root: Path) -> None:
    assert (list_caches(root), clear_caches(root).removed) == ([], ())
    assert not root.exists()
