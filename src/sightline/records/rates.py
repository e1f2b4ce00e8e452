"""What a range test of the learning rate found."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from sightline.errors import RecipeError

FEWEST_RATES = 10  # fewer make no curve
_MOST_STEPS = 100_000
_MOST_COMPARED = 8  # more curves cannot be told apart

# One row a rate that was tried, in rising order. `objective` is what is optimised, of the step
# (or of the steps, where gradients are accumulated) at that rate, before the weights change;
# `smoothed` is its average over neighbouring rates.
CURVE_SCHEMA = pl.Schema({"rate": pl.Float64, "objective": pl.Float64, "smoothed": pl.Float64})
# One row a validation of a short training: its rate, steps taken before, plain cross-entropy.
COMPARISON_SCHEMA = pl.Schema({"rate": pl.Float64, "step": pl.Int64, "val_loss": pl.Float64})


@dataclass(frozen=True, kw_only=True, slots=True)
class RateSearch:
    """What is tried.

    Attributes:
        lowest: The rate that the range test begins with.
        highest: The rate that it ends with, if the objective lets it come to that.
        steps: How many rates it tries, each a constant factor above the one before.
        compare: Rates to train briefly at; () for no comparison.
        compare_steps: Steps of each of these; None leaves it to the size of an epoch.
    """

    lowest: float = 1e-7
    highest: float = 10.0
    steps: int = 120
    compare: tuple[float, ...] = ()
    compare_steps: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.lowest < self.highest < math.inf:
            raise RecipeError(
                f"the rates must rise from above 0, got {self.lowest:g} to {self.highest:g}"
            )
        if not 2 * FEWEST_RATES <= self.steps <= _MOST_STEPS:
            raise RecipeError(
                f"a range test takes {2 * FEWEST_RATES} to {_MOST_STEPS:,} steps, got {self.steps}"
            )
        wrong = [rate for rate in self.compare if not 0 < rate < math.inf]
        if wrong:
            raise RecipeError(f"a learning rate must be above 0, got {wrong[0]:g} to compare")
        if len(set(self.compare)) < len(self.compare) or len(self.compare) > _MOST_COMPARED:
            raise RecipeError(
                f"at most {_MOST_COMPARED} learning rates are compared, each once, got "
                f"{' '.join(f'{rate:g}' for rate in self.compare)}"
            )
        if self.compare_steps is not None and not 0 < self.compare_steps <= _MOST_STEPS:
            raise RecipeError(
                f"a short training takes 1 to {_MOST_STEPS:,} steps, got {self.compare_steps}"
            )

    def rates(self) -> npt.NDArray[np.float64]:
        """Return (steps,) rates of the range test, rising."""
        return np.geomspace(self.lowest, self.highest, self.steps)

    @property
    def density(self) -> float:
        """Rates of the range test in a factor of ten."""
        return (self.steps - 1) / math.log10(self.highest / self.lowest)


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class RateCurve:
    """A range test of the learning rate, and short trainings at given rates.

    Attributes:
        recipe: Its name.
        about: What was trained and how: optimizer, batch size, precision, seed, images ...
        table: Columns of CURVE_SCHEMA.
        ended: Why the test ended, one sentence.
        steepest: The rate at which the objective falls fastest; None where it never fell.
        lowest: The rate at which the objective was lowest; None where it never fell.
        comparison: Columns of COMPARISON_SCHEMA, rates as they were given, steps rising from 0;
            no rows where none was asked for.
        diverged: Rates of the comparison at which the objective became NaN or infinite, with the
            0-based step.
    """

    recipe: str
    about: Mapping[str, Any]
    table: pl.DataFrame
    ended: str
    steepest: float | None
    lowest: float | None
    comparison: pl.DataFrame
    diverged: Mapping[float, int]

    def __post_init__(self) -> None:
        wanted = (("table", CURVE_SCHEMA), ("comparison", COMPARISON_SCHEMA))
        for name, schema in wanted:
            if (found := getattr(self, name).schema) != schema:
                raise ValueError(f"{name} must have the columns {schema}, got {found}")
        if not self.table["rate"].is_sorted() or not len(self.table):
            raise ValueError("the table must hold rates in rising order, and at least one")
        if (self.steepest is None) != (self.lowest is None):
            raise ValueError(f"got steepest {self.steepest} and lowest {self.lowest}: both or none")

    @property
    def suggestion(self) -> float | None:
        """The rate to train with: the lower of `steepest` and a tenth of `lowest`, to one digit.

        None where the objective never fell.
        """
        if self.steepest is None or self.lowest is None:
            return None
        return to_one_digit(min(self.steepest, self.lowest / 10))

    @property
    def change(self) -> str:
        """The suggestion as `--set` takes it, "train.learning_rate=0.003"; "" without one."""
        return "" if self.suggestion is None else f"train.learning_rate={self.suggestion:g}"

    @property
    def reached(self) -> dict[float, float]:
        """The last val_loss of each rate of the comparison; NaN where it diverged."""
        last = self.comparison.group_by("rate", maintain_order=True).agg(pl.col("val_loss").last())
        found = dict(last.iter_rows())
        return {rate: math.nan if rate in self.diverged else loss for rate, loss in found.items()}

    @property
    def best(self) -> float | None:
        """The rate of the comparison with the lowest last val_loss; None without one."""
        fine = {rate: loss for rate, loss in self.reached.items() if math.isfinite(loss)}
        return min(fine, key=lambda rate: fine[rate]) if fine else None

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON values (`rates.json`); NaN and infinity are null."""
        return {
            "format_version": 1,
            "recipe": self.recipe,
            **self.about,
            "suggestion": self.suggestion,
            "change": self.change,
            "steepest": self.steepest,
            "lowest": self.lowest,
            "a_tenth_of_lowest": None if self.lowest is None else self.lowest / 10,
            "ended": self.ended,
            "curve": _rows(self.table),
            "best": self.best,
            "comparison": _rows(self.comparison),
            "diverged": [{"rate": rate, "step": step} for rate, step in self.diverged.items()],
        }

    def __repr__(self) -> str:
        found = self.change or "no suggestion"
        beside = f", {len(self.reached)} rates compared" if self.reached else ""
        return f"RateCurve of {len(self.table)} rates{beside}: {found}\n{self.table}"


def to_one_digit(value: float) -> float:
    """Return the number d * 10^n, d = 1..9, whose ratio to a positive value is nearest to 1."""
    exponent = math.floor(math.log10(value))
    digit = min(range(1, 11), key=lambda digit: abs(math.log(value / 10**exponent / digit)))
    return float(f"{digit}e{exponent}")


def _rows(table: pl.DataFrame) -> list[dict[str, Any]]:
    return [
        {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in row.items()
        }
        for row in table.iter_rows(named=True)
    ]
