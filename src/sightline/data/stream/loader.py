"""The order of batches, their delivery, and what becomes of files that cannot be read."""

from __future__ import annotations

import operator
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from sightline.data.stream import augment
from sightline.data.stream.config import StreamConfig
from sightline.data.stream.engine import Engine, abandon, finish
from sightline.data.stream.filling import Fault, Making, Rows
from sightline.data.stream.keys import checksum
from sightline.data.stream.mixing import Mixer, Mixing
from sightline.data.stream.order import shard_positions
from sightline.data.stream.position import describe, from_state, to_state
from sightline.data.stream.sampling import make_order
from sightline.errors import DataError
from sightline.records import Batch, Manifest, RecordIndex, Split

_AT_ONCE = 1024  # records whose order and changes are worked out at once: 100 KB
_COUNTED_AT_ONCE = 1 << 16  # records whose order alone is: 5 MB


class Stream:
    """Batches of one split, epoch after epoch; a pure function of (manifest, config, epoch).

    A record's pixels depend on nothing else: not on threads, batch size, shard or cache; only how
    large a file may be follows from `max_memory`, threads and batch size, where that is set. A file
    that cannot be read keeps its place in the batch with weight 0 and a black image, and is
    recorded in `faults`, which are those of the epoch in hand; past the budget of the config it
    is an error. Not for use from several threads at once; several streams may run side by side.

    The memory of a batch is used again once nobody holds its arrays any more.

    Args:
        manifest: The images, or their mapped index (then the table is never opened).
        split: Which part; None takes every row.
        config: How batches are made.
        shard_index: This worker's number, 0..num_shards-1.
        num_shards: Workers that share each epoch without loss or repeat.
        say: Takes the one sentence that says why decoded images cannot be kept, if it comes to
            that; by default it becomes a CacheWarning.

    Raises:
        ValueError: shard_index is not below num_shards, there are more shards than records, the
            config's memory is too little, or its cache needs to know more about the files.
        DataError: The split holds no images, or they do not fit the config.
    """

    def __init__(
        self,
        manifest: Manifest | RecordIndex,
        *,
        split: Split | None,
        config: StreamConfig,
        shard_index: int = 0,
        num_shards: int = 1,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self.config = config
        self.faults: dict[int, Fault] = {}
        self._index = manifest.index() if isinstance(manifest, Manifest) else manifest
        self._rows = self._index.rows_of(split)
        if not len(self._rows):
            raise DataError(
                f"the manifest of {self._index.root} has no images in split {split!r}. "
                "Split it first, or take another split."
            )
        self._order = make_order(
            self._rows,
            seed=config.seed,
            shuffle=config.shuffle,
            sampling=config.sampling,
            labels=self._index.labels,
            weights=self._index.weights,
        )
        self._mixer = Mixer.of(config, self._order, self._rows)
        self._shard = _checked_shard(shard_index, num_shards, len(self._order))
        self._about = describe(self._index, self._rows, config, self._shard)
        self._position = (0, 0)
        self._resume_at: tuple[int, int] | None = None
        self._faults_of = -1  # the epoch that `faults` are of
        self._times_closed = 0
        self._engine = Engine(self._index, config, say=say)

    def __len__(self) -> int:
        """Batches of one epoch (of this shard)."""
        return -(-self.num_records // self.config.batch_size)

    @property
    def num_records(self) -> int:
        """Records of one epoch (of this shard)."""
        shard_index, num_shards = self._shard
        return len(range(shard_index, len(self._order), num_shards))

    def distinct(self, epoch: int) -> int:
        """Return how many different records count in an epoch (of this shard).

        Neither those of weight 0, nor those that `faults` names, which knows of an epoch once it
        is over. It follows from the order alone: 0.05 s for a million draws, a byte a record.
        """
        given = np.zeros(len(self._index.labels), bool)
        for rows in self._rows_in_parts(epoch):
            given[rows] = True
        if epoch == self._faults_of:
            given[list(self.faults)] = False
        return int(np.count_nonzero(given & (self._index.weights > 0)))

    def checksum(self, epoch: int) -> int:
        """Return the `keys.checksum` of all rows of an epoch (of this shard), from its order alone.

        Whoever adds up those of the batches that came can tell whether each came once.
        """
        return sum(checksum(rows) for rows in self._rows_in_parts(epoch)) % 2**64

    def _rows_in_parts(self, epoch: int) -> Iterator[npt.NDArray[np.int64]]:
        """Yield the rows of an epoch (of this shard) in their order, many at a time."""
        shard_index, num_shards = self._shard
        for begin in range(0, self.num_records, _COUNTED_AT_ONCE):
            places = shard_positions(
                begin,
                min(begin + _COUNTED_AT_ONCE, self.num_records),
                shard_index=shard_index,
                num_shards=num_shards,
            )
            yield self._order.rows(epoch, places)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes that labels point into."""
        return self._index.class_names

    def record_id(self, row: int) -> str:
        """Return the id of a manifest row, e.g. of `batch.rows[0]`."""
        return self._index.record_id(row)

    def epoch(self, number: int) -> Iterator[Batch]:
        """Return the batches of one 0-based epoch, in order.

        After `resume`, the epoch of the saved position begins at its saved batch, once.

        Raises:
            ValueError: The number is negative.
            RuntimeError: From the iterator: the stream was closed since this epoch began, or this
                process was forked off within it.
            DataError: From the iterator: more files than the budget allows could not be read.
        """
        number = operator.index(number)
        if number < 0:
            raise ValueError(f"epochs count from 0, got {number}")
        return self._batches(number)

    def _batches(self, number: int) -> Iterator[Batch]:
        first = self._first_batch(number)
        if not first or number != self._faults_of:  # what could not be read may be readable again
            self.faults.clear()
            self._faults_of = number
        self._engine.open()
        began = (self._times_closed, os.getpid())
        coming = self._batches_to_come(number, first)
        in_flight: deque[Making] = deque()
        try:
            for position in range(first, len(self)):
                if (self._times_closed, os.getpid()) != began:
                    happened = "closed" if self._times_closed != began[0] else "forked"
                    raise RuntimeError(
                        f"the stream was {happened} after batch {position} of epoch {number}. "
                        f"Ask for epoch({number}) again, or do that later."
                    )
                while len(in_flight) < self._engine.ahead and (batch_to_come := next(coming, None)):
                    in_flight.append(self._start(*batch_to_come))
                batch = self._finish(in_flight[0])
                in_flight.popleft()
                self._position = (number, position + 1)
                yield batch
                del batch  # its memory may be used again
            self._position = (number + 1, 0)
        finally:
            abandon(in_flight, process=began[1])  # closed early, or an error: nothing goes on

    def state(self) -> dict[str, Any]:
        """Return where the stream is, ready for JSON: batches handed out, not those read ahead.

        {"epoch", "batch", "stream": what decides the order, "faults": those of the epoch so far}.
        """
        within = self._position[0] == self._faults_of
        return to_state(self._position, self._about, self.faults.values() if within else ())

    def resume(self, state: Mapping[str, Any]) -> None:
        """Go on at a position that `state` returned, in this or another process.

        {"epoch": 3, "batch": 0} alone is a position as well.

        Raises:
            ValueError: There is no such position, or it was saved with other images, seed, batch
                size, sampling or shard.
        """
        position, faults = from_state(state, num_batches=len(self), stream=self._about)
        self._position = self._resume_at = position
        self._faults_of = position[0]
        self.faults.clear()
        self.faults.update(faults)

    def close(self) -> None:
        """Stop the threads, let go of the cache; the stream may be used again, from a new `epoch`.

        The images of batches stay as they are.
        """
        self._times_closed += 1
        self._engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _first_batch(self, number: int) -> int:
        """Return where an epoch begins; a position to resume at counts once."""
        epoch, batch = self._resume_at or (number, 0)
        self._resume_at = None
        return batch if epoch == number else 0

    def _batches_to_come(
        self, epoch: int, first: int
    ) -> Iterator[tuple[Rows, augment.Changes, Mixing | None]]:
        """Yield rows, changes and mixing of each batch of an epoch, from batch `first` on.

        They are worked out for many batches at once: one at a time, NumPy's calls would cost as
        much as a tenth of the pixels.
        """
        config, size = self.config, self.config.batch_size
        at_once = size * max(1, _AT_ONCE // size)
        shard_index, num_shards = self._shard
        for begin in range(first * size, self.num_records, at_once):
            places = shard_positions(
                begin,
                min(begin + at_once, self.num_records),
                shard_index=shard_index,
                num_shards=num_shards,
            )
            rows = self._order.rows(epoch, places)
            # A record that comes several times in an epoch is changed anew each time.
            repeats = config.sampling not in ("all", "undersample")
            keys = rows + (places + 1 << 32) if repeats else rows
            changes = augment.draw(
                config.augment, size=config.image_size, seed=config.seed, epoch=epoch, keys=keys
            )
            mixing = self._mixer.draw(epoch, rows=rows, keys=keys) if self._mixer else None
            for place in range(0, len(rows), size):
                end = place + size
                mixed = None if mixing is None else mixing.part(place, end)
                yield rows[place:end], changes.part(place, end), mixed

    def _start(self, rows: Rows, changes: augment.Changes, mixing: Mixing | None) -> Making:
        """Begin one batch."""
        weights = self._index.weights[rows].astype(np.float32)
        if self.config.sampling == "weighted":  # the weights have had their effect
            weights[:] = 1
        return self._engine.start(rows, weights, changes, mixing=mixing)

    def _finish(self, making: Making) -> Batch:
        """Wait for a batch, take note of its faults, and make the noun."""
        finish(making)
        for fault in sorted((fault for _, fault in making.faults), key=lambda fault: fault.row):
            self.faults[fault.row] = fault
        self._check_budget()
        labels = self._index.labels[making.rows].astype(np.int32)
        targets = one_hot(labels, len(self._index.class_names))
        if making.mixing is not None:
            others = self._index.labels[making.mixing.rows]
            targets = making.mixing.targets(targets, one_hot(others, len(self.class_names)))
        return Batch(making.images, labels, targets, making.weights, making.rows)

    def _check_budget(self) -> None:
        count, total = len(self.faults), -(-len(self._rows) // self._shard[1])
        if count <= self.config.fault_budget(total):
            return
        first = "\n".join(f"  {fault.message}" for fault in list(self.faults.values())[:5])
        raise DataError(
            f"{count} of {total} images could not be read, more than the budget of "
            f"{100 * self.config.max_fault_share:g}% or {self.config.max_faults} files:\n{first}\n"
            "Repair or remove them, then start again."
        )


def _checked_shard(shard_index: int, num_shards: int, num_records: int) -> tuple[int, int]:
    if not 0 <= shard_index < num_shards:
        raise ValueError(f"shard_index must be 0..num_shards-1, got {shard_index} of {num_shards}")
    if num_shards > num_records:
        raise ValueError(
            f"an epoch of {num_records} records cannot be shared by {num_shards} shards: some "
            "would be empty. Use fewer."
        )
    return shard_index, num_shards


def one_hot(labels: npt.NDArray[np.int32], num_classes: int) -> npt.NDArray[np.float32]:
    """Return targets: (B,) 0/1 for two classes, (B, K) one-hot otherwise; no label gives 0."""
    if num_classes == 2:
        return np.asarray(labels == 1, np.float32)
    return np.asarray(labels[:, None] == np.arange(num_classes)[None, :], np.float32)
