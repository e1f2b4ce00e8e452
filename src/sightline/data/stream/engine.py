"""Threads that fill batches, a bounded number of them in flight, whatever decides their order."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import numpy.typing as npt

from sightline.data.stream.augment import Changes
from sightline.data.stream.cache import warn
from sightline.data.stream.config import StreamConfig
from sightline.data.stream.cores import usable_cores
from sightline.data.stream.filling import After, Filler, Making, Rows
from sightline.data.stream.memory import SLICE, Ring, limits
from sightline.data.stream.mixing import Mixing
from sightline.records import RecordIndex

_KEPT_SLICE = 32  # pictures a task takes from the cache: 1 ms of work, and still in its processor
_WORKER = "sightline-stream"  # how the threads are called


class Engine:
    """Makes batches of an index's pictures in threads of its own.

    Attributes:
        ahead: Batches that are worth having in the making at once; more do not fit the memory.

    Args:
        index: The images.
        config: How they become pixels; its order and random changes are the caller's business.
        say: Takes the one sentence that says why decoded images cannot be kept; by default it
            becomes a CacheWarning.

    Raises:
        ValueError: The config's memory is too little, or its cache needs to know more about the
            files.
        DataError: The images do not fit the config.
    """

    def __init__(
        self, index: RecordIndex, config: StreamConfig, *, say: Callable[[str], None] | None = None
    ) -> None:
        self._threads = usable_cores() if config.num_threads is None else config.num_threads
        self._pool: ThreadPoolExecutor | None = None
        self._pool_of = os.getpid()  # a process that was forked off has no threads of ours
        fits = limits(config, self._threads)
        # Without threads, working ahead would only keep the caller waiting.
        self.ahead = fits.prefetch if self._threads else 1
        self._filler = Filler(index, config, decode_bytes=fits.decode_bytes, say=say or warn)
        self._batch_size = config.batch_size
        shape = (config.batch_size, *config.output().shape)
        self._ring = Ring(shape, config.dtype, keep=self.ahead + 1)

    def open(self) -> None:
        """Take up the cache again after `close`; before the first batch of an epoch."""
        self._filler.open()

    def start(
        self,
        rows: Rows,
        weights: npt.NDArray[np.float32],
        changes: Changes,
        after: After | None = None,
        *,
        mixing: Mixing | None = None,
    ) -> Making:
        """Lay out one batch and hand its slices to the threads.

        Args:
            rows: (B,) int64 rows of the index; B is at most the config's batch size.
            weights: (B,) float32; those of unreadable files become 0.
            changes: Of each place.
            after: Called with the images and the places that have just been filled, in the thread
                that did it.
            mixing: Of each place; a config whose `augment` mixes or erases nothing has none.

        Raises:
            ValueError: There are more rows than a batch may have.
        """
        if len(rows) > self._batch_size:
            raise ValueError(f"a batch has at most {self._batch_size} rows, got {len(rows)}")
        making = Making(
            images=self._ring.take(len(rows)),
            rows=rows,
            weights=weights,
            changes=changes,
            after=after,
            mixing=mixing,
        )
        needed = rows if mixing is None else np.concatenate([rows, mixing.rows])
        step = _KEPT_SLICE if self._filler.ready(needed) else SLICE
        slices = [(begin, min(begin + step, len(rows))) for begin in range(0, len(rows), step)]
        if self._threads == 0:
            for begin, end in slices:
                self._filler.fill(making, begin, end)
            return making
        if self._pool is None or self._pool_of != os.getpid():
            # OpenCV's own threads inside ours would fight for the same cores.
            cv2.setNumThreads(1)
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix=_WORKER)
            self._pool_of = os.getpid()
        for begin, end in slices:
            making.tasks.append(self._pool.submit(self._filler.fill, making, begin, end))
        return making

    def close(self) -> None:
        """End the threads and let go of the cache; both come back when they are needed."""
        pool, self._pool = self._pool, None
        if in_a_worker():  # Python frees memory in any thread, and none can wait for its own end
            if pool is not None:
                pool.shutdown(wait=False, cancel_futures=True)
            return
        if pool is not None and self._pool_of == os.getpid():
            pool.shutdown(wait=True, cancel_futures=True)
        self._filler.close()


def finish(making: Making) -> None:
    """Wait until a batch is filled.

    Raises:
        Exception: What went wrong in a thread, with the path of the file in a note.
    """
    for task in making.tasks:
        task.result()


def abandon(in_flight: Iterable[Making], *, process: int) -> None:
    """Cancel batches that nobody will take, and wait for what already runs.

    Args:
        in_flight: The batches.
        process: In which they were begun; another one has no threads to wait for.
    """
    tasks = [task for making in in_flight for task in making.tasks]
    for task in tasks:
        task.cancel()
    if in_a_worker() or os.getpid() != process:
        return
    for task in tasks:
        if not task.cancelled():
            task.exception()


def in_a_worker() -> bool:
    """Say whether this is a thread of an engine, in which Python may free what others left."""
    return threading.current_thread().name.startswith(_WORKER)
