"""The mean over folds and how sure it is."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sightline.judging import evaluation
from sightline.records import Evaluation, Predictions
from sightline.records.crossvalidation import Fold


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


def judged(draw: np.random.Generator) -> Evaluation:
    """Return figures of 40 made-up predictions of three classes."""
    shares = draw.dirichlet((2.0, 1.0, 1.0), 40).astype(np.float32)
    names = ("a", "b", "c")
    return evaluation.evaluate(
        Predictions.make(
            class_names=names, record_ids=[f"{number}" for number in range(40)],
            probabilities=shares, labels=[names[place] for place in draw.integers(0, 3, 40)],
        ),
        source="out-of-fold",
    )  # fmt: skip


def fold(number: int, repeat: int = 0, **metrics: float | None) -> Fold:
    classes = {name: {"recall": 0.5} for name in ("a", "b", "c")}
    return Fold(
        f"r{repeat}-f{number}", repeat, number, num_train=60, num_validation=20, count=40,
        metrics=metrics, classes=classes,
    )  # fmt: skip


def test_a_figure_that_a_fold_has_not_is_missing_in_the_mean_and_that_is_said() -> None:
    pooled = judged(np.random.default_rng(1))
    folds = [fold(0, accuracy=0.5), fold(1, accuracy=None), fold(2, accuracy=0.8)]
    spread = evaluation.spread_over_folds(folds, [pooled])[0]["accuracy"]
    assert spread.mean == pytest.approx(0.65)
    assert spread.deviation == pytest.approx(0.3 / math.sqrt(2))
    assert spread.lacking == "of 2 of 3 folds"
    assert spread.pooled == pooled.intervals["accuracy"]


def test_the_interval_takes_what_was_learned_from_and_all_repeats_together() -> None:
    pooled = [judged(np.random.default_rng(number)) for number in (1, 2)]
    values = [0.5, 0.8, 0.6, 0.7]
    folds = [fold(k % 2, k // 2, accuracy=value) for k, value in enumerate(values)]
    found, classes = evaluation.spread_over_folds(folds, pooled)
    # 40 judged by what 60 were learned from and 20 chose.
    expected = evaluation.corrected_interval(values, 40 / 80, bounds=(0.0, 1.0))
    assert found["accuracy"].interval == expected
    both = [each.intervals["accuracy"] for each in pooled]
    assert found["accuracy"].pooled is not None
    assert found["accuracy"].pooled.value == pytest.approx((both[0].value + both[1].value) / 2)
    assert classes["b"]["recall"].interval is not None
    assert classes["b"]["recall"].interval.note.endswith("the same in every fold")
    assert found["accuracy"].lacking == ""
