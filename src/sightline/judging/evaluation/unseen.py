"""How unsure a figure is of what no record of a test set has shown."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sightline.judging.evaluation.counts import Tally, class_scores, overall_scores

Floats = npt.NDArray[np.float64]
Whole = npt.NDArray[np.integer]
OF_DIFFERENCE = float(np.sqrt(2))  # either of two models may have an answer of its own


def unseen_share(units: Whole, classes: Whole | int) -> Floats:
    """Return (...) the standard error of the share right, of classes all right or all wrong.

    Resamples of such a class are all alike, as if its share were known; but of 30 records that are
    all right nobody can tell that the 31st will be. One right and one wrong record are added,
    shared by the classes: half of what widens every class in Agresti and Caffo (Simple and
    Effective Confidence Intervals for Proportions and Differences of Proportions, 2000), because
    only those without any spread of their own are widened here.

    Args:
        units: (...) independent records or groups of each class.
        classes: How many classes have a record.
    """
    added = 1 / np.asarray(classes)
    share = added / (units + 2 * added)
    return np.asarray(np.sqrt(share * (1 - share) / (units + 2 * added)))


def unseen_errors(
    confusion: npt.NDArray[np.int64],
    units: npt.NDArray[np.int64],
    *,
    alike: npt.NDArray[np.bool_] | None = None,
) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Return what that adds to the errors of the scores that counts give, overall and by class.

    So much of each such class is moved to another answer: of a class that is all wrong from its
    commonest answer to the right one, of another to the commonest answer of other classes. What
    all of them move a score by, squared and summed, is the square of the error.

    Args:
        confusion: (K, K) counts, row = true class.
        units: (K,) records or, where they are resampled, groups with a record of each class.
        alike: (K,) the classes without any spread; None: those all right or all wrong.

    Returns:
        Of `overall_scores` () and of `class_scores` (K,), by name.
    """
    tally = Tally.of(confusion)
    present = tally.actual > 0
    if alike is None:
        alike = (tally.right == 0) | (tally.right == tally.actual)
    moved = _moved(confusion, tally, units, np.flatnonzero(alike & present))
    return _length(overall_scores(moved), overall_scores(tally)), _length(
        class_scores(moved), class_scores(tally)
    )


def _moved(
    confusion: npt.NDArray[np.int64], tally: Tally, units: Whole, rows: npt.NDArray[np.int64]
) -> Tally:
    """Return (R, K) tallies, in each of which some records of one class have another answer."""
    classes = int((tally.actual > 0).sum())
    right, guessed = (
        np.repeat(each[np.newaxis].astype(np.float64), len(rows), axis=0)
        for each in (tally.right, tally.guessed)
    )
    for place, row in enumerate(rows.tolist()):
        some = unseen_share(units[row], classes) * tally.actual[row]
        if tally.right[row]:
            others = tally.guessed - confusion[row]
            others[row] = -1
            left, taken, gained = row, int(others.argmax()), -1
        else:
            left, taken, gained = int(confusion[row].argmax()), row, 1
        some = min(some, confusion[row, left])
        right[place, row] += gained * some
        guessed[place, left] -= some
        guessed[place, taken] += some
    return Tally(right, guessed, np.broadcast_to(tally.actual, right.shape))


def _length(moved: dict[str, Floats], found: dict[str, Floats]) -> dict[str, Floats]:
    """Return how far scores move in all, NaN taken as not at all."""
    return {
        name: np.sqrt((np.nan_to_num(moved[name] - score) ** 2).sum(axis=0))
        for name, score in found.items()
    }
