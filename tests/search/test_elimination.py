"""Short trainings that end early: those that would not catch up, and no others."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from sightline.search.elimination import behind

RIVAL = (0.9, 0.7, 0.6, 0.55, 0.5, 0.5)


def ended_after(curve: Sequence[float], rival: Sequence[float] = RIVAL, **how: bool) -> int:
    """Return after how many epochs a watch ends a training; 0: never."""
    watch = behind(rival, **how)
    said = [watch(curve[: epochs + 1]) for epochs in range(len(curve))]
    return next((epochs + 1 for epochs, reason in enumerate(said) if reason), 0)


def test_a_training_far_behind_that_gains_little_is_ended() -> None:
    assert ended_after([1.4, 1.39, 1.38, 1.37, 1.36, 1.35]) == 2


def test_the_first_epoch_decides_nothing() -> None:
    assert ended_after([9.0, 0.6, 0.5, 0.4, 0.4, 0.4]) == 0


@pytest.mark.parametrize(
    "curve",
    [
        [0.9, 0.7, 0.6, 0.55, 0.5, 0.5],  # the same
        [1.0, 0.85, 0.72, 0.62, 0.54, 0.49],  # slower, and better at the end
        [1.3, 1.1, 0.9, 0.7, 0.5, 0.4],  # behind, but falling fast
    ],
)
def test_a_training_that_may_catch_up_goes_on(curve: Sequence[float]) -> None:
    assert ended_after(curve) == 0


def test_beside_a_rival_that_gained_nothing_more_a_curve_that_falls_goes_on() -> None:
    overfitting = (0.8, 0.5, 0.6, 0.7, 0.8, 0.9)
    assert ended_after([1.0, 0.8, 0.65, 0.55, 0.48, 0.45], overfitting) == 0
    assert ended_after([0.8, 0.51, 0.51, 0.6], overfitting) == 3


def test_of_a_metric_more_is_better() -> None:
    rival = tuple(1 - loss for loss in RIVAL)
    assert ended_after([0.1, 0.11, 0.12], rival, higher_is_better=True) == 3
    assert ended_after(rival, rival, higher_is_better=True) == 0


def test_a_figure_that_is_no_number_is_as_bad_as_can_be() -> None:
    assert ended_after([math.nan, 0.7, 0.6]) == 0
    assert ended_after([math.nan, math.nan, 0.5]) == 2


def test_the_reason_has_the_numbers() -> None:
    reason = behind(RIVAL)([1.4, 1.39])
    assert reason.startswith("After 2 of 6 epochs it was 0.6900 behind")
    assert "gained 0.2000 in the rest" in reason
