"""A network that no recipe describes, as bytes that can be kept: a `.keras` file, never compiled.

What is trained is what was read back from these bytes, so nothing is found out after hours that
would keep a run from being opened. Reading them runs no code of the file (`safe_mode`).
"""

from __future__ import annotations

import io
import itertools
import json
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from sightline.errors import RecipeError, RunError
from sightline.learning.models import forward, networks
from sightline.learning.models.fitting import refuse_unfit
from sightline.learning.models.own import (
    ANY,
    called_on,
    last_operation,
    layers_of,
    module_of,
    short,
)
from sightline.recipes import NETWORKS, Recipe
from sightline.runs import NETWORK

_UNREADABLE = (*ANY, zipfile.BadZipFile)


def is_kept(recipe: Recipe) -> bool:
    """Say whether a run of this recipe keeps its network as a file."""
    return recipe.model.network not in NETWORKS


def content(
    model: keras.Model,
    recipe: Recipe,
    num_classes: int,
    *,
    class_shares: npt.NDArray[np.float64] | None = None,
) -> bytes:
    """Return a network as it will be trained: a `.keras` file that was read back and compared.

    The model itself is left as it is, but is built if it was not. The copy takes images of the
    recipe's size, is not compiled, and each layer that draws random numbers has a seed.

    Args:
        model: Any Keras model that can be saved.
        recipe: Its [data] says which images go in.
        num_classes: K.
        class_shares: (K,) shares of the training images; the output starts at them if its bias is
            still zero.

    Raises:
        RecipeError: It takes other images, its output does not fit the classes, or it cannot be
            kept; the message says what to do.
    """
    inputs = _image(recipe)
    shape = tuple(inputs.shape)
    if not model.built or getattr(model, "input_shape", None) != shape:
        called_on(model, inputs)
    bare = _copied(model)
    _give_seeds(bare, recipe.seed)
    whole = _copied(bare)  # its layers are made anew, now with these seeds
    if getattr(whole, "input_shape", None) != shape:
        whole = keras.Model(inputs, called_on(whole, inputs), name="network")
    refuse_unfit(whole, num_classes)
    if class_shares is not None:
        _start_at(whole, class_shares)
    kept = _saved(whole)
    _refuse_other(whole, _loaded(kept))
    return kept


def rebuild(
    recipe: Recipe,
    num_classes: int,
    kept: bytes | None,
    *,
    class_shares: npt.NDArray[np.float64] | None = None,
    training: bool = False,
) -> keras.Model:
    """Return the network of a run, from its recipe or from what was kept of it.

    Every use of a run's network comes through here.

    Args:
        recipe: Resolved.
        num_classes: K.
        kept: What `content` returned; None for a network that the recipe describes.
        class_shares: (K,) for such a network: its output starts at them.
        training: For such a network: as `networks.build`.

    Raises:
        RunError: What was kept is missing or cannot be read here. Layers of the user's own are
            looked for in the module that the recipe names, if it names one, and nowhere else.
    """
    if kept is not None:
        model = _opened(kept, recipe)
        _penalise(model, recipe)
        return model
    if is_kept(recipe):
        raise RunError(
            f"{NETWORK} is missing from the run, and nothing else says what its network "
            f"({recipe.model.network}) is like. Copy the run folder again from where it came from."
        )
    return networks.build(
        recipe,
        num_classes,
        class_shares=class_shares,
        policy=recipe.precision,
        training=training,
    )


def own_classes(kept: bytes) -> dict[str, str]:
    """Return the registered names of layers and functions of the user's own, with their modules.

    A module is "" where neither the file says it nor this process knows: that of a function, or of
    a class that was in no module.
    """
    with zipfile.ZipFile(io.BytesIO(kept)) as file:
        found = _registered(json.loads(file.read("config.json")))
    return dict(sorted(found))


def draws_anew(kept: bytes) -> bool:
    """Say whether layers draw random numbers from a seed that their configuration does not keep."""
    one, other = (
        [keras.ops.convert_to_numpy(variable) for variable in _seeds(_loaded(kept))]
        for _ in range(2)
    )
    return any(not np.array_equal(*pair) for pair in zip(one, other, strict=True))


def _seeds(model: keras.Model) -> list[keras.Variable]:
    weights = {id(variable) for variable in model.weights}
    return [variable for variable in model.variables if id(variable) not in weights]


def _image(recipe: Recipe) -> keras.KerasTensor:
    size = recipe.data.image_size
    assert size != "auto", "the recipe is resolved before a network is kept"
    return keras.Input((*size, int(recipe.data.channels)), name="image")


def _copied(model: keras.Model) -> keras.Model:
    """Return the model after a way through a file, not compiled.

    Raises:
        RecipeError: It does not come back.
    """
    try:
        return _loaded(_saved(model))
    except ANY as error:
        raise RecipeError(
            f"the model {model.name!r} cannot be kept, so no training of it could be resumed or "
            f"used later: {short(error)} {_what_to_do(error)}"
        ) from error


def _saved(model: keras.Model) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / NETWORK
        model.save(path)
        return path.read_bytes()


def _loaded(kept: bytes) -> keras.Model:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / NETWORK
        path.write_bytes(kept)
        return keras.saving.load_model(path, compile=False, safe_mode=True)


def _opened(kept: bytes, recipe: Recipe) -> keras.Model:
    named = recipe.model.network
    try:
        return _loaded(kept)
    except _UNREADABLE as error:
        own = _own_if_whole(kept)
        if not own or ":" not in named:
            raise RunError(
                f"{NETWORK} of the run cannot be opened: {short(error)} {_to_import(own)}"
            ) from error
    return _opened_with(kept, own, named)


def _opened_with(kept: bytes, own: dict[str, str], named: str) -> keras.Model:
    """Return the network once the module of "module:function" was imported, as at training."""
    theirs = f"{', '.join(own)} of your own (of {modules_in_words(own)})"
    try:
        module = module_of(named)
        return _loaded(kept)
    except RecipeError as error:
        raise RunError(
            f"{NETWORK} of the run has {theirs}, which nothing here registers: {error}"
        ) from error
    except _UNREADABLE as error:
        raise RunError(
            f"{NETWORK} of the run cannot be opened: {short(error)} It has {theirs}, and "
            f"{module.__file__} was imported, which its recipe names: let importing that register "
            "all of them, as they were when the run was trained."
        ) from error


def _own_if_whole(kept: bytes) -> dict[str, str] | None:
    try:
        return own_classes(kept)
    except (LookupError, OSError, ValueError, zipfile.BadZipFile):
        return None


def _to_import(own: dict[str, str] | None) -> str:
    if own is None:
        return "The file is damaged: copy the run folder again from where it came from."
    if not own:
        return "It was written by another version of Keras, or is damaged."
    return (
        f"It has {', '.join(own)} of your own: import {modules_in_words(own)} first, which "
        "registers them."
    )


def modules_in_words(own: dict[str, str]) -> str:
    """Return the modules of `own_classes`, to be put into a sentence."""
    return " and ".join(sorted(set(own.values()) - {""})) or "their module"


def _refuse_other(model: keras.Model, again: keras.Model) -> None:
    """Refuse a model that comes back with other weights, or puts out something else."""
    before, after = forward.get_weights(model), forward.get_weights(again)
    same = [*before] == [*after] and all(
        np.array_equal(before[name], after[name], equal_nan=True) for name in before
    )
    images = np.random.default_rng(1).random((2, *model.inputs[0].shape[1:]), np.float32)
    outputs = [
        np.asarray(keras.ops.convert_to_numpy(each(images, training=False)), np.float32)
        for each in (model, again)
    ]
    if not same or not np.allclose(outputs[0], outputs[1], atol=1e-5):
        raise RecipeError(
            f"the model {model.name!r} cannot be kept: saved and loaded again it has other weights "
            "or puts out something else. Give its own layers get_config, and make all weights in "
            "__init__ or build."
        )


def _what_to_do(error: BaseException) -> str:
    if "lambda" in str(error).lower():
        return (
            "Replace each Lambda by operations of keras.ops on its inputs, or by a registered "
            "layer: loading it would run code out of a file."
        )
    return (
        "Put @keras.saving.register_keras_serializable() above each layer, model and function of "
        "your own, give them get_config, and import their module wherever the run is opened."
    )


def _registered(plain: Any) -> Iterator[tuple[str, str]]:
    if isinstance(plain, dict):
        name, module = plain.get("registered_name"), plain.get("module")
        if module == "builtins":  # a function, of which the file has no module
            name, module = plain.get("config"), None
            name = name if ">" in str(name) else None  # else it is one of Keras' own
        foreign = not (isinstance(module, str) and module.partition(".")[0] == "keras")
        if isinstance(name, str) and foreign:
            yield name, str(module or _module_of(name))
    for inner in plain.values() if isinstance(plain, dict) else ():
        yield from _registered(inner)
    for inner in plain if isinstance(plain, list) else ():
        yield from _registered(inner)


def _module_of(registered: str) -> str:
    """Return the module of what is registered here under a name, "" if nothing can be imported."""
    module = getattr(keras.saving.get_registered_object(registered), "__module__", None)
    return module if isinstance(module, str) and module != "__main__" else ""


def _give_seeds(model: keras.Model, seed: int) -> None:
    """Give a seed to each layer that would draw its own by chance, for when it is made anew."""
    seeds = itertools.count(seed * 1000 + 501)
    for layer in layers_of(model):
        if hasattr(layer, "seed_generator") and getattr(layer, "seed", 0) is None:
            layer.seed = next(seeds)


def _penalise(model: keras.Model, recipe: Recipe) -> None:
    """Add the recipe's penalties to kernels without one of their own."""
    l1, l2 = recipe.model.l1, recipe.model.l2
    if l1 or l2:
        for variable in model.trainable_variables:
            if "kernel" in variable.name and variable.regularizer is None:
                variable.regularizer = keras.regularizers.L1L2(l1, l2)


def starts_at(model: keras.Model, class_shares: npt.NDArray[np.float64]) -> bool:
    """Say whether the output of a network starts at the class shares."""
    bias = _last_bias(model)
    if bias is None:
        return False
    there = keras.ops.convert_to_numpy(bias)
    return bool(np.allclose(there, _bias(class_shares, there.shape), atol=1e-4))


def _start_at(model: keras.Model, class_shares: npt.NDArray[np.float64]) -> None:
    """Start the output at the class shares, where its last layer has a bias of zeros."""
    bias = _last_bias(model)
    if bias is not None and not np.any(keras.ops.convert_to_numpy(bias)):
        bias.assign(_bias(class_shares, tuple(bias.shape)))


def _bias(class_shares: npt.NDArray[np.float64], shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    if shape == (1,):
        return networks.initial_bias(class_shares)
    return np.log(np.maximum(class_shares, 1e-6))


def _last_bias(model: keras.Model) -> keras.Variable | None:
    """Return the bias of what computes the output, None where there is none to be seen."""
    return getattr(last_operation(model), "bias", None)
