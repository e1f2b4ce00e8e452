"""The gradient of a function of one tensor: the one place that knows three backends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Function = Callable[[Any], tuple[Any, Sequence[Any]]]


def gradient(function: Function, place: Floats) -> tuple[Floats, list[Floats]]:
    """Return the gradient of a sum at one place, and what else the function puts out there.

    Args:
        function: Takes a tensor of the backend; returns a tensor (B,) of which the sum is
            differentiated, and other tensors that are handed on.
        place: Where, any shape; the gradient is of the same, float32.
    """
    backend = keras.config.backend()
    of = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}[backend]
    found, others = of(function, keras.ops.convert_to_tensor(place, "float32"))
    return _plain(found), [_plain(other) for other in others]


def _tensorflow(function: Function, place: Any) -> tuple[Any, Sequence[Any]]:
    import tensorflow as tf

    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(place)
        values, others = function(place)
    return tape.gradient(values, place, unconnected_gradients="zero"), others


def _jax(function: Function, place: Any) -> tuple[Any, Sequence[Any]]:
    import jax

    def summed(at: Any) -> tuple[Any, Sequence[Any]]:
        values, others = function(at)
        return values.sum(), list(others)

    return jax.grad(summed, has_aux=True)(place)  # type: ignore[no-any-return]


def _torch(function: Function, place: Any) -> tuple[Any, Sequence[Any]]:
    import torch

    place = place.detach().requires_grad_(True)
    with torch.enable_grad():
        values, others = function(place)
        if not values.requires_grad:  # they do not depend on the place
            return torch.zeros_like(place), others
        (found,) = torch.autograd.grad(values.sum(), place)
    return found, others


def _plain(tensor: Any) -> Floats:
    if hasattr(tensor, "detach"):  # torch gives no numbers of what it may still differentiate
        tensor = tensor.detach()
    return np.asarray(keras.ops.convert_to_numpy(tensor), np.float32)
