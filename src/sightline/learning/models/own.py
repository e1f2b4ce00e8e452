"""A network of the user's own: a Keras model that was given, or a function that makes one."""

from __future__ import annotations

import importlib
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np
from keras import layers

from sightline.errors import RecipeError
from sightline.recipes import OWN, Recipe, change_recipe

# Keras and a user's own code can raise any of these.
ANY = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
)
_SCALES = 1 / 10  # what multiplies pixels by less than this expects 0..255
_KEEP_PIXELS = (
    layers.InputLayer, layers.Rescaling, layers.Normalization, layers.Resizing, layers.CenterCrop,
    layers.ZeroPadding2D, layers.Cropping2D, layers.Reshape, layers.Permute, layers.Concatenate,
    layers.Dropout, layers.RandomFlip, layers.RandomRotation, layers.RandomZoom,
    layers.RandomTranslation, layers.RandomCrop,
)  # fmt: skip


def described_by(recipe: Recipe, model: keras.Model) -> tuple[Recipe, list[str]]:
    """Return the recipe for a model that was given, and what is said about that.

    Its input decides the images' size and channels where the recipe leaves them open, and its
    layers the precision. Of [model], only the penalties l1 and l2 are left.

    Args:
        recipe: As asked for, before anything is planned.
        model: Built or not; its input may leave height and width open.

    Raises:
        RecipeError: It is no Keras model, or takes images other than the recipe's.
    """
    if not isinstance(model, keras.Model):
        raise RecipeError(
            f"model must be a Keras 3 model (keras.Model), got {type(model).__module__}."
            f"{type(model).__name__}. One of tf_keras or torch.nn cannot be trained here."
        )
    penalties = {"l1": recipe.model.l1, "l2": recipe.model.l2}
    changes: dict[str, Any] = {"model": {"network": OWN, **penalties}}
    changes |= _image(recipe, model)
    precision = _precision(model)
    said = [f"Network: the model {model.name!r} that was given; a copy of it is trained."]
    if precision:
        changes["precision"] = precision
        if recipe.precision not in ("auto", precision):
            said.append(f"Precision {precision}, as its layers are, not {recipe.precision}.")
    if getattr(model, "compiled", False):
        optimizer = type(model.optimizer).__name__ if model.optimizer else "no optimizer"
        said.append(
            f"What it was compiled with ({optimizer}, its loss and metrics) is not used: the "
            f"recipe's {recipe.train.optimizer} at {recipe.train.learning_rate:g} and "
            "cross-entropy are (train.optimizer, train.learning_rate)."
        )
    return change_recipe(recipe, changes), said


def refuse_double_scaling(recipe: Recipe, model: keras.Model) -> None:
    """Refuse to scale pixels to 0..1 before a network that does so itself.

    Looked at is what comes first, also in networks inside it, such as those of keras.applications,
    up to the first layer or operation that is not known to leave pixels what they are.

    Raises:
        RecipeError: Both would.
    """
    if recipe.data.scaling == "none":
        return
    for layer in operations_of(model):
        factor = _factor(layer)
        if factor < _SCALES:
            raise RecipeError(
                f"data.scaling {recipe.data.scaling!r} changes the pixels before they reach the "
                f"network, and its layer {layer.name!r} expects 0..255 and would scale them once "
                "more. Set data.scaling=none, or take the layer out."
            )
        if factor > 1 or not isinstance(layer, _KEEP_PIXELS):
            return  # what comes later may well get 0..255, or something else than pixels


def _factor(layer: Any) -> float:
    """Return what a layer multiplies pixels by, over all channels; 1 if it is none that scales."""
    if isinstance(layer, layers.Rescaling):
        return float(np.mean(np.abs(layer.scale)))
    if isinstance(layer, layers.Normalization) and layer.mean is not None:
        variance = np.asarray(keras.ops.convert_to_numpy(layer.variance), np.float32)
        deviation = max(float(np.mean(np.sqrt(variance))), keras.config.epsilon())
        return float(deviation if layer.invert else 1 / deviation)
    return 1.0


def called(recipe: Recipe, num_classes: int, policy: str) -> keras.Model:
    """Return what the function named by the recipe makes, from the same seed each time.

    Keras, NumPy and Python draw from the recipe's seed while it works; NumPy and Python then go
    on as if nothing had been drawn. The function is found from the current folder, too.

    Args:
        recipe: Its model.network is "module:function".
        num_classes: K.
        policy: Under which the layers are made.

    Raises:
        RecipeError: There is no such module or function, it fails, or returns no Keras model.
    """
    named = recipe.model.network
    function = _function(named)
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    keras.utils.set_random_seed(recipe.seed)
    try:
        model = function(recipe, num_classes)
    except ANY as error:
        raise RecipeError(
            f"model.network {named!r} was called with the recipe and {num_classes} classes, and "
            f"failed: {type(error).__name__}: {short(error)}"
        ) from error
    finally:
        keras.config.set_dtype_policy(previous)
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
    if not isinstance(model, keras.Model):
        raise RecipeError(
            f"model.network {named!r} returned {type(model).__name__}; it has to return a Keras "
            "model for the images and classes that it is given"
        )
    _image(recipe, model)  # refuses another size
    return model


def called_on(model: keras.Model, inputs: keras.KerasTensor) -> Any:
    """Return what a model puts out for an input; it is built by that.

    Raises:
        RecipeError: It fails.
    """
    try:
        return model(inputs)
    except ANY as error:
        shape = " x ".join(str(side) for side in inputs.shape[1:])
        raise RecipeError(
            f"the model {model.name!r} fails on images of {shape}: {short(error)}"
        ) from error


def layers_of(model: keras.Model) -> Iterator[keras.Layer]:
    """Yield every layer of a network, those of networks inside it as well."""
    for layer in model.layers:
        yield layer
        if isinstance(layer, keras.Model):
            yield from layers_of(layer)


def operations_of(model: keras.Model) -> Iterator[Any]:
    """Yield layers, and operations outside of them, those of networks inside in their place."""
    for operation in getattr(model, "operations", model.layers):
        if isinstance(operation, keras.Model):
            yield from operations_of(operation)
        else:
            yield operation


def last_operation(model: keras.Model) -> Any:
    """Return what computes the output; None where only the call of a subclass knows."""
    if isinstance(model, keras.Sequential):
        last: Any = model.layers[-1]
    else:
        last = model.operations[-1] if hasattr(model, "operations") else None
    return last_operation(last) if isinstance(last, keras.Model) else last


def short(error: BaseException) -> str:
    """Return what was said, without the dumps of configurations that Keras adds.

    It wraps an error into others, a dump in each; the first one says what is wrong.
    """
    first = str(error).rpartition("Exception encountered:")[2]
    text = " ".join(first.partition("Full object config")[0].split()).strip("'")
    text = text if len(text) <= 300 else f"{text[:300]} ..."
    return text if text.endswith((".", "...")) else f"{text}."


def _image(recipe: Recipe, model: keras.Model) -> dict[str, Any]:
    """Return what the model's input says of [data] that the recipe leaves open.

    Raises:
        RecipeError: It takes other images than the recipe's.
    """
    shape = _input_shape(model)
    if shape is None:
        return {}
    if len(shape) != 3:
        raise RecipeError(
            f"the model takes inputs of {shape}; images are (height, width, channels)"
        )
    changes: dict[str, Any] = {}
    height, width, channels = shape
    given, data = (height, width), recipe.data
    if data.image_size == "auto":
        if height and width:
            changes["data.image_size"] = [height, width]
    elif any(own not in (None, side) for own, side in zip(given, data.image_size, strict=True)):
        raise RecipeError(
            f"the model takes images of {height}x{width} (height x width), and the recipe's "
            f"data.image_size is {data.image_size[0]}x{data.image_size[1]}. Make them the same, or "
            "leave data.image_size out (auto)."
        )
    if channels not in (None, 1, 3):
        raise RecipeError(f"the model takes {channels} channels; images have 3 (RGB) or 1 (grey)")
    if channels and data.channels == "auto":
        changes["data.channels"] = channels
    elif channels and channels != data.channels:
        raise RecipeError(
            f"the model takes {channels} channel{'s' * (channels > 1)}, and the recipe's "
            f"data.channels is {data.channels}. Make them the same."
        )
    return changes


def _input_shape(model: keras.Model) -> tuple[int | None, ...] | None:
    """Return the shape of one input, None of a model that only a call can build."""
    if not model.built:
        return None
    shape = getattr(model, "input_shape", None)
    if shape is None and hasattr(model, "get_build_config"):  # subclassed
        shape = (model.get_build_config() or {}).get("input_shape")
    if isinstance(shape, (list, dict)):
        inputs = list(shape.values()) if isinstance(shape, dict) else shape
        if inputs and isinstance(inputs[0], (list, tuple)):
            raise RecipeError(f"the model has {len(inputs)} inputs; a classifier here has one")
    return tuple(shape)[1:] if shape else None


def _precision(model: keras.Model) -> str | None:
    """Return the precision that the model's layers have; None of one without layers yet.

    Raises:
        RecipeError: One that needs a scaled loss.
    """
    names = {layer.dtype_policy.name for layer in layers_of(model)}
    if foreign := names - {"float32", "mixed_bfloat16", "bfloat16"}:
        raise RecipeError(
            f"the model has layers of precision {', '.join(sorted(foreign))}; use float32, or "
            "mixed_bfloat16, which needs no scaled loss"
        )
    if not names:
        return None
    return "float32" if names == {"float32"} else "mixed_bfloat16"


def module_of(named: str) -> ModuleType:
    """Return the module of "module:function", imported; it is found from the current folder, too.

    Raises:
        RecipeError: There is no such module, or importing it fails.
    """
    module_name = named.partition(":")[0]
    here = str(Path.cwd())
    if here not in sys.path:  # last, so that no file beside the images hides a package
        sys.path.append(here)
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise RecipeError(
                f"model.network {named!r}: importing {module_name} failed: {short(error)}"
            ) from error
        file = f"{module_name.replace('.', '/')}.py"
        raise RecipeError(
            f"model.network {named!r}: there is no module {error.name!r}, neither installed nor "
            f"in the current folder {here}. Start from the folder that has {file}."
        ) from error
    except ANY as error:
        raise RecipeError(
            f"model.network {named!r}: importing {module_name} failed: "
            f"{type(error).__name__}: {short(error)}"
        ) from error


def _function(named: str) -> Callable[[Recipe, int], object]:
    module, name = module_of(named), named.partition(":")[2]
    function = getattr(module, name, None)
    if not callable(function):
        raise RecipeError(
            f"model.network {named!r}: {module.__file__} has no function {name!r}. It is called "
            f"as {name}(recipe, num_classes) and returns a Keras model."
        )
    return function  # type: ignore[no-any-return]
