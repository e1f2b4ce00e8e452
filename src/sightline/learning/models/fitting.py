"""Whether a network that is not ours answers what the loop asks: one probability a class.

Two classes: one sigmoid unit, or two with softmax. K classes: K units with softmax. Anything else
would train without a complaint, and mean nothing.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from sightline.errors import RecipeError
from sightline.learning.models.own import last_operation

_FITTING_LOSSES = {
    1: ("binary_crossentropy", "binary_focal_crossentropy"),
    2: (  # units or more
        "categorical_crossentropy",
        "sparse_categorical_crossentropy",
        "categorical_focal_crossentropy",
    ),
}
_SPREADS = (1.0, 255.0, 1000.0)  # of the pixels that an unknown output is tried on
_NEAR = 1e-3  # float32 rows of softmax sum to 1 much closer than that


def refuse_unfit(model: keras.Model, num_classes: int) -> None:
    """Refuse a network whose output is not one probability a class.

    Args:
        model: Functional or sequential, with one input of a known size.
        num_classes: K, at least 2.

    Raises:
        RecipeError: It does not fit; the message names what would.
    """
    wanted = _wanted(num_classes)
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise RecipeError(
            f"the model has {len(model.inputs)} inputs and {len(model.outputs)} outputs; an image "
            f"classifier has one of each, and {wanted}"
        )
    shape = tuple(model.outputs[0].shape[1:])
    if len(shape) != 1:
        raise RecipeError(
            f"the model puts out {shape} for each image, which is no row of probabilities. Put "
            f"GlobalAveragePooling2D() or Flatten() before its last layer; {wanted}"
        )
    units, name = shape[0], _last_activation(model)
    shown = f"got {units} unit{'s' * (units != 1)} with {name or 'an activation of its own'}"
    if units == 1 and name == "softmax":
        shown += ", which is always 1"
    fits = name in (("sigmoid", None) if units == 1 else ("softmax", None))
    if units != num_classes and (units, num_classes) != (1, 2):
        fits = False
    if not fits:
        raise RecipeError(f"{wanted}; {shown}")
    if fault := _fault(model, units):
        raise RecipeError(f"{wanted}; {shown}, and on random images {fault}")
    if (dtype := model.outputs[0].dtype) != "float32":
        raise RecipeError(
            f"the model puts out {dtype}, too coarse for probabilities: give its last layer "
            'dtype="float32" (the others may stay as they are)'
        )


def refuse_loss(model: keras.Model, num_classes: int, units: int) -> None:
    """Refuse a model that was compiled with a loss that does not go with its output.

    A loss of the user's own is not judged.

    Raises:
        RecipeError: The loss is one of Keras' and does not fit; the message names what does.
    """
    loss = _one(getattr(model, "loss", None))
    if loss is None:
        return
    loss = keras.losses.get(loss) if isinstance(loss, str) else loss
    name = _name(getattr(loss, "fn", loss))
    fitting = _FITTING_LOSSES[min(units, 2)]
    output = "one sigmoid unit" if units == 1 else f"{units} units with softmax"
    if hasattr(keras.losses, name) and name not in fitting:
        raise RecipeError(
            f"the model was compiled with {name}; {num_classes} classes and {output} go with "
            f"{fitting[0]}. Compile it with that, or not at all: Sightline compiles it anew."
        )
    if _asks_for_logits(loss):
        raise RecipeError(
            f"the model was compiled with {name}(from_logits=True), and its output, {output}, is "
            "probabilities already. Leave from_logits out."
        )


def _wanted(num_classes: int) -> str:
    if num_classes == 2:
        return (
            "2 classes need Dense(1, activation='sigmoid'), or Dense(2, activation='softmax'), "
            "at the end"
        )
    return f"{num_classes} classes need Dense({num_classes}, activation='softmax') at the end"


def _last_activation(model: keras.Model) -> str | None:
    """Return the name of what computes the output, None where that cannot be told."""
    if (last := last_operation(model)) is None:
        return None
    kind = type(last).__name__.lower()
    if kind in ("softmax", "sigmoid"):
        return kind
    activation = getattr(last, "activation", None)
    name = _name(activation) if activation is not None else ""
    return name if getattr(keras.activations, name, None) is activation else None


def _fault(model: keras.Model, units: int) -> str:
    """Return what is wrong with the outputs for random images, "" if they are probabilities."""
    outputs = _answers(model)
    if not np.isfinite(outputs[0]).all():
        return "it puts out NaN or infinity"
    finite = np.concatenate([rows[np.isfinite(rows).all(axis=1)] for rows in outputs])
    if finite.min() < -_NEAR or finite.max() > 1 + _NEAR:
        return f"it puts out values from {finite.min():.3g} to {finite.max():.3g}, not 0 to 1"
    sums = finite.sum(axis=1)
    if units > 1 and np.abs(sums - 1).max() > _NEAR:
        return f"its rows sum to {sums.min():.3g} up to {sums.max():.3g}, not to 1"
    return ""


def _answers(model: keras.Model) -> list[npt.NDArray[np.float32]]:
    """Return (4, units) outputs for images from -spread to spread, for each spread."""
    random = np.random.default_rng(0)
    shape = (4, *model.inputs[0].shape[1:])
    images = random.uniform(-1, 1, shape).astype(np.float32)
    images[:2] = np.abs(images[:2])
    return [
        np.asarray(keras.ops.convert_to_numpy(model(images * spread, training=False)), np.float32)
        for spread in _SPREADS
    ]


def _one(loss: Any) -> Any:
    """Return the loss of the one output there is."""
    if isinstance(loss, dict):
        return next(iter(loss.values()), None)
    return (loss[0] if loss else None) if isinstance(loss, (list, tuple)) else loss


def _asks_for_logits(loss: Any) -> bool:
    return bool(getattr(loss, "from_logits", False))


def _name(thing: Any) -> str:
    return str(getattr(thing, "__name__", type(thing).__name__))
