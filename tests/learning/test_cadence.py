"""When a checkpoint is due."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from sightline.learning.training import cadence
from sightline.learning.training.cadence import Cadence


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


def test_the_first_comes_after_twenty_seconds_where_it_is_small(watch: Watch) -> None:
    one = Cadence()
    one.expect(1_000_000)
    assert wait(one, watch) == 20


def test_the_first_of_a_large_network_comes_when_it_is_expected_to_cost_one_percent(
    watch: Watch,
) -> None:
    one = Cadence()
    one.expect(180_000_000)
    assert wait(one, watch) == 240


def test_the_next_comes_after_a_hundred_times_what_the_last_one_took(watch: Watch) -> None:
    one = Cadence()
    one.saved(0.5)
    assert wait(one, watch) == 50


def test_one_that_fails_at_once_is_not_tried_again_at_once(watch: Watch) -> None:
    one = Cadence()
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
    waited.append(wait(one, watch))
    one.failed()
    assert [*waited, wait(one, watch)] == [3, 3, 3]


def test_steps_that_were_asked_for_stay(watch: Watch) -> None:
    one = Cadence(steps=2)
    assert [one.step_done() for _ in range(2)] == [False, True]
    one.failed()
    assert [one.step_done() for _ in range(2)] == [False, True]
    watch.now += 1e6
    one.saved(9.0)
    assert [one.step_done() for _ in range(2)] == [False, True]
