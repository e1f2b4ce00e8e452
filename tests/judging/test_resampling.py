"""The bootstrap: what is drawn, and the figures of a resample beside scikit-learn's."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from sklearn import metrics as peer

from sightline.judging.evaluation.figures import OVERALL, Figures
from sightline.judging.evaluation.resampling import (
    Resampling,
    interval,
    jackknife,
    resampling,
    t_quantile,
    units_of,
    wilson,
)
from sightline.judging.evaluation.unseen import unseen_errors, unseen_share
from sightline.records import Predictions

MACRO = {"average": "macro", "zero_division": 0}


def of_classes(*counts: int) -> np.ndarray:
    return np.repeat(np.arange(len(counts)), counts)


def all_weights(sample: Resampling) -> np.ndarray:
    return sample.drawn(lambda weights: weights)


def test_every_class_keeps_its_count() -> None:
    labels = of_classes(5, 40, 200)
    weights = all_weights(resampling(labels, rounds=50))
    for index, count in enumerate((5, 40, 200)):
        np.testing.assert_allclose(weights[:, labels == index].sum(axis=1), count)


def test_one_record_fewer_than_there_are_is_drawn_of_a_class() -> None:
    weights = all_weights(resampling(of_classes(20, 30), rounds=50))
    drawn = weights[:, :20] * 19 / 20
    np.testing.assert_allclose(drawn, np.round(drawn), atol=1e-9)
    np.testing.assert_allclose(drawn.sum(axis=1), 19)


def test_groups_are_drawn_whole() -> None:
    labels, units = of_classes(60, 60), np.arange(120) // 6 * 7
    weights = all_weights(resampling(labels, units, rounds=50)).reshape(50, 20, 6)
    np.testing.assert_allclose(weights, np.broadcast_to(weights[:, :, :1], weights.shape))
    assert len(np.unique(weights[:, :, 0])) > 2


def test_groups_of_both_classes_leave_each_class_its_count() -> None:
    labels = np.tile([0, 0, 0, 1], 25)
    weights = all_weights(resampling(labels, np.arange(100) // 5, rounds=20))
    np.testing.assert_allclose(weights[:, labels == 1].sum(axis=1), 25)


def test_groups_are_drawn_beside_those_of_the_same_commonest_class() -> None:
    labels, units = np.asarray([0, 0, 1, 0, 1, 1, 1, 1]), np.asarray([0, 0, 0, 1, 2, 2, 3, 3])
    sample = resampling(labels, units)
    assert sample.sizes.tolist() == [2, 2]
    assert sample.units.tolist() == [0, 0, 0, 1, 2, 2, 3, 3]


def test_groups_of_one_record_each_are_records() -> None:
    labels = of_classes(10, 10)
    sample = resampling(labels, np.arange(20)[::-1])
    assert not sample.grouped
    np.testing.assert_array_equal(
        sample.weights(0, 5), resampling(labels).weights(0, 5)
    )  # whatever the numbers of the groups


def test_a_class_of_one_record_keeps_it() -> None:
    weights = all_weights(resampling(of_classes(1, 30), rounds=20))
    assert set(weights[:, 0]) == {1.0}


def test_a_round_is_the_same_whatever_is_drawn_beside_it() -> None:
    sample = resampling(of_classes(30, 50))
    np.testing.assert_array_equal(sample.weights(0, 9)[7], sample.weights(7, 8)[0])


def test_rounds_come_in_order_however_they_are_shared_out() -> None:
    sample = resampling(of_classes(700, 900), rounds=300)  # several parts for the threads
    found = sample.drawn(lambda weights: weights[:, :3])
    np.testing.assert_array_equal(found, sample.weights(0, 300)[:, :3])


def test_the_weights_of_all_rounds_are_never_held_at_once() -> None:
    sample = resampling(of_classes(20_000, 30_000), rounds=200)
    tracemalloc.start()
    sample.drawn(lambda weights: weights.sum(axis=1))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200 * 50_000 * 8 / 4


def test_another_seed_draws_others() -> None:
    labels = of_classes(30, 30)
    assert (resampling(labels).weights(0, 1) != resampling(labels, seed=6).weights(0, 1)).any()


def test_no_record_is_refused() -> None:
    with pytest.raises(ValueError, match=r"must both be \(records,\) and not empty"):
        resampling(np.zeros(0, np.int64))


def test_units_of_other_length_are_refused() -> None:
    with pytest.raises(ValueError, match=r"got \(\(3,\), \(2,\)\)"):
        resampling(np.zeros(3, np.int64), np.zeros(2, np.int64))


def test_no_round_is_refused() -> None:
    with pytest.raises(ValueError, match="rounds must be 1 or more, got 0"):
        resampling(of_classes(3), rounds=0)


@pytest.fixture(scope="module")
def tied() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Labels, answers, probabilities with ties, and the weights of 50 resamples of groups."""
    rng = np.random.default_rng(4)
    labels = rng.integers(0, 3, 150)
    logits = rng.normal(size=(150, 3))
    logits[np.arange(150), labels] += 1
    odds = np.round(np.exp(logits) * 2) + 0.1
    probabilities = (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)
    sample = resampling(labels, np.arange(150) // 3, rounds=50)
    return labels, probabilities.argmax(axis=1), probabilities, all_weights(sample)


def test_figures_of_50_resamples_are_those_of_scikit_learn_with_weights(tied) -> None:
    labels, answers, probabilities, weights = tied
    figures = Figures(labels, answers, probabilities)
    found = figures.split(figures(weights))[0]
    wide = probabilities.astype(np.float64)
    wide /= wide.sum(axis=1, keepdims=True)
    one_hot = np.eye(3)[labels]
    for row, weight in zip(found, weights, strict=True):
        overall = {name: row[at] for at, (index, name) in enumerate(figures.names)
                   if index == OVERALL}  # fmt: skip
        given = {"sample_weight": weight}
        expected = {
            "accuracy": peer.accuracy_score(labels, answers, **given),
            "balanced_accuracy": peer.balanced_accuracy_score(labels, answers, **given),
            "macro_precision": peer.precision_score(labels, answers, **MACRO, **given),
            "macro_recall": peer.recall_score(labels, answers, **MACRO, **given),
            "macro_f1": peer.f1_score(labels, answers, **MACRO, **given),
            "roc_auc": peer.roc_auc_score(one_hot, probabilities, **given),
            "average_precision": peer.average_precision_score(one_hot, probabilities, **given),
            "mcc": peer.matthews_corrcoef(labels, answers, **given),
            "cohen_kappa": peer.cohen_kappa_score(labels, answers, **given),
            "brier": peer.brier_score_loss(labels, wide, **given),
            "log_loss": peer.log_loss(labels, wide, **given),
        }
        assert {name: overall[name] for name in expected} == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("index", range(3))
def test_figures_of_a_class_in_50_resamples_are_those_of_scikit_learn_with_weights(
    tied, index
) -> None:
    labels, answers, probabilities, weights = tied
    figures = Figures(labels, answers, probabilities)
    found = figures.split(figures(weights))[0]
    own, called, probability = labels == index, answers == index, probabilities[:, index]
    for row, weight in zip(found, weights, strict=True):
        scores = {name: row[at] for at, (place, name) in enumerate(figures.names)
                  if place == index}  # fmt: skip
        given = {"sample_weight": weight}
        expected = {
            "accuracy": peer.accuracy_score(own, called, **given),
            "balanced_accuracy": peer.balanced_accuracy_score(own, called, **given),
            "precision": peer.precision_score(own, called, **given),
            "recall": peer.recall_score(own, called, **given),
            "specificity": peer.recall_score(~own, ~called, **given),
            "f1": peer.f1_score(own, called, **given),
            "roc_auc": peer.roc_auc_score(own, probability, **given),
            "average_precision": peer.average_precision_score(own, probability, **given),
            "mcc": peer.matthews_corrcoef(own, called, **given),
            "cohen_kappa": peer.cohen_kappa_score(own, called, **given),
            "brier": peer.brier_score_loss(own, probability, **given),
        }
        assert {name: scores[name] for name in expected} == pytest.approx(expected, abs=1e-6)


def test_the_calibration_error_is_the_sum_of_the_gaps(tied) -> None:
    labels, answers, probabilities, weights = tied
    figures = Figures(labels, answers, probabilities)
    found, gaps = figures.split(figures(weights))
    for at, (index, name) in enumerate(figures.names):
        if name == "calibration_error":
            np.testing.assert_allclose(found[:, at], np.abs(gaps[:, index]).sum(axis=1))


def test_a_resample_without_a_class_has_no_area_of_it(tied) -> None:
    labels, answers, probabilities, _ = tied
    figures = Figures(labels, answers, probabilities)
    found = figures.split(figures((labels != 0)[np.newaxis].astype(float)))[0][0]
    undefined = {key for key, value in zip(figures.names, found, strict=True) if np.isnan(value)}
    assert undefined == {(0, "recall"), (0, "roc_auc"), (0, "average_precision")}


def test_the_jackknife_error_of_a_mean_is_the_textbook_one() -> None:
    values = np.random.default_rng(0).normal(size=80)
    sample = resampling(of_classes(80))
    left = sample.left_out(lambda weights: (weights @ values / 80)[:, np.newaxis])
    errors, doubts = jackknife(sample, left)
    assert errors[0] == pytest.approx(values.std(ddof=1) / np.sqrt(80))
    assert 2 * errors[0] ** 4 / doubts[0] == pytest.approx(79, rel=0.4)  # degrees of freedom


def test_large_strata_are_left_to_the_resamples() -> None:
    sample = resampling(of_classes(2000, 40))
    left = sample.left_out(lambda weights: weights[:, :1])
    errors, _ = jackknife(sample, left)
    assert (left.shape, errors.tolist()) == ((40, 1), [0.0])


def test_wilson_gives_the_published_interval() -> None:
    """Newcombe, Statistics in Medicine 17, 1998, table I: 15 of 148."""
    assert wilson(15 / 148, 148) == pytest.approx((0.0624, 0.1605), abs=1e-4)


def test_t_of_many_degrees_of_freedom_is_normal() -> None:
    assert (t_quantile(9), t_quantile(1e6)) == pytest.approx((2.2622, 1.9600), abs=1e-4)


def test_an_interval_stays_between_the_bounds() -> None:
    drawn = np.random.default_rng(0).normal(0.98, 0.05, 1000)
    found = interval(0.98, drawn, units=100)
    assert 0 < found.low < 0.98 < found.high < 1


def test_a_figure_at_its_bound_has_wilsons_interval() -> None:
    found = interval(1.0, np.ones(100), units=40)
    assert (found.low, found.high) == pytest.approx((0.9124, 1.0), abs=1e-4)


def test_a_figure_that_is_often_undefined_has_no_interval() -> None:
    drawn = np.where(np.arange(1000) < 60, np.nan, 0.5)
    found = interval(0.5, drawn, units=100)
    assert found.note == "too few to say: not defined in 60 of 1,000 resamples"


def test_records_without_a_group_have_a_number_of_their_own(make_predictions) -> None:
    predictions = Predictions.make(
        class_names=("a", "b"),
        record_ids=list("12345"),
        probabilities=np.full((5, 2), 0.5, np.float32),
        groups=["x", None, "y", "x", None],
    )
    numbers = units_of(predictions).tolist()
    assert numbers[0] == numbers[3]
    assert len(set(numbers)) == 4


def test_no_groups_at_all_have_no_numbers(make_predictions) -> None:
    assert units_of(make_predictions()) is None


def test_of_many_strata_few_units_are_left_out() -> None:
    few, many = resampling(of_classes(*[9] * 20)), resampling(of_classes(*[9] * 400))
    assert (len(few.tried), len(many.tried)) == (20, 75 // 9)


def test_a_part_of_the_figures_is_what_it_is_among_all(tied) -> None:
    labels, answers, probabilities, weights = tied
    every = Figures(labels, answers, probabilities)
    keys = {(OVERALL, "roc_auc"), (OVERALL, "brier"), (1, "calibration_error"), (2, "f1")}
    part = every.only(keys)
    assert set(part.names) == keys
    figures, gaps = part.split(part(weights))
    expected, all_gaps = every.split(every(weights))
    places = [every.names.index(key) for key in part.names]
    np.testing.assert_array_equal(figures, expected[:, places])
    np.testing.assert_array_equal(gaps, all_gaps[:, [1]])


def test_what_was_not_seen_shrinks_with_the_records() -> None:
    errors = unseen_share(np.asarray([30, 300, 3000]), 2)
    assert errors * [30, 300, 3000] == pytest.approx([0.70, 0.71, 0.71], abs=0.03)


def test_only_classes_all_right_or_all_wrong_hide_a_spread() -> None:
    units = np.asarray([50, 40, 30])
    mixed = np.asarray([[30, 10, 10], [10, 20, 10], [5, 5, 20]])
    overall, of_class = unseen_errors(mixed, units)
    assert not any(overall.values())
    assert not any(errors.any() for errors in of_class.values())
    wrong = np.asarray([[30, 10, 10], [20, 0, 20], [5, 5, 20]])
    overall, _ = unseen_errors(wrong, units)
    assert overall["accuracy"] == pytest.approx(unseen_share(np.asarray(40), 3) * 40 / 120)
    assert overall["balanced_accuracy"] == pytest.approx(unseen_share(np.asarray(40), 3) / 3)
