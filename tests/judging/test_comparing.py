from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest

from sightline.errors import DataError
from sightline.judging.evaluation import compare, compare_runs, evaluate
from sightline.judging.evaluation.comparing import holm
from sightline.records import Comparison, Decision, Predictions

ABC = ("a", "b", "c")


def drawn(
    skill: float, *, count: int = 400, seed: int = 0, own: int = 1, groups: int = 0
) -> Predictions:
    """Return predictions of a model of some skill; what makes a record hard is the same for all.

    Args:
        skill: How far the true class is above the others.
        count: Records.
        seed: Of the records.
        own: Of what is the model's alone.
        groups: Of how many groups they are; 0 for none. A group's records are hard alike.
    """
    rng = np.random.default_rng((seed, 0))
    labels = rng.integers(0, 3, count)
    group = rng.integers(0, groups, count) if groups else np.arange(count)
    labels = labels[group] if groups else labels
    hard = rng.normal(size=count)[group]
    more = np.random.default_rng((seed, own)).normal(size=(count, 3))
    if groups:
        more = more + np.random.default_rng((seed, own, 1)).normal(size=(count, 3))[group]
    logits = more + (skill + hard)[:, np.newaxis] * np.eye(3)[labels]
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return Predictions.make(
        class_names=ABC,
        record_ids=[f"{row:05d}" for row in range(count)],
        labels=[ABC[label] for label in labels],
        probabilities=shares.astype(np.float32),
        groups=[f"g{each}" for each in group] if groups else None,
    )


def right(predictions: Predictions) -> np.ndarray:
    return predictions.predicted_indices() == predictions.label_indices()


def test_values_are_those_of_evaluate():
    one, two = drawn(1.0, own=1), drawn(1.5, own=2)
    found = compare(one, two)
    for place, each in enumerate((one, two)):
        metrics = evaluate(each, source="test").metrics
        for name, pair in found.values.items():
            assert pair[place] == pytest.approx(metrics[name])


def test_differences_are_the_second_less_the_first():
    found = compare(drawn(1.0, own=1), drawn(1.5, own=2))
    for name, (first, second) in found.values.items():
        assert found.differences[name].value == pytest.approx(second - first)


def test_a_model_does_not_differ_from_itself():
    found = compare(drawn(1.0), drawn(1.0))
    assert {each.value for each in found.differences.values()} == {0.0}
    assert (found.mcnemar, found.better) == (1.0, "")
    assert found.words() == (
        "second against first: no difference that this test set can show: "
        "accuracy +0.0 points (95 % interval -0.7 to +0.7)"
    )


def test_a_better_model_is_named():
    found = compare(drawn(0.5, own=1), drawn(2.5, own=2), names=("small", "large"))
    assert found.better == "large"
    assert found.words().startswith("large against small: large is better: accuracy +")


def test_pairing_makes_a_difference_surer():
    one, two = drawn(1.0, own=1), drawn(1.5, own=2)
    found = compare(one, two).differences["accuracy"]
    spread = np.hypot(*(right(each).std() / np.sqrt(len(one)) for each in (one, two)))
    assert found.high - found.low < 0.9 * 2 * 1.96 * spread


@pytest.mark.parametrize("seed", range(5))
def test_mcnemar_is_the_exact_binomial_test(seed):
    one, two = drawn(1.0, seed=seed, own=1), drawn(1.3, seed=seed, own=2)
    found = compare(one, two)
    b, c = (right(one) & ~right(two)).sum(), (right(two) & ~right(one)).sum()
    assert (found.first_alone_right, found.second_alone_right) == (b, c)
    assert found.mcnemar == pytest.approx(binomtest(b, b + c).pvalue)


def test_each_model_is_judged_by_its_own_decision():
    one = drawn(1.0)
    two = replace(one, decision=Decision("threshold", class_index=0, threshold=0.05))
    found = compare(one, two)
    assert found.values["accuracy"][1] == evaluate(two, source="test").metrics["accuracy"]
    assert found.differences["log_loss"].value == 0


def test_records_that_one_alone_judged_are_left_out_and_counted():
    whole = drawn(1.0)
    found = compare(whole.chosen(np.arange(300)), whole.chosen(np.arange(50, 400)))
    assert (found.count, found.only_first, found.only_second) == (250, 50, 100)


def test_the_order_of_the_records_does_not_matter():
    one, two = drawn(1.0, own=1), drawn(1.5, own=2)
    assert compare(one, two.chosen(np.arange(400)[::-1])) == compare(one, two)


def test_groups_are_resampled_whole():
    found = compare(drawn(1.0, own=1, groups=40), drawn(1.5, own=2, groups=40))
    alone = compare(drawn(1.0, own=1), drawn(1.5, own=2))
    assert (found.groups, alone.groups) == (40, 0)


def test_with_groups_the_p_value_does_not_take_images_as_independent():
    found = compare(drawn(1.0, own=1, groups=40), drawn(1.6, own=2, groups=40))
    assert found.p_value > 2 * found.mcnemar


def test_a_rare_class_leaves_only_what_rests_on_all_records():
    one, two = drawn(1.0, own=1), drawn(1.5, own=2)
    rows = np.flatnonzero((one.label_indices() < 2) | (np.arange(400) < 30))
    found = compare(one.chosen(rows), two.chosen(rows)).differences
    assert found["accuracy"].low is not None
    assert found["roc_auc"].note.startswith("too few to say: ")


def test_several_runs_are_compared_with_the_first():
    runs = {name: drawn(1.0 + 0.1 * k, own=k) for k, name in enumerate(("x", "y", "z"), start=1)}
    found = compare_runs(runs)
    assert [(each.names, each.pairs) for each in found] == [(("x", "y"), 2), (("x", "z"), 2)]
    assert [each.corrected for each in found] == holm([each.p_value for each in found])


def test_a_difference_that_does_not_stand_the_correction_is_not_called_better():
    found = compare(drawn(1.0, own=1), drawn(1.5, own=2))
    found = replace(found, corrected=0.2, pairs=9)
    assert found.better == ""
    assert "p 0.2 corrected for 9 pairs" in found.words()


def test_what_differs_beside_the_accuracy_is_said():
    one = drawn(1.5)
    shares = one.probabilities.astype(np.float64) ** 6
    sharp = replace(
        one, probabilities=(shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)
    )
    words = compare(one, sharp).words()
    assert "no difference in accuracy that this test set can show" in words
    assert "; of 5 other figures: " in words
    assert "log loss +1" in words


def test_holm_multiplies_the_smallest_most_and_keeps_the_order():
    assert holm([0.04, 0.01, 0.03, 0.6]) == pytest.approx([0.09, 0.04, 0.09, 0.6])


def test_a_comparison_survives_json():
    found = compare(drawn(1.0, own=1), drawn(1.5, own=2))
    assert Comparison.from_dict(json.loads(json.dumps(found.to_dict()))) == found


@pytest.mark.slow
@pytest.mark.parametrize("groups", [0, 60])
def test_the_paired_interval_of_the_accuracy_holds_the_truth(groups):
    truth = np.mean([right(drawn(1.3, count=20000, seed=k, own=2)).mean()
                     - right(drawn(1.0, count=20000, seed=k, own=1)).mean()
                     for k in range(20)]) if not groups else None  # fmt: skip
    rounds, held = 1000, 0
    if groups:
        truth = np.mean([right(drawn(1.3, seed=9000 + k, own=2, groups=groups)).mean()
                         - right(drawn(1.0, seed=9000 + k, own=1, groups=groups)).mean()
                         for k in range(4000)])  # fmt: skip
    for seed in range(rounds):
        one = drawn(1.0, count=240, seed=seed, own=1, groups=groups)
        two = drawn(1.3, count=240, seed=seed, own=2, groups=groups)
        each = compare(one, two).differences["accuracy"]
        held += each.low <= truth <= each.high
    assert 0.93 <= held / rounds <= 0.97


# --- refusals --------------------------------------------------------------------------


def test_other_classes_are_refused(make_predictions):
    message = r"cannot be compared: their classes are \['a', 'b', 'c'\] and \['a', 'b'\]"
    with pytest.raises(DataError, match=message):
        compare(drawn(1.0), make_predictions(("a", "b")))


def test_no_record_in_common_is_refused():
    whole = drawn(1.0)
    with pytest.raises(DataError, match=r"of 100 and 300 records they have none in common. Judge"):
        compare(whole.chosen(np.arange(100)), whole.chosen(np.arange(100, 400)))


def test_a_record_with_two_labels_is_refused():
    one = drawn(1.0)
    labels = one.table["label"].to_list()
    labels[7] = {"a": "b", "b": "c", "c": "a"}[labels[7]]
    two = Predictions.make(
        class_names=ABC, record_ids=one.table["record_id"].to_list(), labels=labels,
        probabilities=one.probabilities,
    )  # fmt: skip
    with pytest.raises(DataError, match=r"record '00007' has label .* in first and .* in second"):
        compare(one, two)


def test_a_record_that_is_there_twice_is_refused():
    one = drawn(1.0)
    with pytest.raises(DataError, match="record '00003' is in the predictions of second more than"):
        compare(one, one.chosen(np.asarray([1, 3, 3])))


def test_one_run_alone_is_refused():
    with pytest.raises(ValueError, match=r"two runs or more are compared, got \['x'\]"):
        compare_runs({"x": drawn(1.0)})


def hardly_apart(seed: int) -> tuple[Predictions, Predictions]:
    """Return two models of 200 images that differ on one in 70: the first is better by 0.005."""
    rng = np.random.default_rng((5, seed))
    labels, chance = np.repeat([0, 1], (140, 60)), rng.random(200)
    first = np.where(rng.random(200) < 0.7, labels, 1 - labels)
    lost, won = (
        (first == labels) & (chance < 0.01 / 0.7),
        (first != labels) & (chance < 0.005 / 0.3),
    )
    second = np.where(lost | won, 1 - first, first)
    noise = [np.eye(2)[answers] + rng.random((200, 2)) / 2 for answers in (first, second)]
    one, two = (
        Predictions.make(
            class_names=("a", "b"),
            record_ids=[f"{row}" for row in range(200)],
            labels=["ab"[label] for label in labels],
            probabilities=(odds / odds.sum(axis=1, keepdims=True)).astype(np.float32),
        )
        for odds in noise
    )
    return one, two


@pytest.mark.slow
def test_models_that_hardly_differ_are_not_said_to_be_equal_for_certain():
    found = [compare(*hardly_apart(seed)).differences["accuracy"] for seed in range(300)]
    held = np.mean([each.low <= -0.005 <= each.high for each in found])
    assert held >= 0.93 - 3 * np.sqrt(0.95 * 0.05 / 300)
