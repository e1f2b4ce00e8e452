"""One step of training, on one device or shared out between several."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from sightline.learning.models import devices, lacking

_REMEDY = (
    "Train anew with a smaller train.batch_size, which train.accumulate makes up for, with smaller "
    "images (data.image_size), or with a smaller network. A training that had begun keeps its "
    "batch size: sightline train --resume RUN goes on from its last checkpoint where there is more "
    "memory, as once another program has ended that took it."
)


def step(
    model: keras.Model,
    images: npt.NDArray[np.float32] | npt.NDArray[np.uint8],
    targets: npt.NDArray[np.float32],
    weights: npt.NDArray[np.float32],
) -> Mapping[str, Any]:
    """Train a compiled model on one batch; return the objective and what `StepTally` counted.

    Shared out, gradient and objective are those of the whole batch. One that cannot be divided
    evenly is filled up with images of weight 0, and as Keras divides by the number of images, the
    other weights are raised for it. Only batch normalisation sees the images that fill it up.

    Args:
        model: Made in the scope of the devices that are to share the batch.
        images: (B, H, W, C).
        targets: (B,) or (B, K).
        weights: (B,) of the records.

    Raises:
        RunError: There is not enough memory for it.
    """
    size, height, width = images.shape[:3]
    work = f"for a step on {size} images of {height}x{width}, one batch (train.batch_size)"
    with lacking.told_of(work, _REMEDY):
        logs = _step(model, images, targets, weights)
        float(logs["loss"])  # JAX goes ahead, and fails where the first number is read
    return logs


def _step(
    model: keras.Model,
    images: npt.NDArray[np.float32] | npt.NDArray[np.uint8],
    targets: npt.NDArray[np.float32],
    weights: npt.NDArray[np.float32],
) -> Mapping[str, Any]:
    count, size = devices.count(model), len(images)
    if count == 1:
        return dict(model.train_on_batch(images, targets, sample_weight=weights, return_dict=True))
    whole = -(-size // count) * count
    filled = np.concatenate([weights, np.zeros(whole - size, weights.dtype)])
    scaled = np.asarray(filled * (whole / size), np.float32)
    batch = devices.filled(images, whole), devices.filled(targets, whole), scaled
    if keras.config.backend() == "tensorflow":
        return _mirrored_step(model, tuple(devices.shared_out(model, array) for array in batch))
    # On JAX Keras shares it out itself.
    *data, scaled = batch
    return dict(model.train_on_batch(*data, sample_weight=scaled, return_dict=True))


def _mirrored_step(model: keras.Model, data: tuple[Any, ...]) -> dict[str, Any]:
    """Take a step of `train_on_batch`, which itself would give every device the whole batch."""
    model.make_train_function()
    model.reset_metrics()
    logs = model.train_function(iter([data]))
    # The metrics are summed over the devices already: Keras adds them up when they are read.
    flat = {name: value for name, value in logs.items() if name != "tally"} | logs["tally"]
    return {name: np.asarray(value) for name, value in flat.items()}
