"""When a checkpoint is due."""

from __future__ import annotations

import errno
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import pytest
from tiny import small_recipe, train

import sightline as sl
from sightline import runs
from sightline.learning.training import cadence, variables
from sightline.learning.training.cadence import Cadence
from sightline.learning.training.saving import Keeper


class Watch:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    watch = Watch()
    monkeypatch.setattr(cadence, "time", SimpleNamespace(perf_counter=watch.perf_counter))
    return watch


def wait(one: Cadence, watch: Watch) -> float:
    """Return after how many seconds it is due."""
    began = watch.now
    while not one.step_done():
        watch.now += 1
    return watch.now - began


@pytest.mark.parametrize(
    ("size", "seconds"),
    [
        pytest.param(1_000_000, 20, id="small: after twenty seconds"),
        pytest.param(180_000_000, 240, id="large: when it will have cost one percent"),
        pytest.param(2_000_000_000, 300, id="of any size: within five minutes"),
    ],
)
def test_the_first_waits_for_what_it_will_cost(size: int, seconds: int, watch: Watch) -> None:
    one = Cadence()
    one.expect(size)
    assert wait(one, watch) == seconds


class Sizes(keras.callbacks.Callback):
    """Notes what a checkpoint is expected to have, and has."""

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        read = variables.read(self.model)
        self.found = variables.size(self.model), sum(each.nbytes for each in read.values())


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_a_training_expects_of_its_first_checkpoint_what_it_has(
    average: float, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected: list[int] = []
    monkeypatch.setattr(Cadence, "expect", lambda _, size: expected.append(size))
    sizes = Sizes()
    train(
        pictures, tmp_path / "run", callbacks=[sizes], train__weight_average=average,
        train__epochs=1, model__normalisation="batch",
    )  # fmt: skip
    size, held = sizes.found
    assert expected == [size]
    assert size == pytest.approx(held, rel=0.001)


def test_a_full_disk_is_left_alone_for_a_while(
    watch: Watch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(runs, "save_checkpoint", full)
    with closing(Keeper(tmp_path, small_recipe(), ("cat", "dog"), sl.Silent(), {})) as keeper:
        keeper.save(1, {}, {})
        assert wait(keeper.cadence, watch) == 20


def test_the_next_comes_after_a_hundred_times_what_the_last_one_took(watch: Watch) -> None:
    one = Cadence()
    one.saved(0.5)
    assert wait(one, watch) == 50


@pytest.mark.parametrize("wanted", [{}, {"steps": 1}, {"seconds": 3}])
def test_one_that_fails_at_once_is_not_tried_again_at_once(
    wanted: dict[str, int], watch: Watch
) -> None:
    one = Cadence(**wanted)
    one.saved(0.001)
    one.failed()
    assert wait(one, watch) == 20


def test_one_that_fails_is_tried_again_when_the_next_would_have_come(watch: Watch) -> None:
    one = Cadence()
    one.saved(2.0)
    one.failed()
    assert wait(one, watch) == 200


def test_seconds_that_were_asked_for_stay(watch: Watch) -> None:
    one = Cadence(seconds=3)
    one.expect(180_000_000)
    waited = [wait(one, watch)]
    one.saved(9.0)
    assert [*waited, wait(one, watch)] == [3, 3]


def test_what_was_asked_for_holds_again_after_a_try_that_did_not_fail(watch: Watch) -> None:
    one = Cadence(seconds=3)
    one.failed()
    one.saved(9.0)
    assert wait(one, watch) == 3


def test_steps_that_were_asked_for_stay(watch: Watch) -> None:
    one = Cadence(steps=2)
    assert [one.step_done() for _ in range(2)] == [False, True]
    one.saved(9.0)
    watch.now += 1e6
    assert [one.step_done() for _ in range(2)] == [False, True]


def test_of_steps_and_seconds_what_comes_first_decides(watch: Watch) -> None:
    assert [wait(Cadence(steps, seconds=3), watch) for steps in (3, 100)] == [2, 3]
