"""What a range test of the learning rate found, as a noun."""

from __future__ import annotations

import json
import math
from typing import Any

import polars as pl
import pytest

from sightline.errors import RecipeError
from sightline.records.rates import (
    COMPARISON_SCHEMA,
    CURVE_SCHEMA,
    RateCurve,
    RateSearch,
    to_one_digit,
)


def curve(**changes: Any) -> RateCurve:
    rows = [(1e-3, 0.7, 0.7), (1e-2, 0.5, 0.5), (1e-1, math.nan, 0.6)]
    compared = [(0.1, 0, 0.7), (0.1, 5, 0.9), (0.01, 0, 0.7), (0.01, 5, 0.4)]
    values: dict[str, Any] = {
        "recipe": "basic",
        "about": {"seed": 0},
        "table": pl.DataFrame(rows, CURVE_SCHEMA, orient="row"),
        "ended": "It ended.",
        "steepest": 0.0052,
        "lowest": 0.031,
        "comparison": pl.DataFrame(compared, COMPARISON_SCHEMA, orient="row"),
        "diverged": {},
    }
    return RateCurve(**{**values, **changes})


def test_the_suggestion_is_the_lower_of_the_two_rules() -> None:
    assert curve().suggestion == 0.003
    assert curve(steepest=0.0012).suggestion == 0.001


def test_the_change_is_what_set_takes() -> None:
    assert curve().change == "train.learning_rate=0.003"


def test_a_curve_that_never_fell_suggests_nothing() -> None:
    flat = curve(steepest=None, lowest=None)
    assert (flat.suggestion, flat.change) == (None, "")


def test_the_best_of_a_comparison_has_the_lowest_last_val_loss() -> None:
    assert curve().best == 0.01


def test_a_rate_that_diverged_is_never_the_best() -> None:
    assert curve(diverged={0.01: 3}).best == 0.1


def test_without_a_comparison_there_is_no_best() -> None:
    assert curve(comparison=pl.DataFrame(schema=COMPARISON_SCHEMA)).best is None


def test_it_is_json_where_a_value_is_not_a_number() -> None:
    told = json.loads(json.dumps(curve().to_dict(), allow_nan=False))
    assert told["curve"][2] == {"rate": 0.1, "objective": None, "smoothed": 0.6}


def test_rates_that_do_not_rise_are_refused() -> None:
    with pytest.raises(ValueError, match="rates in rising order"):
        curve(table=curve().table.reverse())


def test_a_table_of_other_columns_is_refused() -> None:
    with pytest.raises(ValueError, match="comparison must have the columns"):
        curve(comparison=pl.DataFrame({"rate": [0.1]}))


@pytest.mark.parametrize(
    ("value", "expected"), [(0.00312, 0.003), (0.0014, 0.001), (0.0097, 0.01), (15.0, 20), (1, 1)]
)
def test_a_rate_is_told_to_one_digit(value: float, expected: float) -> None:
    assert to_one_digit(value) == expected


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"lowest": 0.0}, "must rise from above 0, got 0 to 10"),
        ({"lowest": 1.0, "highest": 0.1}, "got 1 to 0.1"),
        ({"steps": 19}, "takes 20 to 100,000 steps, got 19"),
        ({"compare": (0.1, -1.0)}, "above 0, got -1 to compare"),
        ({"compare": (0.1, math.nan)}, "above 0, got nan to compare"),
        ({"compare": (0.1, 0.1)}, "each once, got 0.1 0.1"),
        ({"compare": tuple(range(1, 10))}, "at most 8 learning rates"),
        ({"compare_steps": 0}, "1 to 100,000 steps, got 0"),
    ],
)
def test_a_search_that_makes_no_sense_is_refused(values: dict[str, Any], match: str) -> None:
    with pytest.raises(RecipeError, match=match):
        RateSearch(**values)


def test_rates_rise_by_an_equal_factor() -> None:
    search = RateSearch(lowest=1e-4, highest=1.0, steps=41)
    ratios = search.rates()[1:] / search.rates()[:-1]
    assert ratios == pytest.approx([10 ** (1 / search.density)] * 40)
