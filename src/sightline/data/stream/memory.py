"""How a stream keeps to its share of the memory."""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sightline.data.stream.config import StreamConfig

SLICE = 8  # pictures a task decodes: few enough to share a batch between threads
BLENDED = 8  # pictures that are erased or mixed at once: few enough to stay in a processor's cache

_LEAST_DECODING = 16_000_000  # bytes: a JPEG of a megapixel
_ALIGNED = 64  # bytes: frameworks take such an array over without copying it


@dataclass(frozen=True, slots=True)
class Limits:
    """What fits into the memory of a stream.

    Attributes:
        prefetch: Batches in the making or waiting.
        decode_bytes: That reading and decoding one file may take; None for no limit.
    """

    prefetch: int
    decode_bytes: int | None


def limits(config: StreamConfig, num_threads: int) -> Limits:
    """Return how many batches and how large pictures fit into `config.max_memory`.

    Half is for batches, the caller's own among them; what they leave is for decoding.

    Raises:
        ValueError: Not even one batch ahead and JPEGs of one megapixel fit.
    """
    if config.max_memory is None:
        return Limits(config.prefetch, None)
    workers = max(1, num_threads)
    pictures = SLICE + (2 * 4 * BLENDED if config.blends else 0)  # float32, and their partners
    fixed = workers * (pictures * config.picture_bytes + _LEAST_DECODING)
    least = 2 * config.batch_bytes + fixed
    if config.max_memory < least:
        raise ValueError(
            f"max_memory={config.max_memory:,} bytes is too little: two batches of "
            f"{config.batch_size} images and {workers} decoding threads take at least {least:,}. "
            "Give more, or lower batch_size, image_size or num_threads."
        )
    for_batches = min(config.max_memory // 2, config.max_memory - fixed)
    prefetch = max(1, min(config.prefetch, for_batches // config.batch_bytes - 1))
    left = config.max_memory - fixed - (prefetch + 1) * config.batch_bytes
    return Limits(prefetch, _LEAST_DECODING + left // workers)


class Ring:
    """Memory for the images of batches, used again as soon as nobody looks at it any more.

    A batch that the caller keeps is never written over: whether anybody holds the array, or a
    view or a tensor that shares its memory, is asked of Python itself. So a loop over batches
    allocates nothing, and a list of batches is right as well.
    """

    def __init__(self, shape: tuple[int, ...], dtype: str, *, keep: int) -> None:
        """Make the ring.

        Args:
            shape: Of a whole batch.
            dtype: Of its images.
            keep: Blocks of memory kept for use again.
        """
        self._shape, self._dtype, self._keep = shape, np.dtype(dtype), keep
        self._bytes = int(np.prod(shape)) * self._dtype.itemsize
        self._blocks: list[npt.NDArray[np.uint8]] = []
        self._unused = 0  # the count of references to a block that nobody else holds
        self._lock = threading.Lock()  # two threads that ask at once must not get one block

    def take(self, count: int) -> npt.NDArray[np.float32] | npt.NDArray[np.uint8]:
        """Return memory for `count` images, C-contiguous, with whatever was in it before."""
        with self._lock:
            return self._take(count)

    def _take(self, count: int) -> npt.NDArray[np.float32] | npt.NDArray[np.uint8]:
        for place in range(len(self._blocks)):
            if sys.getrefcount(self._blocks[place]) == self._unused:
                return self._view(self._blocks[place], count)
        block = np.empty(self._bytes + _ALIGNED, np.uint8)
        if len(self._blocks) < self._keep:
            self._blocks.append(block)
            del block
            self._unused = sys.getrefcount(self._blocks[-1])
            return self._view(self._blocks[-1], count)
        return self._view(block, count)  # the caller keeps many: this one is theirs alone

    def _view(
        self, block: npt.NDArray[np.uint8], count: int
    ) -> npt.NDArray[np.float32] | npt.NDArray[np.uint8]:
        begin = -block.ctypes.data % _ALIGNED
        whole = block[begin : begin + self._bytes].view(self._dtype).reshape(self._shape)
        images: npt.NDArray[np.float32] | npt.NDArray[np.uint8] = whole[:count]
        return images
