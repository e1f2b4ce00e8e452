from __future__ import annotations

import json

import numpy as np
import pytest

from sightline.judging.evaluation import doubtful_labels, losses
from sightline.records import LabelNoise, Predictions

ABCD = ("a", "b", "c", "d")


SHARES = (0.4, 0.3, 0.2, 0.1)
UNEVEN = (5.0, 4.0, 3.0, 2.0)  # how far apart the classes are: the rare ones are the hard ones
ANY_OTHER = np.full((4, 4), 0.1 / 3) + np.eye(4) * (0.9 - 0.1 / 3)  # flipped to any other class
ONE_OTHER = 0.9 * np.eye(4) + 0.1 * np.roll(np.eye(4), 1, axis=1)  # always to the same one


def planted(
    *, flips: np.ndarray = ANY_OTHER, skill=UNEVEN, shares=SHARES, count: int = 4000, seed: int = 0
) -> tuple[Predictions, np.ndarray]:
    """Return predictions of a decent classifier, and which of the labels are flipped.

    It never saw these labels, but learned from others that were flipped as often.
    """
    rng = np.random.default_rng(seed)
    true = rng.choice(4, count, p=shares)
    logits = rng.normal(size=(count, 4)) * 1.2 + np.log(SHARES)
    logits[np.arange(count), true] += np.asarray(skill)[true]
    probabilities = np.exp(logits)
    probabilities = probabilities / probabilities.sum(axis=1, keepdims=True) @ flips
    labels = (rng.random((count, 1)) > flips[true].cumsum(axis=1)).sum(axis=1).clip(0, 3)
    predictions = Predictions.make(
        class_names=ABCD,
        record_ids=[f"{row:05d}" for row in range(count)],
        labels=[ABCD[label] for label in labels],
        probabilities=probabilities.astype(np.float32),
    )
    return predictions, labels != true


def found(predictions: Predictions) -> np.ndarray:
    return np.asarray([int(each.record_id) for each in doubtful_labels(predictions).candidates])


@pytest.mark.parametrize("seed", range(5))
def test_most_wrong_labels_are_found_and_most_found_are_wrong(seed):
    predictions, flipped = planted(seed=seed)
    rows = found(predictions)
    assert flipped[rows].mean() > 0.88
    assert flipped[rows].sum() / flipped.sum() > 0.72


@pytest.mark.parametrize("flips", [ANY_OTHER, ONE_OTHER], ids=["any", "one"])
@pytest.mark.parametrize("seed", range(5))
def test_more_are_wrong_than_among_as_many_of_the_largest_loss(seed, flips):
    predictions, flipped = planted(seed=seed, flips=flips)
    rows = found(predictions)
    worst = np.argsort(-losses(predictions.probabilities, predictions.label_indices()))[: len(rows)]
    assert flipped[rows].mean() >= flipped[worst].mean()


def test_the_first_candidates_are_surer_than_the_last():
    predictions, flipped = planted()
    rows = found(predictions)
    assert flipped[rows[:50]].mean() > flipped[rows[-50:]].mean()


@pytest.mark.parametrize("seed", range(5))
def test_the_estimated_number_is_about_that_of_the_wrong_labels(seed):
    predictions, flipped = planted(seed=seed, skill=(4.5,) * 4)
    assert doubtful_labels(predictions).estimated == pytest.approx(flipped.sum(), rel=0.1)


def test_the_estimate_tells_which_class_is_taken_for_which():
    predictions, _ = planted(flips=np.eye(4), skill=(5,) * 4)
    labels = predictions.table["label"].to_list()
    moved = [row for row, label in enumerate(labels) if label == "b"][:100]
    for row in moved:
        labels[row] = "a"
    noisy = Predictions.make(
        class_names=ABCD,
        record_ids=predictions.table["record_id"].to_list(),
        labels=labels,
        probabilities=predictions.probabilities,
    )
    wrong = np.asarray(doubtful_labels(noisy).wrong)
    assert np.unravel_index(wrong.argmax(), wrong.shape) == (0, 1)
    assert wrong[0, 1] == pytest.approx(100, rel=0.25)


def test_a_candidate_names_the_likelier_class():
    predictions = Predictions.make(
        class_names=("a", "b"),
        record_ids=["1", "2", "3", "4", "wrong"],
        labels=["a", "a", "b", "b", "a"],
        probabilities=np.asarray(
            [[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.3, 0.7], [0.1, 0.9]], np.float32
        ),
    )
    (candidate,) = doubtful_labels(predictions).candidates
    assert (candidate.record_id, candidate.label, candidate.predicted) == ("wrong", "a", "b")
    assert candidate.margin == pytest.approx(-0.8)


def test_classes_of_few_records_are_named():
    predictions, _ = planted(count=200, shares=(0.45, 0.3, 0.2, 0.05))
    assert "d" in doubtful_labels(predictions).too_few


def test_a_class_without_records_is_never_the_likelier_one():
    predictions, _ = planted(shares=(0.5, 0.5, 0, 0), flips=np.eye(4))
    assert {each.predicted for each in doubtful_labels(predictions).candidates} <= {"a", "b"}


def test_the_answer_is_the_same_each_time():
    predictions, _ = planted()
    assert doubtful_labels(predictions) == doubtful_labels(predictions)


def test_the_answer_survives_json():
    answer = doubtful_labels(planted(count=300)[0])
    assert LabelNoise.from_dict(json.loads(json.dumps(answer.to_dict()))) == answer
