"""The curves behind the areas: what each threshold of one class's probability would give."""

from __future__ import annotations

import heapq

import numpy as np
import numpy.typing as npt

from sightline.records import Predictions

Floats = npt.NDArray[np.float64]
_FINENESS = 1e-4  # a thirtieth of a pixel
_LOOKED_AT = 256  # points at a time
_POINTS = 200  # more than this no eye tells apart in a figure of some hundred pixels


def roc_curve(
    predictions: Predictions, class_index: int, *, points: int | None = _POINTS
) -> tuple[Floats, Floats, Floats]:
    """Return the false and the true positive rate, and the threshold, of each point of the curve.

    From (0, 0), at the threshold infinity, to (1, 1); a record counts as positive from the
    threshold on. Thinned to what is drawn: see `thinned`.

    Args:
        predictions: Records without a label or a readable image are left out.
        class_index: The class against the rest.
        points: At most so many, at least 2; None for one at each distinct probability.

    Raises:
        DataError: A label is not one of the model's classes, or no record can be judged.
        ValueError: There is no such class, or there are not records both of it and of others.
    """
    hits, false, thresholds = _counted(predictions, class_index)
    rates = np.r_[0.0, false / false[-1]], np.r_[0.0, hits / hits[-1]]
    kept = thinned(*rates, points)
    return rates[0][kept], rates[1][kept], np.r_[np.inf, thresholds][kept]


def precision_recall_curve(
    predictions: Predictions, class_index: int, *, points: int | None = _POINTS
) -> tuple[Floats, Floats, Floats]:
    """Return precision, recall and threshold of each point of the curve.

    From recall 1, at the smallest threshold, to precision 1 and recall 0, at infinity. It is a
    curve of steps: a precision holds down to the next lower recall. Thinned to what is drawn of
    them: see `thinned_steps`.

    Args:
        predictions: As `roc_curve`.
        class_index: The class against the rest.
        points: As `roc_curve`.

    Raises:
        DataError: As `roc_curve`.
        ValueError: As `roc_curve`.
    """
    hits, false, thresholds = _counted(predictions, class_index)
    precision = np.r_[1.0, hits / (hits + false)][::-1]
    recall = np.r_[0.0, hits / hits[-1]][::-1]
    kept = thinned_steps(precision, points)
    return precision[kept], recall[kept], np.r_[np.inf, thresholds][::-1][kept]


def thinned(x: Floats, y: Floats, points: int | None) -> npt.NDArray[np.int64]:
    """Return the ascending places of the points that a line needs to look the same.

    The point farthest from the line so far is taken next, until none is off it or there are
    enough (Douglas and Peucker, Algorithms for the Reduction of the Number of Points, 1973).

    Args:
        x: (N,) 0..1, N at least 2.
        y: (N,) 0..1.
        points: At most so many, at least 2; None keeps all.
    """
    if points is None:
        return np.arange(len(x))
    kept = {0, len(x) - 1}
    waiting = [_farthest(x, y, 0, len(x) - 1)]
    while waiting and len(kept) < points:
        distance, place, first, last = heapq.heappop(waiting)
        if distance == 0:
            break
        kept.add(place)
        for part in ((first, place), (place, last)):
            heapq.heappush(waiting, _farthest(x, y, *part))
    return np.asarray(sorted(kept), np.int64)


def thinned_steps(y: Floats, points: int | None) -> npt.NDArray[np.int64]:
    """Return the ascending places of the points whose steps look the same.

    A point is kept where it is farther from the last one kept than a tolerance, so that no step is
    drawn farther off than that; the tolerance is the smallest, to 0.0001, that few enough need.

    Args:
        y: (N,) 0..1, N at least 2; each holds until the next.
        points: At most so many, at least 2; None keeps all.
    """
    if points is None:
        return np.arange(len(y))
    low, high = -1.0, 1.0  # all of them; the first and the last
    while high - low > _FINENESS:
        middle = 0.0 if low < 0 else (low + high) / 2
        few_enough = len(_held(y, middle, points)) <= points
        low, high = (low, middle) if few_enough else (middle, high)
        if few_enough and middle == 0:
            break
    return np.asarray(_held(y, high, points), np.int64)


def _held(y: Floats, tolerance: float, points: int) -> list[int]:
    """Return the places at which steps begin, and the last; no more than are too many."""
    kept, last = [0], len(y) - 1
    while kept[-1] < last and len(kept) <= points:
        place, start, width = last, kept[-1] + 1, _LOOKED_AT
        while start < last:  # in parts that grow: most steps are short, some hold for very long
            off = np.abs(y[start : start + width] - y[kept[-1]]) > tolerance
            if off.any():
                place = start + int(off.argmax())
                break
            start, width = start + width, 4 * width
        kept.append(place)
    return kept


def _farthest(x: Floats, y: Floats, first: int, last: int) -> tuple[float, int, int, int]:
    """Return minus the distance of the point farthest from a chord, its place, and the chord."""
    if last - first < 2:
        return 0.0, first, first, last
    across, up = x[last] - x[first], y[last] - y[first]
    inner = slice(first + 1, last)
    off = np.abs(across * (y[inner] - y[first]) - up * (x[inner] - x[first]))
    place = int(off.argmax())
    length = float(np.hypot(across, up))
    distance = float(off[place]) / length if length else 0.0
    return (-distance if distance > 1e-12 else 0.0), first + 1 + place, first, last


def _counted(
    predictions: Predictions, class_index: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Floats]:
    """Return true and false positives from each distinct probability on, the largest first."""
    scored = predictions.scored()
    names = scored.class_names
    if not 0 <= class_index < len(names):
        raise ValueError(f"class_index must be in 0..{len(names) - 1}, got {class_index}")
    positive = scored.label_indices() == class_index
    if positive.all() or not positive.any():
        kinds = "other classes" if positive.all() else f"class {names[class_index]!r}"
        raise ValueError(f"a curve needs records of {names[class_index]!r} and of others, got none "
                         f"of {kinds}")  # fmt: skip
    probability = scored.probabilities[:, class_index]
    order = np.argsort(-probability, kind="stable")
    falling = probability[order]
    ends = np.flatnonzero(np.r_[falling[1:] != falling[:-1], True])
    hits = positive[order].cumsum()[ends]
    return hits, ends + 1 - hits, falling[ends].astype(np.float64)
