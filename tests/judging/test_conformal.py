from __future__ import annotations

import json

import numpy as np
import pytest

from sightline.judging.evaluation import fit_sets, judge_sets
from sightline.records import Predictions, PredictionSets, SetRule

ABC = ("a", "b", "c")


def draw(count: int, *, seed: int, shares=(0.6, 0.3, 0.1), groups=None) -> Predictions:
    rng = np.random.default_rng(seed)
    labels = rng.choice(3, count, p=shares)
    logits = rng.normal(size=(count, 3)) + 1.5 * np.eye(3)[labels]
    probabilities = np.exp(logits)
    return Predictions.make(
        class_names=ABC,
        record_ids=[f"{row:05d}" for row in range(count)],
        labels=[ABC[label] for label in labels],
        probabilities=(probabilities / probabilities.sum(axis=1, keepdims=True)).astype(np.float32),
        groups=groups,
        model_fingerprint="f00",
    )


def covered(rule: SetRule, predictions: Predictions) -> np.ndarray:
    labels = predictions.label_indices()
    return rule.sets(predictions.probabilities)[np.arange(len(labels)), labels]


@pytest.mark.slow
@pytest.mark.parametrize("count", [25, 100, 333])
def test_on_average_sets_cover_what_was_asked_and_hardly_more(count):
    draws = [covered(fit_sets(draw(count, seed=2 * k), 0.9), draw(500, seed=2 * k + 1)).mean()
             for k in range(1000)]  # fmt: skip
    error = np.std(draws, ddof=1) / np.sqrt(len(draws))
    assert 0.9 - 3 * error <= np.mean(draws) <= 0.9 + 1 / (count + 1) + 3 * error


def test_the_threshold_is_the_probability_that_all_but_the_smallest_reach():
    probability = np.linspace(0.05, 0.95, 19, dtype=np.float32)
    validation = Predictions.make(
        class_names=("a", "b"),
        record_ids=[str(row) for row in range(19)],
        labels=["a"] * 19,
        probabilities=np.stack([probability, 1 - probability], axis=1),
    )
    assert fit_sets(validation, 0.95).least == (pytest.approx(0.05),) * 2  # 19 of 20 are kept
    assert fit_sets(validation, 0.9).least == (pytest.approx(0.1),) * 2  # 18


def test_too_few_records_put_every_class_into_every_set():
    rule = fit_sets(draw(18, seed=0), 0.95)
    assert rule.sets(draw(50, seed=1).probabilities).all()
    assert rule.note == (
        "every class is in every set: 19 records are needed for a coverage of 0.95"
    )


def test_figures_are_those_of_the_sets():
    rule, test = fit_sets(draw(200, seed=0), 0.8), draw(300, seed=1)
    found, sets = judge_sets(rule, test), rule.sets(test.probabilities)
    labels = test.label_indices()
    inside = covered(rule, test)
    assert found.reached.value == pytest.approx(inside.mean())
    assert found.classes["b"].value == pytest.approx(inside[labels == 1].mean())
    assert found.mean_size.value == pytest.approx(sets.sum(axis=1).mean())
    assert found.sizes == tuple(np.bincount(sets.sum(axis=1), minlength=4))
    assert found.empty == (~sets.any(axis=1)).sum()


def test_the_interval_of_the_coverage_is_wilsons_for_independent_records():
    from sightline.judging.evaluation.resampling import wilson

    found = judge_sets(fit_sets(draw(200, seed=0), 0.8), draw(300, seed=1)).reached
    assert (found.low, found.high) == pytest.approx(wilson(found.value, 300))


def test_groups_make_the_coverage_less_sure():
    test = draw(300, seed=1)
    rule = fit_sets(draw(200, seed=0), 0.8)
    order = np.argsort(covered(rule, test))  # mates are covered alike
    groups = np.empty(300, object)
    groups[order] = [f"patient {k // 6}" for k in range(300)]
    mates = judge_sets(rule, draw(300, seed=1, groups=groups.tolist())).reached
    alone = judge_sets(rule, test).reached
    assert mates.high - mates.low > 1.5 * (alone.high - alone.low)


def test_a_class_of_few_records_gets_no_interval():
    found = judge_sets(fit_sets(draw(200, seed=0), 0.8), draw(60, seed=1, shares=(0.7, 0.2, 0.1)))
    assert found.classes["c"].low is None
    assert found.classes["c"].note.startswith("too few to say: ")


def test_a_rule_says_what_it_was_fitted_on():
    rule = fit_sets(draw(200, seed=0), 0.8)
    assert rule.chosen_on == "200 records of validation, best weights, epoch 1"
    assert (rule.count, rule.model_fingerprint) == (200, "f00")


def test_a_rule_survives_json():
    rule = fit_sets(draw(200, seed=0), 0.8)
    assert SetRule.from_dict(json.loads(json.dumps(rule.to_dict()))) == rule
    older = rule.to_dict() | {"by_class": False}
    assert SetRule.from_dict(older) == rule


def test_judged_sets_survive_json():
    found = judge_sets(fit_sets(draw(200, seed=0), 0.8), draw(60, seed=1))
    assert PredictionSets.from_dict(json.loads(json.dumps(found.to_dict()))) == found


def test_a_rule_of_other_classes_is_refused():
    with pytest.raises(ValueError, match=r"probabilities must be \(N, 3\), got \(5, 2\)"):
        fit_sets(draw(200, seed=0), 0.8).sets(np.full((5, 2), 0.5, np.float32))


@pytest.mark.parametrize("coverage", [0.0, 1.0, 95])
def test_a_coverage_that_is_none_is_refused(coverage):
    with pytest.raises(ValueError, match="coverage must be over 0 and under 1"):
        fit_sets(draw(50, seed=0), coverage)
