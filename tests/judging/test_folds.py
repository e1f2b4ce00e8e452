"""The mean over folds and how sure it is."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sightline.judging import evaluation
from sightline.records import ClassScores, Evaluation, Interval
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


def hand_made(
    number: int,
    accuracy: float,
    auc: float | None,
    *,
    repeat: int = 0,
    brier: float = 0.5,
    of_class: float = 0.5,
) -> Fold:
    return Fold(
        f"r{repeat}-f{number}", repeat, number, num_train=60, num_validation=20, count=20,
        metrics={"accuracy": accuracy, "roc_auc": auc, "brier": brier, "mcc": -0.9 + 0.1 * number},
        classes={"a": {"recall": of_class}},
    )  # fmt: skip


def together(accuracy: Interval, names: str) -> Evaluation:
    scores = tuple(
        ClassScores(name, 20, {"recall": 0.5}, {"recall": Interval(0.5, 0.4, 0.6)})
        for name in names
    )
    return Evaluation(
        "out-of-fold", 60, 0, "best", 0, "", "",
        {"accuracy": 0.0, "roc_auc": None, "brier": 0.0, "mcc": 0.0}, scores,
        np.zeros((len(names), len(names)), np.int64), intervals={"accuracy": accuracy},
    )  # fmt: skip


def test_what_is_undefined_in_a_fold_is_said_beside_the_mean_of_the_others() -> None:
    folds = [hand_made(0, 0.7, 0.8), hand_made(1, 0.8, None), hand_made(2, 0.9, 0.6)]
    found, _ = evaluation.spread_over_folds(folds, [together(Interval(0.8, 0.7, 0.9), "ab")])
    assert found["roc_auc"].values == (0.8, None, 0.6)
    assert found["roc_auc"].mean == pytest.approx(0.7)
    assert found["roc_auc"].pooled is None
    assert found["roc_auc"].lacking == "2 of 3 folds"
    assert found["accuracy"].lacking == ""
    # By hand: n_test / n_train is 60 / 240, s² 0.01, t of 2 degrees 4.302653.
    reach = 4.302653 * math.sqrt(0.01 * (1 / 3 + 1 / 4))
    edges = found["accuracy"].interval
    assert edges is not None
    assert edges.low == pytest.approx(0.8 - reach)
    assert edges.high == 1.0


def test_of_repeats_the_pooled_figures_are_averaged_with_their_edges() -> None:
    folds = [hand_made(fold, 0.8, 0.5, repeat=repeat) for repeat in (0, 1) for fold in (0, 1)]
    judged = [together(Interval(0.8, 0.7, 0.9), "ab"), together(Interval(0.6, 0.3, 0.7), "ab")]
    pooled = evaluation.spread_over_folds(folds, judged)[0]["accuracy"].pooled
    assert pooled is not None
    assert (pooled.value, pooled.low, pooled.high) == pytest.approx((0.7, 0.5, 0.8))
    judged[1] = together(Interval(0.6, None, None, "too few to say"), "ab")
    pooled = evaluation.spread_over_folds(folds, judged)[0]["accuracy"].pooled
    assert pooled is not None
    assert (pooled.low, pooled.note) == (None, "too few to say")


@pytest.mark.parametrize(("names", "most"), [("ab", 1.0), ("abc", 2.0)])
def test_the_interval_ends_at_what_a_figure_can_be(names: str, most: float) -> None:
    folds = [
        hand_made(0, 0.8, 0.5, brier=0.1, of_class=0.0),
        hand_made(1, 0.8, 0.5, brier=1.0, of_class=1.0),
    ]
    found, classes = evaluation.spread_over_folds(folds, [together(Interval(0.8, 0, 1), names)])
    for spread, bounds in (
        (found["brier"], (0.0, most)),
        (found["mcc"], (-1.0, None)),
        (classes["a"]["recall"], (0.0, 1.0)),
    ):
        edges = spread.interval
        assert edges is not None
        assert edges.low == bounds[0]
        assert bounds[1] is None or edges.high == bounds[1]
    assert classes["b"]["recall"].lacking == "0 of 2 folds"
