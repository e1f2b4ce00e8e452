"""Which record comes when: pure functions of (seed, epoch, position).

The shuffle is not an array but a keyed bijection, evaluated where it is asked: nothing of the
size of the data set is computed, kept or saved, and an epoch may be begun at any position.

The method is the generalised Feistel cipher with cycle walking of Black & Rogaway, "Ciphers with
arbitrary finite domains" (CT-RSA 2002): positions are written with two digits, one digit after
the other is shifted by a hash of its neighbour, and what leaves 0..length-1 is enciphered again
until it is back. It is a shuffle, not a secret: the hash is that of `keys`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import numpy.typing as npt

from sightline.data.stream import keys

Int64s = npt.NDArray[np.int64]
Rows = npt.NDArray[np.int64] | npt.NDArray[np.uint32]

# With a million keys at length 1,025, the distance between where two positions land is uniform to
# within chance from 6 rounds on; with 4 its chi-square is 600 deviations off. Two more are margin,
# and cost 8 ns a record.
_ROUNDS = 8
# So short a shuffle is drawn exactly, by sorting hashes: at length 16 even 8 rounds fail that test
# (at 64 they pass), and up to here sorting is no slower than any call of the network.
_SORTED = 1024
_LONGEST = 2**40
# Of a hash, 44 bits times a digit's size of at most 2**20 still fit into 64.
_SPARE, _KEPT = np.uint64(20), np.uint64(44)


@dataclass(frozen=True, slots=True, eq=False)
class Order:
    """The manifest row at each place of each epoch: a pure function, for any number of threads.

    It may be pickled. See `sampling.make_order`, which makes it.

    Attributes:
        length: Records of one epoch.
        pick: Called as pick(epoch, positions), with positions that are known to exist.
    """

    length: int
    pick: Callable[[int, Int64s], Int64s] = field(repr=False)

    def __len__(self) -> int:
        return self.length

    def rows(self, epoch: int, positions: Int64s) -> Int64s:
        """Return the manifest rows at these places of an epoch.

        Args:
            epoch: 0-based.
            positions: (N,) int64, each 0..len-1, in any order, repeats allowed.

        Returns:
            (N,) int64. A row depends on its own position alone, not on the others asked for.

        Raises:
            ValueError: A position is not in the epoch.
        """
        _check_positions(positions, self.length)
        return self.pick(epoch, positions)


def plain_order(rows: Rows, *, seed: int, shuffle: bool) -> Order:
    """Return the order that visits each of the (n,) rows once: shuffled, or as they are.

    It keeps `rows` and needs no memory beside them.
    """
    return Order(len(rows), partial(_each_once, rows=rows, seed=seed, shuffle=shuffle))


def epoch_order(rows: Rows, *, seed: int, epoch: int, shuffle: bool) -> Int64s:
    """Return a whole epoch of `plain_order` at once: (n,) int64, 8 bytes a row and as much again.

    Args:
        rows: (n,) distinct manifest rows, ascending.
        seed: 0..2**32-1.
        epoch: 0-based.
        shuffle: False keeps the manifest's order in every epoch.
    """
    order = plain_order(rows, seed=seed, shuffle=shuffle)
    return order.rows(epoch, np.arange(len(order)))


def permute(
    positions: Int64s, *, length: int, seed: int, epoch: int, purpose: int = keys.ORDER
) -> Int64s:
    """Return where a shuffle of 0..length-1 puts these positions: a keyed bijection.

    For 8,192 positions, each costs 0.04 microseconds; past length 1024 a call costs 70 at least,
    so ask for many at once. Working memory is 64 bytes a position, whatever the length.

    Args:
        positions: (N,) int64, each 0..length-1, in any order, repeats allowed.
        length: Size of what is shuffled, 0..2**40.
        seed: 0..2**32-1; every (purpose, seed, epoch) is a shuffle of its own.
        epoch: 0-based.
        purpose: A constant of `keys`.

    Returns:
        (N,) int64 in 0..length-1: all of them exactly once, if `positions` is all of them.

    Raises:
        ValueError: The length is out of range, or a position is not below it.
    """
    if not 0 <= length <= _LONGEST:
        raise ValueError(f"length must be 0..2**40, got {length}. Divide the records into parts.")
    _check_positions(positions, length)
    if length <= _SORTED:
        ranks = keys.hashes(purpose, seed=seed, epoch=epoch, rows=np.arange(length))
        return np.argsort(ranks, kind="stable")[positions]
    round_keys = keys.hashes(purpose, seed=seed, epoch=epoch, rows=np.arange(_ROUNDS))
    values = _encipher(positions.astype(np.uint64), length, round_keys)
    strayed = np.flatnonzero(values >= length)
    while len(strayed):  # fewer than one in sqrt(length) each time
        values[strayed] = _encipher(values[strayed], length, round_keys)
        strayed = strayed[values[strayed] >= length]
    return values.astype(np.int64)


def shard_positions(begin: int, end: int, *, shard_index: int, num_shards: int) -> Int64s:
    """Return the places in the epoch of a shard's own places begin..end-1: (end - begin,) int64.

    A shard takes every `num_shards`-th place from `shard_index` on, so shards are disjoint and
    together complete, and differ by one record at most.

    Raises:
        ValueError: shard_index is not below num_shards, or the places run backwards.
    """
    if not 0 <= shard_index < num_shards:
        raise ValueError(
            f"shard_index must be 0..num_shards-1, got {shard_index} of {num_shards}. "
            "Count shards from 0."
        )
    if not 0 <= begin <= end:
        raise ValueError(
            f"a shard's places run from 0 upwards, got {begin}..{end}. "
            "Begin at 0 or more, and end no earlier."
        )
    return shard_index + num_shards * np.arange(begin, end, dtype=np.int64)


def _each_once(epoch: int, positions: Int64s, *, rows: Rows, seed: int, shuffle: bool) -> Int64s:
    if shuffle:
        positions = permute(positions, length=len(rows), seed=seed, epoch=epoch)
    return rows[positions].astype(np.int64)


def _encipher(
    values: npt.NDArray[np.uint64], length: int, round_keys: npt.NDArray[np.uint64]
) -> npt.NDArray[np.uint64]:
    """Return a bijection of 0..m-1, where m exceeds `length` by less than its square root.

    A value is two digits, high and low, of nearly equal sizes with the product m. Each round moves
    low by a hash of high, modulo low's size, and the digits change places. After an even number
    of rounds they are back in their own.
    """
    root = math.isqrt(length - 1) + 1
    size, other = np.uint64(root), np.uint64(-(-length // root))
    high, low = np.divmod(values, size)
    for key in round_keys:
        step = (keys.mix(high + key) >> _SPARE) * size >> _KEPT  # 0..size-1
        moved = low + step
        # A difference below zero wraps round to a huge number, so this is moved % size, without
        # the division that would double the cost of a round.
        low, high = high, np.minimum(moved, moved - size)
        size, other = other, size
    return high * size + low


def _check_positions(positions: Int64s, length: int) -> None:
    """Refuse positions that are not in an epoch, naming the first."""
    if not len(positions) or (positions.min() >= 0 and positions.max() < length):
        return
    place = int(np.flatnonzero((positions < 0) | (positions >= length))[0])
    raise ValueError(
        f"positions must be 0 or more and below {length}, the records of an epoch, "
        f"got {int(positions[place])} at place {place}. Ask for positions below len(order)."
    )
