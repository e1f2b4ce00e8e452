"""A checked model file from elsewhere, loaded by Keras and turned into our own form.

For the limited program `opening` alone.
"""

from __future__ import annotations

import json
import math
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras.src.legacy.saving import saving_options, saving_utils

from sightline.errors import DataError
from sightline.learning.models import forward, kept, own
from sightline.recipes import Recipe
from sightline.records import ModelSummary

_LARGEST_OUTPUT = 1 << 28  # numbers that a layer puts out for one image: 1 GiB
_SPARE = 1 << 16  # numbers that are no weights: seeds and counters


def load(config: dict[str, Any], weights: Path, kind: str, numbers: int) -> keras.Model:
    """Return the model, not compiled.

    Args:
        config: As checked.
        weights: What the weights are in; of an .h5, the whole file.
        kind: "keras" or "h5".
        numbers: How many the file stores.

    Raises:
        DataError: It declares more weights than it stores, or Keras cannot load it.
    """
    try:
        # Without values: what would be allocated is known before it is.
        with keras.StatelessScope(initialize_variables=False):
            _refuse_large(_bare(config, kind), numbers)
        if kind == "h5":
            return keras.saving.load_model(weights, compile=False, safe_mode=True)
        clean = weights.with_name("clean.keras")  # what Keras reads is what was checked
        with zipfile.ZipFile(clean, "w") as archive:
            archive.writestr("metadata.json", json.dumps({"keras_version": keras.__version__}))
            archive.writestr("config.json", json.dumps(config))
            archive.write(weights, "model.weights.h5")
        return keras.saving.load_model(clean, compile=False, safe_mode=True)
    except DataError:
        raise
    except (*own.ANY, zipfile.BadZipFile) as error:
        raise DataError(
            f"Keras {keras.__version__} cannot load it: {own.short(error)} A file of an older "
            "Keras may have to be opened there and saved anew, as .keras."
        ) from error


def _bare(config: dict[str, Any], kind: str) -> keras.Model:
    copy = json.loads(json.dumps(config))  # reading a configuration empties it
    if kind == "keras":
        return keras.saving.deserialize_keras_object(copy, safe_mode=True)
    with saving_options.keras_option_scope(use_legacy_config=True):
        return saving_utils.model_from_config(copy)


def _refuse_large(model: keras.Model, numbers: int) -> None:
    if not isinstance(model, keras.Model):
        raise DataError(f"the file holds a {type(model).__name__}, not a model")
    declared = sum(math.prod(variable.shape) for variable in model.variables)
    if declared > numbers + _SPARE:
        raise DataError(
            f"its layers need {declared:,} weights, and the file stores {numbers:,}: it is a "
            "bomb, or damaged"
        )
    for layer in own.layers_of(model):
        try:
            shape = tuple(layer.output.shape[1:])
        except (AttributeError, ValueError):  # used twice, or with several outputs
            continue
        if math.prod(side or 1 for side in shape) > _LARGEST_OUTPUT:
            raise DataError(
                f"its layer {layer.name!r:.80} puts out {shape} for one image, which is too much"
            )


def converted(
    model: keras.Model, recipe: Recipe, num_classes: int
) -> tuple[bytes, dict[str, npt.NDArray[np.generic]], ModelSummary]:
    """Return a model as a run keeps it: its network, its weights, its summary.

    Raises:
        RecipeError: Its output is not one probability a class, or it would scale pixels twice.
    """
    own.refuse_double_scaling(recipe, model)
    network = kept.content(model, recipe, num_classes)
    again = kept.rebuild(recipe, num_classes, network)
    return network, forward.get_weights(again), forward.summarise(again)
