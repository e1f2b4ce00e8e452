"""Threads that decode, a bounded number of batches in flight, delivery in order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import cv2
import numpy as np
import numpy.typing as npt

from sightline.data import images
from sightline.data.stream import augment, kernels
from sightline.data.stream.config import StreamConfig
from sightline.data.stream.order import epoch_order, shard
from sightline.errors import DataError
from sightline.records import Batch, Manifest, RecordIndex, Split

_SLICE = 8  # images a task: small enough to share a batch between threads, large enough to pay


@dataclass(frozen=True, slots=True)
class Fault:
    """A file that could not be read while streaming."""

    row: int
    record_id: str
    reason: str
    message: str


class Stream:
    """Batches of one split, epoch after epoch; a pure function of (manifest, config, epoch).

    A file that cannot be read keeps its place in the batch with weight 0 and a black image, and
    is recorded in `faults`, which are those of the epoch in hand; past the budget of the config
    it is an error. Not for use from several threads at once; several streams may run side by
    side.

    Args:
        manifest: The images, or their mapped index (then the table is never opened).
        split: Which part; None takes every row.
        config: How batches are made.
        shard_index: This worker's number, 0..num_shards-1.
        num_shards: Workers that share each epoch without loss or repeat.

    Raises:
        ValueError: shard_index is not below num_shards.
        DataError: The split holds no images.
    """

    def __init__(
        self,
        manifest: Manifest | RecordIndex,
        *,
        split: Split | None,
        config: StreamConfig,
        shard_index: int = 0,
        num_shards: int = 1,
    ) -> None:
        if not 0 <= shard_index < num_shards:
            raise ValueError(
                f"shard_index must be 0..num_shards-1, got {shard_index} of {num_shards}"
            )
        self.config = config
        self.faults: dict[int, Fault] = {}
        self._index = manifest.index() if isinstance(manifest, Manifest) else manifest
        self._rows = self._index.rows_of(split)
        if not len(self._rows):
            raise DataError(
                f"the manifest of {self._index.root} has no images in split {split!r}. "
                "Split it first, or take another split."
            )
        self._shard = (shard_index, num_shards)
        self._position = (0, 0)
        self._resume_at: tuple[int, int] | None = None
        self._times_closed = 0
        self._threads = usable_cores() if config.num_threads is None else config.num_threads
        self._pool: ThreadPoolExecutor | None = None

    def __len__(self) -> int:
        """Batches of one epoch (of this shard)."""
        return -(-self.num_records // self.config.batch_size)

    @property
    def num_records(self) -> int:
        """Records of one epoch (of this shard)."""
        shard_index, num_shards = self._shard
        return len(range(shard_index, len(self._rows), num_shards))

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes that labels point into."""
        return self._index.class_names

    def record_id(self, row: int) -> str:
        """Return the id of a manifest row, e.g. of `batch.rows[0]`."""
        return self._index.record_id(row)

    def epoch(self, number: int) -> Iterator[Batch]:
        """Yield the batches of one 0-based epoch, in order.

        After `resume`, the epoch of the saved position begins at its saved batch, once.

        Raises:
            ValueError: The number is negative.
            RuntimeError: The stream was closed since this epoch began.
            DataError: More files than the budget allows could not be read.
        """
        first = self._first_batch(number)
        if not first:  # what could not be read once may be readable again
            self.faults.clear()
        times_closed = self._times_closed
        # Without threads, working ahead would only keep the caller waiting.
        ahead = self.config.prefetch if self._threads else 1
        order = shard(
            epoch_order(
                self._rows, seed=self.config.seed, epoch=number, shuffle=self.config.shuffle
            ),
            shard_index=self._shard[0],
            num_shards=self._shard[1],
        )
        in_flight: deque[_Making] = deque()
        started = first
        try:
            for position in range(first, len(self)):
                if self._times_closed != times_closed:
                    raise RuntimeError(
                        f"the stream was closed after batch {position} of epoch {number}. "
                        f"Ask for epoch({number}) again, or close the stream later."
                    )
                while started < len(self) and len(in_flight) < ahead:
                    begin = started * self.config.batch_size
                    in_flight.append(
                        self._start(order[begin : begin + self.config.batch_size], number)
                    )
                    started += 1
                batch = self._finish(in_flight.popleft())
                self._position = (number, position + 1)
                yield batch
            self._position = (number + 1, 0)
        finally:
            _abandon(in_flight)  # closed early, or an error: nothing goes on behind

    def state(self) -> dict[str, int]:
        """Return the position {"epoch", "batch"}: batches handed out, not those read ahead."""
        return {"epoch": self._position[0], "batch": self._position[1]}

    def resume(self, state: Mapping[str, int]) -> None:
        """Go on at a position that `state` returned, in this or another process.

        Raises:
            ValueError: The position does not exist in an epoch of this stream.
        """
        epoch, batch = state.get("epoch", -1), state.get("batch", -1)
        if epoch < 0 or not 0 <= batch <= len(self):
            raise ValueError(
                f"position {dict(state)} is not in an epoch of {len(self)} batches. It was saved "
                "with other images or another batch size; begin that epoch anew."
            )
        self._position = self._resume_at = (epoch, batch)

    def close(self) -> None:
        """Stop the threads; the stream may be used again, from a new `epoch` on."""
        self._times_closed += 1
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

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
        if number < 0:
            raise ValueError(f"epochs count from 0, got {number}")
        epoch, batch = self._resume_at or (number, 0)
        self._resume_at = None
        return batch if epoch == number else 0

    def _start(self, rows: npt.NDArray[np.int64], epoch: int) -> _Making:
        """Lay out one batch and hand its slices to the threads."""
        config = self.config
        shape = (len(rows), *config.image_size, config.channels)
        making = _Making(
            images=np.empty(shape, config.dtype),
            weights=self._index.weights[rows].astype(np.float32),
            rows=rows,
            matrices=self._draw(rows, epoch),
            tasks=[],
            faults=[],
        )
        if self._threads == 0:
            self._fill(making, 0, len(rows))
            return making
        if self._pool is None:
            # OpenCV's own threads inside ours would fight for the same cores.
            cv2.setNumThreads(1)
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="sightline-stream")
        for begin in range(0, len(rows), _SLICE):
            end = min(begin + _SLICE, len(rows))
            making.tasks.append(self._pool.submit(self._fill, making, begin, end))
        return making

    def _draw(self, rows: npt.NDArray[np.int64], epoch: int) -> npt.NDArray[np.float64] | None:
        section = self.config.augment
        if section is None or not augment.moves(section):
            return None
        return augment.draw_matrices(
            section, size=self.config.image_size, seed=self.config.seed, epoch=epoch, rows=rows
        )

    def _fill(self, making: _Making, begin: int, end: int) -> None:
        """Decode and place the images `begin`..`end` of a batch; runs in a thread."""
        scale = 1 / 255 if self.config.scaling == "1/255" else 1.0
        section = self.config.augment
        for place in range(begin, end):
            row = int(making.rows[place])
            try:
                image = read_image(self._index.path(row), self.config)
            except DataError as error:
                making.images[place] = 0
                making.weights[place] = 0
                making.faults.append(
                    Fault(row, self._index.record_id(row), error.reason, str(error))
                )
                continue
            except Exception as error:
                error.add_note(f"while reading {self._index.path(row)}")
                raise
            if making.matrices is None or section is None:
                kernels.write_plain(image, making.images[place], scale)
            else:
                kernels.write_warped(
                    image,
                    making.images[place],
                    scale,
                    matrix=making.matrices[place],
                    fill=section.fill,
                    fill_value=section.fill_value,
                )

    def _finish(self, making: _Making) -> Batch:
        """Wait for a batch, take note of its faults, and make the noun."""
        for task in making.tasks:
            task.result()
        for fault in sorted(making.faults, key=lambda fault: fault.row):
            self.faults[fault.row] = fault
        self._check_budget()
        labels = self._index.labels[making.rows].astype(np.int32)
        targets = one_hot(labels, len(self._index.class_names))
        return Batch(making.images, labels, targets, making.weights, making.rows)

    def _check_budget(self) -> None:
        count, total = len(self.faults), len(self._rows)
        if count <= self.config.fault_budget(total):
            return
        first = "\n".join(f"  {fault.message}" for fault in list(self.faults.values())[:5])
        raise DataError(
            f"{count} of {total} images could not be read, more than the budget of "
            f"{100 * self.config.max_fault_share:g}% or {self.config.max_faults} files:\n{first}\n"
            "Repair or remove them, then start again."
        )


@dataclass(slots=True)
class _Making:
    """A batch while threads fill it."""

    images: npt.NDArray[np.float32] | npt.NDArray[np.uint8]
    weights: npt.NDArray[np.float32]
    rows: npt.NDArray[np.int64]
    matrices: npt.NDArray[np.float64] | None
    tasks: list[Future[None]]
    faults: list[Fault]


def _abandon(in_flight: Iterable[_Making]) -> None:
    """Cancel batches that nobody will take, and wait for what already runs."""
    tasks = [task for making in in_flight for task in making.tasks]
    for task in tasks:
        task.cancel()
    for task in tasks:
        if not task.cancelled():
            task.exception()


def read_image(path: str, config: StreamConfig) -> npt.NDArray[np.uint8]:
    """Return one file's pixels at the size and channels of `config`: (H, W, C) uint8.

    Training and prediction come through here. A look at the data (`facts`) and the thumbnails of
    reports read files at full size with the same decoder, `images`.

    Raises:
        DataError: The file cannot be read as an image; the message names it.
    """
    image = images.load(
        path,
        channels=config.channels,
        rule_set=config.rule_set,
        background=config.background,
        min_size=config.image_size,
    )
    return images.resize(image, config.image_size)


def one_hot(labels: npt.NDArray[np.int32], num_classes: int) -> npt.NDArray[np.float32]:
    """Return targets: (B,) 0/1 for two classes, (B, K) one-hot otherwise; no label gives 0."""
    if num_classes == 2:
        return np.asarray(labels == 1, np.float32)
    return np.asarray(labels[:, None] == np.arange(num_classes)[None, :], np.float32)


def usable_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
