"""How Keras goes through the numbers of a PyDataset, told from the calls that it makes.

What Keras 3.15 does, on every backend:

* `fit` shuffles the numbers of the batches, so a number says nothing of the order: within an
  epoch the first batch asked for is the first.
* A call of `fit` or `evaluate` begins by asking for `workers`. It may then look at one or two
  batches, within an epoch or outside of one, and ends that by `on_epoch_end` before its first own
  epoch: the first end of a call does not count. `predict` may not look; nothing of it counts.
* With TensorFlow the batches are asked for by another thread, ahead of the training.
* `fit(steps_per_epoch=5)` is not told to a PyDataset, but counted against `num_batches` across
  epochs: where that is 6, epochs get 5, 1, 5, 1 ... batches. That deserves a warning.
"""

from __future__ import annotations

import warnings


class Passes:
    """Follows the calls that Keras makes of one PyDataset.

    Attributes:
        within: Whether an epoch is going on, Keras' own or one for a look.
        only_looking: Whether a call has begun, but none of its epochs.
    """

    def __init__(self, told: str) -> None:
        """Begin.

        Args:
            told: The warning of an epoch that has only what another one left; "{batches}" in it
                stands for the number of batches of a pass.
        """
        self.within = False
        self.only_looking = False
        self._told = told
        self._places: dict[int, int] = {}  # Keras' number of a batch -> its place in the epoch
        self._unasked: set[int] = set()  # what this way through the numbers left for later

    def begin_call(self) -> None:
        """Take note of a call of `fit`, `evaluate` or `predict`."""
        self.within = False
        self.only_looking = True
        self._places.clear()
        self._unasked = set()

    def begin_epoch(self) -> None:
        """Take note that Keras begins an epoch."""
        self.within = True
        self._places.clear()

    def ask(self, number: int, count: int) -> int:
        """Return the place in its epoch of a batch that Keras asks for by number, of `count`."""
        if not self.within:
            return number
        if not self._places:
            if number in self._unasked:
                self._warn(count)
            else:
                self._unasked = set(range(count))
        self._unasked.discard(number)
        return self._places.setdefault(number, len(self._places))  # asked again: the same again

    def end_epoch(self, count: int) -> bool:
        """Take note that Keras ends an epoch; return whether it was one of its own."""
        own = self.within and not self.only_looking
        if not own:
            self._unasked = set()
        elif not self._places and count:  # TensorFlow had asked for its batches ahead
            self._warn(count)
        self.within = self.only_looking = False
        self._places.clear()
        return own

    def _warn(self, count: int) -> None:
        warnings.warn(self._told.format(batches=count), stacklevel=4)
