"""Networks of keras.applications without their tops, with weights from a file, none downloaded.

Each was trained on pixels of its own range; that scaling is made of layers inside the network, so
the stream hands it 0..255 (data.scaling "none").
"""

from __future__ import annotations

import difflib
import random
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
from keras import layers

from sightline.errors import RecipeError
from sightline.learning.models.own import layers_of, short
from sightline.learning.models.parts import Parts
from sightline.learning.models.weights_file import weights_file
from sightline.recipes import APPLICATIONS, Recipe, change_recipe

BACKBONE = "backbone"
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, 0..1, RGB
_MEAN_BGR = (103.939, 116.779, 123.68)  # 0..255
# What each family's own preprocess_input does: to -1..1; to mean 0, deviation 1; BGR, mean 0.
_SCALINGS = {
    "convnext": "inside",
    "densenet": "standard",
    "efficientnet": "inside",
    "efficientnet_v2": "inside",
    "inception_resnet_v2": "signed",
    "inception_v3": "signed",
    "mobilenet": "signed",
    "mobilenet_v2": "signed",
    "mobilenet_v3": "inside",
    "nasnet": "signed",
    "resnet": "bgr",
    "resnet_v2": "signed",
    "vgg16": "bgr",
    "vgg19": "bgr",
    "xception": "signed",
}
_KERNELS = "_weights_tf_dim_ordering_tf_kernels_notop.h5"
_FILES = {  # as Keras calls its downloads; {} is the network's name in lower case
    "convnext": "{}_notop.h5",
    "efficientnet": "{}_notop.h5",
    "efficientnet_v2": "{}_notop.h5",
    "mobilenet": "mobilenet_1_0_224_tf_no_top.h5",
    "mobilenet_v2": "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5",
    "mobilenet_v3": "weights_mobilenet_v3_{}_224_1.0_float_no_top_v2.h5",
    "nasnet": "{}_no_top.h5",
    "inception_v3": f"inception_v3{_KERNELS}",
    "inception_resnet_v2": f"inception_resnet_v2{_KERNELS}",
}


def is_application(recipe: Recipe) -> bool:
    """Say whether the recipe's network is one of keras.applications."""
    return recipe.model.network.startswith(APPLICATIONS)


def unscaled(recipe: Recipe) -> tuple[Recipe, list[str]]:
    """Return the recipe with data.scaling "none", and what is said about that.

    Raises:
        RecipeError: It asks for a scaling that is not the network's own.
    """
    name, data = recipe.model.network, recipe.data
    if data.scaling in ("mean-std", "per-image"):
        raise RecipeError(
            f"data.scaling {data.scaling!r} does not go with {name}, which scales its input "
            "itself, as it was trained: set data.scaling=none"
        )
    said = [f"Pixels go in as 0..255: {name} has its own scaling inside."]
    return change_recipe(recipe, {"data.scaling": "none"}), said


def features(inputs: keras.KerasTensor, make: Parts) -> keras.KerasTensor:
    """Return what a network of keras.applications makes of images of 0..255, pooled: (B, F).

    Grey images are given to it three times. Weights come from the recipe's file, or from its
    seed. It is one layer, BACKBONE, followed by dropout at model.dropout's one rate, if any.

    Raises:
        RecipeError: There is no such network, the images are too small for it, or the file is
            missing or of another network.
    """
    recipe = make.recipe
    kind = _network(recipe)
    x = layers.Concatenate(name="grey_to_rgb")([inputs] * 3) if inputs.shape[-1] == 1 else inputs
    x = scaled(x, family(kind))
    backbone = _backbone(kind, recipe, tuple(x.shape[1:]))
    if recipe.model.weights:
        _load(backbone, recipe)
    x = backbone(x)
    if not recipe.model.dropout:
        return x
    (rate,) = make.rates(1)
    return make.dropout(rate)(x)


def family(kind: Callable[..., keras.Model]) -> str:
    """Return the module of keras.applications that a network is from."""
    return kind.__module__.rpartition(".")[2]


def scaled(pixels: keras.KerasTensor, family: str) -> keras.KerasTensor:
    """Return RGB pixels of 0..255 as the networks of a family were trained on them, float32."""
    scaling = _SCALINGS[family]
    if scaling == "signed":
        return layers.Rescaling(1 / 127.5, offset=-1.0, dtype="float32", name="scaling")(pixels)
    if scaling == "standard":
        factors = [1 / (255 * std) for std in _STD]
        offsets = [-mean / std for mean, std in zip(_MEAN, _STD, strict=True)]
        return layers.Rescaling(factors, offset=offsets, dtype="float32", name="scaling")(pixels)
    if scaling == "bgr":
        offsets = [-mean for mean in _MEAN_BGR]
        swapped = _swapped(pixels)
        return layers.Rescaling(1.0, offset=offsets, dtype="float32", name="scaling")(swapped)
    return pixels


def _swapped(pixels: keras.KerasTensor) -> keras.KerasTensor:
    """Return BGR made of RGB (B, H, W, 3), by layers alone: an .h5 file keeps nothing else."""
    height, width = pixels.shape[1:3]
    # Only width and height can be cut: the channels become the width.
    apart = layers.Reshape((height * width, 3, 1), dtype="float32", name="rgb")(pixels)
    channels = [
        layers.Cropping2D(((0, 0), (place, 2 - place)), dtype="float32", name=name)(apart)
        for place, name in ((2, "blue"), (1, "green"), (0, "red"))
    ]
    swapped = layers.Concatenate(axis=2, dtype="float32", name="rgb_to_bgr")(channels)
    return layers.Reshape((height, width, 3), dtype="float32", name="bgr")(swapped)


def weights_name(recipe: Recipe) -> str:
    """Return what Keras calls the file of a network's weights without its top."""
    kind = _network(recipe)
    name = kind.__name__.lower()
    if family(kind) == "mobilenet_v3":
        name = name.removeprefix("mobilenetv3")
    name = name.replace("efficientnetv2", "efficientnetv2-").replace("nasnet", "nasnet_")
    name = name.replace("convnext", "convnext_")
    return _FILES.get(family(kind), f"{{}}{_KERNELS}").format(name)


def missing_weights(recipe: Recipe) -> RecipeError:
    """Return what is wrong where the file of model.weights does not exist."""
    name = recipe.model.network.removeprefix(APPLICATIONS)
    return RecipeError(
        f"model.weights {weights_file(recipe)} does not exist, and Sightline downloads nothing. "
        f"Where there is a network, keras.applications.{name}(include_top=False, "
        f"weights='imagenet') puts {weights_name(recipe)} into ~/.keras/models; copy it here and "
        "name its path."
    )


def _network(recipe: Recipe) -> Callable[..., keras.Model]:
    wanted = recipe.model.network.removeprefix(APPLICATIONS)
    known = [name for name in dir(keras.applications) if name[0].isupper()]
    if wanted not in known:
        lower = {name.lower(): name for name in known}
        near = [lower[name] for name in difflib.get_close_matches(wanted.lower(), lower, n=3)]
        raise RecipeError(
            f"model.network {recipe.model.network!r}: keras.applications has no {wanted!r}; "
            f"did you mean {' or '.join(near) if near else 'one of ' + ', '.join(known)}?"
        )
    found: Callable[..., keras.Model] = getattr(keras.applications, wanted)
    return found


def _backbone(
    kind: Callable[..., keras.Model], recipe: Recipe, shape: tuple[int, ...]
) -> keras.Model:
    """Return the network without its top, with initial weights that follow from the seed."""
    state = random.getstate()
    random.seed(recipe.seed)  # Keras draws from it the seeds of layers that are given none
    try:
        with warnings.catch_warnings():
            # That weights of another size would be downloaded; none are.
            warnings.simplefilter("ignore", UserWarning)
            whole = kind(include_top=False, weights=None, pooling="avg", input_shape=shape)
        return keras.Model(whole.inputs[0], whole.outputs[0], name=BACKBONE)
    except ValueError as error:
        height, width = shape[:2]
        raise RecipeError(
            f"data.image_size {height}x{width} does not go with {recipe.model.network}: "
            f"{short(error)} Give another, e.g. data.image_size=[96,96]."
        ) from error
    finally:
        random.setstate(state)


def _load(backbone: keras.Model, recipe: Recipe) -> None:
    """Load the recipe's file of weights into a network without its top."""
    path, network = weights_file(recipe), recipe.model.network
    if not path.is_file():
        raise missing_weights(recipe)
    if not path.name.endswith(".h5"):
        raise RecipeError(
            f"model.weights {path} is no .h5 file. Keras' own is called {weights_name(recipe)}; "
            "yours are saved by backbone.save_weights('NAME.weights.h5')."
        )
    refused = f"model.weights {path} does not fit {network} without its top"
    called = f"Keras' own file for it is called {weights_name(recipe)}."
    try:
        held = _arrays(path)
        # First, as Keras' words for it are about its own insides.
        if held != len(backbone.weights):
            raise RecipeError(
                f"{refused}: it holds {held} arrays, and the network has {len(backbone.weights)}. "
                f"It is of another network, or has a top. {called}"
            )
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # of what would be left as it is
            backbone.load_weights(path)
    except RecipeError:  # a ValueError, too
        raise
    except (OSError, LookupError, TypeError, ValueError, UserWarning) as error:
        raise RecipeError(f"{refused}: {short(error)} {called}") from error
    _square(backbone)


def _arrays(path: Path) -> int:
    """Return how many arrays of weights a file holds."""
    found: list[str] = []

    def note(name: str, thing: Any) -> None:
        if isinstance(thing, h5py.Dataset) and not name.startswith(("optimizer", "top_level_")):
            found.append(name)

    with h5py.File(path, "r") as file:
        file.visititems(note)
    return len(found)


def _square(backbone: keras.Model) -> None:
    """Mend the variance in Keras' files of EfficientNet B0 to B7, which is the deviation.

    With weights="imagenet", Keras divides by its root once more, in a layer that it adds.
    """
    for layer in layers_of(backbone):
        if isinstance(layer, layers.Normalization) and layer.input_mean is None:
            variance = np.asarray(keras.ops.convert_to_numpy(layer.adapt_variance))
            if np.allclose(variance, _STD, atol=1e-4):
                layer.adapt_variance.assign(variance**2)
                layer.finalize_state()
