"""How `max_memory` is shared out: up to half for batches, and what they leave for decoding."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from small_sets import config, read

from sightline.data.images import encode_jpeg
from sightline.data.sources import index_arrays
from sightline.data.stream import Stream, StreamConfig
from sightline.data.stream.memory import Limits, limits
from sightline.records import Manifest

MB = 1_000_000


def usual(max_memory: int | None, **how: Any) -> StreamConfig:
    """Return a config of which a batch takes 19.3 MB."""
    return StreamConfig(image_size=(224, 224), batch_size=32, max_memory=max_memory, **how)


# --- the plan --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("max_memory", "num_threads", "prefetch", "planned"),
    [
        # Of each thread are 8 pictures of 150,528 bytes and 16 MB for a file: two keep 34.4 MB.
        (75 * MB, 2, 4, Limits(1, 17_028_192)),  # two batches, and 1 MB more a thread
        (100 * MB, 2, 4, Limits(1, 29_528_192)),  # half would hold 2.6 batches: still two
        (200 * MB, 2, 4, Limits(4, 50_626_816)),  # half would hold 5.2 batches: one and 4 ahead
        (200 * MB, 2, 8, Limits(4, 50_626_816)),
        (400 * MB, 2, 8, Limits(8, 112_091_648)),  # no more ahead than asked for
        (400 * MB, 2, 99, Limits(9, 102_457_856)),
        (2000 * MB, 2, 4, Limits(4, 950_626_816)),
        # Eight threads keep 137.6 MB, which leaves 62.4 MB for batches, and not half.
        (200 * MB, 8, 4, Limits(2, 16_570_432)),
        # The caller's own thread counts as one.
        (100 * MB, 0, 4, Limits(1, 60_260_608)),
        (100 * MB, 1, 4, Limits(1, 60_260_608)),
    ],
)
def test_memory_is_shared_out_in_these_numbers(
    max_memory: int, num_threads: int, prefetch: int, planned: Limits
) -> None:
    assert limits(usual(max_memory, prefetch=prefetch), num_threads) == planned


def test_without_a_bound_nothing_is_taken_away() -> None:
    assert limits(usual(None, prefetch=7), 3) == Limits(7, None)


plans = given(
    max_memory=st.integers(20 * MB, 4000 * MB),
    batch_size=st.integers(1, 256),
    side=st.integers(1, 384),
    num_threads=st.integers(0, 16),
    prefetch=st.integers(1, 32),
)


@plans
def test_batches_take_half_at_most_and_decoding_all_that_they_leave(
    max_memory: int, batch_size: int, side: int, num_threads: int, prefetch: int
) -> None:
    how = StreamConfig(
        image_size=(side, side), batch_size=batch_size, prefetch=prefetch, max_memory=max_memory
    )
    workers = max(1, num_threads)
    least = 2 * how.batch_bytes + workers * (8 * how.picture_bytes + 16 * MB)
    assume(max_memory >= least)
    planned = limits(how, num_threads)
    batches = (planned.prefetch + 1) * how.batch_bytes  # and the caller's own
    assert planned.prefetch == 1 or batches <= max_memory / 2
    assert planned.decode_bytes is not None
    decoding = workers * (planned.decode_bytes + 8 * how.picture_bytes)
    assert max_memory - workers < batches + decoding <= max_memory
    # One batch more would not have fitted.
    if planned.prefetch < prefetch:
        room = min(max_memory // 2, max_memory - workers * (8 * how.picture_bytes + 16 * MB))
        assert batches + how.batch_bytes > room


@plans
def test_more_memory_never_means_fewer_batches_ahead(
    max_memory: int, batch_size: int, side: int, num_threads: int, prefetch: int
) -> None:
    less, more = (
        StreamConfig(
            image_size=(side, side), batch_size=batch_size, prefetch=prefetch, max_memory=given
        )
        for given in (max_memory, max_memory * 3 // 2)
    )
    workers = max(1, num_threads)
    assume(max_memory >= 2 * less.batch_bytes + workers * (8 * less.picture_bytes + 16 * MB))
    assert limits(less, num_threads).prefetch <= limits(more, num_threads).prefetch


# --- what comes of it ------------------------------------------------------------------

WIDE = {"image_size": (64, 64), "batch_size": 64, "num_threads": 1, "prefetch": 32}  # 3.1 MB


@pytest.mark.parametrize(("max_memory", "most"), [(40, 20), (64, 32), (128, 64), (256, 104)])
def test_batches_that_wait_hold_about_half_of_the_memory_and_no_more(
    max_memory: int, most: int
) -> None:
    pixels = np.zeros((64 * 40, 64, 64, 3), np.uint8)
    index = index_arrays(pixels, np.zeros(len(pixels), np.int64), class_names=["one"])
    stream = Stream(index, split=None, config=config(max_memory=max_memory * MB, **WIDE))
    tracemalloc.start()
    try:
        with stream:
            held = 0
            for _batch in stream.epoch(0):  # the one in hand is held as well
                held = max(held, tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    # A batch is 3.1 MB, of which the thread may hold one for a moment longer; Python keeps some.
    assert (most - 4.2) * MB <= held <= (most + 4.2) * MB


def test_a_batch_that_the_caller_let_go_of_is_used_for_the_next() -> None:
    pixels = np.zeros((40, 8, 8, 3), np.uint8)
    index = index_arrays(pixels, np.zeros(len(pixels), np.int64), class_names=["one"])
    seen = set()
    with Stream(index, split=None, config=config(image_size=(8, 8), num_threads=0)) as stream:
        for batch in stream.epoch(0):
            seen.add(batch.images.ctypes.data)
            del batch
    assert len(seen) == 1


def reasons_of(root: Path, side: int, **how: Any) -> list[str]:
    """Return the faults of a stream of one square JPEG."""
    (root / "one.jpg").write_bytes(encode_jpeg(np.full((side, side, 1), 99, np.uint8)))
    manifest = Manifest.make(root, {"record_id": ["one.jpg"]})
    read(stream := Stream(manifest, split=None, config=config(max_fault_share=1.0, **how)))
    return [fault.reason for fault in stream.faults.values()]


@pytest.mark.parametrize("prefetch", [1, 4, 32])
def test_a_picture_that_half_of_the_memory_holds_is_read_however_many_batches_are_ahead(
    prefetch: int, tmp_path: Path
) -> None:
    how = {**WIDE, "prefetch": prefetch, "max_memory": 64 * MB}
    assert reasons_of(tmp_path, 1500, **how) == []  # 27 MB at 12 bytes a grey pixel


def test_a_picture_that_the_batches_leave_no_room_for_is_refused(tmp_path: Path) -> None:
    how = {**WIDE, "max_memory": 64 * MB}
    assert reasons_of(tmp_path, 1700, **how) == ["TOO_LARGE"]  # 34.7 MB
    assert reasons_of(tmp_path, 1700, **{**how, "prefetch": 1}) == []
    assert reasons_of(tmp_path, 1700, **{**how, "max_memory": None}) == []
