"""The account of an epoch: every image came, as often as it should; and what is said of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import small_recipe

import sightline as sl
from sightline.data.stream import Stream, StreamConfig, checksum
from sightline.learning.training.diverging import some
from sightline.learning.training.standing import Standing, Tally
from sightline.learning.training.telling import add_up, count, end_in_words, epoch_in_words
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


ROW: dict[str, Any] = {
    "epoch": 2,
    "objective": 0.5,
    "loss": 0.41234,
    "accuracy": 0.8,
    "recall": 0.7,
    "learning_rate": 0.0018749,
    "images": 4237,
    "distinct": 3999,
    "val_loss": 0.31234,
    "val_accuracy": 0.9,
    "val_auc": 0.95,
    "val_recall": 0.75,
    "raw_val_loss": 0.4,
    "seconds": 12.34,
    "seconds_waiting": 0.21,
    "seconds_computing": 10.06,
    "images_per_second": 412.6,
    "memory_mb": 1893.2,
    "faults": 0,
    "val_faults": 0,
}


def test_an_epoch_is_told_in_two_lines_with_all_its_figures() -> None:
    assert epoch_in_words(ROW, 15, True) == (
        "epoch   3/15  loss 0.4123  val_loss 0.3123  accuracy 0.8000  val_accuracy 0.9000  "
        "val_auc 0.9500  recall 0.7000  val_recall 0.7500  12.3 s, 413 images/s  best so far",
        "          4,237 images (3,999 distinct), 0 faults, 0.2 s waiting, 10.1 s computing, "
        "learning rate 0.00187, 1.9 GB",
    )


@pytest.mark.parametrize(
    ("faults", "in_validation", "said"),
    [(1, 0, "1 fault, "), (2, 0, "2 faults, "), (2, 1, "3 faults (1 in validation), ")],
)
def test_files_that_could_not_be_read_are_counted_in_the_lines(
    faults: int, in_validation: int, said: str
) -> None:
    row = ROW | {"faults": faults, "val_faults": in_validation}
    assert f"distinct), {said}0.2 s waiting" in epoch_in_words(row, 15, False)[1]


def test_of_many_records_five_are_named_and_the_others_counted(stream: Stream) -> None:
    rows = next(iter(stream.epoch(0))).rows
    ids = [stream.record_id(int(row)) for row in rows]
    assert some(stream, rows) == f"records {', '.join(ids[:5])} and {len(ids) - 5} more"
    assert some(stream, rows[:5]) == f"records {', '.join(ids[:5])}"


def ended_by_time(done: int, **changes: Any) -> str:
    """Return how a training ended that has done some of its ten epochs, of 100 steps each."""
    recipe = small_recipe(train__epochs=10, stop__minutes=1.0, **changes)
    standing = Standing.of(recipe, 100, 2)
    for _ in range(done):
        standing.epoch_done(60.0)
    return end_in_words(done, recipe, standing)


@pytest.mark.parametrize(("done", "share"), [(2, 97), (5, 59), (7, 25)])
def test_a_rate_that_time_left_high_is_told(done: int, share: int) -> None:
    said = ended_by_time(done, schedule__kind="cosine", schedule__warmup=0.1)
    assert said.endswith(
        "within 1 minutes. The learning rate had not come down yet: it ended at "
        f"{share} % of its peak, as the cosine schedule is laid out over 10 epochs. A training "
        f"with train.epochs={done} ends where it is lowest."
    )


@pytest.mark.parametrize(("done", "kind"), [(9, "cosine"), (9, "one-cycle"), (2, "constant")])
def test_a_rate_that_is_low_or_never_falls_is_not_worth_a_word(done: int, kind: str) -> None:
    assert ended_by_time(done, schedule__kind=kind).endswith("within 1 minutes.")
