"""Featurewise statistics: of an array in memory, or of batches that need not fit there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_MOST_VALUES = 12_000  # a picture, for whitening: its matrix has the square, 1.2 GB


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be measured, and how pictures lie in memory.

    Attributes:
        center: The mean of each channel.
        scale: Then the deviation of each channel.
        whiten: Then the matrix of ZCA whitening (Bell and Sejnowski, "The 'independent
            components' of natural scenes are edge filters", 1997).
        channel_axis: 1 or 3, of a batch.
        epsilon: Added to singular values.
    """

    center: bool
    scale: bool
    whiten: bool
    channel_axis: int
    epsilon: float

    def per_channel(self, values: Array) -> Array:
        """Return (C,) values as (1, 1, C) or (C, 1, 1)."""
        shape = [1, 1, 1]
        shape[self.channel_axis - 1] = len(values)
        return values.reshape(shape)


@dataclass(frozen=True, slots=True)
class Statistics:
    """What `standardize` subtracts, divides by and multiplies with; None: not asked for.

    Attributes:
        mean: (1, 1, C) or (C, 1, 1).
        std: Likewise.
        whitening: (H*W*C, H*W*C).
    """

    mean: Array | None = None
    std: Array | None = None
    whitening: Array | None = None


def of_array(x: Array, wanted: Wanted) -> Statistics:
    """Return the statistics of pictures (N, ...), in their own precision, as Keras computes them.

    `x` is centred and scaled in place.
    """
    over = tuple(axis for axis in range(4) if axis != wanted.channel_axis)
    mean = std = whitening = None
    if wanted.center:
        mean = wanted.per_channel(np.mean(x, axis=over))
        x -= mean
    if wanted.scale:
        std = wanted.per_channel(np.std(x, axis=over))
        x /= std + 1e-6
    if wanted.whiten:
        flat = np.reshape(x, (len(x), -1))
        u, s, _ = np.linalg.svd(flat.T, full_matrices=False)
        whitening = _whitening(u, s, len(x), wanted.epsilon)
    return Statistics(mean, std, whitening)


def of_batches(
    batches: Callable[[], Iterable[Array]], wanted: Wanted, dtype: npt.DTypeLike
) -> Statistics:
    """Return the statistics of pictures that come in batches, each read once for each of them.

    Sums are float64. Memory: one batch; and for whitening a matrix of the picture's values squared.

    Args:
        batches: Gives the same batches (N, ...) at every call.
        wanted: What to measure.
        dtype: Of mean and deviation.

    Raises:
        ValueError: There is no picture; or one has too many values for whitening.
    """
    over = tuple(axis for axis in range(4) if axis != wanted.channel_axis)
    mean = std = whitening = None
    if wanted.center:
        mean = wanted.per_channel(_average(batches(), over))
    if wanted.scale:
        about = mean if mean is not None else wanted.per_channel(_average(batches(), over))
        squares = _average((_moved(x, about, None) ** 2 for x in batches()), over)
        std = wanted.per_channel(np.sqrt(squares))
    if wanted.whiten:
        whitening = _whitening_of((_moved(x, mean, std) for x in batches()), wanted.epsilon)
    mean, std = (None if part is None else part.astype(dtype) for part in (mean, std))
    return Statistics(mean, std, whitening)  # the matrix is float64, as Keras' is


def _average(batches: Iterable[Array], over: tuple[int, ...]) -> Array:
    total: Any = 0.0
    count = 0
    for x in batches:
        total = total + np.sum(x, axis=over, dtype=np.float64)
        count += int(np.prod([x.shape[axis] for axis in over]))
    if not count:
        raise ValueError("there is no picture to fit to: the iterator gave none")
    return np.asarray(total) / count


def _moved(x: Array, mean: Array | None, std: Array | None) -> Array:
    moved = np.asarray(x, np.float64)
    moved = moved if mean is None else moved - mean
    return moved if std is None else moved / (std + 1e-6)


def _whitening_of(batches: Iterable[Array], epsilon: float) -> Array:
    """Return the whitening matrix by way of X.T @ X and its eigenvalues."""
    products: Any = 0.0
    count = 0
    for x in batches:
        flat = x.reshape(len(x), -1)
        if flat.shape[1] > _MOST_VALUES:
            raise ValueError(
                f"zca_whitening of pictures of {flat.shape[1]:,} values would need a matrix of "
                f"{8 * flat.shape[1] ** 2 / 1e9:,.0f} GB. Take a smaller target_size, of up to "
                f"{_MOST_VALUES:,} values."
            )
        products = products + flat.T @ flat
        count += len(flat)
    values, u = np.linalg.eigh(products)
    known = min(count, len(values))  # fewer pictures than values know nothing of the rest
    values, u = values[::-1][:known], u[:, ::-1][:, :known]
    return _whitening(u, np.sqrt(np.maximum(values, 0)), count, epsilon)


def _whitening(u: Array, s: Array, count: int, epsilon: float) -> Array:
    matrix: Array = (u * (np.sqrt(count) / (s + epsilon))) @ u.T
    return matrix
