"""Where a model is worse than elsewhere: the values of metadata columns, one by one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl

from sightline.errors import DataError
from sightline.judging.evaluation.comparing import holm
from sightline.judging.evaluation.counts import quotient
from sightline.judging.evaluation.quotients import too_few, units_among
from sightline.judging.evaluation.ranking import Ranking, mean_of_defined, ranked
from sightline.judging.evaluation.resampling import Resampling, interval, resampling, units_of
from sightline.judging.evaluation.stratified import p_value
from sightline.judging.evaluation.unseen import unseen_share
from sightline.records import Interval, Predictions, Slice

Floats = npt.NDArray[np.float64]
UNKNOWN, OTHER = "(unknown)", "(other)"
_NO_VALUES = (UNKNOWN, OTHER)
_ROUNDS = 200  # of resamples: an interval needs their spread alone, which these give to 5 %
_MOST_NUMBERS = 8  # a column of more distinct numbers is cut into bins
_BINS = 4
_MOST_TEXTS = 20  # a column of more texts keeps one less, and the rest together
_LEVEL = 0.05


def slices(predictions: Predictions, columns: pl.DataFrame) -> tuple[Slice, ...]:
    """Return how good the predictions are on each value of each metadata column.

    More than 8 distinct numbers or dates are cut at their quartiles into at most 4 bins, of more
    than 20 texts the 19 most frequent are kept; a column of one value makes no slice.

    Every slice of 30 records (10 groups) or more, with as many outside it, is tested for being
    right as often as the other records of the same classes: see `stratified.p_value`. The p-values
    are corrected (Holm) for all slices of all columns, two that part the records in the same way
    counting once, so the chance of any false alarm is 5 %. Intervals are 95 %, each for itself,
    from 200 of the resamples of `resampling`. Deterministic.

    Args:
        predictions: Records without a label or a readable image are left out.
        columns: `record_id` and columns of text, numbers, booleans or dates; a record that it does
            not hold is unknown.

    Raises:
        DataError: A label is not one of the model's classes, no record can be judged, or a record
            is there twice.
        ValueError: There is no `record_id` of text, or a column is of another type.
    """
    if columns.schema.get("record_id") != pl.String:
        raise ValueError(f"columns must have record_id of text, got {dict(columns.schema)}")
    if columns["record_id"].n_unique() < len(columns):
        twice = columns.filter(pl.col("record_id").is_duplicated())["record_id"][0]
        raise DataError(f"record {twice!r} is in the table of columns more than once")
    scored = predictions.scored()
    table = scored.table.select("record_id").join(
        columns, on="record_id", how="left", maintain_order="left"
    )
    judged = _Judged.of(scored)
    found: list[tuple[Slice, npt.NDArray[np.bool_]]] = []
    for name in columns.columns:
        if name != "record_id":
            parts = cut(table[name])
            if len(parts) > 1:
                masks = (inside for _, inside in parts)
                found += zip(_of_column(judged, name, parts), masks, strict=True)
    return _corrected(found)


def cut(column: pl.Series) -> list[tuple[str, npt.NDArray[np.bool_]]]:
    """Return the parts of a column, in order: what each is called, and (N,) which records it has.

    Numbers and dates rise, texts fall by frequency, then go by name; "(other)" and "(unknown)" are
    last, and a text that reads like one of these is in quotes. A bin is called by the smallest and
    the largest value in it, as "34 to 51".

    Raises:
        ValueError: The column is of a type that is not text, numbers, booleans or dates.
    """
    kind = column.dtype
    if kind.is_float():
        column = column.fill_nan(None)
    if kind.is_numeric() or kind.is_temporal():
        parts = _bins(column)
    elif kind in (pl.String, pl.Categorical, pl.Enum, pl.Boolean, pl.Null):
        parts = _texts(column.cast(pl.String))
    else:
        raise ValueError(f"column {column.name!r} is of {kind}; give text, numbers or dates")
    unknown = column.is_null().to_numpy()
    return [*parts, (UNKNOWN, unknown)] if unknown.any() else parts


def _bins(column: pl.Series) -> list[tuple[str, npt.NDArray[np.bool_]]]:
    """Return the parts of numbers or dates: one a value, or four quarters where they are many."""
    known = column.drop_nulls().sort()
    edges = known.unique().sort().to_list()
    if len(edges) > _MOST_NUMBERS:
        quarters = [known[math.ceil(len(known) * part / _BINS) - 1] for part in range(1, _BINS + 1)]
        edges = sorted(set(quarters))
    parts, below = [], pl.Series([False]).new_from_index(0, len(column))
    for edge in edges:
        upto = (column <= edge).fill_null(value=False)
        inside, below = upto & ~below, upto
        values = column.filter(inside)
        parts.append((_between(values.min(), values.max()), inside.to_numpy()))
    return parts


def _between(low: object, high: object) -> str:
    texts = [f"{each:.4g}" if isinstance(each, float) else str(each) for each in (low, high)]
    return texts[0] if low == high else f"{texts[0]} to {texts[1]}"


def _texts(column: pl.Series) -> list[tuple[str, npt.NDArray[np.bool_]]]:
    """Return the parts of texts: one a text, the rare ones together where they are many."""
    counts = column.drop_nulls().value_counts(name="count")
    names = counts.sort("count", column.name, descending=[True, False])[column.name].to_list()
    kept = names[: _MOST_TEXTS - 1] if len(names) > _MOST_TEXTS else names
    parts = [(_quoted(name), (column == name).fill_null(value=False).to_numpy()) for name in kept]
    rest = (~column.is_in(kept)).fill_null(value=False).to_numpy()
    return [*parts, (OTHER, rest)] if len(kept) < len(names) else parts


def _quoted(text: str) -> str:
    """Return a text as it is, in quotes where it reads like a part that is no value."""
    return f'"{text}"' if text in _NO_VALUES else text


@dataclass(frozen=True, slots=True, eq=False)
class _Judged:
    """The records, whether each was right, and how they are resampled."""

    scored: Predictions
    labels: npt.NDArray[np.int64]
    right: npt.NDArray[np.bool_]
    sample: Resampling

    @classmethod
    def of(cls, scored: Predictions) -> _Judged:
        labels = scored.label_indices()
        sample = resampling(labels, units_of(scored), rounds=_ROUNDS)
        return cls(scored, labels, scored.predicted_indices() == labels, sample)

    @property
    def classes(self) -> int:
        """K."""
        return len(self.scored.class_names)


class _Figures:
    """The figures of every part of a column as a function of how often each record counts."""

    def __init__(self, judged: _Judged, parts: Sequence[npt.NDArray[np.bool_]]) -> None:
        """Sort the records of every part by every class's probability."""
        self._judged, self._parts = judged, len(parts)
        self._cells = np.stack(parts).argmax(axis=0) * judged.classes + judged.labels
        self._rankings = []
        for inside in parts:
            rows = np.flatnonzero(inside)
            for index in ranked(judged.classes):
                probability = judged.scored.probabilities[rows, index]
                ranking = Ranking.of(judged.labels[rows] == index, probability)
                self._rankings.append((rows[ranking.order], ranking))
        of_classes = ("recall", "specificity") if judged.classes == 2 else ("balanced_accuracy",)
        self.names = ("accuracy", *of_classes, "roc_auc", "difference")

    def __call__(self, weights: Floats) -> Floats:
        """Return (B, S, F) the figures of S parts, in the order of `names`; NaN where undefined.

        Args:
            weights: (B, N) how often each record counts.
        """
        many, right = (self._counted(each) for each in (weights, weights * self._judged.right))
        recall = quotient(right, many)
        if self._judged.classes == 2:
            of_classes = [recall[..., 1], recall[..., 0]]
        else:
            of_classes = [mean_of_defined(recall)]
        areas = [ranking.areas(weights[:, rows])[0] for rows, ranking in self._rankings]
        area = mean_of_defined(np.stack(areas, axis=1).reshape(len(weights), self._parts, -1))
        accuracy = quotient(right.sum(axis=2), many.sum(axis=2))
        return np.stack([accuracy, *of_classes, area, _differences(many, right)], axis=2)

    def _counted(self, weights: Floats) -> Floats:
        """Return (B, S, K) the sums of the weights of each class in each part."""
        cells = self._parts * self._judged.classes
        sums = np.stack([np.bincount(self._cells, row, cells) for row in weights]).astype(float)
        return sums.reshape(len(weights), self._parts, self._judged.classes)

    def unseen(self) -> Floats:
        """Return (S, F) what figures may be more unsure of than the resamples show.

        Of classes that are all right or all wrong in a part, as `unseen_share` has it.
        """
        judged, ones = self._judged, np.ones((1, len(self._cells)))
        many, right = self._counted(ones), self._counted(ones * judged.right)
        groups = np.unique(self._cells * (judged.sample.units.max() + 1) + judged.sample.units)
        cells = groups // (judged.sample.units.max() + 1)
        units = np.bincount(cells, minlength=many.size).reshape(many.shape)
        inside = _hidden(many, right, units)
        rest = (each.sum(axis=1, keepdims=True) - each for each in (many, right, units))
        weight = _weights(many)
        share = quotient(weight, np.broadcast_to(np.nansum(weight, 2, keepdims=True), many.shape))
        present = (many > 0) / np.maximum(1, (many > 0).sum(axis=2, keepdims=True))
        found = {
            "accuracy": many / many.sum(axis=2, keepdims=True) * inside,
            "balanced_accuracy": present * inside,
            "difference": share * np.hypot(inside, _hidden(*rest)),
        }
        errors = [np.sqrt(np.nansum(found.get(name, 0 * many) ** 2, axis=2)) for name in self.names]
        return np.asarray(np.stack(errors, axis=2)[0])


def _differences(many: Floats, right: Floats) -> Floats:
    """Return (B, S) how much oftener a part is right than the rest, over the classes of both.

    Mantel and Haenszel's weights: each class by the records in it times those outside, over all
    (Greenland and Robins, Estimation of a Common Effect Parameter From Sparse Follow-Up Data,
    1985).

    Args:
        many: (B, S, K) records of each class in each part.
        right: (B, S, K) those that were right.
    """
    rest, right_rest = (each.sum(axis=1, keepdims=True) - each for each in (many, right))
    weight = _weights(many)
    gap = weight * (quotient(right, many) - quotient(right_rest, rest))
    return quotient(np.nansum(gap, axis=2), np.nansum(weight, axis=2))


def _hidden(many: Floats, right: Floats, units: npt.NDArray[np.int64]) -> Floats:
    """Return (B, S, K) the `unseen_share` of classes all right or all wrong, 0 of the others."""
    alike = (many > 0) & ((right == 0) | (right == many))
    present = np.maximum(1, (many > 0).sum(axis=2, keepdims=True))
    return np.where(alike, unseen_share(np.maximum(1, units), present), 0.0)


def _weights(many: Floats) -> Floats:
    """Return (B, S, K) how much each class counts in the difference of a part from the rest."""
    rest = many.sum(axis=1, keepdims=True) - many
    return quotient(many * rest, many + rest)


def _of_column(
    judged: _Judged, column: str, parts: Sequence[tuple[str, npt.NDArray[np.bool_]]]
) -> list[Slice]:
    """Return the slices of a column, tested but not yet corrected."""
    masks = [inside for _, inside in parts]
    figures = _Figures(judged, masks)
    values = figures(np.ones((1, len(judged.labels))))[0]
    drawn, unseen = judged.sample.drawn(figures), figures.unseen()
    result = []
    for place, (name, inside) in enumerate(parts):
        metrics = {
            metric: _sure(
                judged,
                inside,
                metric,
                float(values[place, at]),
                drawn[:, place, at],
                float(unseen[place, at]),
            )
            for at, metric in enumerate(figures.names)
            if not np.isnan(values[place, at])
        }
        result.append(
            Slice(
                column=column,
                value=name,
                no_value=name in _NO_VALUES,
                count=int(inside.sum()),
                groups=units_among(judged.sample, inside) if judged.sample.grouped else 0,
                difference=metrics.pop("difference", None),
                metrics=metrics,
                p_value=_tested(judged, inside),
            )
        )
    return result


def _sure(
    judged: _Judged,
    inside: npt.NDArray[np.bool_],
    metric: str,
    value: float,
    drawn: Floats,
    unseen: float,
) -> Interval:
    """Return a figure of a part with its interval, or why there is none."""
    if metric in ("recall", "specificity"):
        concerned = [inside & (judged.labels == int(metric == "recall"))]
    elif metric in ("accuracy", "difference"):
        concerned = [inside] if metric == "accuracy" else [inside, ~inside]
    else:  # rests on every class that is there
        present = np.unique(judged.labels[inside]).tolist()
        concerned = [inside & (judged.labels == index) for index in present]
    fewest = min(concerned, key=lambda records: units_among(judged.sample, records))
    if note := too_few(judged.sample, fewest):
        return Interval(value, None, None, note)
    bounds = (-1.0 if metric == "difference" else 0.0, 1.0)
    units, area = units_among(judged.sample, fewest), metric == "roc_auc"
    return interval(value, drawn, units=units, bounds=bounds, unseen=unseen, area=area)


def _tested(judged: _Judged, inside: npt.NDArray[np.bool_]) -> float | None:
    """Return the p-value of a part; None where it, or the rest, is too small to be tested."""
    if any(too_few(judged.sample, part) for part in (inside, ~inside)):
        return None
    units = judged.sample.units if judged.sample.grouped else None
    return p_value(inside, judged.labels, judged.right, units)


def _corrected(found: Sequence[tuple[Slice, npt.NDArray[np.bool_]]]) -> tuple[Slice, ...]:
    """Return the slices with p-values corrected for their number."""
    # A part and its complement are one question: what has the first record stands for both.
    keys = [(inside ^ ~inside[0]).tobytes() for _, inside in found]
    asked = {key: each.p_value for (each, _), key in zip(found, keys, strict=True)}
    tested = {key: value for key, value in asked.items() if value is not None}
    answers = dict(zip(tested, holm(list(tested.values())), strict=True))
    return tuple(
        replace(each, corrected=answers[key], differs=answers[key] < _LEVEL)
        if key in answers
        else each
        for (each, _), key in zip(found, keys, strict=True)
    )
