from __future__ import annotations

import pytest
from audited_sets import Row, findings, rows


def split_set(**sizes: int) -> list[Row]:
    return [row for split, size in sizes.items() for row in rows(size, "a", split=split)]


@pytest.mark.parametrize(
    ("images", "outcome", "severity"),
    [(16, "found", "error"), (24, "found", "error"), (25, "found", "warning"),
     (384, "found", "warning"), (385, "passed", "error")],
)  # fmt: skip
def test_a_small_side_is_judged_by_the_interval_its_size_allows(
    images: int, outcome: str, severity: str
) -> None:
    found = findings(split_set(train=1000, test=images))["small-splits"]
    assert (found.outcome, found.severity) == (outcome, severity)


def test_every_held_out_side_is_told_with_its_interval() -> None:
    found = findings(split_set(train=50, validation=16, test=400, external=100))["small-splits"]
    assert found.title == (
        "A share is sure only to ± 24 points on 16 validation images, ± 5 points on 400 test "
        "images and ± 10 points on 100 external images."
    )
    assert found.evidence["images"] == {"validation": 16, "test": 400, "external": 100}
    assert found.evidence["half_widths"]["validation"] == pytest.approx(0.245, abs=1e-4)


def test_nothing_is_held_out_before_a_split() -> None:
    assert findings(rows(5))["small-splits"].outcome == "not applicable"
    assert findings(split_set(train=5))["small-splits"].outcome == "not applicable"


def test_a_class_that_is_small_on_a_side_is_named_with_its_interval() -> None:
    chosen = rows(500, "a", split="train") + rows(500, "b", split="train")
    chosen += rows(100, "a", split="test") + rows(9, "b", split="test")
    found = findings(chosen)["small-classes"]
    assert (found.outcome, found.severity) == ("found", "warning")
    assert found.title == (
        "1 of 2 classes is too small to measure: 'b' has 9 images in test (± 33 points)."
    )
    assert found.evidence["classes"] == [
        {"label": "b", "side": "test", "images": 9, "half_width": 0.3267}
    ]


def test_several_small_classes_are_several() -> None:
    title = findings(rows(3, "a") + rows(5, "b"))["small-classes"].title
    assert title.startswith("2 of 2 classes are too small to measure: 'a' has 3 images in all")


def test_a_class_that_a_side_lacks_is_an_error() -> None:
    chosen = rows(500, "a", split="train") + rows(500, "b", split="train")
    found = findings(chosen + rows(100, "a", split="validation"))["small-classes"]
    assert found.severity == "error"
    assert found.title.endswith("validation has none of 'b'.")
    assert found.evidence["missing"] == {"validation": ["b"]}


def test_a_class_that_the_external_images_lack_is_no_error() -> None:
    chosen = rows(500, "a", split="train") + rows(500, "b", split="train")
    found = findings(chosen + rows(100, "a", split="external"))["small-classes"]
    assert (found.outcome, found.severity) == ("found", "warning")


def test_a_class_whose_images_are_all_quarantined_is_small() -> None:
    chosen = rows(100, "a") + rows(3, "b", status="quarantined", reason="EMPTY")
    found = findings(chosen)["small-classes"]
    assert "'b' has 0 images in all" in found.title


def test_few_training_images_are_not_measured_on() -> None:
    chosen = [row for label in "ab" for row in rows(20, label, split="train")]
    chosen += [row for label in "ab" for row in rows(50, label, split="test")]
    assert findings(chosen)["small-classes"].outcome == "passed"


@pytest.mark.parametrize(
    ("common", "outcome", "severity"),
    [(30, "passed", "warning"), (31, "found", "info"), (100, "found", "info"),
     (101, "found", "warning")],
)  # fmt: skip
def test_imbalance_is_the_ratio_of_the_largest_class_to_the_smallest(
    common: int, outcome: str, severity: str
) -> None:
    found = findings(rows(common, "a") + rows(10, "b"))["class-imbalance"]
    assert (found.outcome, found.severity) == (outcome, severity)
    assert found.evidence["images"] == {"a": common, "b": 10}


def test_imbalance_is_that_of_the_training_images() -> None:
    chosen = rows(10, "a", split="train") + rows(10, "b", split="train")
    assert findings(chosen + rows(200, "a", split="test"))["class-imbalance"].outcome == "passed"


@pytest.mark.parametrize(
    "chosen",
    [rows(300), rows(200) + rows(100, "b", status="quarantined", reason="EMPTY"),
     rows(200) + rows(40, None)],
    ids=["in all", "but for the quarantine", "but for images without a label"],
)  # fmt: skip
def test_one_class_alone_is_nothing_to_learn_from(chosen: list[Row]) -> None:
    found = findings(chosen)["class-imbalance"]
    images = sum(row["label"] == "a" for row in chosen)
    assert (found.outcome, found.severity, found.recipe_change) == ("found", "warning", "")
    assert found.title == (
        f"There is one class alone: 'a', with {images} images. A model has nothing to tell apart."
    )
    assert "judged on" in found.advice


def test_images_without_labels_are_no_class() -> None:
    assert findings(rows(300, None))["class-imbalance"].outcome == "not applicable"


def test_imbalance_is_answered_by_a_key_that_recipes_have() -> None:
    from sightline.recipes.schema import BalanceSection

    change = findings(rows(40, "a") + rows(10, "b"))["class-imbalance"].recipe_change
    section, _, setting = change.partition(".")
    key, _, value = setting.partition("=")
    assert section == "balance"
    assert getattr(BalanceSection.model_validate({key: value}), key) == value
