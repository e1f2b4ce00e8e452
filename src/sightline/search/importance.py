"""How much each parameter decided, from the trainings of a search."""

from __future__ import annotations

import importlib.util
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sightline.recipes import varied
from sightline.records.trials import Trial, comparable

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

_FEWEST = 10  # trainings, below which it would be a guess
_DECADE = 10.0  # a number that spans one is looked at by its logarithm


def importance_of(
    base: Mapping[str, Any], trials: Sequence[Trial], *, higher_is_better: bool = False
) -> tuple[tuple[str, float], ...]:
    """Return how much each parameter decided which trainings were good ones, the most first.

    Optuna's PED-ANOVA (Watanabe, Bansal and Hutter 2023, arXiv:2304.10255): how far the values of
    the best tenth differ from those of all. The shares add up to 1. Only whole trainings that
    finished count, as `comparable` has them.

    Args:
        base: The recipe that was changed, by dotted key; resolved.
        trials: Of a search, in any order; equal trials, equal shares.
        higher_is_better: Of what the search is about.

    Returns:
        (parameter, share) of all that differed; () of fewer than ten trainings, or without Optuna.
    """
    counted = comparable(trials)
    if len(counted) < _FEWEST or importlib.util.find_spec("optuna") is None:
        return ()
    rows = varied(base, [each.spec.changes for each in counted])
    columns = {name: [row[name] for row in rows if name in row] for row in rows for name in row}
    if not columns:
        return ()
    import optuna

    spread = {name: _spread_of(values) for name, values in columns.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that few trials make it rough is said where it is shown
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        study = optuna.create_study(direction="maximize" if higher_is_better else "minimize")
        for row, trial in zip(rows, counted, strict=True):
            params = {name: _plain(row[name], spread[name]) for name in row}
            study.add_trial(
                optuna.trial.create_trial(
                    params=params, distributions={name: spread[name] for name in row},
                    value=trial.value,
                )
            )  # fmt: skip
        found = optuna.importance.get_param_importances(study)
    shares = sorted(found.items(), key=lambda each: (-each[1], each[0]))
    return tuple((name, float(share)) for name, share in shares if math.isfinite(share))


def _spread_of(values: Sequence[Any]) -> BaseDistribution:
    """Return what these values were drawn from, as far as they tell."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if not all(isinstance(each, (int, float)) and not isinstance(each, bool) for each in values):
        return CategoricalDistribution(sorted({str(each) for each in values}))
    low, high = min(values), max(values)
    log = low > 0 and high / low >= _DECADE
    if all(isinstance(each, int) for each in values):
        return IntDistribution(low, high, log=log)
    return FloatDistribution(float(low), float(high), log=log)


def _plain(value: Any, spread: BaseDistribution) -> Any:
    from optuna.distributions import CategoricalDistribution

    return str(value) if isinstance(spread, CategoricalDistribution) else value
