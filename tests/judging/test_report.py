from __future__ import annotations

import base64
import dataclasses
import itertools
import re
from typing import Any

import polars as pl
import pytest
from reading_pages import HOSTILE, Page, picture

from sightline.judging.evaluation import evaluate
from sightline.judging.reports import Example, Mistakes, ReportContents, render
from sightline.records import Evaluation, Finding, History, LayerSummary, ModelSummary, Picture

FACT = "a & b"


def counts(*rows: tuple[str | None, int, int, int, int]) -> pl.DataFrame:
    columns = ["label", "train", "validation", "test", "total"]
    return pl.DataFrame(rows, schema=columns, orient="row")


def history(epochs: int, best: int | None) -> History:
    rows = [{"epoch": e, "loss": 1 / (e + 1), "val_loss": 2 / (e + 1)} for e in range(epochs)]
    return History.from_rows(rows, monitor="val_loss", best_epoch=best)


@pytest.fixture(scope="module")
def evaluation(make_predictions: Any) -> Evaluation:
    return evaluate(make_predictions(("cat", "dog"), count=1500, epoch=4), source="test")


@pytest.fixture(scope="module")
def contents(evaluation: Evaluation) -> ReportContents:
    return ReportContents(
        name="my-run",
        headline="Test accuracy 0.7 with the best weights, of epoch 5.",
        facts=[("Recipe", "basic"), ("Device", FACT)],
        plan=["Every image is kept at 64 × 64 pixels."],
        manifest_counts=counts(("cat", 700, 150, 150, 1000), ("dog", 350, 75, 75, 500)),
        ignored={"text file": 2},
        data_facts=[("Images", "1,500")],
        history=history(8, 4),
        evaluations=[evaluation],
        summary=ModelSummary((LayerSummary("first", "Conv2D", (62, 62, 8), 224),), 224, 224),
        augmented=[picture("cat"), picture("dog", width=20)],
        mistakes=[
            Mistakes("test", 50, [Example(picture("cat taken for dog\n99.1 % sure\ncat/0001.png"))])
        ],
        findings=[
            Finding(
                "small-split",
                "warning",
                "The test split has 225 images.",
                {"n": 225},
                "Hold out more of them.",
            )
        ],
        reproduce=["sightline train data --out runs/my-run"],
        group_counts={"train": 321, "validation": 45, "test": 44},
    )


@pytest.fixture
def nothing() -> ReportContents:
    return ReportContents(
        name="empty", headline="", facts=[], plan=[], manifest_counts=pl.DataFrame(), ignored={},
        data_facts=[], history=History.from_rows([]), evaluations=[], summary=None, augmented=[],
        mistakes=[], findings=[], reproduce=[],
    )  # fmt: skip


@pytest.fixture(scope="module")
def page(contents: ReportContents) -> Page:
    """Return the page of a whole run; drawing it once saves most of the time."""
    return Page(render(contents))


def shown(contents: ReportContents, **changes: Any) -> Page:
    return Page(render(dataclasses.replace(contents, **changes)))


def test_a_page_loads_nothing_from_outside(page):
    addresses = [
        value
        for _, attributes in page.elements
        for name, value in attributes.items()
        if name in ("src", "href", "xlink:href", "srcset", "action", "poster")
    ]
    assert all(address.startswith(("data:", "#")) for address in addresses)


def test_a_page_names_no_address_on_the_web(contents):
    assert not re.findall(r"https?://|url\([^#)]", render(contents))


def test_a_page_has_no_script_of_any_kind(page):
    handlers = [name for _, attrs in page.elements for name in attrs if name.startswith("on")]
    assert (page.all("script"), handlers) == ([], [])


def test_a_page_forbids_scripts_and_the_network_itself(page):
    policies = [meta["content"] for meta in page.all("meta") if "http-equiv" in meta]
    assert policies[0].startswith("default-src 'none'; img-src data:;")


def test_every_element_is_closed_where_it_should_be(page):
    assert page.faults == []


def test_no_id_stands_twice(contents, evaluation):
    page = shown(contents, evaluations=[evaluation, evaluation])
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_every_link_of_the_contents_leads_somewhere(page):
    ids = {attributes.get("id") for _, attributes in page.elements}
    assert {link["href"][1:] for link in page.all("a")} <= ids


def test_every_picture_has_words_for_those_who_cannot_see_it(page):
    alts = [image["alt"] for image in page.all("img")]
    assert alts == [
        "Wrongly classified image: cat taken for dog\n99.1 % sure\ncat/0001.png",
        "Training image after random changes: cat",
        "Training image after random changes: dog",
    ]


def test_every_drawing_has_words_for_those_who_cannot_see_it(page):
    labels = [drawing["aria-label"] for drawing in page.all("svg")]
    assert [label.split()[0] for label in labels] == ["Loss", "Loss", "Confusion"]


def test_pictures_are_inside_the_page(page):
    source = page.all("img")[0]["src"]
    assert base64.b64decode(source.removeprefix("data:image/png;base64,")).startswith(b"\x89PNG")


def test_tiny_pictures_are_enlarged_without_smoothing(page):
    assert [image.get("class") for image in page.all("img")] == [None, None, "tiny"]


def test_headings_skip_no_level(page):
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_the_header_tells_the_name_and_the_headline(page):
    assert "my-run Test accuracy 0.7 with the best weights, of epoch 5." in page.text


def test_the_best_epoch_is_told_in_words(page):
    assert "epoch 5 of 8 is the best, chosen by val_loss" in page.text


def test_a_best_epoch_that_is_the_last_is_told_in_words(nothing):
    assert "the last one is also the best" in shown(nothing, history=history(3, 2)).text


@pytest.mark.parametrize("start", ["Metrics:", "Each class against the rest:", "Confusion matrix:"])
def test_figures_name_source_count_weights_and_epoch(page, start):
    about = "1,500 images of the test split, best weights (epoch 5)"
    assert f"{start} {about}" in page.text


def test_an_external_set_is_called_by_its_name(nothing, evaluation):
    elsewhere = dataclasses.replace(evaluation, source="Other hospital")
    assert "images of “Other hospital”" in shown(nothing, evaluations=[elsewhere]).text


def test_binary_metrics_say_which_class_is_positive(page):
    assert "of the “dog” images, how many were found" in page.text


def test_images_that_could_not_be_read_are_told(nothing, evaluation):
    some = dataclasses.replace(evaluation, unreadable=1)
    text = shown(nothing, evaluations=[some]).text
    assert "1 more image could not be read and is left out." in text


def test_a_figure_that_is_not_defined_is_a_dash(nothing, evaluation):
    odd = dataclasses.replace(evaluation, metrics={"roc_auc": None}, intervals={})
    assert "ROC AUC chance that an image of a class is ranked above one that is not –" in (
        shown(nothing, evaluations=[odd]).text
    )


@pytest.mark.parametrize(
    ("value", "words"),
    [(1.0, "1.0000"), (0.99999, "> 0.9999"), (1e-6, "< 0.0001"), (0.0, "0.0000")],
)
def test_rounding_makes_no_score_perfect(nothing, evaluation, value, words):
    odd = dataclasses.replace(evaluation, metrics={"f1": value}, intervals={})
    page = shown(nothing, evaluations=[odd])
    assert f"harmonic mean of precision and recall, for “dog” {words}" in page.text


def test_split_counts_and_groups_stand_in_one_table(page):
    text = page.text
    assert "All 1,050 225 ± 7 points 225 ± 7 points 1,500 Groups 321 45 44" in text


def test_images_without_a_split_are_counted_apart(nothing):
    text = shown(nothing, manifest_counts=counts(("cat", 5, 2, 1, 10))).text
    assert "unassigned total share" in text
    assert "cat 5 2 ± 69 points 1 ± 98 points 2 10" in text


def test_images_without_a_label_are_counted(nothing):
    page = shown(nothing, manifest_counts=counts((None, 0, 0, 0, 7)))
    assert "no label 0 0" in page.text


def test_a_set_without_a_test_split_says_so(nothing):
    text = shown(nothing, manifest_counts=counts(("cat", 5, 2, 0, 7))).text
    assert "There is no test split." in text


def test_errors_are_told_in_the_header(nothing):
    found = [Finding("leak", "error", "Bad."), Finding("small", "warning", "So so.")]
    assert "1 error and 1 warning found. Read this" in shown(nothing, findings=found).text


def test_the_contents_count_what_was_found(page):
    assert "Findings (1)" in page.text


def test_a_finding_is_told_with_its_severity_advice_and_evidence(page):
    told = "Warning small-split The test split has 225 images. Hold out more of them. Evidence n"
    assert told in page.text


def test_checks_that_found_nothing_say_so(nothing):
    passed = [Finding("copies", "warning", "No copies.", outcome="passed")]
    assert "No check found anything." in shown(nothing, findings=passed).text


def test_the_worst_finding_comes_first(nothing):
    found = [Finding("b", "info", "Calm."), Finding("a", "error", "Bad.")]
    text = shown(nothing, findings=found).text
    assert text.index("Bad.") < text.index("Calm.")


def test_checks_that_passed_are_told_apart_from_those_that_do_not_apply(nothing):
    found = [
        Finding("copies", "warning", "No copies.", outcome="passed"),
        Finding("sites", "info", "No site column.", outcome="not applicable"),
    ]
    text = shown(nothing, findings=found).text
    assert "2 checks without a finding" in text
    assert "copies passed: No copies. sites not applicable: No site column." in text


def test_long_evidence_is_cut_and_counted(nothing):
    found = [Finding("x", "info", "Many.", {"ids": [f"id{n:04d}" for n in range(3000)]})]
    assert "… and 2,980 more" in shown(nothing, findings=found).text


def test_lists_within_a_table_of_evidence_are_counted(nothing):
    patterns = [{"what": "IM", "examples": {"IM-1": ["a.png", "b.png"], "IM-2": ["c.png"]},
                 "counts": {"dark": 3, "light": 2}}]  # fmt: skip
    text = shown(nothing, findings=[Finding("x", "info", "Groups.", {"patterns": patterns})]).text
    assert "IM 2 (see audit.json) dark: 3, light: 2" in text
    assert "a.png" not in text


def test_the_layers_are_told(page):
    assert "first Conv2D 62 × 62 × 8 224" in page.text


def test_the_command_can_be_copied_as_it_was(nothing):
    page = shown(nothing, reproduce=["sightline  train 'a b'\nsightline report"])
    assert "sightline  train 'a b'\nsightline report" in "".join(page.words)


def test_a_hostile_name_is_shown_and_does_nothing(contents, make_predictions):
    labels = (HOSTILE, "\"quoted\" & 'single'")
    hostile = evaluate(make_predictions(labels), source=HOSTILE)
    page = shown(
        contents,
        name=HOSTILE,
        headline=HOSTILE,
        facts=[(HOSTILE, HOSTILE)],
        data_facts=[(HOSTILE, HOSTILE)],
        plan=[HOSTILE],
        ignored={HOSTILE: 1},
        manifest_counts=counts((HOSTILE, 1, 1, 1, 3)),
        evaluations=[hostile],
        augmented=[picture(HOSTILE)],
        mistakes=[Mistakes(HOSTILE, 2, [Example(picture(HOSTILE))], HOSTILE)],
        findings=[Finding(HOSTILE, "info", HOSTILE, {HOSTILE: [HOSTILE]}, HOSTILE)],
        reproduce=[f"sightline train {HOSTILE}"],
    )
    assert page.faults == []
    assert all(image["src"].startswith("data:") for image in page.all("img"))
    assert not [name for _, attrs in page.elements for name in attrs if name.startswith("on")]
    assert page.text.count(HOSTILE) >= 15


def test_a_name_that_turns_the_direction_of_text_is_made_plain(nothing):
    page = shown(nothing, manifest_counts=counts(("x\u202egnp.exe", 1, 1, 1, 3)))
    assert "x\ufffdgnp.exe" in page.text


def test_characters_html_cannot_hold_are_replaced(nothing):
    page = shown(nothing, name="a\x00b\ud800c")
    assert "a\ufffdb\ufffdc" in page.text


def test_a_page_can_always_be_written_as_utf8(nothing):
    render(dataclasses.replace(nothing, plan=["\udcff"])).encode("utf-8")


def test_names_of_other_scripts_are_kept(nothing):
    page = shown(nothing, manifest_counts=counts(("皮膚病変 Ünïcödé", 1, 1, 1, 3)))
    assert "皮膚病変 Ünïcödé" in page.text


def test_sixty_classes_have_sixty_rows(nothing, make_predictions):
    names = [f"species {number:02d}" for number in range(60)]
    page = shown(nothing, evaluations=[evaluate(make_predictions(names), source="test")])
    assert all(page.text.count(name) >= 2 for name in names)
    assert "With 60 classes the counts are left out" in page.text


def test_every_table_and_matrix_scrolls_in_its_own_box(page):
    boxes = [box for box in page.all("div") if str(box.get("class")).startswith("scroll")]
    assert len(boxes) == len(page.all("table")) + 1  # the confusion matrix


def test_an_empty_run_makes_a_page_that_says_why(nothing):
    text = shown(nothing).text
    assert "No image is listed, so there is nothing to count." in text
    assert "No epoch has finished yet, so there are no curves." in text
    assert "Nothing has been evaluated yet" in text


def test_an_empty_run_has_no_empty_tables_or_lists(nothing):
    page = shown(nothing)
    assert [tag for tag in ("table", "figure", "details", "dl") if page.all(tag)] == []


def test_no_value_is_shown_as_none(page, nothing):
    assert not re.search(r"\b(None|nan|inf)\b", page.text + shown(nothing).text)


def test_epochs_without_a_best_one_say_so(nothing):
    assert "no best epoch was chosen" in shown(nothing, history=history(2, None)).text


def test_a_set_without_mistakes_says_so(nothing):
    page = shown(nothing, mistakes=[Mistakes("test", 0, [])])
    assert "There is no mistake to show." in page.text


def test_mistakes_without_pictures_are_still_counted(nothing):
    made = Mistakes("test", 55, [], "their images are no longer at their place")
    text = shown(nothing, mistakes=[made]).text
    assert "55 mistakes; their images are no longer at their place." in text


def test_mistakes_that_are_not_all_shown_are_counted(page):
    assert "50 mistakes, the 1 surest of them here." in page.text


def test_training_pictures_that_cannot_be_shown_are_told(nothing):
    page = shown(nothing, augmented_note="They cannot be shown.")
    assert "Training images as the network sees them They cannot be shown." in page.text


def test_random_changes_of_training_pictures_are_told(page):
    assert "After random changes and resizing; every epoch changes them anew." in page.text


def test_pictures_of_a_recipe_without_random_changes_claim_none(nothing):
    page = shown(nothing, augmented=[picture("cat")], randomly_changed=False)
    assert "After resizing; this recipe makes no random changes." in page.text
    assert [image["alt"] for image in page.all("img")] == ["Training image: cat"]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("validation", "Caution: the split that chose the weights: optimistic."),
        ("train", "Caution: the images it was trained on: says nothing about new ones."),
    ],
)
def test_a_card_and_its_section_say_what_a_figure_is_not(nothing, evaluation, source, words):
    judged = dataclasses.replace(evaluation, source=source)
    assert shown(nothing, evaluations=[judged]).text.count(words) == 2


def test_a_card_says_how_many_images_were_trained_on(nothing, evaluation):
    judged = dataclasses.replace(evaluation, source="/photos", seen_in_training=1200)
    text = shown(nothing, evaluations=[judged]).text
    assert "Caution: 1,200 of 1,500 of these images were trained on" in text


def test_figures_of_the_test_split_need_no_caution(page):
    assert "Caution" not in page.text


def test_a_long_path_is_shortened_to_its_end_in_headings(nothing, evaluation):
    judged = dataclasses.replace(evaluation, source="/a/b/c/xray/test")
    assert "Quality: …/xray/test" in shown(nothing, evaluations=[judged]).text


def test_a_screen_reader_is_told_which_curves_are_drawn(nothing):
    rows = [{"epoch": 0, "loss": 1.0, "val_loss": 1.0, "val_recall": 0.5, "val_f1": 0.5}]
    page = shown(nothing, history=History.from_rows(rows))
    label = page.all("svg")[0]["aria-label"]
    assert str(label).startswith("Loss, recall and f1 by epoch.")


def test_equal_contents_make_an_equal_page(contents):
    assert render(contents) == render(contents)


def test_a_picture_of_another_kind_is_refused(nothing):
    odd = Picture(b"<svg/>", "image/svg+xml", "x", 9, 9)
    with pytest.raises(ValueError, match=r"image/jpeg.*got 'image/svg\+xml'"):
        render(dataclasses.replace(nothing, augmented=[odd]))


def test_dark_screens_and_paper_are_thought_of(contents):
    page = render(contents)
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page
