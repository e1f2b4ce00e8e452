from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from sightline.judging.evaluation import (
    calibrate,
    cross_entropy,
    evaluate,
    fit_temperature,
    reliability,
)
from sightline.judging.evaluation.resampling import wilson
from sightline.records import Calibration, Predictions, ReliabilityBin, tempered

ABC = ("a", "b", "c")


def drawn(count: int = 500, *, seed: int = 0, sharpness: float = 1.0) -> Predictions:
    """Return predictions whose labels are drawn from them, then sharpened."""
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet((0.6, 0.6, 0.6), count)
    labels = (rng.random((count, 1)) > shares.cumsum(axis=1)).sum(axis=1)
    return Predictions.make(
        class_names=ABC,
        record_ids=[f"{row:05d}" for row in range(count)],
        labels=[ABC[label] for label in labels],
        probabilities=tempered(shares, 1 / sharpness).astype(np.float32),
    )


def made(rows: list[tuple[str, tuple[float, float]]]) -> Predictions:
    return Predictions.make(
        class_names=("a", "b"),
        record_ids=[str(row) for row in range(len(rows))],
        labels=[label for label, _ in rows],
        probabilities=np.asarray([shares for _, shares in rows], np.float32),
    )


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 3.0])
def test_the_temperature_that_made_probabilities_too_sure_is_found(sharpness):
    assert fit_temperature(drawn(5000, sharpness=sharpness)) == pytest.approx(sharpness, rel=0.07)


@pytest.mark.parametrize("seed", range(5))
def test_the_temperature_is_that_of_another_optimiser(seed):
    predictions = drawn(300, seed=seed, sharpness=2.0)
    labels = predictions.label_indices()

    def loss(log_temperature: float) -> float:
        shares = tempered(predictions.probabilities, np.exp(log_temperature))
        return -np.log(shares[np.arange(len(labels)), labels]).mean()

    peer = np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x)
    assert fit_temperature(predictions) == pytest.approx(peer, rel=1e-3)


def test_the_log_loss_of_the_records_fitted_to_falls():
    predictions = drawn(sharpness=3.0)
    cooled = tempered(predictions.probabilities, fit_temperature(predictions)).astype(np.float32)
    labels = predictions.label_indices()
    assert cross_entropy(cooled, labels) < cross_entropy(predictions.probabilities, labels)


SURE = [("a", (0.9, 0.1)), ("b", (0.2, 0.8))] * 20


@pytest.mark.parametrize(
    ("rows", "note"),
    [
        (SURE[:20], "too few to fit: 20 records, 30 are needed"),
        ([("a", (0.9, 0.1)), ("a", (0.2, 0.8))] * 20, "every record is of class 'a'"),
        (SURE, "no record is wrong, so that sharper would always look better"),
    ],
)
def test_where_records_cannot_tell_the_temperature_is_1_and_says_why(rows, note):
    found = calibrate(made(rows), made(rows))
    assert found.temperature == 1
    assert note in found.note


def test_probabilities_that_point_the_wrong_way_get_the_highest_temperature():
    found = calibrate(made([("b", (0.9, 0.1)), ("a", (0.2, 0.8))] * 20), made(SURE))
    assert found.temperature == 20
    assert found.note == "the highest there is: the probabilities say next to nothing"


def test_probabilities_that_are_far_too_unsure_get_the_lowest_temperature():
    rows = [("a", (0.501, 0.499)), ("b", (0.499, 0.501))] * 200 + [("a", (0.4999, 0.5001))]
    found = calibrate(made(rows), made(rows))
    assert found.temperature == 0.05
    assert found.note == "the lowest there is: the probabilities are far too unsure"


def test_a_certain_mistake_does_not_break_the_fit():
    assert 1 < fit_temperature(made([*SURE, ("a", (0.0, 1.0))])) < 20


def test_before_and_after_are_the_figures_of_evaluate():
    validation, test = drawn(seed=0, sharpness=3.0), drawn(seed=1, sharpness=3.0)
    found = calibrate(validation, test)
    cooled = tempered(test.probabilities, found.temperature).astype(np.float32)
    for part, judged in ((found.before, test), (found.after, replace(test, probabilities=cooled))):
        intervals = evaluate(judged, source="test").intervals
        for name in ("log_loss", "brier", "calibration_error"):
            assert part[name] == intervals[name]


def test_figures_that_are_at_hand_are_not_measured_again():
    validation, test = drawn(seed=0, sharpness=3.0), drawn(seed=1, sharpness=3.0)
    before = evaluate(test, source="test").intervals
    assert calibrate(validation, test, before=before) == calibrate(validation, test)


def test_the_temperature_of_validation_calibrates_the_test_set():
    found = calibrate(drawn(2000, seed=0, sharpness=3.0), drawn(2000, seed=1, sharpness=3.0))
    assert found.before["calibration_error"].value > 0.15
    assert found.after["calibration_error"].value < 0.04


def test_it_says_what_the_temperature_was_fitted_on():
    fitted_on = calibrate(drawn(300), drawn(), source="the validation split").fitted_on
    assert fitted_on == "300 records of the validation split, best weights, epoch 1"


def test_a_calibration_survives_json():
    found = calibrate(drawn(), drawn(seed=1))
    assert Calibration.from_dict(json.loads(json.dumps(found.to_dict()))) == found


# --- reliability -----------------------------------------------------------------------


def test_bins_hold_their_upper_edge():
    rows = [("a", (0.75, 0.25)), ("a", (0.7, 0.3)), ("b", (0.75, 0.25))]
    bins = reliability(made(rows), bins=4)
    assert [(each.low, each.high, each.count) for each in bins] == [(0.5, 0.75, 3)]


def test_a_bin_tells_how_sure_and_how_often_right():
    rows = [("a", (0.9, 0.1)), ("b", (0.9, 0.1)), ("a", (0.95, 0.05))]
    (only,) = reliability(made(rows), bins=2)
    assert only.confidence == pytest.approx(0.91667, abs=1e-5)
    assert (only.share.value, only.share.low, only.share.high) == (2 / 3, *wilson(2 / 3, 3))


def test_the_bins_are_those_of_the_calibration_error():
    predictions = drawn(sharpness=2.0)
    gaps = [each.count * abs(each.confidence - each.share.value)
            for each in reliability(predictions)]  # fmt: skip
    error = evaluate(predictions, source="test").metrics["calibration_error"]
    assert sum(gaps) / len(predictions) == pytest.approx(error, abs=1e-6)


def test_a_bin_survives_json():
    for each in reliability(drawn(50)):
        assert ReliabilityBin.from_dict(json.loads(json.dumps(each.to_dict()))) == each


def test_no_bin_is_refused():
    with pytest.raises(ValueError, match="bins must be 1 or more, got 0"):
        reliability(drawn(50), bins=0)
