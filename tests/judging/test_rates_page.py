"""The page and the pictures of a range test of the learning rate."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import polars as pl
import pytest
from reading_pages import HOSTILE, Page

from sightline.judging import reports
from sightline.records.rates import COMPARISON_SCHEMA, CURVE_SCHEMA, RateCurve

ABOUT: dict[str, Any] = {
    "images": "photos", "num_train": 70, "num_validation": 15, "network": "basic",
    "optimizer": "adam", "batch_size": 8, "accumulate": 1, "steps_an_epoch": 9,
    "precision": "float32", "backend": "tensorflow", "seed": 0, "only_the_head": False,
}  # fmt: skip


def curve(**changes: Any) -> RateCurve:
    rate = np.geomspace(1e-7, 1, 40)
    objective = 0.7 - 0.3 * np.exp(-((np.log10(rate) + 2) ** 2))
    rows = [(0.1, 0, 0.7), (0.1, 5, math.nan), (0.01, 0, 0.7), (0.01, 5, 0.4321), (0.5, 0, 0.7)]
    values: dict[str, Any] = {
        "recipe": "basic",
        "about": ABOUT,
        "table": pl.DataFrame(
            {"rate": rate, "objective": objective, "smoothed": objective}, CURVE_SCHEMA
        ),
        "ended": "It ended at rate 1, where the objective was 4 times its lowest.",
        "steepest": 0.0052,
        "lowest": 0.031,
        "comparison": pl.DataFrame(rows, COMPARISON_SCHEMA, orient="row"),
        "diverged": {0.5: 2},
    }
    return RateCurve(**{**values, **changes})


def read(shown: RateCurve) -> tuple[Page, str]:
    page = Page(reports.render_rates(shown))
    return page, " ".join(" ".join(page.words).split())


def test_the_page_is_well_formed() -> None:
    assert read(curve())[0].faults == []


def test_the_page_loads_nothing() -> None:
    page, _ = read(curve())
    addresses = [values.get(name) for _, values in page.elements for name in ("src", "href")]
    assert [each for each in addresses if each and not each.startswith(("#", "data:"))] == []


def test_ids_are_there_once() -> None:
    ids = [values["id"] for _, values in read(curve())[0].elements if "id" in values]
    assert len(ids) == len(set(ids)) > 3


def test_the_page_gives_the_suggestion_as_the_words_to_type() -> None:
    assert "--set train.learning_rate=0.003" in read(curve())[1]


def test_the_page_states_both_rules() -> None:
    words = read(curve())[1]
    assert "falls fastest 0.0052" in words
    assert "where it is lowest (0.031) 0.0031" in words


def test_the_page_marks_the_best_rate_and_says_which_diverged() -> None:
    words = read(curve())[1]
    assert "0.01 (best)" in words
    assert "0.5 diverged in step 3" in words
    assert "0.4321" in words


def test_without_a_comparison_the_page_has_no_part_for_it() -> None:
    words = read(curve(comparison=pl.DataFrame(schema=COMPARISON_SCHEMA), diverged={}))[1]
    assert "Short trainings" not in words


def test_without_a_suggestion_the_page_says_what_to_try() -> None:
    words = read(curve(steepest=None, lowest=None))[1]
    assert "never fell clearly" in words
    assert "--set" not in words


def test_equal_curves_give_equal_pages() -> None:
    assert reports.render_rates(curve()) == reports.render_rates(curve())


def test_a_name_is_never_markup() -> None:
    page, words = read(curve(recipe=HOSTILE, about={**ABOUT, "images": HOSTILE}))
    assert page.faults == []
    assert HOSTILE in words


@pytest.mark.parametrize("narrow", [False, True])
def test_every_rate_compared_has_its_line(narrow: bool) -> None:
    (axes,) = reports.comparison_figure(curve(), narrow=narrow).axes
    assert [line.get_label() for line in axes.lines] == ["0.1", "0.01", "0.5, diverged"]


def test_steps_are_counted_in_whole_numbers() -> None:
    (axes,) = reports.comparison_figure(curve()).axes
    ticks = axes.get_xticks()
    assert len(ticks) > 3
    assert np.array_equal(ticks, np.round(ticks))


def test_what_explodes_is_cut_off_the_picture() -> None:
    table = curve().table.with_columns(
        smoothed=pl.when(pl.col("rate") > 0.5).then(50.0).otherwise("smoothed")
    )
    (axes,) = reports.rates_figure(curve(table=table)).axes
    assert axes.get_ylim()[1] < 2


def test_the_pictures_are_png() -> None:
    for draw in (reports.rates_figure, reports.comparison_figure):
        assert reports.png(draw(curve())).startswith(b"\x89PNG")
