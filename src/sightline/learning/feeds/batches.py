"""Batches of a stream as frameworks take them: epoch after epoch, or any one by its number."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from sightline.data.stream import Stream
from sightline.records import Batch

Images = npt.NDArray[np.float32] | npt.NDArray[np.uint8]
Arrays = Images | tuple[Images, npt.NDArray[np.float32], npt.NDArray[np.float32]]


def arrays(batch: Batch, *, images_only: bool) -> Arrays:
    """Return a batch's images, or (images, targets, weights); nothing is copied."""
    return batch.images if images_only else (batch.images, batch.targets, batch.weights)


def checked_epoch(number: int) -> int:
    """Return the number of an epoch.

    Raises:
        ValueError: It is negative.
    """
    if number < 0:
        raise ValueError(f"epochs count from 0, got {number}")
    return number


def checked_steps(number: int | None) -> int | None:
    """Return a number of batches, or None where none was given.

    Raises:
        ValueError: It is less than 1.
    """
    if number is not None and number < 1:
        raise ValueError(f"steps_per_epoch must be at least 1, got {number}")
    return number


class Epochs:
    """A stream whose every iteration is an epoch, and the next iteration the next epoch.

    Attributes:
        next_epoch: What the next iteration gives, counted when its first batch is asked for.
    """

    def __init__(self, stream: Stream, *, first_epoch: int, images_only: bool) -> None:
        self.next_epoch = checked_epoch(first_epoch)
        self._stream = stream
        self._images_only = images_only
        self._latest = object()

    def __iter__(self) -> Iterator[Arrays]:
        """Yield one epoch's batches; the stream's threads end with it, however it ends."""
        epoch = self.next_epoch
        self.next_epoch += 1
        self._latest = this = object()
        try:
            # Through `map`, because a loop's variable would keep a batch's memory in use.
            yield from map(self._arrays, self._stream.epoch(epoch))
        finally:
            # An iterator may be freed late, with the traceback of an error, while another runs.
            if self._latest is this:
                self._stream.close()

    def _arrays(self, batch: Batch) -> Arrays:
        return arrays(batch, images_only=self._images_only)


class Reader:
    """Any batch of a stream by epoch and number: in the stream's order, or else by a jump.

    A jump throws away what the stream read ahead, so it costs time, but never gives another batch
    than the one asked for.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._batches: Iterator[Batch] | None = None
        self._next = (0, 0)  # epoch and number of the batch that comes without a jump

    def batch(self, epoch: int, number: int) -> Batch:
        """Return batch `number` of `epoch`, both counted from 0."""
        try:
            if self._batches is None or (epoch, number) != self._next:
                self.close()
                self._stream.resume({"epoch": epoch, "batch": number})
                self._batches = self._stream.epoch(epoch)
            batch = next(self._batches)
            self._next = (epoch, number + 1)
            if number + 1 == len(self._stream):
                next(self._batches, None)  # lets the stream end its epoch
                self.close()
        except BaseException:
            self.close()
            raise
        return batch

    def close(self) -> None:
        """End what was begun, and the stream's threads with it; nothing where nothing was."""
        if self._batches is not None:
            self._batches = None
            self._stream.close()
