from __future__ import annotations

import itertools
import random

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.data.stream import epoch_order, keys
from sightline.data.stream.order import shard

seeds = st.integers(0, 2**32 - 1)
epochs = st.integers(0, 500)
row_sets = st.sets(st.integers(0, 2**40), max_size=200).map(
    lambda rows: np.array(sorted(rows), np.int64)
)


def shuffled(rows: npt.NDArray[np.int64], seed: int, epoch: int) -> list[int]:
    return epoch_order(rows, seed=seed, epoch=epoch, shuffle=True).tolist()


# --- the order of an epoch -------------------------------------------------------------


@given(row_sets, seeds, epochs)
def test_order_visits_every_row_once(rows: npt.NDArray[np.int64], seed: int, epoch: int) -> None:
    assert sorted(shuffled(rows, seed, epoch)) == rows.tolist()


@given(row_sets, seeds, epochs)
def test_order_is_a_function_of_seed_and_epoch(
    rows: npt.NDArray[np.int64], seed: int, epoch: int
) -> None:
    assert shuffled(rows, seed, epoch) == shuffled(rows.copy(), seed, epoch)


@given(row_sets, seeds, epochs, st.randoms(use_true_random=False))
def test_rows_that_are_left_out_do_not_change_the_order_of_the_others(
    rows: npt.NDArray[np.int64], seed: int, epoch: int, chance: random.Random
) -> None:
    kept = [row for row in rows.tolist() if chance.random() < 0.5]
    expected = [row for row in shuffled(rows, seed, epoch) if row in set(kept)]
    assert shuffled(np.array(kept, np.int64), seed, epoch) == expected


def test_every_epoch_and_every_seed_has_its_own_order() -> None:
    pairs = itertools.product((0, 1, 2, 3, 2**32 - 1), range(20))
    orders = {tuple(shuffled(np.arange(50), seed, epoch)) for seed, epoch in pairs}
    assert len(orders) == 100


def test_over_many_epochs_every_row_is_everywhere_equally_often() -> None:
    places = np.array([np.argsort(shuffled(np.arange(20), 5, epoch)) for epoch in range(2000)])
    counts = np.array([np.bincount(column, minlength=20) for column in places.T])
    # 2000 draws of 1/20 have mean 100 and deviation 9.7; 400 counts stay within 4.5 of those
    assert counts.min() > 56
    assert counts.max() < 144


@pytest.mark.parametrize("epoch", [0, 1, 7])
def test_without_shuffle_the_order_is_the_manifests(epoch: int) -> None:
    rows = np.array([2, 3, 5, 7, 11])
    assert epoch_order(rows, seed=1, epoch=epoch, shuffle=False).tolist() == [2, 3, 5, 7, 11]


@pytest.mark.parametrize("shuffle", [True, False])
def test_changing_an_order_leaves_the_rows_alone(shuffle: bool) -> None:
    rows = np.arange(5)
    epoch_order(rows, seed=0, epoch=0, shuffle=shuffle)[:] = -1
    assert rows.tolist() == [0, 1, 2, 3, 4]


# --- shards ----------------------------------------------------------------------------


@given(row_sets, seeds, st.integers(1, 9))
def test_shards_divide_the_order_without_loss_or_repeat(
    rows: npt.NDArray[np.int64], seed: int, num_shards: int
) -> None:
    order = epoch_order(rows, seed=seed, epoch=0, shuffle=True)
    shards = [shard(order, shard_index=k, num_shards=num_shards) for k in range(num_shards)]
    assert sorted(np.concatenate(shards).tolist()) == rows.tolist()


@given(st.integers(0, 100), st.integers(1, 9))
def test_shards_differ_by_one_row_at_most(num_records: int, num_shards: int) -> None:
    order = np.arange(num_records)
    sizes = [len(shard(order, shard_index=k, num_shards=num_shards)) for k in range(num_shards)]
    assert max(sizes) - min(sizes) <= 1


# --- the keys --------------------------------------------------------------------------


def mixed(state: int) -> int:
    """Return the finaliser of SplitMix64, in whole numbers, as the paper writes it."""
    state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    state = (state ^ state >> 27) * 0x94D049BB133111EB % 2**64
    return state ^ state >> 31


@given(st.integers(0, 9), seeds, epochs, st.integers(0, 2**40))
def test_a_key_is_the_mixture_of_purpose_seed_epoch_and_row(
    purpose: int, seed: int, epoch: int, row: int
) -> None:
    state = 0
    for word in (purpose, seed, epoch, row):
        state = mixed((state + 0x9E3779B97F4A7C15 * (word + 1)) % 2**64)
    assert keys.hashes(purpose, seed=seed, epoch=epoch, rows=np.array([row])).tolist() == [state]


@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=30), seeds, epochs)
def test_the_draws_of_a_row_do_not_depend_on_its_neighbours(
    rows: list[int], seed: int, epoch: int
) -> None:
    together = keys.uniforms(
        keys.AUGMENT, seed=seed, epoch=epoch, rows=np.array(rows, np.int64), draws=8
    )
    alone = [
        keys.uniforms(keys.AUGMENT, seed=seed, epoch=epoch, rows=np.array([row]), draws=8)[0]
        for row in rows
    ]
    np.testing.assert_array_equal(together, alone)


def test_more_draws_begin_with_the_same_draws() -> None:
    few, many = (
        keys.uniforms(keys.AUGMENT, seed=3, epoch=1, rows=np.arange(9), draws=draws)
        for draws in (4, 12)
    )
    np.testing.assert_array_equal(few, many[:, :4])


def test_draws_are_spread_evenly_over_zero_to_one() -> None:
    draws = keys.uniforms(keys.AUGMENT, seed=0, epoch=0, rows=np.arange(20_000), draws=5)
    counts = np.histogram(draws, bins=20, range=(0, 1))[0]
    # 100,000 draws of 1/20 have mean 5000 and deviation 69
    assert abs(counts - 5000).max() < 4 * 69


def test_draws_of_neighbouring_rows_epochs_seeds_and_draws_are_unrelated() -> None:
    def drawn(seed: int, epoch: int) -> npt.NDArray[np.float64]:
        return keys.uniforms(keys.AUGMENT, seed=seed, epoch=epoch, rows=np.arange(10_000), draws=2)

    base = drawn(0, 0)
    others = [base[:-1, 0], base[:, 1], drawn(0, 1)[:, 0], drawn(1, 0)[:, 0]]
    firsts = [base[1:, 0], base[:, 0], base[:, 0], base[:, 0]]
    found = [np.corrcoef(one, other)[0, 1] for one, other in zip(firsts, others, strict=True)]
    assert np.abs(found).max() < 0.04  # four deviations of 1 / sqrt(10,000)


def test_order_and_augmentation_have_keys_of_their_own() -> None:
    order, augment = (
        keys.hashes(purpose, seed=0, epoch=0, rows=np.arange(1000))
        for purpose in (keys.ORDER, keys.AUGMENT)
    )
    assert not set(order.tolist()) & set(augment.tolist())


# --- golden ----------------------------------------------------------------------------
# A saved run resumes by computing its order and its draws again. Change these numbers only
# together with the run format version.


def test_keys_stay_the_same_for_ever() -> None:
    found = keys.hashes(keys.AUGMENT, seed=7, epoch=3, rows=np.array([0, 1, 10**9]))
    assert [f"{key:016x}" for key in found.tolist()] == KEYS


def test_draws_stay_the_same_for_ever() -> None:
    found = keys.uniforms(keys.AUGMENT, seed=7, epoch=3, rows=np.array([4]), draws=3)
    assert found[0].tolist() == DRAWS


@pytest.mark.parametrize(("seed", "epoch"), [(0, 0), (0, 1), (2**32 - 1, 12)])
def test_an_order_stays_the_same_for_ever(seed: int, epoch: int) -> None:
    assert shuffled(np.arange(12), seed, epoch) == ORDERS[seed, epoch]


KEYS = ["8ff23f7a639acf3b", "d85e879277eb2549", "13278984825607e8"]
DRAWS = [0.5161382321821006, 0.437589008164345, 0.05081042221748511]
ORDERS = {
    (0, 0): [8, 5, 7, 6, 3, 4, 9, 1, 10, 0, 2, 11],
    (0, 1): [3, 8, 4, 6, 7, 10, 9, 0, 11, 1, 5, 2],
    (4294967295, 12): [4, 7, 1, 0, 10, 11, 2, 9, 6, 8, 3, 5],
}
