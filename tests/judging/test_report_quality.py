"""What the report says of an evaluation, and that no name becomes more than text."""

from __future__ import annotations

import dataclasses
import io
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import hostile_names as known
import numpy as np
import polars as pl
import pytest
from PIL import Image
from reading_pages import Page

from sightline.judging.reports import (
    ClassCurves,
    Closer,
    Example,
    Looks,
    Mistakes,
    ReportContents,
    Stale,
    render,
)
from sightline.judging.reports.layout import printable
from sightline.records import (
    ClassScores,
    Decision,
    Diagnosis,
    Evaluation,
    Finding,
    History,
    Interval,
    LayerSummary,
    LeakEffect,
    ModelSummary,
    Picture,
    ReliabilityBin,
)

PLAIN = [f"plain name {number}" for number in range(len(known.NAMES))]
BIN = ReliabilityBin(0.5, 0.6, 20, 0.55, Interval(0.5, 0.3, 0.7))


def jpeg(caption: str, side: int = 32, seed: int = 0) -> Picture:
    """Return a picture of coarse noise, as hard to compress as a detailed photograph."""
    noise = np.random.default_rng(seed).integers(0, 256, (side // 4, side // 4, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).resize((side, side), Image.Resampling.BICUBIC).save(file, "JPEG")
    return Picture(file.getvalue(), "image/jpeg", caption, side, side)


def curves_of(names: Sequence[str]) -> list[ClassCurves]:
    rates = np.array([0.0, 0.2, 1.0]), np.array([0.0, 0.8, 1.0])
    recall = np.array([1.0, 0.5, 0.0]), np.array([0.4, 0.9, 1.0])
    return [ClassCurves(name, rates, recall, 0.3) for name in names]


def empty(**changes: Any) -> ReportContents:
    made: dict[str, Any] = {
        "name": "run", "headline": "", "facts": [], "plan": [], "manifest_counts": pl.DataFrame(),
        "ignored": {}, "data_facts": [], "history": History.from_rows([]), "evaluations": [],
        "summary": None, "augmented": [], "mistakes": [], "findings": [], "reproduce": [],
    }  # fmt: skip
    return ReportContents(**made | changes)


def shown(evaluation: Evaluation, closer: Closer | None = None) -> Page:
    beside = [closer] if closer else []
    return Page(render(empty(evaluations=[evaluation], closer=beside)))


def said(page: Page) -> str:
    """Return the words of a page, where an element ends before a point or colon as well."""
    return page.text.replace(" .", ".").replace(" :", ":")


def everywhere(names: Sequence[str]) -> ReportContents:
    """Return a report in which every name stands in every place that a name can have."""
    every = " ".join(names)
    pairs = [(name, name) for name in names]
    cost = tuple(tuple(float(row != column) for column in names) for row in names)
    judged = known.evaluation_of(
        names,
        points=tuple(dataclasses.replace(point, note=every) for point in known.points_of(names[0])),
        slices=known.slices_of(pairs),
        calibration=known.calibration_of(every, every),
        sets=known.sets_of(names, every),
        decision=Decision("costs", costs=cost, rule=every, chosen_on=every),
        intervals={"accuracy": Interval(0.6, None, None, every)},
    )
    threshold = Decision("threshold", 0, 0.3, rule=every, chosen_on=every)
    outside = known.evaluation_of(names[:2], source=every, decision=threshold)
    examples = [Example(jpeg(f"{name}\n{name}"), jpeg(name), [jpeg(name)]) for name in names]
    finding = Finding(every, "error", every, {every: names, "b": {every: every}}, every,
                      recipe_change=every, epoch=0)  # fmt: skip
    explained = dataclasses.replace(finding, code="explained")
    rows = [(name, 1, 1, 1, 3) for name in names]
    return ReportContents(
        name=every,
        headline=every,
        facts=pairs,
        plan=names,
        manifest_counts=pl.DataFrame(
            [(printable(name), *counts) for name, *counts in rows],
            schema=["label", "train", "validation", "test", "total"],
            orient="row",
        ),
        ignored=dict.fromkeys(names, 1),
        data_facts=pairs,
        history=History.from_rows([{"epoch": 0, "loss": 1.0}], monitor=every, best_epoch=0),
        evaluations=[judged, outside],
        closer=[Closer(curves=curves_of(names), before=[BIN], after=[BIN]),
                Closer(curves=curves_of(names[:1]))],
        summary=ModelSummary((LayerSummary(every, every, (2,), 4),), 4, 4),
        augmented=[jpeg(every)],
        augmented_note=every,
        mistakes=[
            Mistakes("test", 99, examples, every, uncertain=examples[:1], doubtful=examples[:1],
                     doubts=every, listed=every, cells=[(every, every, examples[:1])]),
            Mistakes(every, 9, []),
        ],
        findings=[finding, dataclasses.replace(finding, outcome="passed")],
        reproduce=names,
        diagnosis=Diagnosis(every, 1, (finding, explained), {"explained": every}, (every,)),
        looks=Looks([every], jpeg(every), [finding]),
        provenance=pairs,
        limits=names,
    )  # fmt: skip


@pytest.fixture(scope="module")
def hostile_text() -> str:
    return render(everywhere(known.NAMES))


@pytest.fixture(scope="module")
def hostile(hostile_text: str) -> Page:
    return Page(hostile_text)


@pytest.fixture(scope="module")
def plain() -> Page:
    return Page(render(everywhere(PLAIN)))


@pytest.fixture(scope="module")
def full() -> Page:
    """Return the page of three classes, with everything that an evaluation can have."""
    names = ("cat", "dog", "owl")
    judged = known.evaluation_of(
        names,
        points=known.points_of("dog"),
        calibration=known.calibration_of(note="few records"),
        sets=known.sets_of(names),
        slices=known.slices_of([("site", "Bergen"), ("age", "34 to 51")]),
        leak_effect=LeakEffect(89, 5, {"accuracy": known.sure(0.62)},
                               {"accuracy": known.sure(0.55)}),
        decision=Decision("threshold", 1, 0.1234, rule="sensitivity=0.9",
                          chosen_on="90 records of validation"),
    )  # fmt: skip
    return shown(judged, Closer(curves=curves_of(names), before=[BIN], after=[BIN]))


def test_thresholds_of_several_classes_name_theirs():
    names = ("cat", "dog", "owl")
    points = tuple(point for name in names for point in known.points_of(name))
    judged = known.evaluation_of(names, points=points)
    told = " ".join(shown(judged, Closer()).text.split())
    assert "Thresholds of each class against the rest" in told
    assert "--threshold f1:CLASS" in told
    for name in names:
        assert f"{name} : sensitivity of 0.9" in told


# --- names are only text ---------------------------------------------------------------


def test_hostile_names_are_at_least_forty_and_all_different():
    assert len(set(known.NAMES)) == len(known.NAMES) >= 40


def test_no_name_makes_an_element(hostile, plain):
    drawings = {"g", "path", "text", "use", "defs", "rect", "image", "clippath"}
    found, expected = (
        Counter(tag for tag, _ in page.elements if tag not in drawings) for page in (hostile, plain)
    )
    # A command's words are spans, so that lines break between them; what is between backticks in
    # a sentence is code.
    for tag in ("span", "code"):
        del found[tag], expected[tag]
    assert found == expected


def test_no_name_makes_an_element_of_a_drawing(hostile, plain):
    assert {tag for tag, _ in hostile.elements} <= {tag for tag, _ in plain.elements}


def test_no_name_makes_an_attribute(hostile, plain):
    found, expected = (
        {(tag, name) for tag, attributes in page.elements for name in attributes}
        for page in (hostile, plain)
    )
    allowed = {("div", "class")}  # a long value takes the whole width
    allowed |= {("text", "transform")}  # and a name too long for its column is turned
    assert found - expected <= allowed


def test_no_name_makes_a_comment(hostile):
    assert hostile.comments == []


def test_no_name_reaches_a_style(hostile):
    styles = " ".join(str(attrs.get("style")) for _, attrs in hostile.elements)
    assert not re.search(r"evil|alert|display|url\((?!#)|position", styles)


def test_no_name_closes_what_is_open(hostile):
    assert hostile.faults == []


def test_no_name_makes_an_address(hostile):
    addresses = [
        str(value)
        for _, attributes in hostile.elements
        for name, value in attributes.items()
        if name in ("src", "href", "xlink:href", "srcset", "action", "formaction", "poster")
    ]
    assert all(address.startswith(("data:image/", "data:,", "#")) for address in addresses)


def test_no_name_is_a_template(hostile):
    assert "1337" not in re.findall(r"\S+", hostile.text)
    assert "{# gone #}" in hostile.text


def test_a_page_of_hostile_names_can_be_written(hostile_text):
    assert hostile_text.encode("utf-8")


def test_a_page_of_hostile_names_holds_no_control_characters(hostile_text):
    forbidden = "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufffe\uffff]"
    assert not re.findall(forbidden, hostile_text)


@pytest.mark.parametrize("place", range(len(known.NAMES)))
def test_a_hostile_name_is_shown_where_it_stands(hostile, place):
    seen = " ".join(printable(known.NAMES[place]).split()) or "(blank)"
    assert hostile.text.count(seen) >= (10 if known.NAMES[place].strip() else 5)


def test_hostile_names_are_the_words_of_their_pictures(hostile):
    alts = [str(image["alt"]) for image in hostile.all("img")]
    for name in known.NAMES:
        assert f"Wrongly classified image: {printable(name)}\n{printable(name)}" in alts


# --- the page as a whole ---------------------------------------------------------------


def test_no_id_stands_twice_with_several_evaluations(hostile):
    ids = [attributes["id"] for _, attributes in hostile.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_every_drawing_and_picture_has_words(full, hostile):
    for page in (full, hostile):
        assert all(image.get("alt") for image in page.all("img"))
        assert all(drawing.get("aria-label") for drawing in page.all("svg"))


def test_a_hundred_pictures_with_overlays_stay_below_five_megabytes():
    examples = [Example(jpeg(f"mistake {n}", 160, n), jpeg("", 160, n + 100)) for n in range(100)]
    page = render(empty(mistakes=[Mistakes("test", 100, examples)]))
    assert page.count("<img") == 200
    assert 1_000_000 < len(page.encode()) <= 5_000_000


def test_six_evaluations_two_of_them_in_pictures_stay_below_five_megabytes():
    names = [f"class {n}" for n in range(10)]
    line = np.linspace(0, 1, 200)  # points of a curve, at most
    curves = [ClassCurves(name, (line, line), (line[::-1], line), 0.1) for name in names]
    examples = [
        Example(jpeg(f"{n}", 160, n), jpeg("", 160, n + 44), [jpeg("", 160, n)] * 3 * (n < 6))
        for n in range(44)
    ]
    weights = ["best", "last", "average", "best", "last", "average"]
    page = render(
        empty(
            evaluations=[known.evaluation_of(names, weights=each) for each in weights],
            closer=[Closer(curves=curves, before=[BIN] * 10, after=[BIN] * 10)] * 6,
            mistakes=[Mistakes("test", 44, examples)] * 2 + [Mistakes("test", 44, [])] * 4,
        )
    )
    assert page.count("<img") == 2 * (44 + 44 + 18)
    assert len(page.encode()) <= 5_000_000


def test_later_evaluations_are_folded_but_not_their_cautions():
    stale = Stale(reason="of weights it had before", command="sightline evaluate R", former=True)
    judged = known.evaluation_of(("a", "b"))
    page = render(empty(evaluations=[judged, judged], stale=[None, stale]))
    first, second = page.split('<section id="quality')[1:]
    assert second.index("Caution: these figures are of weights it had before.") < second.index(
        "<summary>All figures of "
    )
    assert "<summary>All figures of " not in first


def test_weights_that_validation_chose_are_said_to_be_where_it_calibrates(full):
    told = "fitted on the validation split, which also chose these weights"
    assert told in said(full)
    last = known.evaluation_of(("a", "b"), weights="last", calibration=known.calibration_of())
    assert told not in said(shown(last))


def test_a_full_page_loads_and_runs_nothing(full):
    tags = Counter(tag for tag, _ in full.elements)
    assert not tags.keys() & {"script", "iframe", "object", "embed", "base", "form", "audio"}
    assert [link["href"] for link in full.all("link")] == ["data:,"]


# --- what it says of an evaluation -----------------------------------------------------


def test_every_figure_has_its_interval_and_baselines(full):
    assert (
        "Accuracy share of the images put in their class 0.6000 0.5600 to 0.6300 0.1100 0.2200"
    ) in full.text


def test_the_card_shows_the_interval_of_its_headline_figure(full):
    assert "0.600 accuracy 95 % interval 0.560 to 0.630" in full.text


def test_figures_of_too_few_images_say_so(full):
    assert re.search(r"owl 9 0.250|owl 9 –", full.text)
    assert "0.500 too few to say 0.500 too few to say" in full.text.partition("owl 9 ")[2][:90]


def test_why_a_figure_has_no_interval_is_told_once():
    few = {name: Interval(0.5, None, None, known.TOO_FEW) for name in ("accuracy", "log_loss")}
    page = shown(known.evaluation_of(("a", "b"), intervals=few))
    assert said(page).count(f"No interval: {known.TOO_FEW}.") == 1


def test_intervals_of_whole_groups_say_how_many(full):
    grouped = shown(known.evaluation_of(("a", "b"), groups=1234))
    assert "whole groups were resampled (1,234 of them)" in grouped.text
    assert "images were resampled, each class at its count" in full.text


def test_a_threshold_is_told_with_what_it_comes_to(full):
    assert (
        "0.1234 0.910 0.870 to 0.940 0.710 0.670 to 0.740 0.510 0.470 to 0.540 0.610"
    ) in full.text


def test_a_threshold_that_cannot_be_had_says_why(full):
    assert "specificity of 0.99 no threshold reaches it none – – – –" in full.text


def test_the_threshold_in_use_is_marked(full):
    assert "sensitivity of 0.9 in use here 0.1234" in full.text


def test_how_a_class_is_chosen_is_told(full):
    assert (
        "An image is called dog from a probability of 0.1234 on (asked: sensitivity=0.9), chosen "
        "on 90 records of validation; below that, the most probable of the other classes."
    ) in full.text


def test_the_costs_of_a_decision_are_told():
    costs = Decision("costs", costs=((0.0, 7.5), (1.0, 0.0)))
    text = shown(known.evaluation_of(("a", "b"), decision=costs)).text
    assert (
        "What it costs to call an image of one class another True class a b a 0 7.5 b 1 0" in text
    )


def test_the_most_probable_class_needs_no_words():
    assert "An image is" not in shown(known.evaluation_of(("a", "b"))).text


def test_calibration_is_told_before_and_after(full):
    assert "Temperature 1.534, fitted on 90 records of validation; few records." in full.text
    assert "Log loss 0.770 0.730 to 0.800 0.660 0.620 to 0.690" in full.text


def test_sets_are_told_with_their_coverage_and_sizes(full):
    assert (
        "Asked to hold the true class in 90.0% of the images, they do in 92.5% (88.5% to 95.5%), "
        "with 1.25 classes on average; 3 are empty."
    ) in full.text
    assert "Classes in the set 0 1 2 Images 3 30 7" in full.text


def test_a_part_that_differs_is_told_apart(full):
    text = said(full)
    assert "corrected for all 2 parts looked at" in text
    assert (
        "Bergen site: differs from the rest 50 0.400 0.360 to 0.430 −12.3 −20.0 to −5.0 < 0.001"
    ) in text
    assert "34 to 51 age 50 0.400" in text


@pytest.mark.parametrize(
    ("value", "words"), [(0.0, "0.0"), (-0.0004, "0.0"), (0.0312, "+3.1"), (-0.0312, "−3.1")]
)
def test_a_difference_has_its_sign(value, words):
    (made,) = known.slices_of([("site", "Bergen")])
    made = dataclasses.replace(made, difference=Interval(value, None, None, "few"))
    text = shown(known.evaluation_of(("a", "b"), slices=(made,))).text
    assert f"{words} too few to say" in text


def test_the_leak_is_told_with_and_without(full):
    assert "5 of 89 images have a copy" in full.text
    assert "Accuracy 0.620 (0.580 to 0.650) 0.550 (0.510 to 0.580)" in full.text


def test_the_shares_of_each_class_are_told(full):
    assert "True class cat dog owl cat 82.5% 0.0% 17.5%" in full.text


def test_the_most_frequent_mistake_is_told(full):
    assert "cat taken for owl: 7 of 40" in said(full)


@pytest.mark.parametrize(("size", "words"), [(21, ""), (30, "The curves of 9 more classes")])
def test_classes_without_a_curve_are_counted(size, words):
    names = [f"species {number}" for number in range(size)]
    page = shown(known.evaluation_of(names), Closer(curves=curves_of(names)))
    assert words in page.text
    assert ("more classes are left out" in page.text) == (size > 21)


@pytest.mark.parametrize("size", [2, 7, 30, 100])
def test_every_class_has_a_row_and_its_table_scrolls(size):
    names = [f"species {number:03d}" for number in range(size)]
    page = shown(known.evaluation_of(names), Closer(curves=curves_of(names), before=[BIN]))
    assert all(page.text.count(name) >= 2 for name in names)
    boxes = [box for box in page.all("div") if str(box.get("class")).startswith("scroll")]
    assert len(boxes) == len(page.all("table")) + 1  # the confusion matrix
    assert page.faults == []


def test_shares_of_many_classes_are_kept_off_paper():
    few, many = (
        shown(known.evaluation_of([f"c{number}" for number in range(size)])) for size in (12, 13)
    )
    kinds = [[str(box.get("class")) for box in page.all("details")] for page in (few, many)]
    assert ("square large" in kinds[0], "square large" in kinds[1]) == (False, True)


def test_a_split_of_a_single_class_renders_with_dashes():
    base = known.evaluation_of(("cat", "dog"))
    lonely = dataclasses.replace(
        base,
        confusion=np.array([[40, 0], [0, 0]]),
        metrics={"accuracy": 1.0, "roc_auc": None},
        intervals={},
        classes=(base.classes[0], ClassScores("dog", 0, dict.fromkeys(known.OF_CLASS))),
    )
    text = shown(lonely).text
    assert "dog 0 – – – – – –" in text
    assert "A dash stands for a figure that is not defined" in text
    assert "dog – –" in text  # its shares


def test_an_evaluation_of_an_older_file_renders():
    plain = {
        "source": "test", "count": 50, "unreadable": 0, "weights": "best", "epoch": 3,
        "model_fingerprint": "", "predictions_hash": "", "metrics": {"accuracy": 0.8},
        "classes": [
            {"name": "cat", "count": 25, "precision": 0.7, "recall": 0.9, "f1": 0.79},
            {"name": "dog", "count": 25, "precision": 0.8, "recall": 0.7, "f1": None},
        ],
        "confusion": [[22, 3], [8, 17]],
    }  # fmt: skip
    page = shown(Evaluation.from_dict(plain))
    assert "Accuracy share of the images put in their class 0.8000 What is taken" in page.text
    assert "cat 25 0.700 0.900 – 0.790 – –" in page.text
    assert "Most frequent class" not in page.text


def test_the_numbers_on_the_curves_are_those_of_the_list():
    found = (
        Finding("late", "error", "Late.", epoch=5),
        Finding("calm", "info", "Calm."),
        Finding("hidden", "warning", "Hidden.", epoch=3),
        Finding("early", "warning", "Early.", epoch=1),
        Finding("passed", "warning", "Passed.", epoch=4, outcome="passed"),
    )
    rows = [{"epoch": e, "loss": 1 / (e + 1), "val_loss": 1.0} for e in range(8)]
    page = Page(
        render(
            empty(
                history=History.from_rows(rows, monitor="val_loss", best_epoch=7),
                diagnosis=Diagnosis("run", 8, found, {"hidden": "late"}),
            )
        )
    )
    assert [f"{n} {name}" in page.text for n, name in enumerate(
        ("Error late", "Info calm", "Warning early"), start=1)] == [True] * 3  # fmt: skip
    assert "hidden explained by late: Hidden." in said(page)
    assert "A number marks where a finding below begins." in page.text


@pytest.mark.parametrize(("first", "second"), [(6, 1), (1, 6)])
def test_a_number_stands_above_its_own_epoch(first, second):
    found = Finding("a", "info", "A.", epoch=first), Finding("b", "info", "B.", epoch=second)
    rows = [{"epoch": e, "loss": 1 / (e + 1)} for e in range(8)]
    page = render(empty(history=History.from_rows(rows), diagnosis=Diagnosis("run", 8, found)))
    circled = re.findall(r'<text[^>]*#ffffff" x="([\d.]+)"[^>]*>([12])</text>', page)
    places = {number: float(x) for x, number in circled}
    assert (places["1"] > places["2"]) == (first > second)


def test_curves_without_a_mark_promise_none():
    rows = [{"epoch": 0, "loss": 1.0}]
    page = Page(render(empty(history=History.from_rows(rows))))
    assert "A number marks" not in page.text


def test_maps_of_a_whole_split_are_told():
    looks = Looks(["Half of it is border."], jpeg("Average maps"), [Finding("b", "error", "Edge.")])
    text = Page(render(empty(looks=looks))).text
    assert "Where it looks Half of it is border." in text
    assert "Edge." in text


def test_contents_without_anything_have_no_section_of_it():
    page = Page(render(empty()))
    headings = {str(attributes.get("id")) for tag, attributes in page.elements if tag == "section"}
    assert headings == {"images", "training", "quality", "plan"}
