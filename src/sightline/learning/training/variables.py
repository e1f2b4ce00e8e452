"""The variables of a model in training: all that decide how it goes on, read and put back."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping

import keras
import numpy as np
import numpy.typing as npt

from sightline import runs
from sightline.learning.models import forward
from sightline.learning.training.averaging import averaged_weights

_FLOAT32 = 4  # bytes: nearly all variables are of this type

Arrays = Mapping[str, npt.NDArray[np.generic]]


def read(model: keras.Model) -> dict[str, npt.NDArray[np.generic]]:
    """Return a copy of every variable that decides how a compiled model goes on.

    "model/...": the weights that are judged: trained ones and, such as the means and variances of
    batch normalisation, others. "raw/...": the trained ones, where those that are judged are their
    moving average. "seeds/...": the states of the generators behind dropout, which no Keras file
    keeps. "optimizer/...": moments, the count of steps, the learning rate, the moving average.
    What the metrics hold is not among them: it is read and reset after each step.
    """
    arrays: dict[str, npt.NDArray[np.generic]] = {}
    with averaged_weights(model) as raw:
        for name, variable in _judged(model).items():
            arrays[name] = _copy(variable)
    arrays |= {name: _copy(variable) for name, variable in _beside(model).items()}
    return arrays | (dict(zip(_trained(model), raw, strict=True)) if raw else {})


def judged(model: keras.Model) -> dict[str, npt.NDArray[np.generic]]:
    """Return a copy of the weights as they are, by the names that `read` has for them."""
    return {name: _copy(variable) for name, variable in _judged(model).items()}


def spoiled(arrays: Arrays, *, meant: Container[str]) -> list[str]:
    """Return the names of those that hold a NaN, or an infinity that is not meant.

    An infinity in the optimizer's moments, or in gradients that wait to be applied, never leaves
    them, or comes to a NaN at a later step.

    Args:
        arrays: What `read` or `judged` returned.
        meant: What may hold an infinity.
    """
    floats = {name: each for name, each in arrays.items() if "float" in each.dtype.name}
    spoiled = {name for name, each in floats.items() if np.isnan(each).any()}
    spoiled |= {name for name in _infinite(floats) if name not in meant}
    return [name for name in floats if name in spoiled]


def meant_infinite(model: keras.Model) -> frozenset[str]:
    """Return the names of what may hold an infinity, from a model before its first step.

    Those are weights that hold one, such as a mask; and where one of them is trained, what goes by
    it: the raw weights, and all that the optimizer keeps, such as their average.
    """
    trained = {name: _copy(variable) for name, variable in _trained(model).items()}
    meant = _infinite(judged(model)) | (followed := _infinite(trained))
    return meant | (_beside(model).keys() if followed else frozenset())


def _infinite(arrays: Arrays) -> frozenset[str]:
    return frozenset(name for name, each in arrays.items() if np.isinf(each).any())


def size(model: keras.Model) -> int:
    """Return about how many bytes `read` returns of a compiled model."""
    averaged = len(model.trainable_variables) * model.optimizer.use_ema
    variables = (*model.variables, *model.optimizer.variables)
    variables += tuple(model.trainable_variables[:averaged])
    return sum(_FLOAT32 * math.prod(variable.shape) for variable in variables)


def assign(model: keras.Model, arrays: Arrays) -> None:
    """Put back what `read` returned.

    Raises:
        RunError: The arrays are not those of such a model; nothing was assigned then.
    """
    variables = _judged(model) | _beside(model)
    if model.optimizer.use_ema:  # last: these are what is trained
        variables |= _trained(model)
    forward.assign(variables, arrays)


def _judged(model: keras.Model) -> dict[str, keras.Variable]:
    return {f"{runs.VALIDATED}{name}": each for name, each in forward.named_weights(model).items()}


def _trained(model: keras.Model) -> dict[str, keras.Variable]:
    """Return the variables that training changes, in its order, under the names of all weights."""
    names = {id(each): name for name, each in forward.named_weights(model).items()}
    return {f"{runs.TRAINED}{names[id(each)]}": each for each in model.trainable_variables}


def _beside(model: keras.Model) -> dict[str, keras.Variable]:
    known = {id(variable) for variable in (*model.weights, *model.metrics_variables)}
    known |= {id(variable) for variable in model.optimizer.variables}
    seeds = [variable for variable in model.variables if id(variable) not in known]
    return {f"seeds/{number:04d}": variable for number, variable in enumerate(seeds)} | {
        f"optimizer/{number:04d}": variable
        for number, variable in enumerate(model.optimizer.variables)
    }


def _copy(variable: keras.Variable) -> npt.NDArray[np.generic]:
    return np.array(keras.ops.convert_to_numpy(variable))
