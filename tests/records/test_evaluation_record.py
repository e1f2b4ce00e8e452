from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from sightline.records import ClassScores, Evaluation, rounded


def evaluation(source: str = "test") -> Evaluation:
    return Evaluation(
        source=source,
        count=10,
        unreadable=1,
        weights="best",
        epoch=4,
        model_fingerprint="f00d",
        predictions_hash="beef",
        metrics={"accuracy": 0.8, "roc_auc": None},
        classes=(
            ClassScores("kätzchen", 6, {"precision": 0.8, "recall": 0.7, "roc_auc": None}),
            ClassScores("dog", 4, {"precision": None, "recall": 0.0, "roc_auc": 0.5}),
        ),
        confusion=np.array([[5, 1], [1, 3]]),
    )


def test_an_evaluation_comes_back_from_json_as_it_was() -> None:
    text = json.dumps(evaluation().to_dict())
    assert Evaluation.from_dict(json.loads(text)).to_dict() == evaluation().to_dict()


def test_the_confusion_comes_back_as_whole_numbers() -> None:
    back = Evaluation.from_dict(evaluation().to_dict())
    assert back.confusion.dtype == np.int64
    np.testing.assert_array_equal(back.confusion, [[5, 1], [1, 3]])


def test_scores_of_the_classes_come_back_equal() -> None:
    assert Evaluation.from_dict(evaluation().to_dict()).classes == evaluation().classes


def test_the_class_names_are_those_of_the_scores_in_order() -> None:
    assert evaluation().class_names == ("kätzchen", "dog")


def test_an_evaluation_kept_before_overlap_was_counted_comes_back() -> None:
    plain = evaluation().to_dict()
    del plain["seen_in_training"]
    assert Evaluation.from_dict(plain).seen_in_training == 0


@pytest.mark.parametrize(
    ("source", "caution"),
    [
        ("test", ""),
        ("/photos", ""),
        ("validation", "the split that chose the weights: optimistic"),
        ("train", "the images it was trained on: says nothing about new ones"),
    ],
)
def test_figures_of_images_that_decided_something_carry_a_caution(
    source: str, caution: str
) -> None:
    assert evaluation(source).caution == caution


@pytest.mark.parametrize(
    ("seen", "start"), [(1, "1 of 10 of these images was"), (9, "9 of 10 of these images were")]
)
def test_an_external_set_that_was_trained_on_carries_a_caution(seen: int, start: str) -> None:
    judged = replace(evaluation("/photos"), seen_in_training=seen)
    assert judged.caution == f"{start} trained on or chose the weights: optimistic"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1.0000"), (0.99996, "> 0.9999"), (0.99994, "0.9999"), (1e-6, "< 0.0001"),
        (0.0, "0.0000"), (16.118, "16.1180"), (None, "–"), (float("nan"), "–"),
    ],
)  # fmt: skip
def test_a_perfect_figure_is_never_made_by_rounding(value: float | None, text: str) -> None:
    assert rounded(value) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [(1.0, "100.0%"), (0.9996, "> 99.9%"), (0.9994, "99.9%"), (0.0004, "< 0.1%"), (0.0, "0.0%")],
)
def test_a_perfect_percentage_is_never_made_by_rounding(share: float, text: str) -> None:
    assert rounded(share, 1, percent=True) == text
