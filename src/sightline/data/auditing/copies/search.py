"""`HashTable`: every pair of 64-bit hashes within a Hamming radius, in any orientation.

Multi-index hashing (M. Norouzi, A. Punjani, D. Fleet, Fast Search in Hamming Space with Multi-Index
Hashing, CVPR 2012): the bits are cut into four chunks; two hashes within radius r agree in some
chunk within its threshold, where the thresholds add up to r - 3. Hashes are sorted into buckets by
each chunk, and only buckets that are that close are compared.

An orientation maps the values of a chunk to values of the same chunk (see `Chunks`), so the same
buckets serve all orientations; and where an orientation undoes itself, each pair of buckets is
compared once instead of twice.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sightline.data.auditing.copies.chunks import (
    CHUNK_BITS,
    NUM_CHUNKS,
    NUM_VALUES,
    Chunks,
    Hashes,
    values_of,
)
from sightline.data.auditing.copies.variants import SAME, Variant

MIN_RADIUS, MAX_RADIUS = NUM_CHUNKS - 1, 19
_TASK = 1 << 21  # comparisons of one task: 36 MB where every one of them is a hit
_BATCH = 1 << 15  # comparisons at once: what they need stays in the cache of a core
_BLOCK = 1 << 19  # pairs given out at once

Indices = npt.NDArray[np.int64]


class Block(NamedTuple):
    """Some of the pairs found: the first, changed by the variant, is close to the second.

    Attributes:
        first: (P,) int64 indices into the hashes.
        second: (P,) int64.
        distance: (P,) uint8, bits that differ.
    """

    first: Indices
    second: Indices
    distance: npt.NDArray[np.uint8]


class _Buckets(NamedTuple):
    """The distinct hashes sorted by one chunk."""

    order: npt.NDArray[np.int32]  # (m,) indices of distinct hashes
    keys: Hashes  # (m,) these hashes
    starts: Indices  # (65536,) where the hashes with a value of the chunk begin
    counts: Indices  # (65536,)


class _Joins(NamedTuple):
    """Runs of rows; each row of a run is to be compared with each key of a run of keys."""

    rows: Indices
    num_rows: Indices
    keys: Indices
    num_keys: Indices

    @property
    def sizes(self) -> Indices:
        return self.num_rows * self.num_keys


class HashTable:
    """Hashes prepared for `pairs`; about 100 bytes a hash.

    Args:
        hashes: (n,) uint64, of `fingerprint`.

    Raises:
        ValueError: `hashes` is none of these.
    """

    def __init__(self, hashes: Hashes) -> None:
        if hashes.ndim != 1 or hashes.dtype != np.uint64:
            raise ValueError(f"hashes must be (n,) uint64, got {hashes.shape} {hashes.dtype}")
        self._chunks = Chunks.balanced(hashes)
        moved = self._chunks.of(hashes)
        self._members = np.argsort(moved, kind="stable")
        moved = moved[self._members]
        self._begins = np.flatnonzero(np.append(True, moved[1:] != moved[:-1])[: len(moved)])
        self._sizes = np.diff(self._begins, append=len(moved))
        distinct = moved[self._begins]
        self._buckets = [_buckets(distinct, chunk) for chunk in range(NUM_CHUNKS)]

    def cost(self, variant: Variant, radius: int) -> int:
        """Return how many hashes `pairs` compares with one another, at about 4 ns each."""
        changed = self._chunks.changed_values(variant)
        return sum(int(joins.sizes.sum()) for _, joins in self._joins(variant, radius, changed))

    def pairs(self, variant: Variant, radius: int, *, workers: int = 1) -> Iterator[Block]:
        """Yield all pairs within the radius, none twice, in an order that does not change.

        Where the variant undoes itself, a pair is given one way round, which is any; for quarter
        turns the two ways are different pairs. No hash is paired with itself.

        Args:
            variant: What is done to the first of a pair.
            radius: Bits that may differ, 3..19.
            workers: Threads; NumPy lets them run side by side.

        Raises:
            ValueError: The radius is not 3..19.
        """
        if not MIN_RADIUS <= radius <= MAX_RADIUS:
            raise ValueError(f"radius must be {MIN_RADIUS}..{MAX_RADIUS}, got {radius}")
        if variant is SAME:  # hashes that are equal; other variants meet them in their buckets
            several = np.flatnonzero(self._sizes > 1)
            yield from self._members_of(
                Block(several, several, np.zeros(len(several), np.uint8)), variant
            )
        changed = self._chunks.changed_values(variant)
        tasks = (
            partial(self._compare, variant, radius, changed, chunk, part)
            for chunk, joins in self._joins(variant, radius, changed)
            for part in _tasks(joins)
        )
        for hits in _in_order(tasks, workers):
            yield from self._members_of(hits, variant)

    def _joins(
        self, variant: Variant, radius: int, changed: npt.NDArray[np.uint16]
    ) -> Iterator[tuple[int, _Joins]]:
        """Yield the chunk and the buckets to compare, for each difference of values."""
        for chunk, threshold in enumerate(thresholds(radius)):
            buckets = self._buckets[chunk]
            filled = np.flatnonzero(buckets.counts)
            become = changed[chunk][filled].astype(np.int64)
            for difference in _ball(threshold):
                others = become ^ difference
                wanted = buckets.counts[others] > 0
                if variant.is_own_inverse:  # the other way round has its own difference
                    wanted &= filled <= others
                mine, others = filled[wanted], others[wanted]
                yield (
                    chunk,
                    _Joins(
                        buckets.starts[mine],
                        buckets.counts[mine],
                        buckets.starts[others],
                        buckets.counts[others],
                    ),
                )

    def _compare(
        self,
        variant: Variant,
        radius: int,
        changed: npt.NDArray[np.uint16],
        chunk: int,
        joins: _Joins,
    ) -> Block:
        """Return what one task finds, as indices of distinct hashes."""
        order, keys, _, _ = self._buckets[chunk]
        rows, run = _ragged(joins.rows, joins.num_rows)
        starts, counts = joins.keys[run], joins.num_keys[run]
        hashes = keys[rows]
        if variant is not SAME:
            values = values_of(hashes)
            hashes = np.stack([changed[c][values[:, c]] for c in range(NUM_CHUNKS)], axis=1)
            hashes = np.ascontiguousarray(hashes).view("<u8")[:, 0]
        found = [Block(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.uint8))]
        for part in _batches(counts, _BATCH):
            others, row = _ragged(starts[part], counts[part])
            differing = hashes[part][row]
            differing ^= keys[others]
            distance = np.bitwise_count(differing)
            hits = np.flatnonzero(distance <= radius)
            if not len(hits):
                continue
            first, second = rows[part][row[hits]], others[hits]
            wanted = _is_first(differing[hits], chunk, radius)
            if variant is SAME:
                wanted &= first < second
            elif variant.is_own_inverse:
                wanted &= first <= second
            found.append(Block(first[wanted], second[wanted], distance[hits[wanted]]))
        first, second, distance = (np.concatenate(column) for column in zip(*found, strict=True))
        return Block(order[first].astype(np.int64), order[second].astype(np.int64), distance)

    def _members_of(self, hits: Block, variant: Variant) -> Iterator[Block]:
        """Yield the pairs of hashes that stand behind pairs of distinct hashes."""
        begins, sizes, members = self._begins, self._sizes, self._members
        if len(begins) == len(members):
            wanted = hits.first != hits.second
            if wanted.any():
                first, second, distance = (column[wanted] for column in hits)
                yield Block(members[first], members[second], distance)
            return
        for part in _batches(sizes[hits.first], _BLOCK):
            left, right, distance = (column[part] for column in hits)
            rows, hit = _ragged(begins[left], sizes[left])
            counts = sizes[right][hit]
            for some in _batches(counts, _BLOCK):
                second, row = _ragged(begins[right][hit[some]], counts[some])
                first, of_hit = rows[some][row], hit[some][row]
                wanted = (first < second) if variant.is_own_inverse else (first != second)
                wanted |= (left != right)[of_hit]
                if wanted.any():
                    yield Block(
                        members[first[wanted]],
                        members[second[wanted]],
                        distance[of_hit[wanted]],
                    )


def thresholds(radius: int) -> tuple[int, ...]:
    """Return how many bits may differ in each chunk, their sum radius - 3.

    Were every chunk over its threshold, radius + 1 bits or more would differ.
    """
    each, more = divmod(radius - NUM_CHUNKS + 1, NUM_CHUNKS)
    return tuple(each + (chunk < more) for chunk in range(NUM_CHUNKS))


def _ball(radius: int) -> list[int]:
    """Return the numbers of 16 bits with at most `radius` ones."""
    places = [1 << bit for bit in range(CHUNK_BITS)]
    return [
        sum(ones) for size in range(radius + 1) for ones in itertools.combinations(places, size)
    ]


def _buckets(distinct: Hashes, chunk: int) -> _Buckets:
    values = values_of(distinct)[:, chunk]
    order = np.argsort(values, kind="stable").astype(np.int32)
    counts = np.bincount(values, minlength=NUM_VALUES)
    return _Buckets(order, distinct[order], np.cumsum(counts) - counts, counts)


def _is_first(differing: Hashes, chunk: int, radius: int) -> npt.NDArray[np.bool_]:
    """Return where no earlier chunk has found the pair already."""
    values = values_of(differing)
    is_first = np.ones(len(differing), np.bool_)
    for earlier, threshold in enumerate(thresholds(radius)[:chunk]):
        is_first &= np.bitwise_count(values[:, earlier]) > threshold
    return is_first


def _ragged(starts: Indices, counts: Indices) -> tuple[Indices, Indices]:
    """Return start, start + 1, ... of every run, one behind the other, and the run of each."""
    run = np.repeat(np.arange(len(counts)), counts)
    offsets = starts - (np.cumsum(counts) - counts)
    return np.arange(len(run)) + offsets[run], run


def _batches(sizes: Indices, limit: int) -> Iterator[slice]:
    """Yield slices of rows whose sizes add up to about `limit`; one row may exceed it."""
    ends = np.cumsum(sizes)
    begin = 0
    while begin < len(sizes):
        done = int(ends[begin - 1]) if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, done + limit, side="right")))
        yield slice(begin, end)
        begin = end


def _tasks(joins: _Joins) -> Iterator[_Joins]:
    """Yield the same comparisons in parts of bounded size."""
    for part in _batches(joins.sizes, _TASK):
        some = _Joins(*(column[part] for column in joins))
        if len(some.rows) > 1 or int(some.sizes[0]) <= _TASK:
            yield some
            continue
        (row, num_rows, keys, num_keys) = (int(column[0]) for column in some)
        step = max(1, _TASK // num_keys)
        for begin in range(0, num_rows, step):
            piece = (row + begin, min(step, num_rows - begin), keys, num_keys)
            yield _Joins(*(np.array([number]) for number in piece))


def _in_order(tasks: Iterable[Callable[[], Block]], workers: int) -> Iterator[Block]:
    """Yield the results of tasks run in threads, in the order of the tasks, few of them waiting."""
    if workers <= 1:
        for task in tasks:
            yield task()
        return
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[Block]] = deque()
        for task in tasks:
            waiting.append(pool.submit(task))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
