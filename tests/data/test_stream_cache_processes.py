"""The cache of decoded images under several processes, full disks, limits and kills.

Everything here happens in processes of its own, for real.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from sightline.data.stream.cache import CacheKey, PixelCache, list_caches

SIDE, NUM_ROWS = 48, 300
KEY = CacheKey(
    index_fingerprint="of these files",
    num_rows=NUM_ROWS,
    image_size=(SIDE, SIDE),
    channels=3,
    quality="fast",
    interpolation="bilinear",
    crop_to_aspect_ratio=False,
    rule_set="sightline",
    background=(255, 255, 255),
    resize_version=1,
)
# What every program below begins with: a cache of 40 rows, and what its rows should be.
BEGIN = """
import json, os, resource, signal, sys, time, warnings
from pathlib import Path
import numpy as np
from sightline.data.stream.cache import CacheKey, CacheWarning, PixelCache

def image(row):
    return np.random.default_rng(row).integers(0, 256, KEY.shape, np.uint8)

def opened(**more):
    return PixelCache.open(Path(sys.argv[1]), KEY, images_root="photos", **more)

def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

def fill(cache):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for row in range(40):
            cache.write(row, image(row))
    whole = cache.check(np.arange(40))
    told = {
        "warnings": [str(each.message) for each in caught],
        "whole": np.flatnonzero(whole).tolist(),
        "wrong": [r for r in range(40) if whole[r] and (cache.rows[r] != image(r)).any()],
        "damaged": cache.damaged,
        "filling": cache.filling,
    }
    print(json.dumps(told))

KEY = CacheKey(index_fingerprint="x", num_rows=40, image_size=(101, 100), channels=3,
    quality="fast", interpolation="bilinear", rule_set="sightline", background=(0, 0, 0),
    crop_to_aspect_ratio=False,
    resize_version=1)
"""
ROW_BYTES = 101 * 100 * 3


def told_by(program: str, root: Path) -> Any:
    """Return what a program prints, as JSON."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", BEGIN + program, str(root)],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# --- a full disk -----------------------------------------------------------------------


def test_a_limit_on_the_size_of_files_costs_the_rows_past_it_and_one_warning(
    tmp_path: Path,
) -> None:
    middle = 20 * ROW_BYTES + 100  # in the middle of a row: its first bytes are taken
    told = told_by(f"cache = opened(); limit({middle}); fill(cache)", tmp_path)
    (warning,) = told["warnings"]
    assert "File too large" in warning
    assert told["whole"] == list(range(20))
    assert (told["wrong"], told["damaged"], told["filling"]) == ([], 0, False)


def test_what_a_limit_left_undone_is_done_by_the_next_process(tmp_path: Path) -> None:
    told_by(f"cache = opened(); limit({20 * ROW_BYTES + 100}); fill(cache)", tmp_path)
    told = told_by("fill(opened())", tmp_path)
    assert (told["warnings"], told["whole"], told["wrong"]) == ([], list(range(40)), [])


def test_a_limit_that_forbids_the_files_is_one_warning_and_no_cache(tmp_path: Path) -> None:
    program = """
limit(1000)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    print(json.dumps([opened(), [str(each.message) for each in caught]]))
"""
    cache, (warning,) = told_by(program, tmp_path)
    assert cache is None
    assert "File too large" in warning


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 600 kB, which is half of what the rows need."""
    disk = tmp_path / "disk"
    disk.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(disk)]
    try:
        subprocess.run(words, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this user may not mount a small disk")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_costs_the_rows_it_has_no_room_for_and_one_warning(small_disk: Path) -> None:
    told = told_by("fill(opened(keep_free_bytes=0))", small_disk)
    (warning,) = told["warnings"]
    assert "GB are free on its disk and 0 GB are kept free" in warning
    assert 10 < len(told["whole"]) < 20
    assert (told["wrong"], told["damaged"], told["filling"]) == ([], 0, False)


def test_a_disk_that_another_program_fills_ends_the_filling(small_disk: Path) -> None:
    program = """
cache = opened(keep_free_bytes=0)
cache.write(0, image(0))  # from here on, room is taken for granted for a while
with open(Path(sys.argv[1]) / "other", "wb", buffering=0) as other:
    try:
        while other.write(b"x" * 4096): pass
    except OSError:
        pass
fill(cache)
"""
    told = told_by(program, small_disk)
    (warning,) = told["warnings"]
    assert "No space left on device" in warning
    assert told["whole"][0] == 0
    assert len(told["whole"]) < 5
    assert (told["wrong"], told["damaged"], told["filling"]) == ([], 0, False)


def test_a_small_disk_keeps_a_twentieth_free(small_disk: Path) -> None:
    told_by("fill(opened())", small_disk)
    disk = os.statvfs(small_disk)
    assert 0.05 <= disk.f_bavail / disk.f_blocks < 0.2


def test_a_disk_with_no_room_at_all_is_one_warning_and_no_cache(small_disk: Path) -> None:
    program = """
with open(Path(sys.argv[1]) / "other", "wb", buffering=0) as other:
    try:
        while other.write(b"x" * 4096): pass
    except OSError:
        pass
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    print(json.dumps([opened(), [str(each.message) for each in caught]]))
"""
    cache, (warning,) = told_by(program, small_disk)
    assert cache is None
    assert "No space left on device" in warning


# --- rights ----------------------------------------------------------------------------


def test_a_folder_that_may_only_be_read_is_one_warning_and_no_cache(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    program = """
if os.geteuid() == 0:
    os.seteuid(65534)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    print(json.dumps([opened(), [str(each.message) for each in caught]]))
"""
    cache, (warning,) = told_by(program, tmp_path)
    assert cache is None
    assert "Permission denied" in warning


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user without a home")
def test_a_user_without_a_home_is_told_to_name_a_folder(tmp_path: Path) -> None:
    program = """
os.environ.pop("HOME", None); os.environ.pop("SIGHTLINE_CACHE", None)
os.environ.pop("XDG_CACHE_HOME", None)
os.setuid(54321)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    cache = PixelCache.open(None, KEY, images_root="photos")
    print(json.dumps([cache, [str(each.message) for each in caught]]))
"""
    cache, (warning,) = told_by(program, tmp_path)
    assert cache is None
    assert "this user has no home folder" in warning
    assert "Set SIGHTLINE_CACHE to a folder" in warning


# --- several processes -----------------------------------------------------------------


def picture(row: int, round_number: int) -> npt.NDArray[np.uint8]:
    """Return what a row should hold; another round, other pixels."""
    generator = np.random.default_rng((row, round_number))
    return generator.integers(0, 256, KEY.shape, np.uint8)


def visit(cache: PixelCache, rows: npt.NDArray[np.int64], round_number: int) -> int:
    """Read what is there, write what is not, and return how many rows were wrong."""
    wrong = 0
    for row, whole in zip(rows.tolist(), cache.check(rows).tolist(), strict=True):
        if whole:
            wrong += not np.array_equal(cache.rows[row], picture(row, round_number))
        else:
            cache.write(row, picture(row, round_number))
    return wrong


def fill_rounds(root: Path, seed: int, seconds: float, answers: Any) -> None:
    """Fill one new cache after the other together with another process, in an own order."""
    deadline, rounds, wrong, damaged = time.monotonic() + seconds, 0, 0, 0
    rng = np.random.default_rng(seed)
    while time.monotonic() < deadline:
        key = replace(KEY, index_fingerprint=f"round {rounds}")
        # A cap of some rounds: old caches are evicted all the time, by both.
        with opened(root, key, max_bytes=20_000_000) as cache:
            while not cache.present(np.arange(NUM_ROWS)).all():
                wrong += visit(cache, rng.permutation(NUM_ROWS)[:32], rounds)
            wrong += visit(cache, rng.permutation(NUM_ROWS), rounds)
            damaged += cache.damaged
        rounds += 1
    answers.put((rounds, wrong, damaged))


def opened(root: Path, key: CacheKey = KEY, **more: Any) -> PixelCache:
    cache = PixelCache.open(root, key, images_root="photos", **more)
    assert cache is not None
    return cache


@pytest.mark.parametrize("seconds", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_two_processes_fill_the_same_caches_without_a_wrong_byte(
    seconds: float, tmp_path: Path
) -> None:
    spawn = multiprocessing.get_context("spawn")
    answers = spawn.SimpleQueue()
    processes = [
        spawn.Process(target=fill_rounds, args=(tmp_path, seed, seconds, answers))
        for seed in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(seconds + 60)
    assert [process.exitcode for process in processes] == [0, 0]
    for rounds, wrong, damaged in (answers.get(), answers.get()):
        assert rounds > 3
        assert (wrong, damaged) == (0, 0)
    assert sum(each.num_bytes for each in list_caches(tmp_path)) < 20_000_000 + 2 * 2**21


def test_a_cache_in_use_by_another_process_is_neither_evicted_nor_cleared(tmp_path: Path) -> None:
    program = """
from sightline.data.stream.cache import clear_caches
parent, child = os.getpid(), os.fork()
if child == 0:
    cache = opened()
    cache.write(0, image(0))
    (Path(sys.argv[1]) / "ready").touch()
    while os.getppid() == parent:  # so that a failure leaves nothing running
        time.sleep(0.1)
    os._exit(0)
while not (Path(sys.argv[1]) / "ready").exists():
    time.sleep(0.01)
cleared = [len(clear_caches(Path(sys.argv[1])).in_use)]
os.kill(child, signal.SIGKILL)
os.waitpid(child, 0)
cleared.append(len(clear_caches(Path(sys.argv[1])).in_use))
print(json.dumps(cleared))
"""
    assert told_by(program, tmp_path) == [1, 0]


def test_a_cache_may_be_opened_while_another_process_clears_all_the_time(tmp_path: Path) -> None:
    program = """
from sightline.data.stream.cache import clear_caches
parent, child = os.getpid(), os.fork()
if child == 0:
    while os.getppid() == parent:  # so that a failure leaves nothing running
        clear_caches(Path(sys.argv[1]))
    os._exit(0)
deadline, opens, lost = time.monotonic() + 1, 0, 0
while time.monotonic() < deadline:
    with opened() as cache:
        cache.write(opens % 40, image(opens % 40))
        lost += cache.read(opens % 40) is None
        lost += not (cache.folder / "rows.u8").exists()
    opens += 1
os.kill(child, signal.SIGKILL)
os.waitpid(child, 0)
print(json.dumps([opens, lost]))
"""
    opens, lost = told_by(program, tmp_path)
    assert opens > 50
    assert lost == 0


def test_a_file_of_the_wrong_length_is_replaced_and_not_cut_under_a_reader(
    tmp_path: Path,
) -> None:
    program = """
cache = opened()
for row in range(40):
    cache.write(row, image(row))
with open(cache.folder / "rows.u8", "ab") as file:
    file.write(b"x")
with opened() as other:
    told = [int(other.present(np.arange(40)).sum())]
told.append(int(cache.check(np.arange(40)).sum()))
print(json.dumps(told))
"""
    assert told_by(program, tmp_path) == [0, 40]


# --- kills -----------------------------------------------------------------------------

KILLING = """
KEY = CacheKey(index_fingerprint="x", num_rows=200, image_size=(512, 512), channels=3,
    quality="fast", interpolation="bilinear", rule_set="sightline", background=(0, 0, 0),
    crop_to_aspect_ratio=False,
    resize_version=1)
images = [image(row) for row in range(8)]
rng, rows = np.random.default_rng(0), np.arange(200)
absent_but_begun = wrong = damaged = present = 0
for trial in range(40):
    child = os.fork()
    if child == 0:
        with opened() as cache:
            for row in np.flatnonzero(~cache.present(rows)).tolist():
                cache.write(row, images[row % 8])
        os._exit(0)
    time.sleep(float(rng.uniform(0.001, 0.01)))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with opened() as cache:
        whole = cache.check(rows)
        wrong += sum((cache.rows[row] != images[row % 8]).any() for row in np.flatnonzero(whole))
        absent_but_begun += sum(bool(cache.rows[row].any()) for row in np.flatnonzero(~whole))
        present += int(whole.sum())
        damaged += cache.damaged
        folder = cache.folder
    if whole.all():
        for name in ("rows.u8", "sums.u64"):
            (folder / name).unlink()
print(json.dumps([int(wrong), damaged, absent_but_begun, present]))
"""


def test_a_filler_killed_40_times_leaves_only_rows_that_are_right_or_absent(
    tmp_path: Path,
) -> None:
    wrong, damaged, begun, present = told_by(KILLING, tmp_path)
    assert (wrong, damaged) == (0, 0)
    assert present > 40  # it did write
    assert begun > 0  # and was killed in the middle of a row


def test_a_process_killed_while_it_clears_leaves_no_half_cache(tmp_path: Path) -> None:
    program = """
from dataclasses import replace
from sightline.data.stream.cache import clear_caches
root, half, gone = Path(sys.argv[1]), 0, set()

def fill_all():
    for name in range(8):
        key = replace(KEY, index_fingerprint=str(name))
        with PixelCache.open(root, key, images_root="photos") as cache:
            for row in range(0, 40, 8):
                cache.write(row, pixels)

def clear_in_a_child(seconds):
    child = os.fork()
    if child == 0:
        clear_caches(root)
        os._exit(0)
    if seconds:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)

pixels = image(0)
fill_all()
begun = time.perf_counter()
clear_in_a_child(0)
whole = time.perf_counter() - begun
for trial in range(40):
    fill_all()
    clear_in_a_child(whole * (trial + 1) / 40)
    left = [path for path in (root / "decoded").iterdir() if len(path.name) == 64]
    gone.add(8 - len(left))
    half += sum(len(list(path.iterdir())) != 4 for path in left)
with opened():
    trash = len(list(root.glob("decoded/.trash*")))
print(json.dumps([half, trash, len(gone)]))
"""
    half, trash, outcomes = told_by(program, tmp_path)
    assert (half, trash) == (0, 0)
    assert outcomes > 2  # it was killed in the middle of it
