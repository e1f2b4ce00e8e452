"""sightline.preprocessing.image, as a notebook uses it, and both classes on arrays in memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from benchmarks.stream.workload import (
    BATCH,
    ROTATION,
    SHEAR,
    SHIFT,
    SIZE,
    ZOOM,
    Epoch,
    Work,
    labelled_files,
)

CHANGES = {
    "rotation_range": ROTATION,
    "width_shift_range": SHIFT,
    "height_shift_range": SHIFT,
    "shear_range": SHEAR,
    "zoom_range": ZOOM,
    "horizontal_flip": True,
}


def exact(work: Work) -> Epoch:
    """Files, in the mode that has Keras' numbers and pixels."""
    return _from_files(work, mode="exact")


def fast(work: Work) -> Epoch:
    """Files, in the mode that has the stream's."""
    return _from_files(work, mode="fast")


def arrays(work: Work) -> Epoch:
    """An array in memory, exact mode."""
    from sightline.preprocessing.image import ImageDataGenerator

    return _from_array(work, ImageDataGenerator)


def keras_arrays(work: Work) -> Epoch:
    """An array in memory, Keras' own class."""
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    return _from_array(work, ImageDataGenerator)


def _from_files(work: Work, *, mode: str) -> Epoch:
    os.environ["SIGHTLINE_CACHE"] = str(work.scratch / "cache")
    from sightline.preprocessing.image import ImageDataGenerator

    generator = ImageDataGenerator(rescale=1 / 255, mode=mode, **_changes(work))  # type: ignore[arg-type]
    flow = generator.flow_from_directory(
        work.folder, target_size=SIZE, batch_size=BATCH, class_mode="binary", seed=1
    )
    return _epochs(flow)


def _from_array(work: Work, kind: Any) -> Epoch:
    paths, labels = labelled_files(work.folder)
    pictures = [
        keras.utils.img_to_array(keras.utils.load_img(path, target_size=SIZE)) for path in paths
    ]
    generator = kind(rescale=1 / 255, **_changes(work))
    return _epochs(generator.flow(np.stack(pictures), np.array(labels), batch_size=BATCH, seed=1))


def _changes(work: Work) -> dict[str, Any]:
    return CHANGES if work.augment else {}


def _epochs(flow: Any) -> Epoch:
    def epoch(number: int) -> Iterator[tuple[Any, Any]]:
        del number
        for _ in range(len(flow)):
            yield next(flow)

    return epoch
