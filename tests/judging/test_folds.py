"""The mean over folds and how sure it is."""

from __future__ import annotations

import math

import pytest

from sightline.judging import evaluation


def test_the_interval_of_the_mean_is_that_of_nadeau_and_bengio() -> None:
    values = [0.80, 0.84, 0.78, 0.90, 0.88]
    # By hand: mean 0.84, s² 0.0026; (1/5 + 1/4) s² = 0.00117; t of 4 degrees 2.776445.
    found = evaluation.corrected_interval(values, 0.25)
    reach = 2.776445 * math.sqrt(0.00117)
    assert found.value == pytest.approx(0.84)
    assert (found.low, found.high) == pytest.approx((0.84 - reach, 0.84 + reach), abs=1e-6)


def test_it_ends_where_the_figure_does() -> None:
    assert evaluation.corrected_interval([0.9, 1.0], 1.0, bounds=(0.0, 1.0)).high == 1.0


@pytest.mark.parametrize(
    ("values", "said"), [([0.5], "1 fold, 2 are needed"), ([0.5, 0.5], "the same in every fold")]
)
def test_without_a_spread_there_is_no_interval(values: list[float], said: str) -> None:
    found = evaluation.corrected_interval(values, 0.5)
    assert found.low is None
    assert said in found.note
