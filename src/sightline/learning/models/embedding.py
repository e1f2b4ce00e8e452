"""What a network's last layer sees of an image: one vector, by which images are alike or not."""

from __future__ import annotations

import functools
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import layers

MOST = 2048  # numbers of an embedding; wider ones are projected
PROJECTED = 512  # to so many
_SEED = 20


def with_embedding(model: keras.Model) -> keras.Model | None:
    """Return the same network that also puts out the flat input of its last dense layer.

    It shares every weight with `model`. None where only the call of a subclass knows what goes
    into that layer, or the network does not end in a dense layer.
    """
    if isinstance(model, keras.Sequential):
        last: Any = model.layers[-1]
    elif hasattr(model, "operations"):
        last = model.operations[-1]
    else:
        return None
    while isinstance(last, layers.Activation | layers.Softmax | layers.ReLU):
        last = _before(last)
    if isinstance(last, keras.Model):  # a network that ends in another one
        inner = with_embedding(last)
        return None if inner is None else keras.Model(model.inputs, inner(last.input))
    if not isinstance(last, layers.Dense):
        return None
    seen = last.input
    flat = seen if len(seen.shape) == 2 else layers.Flatten()(seen)
    return keras.Model(model.inputs, [model.outputs[0], flat])


def narrowed(seen: npt.NDArray[np.float32]) -> npt.NDArray[np.float16]:
    """Return (B, E) float16, E at most 2,048, whose cosines are those of what was seen.

    Wider vectors are projected on 512 random vectors of signs, which keeps cosines to within about
    0.04 (Achlioptas, Database-friendly random projections, 2003). Deterministic.

    Args:
        seen: (B, F).
    """
    width = seen.shape[1]
    if width > MOST:
        seen = seen @ _signs(width) / np.float32(np.sqrt(PROJECTED))
    largest = float(np.finfo(np.float16).max)
    return np.clip(seen, -largest, largest).astype(np.float16)


@functools.lru_cache(maxsize=1)
def _signs(width: int) -> npt.NDArray[np.float32]:
    drawn = np.random.default_rng(_SEED).integers(0, 2, (width, PROJECTED), dtype=np.int8)
    return np.asarray(2 * drawn.astype(np.float32) - 1)


def _before(layer: keras.Layer) -> Any:
    """Return the operation whose output goes into a layer that has one input."""
    return layer.input._keras_history.operation
