"""Several networks as one: of layers and operations that Keras itself keeps in a file and opens.

Each member is a network inside, with its own size, colour and scaling where they are not the same
for all. The last layer takes the softmax of the logarithm of the mean: that is the mean itself,
and whoever asks for logits finds some.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import numpy.typing as npt
from keras import layers

from sightline.learning.models import forward
from sightline.recipes import Recipe, change_recipe

MEMBER = "member_"  # what the networks inside are called, with their number
_LEAST = 1e-30  # a probability, before its logarithm
_AXES = {"horizontal": 2, "vertical": 1}
_PIXELS = ("image_size", "channels", "scaling", "mean", "std", "quality", "background")


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A network that others are put together with.

    Attributes:
        model: With its weights.
        recipe: Says what goes in.
        flips: Along which axes images are mirrored as well: "horizontal", "vertical".
    """

    model: keras.Model
    recipe: Recipe
    flips: tuple[str, ...] = ()


def common_input(recipes: Sequence[Recipe]) -> Recipe:
    """Return the first recipe with [data] that serves all: theirs, where it is the same for all.

    Else images of the largest height and width, in colour if any of them is, as 0..255; antialiased
    where their ways of decoding differ, and on the smallest of unlike backgrounds. So the order of
    the recipes does not matter.
    """
    first = recipes[0]
    kept = {f"data.{key}": getattr(first.data, key) for key in _PIXELS}
    if not all_alike(recipes):
        sizes = [size for each in recipes if (size := each.data.image_size) != "auto"]
        height, width = (max(side) for side in zip(*sizes, strict=True))
        channels = max(int(each.data.channels) for each in recipes)
        kept |= {"data.image_size": [height, width], "data.channels": channels}
        kept |= {"data.scaling": "none", "data.mean": [], "data.std": []}
        kept["data.background"] = min(each.data.background for each in recipes)
        if len({each.data.quality for each in recipes}) > 1:
            kept["data.quality"] = "best"
    exact = all(each.precision == "float32" for each in recipes)
    precision = "float32" if exact else "mixed_bfloat16"
    return change_recipe(first, {**kept, "data.grow": [], "precision": precision})


def all_alike(recipes: Sequence[Recipe]) -> bool:
    """Say whether the same pixels go into all networks."""
    ways = {tuple(getattr(each.data, key) for key in _PIXELS) for each in recipes}
    return len(ways) == 1


def member(part: Part, number: int, recipes: Sequence[Recipe], num_classes: int) -> keras.Model:
    """Return a network as it is inside an ensemble: common images in, (B, K) probabilities out.

    Args:
        part: The network.
        number: Its place.
        recipes: Of all networks.
        num_classes: K.
    """
    data = common_input(recipes).data
    assert data.image_size != "auto", "recipes of runs are resolved"
    image = keras.Input((*data.image_size, int(data.channels)), name="image")
    pixels = image if all_alike(recipes) else _brought(image, part.recipe)
    seen = [part.model(each) for each in _mirrored(pixels, part.flips)]
    answer = layers.Average(dtype="float32")(seen) if len(seen) > 1 else seen[0]
    if num_classes == 2 and answer.shape[-1] == 1:
        answer = keras.ops.concatenate([1 - answer, answer], axis=-1)
    return keras.Model(image, answer, name=f"{MEMBER}{number}")


def composed(members: Sequence[keras.Model], weights: npt.NDArray[np.float64]) -> keras.Model:
    """Return one network: the weighted mean of what members say, those of no weight left out.

    Args:
        members: Of `member`.
        weights: (M,) at least 0, together 1.
    """
    image = keras.Input(members[0].input_shape[1:], name="image")
    parts = [
        layers.Rescaling(float(weight), dtype="float32", name=f"share_{number}")(each(image))
        for number, (each, weight) in enumerate(zip(members, weights, strict=True))
        if weight > 0
    ]
    mean = layers.Add(dtype="float32", name="mean")(parts) if len(parts) > 1 else parts[0]
    logits = keras.ops.log(keras.ops.maximum(mean, _LEAST))
    answer = layers.Softmax(dtype="float32", name="probabilities")(logits)
    return keras.Model(image, answer, name="ensemble")


def average_weights(parts: Sequence[Part]) -> None:
    """Give the first network the mean of all networks' weights ("soup", Wortsman et al. 2022).

    Raises:
        ValueError: The names or shapes of their weights differ.
    """
    arrays = [forward.get_weights(part.model) for part in parts]
    shapes = [{name: array.shape for name, array in each.items()} for each in arrays]
    if any(each != shapes[0] for each in shapes):
        raise ValueError("the networks do not have the same weights")
    mean = {
        name: np.mean([each[name].astype(np.float64) for each in arrays], axis=0).astype(
            arrays[0][name].dtype
        )
        for name in arrays[0]
    }
    forward.set_weights(parts[0].model, mean)


def unlike_statistics(parts: Sequence[Part]) -> list[int]:
    """Return the places, among layers of BatchNormalization, of those whose statistics differ.

    They are what a mean of weights makes wrong; those of a frozen backbone are the same in all.
    """
    every = zip(*(_normalisers(part.model) for part in parts), strict=True)
    return [place for place, alike in enumerate(every) if not _same_statistics(alike)]


def _same_statistics(alike: Sequence[keras.Layer]) -> bool:
    first, *others = [
        [
            keras.ops.convert_to_numpy(each.moving_mean),
            keras.ops.convert_to_numpy(each.moving_variance),
        ]
        for each in alike
    ]
    return all(np.array_equal(first, other) for other in others)


def estimate_statistics(
    model: keras.Model, places: Collection[int], batches: Iterable[npt.NDArray[np.float32]]
) -> int:
    """Take batch statistics anew, as the mean over all images of some batches; no dropout.

    Returns how many images there were. Layers of BatchNormalization at other places work as they
    do when a network predicts.

    Args:
        model: Its layers of BatchNormalization at these places are changed, nothing else.
        places: Of `unlike_statistics`.
        batches: (B, H, W, C) each, scaled as in training; one is held at a time.
    """
    normalisers = list(_normalisers(model))
    dropouts = [each for each in model._flatten_layers() if hasattr(each, "rate")]
    before = [(each, each.momentum, each.trainable) for each in normalisers]
    rates = [each.rate for each in dropouts]
    seen = 0
    try:
        for each in dropouts:
            each.rate = 0.0
        for place, each in enumerate(normalisers):
            each.trainable = place in places
        for images in batches:
            for each in normalisers:
                each.momentum = seen / (seen + len(images))  # so it is the plain mean of all
            model(images, training=True)
            seen += len(images)
    finally:
        for each, momentum, trainable in before:
            each.momentum, each.trainable = momentum, trainable
        for each, rate in zip(dropouts, rates, strict=True):
            each.rate = rate
    return seen


def _normalisers(model: keras.Model) -> Iterable[keras.Layer]:
    return (each for each in model._flatten_layers() if isinstance(each, layers.BatchNormalization))


def _brought(image: keras.KerasTensor, recipe: Recipe) -> keras.KerasTensor:
    """Return pixels of 0..255 in a member's own size, colour and scaling."""
    size = recipe.data.image_size
    assert size != "auto", "recipes of runs are resolved"
    pixels = image
    if tuple(image.shape[1:3]) != tuple(size):
        pixels = layers.Resizing(*size, antialias=True, dtype="float32")(pixels)
    if int(recipe.data.channels) == 1 and image.shape[-1] == 3:
        shares = [
            share * pixels[..., place : place + 1] for place, share in enumerate(forward.LUMA)
        ]
        pixels = shares[0] + shares[1] + shares[2]
    return forward.scaled(pixels, recipe)


def _mirrored(pixels: keras.KerasTensor, flips: Sequence[str]) -> list[keras.KerasTensor]:
    """Return images and their mirror images, along each axis and along both."""
    axes = [_AXES[each] for each in flips]
    chosen = [
        some for count in range(len(axes) + 1) for some in itertools.combinations(axes, count)
    ]
    return [keras.ops.flip(pixels, axis=some) if some else pixels for some in chosen]
