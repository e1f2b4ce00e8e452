"""Sets of classes in place of one: the true class is in them as often as was asked."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from sightline.judging.evaluation.calibration import described
from sightline.judging.evaluation.quotients import quotients
from sightline.judging.evaluation.resampling import resampling, units_of
from sightline.records import Predictions, PredictionSets, SetRule


def fit_sets(validation: Predictions, coverage: float, *, source: str = "validation") -> SetRule:
    """Return the rule whose sets hold the true class with at least the probability asked.

    Split-conformal sets of the smallest mean size (LAC: Sadinle, Lei and Wasserman, Least
    Ambiguous Set-Valued Classifiers With Bounded Error Levels, 2019): a class is in the set where
    its probability is at least as large as the true class' probability was in all but the
    smallest of n records; ceil((n + 1) * coverage) of them are kept, one more than n * coverage
    would be, which is what makes it hold for a finite n. For records like these, drawn in any
    order: the weights must not have been chosen on them, and no two of one patient.

    One threshold for all classes: it holds on average over the records, and a rare class may be
    covered less than the others. Of fewer than coverage / (1 - coverage) records (19 for 0.95)
    every class is in every set.

    Args:
        validation: Records without a label or a readable image are left out.
        coverage: How often the set is to hold the true class, over 0 and under 1.
        source: What `validation` is called.

    Raises:
        DataError: A label is not one of the model's classes, or no record can be judged.
        ValueError: `coverage` is not over 0 and under 1.
    """
    if not 0 < coverage < 1:
        raise ValueError(f"coverage must be over 0 and under 1, got {coverage}")
    scored = validation.scored()
    labels, names = scored.label_indices(), scored.class_names
    believed = scored.probabilities[np.arange(len(labels)), labels]
    least, note = _least(believed, coverage), ""
    if least is None:
        needed = math.ceil(Fraction(str(coverage)) / (1 - Fraction(str(coverage))))
        note = (
            f"every class is in every set: {needed:,} records are needed for a coverage of "
            f"{coverage:g}"
        )
    return SetRule(
        coverage=coverage,
        least=(0.0 if least is None else least,) * len(names),
        count=len(scored),
        chosen_on=described(scored, source),
        model_fingerprint=scored.model_fingerprint,
        note=note,
    )


def judge_sets(rule: SetRule, predictions: Predictions) -> PredictionSets:
    """Return how often the sets of a rule hold the true class, and how large they are.

    The 95 % intervals are those of the bootstrap of `resampling`, of whole groups where there are
    groups; they say how sure the figure of these records is, not how the rule's threshold would
    vary with other validation records.

    Raises:
        DataError: A label is not one of the model's classes, or no record can be judged.
        ValueError: The rule is about another number of classes.
    """
    scored = predictions.scored()
    labels, names = scored.label_indices(), scored.class_names
    sets = rule.sets(scored.probabilities)
    held, sizes = sets[np.arange(len(labels)), labels], sets.sum(axis=1)
    sample = resampling(labels, units_of(scored))
    own = np.concatenate([np.ones((len(labels), 1)), np.eye(len(names))[labels]], axis=1)
    reached, *classes = quotients(sample, held[:, np.newaxis] * own, own)
    (mean,) = quotients(sample, sizes[:, np.newaxis].astype(float), own[:, :1], highest=len(names))
    assert reached is not None  # there is a record
    assert mean is not None
    return PredictionSets(
        rule=rule,
        count=len(scored),
        reached=reached,
        classes={name: each for name, each in zip(names, classes, strict=True) if each},
        mean_size=mean,
        sizes=tuple(np.bincount(sizes, minlength=len(names) + 1).tolist()),
    )


def _least(believed: npt.NDArray[np.float32], coverage: float) -> float | None:
    """Return the smallest of the probabilities that are kept; None where there are too few."""
    kept = math.ceil(Fraction(str(coverage)) * (len(believed) + 1))  # exact: 0.95 * 20 is 19
    return float(np.sort(believed)[-kept]) if kept <= len(believed) else None
