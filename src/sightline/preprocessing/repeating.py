"""An endless iterator as a PyDataset with the same number of batches in every epoch."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from sightline.learning.feeds.pydataset import Epochwise

_LEFT_OVER = (
    "this epoch of Keras has only what another one left of {batches} batches: `steps_per_epoch` "
    "was given to `fit` beside `repeat`. Give it to one of them."
)


class Repeated(Epochwise):
    """Batches of an endless iterator, so many an epoch, on and on: for `fit` on any backend.

        model.fit(generator.repeat(steps_per_epoch=100), epochs=10)

    A batch that Keras looks at before it trains comes again when the epoch begins.

    Attributes:
        iterator: Where the batches come from.

    Raises:
        ValueError: `steps_per_epoch` is less than 1.
    """

    def __init__(self, iterator: Iterator[Any], steps_per_epoch: int) -> None:
        if steps_per_epoch < 1:
            raise ValueError(f"steps_per_epoch must be at least 1, got {steps_per_epoch}")
        super().__init__(steps_per_epoch, told=_LEFT_OVER)
        self.iterator = iterator
        self._given = 0
        self._looked_at: list[Any] = []
        self._waiting: deque[Any] = deque()

    def take(self, epoch: int, place: int, *, looking: bool) -> Any:  # noqa: ARG002
        """Return the next batch, or at a look the one that will be at this place."""
        if not looking:
            return self._next()
        while len(self._looked_at) <= place:
            self._looked_at.append(self._next())
        return self._looked_at[place]

    def _next(self) -> Any:
        """Return the next batch; several inputs as a tuple, which TensorFlow asks for."""
        if self._waiting:
            return self._waiting.popleft()
        try:
            batch = next(self.iterator)
        except StopIteration:
            raise ValueError(
                f"the generator ended after {self._given} batches, before all epochs of "
                f"{len(self)} had theirs. Let it go on for ever, or give fewer steps or epochs."
            ) from None
        self._given += 1
        if isinstance(batch, tuple) and isinstance(batch[0], list):
            return (tuple(batch[0]), *batch[1:])
        return batch

    def left(self) -> None:
        """Keep what was only looked at for the next epoch; threads of ours rest until then."""
        self._waiting.extendleft(reversed(self._looked_at))
        self._looked_at = []
        if hasattr(self.iterator, "rest"):
            self.iterator.rest()
