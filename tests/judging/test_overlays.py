"""Legends, grids and average maps, as pixels."""

from __future__ import annotations

import numpy as np
import pytest

from sightline.judging.reports import (
    Legend,
    attention_picture,
    enlarged_whole,
    grid,
    pixels_of,
    with_legend,
)
from sightline.records import Attention, AverageMap, Interval

COLOURS = np.stack([np.arange(256)] * 3, axis=1).astype(np.uint8)
LEGEND = Legend("malignant  93.1%", ("Grad-CAM, layer conv2d", "a/b.jpg"), COLOURS)


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)


def attention(*names: str) -> Attention:
    average = np.linspace(0, 1, 200, dtype=np.float32).reshape(10, 20)
    interval = Interval(0.4, 0.3, 0.5)
    parts = tuple(AverageMap(name, 20, 1, average, interval) for name in names)
    whole = AverageMap("", 40, 2, average, interval)
    return Attention("validation", "gradcam", "conv2d", whole, parts, 0.1, 0.36)


@pytest.mark.parametrize(("height", "width"), [(400, 400), (90, 1200), (1500, 500)])
def test_a_picture_keeps_its_pixels_above_the_legend(height: int, width: int) -> None:
    shown = picture(height, width)
    np.testing.assert_array_equal(with_legend(shown, LEGEND)[:height, :width], shown)


def test_a_narrow_picture_stands_in_the_middle_of_white() -> None:
    shown = picture(300, 100)
    found = with_legend(shown, LEGEND)
    np.testing.assert_array_equal(found[:300, 130:230], shown)
    assert (found[:300, :130] == 255).all()


def test_the_legend_has_print_and_a_colour_bar() -> None:
    legend = with_legend(picture(400, 400), LEGEND)[400:]
    assert (legend.min(axis=(1, 2)) < 100).any()  # ink
    bar = next(row for row in legend if np.ptp(row[20:380].astype(int)) > 200 and
               (np.diff(row[20:380, 0].astype(int)) >= 0).all())  # fmt: skip
    assert bar[20:380].mean() == pytest.approx(127, abs=10)


@pytest.mark.parametrize("name", ["$x^{2$", "日本", "a\u202eb\x00c", "<b>&amp;</b>", "x" * 500, ""])
def test_hostile_names_can_be_drawn(name: str) -> None:
    found = with_legend(picture(300, 400), Legend(name, (name, name), COLOURS))
    assert found.shape[1] == 400


def test_an_enlarged_picture_has_squares_for_pixels() -> None:
    shown = picture(8, 10)
    found = enlarged_whole(shown, 30)
    assert found.shape == (24, 30, 3)
    np.testing.assert_array_equal(found[::3, ::3], shown)


def test_a_large_picture_is_not_enlarged() -> None:
    assert enlarged_whole(picture(40, 50), 30).shape == (40, 50, 3)


def test_a_grid_has_eight_maps_in_a_row() -> None:
    maps = np.zeros((9, 48, 48, 1), np.float32)
    maps[8] = 1
    sheet = grid(maps)
    assert sheet.shape == (2 * 98 + 2, 8 * 98 + 2, 3)
    assert (sheet[100:196, 2:98] == 255).all()
    assert (sheet[2:98, 2:98] == 0).all()


def test_an_average_map_is_drawn_for_all_and_for_each_class() -> None:
    figure = attention_picture(attention("benign", "$malignant$"), COLOURS)
    titles = [axes.get_title(loc="left") for axes in figure.axes if axes.get_title(loc="left")]
    assert [title.splitlines()[0] for title in titles] == ["all images", "benign", "$malignant$"]
    assert titles[0].endswith("40 images, 40% (30% to 50%) outside")
    assert pixels_of(figure).shape[2] == 3


def test_of_one_class_the_map_of_all_images_is_enough() -> None:
    figure = attention_picture(attention("benign"), COLOURS)
    assert len([axes for axes in figure.axes if axes.images]) == 1
