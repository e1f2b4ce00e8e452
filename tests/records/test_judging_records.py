from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from sightline.records import (
    Calibration,
    ChosenDecision,
    Comparison,
    Decision,
    Interval,
    LabelNoise,
    Mistake,
    OperatingPoint,
    PredictionSets,
    ReliabilityBin,
    SetRule,
    Slice,
)

SURE, UNSURE = Interval(0.8, 0.7, 0.9), Interval(0.5, None, None, "too few to say: 3 images")
MISTAKE = Mistake("kätzchen/1.png", "a", "b", 0.9, 0.1, -0.8)
POINT = OperatingPoint("f1", "b", 0.25, SURE, SURE, UNSURE, None, "a note")
RULE = SetRule(0.9, (0.25, 0.5), 40, "40 records of validation", "f00d")
COMPARISON = Comparison(
    names=("old", "new"),
    count=100,
    only_first=1,
    only_second=2,
    groups=0,
    values={"accuracy": (0.80, 0.83), "log_loss": (0.5, 0.4)},
    differences={"accuracy": Interval(0.03, -0.01, 0.07), "log_loss": Interval(-0.1, -0.3, 0.1)},
    first_alone_right=3,
    second_alone_right=6,
    mcnemar=0.5,
    p_value=0.5,
    corrected=0.5,
)


@pytest.mark.parametrize(
    "noun",
    [
        MISTAKE,
        POINT,
        OperatingPoint("specificity=0.99", "b", None, note="cannot be had"),
        RULE,
        COMPARISON,
        ReliabilityBin(0.2, 0.4, 7, 0.3, SURE),
        Calibration(1.5, "40 records", 9, {"brier": SURE}, {"brier": UNSURE}, "a note"),
        ChosenDecision(Decision("threshold", threshold=0.25), POINT, warnings=("few",)),
        ChosenDecision(Decision("costs", costs=((0.0, 1.0), (5.0, 0.0))), None, 0.5, 0.75),
        PredictionSets(RULE, 40, SURE, {"a": SURE, "b": UNSURE}, SURE, (1, 9, 2)),
        LabelNoise(("a", "b"), 40, (MISTAKE,), ((0.0, 2.5), (1.0, 0.0)), ("b",)),
        Slice("age", "34 to 51", 40, 0, {"accuracy": SURE}, UNSURE, 0.01, 0.04, True),
        Slice("age", "(unknown)", 4, 0, {"accuracy": UNSURE}),
    ],
    ids=lambda noun: type(noun).__name__,
)  # fmt: skip
def test_a_noun_comes_back_from_json_as_it_was(noun):
    assert type(noun).from_dict(json.loads(json.dumps(noun.to_dict()))) == noun


def told(accuracy: Interval, **more) -> str:
    differences = {**COMPARISON.differences, "accuracy": accuracy}
    return replace(COMPARISON, differences=differences, **more).words()


def test_nothing_shown_is_said_so():
    assert COMPARISON.words() == (
        "new against old: no difference that this test set can show: "
        "accuracy +3.0 points (95 % interval -1.0 to +7.0)"
    )


def test_the_better_model_is_named():
    assert told(Interval(0.03, 0.01, 0.05), corrected=0.01) == (
        "new against old: new is better: accuracy +3.0 points (95 % interval +1.0 to +5.0)"
    )


def test_the_first_may_be_the_better_one():
    assert "old is better: accuracy -3.0" in told(Interval(-0.03, -0.05, -0.01), corrected=0.01)


def test_too_few_records_show_nothing():
    words = told(Interval(0.03, None, None, "too few to say: 9 images, 30 are needed"))
    assert words.endswith("accuracy +3.0 points (too few to say: 9 images, 30 are needed)")


def test_an_edge_that_is_not_zero_is_not_told_as_zero():
    assert "+0.02 to +5.0" in told(Interval(0.03, 0.0002, 0.05), corrected=0.01)


def test_what_differs_beside_the_accuracy_is_told():
    differences = {**COMPARISON.differences, "log_loss": Interval(-0.1, -0.15, -0.05)}
    assert replace(COMPARISON, differences=differences).words() == (
        "new against old: no difference in accuracy that this test set can show: accuracy +3.0 "
        "points (95 % interval -1.0 to +7.0); of 1 other figures: log loss -0.100 "
        "(95 % interval -0.150 to -0.050)"
    )


def test_a_set_holds_the_classes_of_at_least_their_probability():
    sets = RULE.sets(np.asarray([[0.25, 0.75], [0.2, 0.8], [0.7, 0.3]], np.float32))
    assert sets.tolist() == [[True, True], [False, True], [True, False]]


def test_empty_sets_are_counted():
    assert PredictionSets(RULE, 12, SURE, {}, SURE, (3, 9, 0)).empty == 3


def test_the_estimated_wrong_labels_are_those_of_all_cells():
    assert LabelNoise(("a", "b"), 40, (), ((0.0, 2.5), (1.0, 0.0))).estimated == 3.5


@pytest.mark.parametrize("coverage", [0.0, 1.0])
def test_a_rule_of_no_coverage_is_refused(coverage):
    with pytest.raises(ValueError, match=f"coverage must be over 0 and under 1, got {coverage}"):
        replace(RULE, coverage=coverage)


@pytest.mark.parametrize("least", [(), (0.5, 1.5), (0.5, float("nan"))])
def test_a_rule_without_a_probability_a_class_is_refused(least):
    with pytest.raises(ValueError, match="least must hold a probability a class"):
        replace(RULE, least=least)
