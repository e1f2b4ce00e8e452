"""Paired differences, one after the other: how often a change is kept that does nothing."""

from __future__ import annotations

import numpy as np
import pytest

from sightline.search.sequential import MOST_PAIRS, judge, pairs_needed


def _ended(differences: np.ndarray, allowed: float) -> tuple[str, int]:
    for count in range(MOST_PAIRS + 1):
        verdict = judge(differences[:count].tolist(), allowed)
        if verdict.outcome != "open":
            return verdict.outcome, count
    raise AssertionError("it never ends")


def _kept(effect: float, allowed: float, draws: int, spread: float = 1.0) -> float:
    generator = np.random.default_rng(7)
    drawn = spread * generator.normal(effect, 1, (draws, MOST_PAIRS))
    return float(np.mean([_ended(row, allowed)[0] == "kept" for row in drawn]))


@pytest.mark.parametrize(
    "allowed", [0.008, *(pytest.param(each, marks=pytest.mark.slow) for each in (0.004, 0.02))]
)
def test_a_change_that_does_nothing_is_kept_no_more_often_than_allowed(allowed: float) -> None:
    draws = 20_000
    chance = 3 * np.sqrt(allowed / draws)
    assert _kept(0.0, allowed, draws, spread=0.03) <= allowed + chance


def test_a_change_that_helps_by_twice_the_noise_is_kept() -> None:
    assert _kept(2.0, 0.008, 2_000) >= 0.95


def test_a_large_gain_needs_half_of_the_pairs() -> None:
    counts = [
        _ended(row, 0.008)[1] for row in np.random.default_rng(3).normal(8, 1, (500, MOST_PAIRS))
    ]
    assert np.mean(counts) < 5


def test_a_change_that_makes_it_worse_is_given_up_after_three_pairs() -> None:
    assert _ended(np.asarray([-0.1, -0.2, -0.15, 0, 0, 0, 0, 0]), 0.008) == ("rejected", 3)


def test_what_it_would_take_to_decide_is_told() -> None:
    gains = [0.01, -0.01, 0.02, 0.005, -0.004, 0.01, 0.0, 0.006]
    verdict = judge(gains, 0.008)
    assert verdict.outcome == "undecided"
    assert verdict.needed == pairs_needed(verdict.mean, verdict.noise, 0.008) > MOST_PAIRS


def test_a_change_that_changes_nothing_at_all_is_rejected() -> None:
    assert judge([0.0, 0.0, 0.0], 0.008).outcome == "rejected"


def test_one_wild_pair_keeps_nothing() -> None:
    assert judge([5.0, 0.01, -0.01, 0.02], 0.02).outcome != "kept"
