"""Which records make up an epoch: each once, by weight, or evenly over the classes.

Every choice is a pure function of (seed, epoch, position), like the plain shuffle of `order`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeVar, get_args

import numpy as np
import numpy.typing as npt

from sightline.data.stream import keys
from sightline.data.stream.order import Int64s, Order, Rows, permute, plain_order
from sightline.errors import DataError

Sampling = Literal["all", "weighted", "class-balanced", "oversample", "undersample"]
Column = TypeVar("Column", np.int32, np.float32)


def make_order(
    rows: Rows,
    *,
    seed: int,
    shuffle: bool,
    sampling: Sampling = "all",
    labels: npt.NDArray[np.int32] | None = None,
    weights: npt.NDArray[np.float32] | None = None,
) -> Order:
    """Return the order of a split's epochs.

    With n rows in K classes, of which the largest has L records and the smallest S:

    | sampling         | an epoch                                        | bytes a row   |
    | ---------------- | ----------------------------------------------- | ------------- |
    | "all"            | n: each record once                             | 0             |
    | "weighted"       | n draws, chances proportional to weights        | 8             |
    | "class-balanced" | n draws, classes equally likely, and so are the | an item of    |
    |                  | records of a class                              | `rows`        |
    | "oversample"     | K * L: each class L times, each of its m        | the same      |
    |                  | records floor(L / m) or ceil(L / m) times       |               |
    | "undersample"    | K * S: S records of each class, none twice      | the same      |

    Draws are with replacement. In the last two, the records of a class take turns in a fixed
    order of their own, going on in an epoch where the one before ended: after m epochs, each has
    come up equally often. Only classes that have records in the split count.

    The bytes are beside `rows` itself, which "all" and "weighted" keep. All but "all" take up to
    28 bytes a row for the moment in which they are made (0.2 s for a million rows).

    Args:
        rows: (n,) manifest rows of the split, ascending and distinct.
        seed: 0..2**32-1.
        shuffle: False keeps the manifest's order in every epoch; only with "all".
        sampling: As above.
        labels: (m,) class indices of ALL manifest rows, -1 without; needed to go by class.
        weights: (m,) weights of ALL manifest rows, 0 or more; needed for "weighted".

    Raises:
        ValueError: The arguments do not fit one another.
        DataError: The split's weights or labels cannot be sampled by, or it has no records to
            draw from.
    """
    if sampling not in get_args(Sampling):
        raise ValueError(f"sampling must be one of {get_args(Sampling)}, got {sampling!r}")
    if sampling == "all":
        return plain_order(rows, seed=seed, shuffle=shuffle)
    if not shuffle:
        raise ValueError(
            f'shuffle=False goes with sampling="all" alone, got sampling={sampling!r}. '
            "Shuffle, or take every record once."
        )
    if not len(rows):
        raise DataError(
            f"sampling={sampling!r} got a split of 0 records, so there is nothing to draw from. "
            "Take another split."
        )
    if sampling == "weighted":
        cumulative = _cumulative(rows, _of_split("weights", weights, rows, sampling))
        return Order(len(rows), partial(_by_weight, seed=seed, rows=rows, cumulative=cumulative))
    classes = _Classes.of(rows, _of_split("labels", labels, rows, sampling), seed, sampling)
    if sampling == "class-balanced":
        return Order(len(rows), partial(_by_class, seed=seed, classes=classes))
    quota = int(classes.counts.max() if sampling == "oversample" else classes.counts.min())
    pick = partial(_in_turn, seed=seed, classes=classes, quota=quota)
    return Order(quota * len(classes.counts), pick)


@dataclass(frozen=True, slots=True, eq=False)
class _Classes:
    """The rows of a split by class.

    Attributes:
        members: (n,) rows, class after class; within one in random order, fixed by the seed.
        begins: (K,) int64 where each class begins in `members`.
        counts: (K,) int64 records of each class, at least 1.
    """

    members: Rows
    begins: Int64s
    counts: Int64s

    @classmethod
    def of(cls, rows: Rows, labels: npt.NDArray[np.int32], seed: int, sampling: str) -> _Classes:
        without = int(np.count_nonzero(labels < 0))
        if without:
            raise DataError(
                f"sampling={sampling!r} goes by class, got {without} of {len(rows)} records "
                'without a label. Label them or take them out of the split, or use sampling="all".'
            )
        # The hash is of the row, not of its place: a record added to one class does not change
        # the turns of another.
        chance = keys.hashes(keys.TURNS, seed=seed, epoch=0, rows=rows.astype(np.int64))
        members = rows[np.lexsort((chance, labels))]
        counts = np.bincount(labels)
        counts = counts[counts > 0]
        return cls(members, np.cumsum(counts) - counts, counts)

    def member(self, classes: Int64s, places: Int64s) -> Int64s:
        """Return the row at each place (0..count-1) of each class (0..K-1): (N,) int64."""
        found: Rows = self.members[self.begins[classes] + places]
        return found.astype(np.int64)


def _by_weight(
    epoch: int, positions: Int64s, *, seed: int, rows: Rows, cumulative: npt.NDArray[np.float64]
) -> Int64s:
    drawn = keys.uniforms(keys.SAMPLE, seed=seed, epoch=epoch, rows=positions, draws=1)[:, 0]
    # A draw is 1 - 2**-53 at most, so its product with the total rounds to less than the total;
    # to the right of equal sums stands the record that raised them, never one of weight 0.
    places = np.searchsorted(cumulative, drawn * cumulative[-1], side="right")
    drawn_rows: Rows = rows[places]
    return drawn_rows.astype(np.int64)


def _by_class(epoch: int, positions: Int64s, *, seed: int, classes: _Classes) -> Int64s:
    drawn = keys.uniforms(keys.SAMPLE, seed=seed, epoch=epoch, rows=positions, draws=2)
    chosen = (drawn[:, 0] * len(classes.counts)).astype(np.int64)
    return classes.member(chosen, (drawn[:, 1] * classes.counts[chosen]).astype(np.int64))


def _in_turn(epoch: int, positions: Int64s, *, seed: int, classes: _Classes, quota: int) -> Int64s:
    """Return `quota` records of every class, shuffled; their turns go on from epoch to epoch."""
    length = quota * len(classes.counts)
    chosen, turn = np.divmod(permute(positions, length=length, seed=seed, epoch=epoch), quota)
    return classes.member(chosen, (epoch * quota + turn) % classes.counts[chosen])


def _cumulative(rows: Rows, weights: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return the running sum of the weights of a split, (n,): what draws are looked up in."""
    usable = np.isfinite(weights) & (weights >= 0)
    if not usable.all():
        place = int(np.argmin(usable))
        raise DataError(
            'sampling="weighted" needs finite weights of 0 or more, '
            f"got {weights[place]} in manifest row {int(rows[place])} "
            f"({np.count_nonzero(~usable)} such rows in all). Correct the manifest's weights."
        )
    sums = np.cumsum(weights, dtype=np.float64)
    if not sums[-1]:
        raise DataError(
            f'sampling="weighted" got weights of 0 in all {len(rows)} records, from manifest row '
            f'{int(rows[0])} on. Correct the manifest\'s weights, or use sampling="all".'
        )
    return sums


def _of_split(
    name: str, column: npt.NDArray[Column] | None, rows: Rows, sampling: str
) -> npt.NDArray[Column]:
    """Return the rows' part of a column of the whole manifest."""
    if column is None:
        raise ValueError(
            f"sampling={sampling!r} needs {name}, got None. Pass those of all manifest rows."
        )
    last = int(rows[-1])
    if column.ndim != 1 or len(column) <= last:
        raise ValueError(
            f"{name} must hold one value for every manifest row, got shape {column.shape} for "
            f"rows up to {last}. Pass those of all manifest rows, not of the split."
        )
    return column[rows]
