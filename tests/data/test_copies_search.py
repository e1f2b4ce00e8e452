"""The search for close hashes against comparing every one with every other."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.data.auditing.copies import cascade, search
from sightline.data.auditing.copies.cascade import affordable
from sightline.data.auditing.copies.chunks import as_bits
from sightline.data.auditing.copies.search import HashTable, thresholds
from sightline.data.auditing.copies.variants import BY_HOW, SAME, VARIANTS, Variant

Pair = tuple[int, int]


def by_brute_force(hashes: npt.NDArray[np.uint64], variant: Variant, radius: int) -> set[Pair]:
    source, flips = variant.bits()
    bits = as_bits(hashes)
    apart = ((bits[:, source] ^ flips)[:, None] != bits[None]).sum(axis=2)
    pairs = zip(*np.nonzero(apart <= radius), strict=True)
    return {named(variant, int(a), int(b)) for a, b in pairs if a != b}


def named(variant: Variant, first: int, second: int) -> Pair:
    if variant.is_own_inverse:
        return min(first, second), max(first, second)
    return first, second


def found(
    hashes: npt.NDArray[np.uint64], variant: Variant, radius: int, workers: int = 1
) -> list[Pair]:
    blocks = HashTable(hashes).pairs(variant, radius, workers=workers)
    return [
        named(variant, int(a), int(b))
        for block in blocks
        for a, b in zip(block.first, block.second, strict=True)
    ]


@st.composite
def clustered_hashes(draw: st.DrawFn) -> npt.NDArray[np.uint64]:
    """Return hashes near a few centres and near their turned ones, some of them equal."""
    seed = draw(st.integers(0, 2**32 - 1))
    count, centres = draw(st.integers(0, 60)), draw(st.integers(1, 8))
    flips, share = draw(st.integers(0, 14)), draw(st.floats(0, 1))
    rng = np.random.default_rng(seed)
    bits = as_bits(rng.integers(0, 1 << 64, centres, dtype=np.uint64))
    turned = [bits[:, source] ^ mask for source, mask in (v.bits() for v in VARIANTS)]
    pool = np.concatenate(turned)[rng.integers(0, 8 * centres, count)]
    for _ in range(flips):
        chosen = np.flatnonzero(rng.random(count) < share)
        pool[chosen, rng.integers(0, 64, len(chosen))] ^= 1
    packed = np.ascontiguousarray(np.packbits(pool.astype(np.uint8), axis=1, bitorder="little"))
    return packed.reshape(-1, 8).view("<u8")[:, 0]


@settings(max_examples=60, deadline=None)
@given(clustered_hashes(), st.sampled_from(VARIANTS), st.integers(3, 14))
def test_every_pair_within_the_radius_is_found_and_none_twice(hashes, variant, radius) -> None:
    pairs = found(hashes, variant, radius)
    assert len(pairs) == len(set(pairs))
    assert set(pairs) == by_brute_force(hashes, variant, radius)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.how)
def test_every_pair_is_found_in_small_parts_too(variant, monkeypatch) -> None:
    monkeypatch.setattr(search, "_TASK", 50)
    monkeypatch.setattr(search, "_BATCH", 7)
    monkeypatch.setattr(search, "_BLOCK", 11)
    rng = np.random.default_rng(0)
    hashes = np.repeat(rng.integers(0, 1 << 64, 9, dtype=np.uint64), 12)
    hashes ^= np.uint64(1) << rng.integers(0, 3, len(hashes)).astype(np.uint64)
    pairs = found(hashes, variant, 8)
    assert len(pairs) == len(set(pairs))
    assert set(pairs) == by_brute_force(hashes, variant, 8)


@pytest.mark.parametrize("variant", [SAME, BY_HOW["rotated 90"]], ids=lambda variant: variant.how)
def test_threads_give_the_same_pairs_in_the_same_order(variant) -> None:
    rng = np.random.default_rng(3)
    hashes = rng.integers(0, 1 << 20, 3000, dtype=np.uint64)
    assert found(hashes, variant, 8, workers=1) == found(hashes, variant, 8, workers=3)


def test_the_distance_is_the_number_of_differing_bits() -> None:
    hashes = np.array([0, 0b111, 1 << 60], np.uint64)
    blocks = list(HashTable(hashes).pairs(SAME, 5))
    apart = {
        named(SAME, int(a), int(b)): int(distance)
        for block in blocks
        for a, b, distance in zip(*block, strict=True)
    }
    assert apart == {(0, 1): 3, (0, 2): 1, (1, 2): 4}


def test_no_hashes_have_no_pairs() -> None:
    assert found(np.empty(0, np.uint64), SAME, 10) == []


@pytest.mark.parametrize("radius", range(3, 20))
def test_two_hashes_within_the_radius_agree_in_some_chunk(radius: int) -> None:
    limits = thresholds(radius)
    assert sum(limit + 1 for limit in limits) == radius + 1


@pytest.mark.parametrize("radius", [2, 20])
def test_a_radius_that_chunks_cannot_have_is_refused(radius: int) -> None:
    with pytest.raises(ValueError, match=rf"radius must be 3\.\.19, got {radius}"):
        next(HashTable(np.zeros(2, np.uint64)).pairs(SAME, radius))


def test_hashes_of_another_kind_are_refused() -> None:
    with pytest.raises(ValueError, match=r"hashes must be \(n,\) uint64, got \(3,\) int64"):
        HashTable(np.zeros(3, np.int64))


def test_the_cost_counts_each_pair_of_buckets_once() -> None:
    hashes = np.array([0, 1], np.uint64)  # one bucket in three chunks, two in the fourth
    assert HashTable(hashes).cost(SAME, 3) == 3 * (2 * 2) + 2


def test_sets_that_are_too_much_alike_are_searched_within_a_smaller_radius(monkeypatch) -> None:
    hashes = np.random.default_rng(0).integers(0, 1 << 64, 2000, dtype=np.uint64)
    table = HashTable(hashes)
    assert affordable(table, [SAME], 12) == 12
    monkeypatch.setattr(cascade, "MAX_COMPARISONS", table.cost(SAME, 7))
    assert affordable(table, [SAME], 12) == 7
    monkeypatch.setattr(cascade, "MAX_COMPARISONS", 0)
    assert affordable(table, [SAME], 12) == 3
