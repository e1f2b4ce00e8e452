from __future__ import annotations

import random
from collections import defaultdict

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from split_sets import Row, audited, image, seeds, splits_of, tied_sets, together

from sightline.data.splits import (
    SplitShares,
    assign,
    assign_folds,
    complete,
    folds_in_words,
)
from sightline.errors import DataError, RecipeError
from sightline.records import Manifest


def folds_of(manifest: Manifest) -> dict[str, int | None]:
    return dict(manifest.table.select("record_id", "fold").iter_rows())


def plain(count: int, label: str = "a") -> list[Row]:
    return [image(f"{label}{number:03d}", label) for number in range(count)]


@settings(deadline=None)
@given(tied_sets(), st.integers(2, 6), st.sampled_from([0.0, 0.2]), st.integers(0, 2), seeds)
def test_folds_are_disjoint_cover_all_and_keep_units_whole(
    rows: list[Row], count: int, test_share: float, repeat: int, seed: int
) -> None:
    try:
        made = assign_folds(audited(rows), count, seed=seed, repeat=repeat, test_share=test_share)
    except DataError:
        return
    places = {
        name: (made_split, folds_of(made)[name]) for name, made_split in splits_of(made).items()
    }
    of_unit = defaultdict(set)
    for name, unit in together(rows).items():
        of_unit[unit].add(places[name])
    assert all(len(each) == 1 for each in of_unit.values())
    expected = {("validation", 0), *(("train", fold) for fold in range(1, count))}
    assert set(places.values()) == expected | ({("test", None)} if test_share else set())
    classes = made.table.drop_nulls("fold").group_by("label").agg(pl.col("fold").n_unique())
    assert (classes["fold"] == count).all()


def test_folds_of_single_images_are_even_in_every_class() -> None:
    made = assign_folds(audited(plain(50) + plain(23, "b")), 5, seed=0)
    counts = made.table.group_by("label", "fold").len()
    assert sorted(counts.filter(pl.col("label") == "a")["len"]) == [10] * 5
    assert sorted(counts.filter(pl.col("label") == "b")["len"]) == [4, 4, 5, 5, 5]


@settings(deadline=None)
@given(st.lists(st.integers(5, 150), min_size=1, max_size=5), st.integers(2, 5), seeds)
def test_folds_of_single_images_are_within_an_image_of_each_other(
    sizes: list[int], count: int, seed: int
) -> None:
    rows = [row for size, label in zip(sizes, "abcde", strict=False) for row in plain(size, label)]
    counts = assign_folds(audited(rows), count, seed=seed).table.group_by("label", "fold").len()
    spread = counts.group_by("label").agg(pl.col("len").max() - pl.col("len").min())
    assert (spread["len"] <= 1).all()


@settings(deadline=None, max_examples=40, derandomize=True)
@given(seeds, st.sampled_from([1, 4, 12, 40]), st.sampled_from([40, 100, 250]))
def test_folds_of_groups_are_about_even(seed: int, most: int, groups: int) -> None:
    chance = random.Random(seed)
    rows = [
        image(f"{group}-{place}", chance.choice("aab") if group % 3 else "a", group=f"g{group}")
        for group in range(groups)
        for place in range(chance.randint(1, most))
    ]
    try:
        made = assign_folds(audited(rows), 5, seed=seed)
    except DataError:
        return
    sizes = made.table.group_by("fold").len()["len"]
    assert max(sizes) - min(sizes) <= 2 * most + 0.1 * len(rows) / 5 + 2


@settings(deadline=None, max_examples=60, derandomize=True)
@given(
    seeds,
    st.sampled_from([(500, 1), (500, 2), (1000, 1), (1000, 4)]),
    st.sampled_from([1, 2, 5]),
    st.sampled_from([0.0, 0.15]),
)
def test_more_images_change_the_fold_of_few_of_the_others(
    seed: int, set_of: tuple[int, int], percent: int, test_share: float
) -> None:
    (count, most), chance = set_of, random.Random(seed)
    rows: list[Row] = []
    while len(rows) < round(count * (1 + percent / 100)):
        label, group = chance.choice("aaabbc"), f"{seed}-{len(rows)}"
        rows += [
            image(f"{group}-{place}", label if chance.random() < 0.9 else "c", group=group)
            for place in range(chance.randint(1, most))
        ]
    before, after = (
        assign_folds(audited(part), 5, seed=0, test_share=test_share)
        for part in (rows[:count], rows)
    )
    one, other = folds_of(before), folds_of(after)
    assert sum(one[name] != other[name] for name in one) <= (percent + 2) / 100 * count


def test_a_class_in_few_uneven_groups_is_in_every_fold() -> None:
    rows = [image(f"r{n}", "rare", group=f"g{max(0, n - 6)}") for n in range(11)]
    made = assign_folds(audited(plain(500) + rows), 5, seed=0)
    assert made.table.filter(pl.col("label") == "rare")["fold"].n_unique() == 5


def test_a_large_group_leaves_the_other_folds_even() -> None:
    rows = [image(f"h{n:02d}", "a", group="huge") for n in range(40)] + plain(40)
    sizes = sorted(assign_folds(audited(rows), 5, seed=0).table.group_by("fold").len()["len"])
    assert sizes == [10, 10, 10, 10, 40]


def test_another_repeat_is_another_division_with_the_same_test_split() -> None:
    manifest = audited(plain(60) + plain(60, "b"))
    one, two = (
        assign_folds(manifest, 3, seed=7, repeat=repeat, test_share=0.2) for repeat in (0, 1)
    )
    assert folds_of(one) != folds_of(two)
    assert one.of_split("test").equals(two.of_split("test"))
    assert len(one.of_split("test")) == 24


def test_the_test_split_beside_folds_is_the_one_that_a_holdout_has() -> None:
    manifest = audited(plain(60) + plain(60, "b"))
    folds = assign_folds(manifest, 3, seed=7, test_share=0.2).of_split("test")["record_id"]
    holdout = assign(manifest, SplitShares(test=0.2), seed=7).of_split("test")["record_id"]
    assert folds.to_list() == holdout.to_list()


def test_too_many_folds_are_refused_with_the_largest_number_that_is_possible() -> None:
    manifest = audited(plain(50) + plain(4, "b"))
    message = (
        r"each of 5 folds, and a group is never divided; in /r 'b' has 4 groups\. The lar.* 4\."
    )
    with pytest.raises(DataError, match=message):
        assign_folds(manifest, 5, seed=0)
    assert assign_folds(manifest, 4, seed=0).table["fold"].n_unique() == 4


def test_a_minimum_in_every_fold_is_refused_with_the_largest_number_of_folds() -> None:
    with pytest.raises(DataError, match=r"cannot have 5 images in each of 5 folds\. .* is 4\."):
        assign_folds(audited(plain(50) + plain(20, "b")), 5, seed=0, minimum=5)


def test_one_group_cannot_be_folded() -> None:
    with pytest.raises(DataError, match=r"Not even 2 folds are possible"):
        assign_folds(audited(plain(50) + plain(1, "b")), 3, seed=0)


def test_the_test_split_leaves_a_group_of_each_class_to_every_fold() -> None:
    made = assign_folds(audited(plain(50) + plain(4, "b")), 3, seed=0, test_share=0.5)
    assert made.counts().row(1, named=True) == {
        "label": "b", "train": 2, "validation": 1, "test": 1, "total": 4,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"count": 1}, "folds must be 2 or more, got 1"),
        ({"minimum": 0}, "minimum must be 1 or more, got 0"),
        ({"repeat": -1}, "repeat must be 0 or more, got -1"),
        ({"test_share": 1.0}, "the test share must be 0 <= share < 1, got 1.0"),
    ],
)
def test_numbers_out_of_range_are_refused(changes: dict[str, float], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        assign_folds(audited(plain(9)), **{"count": 3, "seed": 0, **changes})  # type: ignore[arg-type]


# --- folds that were given ---------------------------------------------------------------


def test_what_becomes_of_given_folds_is_said() -> None:
    (sentence,) = folds_in_words(audited(plain(4), fold=[1, 2, 1, 2]))
    assert sentence.startswith("Folds were given and no splits: fold 1 is the validation split")


@pytest.mark.parametrize(
    "columns", [{"fold": [None] * 4}, {"fold": [0] * 4, "split": ["test"] * 4}]
)
def test_nothing_is_said_of_folds_that_have_no_effect(columns: dict[str, list[object]]) -> None:
    assert folds_in_words(audited(plain(4), **columns)) == []


def test_a_minimum_is_asked_of_a_validation_fold() -> None:
    manifest = audited(plain(20), fold=[0, 1, 2, 3] * 5)
    with pytest.raises(DataError, match=r"'a' has 5 images in validation"):
        complete(manifest, SplitShares(test=0), seed=0, minimum=6)
