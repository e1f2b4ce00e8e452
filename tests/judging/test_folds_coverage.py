"""How often the interval of a mean over folds holds the truth, in a world where it is known.

Two normal clouds, a linear discriminant fitted to each fold's training points. Its accuracy on all
points that there could be is known without drawing any, so the truth, the mean of that over
training sets of a fold's size, is exact but for the training sets drawn.
"""

from __future__ import annotations

import math
import sys

import numpy as np
import numpy.typing as npt
import pytest

from sightline.judging import evaluation

POINTS, AXES, APART = 120, 5, 1.5
SETS, SEED = 2000, 7
Floats = npt.NDArray[np.float64]
_ERF = np.vectorize(math.erf)


def drawn(draw: np.random.Generator, count: int) -> tuple[Floats, Floats]:
    """Return points (count, AXES) and their classes, half of each."""
    classes = np.arange(count) % 2.0
    points = draw.normal(size=(count, AXES))
    points[:, 0] += APART * classes
    return points, classes


def fitted(points: Floats, classes: Floats) -> tuple[Floats, float]:
    """Return direction and threshold of the linear discriminant."""
    zero, one = points[classes == 0], points[classes == 1]
    within = (np.cov(zero.T) + np.cov(one.T)) / 2
    direction = np.linalg.solve(within, one.mean(0) - zero.mean(0))
    return direction, float(direction @ (one.mean(0) + zero.mean(0)) / 2)


def true_accuracy(direction: Floats, threshold: float) -> float:
    """Return its accuracy on all points that there could be."""
    length = float(np.linalg.norm(direction))
    below, above = threshold / length, (APART * direction[0] - threshold) / length
    return float(np.mean((1 + _ERF(np.array([below, above]) / math.sqrt(2))) / 2))


def over_folds(draw: np.random.Generator, folds: int, repeats: int) -> list[float]:
    """Return the accuracies of a repeated cross-validation of one set."""
    points, classes = drawn(draw, POINTS)
    found = []
    for _ in range(repeats):
        fold = np.empty(POINTS, int)
        for label in (0, 1):
            places = np.flatnonzero(classes == label)
            fold[draw.permutation(places)] = np.arange(len(places)) % folds
        for number in range(folds):
            direction, threshold = fitted(points[fold != number], classes[fold != number])
            said = points[fold == number] @ direction > threshold
            found.append(float(np.mean(said == classes[fold == number])))
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("folds", "repeats"), [(5, 1), (3, 1), (5, 4)])
def test_it_holds_the_truth_about_as_often_as_it_says(folds: int, repeats: int, capsys) -> None:
    draw = np.random.default_rng(SEED)
    learned = POINTS - POINTS // folds
    truth = float(np.mean([true_accuracy(*fitted(*drawn(draw, learned))) for _ in range(SETS)]))
    held = {"corrected": 0, "without the correction": 0}
    for _ in range(SETS):
        values = over_folds(draw, folds, repeats)
        for name, share in zip(held, (1 / (folds - 1), 0.0), strict=True):
            found = evaluation.corrected_interval(values, share)
            # Without a spread it gives none, and is not wrong.
            held[name] += found.low is None or found.low <= truth <= found.high
    shares = {name: count / SETS for name, count in held.items()}
    with capsys.disabled():
        sys.stdout.write(f"\n{folds} folds, {repeats} times: {shares}\n")
    assert shares["corrected"] >= 0.94
    assert shares["without the correction"] < shares["corrected"]
