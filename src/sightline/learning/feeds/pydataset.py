"""A stream as a Keras PyDataset with the right number of batches in every epoch.

What Keras 3.15 asks of a PyDataset, and what is made of it here:

* `fit` shuffles the numbers of the batches, so a number says nothing of the order: within an
  epoch the first batch asked for is the stream's first. Outside one, number i is batch i.
* Before the first epoch it looks at one or two batches and calls `reset`, which ends an epoch
  that nobody saw: that one does not count.
* With TensorFlow the batches are asked for by another thread, ahead of the training.
* `steps_per_epoch` is not told, but counted against `num_batches` across epochs: six batches and
  steps_per_epoch=5 give epochs of 5, 1, 5, 1 ... batches. So `num_batches` is made to be
  what the call was given, which is read where Keras has it: in the iterator that it makes for
  each call of `fit`, `evaluate` or `predict`.
"""

from __future__ import annotations

import _thread
import sys
import threading
import weakref
from types import FrameType

import keras

from sightline.data.stream import Stream
from sightline.learning.feeds.batches import Arrays, Reader, arrays, checked_epoch


class KerasDataset(keras.utils.PyDataset):
    """Whole batches of a stream for `fit`, `evaluate` and `predict`.

        feed = keras_dataset(stream)
        model.fit(feed, epochs=10)

    A batch is (images (B, H, W, C) float32 or uint8, targets (B,) or (B, K) float32, weights (B,)
    float32), or images alone; the last one of an epoch may be smaller. An unreadable file has
    weight 0. `class_weight` cannot be given beside these weights; Keras says so.

    Epoch n of `fit` is the stream's epoch `first_epoch` + n, from its beginning; one that was
    stopped in its middle is begun anew by the next `fit`. With `steps_per_epoch`, every epoch has
    that many batches: when they are fewer than `len()`, the first ones, and the rest is left out
    (others in each epoch, where the stream shuffles); when they are more, it goes on through the
    stream's next epochs.

    The stream's threads end with an epoch; at the latest with the call, when Python has freed
    what the call left behind, or by `close()`, or at the end of a `with` block.

    Raises:
        DataError: From `fit` and `feed[i]`: more files than the stream's budget could not be
            read. With TensorFlow `fit` raises its InvalidArgumentError, with the same text.
    """

    def __init__(self, stream: Stream, *, first_epoch: int, images_only: bool) -> None:
        super().__init__()
        self._epoch = checked_epoch(first_epoch)
        self._images_only = images_only
        self._epoch_batches = len(stream)
        self._steps: int | None = None  # of the call of `fit`, `evaluate` or `predict` at work
        self._call = object()
        self._running = False
        self._places: dict[int, int] = {}  # Keras' number of a batch -> its place in the epoch
        self._reader = Reader(stream)
        self._lock = threading.RLock()  # TensorFlow asks from a thread of its own

    def __len__(self) -> int:
        """Batches of one epoch of the stream."""
        return self._epoch_batches

    @property
    def epoch(self) -> int:
        """The stream's epoch that comes next: `first_epoch` of a feed that is to go on here."""
        return self._epoch

    @property
    def num_batches(self) -> int:
        """Batches of one epoch of the call at work: its `steps_per_epoch`, or `len()`."""
        return self._steps or self._epoch_batches

    def __getitem__(self, index: int) -> Arrays:
        """Return a batch: within an epoch of Keras the next one, else number `index`.

        Raises:
            IndexError: There is no such batch.
            RuntimeError: Keras asks for it, and the feed was closed within the epoch.
            DataError: More files than the stream's budget could not be read.
        """
        with self._lock:
            if not 0 <= index < self.num_batches:
                raise IndexError(f"batch {index} is not one of 0..{self.num_batches - 1}")
            place = index
            if self._running:  # a number that comes again gets its batch again
                place = self._places.setdefault(index, len(self._places))
            elif _at_work("PyDatasetAdapter._finite_generator") is not None:
                # TensorFlow's thread may ask on after its call: that must start nothing again.
                raise RuntimeError(
                    f"batch {index} was asked for after its epoch was left. Close a feed after "
                    "`fit`, not within."
                )
            epochs, number = divmod(place, self._epoch_batches)
            batch = self._reader.batch(self._epoch + epochs, number)
            return arrays(batch, images_only=self._images_only)

    def on_epoch_begin(self) -> None:
        """Begin an epoch: batches are now given in the stream's order."""
        with self._lock:
            self._places.clear()
            self._running = True

    def on_epoch_end(self) -> None:
        """End an epoch: the stream's next one follows."""
        with self._lock:
            if _at_work("EpochIterator.reset") is None:
                self._epoch += -(-self.num_batches // self._epoch_batches)
            self.close()

    def close(self) -> None:
        """Leave an epoch that was not finished, and end the stream's threads."""
        with self._lock:
            self._running = False
            self._places.clear()
            self._reader.close()

    def __enter__(self) -> KerasDataset:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def workers(self) -> int:
        """1: the stream has threads of its own, and Keras' queue stays out of the way."""
        call = _at_work("EpochIterator.__init__")
        if call is not None:  # Keras asks once a call, when it makes its adapter
            self._begin_call(call.f_locals["self"], call.f_locals["steps_per_epoch"])
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

    def _begin_call(self, epoch_iterator: object, steps: int | None) -> None:
        """Take note of a call of `fit`, `evaluate` or `predict`: Keras' iterator lives as long."""
        with self._lock:
            self.close()
            self._steps = steps
            self._call = object()
            weakref.finalize(epoch_iterator, self._freed, self._call).atexit = False

    def _freed(self, call: object) -> None:
        # Memory may be freed in a thread of the stream, which cannot wait for its own end.
        _thread.start_new_thread(self._end_call, (call,))

    def _end_call(self, call: object) -> None:
        """Close, unless another call has begun meanwhile."""
        with self._lock:
            if self._call is call:
                self._steps = None
                self.close()


def _at_work(function: str) -> FrameType | None:
    """Return the frame of a function of Keras, by qualified name, if it is behind this call."""
    frame: FrameType | None = sys._getframe(2)
    for _ in range(3):  # Keras' adapter, and what made or called that
        if frame is None:
            return None
        is_keras = str(frame.f_globals.get("__name__")).startswith("keras.")
        if is_keras and frame.f_code.co_qualname == function:
            return frame
        frame = frame.f_back
    return None


def _refuse(name: str, value: object, only: object) -> None:
    if value != only:
        raise ValueError(
            f"{name} of a stream's feed must be {only}, got {value!r}: the stream reads ahead in "
            "threads of its own. For more of them give StreamConfig(num_threads=...)."
        )
