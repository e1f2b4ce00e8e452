"""What the machine can do: one step of the work alone, in a plain loop on one thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg
from benchmarks.stream.contenders.ours import AUGMENT
from benchmarks.stream.workload import BATCH, SIZE, Epoch, Work, labelled_files

from sightline.data.stream import augment, kernels

ROWS = 512  # pictures in memory, 23 MB: more than a core's cache


def decode(work: Work) -> Epoch:
    """JPEG files, read beforehand, to RGB at full size."""
    return _decoding(work, simplejpeg.decode_jpeg)


def decode_scaled(work: Work) -> Epoch:
    """The same at the smallest of JPEG's eight scales that covers the target."""

    def smallest(content: bytes) -> Any:
        return simplejpeg.decode_jpeg(
            content, min_height=SIZE[0], min_width=SIZE[1], min_factor=1.0
        )

    return _decoding(work, smallest)


def _decoding(work: Work, decoder: Callable[[bytes], Any]) -> Epoch:
    contents = [Path(path).read_bytes() for path in labelled_files(work.folder)[0]]

    def epoch(_: int) -> Iterator[tuple[Any, Any]]:
        for begin in range(0, len(contents), BATCH):
            yield [decoder(content) for content in contents[begin : begin + BATCH]], None

    return epoch


def kernel(work: Work) -> Epoch:
    """The Stream's kernel on batches of uint8 pictures, matrices drawn beforehand."""
    run = bare_kernel()
    out = np.empty((BATCH, *SIZE, 3), np.float32)
    places = np.arange(BATCH)

    def step(pictures: npt.NDArray[np.uint8], rows: npt.NDArray[np.int64], changes: Any) -> None:
        run(pictures, rows, places, changes, out)

    return _warping(work, step)


def bare_kernel() -> kernels.Kernel:
    """Return the kernel as the Stream calls it for this workload."""
    return kernels.make_kernel(
        kernels.Output(size=SIZE, channels=3, scale=(1 / 255,) * 3, offset=(0.0,) * 3)
    )


def warp_affine(work: Work) -> Epoch:
    """cv2.warpAffine on float32, the same matrices: three calls a picture."""
    cv2.setNumThreads(0)
    out = np.empty((BATCH, *SIZE, 3), np.float32)

    def step(pictures: npt.NDArray[np.uint8], rows: npt.NDArray[np.int64], changes: Any) -> None:
        for place, row in enumerate(rows):
            source = np.multiply(pictures[row], np.float32(1 / 255))
            cv2.warpAffine(
                source,
                changes.matrices[place],
                SIZE[::-1],
                dst=out[place],
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_REPLICATE,
            )

    return _warping(work, step)


def _warping(work: Work, step: Callable[[Any, Any, Any], None]) -> Epoch:
    images = len(labelled_files(work.folder)[0])
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (ROWS, *SIZE, 3), np.uint8)
    batches = []
    for begin in range(0, images, BATCH):
        rows = rng.integers(0, ROWS, BATCH)
        keys = np.arange(begin, begin + BATCH)
        drawn = augment.draw(AUGMENT, size=SIZE, seed=0, epoch=0, keys=keys)
        batches.append((rows, drawn))

    def epoch(_: int) -> Iterator[tuple[Any, Any]]:
        for rows, drawn in batches:
            step(pictures, rows, drawn)
            yield rows, None

    return epoch
