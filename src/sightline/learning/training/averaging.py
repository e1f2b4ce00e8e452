"""The moving average of the weights, put in for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import keras
import numpy as np
import numpy.typing as npt


@contextmanager
def averaged_weights(model: keras.Model) -> Iterator[list[npt.NDArray[np.generic]]]:
    """Put the moving average of the weights in, if the optimizer keeps one; then take it out.

    Yields the trained weights meanwhile set aside, or nothing without an average.
    """
    if not model.optimizer.use_ema:
        yield []
        return
    raw = [np.array(keras.ops.convert_to_numpy(v)) for v in model.trainable_variables]
    model.optimizer.finalize_variable_values(model.trainable_variables)
    for variable in model.trainable_variables:
        # A copy: on JAX the variable would share the average's buffer, which the next forward
        # step gives away.
        variable.assign(np.array(keras.ops.convert_to_numpy(variable)))
    try:
        yield raw
    finally:
        for variable, array in zip(model.trainable_variables, raw, strict=True):
            variable.assign(array)
