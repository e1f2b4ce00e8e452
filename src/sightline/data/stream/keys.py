"""Randomness without state: a hash of (purpose, seed, epoch, row, draw).

A record's draws depend on nothing else, so its pixels are the same for any batch size, shard,
number of threads or place in the epoch, and nothing has to be saved to resume. A whole batch is
drawn at once: one NumPy generator an image would cost 90 microseconds each.

The mixing function is the finaliser of SplitMix64 (Steele, Lea & Flood, "Fast splittable
pseudorandom number generators", OOPSLA 2014; constants by Stafford, variant 13).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

# One number a purpose: draws for different purposes never coincide. Saved runs depend on them, so
# a new purpose takes the next free number and none is ever renumbered or used again.
ORDER = 1  # the shuffle of an epoch
AUGMENT = 2  # how a record is changed
SAMPLE = 3  # which record is drawn, with replacement
TURNS = 4  # in which order the records of a class take turns
ERASE = 5  # which rectangle of a record is erased
PAINT = 6  # the colours it is painted over with
MIX = 7  # which other record is mixed in, and how

_MASK = 2**64 - 1
_GOLDEN = 0x9E3779B97F4A7C15
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_EXPONENT = np.uint64(11)  # 64 - 53: a float64 holds 53 random bits


def hashes(
    purpose: int, *, seed: int, epoch: int, rows: npt.NDArray[np.int64]
) -> npt.NDArray[np.uint64]:
    """Return one hash a row: (N,) uint64, uniform over all values."""
    state = np.zeros(1, np.uint64)
    for word in (purpose, seed, epoch):
        state = mix(state + np.uint64(_GOLDEN * (word + 1) & _MASK))
    return mix(state + np.uint64(_GOLDEN) * (rows.astype(np.uint64) + np.uint64(1)))


def uniforms(
    purpose: int, *, seed: int, epoch: int, rows: npt.NDArray[np.int64], draws: int
) -> npt.NDArray[np.float64]:
    """Return (N, draws) float64 in [0, 1): `draws` numbers for each row."""
    keys = hashes(purpose, seed=seed, epoch=epoch, rows=rows)
    steps = np.uint64(_GOLDEN) * np.arange(1, draws + 1, dtype=np.uint64)
    mixed = mix(keys[:, None] + steps[None, :])
    return (mixed >> _EXPONENT).astype(np.float64) * 2.0**-53


def checksum(rows: npt.NDArray[np.int64]) -> int:
    """Return a sum of rows, 0..2**64-1, whatever their order; sums of parts add up, modulo 2**64.

    Other rows have another one: by chance once in 2**64.
    """
    mixed = mix(np.uint64(_GOLDEN) * (rows.astype(np.uint64) + np.uint64(1)))
    return int(mixed.sum(dtype=np.uint64))


def mix(state: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return (N,) uint64 in which every bit depends on every bit of `state`; a bijection."""
    state = (state ^ (state >> np.uint64(30))) * _FIRST
    state = (state ^ (state >> np.uint64(27))) * _SECOND
    return state ^ (state >> np.uint64(31))
