"""Curves beside scikit-learn's, and what thinning leaves of them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from sklearn import metrics as peer

from sightline.judging.evaluation import precision_recall_curve, roc_curve
from sightline.judging.evaluation.curves import thinned, thinned_steps

TWO = ("healthy", "ill")


@pytest.fixture
def rough(make_predictions):
    """Predictions with many ties."""
    predictions = make_predictions(TWO, count=300)
    tens = np.round(predictions.probabilities * 20) / 20
    return dataclasses.replace(predictions, probabilities=tens.astype(np.float32))


def truth(predictions):
    return np.asarray(predictions.table["label"].to_list()) == "ill", predictions.probabilities[
        :, 1
    ]


def test_the_roc_curve_is_that_of_scikit_learn(rough):
    expected = peer.roc_curve(*truth(rough), drop_intermediate=False)
    for found, wanted in zip(roc_curve(rough, 1, points=None), expected, strict=True):
        np.testing.assert_allclose(found, wanted)


def test_the_precision_recall_curve_is_that_of_scikit_learn(rough):
    precision, recall, thresholds = peer.precision_recall_curve(*truth(rough))
    found = precision_recall_curve(rough, 1, points=None)
    np.testing.assert_allclose(found[0], precision)
    np.testing.assert_allclose(found[1], recall)
    np.testing.assert_allclose(found[2], np.r_[thresholds, np.inf])


@pytest.mark.parametrize("curve", [roc_curve, precision_recall_curve])
def test_a_thinned_curve_looks_the_same(make_predictions, curve):
    predictions = make_predictions(TWO, count=20000)
    few, all_of_them = curve(predictions, 1), curve(predictions, 1, points=None)
    assert len(few[0]) <= 200 < len(all_of_them[0])
    if curve is roc_curve:  # seen along the diagonal, to which it rises nowhere steeply
        along, across = all_of_them[0] + all_of_them[1], all_of_them[1] - all_of_them[0]
        drawn = np.interp(along, few[0] + few[1], few[1] - few[0])
        assert np.abs(drawn - across).max() < 0.003
    else:  # as it is drawn: each precision holds down to the next lower recall
        recalls = np.linspace(1, 1e-4, 5000)
        steps = [each[0][np.searchsorted(-each[1], -recalls, side="right") - 1]
                 for each in (few, all_of_them)]  # fmt: skip
        assert np.abs(steps[0] - steps[1]).max() < 0.01


def test_points_on_a_straight_line_are_left_out():
    x = np.linspace(0, 1, 50)
    assert thinned(x, 2 * x, 200).tolist() == [0, 49]


def test_a_corner_is_kept():
    x, y = np.asarray([0, 0, 0, 0.5, 1.0]), np.asarray([0, 0.5, 1.0, 1.0, 1.0])
    assert thinned(x, y, 200).tolist() == [0, 2, 4]


def test_steps_that_hold_are_one_point():
    y = np.repeat([0.5, 0.8, 0.6], 300)
    assert thinned_steps(y, 200).tolist() == [0, 300, 600, 899]


def test_no_more_steps_are_kept_than_asked():
    y = np.random.default_rng(0).random(1000)
    kept = thinned_steps(y, 50)
    assert (len(kept) <= 50, kept[0], kept[-1]) == (True, 0, 999)


def test_a_class_without_records_has_no_curve(make_predictions):
    predictions = make_predictions(("a", "b", "never"), labels=["a", "b"] * 20)
    with pytest.raises(ValueError, match="of 'never' and of others, got none of class 'never'"):
        roc_curve(predictions, 2)


def test_a_class_that_is_not_there_is_refused(make_predictions):
    with pytest.raises(ValueError, match=r"class_index must be in 0\.\.1, got 2"):
        precision_recall_curve(make_predictions(TWO), 2)
