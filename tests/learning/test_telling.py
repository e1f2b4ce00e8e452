"""The account of an epoch: every image that belongs to it came, as often as it should."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sightline as sl
from sightline.data.stream import Stream, StreamConfig, checksum
from sightline.learning.training.standing import Tally
from sightline.learning.training.telling import add_up, count
from sightline.records import Batch

EPOCH = 1


@pytest.fixture(params=["all", "oversample", "undersample"])
def stream(request: pytest.FixtureRequest, pictures: Path) -> Iterator[Stream]:
    wanted: dict[str, Any] = {"image_size": (12, 16), "batch_size": 8, "sampling": request.param}
    config = StreamConfig(shuffle=True, seed=3, **wanted)
    with Stream(sl.scan(pictures), split="train", config=config) as opened:
        yield opened


def tallied(batches: list[Batch]) -> Tally:
    tally = Tally.empty(2)
    for batch in batches:
        confusion = np.diag(np.bincount(batch.labels, minlength=2)).astype(np.float32)
        count(tally, {"loss": 0.5, "entropy": 0.5, "confusion": confusion}, batch)
    return tally


def test_an_epoch_in_another_order_adds_up(stream: Stream) -> None:
    batches = list(stream.epoch(EPOCH))
    assert add_up(tallied(batches[::-1]), stream, EPOCH) == stream.distinct(EPOCH)


def test_a_batch_that_came_twice_in_place_of_another_is_noticed(stream: Stream) -> None:
    batches = list(stream.epoch(EPOCH))
    batches[1] = batches[0]
    with pytest.raises(sl.RunError, match=r"epoch 2 saw \d+ images, but not those that belong to"):
        add_up(tallied(batches), stream, EPOCH)


def test_a_batch_that_did_not_come_is_noticed(stream: Stream) -> None:
    batches = list(stream.epoch(EPOCH))
    with pytest.raises(sl.RunError, match=r"epoch 2 saw \d+ images, where \d+ were expected"):
        add_up(tallied(batches[1:]), stream, EPOCH)


def test_a_checksum_is_that_of_the_rows_in_any_order_and_any_parts() -> None:
    rows = np.arange(1000, dtype=np.int64)
    whole = checksum(np.random.default_rng(0).permutation(rows))
    assert (checksum(rows[:300]) + checksum(rows[300:])) % 2**64 == whole
    assert checksum(np.where(rows == 5, 6, rows)) != whole
