from __future__ import annotations

import io
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from typing import Any

import pytest
from PIL import Image

from sightline.judging.evaluation import evaluate
from sightline.judging.reports import confusion_figure, history_figure, png, svg
from sightline.records import History


def history(epochs: int, *, best: int | None = None, **columns: list[Any]) -> History:
    rows = [
        {"epoch": e, "loss": 1 / (e + 1), "val_loss": 1.2 / (e + 1), "accuracy": 0.5 + e / 100}
        | {name: values[e] for name, values in columns.items()}
        for e in range(epochs)
    ]
    return History.from_rows(rows, monitor="val_loss", best_epoch=best)


def words(figure: Any) -> list[str]:
    """Return every text a figure shows, in the order it is drawn."""
    drawing = svg(figure).replace("xlink:href", "href")
    return [node.text or "" for node in ET.fromstring(drawing).iter("text")]


@pytest.mark.parametrize("stacked", [False, True])
def test_both_panels_mark_the_best_epoch_counting_from_one(stacked):
    assert words(history_figure(history(8, best=4), stacked=stacked)).count("best: epoch 5") == 2


def test_a_history_without_epochs_says_so():
    assert words(history_figure(History.from_rows([]))).count("no epoch has finished yet") == 2


def test_a_missing_column_is_left_out_of_the_legend():
    rows = [{"epoch": 0, "loss": 1.0, "accuracy": 0.5}]
    shown = words(history_figure(History.from_rows(rows)))
    assert ("training" in shown, "validation" in shown) == (True, False)


@pytest.mark.parametrize("stacked", [False, True])
def test_every_metric_that_was_validated_on_has_a_panel(stacked):
    values = {"val_accuracy": [0.5], "precision": [0.5], "val_precision": [0.5], "val_f1": [0.5]}
    shown = words(history_figure(history(1, best=0, **values), stacked=stacked))
    assert [shown.count(name) for name in ("accuracy", "precision", "f1")] == [1, 1, 1]
    assert shown.count("best: epoch 1") == 4


def test_a_metric_other_than_accuracy_is_drawn_alone():
    rows = [
        {
            "epoch": 0,
            "loss": 1.0,
            "val_loss": 1.0,
            "balanced_accuracy": 0.5,
            "val_balanced_accuracy": 0.5,
        }
    ]
    shown = words(history_figure(History.from_rows(rows)))
    assert ("balanced accuracy" in shown, "accuracy" in shown) == (True, False)


def test_numbers_that_are_no_metric_have_no_panel():
    figure = history_figure(history(2, val_accuracy=[0.5, 0.6], seconds=[1.0, 1.0]))
    assert len(figure.axes) == 2


def test_no_more_than_four_panels_are_drawn():
    names = ("accuracy", "balanced_accuracy", "precision", "recall", "f1")
    figure = history_figure(history(1, **{f"val_{name}": [0.5] for name in names}))
    assert len(figure.axes) == 4


def test_the_metric_that_chose_the_weights_is_never_left_out():
    names = ("accuracy", "balanced_accuracy", "precision", "recall", "f1")
    rows = [{"epoch": 0, **{f"val_{name}": 0.5 for name in names}}]
    assert "f1" in words(history_figure(History.from_rows(rows, monitor="val_f1")))


def test_a_history_without_a_metric_says_so():
    rows = [{"epoch": 0, "loss": 1.0, "val_loss": 1.0}]
    assert "no accuracy was recorded" in words(history_figure(History.from_rows(rows)))


def test_one_legend_serves_all_panels():
    shown = words(history_figure(history(2, val_accuracy=[0.5, 0.6])))
    assert (shown.count("training"), shown.count("validation")) == (1, 1)


def test_an_objective_that_differs_from_the_loss_is_drawn():
    assert "optimised (objective)" in words(history_figure(history(2, objective=[3.0, 2.0])))


def test_an_objective_equal_to_the_loss_is_not_drawn_twice():
    assert "optimised (objective)" not in words(history_figure(history(2, objective=[1.0, 0.5])))


def test_values_that_are_not_finite_leave_a_gap():
    figure = history_figure(history(3, val_loss=[float("nan"), float("inf"), 0.5]))
    assert "validation" in words(figure)


def test_one_epoch_is_enough_for_a_figure():
    assert "best: epoch 1" in words(history_figure(history(1, best=0)))


def test_a_confusion_matrix_shows_every_count(make_predictions):
    evaluation = evaluate(make_predictions(("a", "b")), source="test")
    shown = words(confusion_figure(evaluation))
    assert {str(count) for count in evaluation.confusion.flat} <= set(shown)


def test_counts_are_left_out_above_twenty_classes(make_predictions):
    names = [f"class{number:02d}" for number in range(21)]
    shown = words(confusion_figure(evaluate(make_predictions(names), source="test")))
    assert not any(text.isdigit() for text in shown)


def test_sixty_classes_are_all_named(make_predictions):
    names = [f"class{number:02d}" for number in range(60)]
    shown = words(confusion_figure(evaluate(make_predictions(names), source="test")))
    assert all(shown.count(name) == 2 for name in names)


def test_two_hundred_classes_name_every_fourth(make_predictions):
    names = [f"class{number:03d}" for number in range(200)]
    shown = words(confusion_figure(evaluate(make_predictions(names), source="test")))
    assert [text for text in shown if text.startswith("class")][:3] == [
        "class000",
        "class004",
        "class008",
    ]


def test_a_hostile_class_name_stays_text_in_a_drawing(make_predictions):
    names = ("<img onerror=x>", "$\\frac{a$ & 'b\"")
    shown = words(confusion_figure(evaluate(make_predictions(names), source="test")))
    assert {"<img onerror=x>", "$\\frac{a$ & 'b\""} <= set(shown)


def test_a_long_class_name_is_shortened_in_a_drawing(make_predictions):
    shown = words(confusion_figure(evaluate(make_predictions(("x" * 99, "b")), source="test")))
    assert "x" * 21 + "…" in shown


def test_a_script_the_font_lacks_is_no_warning(make_predictions):
    evaluation = evaluate(make_predictions(("皮膚病変", "𓀀")), source="test")
    assert png(confusion_figure(evaluation)).startswith(b"\x89PNG")


def test_equal_figures_give_equal_drawings():
    assert svg(history_figure(history(5))) == svg(history_figure(history(5)))


def test_two_drawings_with_their_own_prefix_share_no_id():
    first, second = (svg(history_figure(history(5)), prefix=name) for name in ("one", "two"))
    ids = re.compile(r' id="([^"]+)"')
    assert not set(ids.findall(first)) & set(ids.findall(second))


def test_every_reference_inside_a_drawing_has_its_target():
    drawing = svg(history_figure(history(5)), prefix="one")
    targets = set(re.findall(r'(?:url\(|href=")#([^)"]+)', drawing))
    assert targets <= set(re.findall(r' id="([^"]+)"', drawing))


def test_ink_follows_the_page_in_a_drawing():
    drawing = svg(history_figure(history(5)))
    assert ("currentColor" in drawing, "#1b2733" in drawing) == (True, False)


def test_a_label_is_escaped_in_a_drawing():
    assert 'aria-label="&quot;&lt;b&gt;"' in svg(history_figure(history(2)), label='"<b>')


def test_a_png_is_drawn_on_white():
    picture = Image.open(io.BytesIO(png(history_figure(history(5)), dpi=50))).convert("RGB")
    assert picture.getpixel((0, 0)) == (255, 255, 255)


def test_figures_leave_pyplot_alone():
    code = (
        "import sys; from sightline.judging.reports import history_figure, png;"
        "from sightline.records import History;"
        "png(history_figure(History.from_rows([{'epoch': 0, 'loss': 1.0}])));"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
