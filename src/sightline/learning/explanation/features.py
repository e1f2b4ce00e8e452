"""What a layer sees of an image, and the filters that see first, as pictures of numbers."""

from __future__ import annotations

import keras
import numpy as np
import numpy.typing as npt

from sightline.errors import DataError
from sightline.learning.explanation.gradients import Floats
from sightline.learning.explanation.probe import Place, Probe

_MOST = 64  # channels or filters that are shown


def feature_maps(probe: Probe, images: Floats, place: Place) -> tuple[Floats, npt.NDArray[np.intp]]:
    """Return what a layer puts out, its strongest channels first.

    Args:
        probe: The network.
        images: (B, H, W, C).
        place: Which layer.

    Returns:
        (B, N, h, w) float32, each map from 0, its least value, to 1, its largest (all 0 where it
        is the same everywhere); and (B, N) which channels those are. N is at most 64; strongest is
        the channel with the largest mean of absolute values.
    """
    features = np.moveaxis(probe.features(images, place), -1, 1)
    strength = np.abs(features).mean(axis=(2, 3))
    channels = np.argsort(-strength, axis=1, kind="stable")[:, :_MOST]
    chosen = np.take_along_axis(features, channels[:, :, None, None], axis=1)
    return _stretched(chosen), channels


def first_filters(probe: Probe) -> tuple[str, Floats]:
    """Return the name of the first convolution and its filters.

    Returns:
        (N, h, w, 3) float32 where it sees colours, else (N, h, w, 1), in 0..1: one scale for all,
        0.5 is a weight of 0. N is at most 64.

    Raises:
        DataError: The network has no convolution.
    """
    kernels = (
        (name, weight)
        for name, layer in probe.weighted
        for weight in layer.weights
        if len(weight.shape) == 4
    )
    name, kernel = next(kernels, ("", None))
    if kernel is None:
        raise DataError(
            f"the network {probe.model.name!r} has no convolution, so it has no filters to show"
        )
    weights = np.asarray(keras.ops.convert_to_numpy(kernel), np.float32)
    height, width, inputs, outputs = weights.shape
    if inputs in (1, 3) and outputs >= inputs:
        filters = np.moveaxis(weights, -1, 0)
    else:  # of a depthwise convolution: a filter for each channel
        filters = np.moveaxis(weights.reshape(height, width, -1), -1, 0)[..., None]
    filters = filters[:_MOST]
    most = float(np.abs(filters).max()) or 1.0
    return name, np.asarray(filters / (2 * most) + 0.5, np.float32)


def _stretched(maps: Floats) -> Floats:
    """Return each (h, w) from its least value, 0, to its largest, 1."""
    least = maps.min(axis=(2, 3), keepdims=True)
    span = maps.max(axis=(2, 3), keepdims=True) - least
    result = np.zeros_like(maps)
    return np.asarray(np.divide(maps - least, span, out=result, where=span > 0), np.float32)
