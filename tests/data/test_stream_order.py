from __future__ import annotations

import itertools
import math
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.data.stream import epoch_order, keys
from sightline.data.stream.order import permute, plain_order, shard_positions

seeds = st.integers(0, 2**32 - 1)
epochs = st.integers(0, 500)
lengths = st.integers(1, 5000)  # sorted up to 1024, a network beyond
row_sets = st.sets(st.integers(0, 2**40), max_size=200).map(
    lambda rows: np.array(sorted(rows), np.int64)
)


def permuted(length: int, seed: int = 0, epoch: int = 0) -> npt.NDArray[np.int64]:
    """Return where a shuffle puts all its positions."""
    return permute(np.arange(length), length=length, seed=seed, epoch=epoch)


def shuffled(rows: npt.NDArray[np.int64], seed: int, epoch: int) -> list[int]:
    return epoch_order(rows, seed=seed, epoch=epoch, shuffle=True).tolist()


def excess(counts: npt.NDArray[np.int64], expected: float) -> float:
    """Return by how many deviations chi-square is above its mean, for equally likely cells."""
    freedom = counts.size - 1
    chi_square = float(((counts - expected) ** 2 / expected).sum())
    return (chi_square - freedom) / math.sqrt(2 * freedom)


# --- the shuffle is a bijection --------------------------------------------------------


@given(lengths, seeds, epochs)
def test_a_shuffle_of_any_length_hits_every_place_once(length: int, seed: int, epoch: int) -> None:
    assert np.array_equal(np.sort(permuted(length, seed, epoch)), np.arange(length))


@pytest.mark.parametrize("length", [1024, 1025, 1089, 1090, 2**16, 2**16 + 1, 1_000_003])
def test_a_shuffle_of_an_awkward_length_hits_every_place_once(length: int) -> None:
    assert np.array_equal(np.sort(permuted(length, 3, 5)), np.arange(length))


@given(
    st.integers(2**20, 2**40).flatmap(
        lambda length: st.tuples(
            st.just(length), st.sets(st.integers(0, length - 1), min_size=1, max_size=50)
        )
    ),
    seeds,
)
def test_a_shuffle_far_too_long_for_memory_keeps_places_apart_and_within(
    asked: tuple[int, set[int]], seed: int
) -> None:
    length, positions = asked[0], np.array(sorted(asked[1]), np.int64)
    found = permute(positions, length=length, seed=seed, epoch=0)
    assert len(set(found.tolist())) == len(positions)
    assert found.min() >= 0
    assert found.max() < length


@given(
    st.one_of(lengths, st.integers(2**20, 2**40)),
    seeds,
    epochs,
    st.lists(st.floats(0, 1, exclude_max=True), max_size=40),
)
def test_a_place_does_not_depend_on_the_others_asked_for(
    length: int, seed: int, epoch: int, shares: list[float]
) -> None:
    positions = np.array([int(share * length) for share in shares], np.int64)
    together = permute(positions, length=length, seed=seed, epoch=epoch).tolist()
    one_by_one = [
        permute(positions[n : n + 1], length=length, seed=seed, epoch=epoch).item()
        for n in range(len(positions))
    ]
    backwards = permute(positions[::-1], length=length, seed=seed, epoch=epoch).tolist()
    assert together == one_by_one == backwards[::-1]


def test_asking_for_places_leaves_them_alone() -> None:
    positions = np.arange(2000)
    permute(positions, length=2000, seed=0, epoch=0)
    assert np.array_equal(positions, np.arange(2000))


def test_purposes_have_shuffles_of_their_own() -> None:
    found = {
        tuple(permute(np.arange(9), length=n, seed=0, epoch=0, purpose=purpose).tolist())
        for n in (9, 2000)
        for purpose in (keys.ORDER, keys.SAMPLE, keys.TURNS)
    }
    assert len(found) == 6


def enciphered(value: int, length: int, seed: int, epoch: int) -> int:
    """Return the place of one position, in whole numbers, as the paper writes the network."""
    size = math.isqrt(length - 1) + 1
    sizes = size, -(-length // size)
    round_keys = keys.hashes(keys.ORDER, seed=seed, epoch=epoch, rows=np.arange(8)).tolist()
    high, low = divmod(value, size)
    for number, key in enumerate(round_keys):
        modulus = sizes[number % 2]
        step = (mixed((high + key) % 2**64) >> 20) * modulus >> 44
        high, low = (low + step) % modulus, high
    value = high * size + low
    return value if value < length else enciphered(value, length, seed, epoch)


@given(st.integers(1025, 2**40), st.floats(0, 1, exclude_max=True), seeds, epochs)
def test_a_long_shuffle_is_the_generalised_feistel_network(
    length: int, share: float, seed: int, epoch: int
) -> None:
    position = int(share * length)
    found = permute(np.array([position]), length=length, seed=seed, epoch=epoch)
    assert found.item() == enciphered(position, length, seed, epoch)


@pytest.mark.parametrize("length", [-1, 2**40 + 1])
def test_a_length_out_of_range_is_refused(length: int) -> None:
    message = rf"length must be 0\.\.2\*\*40, got {length}\. Divide the records into parts"
    with pytest.raises(ValueError, match=message):
        permute(np.arange(1), length=length, seed=0, epoch=0)


@pytest.mark.parametrize("length", [1, 5, 3000])
@pytest.mark.parametrize("beyond", [-1, 0, 10**6])
def test_a_position_outside_is_refused(length: int, beyond: int) -> None:
    outside = beyond if beyond < 0 else length + beyond
    message = rf"below {length}, .* got {outside} at place 1\. Ask for positions below"
    with pytest.raises(ValueError, match=message):
        permute(np.array([0, outside]), length=length, seed=0, epoch=0)


def test_a_shuffle_of_nothing_has_no_positions() -> None:
    assert permuted(0).tolist() == []
    with pytest.raises(ValueError, match=r"below 0, .* got 0 at place 0"):
        permute(np.array([0]), length=0, seed=0, epoch=0)


# --- the shuffle is even ---------------------------------------------------------------
# Seeds are fixed, so these pass or fail for ever. Bounds are four to five deviations of what a
# perfect shuffle does by chance.


@pytest.mark.parametrize("length", [2, 3, 4, 5])
def test_every_order_of_few_records_is_equally_likely(length: int) -> None:
    orders = Counter(tuple(permuted(length, 1, epoch).tolist()) for epoch in range(6000))
    assert len(orders) == math.factorial(length)
    counts = np.array(list(orders.values()))
    assert excess(counts, 6000 / len(counts)) < 4


@pytest.mark.parametrize(("length", "num_epochs"), [(20, 2000), (200, 1000), (1025, 400)])
def test_over_many_epochs_every_record_is_everywhere_equally_often(
    length: int, num_epochs: int
) -> None:
    orders = np.array([permuted(length, 5, epoch) for epoch in range(num_epochs)])
    counts = np.array([np.bincount(column, minlength=length) for column in orders.T])
    # every row and column of the table adds up to num_epochs, which takes 2 * length - 1 freedoms
    freedom = (length - 1) ** 2
    expected = num_epochs / length
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert abs(chi_square - freedom) < 4 * math.sqrt(2 * freedom)


def test_neighbours_are_any_distance_apart_at_every_short_length() -> None:
    found = []
    for length in range(3, 201):
        orders = np.array([permuted(length, length, epoch) for epoch in range(60)])
        distances = np.diff(orders, axis=1).ravel() % length
        counts = np.bincount(distances, minlength=length)[1:]
        found.append(excess(counts, len(distances) / (length - 1)))
    assert max(found) < 5
    assert abs(np.mean(found)) < 4 / math.sqrt(len(found))


@pytest.mark.parametrize("apart", [1, 33, 34, 500])
def test_two_positions_are_any_distance_apart_where_the_network_begins(apart: int) -> None:
    # 33 positions apart is one step of the upper digit alone
    distances = [
        (order[apart:] - order[:-apart]) % 1025
        for order in (permuted(1025, 2, epoch) for epoch in range(1000))
    ]
    counts = np.bincount(np.concatenate(distances), minlength=1025)[1:]
    assert excess(counts, (1025 - apart) * 1000 / 1024) < 4


@pytest.mark.parametrize("length", [200, 1024, 1025, 2000, 4096, 100_000])
def test_positions_neighbours_epochs_and_seeds_are_uncorrelated(length: int) -> None:
    base = permuted(length)
    others = [
        (base, np.arange(length)),
        (base[1:], base[:-1]),
        (base, permuted(length, epoch=1)),
        (base, permuted(length, seed=1)),
        (permuted(length, seed=1), permuted(length, epoch=1)),
        (base, permuted(length, seed=2**31)),
    ]
    found = [np.corrcoef(one, other)[0, 1] for one, other in others]
    assert np.abs(found).max() < 4 / math.sqrt(length)


@pytest.mark.parametrize("length", [50, 1025, 5000])
def test_records_that_were_neighbours_are_so_again_by_chance_alone(length: int) -> None:
    def pairs(epoch: int) -> set[tuple[int, int]]:
        return set(itertools.pairwise(permuted(length, 4, epoch).tolist()))

    again = sum(len(pairs(epoch) & pairs(epoch + 1)) for epoch in range(100))
    # (length - 1) pairs meet again with chance 1 / length each: nearly one an epoch
    mean = 100 * (length - 1) / length
    assert abs(again - mean) < 4 * math.sqrt(mean)


@pytest.mark.parametrize("length", [50, 1025, 5000])
def test_a_record_stays_in_its_place_once_an_epoch_on_average(length: int) -> None:
    staying = [(permuted(length, 6, epoch) == np.arange(length)).sum() for epoch in range(300)]
    assert abs(np.sum(staying) - 300) < 4 * math.sqrt(300)


# --- the order of an epoch -------------------------------------------------------------


@given(row_sets, seeds, epochs)
def test_order_visits_every_row_once(rows: npt.NDArray[np.int64], seed: int, epoch: int) -> None:
    assert sorted(shuffled(rows, seed, epoch)) == rows.tolist()


@given(row_sets, seeds, epochs)
def test_order_is_a_function_of_seed_and_epoch(
    rows: npt.NDArray[np.int64], seed: int, epoch: int
) -> None:
    assert shuffled(rows, seed, epoch) == shuffled(rows.copy(), seed, epoch)


@given(row_sets, seeds, epochs, st.integers(1, 50))
def test_an_order_asked_for_in_blocks_is_the_whole(
    rows: npt.NDArray[np.int64], seed: int, epoch: int, block: int
) -> None:
    order = plain_order(rows, seed=seed, shuffle=True)
    positions = np.arange(len(order))
    found = [
        order.rows(epoch, positions[begin : begin + block]).tolist()
        for begin in range(0, len(order), block)
    ]
    assert list(itertools.chain(*found)) == shuffled(rows, seed, epoch)


def test_every_epoch_and_every_seed_has_its_own_order() -> None:
    pairs = itertools.product((0, 1, 2, 3, 2**32 - 1), range(20))
    orders = {tuple(shuffled(np.arange(50), seed, epoch)) for seed, epoch in pairs}
    assert len(orders) == 100


@pytest.mark.parametrize("epoch", [0, 1, 7])
def test_without_shuffle_the_order_is_the_manifests(epoch: int) -> None:
    rows = np.array([2, 3, 5, 7, 11])
    assert epoch_order(rows, seed=1, epoch=epoch, shuffle=False).tolist() == [2, 3, 5, 7, 11]


@pytest.mark.parametrize("shuffle", [True, False])
def test_changing_an_order_leaves_the_rows_alone(shuffle: bool) -> None:
    rows = np.arange(5)
    epoch_order(rows, seed=0, epoch=0, shuffle=shuffle)[:] = -1
    assert rows.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("shuffle", [True, False])
def test_small_row_numbers_give_the_same_order_as_large(shuffle: bool) -> None:
    rows = np.arange(3, 2003, dtype=np.uint32)
    small, large = (
        epoch_order(kind, seed=0, epoch=0, shuffle=shuffle)
        for kind in (rows, rows.astype(np.int64))
    )
    assert small.dtype == large.dtype == np.int64
    assert np.array_equal(small, large)


@pytest.mark.parametrize("position", [-1, 7])
@pytest.mark.parametrize("shuffle", [True, False])
def test_an_order_refuses_a_position_that_is_not_in_it(shuffle: bool, position: int) -> None:
    order = plain_order(np.arange(10, 17), seed=0, shuffle=shuffle)
    with pytest.raises(ValueError, match=rf"below 7, .* got {position} at place 2\. Ask for"):
        order.rows(0, np.array([0, 6, position]))


def test_an_order_is_the_same_in_another_process() -> None:
    order, positions = plain_order(np.arange(3000), seed=5, shuffle=True), np.arange(3000)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        found = pool.submit(order.rows, 2, positions).result()
    assert np.array_equal(found, order.rows(2, positions))


def test_threads_that_share_an_order_do_not_disturb_each_other() -> None:
    order = plain_order(np.arange(3000), seed=5, shuffle=True)
    expected = [order.rows(epoch, np.arange(3000)) for epoch in range(8)] * 20
    with ThreadPoolExecutor(4) as pool:
        found = pool.map(lambda n: order.rows(n % 8, np.arange(3000)), range(160))
        assert all(map(np.array_equal, found, expected))


# --- shards ----------------------------------------------------------------------------


@given(st.integers(0, 200), st.integers(1, 9))
def test_shards_divide_an_epoch_without_loss_or_repeat(length: int, num_shards: int) -> None:
    own = [
        shard_positions(0, len(range(k, length, num_shards)), shard_index=k, num_shards=num_shards)
        for k in range(num_shards)
    ]
    assert sorted(np.concatenate(own).tolist()) == list(range(length))


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50), st.integers(1, 9))
def test_a_shard_asked_for_in_parts_is_the_whole(
    begin: int, first: int, second: int, num_shards: int
) -> None:
    def places(begin: int, end: int) -> list[int]:
        own = shard_positions(begin, end, shard_index=num_shards - 1, num_shards=num_shards)
        return own.tolist()

    middle, end = begin + first, begin + first + second
    assert places(begin, middle) + places(middle, end) == places(begin, end)


def test_shards_take_turns() -> None:
    assert shard_positions(2, 6, shard_index=1, num_shards=3).tolist() == [7, 10, 13, 16]


@pytest.mark.parametrize(("shard_index", "num_shards"), [(2, 2), (-1, 2), (0, 0)])
def test_a_shard_that_does_not_exist_is_refused(shard_index: int, num_shards: int) -> None:
    message = rf"0\.\.num_shards-1, got {shard_index} of {num_shards}\. Count shards from 0"
    with pytest.raises(ValueError, match=message):
        shard_positions(0, 1, shard_index=shard_index, num_shards=num_shards)


@pytest.mark.parametrize(("begin", "end"), [(3, 2), (-1, 2)])
def test_places_that_run_backwards_are_refused(begin: int, end: int) -> None:
    with pytest.raises(ValueError, match=rf"from 0 upwards, got {begin}\.\.{end}\. Begin at 0"):
        shard_positions(begin, end, shard_index=0, num_shards=1)


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


def test_purposes_have_keys_of_their_own() -> None:
    purposes = (keys.ORDER, keys.AUGMENT, keys.SAMPLE, keys.TURNS)
    drawn = {
        key
        for purpose in purposes
        for key in keys.hashes(purpose, seed=0, epoch=0, rows=np.arange(1000)).tolist()
    }
    assert len(drawn) == 4000


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


@pytest.mark.parametrize(("length", "seed", "epoch"), [(1025, 7, 3), (10**6, 0, 1), (2**40, 9, 12)])
def test_a_long_shuffle_stays_the_same_for_ever(length: int, seed: int, epoch: int) -> None:
    positions = np.array([0, 1, 2, length // 2, length - 1])
    found = permute(positions, length=length, seed=seed, epoch=epoch)
    assert found.tolist() == PLACES[length]


def test_purposes_keep_their_numbers() -> None:
    assert (keys.ORDER, keys.AUGMENT, keys.SAMPLE, keys.TURNS) == (1, 2, 3, 4)


KEYS = ["8ff23f7a639acf3b", "d85e879277eb2549", "13278984825607e8"]
DRAWS = [0.5161382321821006, 0.437589008164345, 0.05081042221748511]
ORDERS = {
    (0, 0): [8, 5, 7, 6, 3, 4, 9, 1, 10, 0, 2, 11],
    (0, 1): [3, 8, 4, 6, 7, 10, 9, 0, 11, 1, 5, 2],
    (4294967295, 12): [4, 7, 1, 0, 10, 11, 2, 9, 6, 8, 3, 5],
}
PLACES = {
    1025: [611, 350, 673, 871, 340],
    10**6: [556302, 698929, 220126, 617821, 347210],
    2**40: [115524869842, 158484055228, 48111857089, 1050823445350, 359343163958],
}
