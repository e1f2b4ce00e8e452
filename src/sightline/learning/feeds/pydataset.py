"""A stream as a Keras PyDataset with the right number of batches in every epoch.

What Keras 3.15 asks of a PyDataset, and what is made of it here:

* `fit` shuffles the numbers of the batches, so a number says nothing of the order: within an
  epoch the first batch asked for is the stream's first. Outside one, number i is batch i.
* A call of `fit` or `evaluate` begins by asking for `workers`. It may then look at one or two
  batches, within an epoch or outside of one, and ends that by `on_epoch_end` before its first own
  epoch: the first end of a call does not count.
* With TensorFlow the batches are asked for by another thread, ahead of the training.
* `fit(steps_per_epoch=5)` is not told to a PyDataset, but counted against `num_batches` across
  epochs: where that is 6, epochs get 5, 1, 5, 1 ... batches. So the feed itself is told the steps,
  has as many batches, and warns of an epoch that begins with what another one left.
"""

from __future__ import annotations

import threading
import warnings
from typing import Literal

import keras

from sightline.data.stream import Stream
from sightline.learning.feeds.batches import Arrays, Reader, arrays, checked_epoch, checked_steps


class KerasDataset(keras.utils.PyDataset):
    """Whole batches of a stream for `fit`, `evaluate` and `predict`.

        feed = keras_dataset(stream)
        model.fit(feed, epochs=10)

    A batch is (images (B, H, W, C) float32 or uint8, targets (B,) or (B, K) float32, weights (B,)
    float32), or images alone; the last one of an epoch of the stream may be smaller. An unreadable
    file has weight 0. `class_weight` cannot be given beside these weights; Keras says so.

    Epoch n of `fit` is the stream's epoch `first_epoch` + n, from its beginning; one that was
    stopped in its middle counts, one of `predict` does not. With `steps_per_epoch`, every epoch
    has that many batches: when they are fewer than the stream's, the first ones, and the rest is
    left out (others in each epoch, where the stream shuffles); when they are more, it goes on
    through the stream's next epochs.

    The stream's threads end with an epoch. Those of an epoch that was stopped in its middle wait
    for the next one, and end with the feed, by `close()`, or at the end of a `with` block.

    Raises:
        DataError: From `fit` and `feed[i]`: more files than the stream's budget could not be
            read. With TensorFlow `fit` raises its InvalidArgumentError, with the same text.
    """

    def __init__(
        self, stream: Stream, *, steps_per_epoch: int | None, first_epoch: int, images_only: bool
    ) -> None:
        super().__init__()
        self._epoch = checked_epoch(first_epoch)
        self._images_only = images_only
        self._epoch_batches = len(stream)
        self._steps = checked_steps(steps_per_epoch) or self._epoch_batches
        self._state: Literal["outside", "within", "closed within"] = "outside"
        self._only_looking = False  # a call of Keras has begun, none of its epochs
        self._current = self._epoch
        self._places: dict[int, int] = {}  # Keras' number of a batch -> its place in the epoch
        self._unasked: set[int] = set()  # what Keras' way through the numbers left for later
        self._reader = Reader(stream)
        self._lock = threading.RLock()  # TensorFlow asks from a thread of its own

    def __len__(self) -> int:
        """Batches of an epoch."""
        return self._steps

    @property
    def num_batches(self) -> int:
        """Batches of an epoch, as Keras asks for them."""
        return self._steps

    @property
    def epoch(self) -> int:
        """The stream's epoch that comes next: `first_epoch` of a feed that is to go on here."""
        return self._epoch

    def __getitem__(self, index: int) -> Arrays:
        """Return a batch: within an epoch of Keras the next one, else number `index`.

        Raises:
            IndexError: There is no such batch.
            RuntimeError: Keras asks for it, and the feed was closed within the epoch.
            DataError: More files than the stream's budget could not be read.
        """
        with self._lock:
            if not 0 <= index < self._steps:
                raise IndexError(f"batch {index} is not one of 0..{self._steps - 1}")
            epochs, number = divmod(self._place(index), self._epoch_batches)
            batch = self._reader.batch(self._current + epochs, number)
            return arrays(batch, images_only=self._images_only)

    def on_epoch_begin(self) -> None:
        """Begin an epoch: batches are now given in the stream's order."""
        with self._lock:
            self._leave("within")
            self._current = self._epoch
            self._epoch += -(-self._steps // self._epoch_batches)

    def on_epoch_end(self) -> None:
        """End an epoch, or Keras' look at the first batches."""
        with self._lock:
            if self._state == "outside" or self._only_looking:
                self._epoch = self._current
                self._unasked = set()
            elif not self._places:  # TensorFlow had asked for its batches ahead
                self._warn()
            self._only_looking = False
            self._leave("outside")
            self._current = self._epoch

    def close(self) -> None:
        """Leave an epoch that was not finished, and end the stream's threads."""
        with self._lock:
            self._leave("outside" if self._state == "outside" else "closed within")

    def __enter__(self) -> KerasDataset:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def workers(self) -> int:
        """1: the stream has threads of its own, and Keras' queue stays out of the way."""
        with self._lock:
            self._leave("outside")
            self._only_looking = True
            self._current = self._epoch
            self._unasked = set()
        return 1

    @workers.setter
    def workers(self, value: int) -> None:
        """Refuse any other number."""
        _refuse("workers", value, 1)

    @property
    def use_multiprocessing(self) -> bool:
        """False: a stream is not copied into other processes."""
        return False

    @use_multiprocessing.setter
    def use_multiprocessing(self, value: bool) -> None:
        """Refuse True."""
        _refuse("use_multiprocessing", value, False)

    def _place(self, index: int) -> int:
        """Return which batch of the epoch is meant by Keras' number."""
        if self._state == "outside":
            return index
        if self._state == "closed within":
            # TensorFlow's thread may ask on after its call: that must start nothing again.
            raise RuntimeError(
                f"batch {index} was asked for after its epoch was left. Close a feed after "
                "`fit`, not within."
            )
        if not self._places:
            self._begin_numbers(index)
        self._unasked.discard(index)
        return self._places.setdefault(index, len(self._places))  # asked again: the same again

    def _begin_numbers(self, index: int) -> None:
        """See whether an epoch's first number begins a new way through all of them."""
        if index in self._unasked:
            self._warn()
        else:
            self._unasked = set(range(self._steps))

    def _warn(self) -> None:
        warnings.warn(
            f"This epoch of Keras has only what another one left of {self._steps} batches, "
            "because `steps_per_epoch` of `fit` is not the feed's number of batches. Give it to "
            "the feed instead: keras_dataset(stream, steps_per_epoch=...).",
            stacklevel=2,
        )

    def _leave(self, state: Literal["outside", "within", "closed within"]) -> None:
        self._state = state
        self._places.clear()
        self._reader.close()


def _refuse(name: str, value: object, only: object) -> None:
    if value != only:
        raise ValueError(
            f"{name} of a stream's feed must be {only}, got {value!r}: the stream reads ahead in "
            "threads of its own. For more of them give StreamConfig(num_threads=...)."
        )
