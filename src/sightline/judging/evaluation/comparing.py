"""Whether one model is better than another, judged on the records that both judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import polars as pl

from sightline.errors import DataError
from sightline.judging.evaluation.counts import confusion_matrix
from sightline.judging.evaluation.figures import OVERALL, Figures
from sightline.judging.evaluation.losses import LARGEST_LOSS
from sightline.judging.evaluation.quotients import too_few, units_among
from sightline.judging.evaluation.resampling import (
    Resampling,
    interval,
    resampling,
    units_by_class,
    units_of,
)
from sightline.judging.evaluation.unseen import OF_DIFFERENCE, unseen_errors
from sightline.records import Comparison, Interval, Predictions

Floats = npt.NDArray[np.float64]
_ROUNDS = 400  # of resamples: an interval needs their spread alone, which these give to 4 %
_OF_RECORDS = ("accuracy", "log_loss")  # rest on all records; the others on those of each class
_METRICS = (
    "accuracy", "balanced_accuracy", "macro_f1", "roc_auc", "average_precision", "log_loss",
)  # fmt: skip


def compare(
    first: Predictions, second: Predictions, *, names: tuple[str, str] = ("first", "second")
) -> Comparison:
    """Return how much better the second model is than the first, and how sure that is.

    Both are judged on the records that both could judge, each by its own decision. The intervals
    are of the paired differences: every resample of `resampling` is the same for both, so what
    makes a record hard for both does not count. McNemar's exact test of the records that only one
    got right (Note on the Sampling Error of the Difference Between Correlated Proportions, 1947)
    takes images as independent; where there are groups, the p-value of the difference is that of
    the resamples instead. Deterministic.

    Args:
        first: Records without a label or a readable image are left out.
        second: Likewise, of a model of the same classes.
        names: What the two are called.

    Raises:
        DataError: The classes differ, a record is there twice or has two labels, or the two have
            no record in common that can be judged.
    """
    one, two = _matched(first, second, names)
    labels, units = one.label_indices(), units_of(one)
    right = np.stack([each.predicted_indices() == labels for each in (one, two)])
    sample = resampling(labels, units, rounds=_ROUNDS)
    values, differences = _differences(one, two, sample)
    alone = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    mcnemar = _mcnemar(*alone)
    gain = right[1].astype(np.float64) - right[0]
    p_value = _resampled(gain, sample) if sample.grouped else mcnemar
    return Comparison(
        names=names,
        count=len(one),
        only_first=len(first.scored()) - len(one),
        only_second=len(second.scored()) - len(one),
        groups=int(sample.sizes.sum()) if sample.grouped else 0,
        values=values,
        differences=differences,
        first_alone_right=alone[0],
        second_alone_right=alone[1],
        mcnemar=mcnemar,
        p_value=p_value,
        corrected=p_value,
    )


def compare_runs(runs: Mapping[str, Predictions]) -> tuple[Comparison, ...]:
    """Return every later run compared with the first, p-values corrected for their number.

    Args:
        runs: What each is called to its predictions, two or more.

    Raises:
        DataError: As `compare`.
        ValueError: There are fewer than two.
    """
    if len(runs) < 2:
        raise ValueError(f"two runs or more are compared, got {list(runs)}")
    (name, base), *others = runs.items()
    pairs = [compare(base, each, names=(name, other)) for other, each in others]
    corrected = holm([pair.p_value for pair in pairs])
    return tuple(
        replace(pair, corrected=p_value, pairs=len(pairs))
        for pair, p_value in zip(pairs, corrected, strict=True)
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number, so that 5 % is the risk of any false alarm.

    Holm, A Simple Sequentially Rejective Multiple Test Procedure, 1979: the smallest is multiplied
    by their number, the next by one less, and none is smaller than the one before it.
    """
    result, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(np.argsort(p_values, kind="stable").tolist()):
        largest = max(largest, min(1.0, p_values[place] * (len(p_values) - rank)))
        result[place] = largest
    return result


def _matched(
    first: Predictions, second: Predictions, names: tuple[str, str]
) -> tuple[Predictions, Predictions]:
    """Return the records that both judged, in the order of the first."""
    if first.class_names != second.class_names:
        raise DataError(
            f"{names[0]} and {names[1]} cannot be compared: their classes are "
            f"{list(first.class_names)} and {list(second.class_names)}"
        )
    scored = first.scored(), second.scored()
    for each, name in zip(scored, names, strict=True):
        ids = each.table["record_id"]
        if ids.n_unique() < len(ids):
            twice = ids.filter(ids.is_duplicated())[0]
            raise DataError(f"record {twice!r} is in the predictions of {name} more than once")
    rows = [
        each.table.select("record_id", "label").with_row_index(f"row_{place}")
        for place, each in enumerate(scored)
    ]
    both = rows[0].join(rows[1], on="record_id", suffix="_second", maintain_order="left")
    if not len(both):
        raise DataError(
            f"{names[0]} and {names[1]} cannot be compared: of {len(scored[0]):,} and "
            f"{len(scored[1]):,} records they have none in common. Judge both on the same split."
        )
    unlike = both.filter(pl.col("label") != pl.col("label_second"))
    if len(unlike):
        row = unlike.row(0, named=True)
        raise DataError(
            f"record {row['record_id']!r} has label {row['label']!r} in {names[0]} and "
            f"{row['label_second']!r} in {names[1]}, as have {len(unlike) - 1:,} more. Predict "
            "both again on one manifest."
        )
    one, two = (each.chosen(both[f"row_{at}"].to_numpy()) for at, each in enumerate(scored))
    return one, two


def _differences(
    one: Predictions, two: Predictions, sample: Resampling
) -> tuple[dict[str, tuple[float, float]], dict[str, Interval]]:
    """Return the figures of both, and their paired differences; only what is defined for both."""
    answers = [each.predicted_indices() for each in (one, two)]
    keys = [(OVERALL, name) for name in _METRICS]
    measures = [
        Figures(sample.labels, called, each.probabilities, keys)
        for called, each in zip(answers, (one, two), strict=True)
    ]
    places = [measures[0].names.index(key) for key in keys]
    unseen = _unseen(sample, len(one.class_names), answers)

    def both(weights: Floats) -> Floats:
        return np.stack([measure(weights)[:, places] for measure in measures], axis=1)

    values, drawn = both(np.ones((1, len(one))))[0], sample.drawn(both)
    every = np.ones(len(one), np.bool_)
    classes = [sample.labels == index for index in np.unique(sample.labels)]
    rarest = min(classes, key=lambda own: units_among(sample, own))
    pairs, differences = {}, {}
    for column, name in enumerate(_METRICS):
        if np.isnan(values[:, column]).any():
            continue
        pairs[name] = float(values[0, column]), float(values[1, column])
        concerned = every if name in _OF_RECORDS else rarest
        bound = LARGEST_LOSS if name == "log_loss" else 1.0
        value, note = pairs[name][1] - pairs[name][0], too_few(sample, concerned)
        differences[name] = (
            Interval(value, None, None, note)
            if note
            else interval(
                value,
                drawn[:, 1, column] - drawn[:, 0, column],
                units=units_among(sample, concerned),
                bounds=(-bound, bound),
                unseen=unseen.get(name, 0.0),
            )
        )
    return pairs, differences


def _unseen(
    sample: Resampling, num_classes: int, answers: Sequence[npt.NDArray[np.int64]]
) -> dict[str, float]:
    """Return what the differences may be more unsure of than the resamples show, by metric.

    Of classes in which both models got the same records right, as `unseen_errors` has it.
    """
    labels = sample.labels
    unlike = (answers[0] == labels) != (answers[1] == labels)
    alike = np.bincount(labels, unlike, num_classes) == 0
    confusion = confusion_matrix(labels, answers[1], num_classes)
    errors, _ = unseen_errors(confusion, units_by_class(sample, num_classes), alike=alike)
    return {name: OF_DIFFERENCE * float(error) for name, error in errors.items()}


def _mcnemar(first_alone: int, second_alone: int) -> float:
    """Return the exact two-sided p-value of so many records that only one got right."""
    from scipy.special import bdtr  # costs a third of a second

    discordant = first_alone + second_alone
    if not discordant:
        return 1.0
    return min(1.0, 2 * float(bdtr(min(first_alone, second_alone), discordant, 0.5)))


def _resampled(gain: Floats, sample: Resampling) -> float:
    """Return the two-sided p-value of a mean of whole groups, by Student's t.

    Args:
        gain: (N,) 1 where only the second model was right, -1 where only the first was, else 0.
        sample: Of the same records.
    """
    from scipy.special import stdtr

    drawn = sample.drawn(lambda weights: weights @ gain / weights.sum(axis=1))
    spread = float(drawn.std(ddof=1))
    if spread == 0:
        return 1.0
    return 2 * float(stdtr(int(sample.sizes.sum()) - 1, -abs(float(gain.mean())) / spread))
