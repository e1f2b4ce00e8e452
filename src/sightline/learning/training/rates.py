"""Which learning rate: a range test, and short trainings at given rates.

After Smith 2015, "Cyclical learning rates for training neural networks", as fastai does it: the
rate rises by an equal factor from step to step while the objective is watched. Both are made of
the very steps of a training, on its own batches: Keras' compiled step of the recipe's objective
and optimizer. The model is left as it came.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice

import keras
import numpy as np
import numpy.typing as npt
import polars as pl

from sightline.data.stream import Stream
from sightline.errors import RunError
from sightline.judging import evaluation
from sightline.learning.prediction import score
from sightline.learning.training import diverging, stepping, variables
from sightline.progress import Step
from sightline.records import Batch
from sightline.records.rates import COMPARISON_SCHEMA, CURVE_SCHEMA, FEWEST_RATES, RateSearch

_FAR = 4.0  # times the lowest smoothed objective: fastai's end of a test
_CAP = 1.2  # times the beginning: what an explosion counts as in the average of its neighbours
_REACH = 0.4  # decades of rates over which the weight of a neighbour falls to 1/e
_FIRST = 0.1  # share of the rates that no rule looks at: too few neighbours, as fastai
_CLEAR = 4.0  # standard errors that the objective has to fall by; the lowest of many is low

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RangeTest:
    """What a range test came to.

    Attributes:
        table: Columns of CURVE_SCHEMA.
        ended: Why it ended, one sentence.
        steepest: As in RateCurve.
        lowest: As in RateCurve.
    """

    table: pl.DataFrame
    ended: str
    steepest: float | None
    lowest: float | None


def range_test(
    model: keras.Model, train: Stream, wanted: RateSearch, *, accumulate: int, step: Step
) -> RangeTest:
    """Return how the objective goes while the rate rises, and what that says.

    It ends where the smoothed objective is 4 times its lowest, or NaN or infinite. Where an epoch
    has too few batches, the next one follows.

    Args:
        model: Compiled, with its initial weights.
        train: The augmented training split.
        wanted: The rates.
        accumulate: Steps that share a rate, because the weights change once in so many.
        step: Where each rate is reported.

    Raises:
        RunError: The objective is not finite at the first rates.
        DataError: Too many files could not be read.
    """
    start, found = variables.read(model), []
    running, least = 0.0, math.inf
    keep = math.exp(-1 / (_REACH * wanted.density))
    batches = _batches(train)
    ended = f"It went through all rates, up to {wanted.highest:g}."
    for number, rate in enumerate(wanted.rates()):
        model.optimizer.learning_rate = float(rate)
        several = list(islice(batches, accumulate))
        objective = float(np.mean([_train_on(model, batch) for batch in several]))
        if not math.isfinite(objective):
            if number < FEWEST_RATES:
                raise _too_high(number, float(rate), objective, several[-1], train)
            ended = f"It ended at rate {rate:.2g}, where the objective became {objective}."
            break
        found.append(objective)
        running = keep * running + (1 - keep) * objective
        average = running / (1 - keep ** (number + 1))  # the first ones count in full
        least = min(least, average)
        step.advance(note=f"rate {rate:.1e}, objective {average:.4f}")
        if average > _FAR * least and number >= FEWEST_RATES:
            ended = (
                f"It ended at rate {rate:.2g}, where the objective was {_FAR:g} times its lowest."
            )
            break
    variables.assign(model, start)
    return _read(wanted, np.asarray(found), ended)


def compare(
    model: keras.Model,
    train: Stream,
    validation: Stream,
    rates: Sequence[float],
    marks: Sequence[int],
    *,
    step: Step,
) -> tuple[pl.DataFrame, dict[float, int]]:
    """Return val_loss in short trainings at constant rates, and where they diverged.

    They are the same in all but the rate: each begins with the weights, dropout seeds and
    optimizer that the model comes with, and sees the same batches of the first epochs. The weights
    themselves are validated: a moving average of them would hardly have moved. Where the objective
    becomes NaN or infinite, the training ends.

    Args:
        model: Compiled, with its initial weights.
        train: The augmented training split.
        validation: The validation split.
        rates: To compare.
        marks: Rising steps after which to validate; 0 is the beginning, the same for all.
        step: Where each training step is reported.

    Returns:
        Columns of COMPARISON_SCHEMA; and the 0-based step of each rate that diverged.

    Raises:
        DataError: Too many files could not be read.
    """
    start = variables.read(model)
    begun = _val_loss(model, validation)
    rows, diverged = [], {}
    for rate in rates:
        variables.assign(model, start)
        model.optimizer.learning_rate = rate
        rows.append((rate, 0, begun))
        for number, batch in enumerate(islice(_batches(train), marks[-1])):
            objective = _train_on(model, batch)
            step.advance(note=f"rate {rate:g}, objective {objective:.4f}")
            if not math.isfinite(objective):
                diverged[rate] = number
                step.advance(marks[-1] - number - 1)
                break
            if number + 1 in marks:
                rows.append((rate, number + 1, _val_loss(model, validation)))
    variables.assign(model, start)
    return pl.DataFrame(rows, COMPARISON_SCHEMA, orient="row"), diverged


def _batches(train: Stream) -> Iterator[Batch]:
    """Yield the batches of one epoch after the other, without end."""
    for epoch in count():
        yield from train.epoch(epoch)


def _train_on(model: keras.Model, batch: Batch) -> float:
    """Take a step of training; return the objective before it."""
    return float(stepping.step(model, batch.images, batch.targets, batch.weights)["loss"])


def _val_loss(model: keras.Model, validation: Stream) -> float:
    """Return the plain cross-entropy of the validation split; NaN where outputs are."""
    scored = [
        (each.probabilities[each.readable], each.labels[each.readable])
        for each in score(model, validation)
    ]
    probabilities = np.concatenate([part for part, _ in scored])
    if not np.isfinite(probabilities).all():
        return math.nan
    return float(
        evaluation.cross_entropy(probabilities, np.concatenate([part for _, part in scored]))
    )


def _too_high(number: int, rate: float, objective: float, batch: Batch, train: Stream) -> RunError:
    """Return what to say of an objective that is not finite at one of the first rates."""
    if not number:
        return RunError(
            f"the objective is {objective} at the very first step, before any learning rate has "
            f"had an effect ({diverging.some(train, batch.rows)}). Look at these images, or at "
            "the network: --set precision=float32."
        )
    return RunError(
        f"the objective became {objective} after {number} steps, at rate {rate:.2g}: the rates "
        f"begin too high. Begin lower with --lowest, e.g. {rate / 1e6:.0e}."
    )


def _read(wanted: RateSearch, objective: Floats, ended: str) -> RangeTest:
    """Return the test with its smoothed curve, and what the rules find on it."""
    rates = wanted.rates()[: len(objective)]
    smoothed = smooth(objective, wanted.density)
    columns = {"rate": rates, "objective": objective, "smoothed": smoothed}
    table = pl.DataFrame(columns, CURVE_SCHEMA)
    places = rules(objective, smoothed, wanted.density)
    steepest, lowest = (None, None) if places is None else (float(rates[at]) for at in places)
    return RangeTest(table, ended, steepest, lowest)


def smooth(objective: Floats, density: float) -> Floats:
    """Return each objective averaged with its neighbours on both sides, so that nothing lags.

    Weights fall by 1/e in 0.4 decades and add up to 1, at both ends as well. After the lowest
    value, what lies above the beginning counts as little above it: else the last steps, where it
    explodes, would lift the curve before them.

    Args:
        objective: (n,) at rates that rise by equal factors.
        density: Rates in a factor of ten.
    """
    places = np.arange(len(objective))
    weights = np.exp(-np.abs(places[:, None] - places) / (_REACH * density))
    weights /= weights.sum(axis=1, keepdims=True)
    rough = weights @ objective
    after = places > np.argmin(rough)
    return np.asarray(weights @ np.where(after, np.minimum(objective, _CAP * rough[0]), objective))


def rules(objective: Floats, smoothed: Floats, density: float) -> tuple[int, int] | None:
    """Return where the smoothed objective falls fastest and where it is lowest, if it falls.

    The first tenth is passed over. The fall is that of the straight line through half a decade.

    Args:
        objective: (n,) as measured.
        smoothed: (n,) by `smooth`.
        density: Rates in a factor of ten.

    Returns:
        Two places, the first not after the second; None where the fall is within the noise.
    """
    first = max(1, round(_FIRST * len(smoothed)))
    lowest = first + int(np.argmin(smoothed[first:]))
    early = slice(0, max(FEWEST_RATES, first))
    spread = float(np.std(np.diff(objective[: lowest + 1]), ddof=1)) if lowest > 2 else math.inf
    error = spread / math.sqrt(2 * _REACH * density)
    if smoothed[early].mean() - smoothed[lowest] < _CLEAR * error or lowest == first:
        return None
    half = max(1, round(density / 4))
    slopes = [
        np.polyfit(np.arange(len(part)), part, 1)[0]
        for place in range(first, lowest + 1)
        if len(part := smoothed[max(0, place - half) : place + half + 1])
    ]
    return first + int(np.argmin(slopes)), lowest
