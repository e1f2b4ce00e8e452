"""How several models are put together, and whether that helps: arithmetic on probabilities alone.

What is fitted and what judges it are never the same records: each fold is predicted by what was
fitted on the others, the choice of the best single model included. All functions are deterministic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]
_LEAST = 1e-7  # of a probability, as `log_loss` has it everywhere
_ROUNDS = 20  # of the greedy choice
_FOLDS = 5
_SHARE = 1e-4  # a weight below it is none
_SEED = 17


def log_loss(probabilities: Floats, labels: Labels) -> float:
    """Return the mean cross-entropy in nats of (N, K) probabilities; 1e-7 is the least of one."""
    return _cost(_of_truth(probabilities, labels))


def mean_weights(members: Floats, labels: Labels) -> Floats:
    """Return (M,) equal weights, for any records."""
    del labels
    return np.full(len(members), 1 / len(members))


def fitted_weights(members: Floats, labels: Labels) -> Floats:
    """Return the (M,) weights, at least 0 and together 1, of the mixture with the least log loss.

    A convex problem: "stacking" with weights that are not negative (Breiman, Stacked Regressions,
    1996), for the log loss (van der Laan, Polley and Hubbard, Super Learner, 2007).

    Args:
        members: (M, N, K) probabilities.
        labels: (N,) class indices.
    """
    from scipy.optimize import minimize  # costs a third of a second

    truth = np.stack([_of_truth(each, labels) for each in members])

    def cost(weights: Floats) -> tuple[float, Floats]:
        mixed = np.maximum(weights @ truth, _LEAST)
        return float(-np.log(mixed).mean()), -(truth / mixed).mean(axis=1)

    found = minimize(
        cost, mean_weights(members, labels), jac=True, method="SLSQP",
        bounds=[(0.0, 1.0)] * len(members), options={"ftol": 1e-10, "maxiter": 500},
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like},
    )  # fmt: skip
    return _tidy(found.x)


def greedy_weights(members: Floats, labels: Labels) -> Floats:
    """Return the (M,) weights of forward selection with replacement.

    In each of 20 rounds the model comes in, perhaps once more, with which the mean of all chosen
    has the least log loss; the round with the least of all is taken (Caruana et al., Ensemble
    Selection from Libraries of Models, 2004).

    Args:
        members: (M, N, K) probabilities.
        labels: (N,) class indices.
    """
    truth = np.stack([_of_truth(each, labels) for each in members])
    counts, total = np.zeros(len(members)), np.zeros(truth.shape[1])
    best, least = counts, np.inf
    for chosen in range(1, _ROUNDS + 1):
        costs = [_cost((total + each) / chosen) for each in truth]
        member = int(np.argmin(costs))
        counts = counts.copy()
        counts[member] += 1
        total = total + truth[member]
        if costs[member] < least - 1e-12:
            best, least = counts, costs[member]
    return np.asarray(best / best.sum())


WAYS: Mapping[str, Callable[[Floats, Labels], Floats]] = MappingProxyType(
    {"mean": mean_weights, "weighted": fitted_weights, "greedy": greedy_weights}
)


def mixed(members: Floats, weights: Floats) -> Floats:
    """Return (N, K) the weighted mean of (M, N, K) probabilities."""
    return np.asarray(np.tensordot(weights, members, axes=1))


@dataclass(frozen=True, slots=True, eq=False)
class Crossed:
    """What was said of records by what was fitted on others.

    Attributes:
        ensemble: (N, K) probabilities of the ensemble.
        single: (N, K) those of the single model that was the best of the others' records.
        method: The way of `WAYS` that is the best of all records, by folds within.
        weights: (M,) what it gives when it is fitted on all records.
        best: Which single model is the best of all records.
    """

    ensemble: Floats
    single: Floats
    method: str
    weights: Floats
    best: int


def cross_fit(
    members: Floats, singles: Floats, labels: Labels, units: Labels | None, method: str
) -> Crossed:
    """Return what an ensemble, and the best single model, say of records neither was chosen on.

    Args:
        members: (M, N, K) probabilities that are put together.
        singles: (M, N, K) those of the models by themselves.
        labels: (N,) class indices.
        units: (N,) numbers of what stays in one fold, e.g. patients; None for records.
        method: One of `WAYS`, or "best": the one that does best on folds within the others.
    """
    places = folds_of(labels, units)
    ensemble, single = np.zeros(members.shape[1:]), np.zeros(members.shape[1:])
    for fold in np.unique(places):
        there, here = places != fold, places == fold
        within = None if units is None else units[there]
        way = _way(members[:, there], labels[there], within, method)
        weights = WAYS[way](members[:, there], labels[there])
        ensemble[here] = mixed(members[:, here], weights)
        single[here] = singles[_best(singles[:, there], labels[there])][here]
    way = _way(members, labels, units, method)
    return Crossed(ensemble, single, way, WAYS[way](members, labels), _best(singles, labels))


def folds_of(labels: Labels, units: Labels | None = None, *, folds: int = _FOLDS) -> Labels:
    """Return (N,) the fold of each record, 0 to `folds` - 1: whole units, each class spread.

    Args:
        labels: (N,) class indices.
        units: (N,) numbers of what stays together; None for records.
        folds: How many; fewer where there are fewer units.
    """
    owners = np.arange(len(labels)) if units is None else units
    _, first, places = np.unique(owners, return_index=True, return_inverse=True)
    shuffled = np.random.default_rng(_SEED).permutation(len(first))
    order = shuffled[np.argsort(labels[first][shuffled], kind="stable")]
    of_unit = np.empty(len(first), np.int64)
    of_unit[order] = np.arange(len(first)) % min(folds, len(first))
    return np.asarray(of_unit[places])


def _way(members: Floats, labels: Labels, units: Labels | None, method: str) -> str:
    """Return the way to put models together; of "best", the one with the least loss by folds."""
    if method != "best":
        return method
    places, costs = folds_of(labels, units), dict.fromkeys(WAYS, 0.0)
    for fold in np.unique(places):
        there, here = places != fold, places == fold
        if not there.any():
            continue
        for name, fit in WAYS.items():
            weights = fit(members[:, there], labels[there])
            costs[name] += log_loss(mixed(members[:, here], weights), labels[here]) * here.sum()
    return min(costs, key=lambda name: costs[name])  # of equals the simplest, which is the first


def _best(singles: Floats, labels: Labels) -> int:
    return int(np.argmin([log_loss(each, labels) for each in singles]))


def _of_truth(probabilities: Floats, labels: Labels) -> Floats:
    return np.asarray(probabilities[np.arange(len(labels)), labels], np.float64)


def _cost(truth: Floats) -> float:
    return float(-np.log(np.clip(truth, _LEAST, 1)).mean())


def _tidy(weights: Floats) -> Floats:
    kept = np.where(weights < _SHARE, 0.0, weights)
    return np.asarray(kept / kept.sum())
