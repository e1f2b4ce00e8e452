"""Putting probabilities together, and judging that on other records than it was fitted on."""

from __future__ import annotations

import numpy as np
import pytest

from sightline.judging import evaluation
from sightline.records import Predictions
from sightline.records.ensembles import helps
from sightline.search import ensembles
from sightline.search.ensembles import Floats, Labels


def answers(evidence: Floats) -> Floats:
    """Return (N, 2) probabilities of logits."""
    second = 1 / (1 + np.exp(-evidence))
    return np.stack([1 - second, second], axis=1)


def labels_of(count: int, seed: int) -> Labels:
    return np.random.default_rng(seed).integers(0, 2, count).astype(np.int64)


def witness(labels: Labels, strength: float, seed: int) -> Floats:
    """Return a model that sees the class through Gaussian noise, and is rightly unsure."""
    noise = np.random.default_rng((1, seed)).normal(size=len(labels))
    return answers(2 * strength * ((2 * labels - 1) * strength + noise))


def is_kept(members: Floats, labels: Labels, method: str) -> bool:
    found = ensembles.cross_fit(members, members, labels, None, method)
    single, whole = (
        Predictions.make(
            class_names=("a", "b"),
            record_ids=[f"{row:05d}" for row in range(len(labels))],
            labels=["ab"[label] for label in labels],
            probabilities=each.astype(np.float32),
        )
        for each in (found.single, found.ensemble)
    )
    return helps(evaluation.compare(single, whole).differences["log_loss"])


def test_weights_are_those_of_the_least_log_loss() -> None:
    labels = labels_of(400, 1)
    members = np.stack([witness(labels, 0.9, 1), witness(labels, 0.5, 2)])
    first = ensembles.fitted_weights(members, labels)[0]
    grid = np.linspace(0, 1, 1001)
    losses = [ensembles.log_loss(ensembles.mixed(members, np.array([w, 1 - w])), labels)
              for w in grid]  # fmt: skip
    assert first == pytest.approx(grid[np.argmin(losses)], abs=2e-3)


def test_a_model_that_knows_nothing_gets_no_weight() -> None:
    labels = labels_of(400, 2)
    wrong = witness(1 - labels, 1.0, 3)
    weights = ensembles.fitted_weights(np.stack([witness(labels, 1.0, 4), wrong]), labels)
    assert weights.tolist() == [1.0, 0.0]


def test_the_greedy_choice_takes_the_complement_and_not_the_copy() -> None:
    labels = labels_of(400, 3)
    one, other = witness(labels, 1.0, 5), witness(labels, 0.9, 6)
    spoilt = witness(1 - labels, 0.5, 7)
    weights = ensembles.greedy_weights(np.stack([one, spoilt, other]), labels)
    assert weights[1] == 0
    assert min(weights[0], weights[2]) > 0.2
    assert weights.sum() == pytest.approx(1)


def test_folds_keep_units_whole_and_spread_classes() -> None:
    labels = np.repeat([0, 1], 60).astype(np.int64)
    units = np.arange(120) // 3
    folds = ensembles.folds_of(labels, units)
    assert all(len(set(folds[units == unit])) == 1 for unit in np.unique(units))
    assert {int((labels[folds == fold] == 1).sum()) for fold in range(5)} == {12}


@pytest.mark.parametrize("method", ["mean", "weighted", "greedy", "best"])
def test_complementary_models_are_kept(method: str) -> None:
    labels = labels_of(1200, 4)
    members = np.stack([witness(labels, 0.8, seed) for seed in range(10, 15)])
    assert is_kept(members, labels, method)


def test_copies_of_one_model_are_not_kept() -> None:
    labels = labels_of(200, 5)
    assert not is_kept(np.stack([witness(labels, 1.0, 20)] * 3), labels, "best")


def test_models_that_add_nothing_but_noise_are_kept_in_5_of_100_cases_at_most() -> None:
    kept = 0
    for case in range(60):
        labels = labels_of(120, 100 + case)
        good = witness(labels, 1.0, 200 + case)
        rng = np.random.default_rng(case)
        guesses = [answers(rng.normal(size=120) * 0.5) for _ in range(2)]
        kept += is_kept(np.stack([good, *guesses]), labels, "weighted")
    assert kept <= 3


def test_seeds_that_are_wrong_together_are_hardly_ever_kept() -> None:
    kept = 0
    for case in range(12):
        labels = labels_of(150, 300 + case)
        rng = np.random.default_rng((2, case))
        evidence = 2 * ((2 * labels - 1) + rng.normal(size=150))
        # Rounding alone sets them apart; each is as good as the others, and so is any mean.
        seeds = [answers(evidence + rng.choice([-1e-3, 1e-3], size=150)) for _ in range(3)]
        kept += is_kept(np.stack(seeds), labels, "best")
    assert kept <= 1


def test_one_model_by_itself_is_itself() -> None:
    labels = labels_of(60, 6)
    one = witness(labels, 1.0, 30)[None]
    found = ensembles.cross_fit(one, one, labels, None, "mean")
    np.testing.assert_array_equal(found.ensemble, found.single)
    assert found.weights.tolist() == [1.0]
