"""ImageDataGenerator.flow_from_directory, as ten years of notebooks use it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.stream.workload import BATCH, ROTATION, SHEAR, SHIFT, SIZE, ZOOM, Epoch, Work
from keras.src.legacy.preprocessing.image import ImageDataGenerator


def build(work: Work) -> Epoch:
    """Single process: its threads and workers made it no faster."""
    changes = {
        "rotation_range": ROTATION,
        "width_shift_range": SHIFT,
        "height_shift_range": SHIFT,
        "shear_range": SHEAR,
        "zoom_range": ZOOM,
        "horizontal_flip": True,
    }
    generator = ImageDataGenerator(rescale=1 / 255, **(changes if work.augment else {}))
    flow = generator.flow_from_directory(
        str(work.folder), target_size=SIZE, batch_size=BATCH, class_mode="sparse", seed=0
    )

    def epoch(_: int) -> Iterator[tuple[Any, Any]]:
        return (next(flow) for _ in range(len(flow)))

    return epoch
