from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sightline.judging.evaluation import least_certain, most_confident_errors, per_cell
from sightline.records import Decision, Predictions

ABC = ("a", "b", "c")


def predictions(*rows: tuple[str, str, tuple[float, ...]]) -> Predictions:
    return Predictions.make(
        class_names=ABC,
        record_ids=[row[0] for row in rows],
        labels=[row[1] for row in rows],
        probabilities=np.asarray([row[2] for row in rows], np.float32),
    )


FIVE = predictions(
    ("right.png", "a", (0.9, 0.05, 0.05)),
    ("close.png", "b", (0.5, 0.49, 0.01)),
    ("sure.png", "c", (0.5, 0.49, 0.01)),
    ("doubt.png", "c", (0.3, 0.34, 0.36)),
    ("worst.png", "c", (0.98, 0.01, 0.01)),
)


def ids(rows) -> list[str]:
    return [row.record_id for row in rows]


def test_the_most_confident_error_is_farthest_from_the_truth():
    assert ids(most_confident_errors(FIVE, 5)) == ["worst.png", "sure.png", "close.png"]


def test_the_least_certain_may_be_right():
    assert ids(least_certain(FIVE, 3)) == ["close.png", "sure.png", "doubt.png"]


def test_equals_go_by_record_id():
    two = predictions(("z.png", "c", (0.6, 0.3, 0.1)), ("y.png", "c", (0.6, 0.3, 0.1)))
    assert ids(most_confident_errors(two, 2)) == ["y.png", "z.png"]


def test_a_row_says_what_was_taken_for_what():
    (row,) = most_confident_errors(FIVE, 1)
    assert (row.label, row.predicted) == ("c", "a")
    assert (row.probability, row.label_probability, row.margin) == pytest.approx((0.98, 0.01, 0.97))


def test_under_a_threshold_the_least_certain_is_nearest_to_it():
    decision = Decision("threshold", class_index=2, threshold=0.05)
    assert ids(least_certain(replace(FIVE, decision=decision), 1)) == ["right.png"]


def test_a_cell_holds_what_has_its_label_and_its_prediction():
    assert ids(per_cell(FIVE, "c", "a", 9)) == ["worst.png", "sure.png"]


def test_a_cell_may_be_of_right_predictions():
    assert ids(per_cell(FIVE, "c", "c", 9)) == ["doubt.png"]


def test_no_more_than_asked_are_given():
    assert ids(per_cell(FIVE, "c", "a", 1)) == ["worst.png"]


def test_records_that_cannot_be_judged_are_left_out(make_predictions):
    some = make_predictions(ABC, labels=["a", None, "b"], reasons=[None, None, "EMPTY"])
    assert ids(least_certain(some, 9)) == ["0000.png"]


def test_an_unknown_class_is_refused():
    with pytest.raises(ValueError, match=r"'d' is not one of the classes \['a', 'b', 'c'\]"):
        per_cell(FIVE, "a", "d", 1)


def test_a_negative_count_is_refused():
    with pytest.raises(ValueError, match="count must be 0 or more, got -1"):
        least_certain(FIVE, -1)


def test_every_wrong_prediction_is_listed_and_no_right_one(make_predictions):
    predictions = make_predictions()
    wrong = predictions.label_indices() != predictions.predicted_indices()
    found = most_confident_errors(predictions, len(predictions))
    assert {each.record_id for each in found} == set(predictions.table["record_id"].filter(wrong))
