"""NVIDIA DALI without a GPU: its own reader, decoder, and one warp by a product of matrices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from benchmarks.stream.workload import (
    BATCH,
    ROTATION,
    SHEAR_DEGREES,
    SHIFT,
    SIZE,
    ZOOM,
    Epoch,
    Work,
    labelled_files,
)
from nvidia.dali import fn, pipeline_def, types

CENTRE = [SIZE[1] / 2, SIZE[0] / 2]


def build(work: Work) -> Epoch:
    """Bilinear without antialiasing, fast inverse transform, no copies of what it delivers."""
    batches = len(labelled_files(work.folder)[0]) // BATCH
    pipe = _pipeline(
        str(work.folder), work.augment, batch_size=BATCH, num_threads=work.threads, device_id=None
    )
    pipe.build()

    def epoch(_: int) -> Iterator[tuple[Any, Any]]:
        for _ in range(batches):
            images, labels = pipe.run()
            yield np.asarray(images.as_tensor()), np.asarray(labels.as_tensor())

    return epoch


@pipeline_def
def _pipeline(folder: str, augment: bool) -> tuple[Any, Any]:
    contents, labels = fn.readers.file(file_root=folder, shuffle_after_epoch=True)
    images = fn.decoders.image(contents, device="cpu", output_type=types.RGB, use_fast_idct=True)
    images = fn.resize(
        images,
        resize_x=SIZE[1],
        resize_y=SIZE[0],
        interp_type=types.INTERP_LINEAR,
        antialias=False,
    )
    if augment:
        images = fn.warp_affine(
            images, matrix=_matrix(), size=SIZE, interp_type=types.INTERP_LINEAR, fill_value=0
        )
    images = fn.crop_mirror_normalize(
        images,
        dtype=types.FLOAT,
        output_layout="HWC",
        std=[255.0] * 3,
        mirror=fn.random.coin_flip() if augment else 0,
    )
    return images, labels


def _matrix() -> Any:
    turn = fn.transforms.rotation(
        angle=fn.random.uniform(range=(-ROTATION, ROTATION)), center=CENTRE
    )
    lean = fn.random.uniform(range=(-SHEAR_DEGREES, SHEAR_DEGREES), shape=2)
    sheared = fn.transforms.shear(turn, angles=lean, center=CENTRE)
    zoomed = fn.transforms.scale(
        sheared, scale=fn.random.uniform(range=(1 - ZOOM, 1 + ZOOM), shape=2), center=CENTRE
    )
    reach = SHIFT * SIZE[0]
    return fn.transforms.translation(
        zoomed, offset=fn.random.uniform(range=(-reach, reach), shape=2)
    )
