from __future__ import annotations

import itertools
import math
import tracemalloc
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.data.stream import epoch_order
from sightline.data.stream.order import Order
from sightline.data.stream.sampling import Sampling, make_order
from sightline.errors import DataError

MODES = get_args(Sampling)
BY_CLASS = ("class-balanced", "oversample", "undersample")
COUNTS = (4, 6, 10)  # records of the three classes that ROWS has
NUM_MANIFEST = 40
# Twenty rows of a manifest of forty; the others have a class of their own, or no label at all.
ROWS = np.arange(0, NUM_MANIFEST, 2)
LABELS = np.full(NUM_MANIFEST, -1, np.int32)
LABELS[1::4] = 1
LABELS[ROWS] = np.repeat([0, 2, 3], COUNTS)[np.random.default_rng(0).permutation(20)]
WEIGHTS = np.full(NUM_MANIFEST, np.nan, np.float32)
WEIGHTS[ROWS] = np.arange(20) % 5  # four records each of weight 0..4

label_lists = st.lists(st.integers(0, 4), min_size=1, max_size=60)


def order_of(sampling: Sampling, **changes: Any) -> Order:
    values = {"seed": 3, "shuffle": True, "labels": LABELS, "weights": WEIGHTS, **changes}
    return make_order(values.pop("rows", ROWS), sampling=sampling, **values)


def rows_of(order: Order, epoch: int = 0) -> npt.NDArray[np.int64]:
    """Return a whole epoch."""
    return order.rows(epoch, np.arange(len(order)))


def visits(order: Order, epochs: int | range) -> npt.NDArray[np.int64]:
    """Return how often each row of the manifest comes in these epochs: (40,)."""
    numbers = range(epochs) if isinstance(epochs, int) else epochs
    return sum(np.bincount(rows_of(order, epoch), minlength=NUM_MANIFEST) for epoch in numbers)


def excess(counts: npt.NDArray[np.int64], expected: npt.NDArray[np.float64] | float) -> float:
    """Return by how many deviations chi-square is above its mean."""
    freedom = counts.size - 1
    chi_square = float(((counts - expected) ** 2 / expected).sum())
    return (chi_square - freedom) / math.sqrt(2 * freedom)


def order_by(labels: list[int], sampling: Sampling, seed: int = 0) -> Order:
    return make_order(
        np.arange(len(labels)),
        seed=seed,
        shuffle=True,
        sampling=sampling,
        labels=np.array(labels, np.int32),
    )


# --- every kind of sampling ------------------------------------------------------------


@given(
    st.sampled_from(MODES),
    st.integers(0, 2**32 - 1),
    st.integers(0, 500),
    st.integers(1, 30),
    st.data(),
)
def test_a_place_does_not_depend_on_the_others_asked_for(
    sampling: Sampling, seed: int, epoch: int, block: int, data: st.DataObject
) -> None:
    order = order_of(sampling, seed=seed)
    whole = rows_of(order, epoch)
    blocks = [
        order.rows(epoch, np.arange(begin, min(begin + block, len(order))))
        for begin in range(0, len(order), block)
    ]
    assert np.array_equal(np.concatenate(blocks), whole)
    mixed = np.array(data.draw(st.lists(st.integers(0, len(order) - 1))), np.int64)
    assert np.array_equal(order.rows(epoch, mixed), whole[mixed])


@pytest.mark.parametrize("sampling", MODES)
def test_only_rows_of_the_split_come(sampling: Sampling) -> None:
    assert set(rows_of(order_of(sampling)).tolist()) <= set(ROWS.tolist())


@pytest.mark.parametrize("sampling", MODES)
def test_every_epoch_and_every_seed_has_its_own_order(sampling: Sampling) -> None:
    orders = [order_of(sampling, seed=seed) for seed in (0, 1, 2**32 - 1)]
    found = {tuple(rows_of(order, epoch).tolist()) for order in orders for epoch in range(20)}
    assert len(found) == 60


@pytest.mark.parametrize("sampling", MODES)
def test_small_row_numbers_give_the_same_order_as_large(sampling: Sampling) -> None:
    small = rows_of(order_of(sampling, rows=ROWS.astype(np.uint32)))
    assert small.dtype == np.int64
    assert np.array_equal(small, rows_of(order_of(sampling)))


@pytest.mark.parametrize("sampling", MODES)
def test_a_position_past_the_epoch_is_refused(sampling: Sampling) -> None:
    order = order_of(sampling)
    with pytest.raises(ValueError, match=rf"below {len(order)}, .* got {len(order)} at place 1\."):
        order.rows(0, np.array([0, len(order)]))


@pytest.mark.parametrize(
    ("sampling", "length"),
    [
        ("all", 20),
        ("weighted", 20),
        ("class-balanced", 20),
        ("oversample", 30),
        ("undersample", 12),
    ],
)
def test_an_epoch_has_the_length_of_its_sampling(sampling: Sampling, length: int) -> None:
    assert len(order_of(sampling)) == length


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [("all", 0), ("weighted", 8), *((sampling, 4) for sampling in BY_CLASS)],
)
def test_an_order_keeps_the_documented_bytes_a_row(sampling: Sampling, expected: int) -> None:
    rows = np.arange(100_000, dtype=np.uint32)
    labels, weights = (rows % 7).astype(np.int32), np.ones(len(rows), np.float32)
    how = {"rows": rows, "labels": labels, "weights": weights}
    order_of(sampling, **how)  # what is imported or cached once does not count
    tracemalloc.start()
    order = order_of(sampling, **how)
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(order)
    assert kept / len(rows) == pytest.approx(expected, abs=0.1)
    assert peak / len(rows) < 29


# --- all -------------------------------------------------------------------------------


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("length", [0, 20, 1500])
def test_all_is_the_plain_order(shuffle: bool, length: int) -> None:
    rows = 3 * np.arange(length)
    order = make_order(rows, seed=4, shuffle=shuffle)
    expected = epoch_order(rows, seed=4, epoch=6, shuffle=shuffle)
    assert np.array_equal(rows_of(order, 6), expected)


# --- weighted --------------------------------------------------------------------------


def test_weighted_draws_follow_the_weights() -> None:
    found = visits(order_of("weighted"), 1000)[ROWS]
    chances = WEIGHTS[ROWS] / WEIGHTS[ROWS].sum()
    drawn = chances > 0
    assert abs(excess(found[drawn], 20_000 * chances[drawn])) < 4


def test_a_record_of_weight_zero_is_never_drawn() -> None:
    assert not visits(order_of("weighted"), 1000)[ROWS[WEIGHTS[ROWS] == 0]].any()


@given(st.integers(0, 19), st.floats(2**-149, 2**127, width=32))
def test_the_only_record_with_a_weight_is_every_draw(place: int, weight: float) -> None:
    weights = np.zeros(NUM_MANIFEST, np.float32)
    weights[ROWS[place]] = weight
    assert set(rows_of(order_of("weighted", weights=weights)).tolist()) == {ROWS[place]}


def test_weighted_draws_of_neighbouring_places_and_epochs_are_unrelated() -> None:
    order = make_order(
        np.arange(10_000),
        seed=0,
        shuffle=True,
        sampling="weighted",
        weights=np.ones(10_000, np.float32),
    )
    base, following = rows_of(order), rows_of(order, 1)
    found = [np.corrcoef(base[1:], base[:-1])[0, 1], np.corrcoef(base, following)[0, 1]]
    assert np.abs(found).max() < 0.04  # four deviations of 1 / sqrt(10,000)


@pytest.mark.parametrize("weight", [-1.0, math.nan, math.inf])
def test_a_weight_that_is_no_chance_is_refused(weight: float) -> None:
    weights = WEIGHTS.copy()
    weights[[6, 8]] = weight
    message = rf"got {weight} in manifest row 6 \(2 such rows in all\)\. Correct the manifest's"
    with pytest.raises(DataError, match=message):
        order_of("weighted", weights=weights)


def test_weights_that_are_all_zero_are_refused() -> None:
    message = r"weights of 0 in all 20 records, from manifest row 0 on\. Correct the manifest's"
    with pytest.raises(DataError, match=message):
        order_of("weighted", weights=np.zeros(NUM_MANIFEST, np.float32))


# --- by class --------------------------------------------------------------------------


def test_balanced_draws_take_every_class_equally_often() -> None:
    found = visits(order_of("class-balanced"), 1000)
    counts = np.bincount(LABELS[ROWS], found[ROWS])[[0, 2, 3]]
    assert abs(excess(counts, 20_000 / 3)) < 4


@pytest.mark.parametrize("label", [0, 2, 3])
def test_balanced_draws_take_every_record_of_a_class_equally_often(label: int) -> None:
    found = visits(order_of("class-balanced"), 1000)[label == LABELS]
    found = found[found > 0]
    assert len(found) == COUNTS[[0, 2, 3].index(label)]
    assert abs(excess(found, found.sum() / len(found))) < 4


def test_balanced_classes_and_records_are_drawn_apart() -> None:
    # A class and the place in it from one draw would hand the first class early records only.
    order = order_by([0] * 50 + [1] * 50, "class-balanced")
    counts = sum(np.bincount(rows_of(order, epoch), minlength=100) for epoch in range(200))
    assert abs(excess(counts, 200)) < 4


@given(label_lists, st.integers(0, 2**32 - 1), st.integers(0, 500))
def test_oversampling_takes_every_record_as_often_as_its_class_allows(
    labels: list[int], seed: int, epoch: int
) -> None:
    found = np.bincount(rows_of(order_by(labels, "oversample", seed), epoch), minlength=len(labels))
    largest = max(labels.count(label) for label in labels)
    for label in set(labels):
        times = found[np.array(labels) == label]
        assert times.sum() == largest
        assert times.min() == largest // len(times)
        assert times.max() == -(-largest // len(times))


@given(label_lists, st.integers(0, 2**32 - 1), st.integers(0, 500))
def test_undersampling_takes_as_many_of_every_class_and_none_twice(
    labels: list[int], seed: int, epoch: int
) -> None:
    found = rows_of(order_by(labels, "undersample", seed), epoch)
    smallest = min(labels.count(label) for label in labels)
    assert len(set(found.tolist())) == len(found)
    taken = np.array(labels)[found].tolist()
    assert {label: taken.count(label) for label in set(labels)} == dict.fromkeys(labels, smallest)


@pytest.mark.parametrize("sampling", ["oversample", "undersample"])
@pytest.mark.parametrize("begin", [0, 1, 7])
def test_every_record_of_a_class_comes_equally_often_over_time(
    sampling: Sampling, begin: int
) -> None:
    num_epochs = math.lcm(*COUNTS)
    found = visits(order_of(sampling), range(begin, begin + num_epochs))[ROWS]
    quota = {"oversample": 10, "undersample": 4}[sampling]
    expected = num_epochs * quota / np.bincount(LABELS[ROWS])[LABELS[ROWS]]
    assert found.tolist() == expected.tolist()


def test_an_undersampled_class_is_seen_as_a_whole_before_any_record_comes_again() -> None:
    order = order_by([0] * 3 + [1] * 12, "undersample")
    large = [[row for row in rows_of(order, epoch).tolist() if row >= 3] for epoch in range(4)]
    assert sorted(itertools.chain(*large)) == list(range(3, 15))


def test_an_undersampled_class_is_not_taken_in_the_order_of_the_manifest() -> None:
    order = order_by([0] * 50 + [1] * 500, "undersample")
    taken = rows_of(order)
    places = taken[taken >= 50] - 50
    # the mean of 50 of 0..499 is 249.5 and its deviation 19.4
    assert abs(places.mean() - 249.5) < 4 * 19.4
    assert places.max() - places.min() > 400


@pytest.mark.parametrize("sampling", ["oversample", "undersample"])
def test_the_classes_of_an_epoch_are_shuffled(sampling: Sampling) -> None:
    order = order_by([0] * 2000 + [1] * 3000, sampling)
    drawn = rows_of(order) >= 2000
    places = np.arange(len(order))
    pairs = [(drawn, places), (drawn[1:], drawn[:-1]), (drawn, rows_of(order, 1) >= 2000)]
    found = [np.corrcoef(one, other)[0, 1] for one, other in pairs]
    assert np.abs(found).max() < 4 / math.sqrt(len(order))


def test_a_record_left_out_of_one_class_leaves_the_turns_of_another_alone() -> None:
    labels = np.repeat(np.array([0, 1, 2], np.int32), [9, 5, 20])

    def last_class(rows: npt.NDArray[np.int64]) -> list[list[int]]:
        order = order_of("undersample", rows=rows, labels=labels)
        drawn = [rows_of(order, epoch) for epoch in range(6)]
        return [sorted(rows[labels[rows] == 2].tolist()) for rows in drawn]

    assert last_class(np.arange(3, 34)) == last_class(np.arange(34))


@pytest.mark.parametrize("sampling", BY_CLASS)
def test_records_without_a_label_are_refused(sampling: Sampling) -> None:
    labels = LABELS.copy()
    labels[[4, 6]] = -1
    message = rf"'{sampling}' goes by class, got 2 of 20 records without a label\. Label them"
    with pytest.raises(DataError, match=message):
        order_of(sampling, labels=labels)


# --- arguments that do not fit ---------------------------------------------------------


def test_a_sampling_that_does_not_exist_is_refused() -> None:
    message = r"sampling must be one of \('all', .*'undersample'\), got 'some'"
    with pytest.raises(ValueError, match=message):
        make_order(ROWS, seed=0, shuffle=True, sampling="some")  # type: ignore[arg-type]


@pytest.mark.parametrize("sampling", MODES[1:])
def test_sampling_without_a_shuffle_is_refused(sampling: Sampling) -> None:
    message = (
        rf"shuffle=False goes with sampling=\"all\" alone, got sampling='{sampling}'\. Shuffle"
    )
    with pytest.raises(ValueError, match=message):
        order_of(sampling, shuffle=False)


@pytest.mark.parametrize("sampling", MODES[1:])
def test_sampling_from_nothing_is_refused(sampling: Sampling) -> None:
    message = rf"sampling='{sampling}' got a split of 0 records, .* Take another split"
    with pytest.raises(DataError, match=message):
        order_of(sampling, rows=ROWS[:0])


@pytest.mark.parametrize(
    ("sampling", "needed"), [("weighted", "weights"), *((mode, "labels") for mode in BY_CLASS)]
)
def test_a_column_that_is_needed_is_asked_for(sampling: Sampling, needed: str) -> None:
    message = rf"sampling='{sampling}' needs {needed}, got None\. Pass those of all manifest rows"
    with pytest.raises(ValueError, match=message):
        order_of(sampling, **{needed: None})


@pytest.mark.parametrize(("sampling", "name"), [("weighted", "weights"), ("oversample", "labels")])
def test_a_column_of_the_split_alone_is_refused(sampling: Sampling, name: str) -> None:
    column = {"weights": WEIGHTS, "labels": LABELS}[name][ROWS]
    message = rf"{name} must hold one value .* got shape \(20,\) for rows up to 38\. .* not of the"
    with pytest.raises(ValueError, match=message):
        order_of(sampling, **{name: column})


# --- golden ----------------------------------------------------------------------------
# A saved run resumes by drawing its records again. Change these numbers only together with the
# run format version.


@pytest.mark.parametrize("sampling", MODES)
def test_the_records_of_an_epoch_stay_the_same_for_ever(sampling: Sampling) -> None:
    order = (
        order_by([0, 1, 1, 2, 2, 2, 1], sampling) if sampling in BY_CLASS else order_of(sampling)
    )
    assert rows_of(order, 5).tolist()[:12] == RECORDS[sampling]


RECORDS = {
    "all": [36, 26, 4, 30, 24, 2, 0, 12, 34, 22, 8, 28],
    "weighted": [16, 18, 36, 38, 36, 14, 38, 26, 8, 26, 34, 6],
    "class-balanced": [0, 1, 3, 6, 3, 4, 6],
    "oversample": [1, 4, 2, 6, 0, 3, 5, 0, 0],
    "undersample": [4, 0, 1],
}
