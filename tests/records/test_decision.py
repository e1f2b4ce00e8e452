from __future__ import annotations

import json

import numpy as np
import pytest

from sightline.records import Decision, tempered

PROBABILITIES = np.array([[0.5, 0.3, 0.2], [0.1, 0.5, 0.4], [0.3, 0.3, 0.4]], np.float32)


def test_the_first_of_equally_probable_classes_is_chosen() -> None:
    assert Decision().choose(np.array([[0.4, 0.4, 0.2]], np.float32)).tolist() == [0]


def test_a_threshold_calls_its_class_from_itself_on_and_else_the_best_of_the_others() -> None:
    decision = Decision(kind="threshold", class_index=2, threshold=0.4)
    assert decision.choose(PROBABILITIES).tolist() == [0, 2, 2]


def test_a_threshold_is_compared_as_the_probabilities_are_kept() -> None:
    decision = Decision(kind="threshold", threshold=0.3)  # float32 of 0.3 lies above it
    assert decision.choose(np.array([[0.7, 0.3]], np.float32)).tolist() == [1]


def test_the_least_expected_cost_is_chosen() -> None:
    costs = ((0.0, 1.0), (10.0, 0.0))  # to miss the second class costs ten times as much
    decision = Decision(kind="costs", costs=costs)
    assert decision.choose(np.array([[0.92, 0.08], [0.9, 0.1]], np.float32)).tolist() == [0, 1]


def test_costs_are_weighed_by_calibrated_probabilities() -> None:
    costs = ((0.0, 1.0), (10.0, 0.0))
    decision = Decision(kind="costs", costs=costs, temperature=4.0)  # 0.99 becomes 0.76
    assert decision.choose(np.array([[0.99, 0.01]], np.float32)).tolist() == [1]


def test_a_decision_comes_back_from_json() -> None:
    decision = Decision(kind="costs", costs=((0.0, 1.0), (2.5, 0.0)), rule="costs", temperature=1.5)
    assert Decision.from_dict(json.loads(json.dumps(decision.to_dict()))) == decision


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"threshold": 1.5}, r"threshold must be in 0\.\.1, got 1\.5"),
        ({"temperature": 0.0}, r"temperature must be over 0, got 0\.0"),
        ({"costs": ((0.0, 1.0),)}, r"costs must be as wide as high, got rows of \[2\]"),
    ],
)
def test_a_decision_that_is_none_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Decision(**changes)  # type: ignore[arg-type]


def test_costs_of_other_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="costs are of 2 classes, got 3"):
        Decision(kind="costs", costs=((0.0, 1.0), (1.0, 0.0))).choose(PROBABILITIES)


def test_a_temperature_divides_the_logit_of_two_classes() -> None:
    logit = np.log(0.9 / 0.1) / 2
    expected = 1 / (1 + np.exp(-logit))
    assert tempered(np.array([[0.1, 0.9]]), 2.0)[0, 1] == pytest.approx(expected)


def test_a_certain_probability_stays_a_number() -> None:
    assert np.isfinite(tempered(np.array([[0.0, 1.0]], np.float32), 0.5)).all()
