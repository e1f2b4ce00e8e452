from __future__ import annotations

import json
from dataclasses import replace
from datetime import date

import numpy as np
import polars as pl
import pytest
from scipy.stats import hypergeom
from sklearn import metrics as peer

from sightline.errors import DataError
from sightline.judging.evaluation.slices import cut, slices
from sightline.judging.evaluation.stratified import p_value
from sightline.records import Decision, Predictions, Slice

TWO = ("healthy", "ill")


def drawn(
    count: int = 600, *, seed: int = 0, names=TWO, groups: int = 0, worse=None, by: float = 1.5
) -> Predictions:
    """Return predictions right about 8 times of 10, less often where `worse` says so.

    Args:
        count: Records.
        seed: Of the draws.
        names: Classes, the later the rarer.
        groups: Of how many groups the records are, which are hard alike; 0 for none.
        worse: (N,) where the true class is less likely.
        by: How much less, in logits.
    """
    rng = np.random.default_rng(seed)
    shares = np.asarray([0.6, 0.3, 0.1][: len(names)])
    group = np.sort(rng.integers(0, groups or count, count)) if groups else np.arange(count)
    labels = rng.choice(len(names), count, p=shares / shares.sum())[group]
    skill = np.asarray([2.0, 1.2, 0.8])[labels] + (rng.normal(size=count)[group] if groups else 0)
    if worse is not None:
        skill = skill - by * worse
    logits = (
        rng.normal(size=(count, len(names))) + skill[:, np.newaxis] * np.eye(len(names))[labels]
    )
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return Predictions.make(
        class_names=names,
        record_ids=ids(count),
        labels=[names[label] for label in labels],
        probabilities=probabilities.astype(np.float32),
        groups=[f"g{each}" for each in group] if groups else None,
    )


def ids(count: int) -> list[str]:
    return [f"{row:05d}" for row in range(count)]


def columns(count: int = 600, seed: int = 0, **more) -> pl.DataFrame:
    """Return a table of a column of each kind, none of which has to do with the predictions."""
    rng = np.random.default_rng((seed, 1))
    return pl.DataFrame(
        {
            "record_id": ids(count),
            "age": rng.integers(18, 90, count),
            "sex": rng.choice(["female", "male"], count),
            "site": rng.choice(list("pqrst"), count, p=[0.4, 0.3, 0.15, 0.1, 0.05]),
            "flash": rng.random(count) < 0.3,
            **more,
        }
    )


def one(found: tuple[Slice, ...], column: str, value: str) -> Slice:
    (match,) = [each for each in found if (each.column, each.value) == (column, value)]
    return match


# --- how columns are cut ---------------------------------------------------------------


def parts(values, dtype=None) -> dict[str, int]:
    found = cut(pl.Series("x", values, dtype))
    assert np.stack([inside for _, inside in found]).sum(axis=0).tolist() == [1] * len(values)
    return {name: int(inside.sum()) for name, inside in found}


def test_many_numbers_are_cut_at_their_quartiles():
    assert parts(range(100)) == {"0 to 24": 25, "25 to 49": 25, "50 to 74": 25, "75 to 99": 25}


def test_bins_of_many_equal_numbers_are_fewer():
    assert parts([5] * 60 + list(range(10, 40))) == {"5": 60, "10 to 17": 8, "18 to 39": 22}


def test_few_numbers_are_values_in_their_order():
    assert parts([10, 9, 10, 2]) == {"2": 1, "9": 1, "10": 2}


def test_fractions_are_told_in_four_digits():
    assert list(parts([k / 7 for k in range(12)])) == [
        "0 to 0.2857", "0.4286 to 0.7143", "0.8571 to 1.143", "1.286 to 1.571",
    ]  # fmt: skip


def test_dates_are_cut_like_numbers():
    days = [date(2020, 1, 1 + k) for k in range(12)]
    assert next(iter(parts(days))) == "2020-01-01 to 2020-01-03"


def test_texts_fall_by_frequency_then_by_name():
    assert parts(["b", "c", "a", "c"]) == {"c": 2, "a": 1, "b": 1}


def test_of_many_texts_the_rare_ones_are_together():
    values = [f"s{k:02d}" for k in range(30) for _ in range(30 - k)]
    found = parts(values)
    assert list(found)[:2] == ["s00", "s01"]
    assert (len(found), list(found)[-1], found["(other)"]) == (20, "(other)", sum(range(1, 12)))


def test_what_is_not_known_is_a_part_of_its_own():
    assert parts([1.0, None, float("nan"), 2.0]) == {"1": 1, "2": 1, "(unknown)": 2}


def test_a_value_that_reads_like_no_value_is_told_apart():
    table = columns(site=["(unknown)"] * 200 + ["x"] * 200 + [None] * 200)
    found = {each.value: each for each in slices(drawn(), table) if each.column == "site"}
    assert {name: (each.count, each.no_value) for name, each in found.items()} == {
        '"(unknown)"': (200, False), "x": (200, False), "(unknown)": (200, True),
    }  # fmt: skip


def test_yes_and_no_are_two_parts():
    assert parts([True, False, None, True]) == {"true": 2, "false": 1, "(unknown)": 1}


def test_a_column_of_lists_is_refused():
    with pytest.raises(ValueError, match="column 'x' is of List"):
        cut(pl.Series("x", [[1], [2]]))


# --- figures ---------------------------------------------------------------------------


def test_figures_agree_with_scikit_learn():
    predictions, table = drawn(), columns()
    labels, guessed = predictions.label_indices(), predictions.predicted_indices()
    inside = (table["site"] == "p").to_numpy()
    found = one(slices(predictions, table), "site", "p")
    assert {name: each.value for name, each in found.metrics.items()} == pytest.approx(
        {
            "accuracy": peer.accuracy_score(labels[inside], guessed[inside]),
            "recall": peer.recall_score(labels[inside], guessed[inside]),
            "specificity": peer.recall_score(labels[inside], guessed[inside], pos_label=0),
            "roc_auc": peer.roc_auc_score(labels[inside], predictions.probabilities[inside, 1]),
        }
    )


def test_of_several_classes_the_balanced_accuracy_is_given():
    predictions, table = drawn(names=("a", "b", "c")), columns()
    labels, guessed = predictions.label_indices(), predictions.predicted_indices()
    inside = (table["sex"] == "male").to_numpy()
    found = one(slices(predictions, table), "sex", "male").metrics
    expected = peer.balanced_accuracy_score(labels[inside], guessed[inside])
    assert found["balanced_accuracy"].value == pytest.approx(expected)


def test_every_figure_lies_in_its_interval():
    for each in slices(drawn(), columns()):
        for figure in each.metrics.values():
            assert figure.low is None or figure.low <= figure.value <= figure.high


@pytest.mark.parametrize("names", [TWO, ("a", "b", "c")])
def test_one_answer_alone_makes_no_figure_of_a_slice_certain(names):
    predictions = drawn(names=names)
    constant = np.eye(len(names), dtype=np.float32)[np.zeros(600, int)]
    for each in slices(replace(predictions, probabilities=constant), columns()):
        figures = {**each.metrics, "difference": each.difference}
        sure = {name for name, figure in figures.items() if figure.low == figure.high is not None}
        assert not sure


def test_a_slice_of_few_records_has_no_interval_and_no_test():
    table = columns(rare=["yes"] * 20 + ["no"] * 580)
    found = one(slices(drawn(), table), "rare", "yes")
    assert found.metrics["accuracy"].note == "too few to say: 20 images, 30 are needed"
    assert (found.p_value, found.differs) == (None, False)


def test_a_column_of_one_value_makes_no_slice():
    found = slices(drawn(), columns(camera=["x"] * 600))
    assert {each.column for each in found} == {"age", "sex", "site", "flash"}


def test_a_record_that_the_table_lacks_is_unknown():
    found = slices(drawn(), columns().head(500))
    assert one(found, "sex", "(unknown)").count == 100


def test_the_difference_respects_the_mix_of_classes():
    decision = Decision("threshold", class_index=1, threshold=0.95)  # misses many of the ill
    predictions = replace(drawn(2000), decision=decision)
    site = ["mostly ill" if (label == "ill") == (row % 5 > 0) else "mostly healthy"
            for row, label in enumerate(predictions.table["label"])]  # fmt: skip
    table = pl.DataFrame({"record_id": ids(2000), "site": site})
    found = one(slices(predictions, table), "site", "mostly ill")
    labels = predictions.label_indices()
    right = predictions.predicted_indices() == labels
    inside = np.asarray([each == "mostly ill" for each in site])
    assert right[inside].mean() - right[~inside].mean() < -0.15
    assert found.difference.value == pytest.approx(0, abs=0.03)
    assert not found.differs


# --- the test --------------------------------------------------------------------------


def test_a_bad_slice_is_found():
    table = columns()
    worse = (table["site"] == "q").to_numpy()
    found = slices(drawn(worse=worse), table)
    bad = [each for each in found if each.differs and each.difference.value < 0]
    assert [(each.column, each.value) for each in bad] == [("site", "q")]
    assert one(found, "site", "q").difference.high < 0


def test_a_bad_slice_of_whole_groups_is_found():
    predictions = drawn(1200, groups=300)
    bad = np.asarray([int(group[1:]) % 4 == 0 for group in predictions.table["group"]])
    table = columns(1200).with_columns(
        scanner=pl.Series(bad).replace_strict({True: "old", False: "new"})
    )
    found = slices(drawn(1200, groups=300, worse=bad, by=2.5), table)
    assert one(found, "scanner", "old").differs


def test_the_test_of_one_class_is_that_of_the_hypergeometric_distribution():
    rng = np.random.default_rng(0)
    for _ in range(20):
        inside, right = rng.random(80) < 0.3, rng.random(80) < 0.8
        chances = hypergeom(80, right.sum(), inside.sum())
        hits = np.arange(81)
        far = np.abs(hits - chances.mean()) >= abs((inside & right).sum() - chances.mean()) - 1e-9
        found = p_value(inside, np.zeros(80, np.int64), right, None)
        assert found == pytest.approx(chances.pmf(hits)[far].sum())


def test_the_test_of_several_classes_is_that_of_permutations():
    rng = np.random.default_rng(0)
    labels, inside = np.repeat([0, 1], [5, 3]), rng.random(8) < 0.5
    right = np.asarray([1, 1, 0, 0, 1, 0, 1, 0], bool)
    expected = sum((inside & own).sum() * right[own].mean() for own in (labels == 0, labels == 1))
    distances = []
    for _ in range(20_000):
        shuffled = inside.copy()
        for own in (labels == 0, labels == 1):
            shuffled[own] = rng.permutation(inside[own])
        distances.append(abs((shuffled & right).sum() - expected))
    as_far = np.mean(np.asarray(distances) >= abs((inside & right).sum() - expected) - 1e-9)
    assert p_value(inside, labels, right, None) == pytest.approx(as_far, abs=0.015)


def test_groups_of_one_change_nothing():
    rng = np.random.default_rng(0)
    labels, inside, right = rng.integers(0, 2, 500), rng.random(500) < 0.3, rng.random(500) < 0.8
    exact = p_value(inside, labels, right, None)
    assert p_value(inside, labels, right, np.arange(500)) == exact


@pytest.mark.parametrize("seed", range(5))
def test_mates_that_are_right_together_count_about_once(seed):
    rng = np.random.default_rng(seed)
    groups, labels = np.repeat(np.arange(200), 5), np.zeros(1000, np.int64)
    inside, right = (rng.random(200) < 0.5)[groups], (rng.random(200) < 0.7)[groups]
    once = p_value(inside[::5], labels[::5], right[::5], None)
    assert p_value(inside, labels, right, groups) == pytest.approx(once, abs=0.1)


def test_what_is_right_everywhere_does_not_differ():
    inside = np.arange(100) < 40
    for units in (None, np.arange(100) // 2):
        assert p_value(inside, np.zeros(100, np.int64), np.ones(100, bool), units) == 1.0


def test_a_hundred_thousand_records_can_be_tested_exactly():
    rng = np.random.default_rng(0)
    inside, right = rng.random(100_000) < 0.3, rng.random(100_000) < 0.9
    assert 0 < p_value(inside, np.zeros(100_000, np.int64), right, None) <= 1


def test_a_part_and_its_complement_count_once():
    table = columns().select("record_id", "sex")
    female, male = slices(drawn(), table)
    assert female.p_value == pytest.approx(male.p_value)
    assert female.corrected == pytest.approx(female.p_value)


def test_what_was_looked_at_beside_it_makes_a_slice_less_sure():
    alone = slices(drawn(), columns().select("record_id", "flash"))[0]
    among = one(slices(drawn(), columns()), "flash", alone.value)
    assert (among.p_value, among.corrected) != (alone.p_value, alone.corrected)
    assert among.p_value == alone.p_value


@pytest.mark.slow
@pytest.mark.parametrize("skill", [0.0, 3.0])
@pytest.mark.parametrize(("groups", "size"), [(40, 5), (60, 20), (300, 3)])
def test_of_null_slices_of_groups_no_more_than_five_of_a_hundred_differ(groups, size, skill):
    rng = np.random.default_rng((groups, int(skill)))
    found = []
    for _ in range(1000):
        group = np.repeat(np.arange(groups), rng.geometric(1 / size, groups))
        labels = rng.choice(3, groups, p=[0.7, 0.2, 0.1])[group]
        logit = rng.normal(0, 1.5, groups)[group] + np.asarray([2.5, 1.0, 0.0])[labels] + skill
        right = rng.random(len(group)) < 1 / (1 + np.exp(-logit))
        inside = (rng.random(groups) < 0.3)[group]
        found.append(p_value(inside, labels, right, group) < 0.05)
    assert np.mean(found) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / len(found))


@pytest.mark.slow
@pytest.mark.parametrize("groups", [0, 150])
def test_of_null_slices_no_more_than_five_of_a_hundred_tables_raise_an_alarm(groups):
    rounds = 400
    alarms = sum(
        any(each.differs for each in slices(drawn(seed=seed, groups=groups), columns(seed=seed)))
        for seed in range(rounds)
    )
    assert alarms / rounds <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / rounds)


# --- the rest --------------------------------------------------------------------------


def test_slices_survive_json():
    for each in slices(drawn(), columns(rare=["yes"] * 20 + ["no"] * 580)):
        assert Slice.from_dict(json.loads(json.dumps(each.to_dict()))) == each


def test_a_table_without_record_id_is_refused():
    with pytest.raises(ValueError, match=r"columns must have record_id of text, got \{'age'"):
        slices(drawn(), pl.DataFrame({"age": [1]}))


def test_a_record_that_is_there_twice_is_refused():
    with pytest.raises(DataError, match="record '00000' is in the table of columns more than once"):
        slices(drawn(), pl.concat([columns(), columns().head(1)]))
