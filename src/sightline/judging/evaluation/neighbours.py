"""Which training images a network sees as most like a given one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
_ROWS, _COLUMNS = 256, 4096  # of a block of similarities: 8 MiB
_DECIMALS = 6  # finer differences of a similarity are those of rounding


def nearest(
    queries: npt.NDArray[np.floating], training: npt.NDArray[np.floating], count: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return the positions of the most similar training embeddings, and their similarities.

    Two (M, count) arrays, the most similar first. Similar is the cosine of the angle, -1..1, to
    six decimals; equals go by position. A row with a value that is not finite is never chosen, a
    query with one finds nothing, and where there is nothing (left) to find the position is -1 and
    the similarity NaN. A row of zeros has no direction: its similarity is 0 to everything.
    Computed in float64 a block at a time: beyond the input and the answer some tens of MB.
    Deterministic.

    Args:
        queries: (M, E) of any float type, e.g. embeddings of mistakes.
        training: (N, E) of any float type.
        count: How many to find for each, 1 or more.

    Raises:
        ValueError: The shapes do not fit, or `count` is below 1.
    """
    if queries.ndim != 2 or training.ndim != 2 or queries.shape[1] != training.shape[1]:
        raise ValueError(
            f"queries and training must be (M, E) and (N, E), got {queries.shape} and "
            f"{training.shape}"
        )
    if count < 1:
        raise ValueError(f"count must be 1 or more, got {count}")
    positions = np.full((len(queries), count), -1, np.int64)
    similarities = np.full((len(queries), count), -np.inf)
    for first in range(0, len(training), _COLUMNS):
        directions, usable = _directions(training[first : first + _COLUMNS])
        for row in range(0, len(queries), _ROWS):
            rows = slice(row, row + _ROWS)
            asked, answerable = _directions(queries[rows])
            found = np.round(asked @ directions.T, _DECIMALS)
            found[:, ~usable] = -np.inf
            found[~answerable] = -np.inf
            places = np.arange(first, first + len(directions))
            both = np.concatenate([similarities[rows], found], axis=1)
            where = np.concatenate([positions[rows], np.broadcast_to(places, found.shape)], axis=1)
            best = np.argsort(-both, axis=1, kind="stable")[:, :count]  # earlier blocks first
            similarities[rows] = np.take_along_axis(both, best, axis=1)
            positions[rows] = np.take_along_axis(where, best, axis=1)
    nothing = np.isneginf(similarities)
    positions[nothing], similarities[nothing] = -1, np.nan
    return positions, similarities


def _directions(rows: npt.NDArray[np.floating]) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Return (B, E) rows of length 1, zeros where there is no direction, and which are finite."""
    wide = rows.astype(np.float64)
    usable = np.asarray(np.isfinite(wide).all(axis=1), np.bool_)
    wide[~usable] = 0.0
    length = np.sqrt((wide**2).sum(axis=1, keepdims=True))
    return np.divide(wide, length, out=np.zeros_like(wide), where=length > 0), usable
