from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

import hostile_names as known
import numpy as np
import pytest

from sightline.judging.reports import ClassCurves, history_figure, svg
from sightline.judging.reports.figures import NARROW
from sightline.judging.reports.quality_figures import (
    MOST_CURVES,
    curves_figure,
    reliability_figure,
)
from sightline.records import History, Interval, ReliabilityBin

BINS = [
    ReliabilityBin(0.5, 0.6, 20, 0.55, Interval(0.5, 0.3, 0.7)),
    ReliabilityBin(0.9, 1.0, 60, 0.97, Interval(0.9, 0.8, 0.95)),
]


def curve(name: str, share: float = 0.3) -> ClassCurves:
    rates = np.array([0.0, 0.2, 1.0]), np.array([0.0, 0.8, 1.0])
    recall = np.array([1.0, 0.5, 0.5, 0.0, 0.0]), np.array([0.4, 0.6, 0.9, 0.0, 1.0])
    return ClassCurves(name, rates, recall, share)


def words(figure: Any) -> list[str]:
    """Return every text a figure shows, in the order it is drawn."""
    drawing = svg(figure).replace("xlink:href", "href")
    return [node.text or "" for node in ET.fromstring(drawing).iter("text")]


def history(epochs: int, best: int | None = None) -> History:
    rows = [{"epoch": e, "loss": 1 / (e + 1), "val_loss": 1.0} for e in range(epochs)]
    return History.from_rows(rows, monitor="val_loss", best_epoch=best)


def circles(figure: Any) -> dict[str, tuple[float, float]]:
    """Return (epoch counted from 1, points below the top) of each number in a circle."""
    return {
        note.get_text(): (note.xy[0], -note.xyann[1])
        for note in figure.axes[0].texts
        if note.get_text().isdigit()
    }


@pytest.mark.parametrize("stacked", [False, True])
def test_two_panels_are_named(stacked):
    shown = words(curves_figure([curve("cat"), curve("dog")], stacked=stacked))
    assert {"ROC", "Precision and recall", "cat", "dog"} <= set(shown)


def test_a_single_class_needs_no_legend():
    assert "cat" not in words(curves_figure([curve("cat")]))


def test_guessing_is_drawn_beside_a_single_class():
    axes = curves_figure([curve("cat", share=0.125)]).axes[1]
    assert [line.get_ydata()[0] for line in axes.lines].count(0.125) == 1


def test_no_more_curves_are_drawn_than_can_be_told_apart():
    figure = curves_figure([curve(f"c{number}") for number in range(MOST_CURVES + 5)])
    styles = {
        (line.get_color(), str(line.get_linestyle()), line._unscaled_dash_pattern)
        for line in figure.axes[1].lines
    }
    assert len(figure.axes[1].lines) == len(styles) == MOST_CURVES == 21


def test_the_last_class_drawn_is_in_the_legend_and_the_next_is_not():
    shown = words(curves_figure([curve(f"c{number}") for number in range(22)]))
    assert ("c20" in shown, "c21" in shown) == (True, False)


def test_precision_is_held_down_to_the_next_recall():
    line = curves_figure([curve("cat")]).axes[1].lines[0]
    recall, precision = line.get_data()
    assert line.get_drawstyle() == "steps-post"
    assert (recall.tolist(), precision.tolist()) == ([1.0, 0.5, 0.5, 0.0], [0.4, 0.6, 0.9, 0.9])


def test_the_area_below_the_drawn_curve_is_the_average_precision(make_predictions):
    from sklearn.metrics import average_precision_score

    from sightline.judging.evaluation import precision_recall_curve

    predictions = make_predictions(("a", "b"), count=150)
    precision, recall, _ = precision_recall_curve(predictions, 1, points=None)
    made = ClassCurves("b", (np.zeros(2), np.ones(2)), (recall, precision), 0.5)
    x, y = curves_figure([made]).axes[1].lines[0].get_data()
    area = float(-(np.diff(x) * y[:-1]).sum())
    truth = np.array(predictions.label_indices()) == 1
    expected = average_precision_score(truth, predictions.probabilities[:, 1])
    assert area == pytest.approx(expected, abs=1e-9)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("stacked", [False, True])
def test_hostile_names_stay_text_in_a_legend(stacked):
    for start in range(0, len(known.NAMES), MOST_CURVES):
        names = known.NAMES[start : start + MOST_CURVES]
        shown = words(curves_figure([curve(name) for name in names], stacked=stacked))
        assert len([text for text in shown if text]) >= len(names)
        short = [name for name in names if name.isascii() and name.isprintable() and name.strip()]
        for name in short:
            if len(name) <= 22:
                assert " ".join(name.split()) in shown


def test_a_narrow_figure_has_print_as_large_as_the_page_of_a_phone():
    curves = [curve("x" * 40) for _ in range(MOST_CURVES)]
    for figure in (curves_figure(curves, stacked=True), history_figure(history(9), stacked=True),
                   reliability_figure(BINS, BINS)):  # fmt: skip
        assert figure.get_figwidth() == NARROW


@pytest.mark.parametrize("stacked", [False, True])
def test_a_legend_stays_inside_its_figure(stacked):
    figure = curves_figure([curve("w" * 40) for _ in range(MOST_CURVES)], stacked=stacked)
    figure.draw_without_rendering()
    box = figure.legends[0].get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.x1


def test_a_reliability_diagram_shows_both_kinds_and_the_counts():
    figure = reliability_figure(BINS, BINS)
    assert {"as predicted", "calibrated", "images"} <= set(words(figure))
    assert [bar.get_height() for bar in figure.axes[1].patches] == [20, 60]


def test_a_reliability_diagram_without_calibration_has_no_legend():
    assert "as predicted" not in words(reliability_figure(BINS))


def test_the_counts_stand_below_their_confidence():
    figure = reliability_figure(BINS)
    figure.draw_without_rendering()
    upper, lower = (axes.get_window_extent() for axes in figure.axes)
    assert (upper.x0, upper.x1) == pytest.approx((lower.x0, lower.x1))


def test_the_whiskers_are_the_interval():
    (container,) = reliability_figure(BINS).axes[0].containers
    (low, high) = container.lines[2][0].get_segments()[0][:, 1]
    assert (low, high) == pytest.approx((0.3, 0.7))


def test_numbers_of_one_epoch_stand_below_each_other():
    found = circles(history_figure(history(20), marks={4: [1, 2]}))
    assert found["1"][0] == found["2"][0] == 5
    assert found["2"][1] - found["1"][1] >= 15


def test_numbers_of_near_epochs_do_not_cover_each_other():
    found = circles(history_figure(history(100), marks={40: [1], 42: [2], 80: [3]}))
    assert found["2"][1] > found["1"][1] == found["3"][1]


def test_the_words_of_the_best_epoch_stand_below_the_numbers():
    figure = history_figure(history(20, best=5), marks={5: [1, 2]})
    (best,) = [note for note in figure.axes[0].texts if "best" in note.get_text()]
    assert -best.xyann[1] > max(below for _, below in circles(figure).values())


def test_a_metric_with_dollar_signs_is_no_formula():
    rows = [{"epoch": 0, "loss": 1.0, "val_loss": 1.0, "val_$\\frac{x$": 0.5}]
    assert "$\\frac{x$" in words(history_figure(History.from_rows(rows)))
