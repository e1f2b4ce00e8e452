"""What every use of a network shares: its weights by name, its summary, one forward step."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping

import keras
import numpy as np
import numpy.typing as npt
from keras import layers

from sightline.errors import RunError
from sightline.learning.models import devices, lacking
from sightline.recipes import Recipe
from sightline.records import LayerSummary, ModelSummary

LUMA = (0.299, 0.587, 0.114)  # of red, green and blue, as libjpeg and Pillow have it


def forward(
    model: keras.Model, images: npt.NDArray[np.float32], *, batch_size: int
) -> npt.NDArray[np.float32]:
    """Return the probabilities of one batch: (B, K) float32, rows summing to 1.

    Args:
        model: Output (B, 1) sigmoid or (B, K) softmax.
        images: (B, H, W, C) float32, scaled as in training; B at most `batch_size`.
        batch_size: The fixed size of a step.

    Raises:
        RunError: There is not enough memory for it.
    """
    return forward_seeing(model, images, batch_size=batch_size)[0]


def forward_seeing(
    model: keras.Model, images: npt.NDArray[np.float32], *, batch_size: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32] | None]:
    """Return the probabilities of one batch, and what a second output says of it, if there is one.

    A smaller batch is filled up to `batch_size` with black images, so that every step has one
    shape and nothing is compiled twice.

    Args:
        model: As `forward`; with a second output (B, F) where `embedding.with_embedding` made it.
        images: As `forward`.
        batch_size: The fixed size of a step.

    Raises:
        RunError: There is not enough memory for it.
    """
    count = len(images)
    if count < batch_size:
        padding = ((0, batch_size - count), (0, 0), (0, 0), (0, 0))
        images = np.pad(images, padding)
    size, height, width = images.shape[:3]
    work = f"to predict {size} images of {height}x{width} at a time (train.batch_size)"
    with lacking.told_of(work, "End other programs that take it, or use a machine with more."):
        output, *seen = (
            np.asarray(each, np.float32)[:count] for each in devices.predict(model, images)
        )
    if output.shape[1] == 1:
        output = np.concatenate([1 - output, output], axis=1)
    return output, seen[0] if seen else None


def named_weights(model: keras.Model) -> dict[str, keras.Variable]:
    """Return every weight (trainable and not, without seeds) under its position and name.

    The names do not depend on how many networks this process has built: "003/kernel".
    """
    return {f"{i:03d}/{_plain(v.name)}": v for i, v in enumerate(model.weights)}


def _plain(name: str) -> str:
    """Return a variable's name without the number that Keras counts nameless ones by."""
    return re.sub(r"^variable(_\d+)?$", "variable", name)


def get_weights(model: keras.Model) -> dict[str, npt.NDArray[np.generic]]:
    """Return the values of `named_weights`."""
    return {
        name: np.asarray(keras.ops.convert_to_numpy(variable))
        for name, variable in named_weights(model).items()
    }


def set_weights(model: keras.Model, arrays: Mapping[str, npt.NDArray[np.generic]]) -> None:
    """Assign weights that `get_weights` returned for an equal network.

    Raises:
        RunError: As `assign`.
    """
    assign(named_weights(model), arrays)


def assign(
    variables: Mapping[str, keras.Variable], arrays: Mapping[str, npt.NDArray[np.generic]]
) -> None:
    """Assign arrays to the variables of the same names; Keras itself would only warn.

    Raises:
        RunError: A name, shape or dtype differs; nothing is assigned then.
    """
    if variables.keys() != arrays.keys():
        differing = sorted(variables.keys() ^ arrays.keys())
        raise RunError(
            f"the weights do not fit the network: {len(differing)} names differ, "
            f"first {differing[:3]}. The run was written by another version of its recipe."
        )
    for name, variable in variables.items():
        there = (arrays[name].shape, arrays[name].dtype.name)
        here = (tuple(variable.shape), variable.dtype)
        if there != here:
            raise RunError(
                f"weight {name} is {there[0]} {there[1]} in the run and {here[0]} {here[1]} in "
                "the network. The run was written by another version of its recipe."
            )
    for name, variable in variables.items():
        variable.assign(arrays[name])


def summarise(model: keras.Model) -> ModelSummary:
    """Return layers, shapes, parameters and multiply-accumulates of a network."""
    flat = list(_simple_layers(model))
    rows = tuple(
        LayerSummary(
            name=f"layer {number}",
            kind=type(layer).__name__,
            output_shape=_output_shape(layer),
            parameters=int(layer.count_params()),
        )
        for number, layer in enumerate(flat)
    )
    return ModelSummary(
        layers=rows,
        parameters=int(model.count_params()),
        trainable=sum(int(np.prod(v.shape)) for v in model.trainable_weights),
        # What a subclassed model computes, only its call knows: then nothing is counted.
        operations=0
        if any(isinstance(layer, keras.Model) for layer in flat)
        else sum(_operations(layer) for layer in flat),
    )


def with_own_scaling(model: keras.Model, recipe: Recipe) -> keras.Model:
    """Return the same network for Keras users: input 0..255 RGB, the recipe's scaling inside.

    A network that was trained on grey images turns RGB into grey first.
    """
    height, width, channels = model.input_shape[1:]
    inputs = keras.Input((height, width, 3), name="rgb_0_255")
    pixels = inputs
    if channels == 1:  # as libjpeg and Pillow do; Keras' own weights do not quite sum to 1
        wide = keras.ops.cast(inputs, precision_of_pixels(recipe))  # grey in colour stays that
        red, green, blue = (wide[..., place : place + 1] for place in range(3))
        pixels = LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue
    return keras.Model(inputs, model(scaled(pixels, recipe)), name=model.name)


def scaled(pixels: keras.KerasTensor, recipe: Recipe) -> keras.KerasTensor:
    """Return pixels of 0..255 scaled as the stream scales them, by layers of Keras."""
    wide = precision_of_pixels(recipe)
    if recipe.data.scaling == "per-image" and wide == "float64":
        return _standardised(pixels, wide)
    return _scaling(recipe)(pixels)


def _standardised(pixels: keras.KerasTensor, wide: str) -> keras.KerasTensor:
    """Return each image brought to mean 0 and deviation 1, over all its channels and places.

    As exact as it goes; Keras' GroupNormalization is less exact, whatever its type.
    """
    shape = pixels.shape[1:]
    number = math.prod(shape)
    apart = layers.Reshape((number, 1), dtype=wide)(pixels)
    for _ in range(2):  # the mean of a plain image may be off by its last bit
        mean = layers.GlobalAveragePooling1D("channels_last", keepdims=True, dtype=wide)(apart)
        apart = layers.Subtract(dtype=wide)([apart, mean])
    unit = layers.UnitNormalization(axis=1, dtype=wide)(apart)  # its squares sum to 1, not number
    # Rescaling takes a float32, so the factor goes in as two that are added.
    near = float(np.float32(math.sqrt(number)))
    factors = (near, math.sqrt(number) - near)
    whole = [layers.Rescaling(factor, dtype=wide)(unit) for factor in factors]
    together = layers.Add(dtype=wide)(whole)
    return layers.Reshape(shape, dtype="float32", name="scaling")(together)


def precision_of_pixels(recipe: Recipe) -> str:
    """Return the type of pixels that are yet to be scaled by layers.

    A network in bfloat16 rounds pixels the other way that differ from the stream's in the last bit
    of float32, and predicts something else: it needs float64, as the stream has it. JAX has none,
    and on torch Keras takes means in float32.
    """
    exact = recipe.precision != "float32" and keras.config.backend() == "tensorflow"
    return "float64" if exact else "float32"


def _scaling(recipe: Recipe) -> keras.Layer:
    data = recipe.data
    if data.scaling == "per-image":  # over one group of all channels, and every place
        return layers.GroupNormalization(
            groups=1, epsilon=1e-12, center=False, scale=False, name="scaling"
        )
    if data.scaling == "mean-std":
        factors = [1 / (255 * std) for std in data.std]
        terms = [-mean / std for mean, std in zip(data.mean, data.std, strict=True)]
        return layers.Rescaling(factors, offset=terms, name="scaling")
    return layers.Rescaling(1 / 255 if data.scaling == "1/255" else 1.0, name="scaling")


def _simple_layers(model: keras.Model) -> Iterator[keras.Layer]:
    """Yield the layers of a network, and those of networks inside it in their place."""
    for layer in model.layers:
        if isinstance(layer, keras.Sequential) or _is_functional(layer):
            yield from (each for each in _simple_layers(layer) if not _is_input(each))
        else:
            yield layer


def _is_functional(layer: keras.Layer) -> bool:
    return isinstance(layer, keras.Model) and hasattr(layer, "operations")


def _is_input(layer: keras.Layer) -> bool:
    return isinstance(layer, layers.InputLayer)


def _output_shape(layer: keras.Layer) -> tuple[int | None, ...]:
    """Return what a layer puts out without the batch axis; () where only its call knows."""
    try:
        return tuple(layer.output.shape[1:])
    except (AttributeError, ValueError):  # used twice, several outputs, or inside a subclass
        return ()


def _operations(layer: keras.Layer) -> int:
    """Return multiply-accumulates of one image: kernel elements times places it is applied."""
    kernels = [v for v in layer.weights if "kernel" in v.name]
    shape = _output_shape(layer)
    places = [side or 0 for side in shape[:-1]] if len(shape) == 3 else []
    if not shape:
        return 0
    return sum(int(np.prod(v.shape)) for v in kernels) * int(np.prod(places, dtype=np.int64))
