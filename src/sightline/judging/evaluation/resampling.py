"""How sure a figure is: the one bootstrap of the project, and the interval that comes of it.

Records are drawn by class, so that a class keeps its count; whole groups where there are groups,
because images of one patient are no independent witnesses. `docs/evaluation.md` tells it in words
and shows how often the intervals hold the truth; `tests/judging/test_coverage.py` measures that.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sightline.records import Interval, Predictions

ROUNDS = 1000
ENOUGH_RECORDS = 30  # of a class, for an interval of a figure that rests on it
ENOUGH_GROUPS = 10  # of a class, likewise
_SEED = 5
_CELLS = 1 << 17  # weights made at a time: 1 MiB stays in a processor's cache
_MOST_LEFT_OUT = 1000  # units; of larger strata the resamples alone know the spread well enough
_MOST_MEASURED = 30_000  # times a class is measured for that: it would take longer than resampling
_LEAST_FREEDOM = 3.0
_AT_BOUND = 1e-12  # of the way between the bounds: rounding of sums
NO_SPREAD = "too few to say: it is the same in every resample"
_MOST_UNDEFINED = 0.05  # of the rounds; a figure with more of them gets no interval


@dataclass(frozen=True, slots=True, eq=False)
class Resampling:
    """How often each record counts in each of many resamples; `resampling` makes it.

    Of the m units of a stratum m - 1 are drawn with replacement (m draws would make every figure
    look surer than it is, by 1 in m of its variance: Rao and Wu, Resampling Inference With Complex
    Survey Data, 1988), and the records of each class are scaled to their count. A stratum of one
    unit always keeps it. Deterministic: a round is the same whatever the other rounds, and in
    whatever thread.

    Attributes:
        labels: (N,) int64 class indices.
        units: (N,) int64 the unit of each record, numbered from 0 stratum by stratum.
        sizes: (S,) int64 units of each stratum.
        grouped: Whether a unit may hold several records.
        rounds: How many resamples there are.
        seed: Of the draws.
    """

    labels: npt.NDArray[np.int64]
    units: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    grouped: bool
    rounds: int
    seed: int

    def weights(self, first: int, last: int) -> npt.NDArray[np.float64]:
        """Return (last - first, N) float64: how often each record counts in these rounds.

        The weights of a class sum to its records, or to 0 where none of them was drawn.
        """
        drawn = [self._drawn(number)[self.units] for number in range(first, last)]
        return np.stack([self._scaled(times.astype(np.float64)) for times in drawn])

    def drawn(
        self, figures: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]
    ) -> npt.NDArray[np.float64]:
        """Return (rounds, ...) the figures of every resample, in order.

        Args:
            figures: Takes (B, N) weights and returns (B, ...) figures, NaN where undefined; called
                from several threads at once.
        """
        return self._mapped(lambda first, last: figures(self.weights(first, last)), self.rounds)

    def left_out(
        self, figures: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]
    ) -> npt.NDArray[np.float64]:
        """Return (J, ...) the figures without each unit of the smaller strata, for `jackknife`.

        Args:
            figures: As `drawn`.
        """
        starts = np.cumsum(self.sizes) - self.sizes
        tried = [np.arange(starts[s], starts[s] + self.sizes[s]) for s in self.tried]
        units = np.concatenate([np.zeros(0, np.int64), *tried])

        def without(first: int, last: int) -> npt.NDArray[np.float64]:
            kept = [self._scaled((self.units != unit) * 1.0) for unit in units[first:last]]
            return figures(np.reshape(kept, (last - first, len(self.labels))))

        return self._mapped(without, len(units))

    @property
    def tried(self) -> list[int]:
        """The strata whose units `left_out` leaves out, in its order; the only unit never is."""
        if self.sizes.sum() == 1:
            return []
        most = min(_MOST_LEFT_OUT, _MOST_MEASURED // len(self.sizes))
        order = np.argsort(self.sizes, kind="stable")
        return [int(s) for s in order[np.cumsum(self.sizes[order]) <= most]]

    def _scaled(self, weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return (N,) weights of which each class has as much as it has records."""
        counts, totals = np.bincount(self.labels), np.bincount(self.labels, weights)
        scale = np.divide(counts, totals, out=np.zeros(len(counts)), where=totals > 0)
        return np.asarray(weights * scale[self.labels])

    def _mapped(
        self, rounds: Callable[[int, int], npt.NDArray[np.float64]], count: int
    ) -> npt.NDArray[np.float64]:
        """Return the results of a function of a range of rounds, a few at a time, in order.

        In as many threads as there are processors; a million records need no more memory than a
        few copies of their weights.
        """
        processors = os.cpu_count() or 1
        step = max(1, min(_CELLS // len(self.labels), -(-count // processors)))
        parts = [(first, min(first + step, count)) for first in range(0, max(1, count), step)]
        with ThreadPoolExecutor(processors) as threads:
            return np.concatenate(list(threads.map(lambda part: rounds(*part), parts)))

    def _drawn(self, number: int) -> npt.NDArray[np.int64]:
        """Return (U,) how often each unit was drawn in a round."""
        generator = np.random.default_rng((self.seed, number))
        counts = [
            np.bincount(generator.integers(0, size, max(1, size - 1)), minlength=size)
            for size in self.sizes.tolist()
        ]
        return np.concatenate(counts)


def resampling(
    labels: npt.NDArray[np.int64],
    units: npt.NDArray[np.int64] | None = None,
    *,
    rounds: int = ROUNDS,
    seed: int = _SEED,
) -> Resampling:
    """Return the resamples of labelled records, by class.

    A unit belongs to the stratum of its commonest class, the first of equals.

    Args:
        labels: (N,) class indices, from 0.
        units: (N,) any numbers of what is drawn as a whole, e.g. of `units_of`; None draws records.
        rounds: How many resamples.
        seed: Of the draws.

    Raises:
        ValueError: The shapes differ, there is no record, or no round.
    """
    if labels.ndim != 1 or not len(labels) or (units is not None and units.shape != labels.shape):
        shapes = (labels.shape, None if units is None else units.shape)
        raise ValueError(f"labels and units must both be (records,) and not empty, got {shapes}")
    if rounds < 1:
        raise ValueError(f"rounds must be 1 or more, got {rounds}")
    grouped = units is not None and len(np.unique(units)) < len(units)
    if units is None or not grouped:
        places, commonest = np.arange(len(labels)), labels
    else:
        _, places = np.unique(units, return_inverse=True)
        counts = np.zeros((int(places.max()) + 1, int(labels.max()) + 1), np.int64)
        np.add.at(counts, (places, labels), 1)
        commonest = counts.argmax(axis=1)
    number = np.empty(len(commonest), np.int64)
    number[np.argsort(commonest, kind="stable")] = np.arange(len(commonest))
    sizes = np.unique(commonest, return_counts=True)[1]
    return Resampling(labels, number[places], sizes, grouped, rounds, seed)


def units_of(predictions: Predictions) -> npt.NDArray[np.int64] | None:
    """Return (N,) numbers of the groups of records, None where no record has a group.

    A record without a group has a number of its own.
    """
    groups = predictions.table["group"].to_list()
    if all(group is None for group in groups):
        return None
    numbers: dict[str | int, int] = {}
    keys = (row if group is None else group for row, group in enumerate(groups))
    return np.asarray([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)


def units_by_class(sample: Resampling, num_classes: int) -> npt.NDArray[np.int64]:
    """Return (K,) how many records, or whole groups, have a record of each class."""
    pairs = np.unique(sample.units * num_classes + sample.labels)
    return np.bincount(pairs % num_classes, minlength=num_classes)


def jackknife(
    sample: Resampling, left_out: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return (F,) standard errors of figures, and (F,) how unsure their squares are.

    The errors are 0 where not every stratum was tried. The second is the variance of the squared
    error, from how unequal the units' parts in it are: what Satterthwaite (1946) needs to know of
    a variance to give it degrees of freedom.

    Args:
        sample: What `left_out` was measured with.
        left_out: (J, F) of `Resampling.left_out`.
    """
    squared, doubt = np.zeros(left_out.shape[1]), np.zeros(left_out.shape[1])
    start = 0
    for size in sample.sizes[sample.tried].tolist():
        values = left_out[start : start + size]
        start += size
        if size < 2:
            continue
        moved = (size - 1) * np.nan_to_num(values - values.mean(axis=0)) ** 2  # unit's part, x m
        squared += moved.mean(axis=0)
        doubt += moved.var(axis=0, ddof=1) / size
    complete = len(sample.tried) == len(sample.sizes)
    return np.sqrt(squared) if complete else np.zeros(len(squared)), doubt


def interval(
    value: float,
    drawn: npt.NDArray[np.float64],
    *,
    units: int,
    bounds: tuple[float, float] = (0.0, 1.0),
    error: float = 0.0,
    unseen: float = 0.0,
    doubt: float = 0.0,
    area: bool = False,
) -> Interval:
    """Return a figure with its 95 % interval, from what it was in the resamples.

    It is Wilson's interval (1927) of the figure's place between its bounds, for as many independent
    records as would make a proportion there as unsure as this figure is. So it never leaves the
    bounds, and reaches further towards their middle. How unsure it is, is the spread of the
    resamples, or the jackknife's error where that is larger, with what classes hide that are all
    right or all wrong; Student's t with as many degrees of freedom as that error is sure
    (Satterthwaite, 1946) takes the normal's place. For areas, whose spread shrinks faster towards a
    bound, the same t is taken on the logit scale. A figure that is the same in every resample and
    not at a bound has no interval: nothing is known of its spread.

    Args:
        value: The figure of the records themselves.
        drawn: (R,) the figure in each resample; NaN where it was not defined.
        units: How many independent records or groups it rests on.
        bounds: The least and the largest that the figure can be.
        error: Of `jackknife`, where it is known.
        unseen: Of `unseen_errors`, where the figure rests on counts.
        doubt: Of `jackknife`; 0 takes one degree of freedom fewer than there are units.
        area: Whether it is an area under a curve.
    """
    defined = drawn[~np.isnan(drawn)]
    if len(defined) < (1 - _MOST_UNDEFINED) * len(drawn) or units < 2:
        often = f"not defined in {len(drawn) - len(defined):,} of {len(drawn):,} resamples"
        return Interval(value, None, None, f"too few to say: {often}")
    low, high = bounds
    share = (value - low) / (high - low)
    spread = math.hypot(max(float(defined.std(ddof=1)), error), unseen)
    relative = spread / (high - low)
    if not _AT_BOUND < share < 1 - _AT_BOUND:  # no resample differs there, yet the truth may
        ends = wilson(round(share), units)
    elif relative < _AT_BOUND:
        return Interval(value, None, None, NO_SPREAD)
    else:
        freedom = max(_LEAST_FREEDOM, 2 * spread**4 / doubt) if doubt > 0 else units - 1
        t, odds = t_quantile(freedom), share * (1 - share)
        ends = _logit(share, t * relative / odds) if area else wilson(share, odds / relative**2, t)
    return Interval(value, low + ends[0] * (high - low), low + ends[1] * (high - low))


def _logit(share: float, reach: float) -> tuple[float, float]:
    """Return the shares whose logits are so far from that of a share."""
    odds = math.log(share / (1 - share))
    return math.exp(-np.logaddexp(0, reach - odds)), math.exp(-np.logaddexp(0, -reach - odds))


def wilson(share: float, count: float, z: float = 1.959964) -> tuple[float, float]:
    """Return Wilson's interval of a proportion of so many independent records.

    Args:
        share: The proportion, 0..1.
        count: Records; need not be whole.
        z: Standard errors on each side; the default gives 95 %.
    """
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count)
    half *= math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))


def t_quantile(freedom: float) -> float:
    """Return the value that Student's t of so many degrees of freedom exceeds in 2.5 of 100."""
    from scipy.special import stdtrit  # costs a third of a second

    return float(stdtrit(freedom, 0.975))
