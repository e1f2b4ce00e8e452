"""The networks of the recipes, layer by layer as published, and the modern one of `auto`.

Every random choice inside a network (initial weights, dropout) has an explicit seed made from
the recipe's, so a rebuilt network is the same network.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import keras
import numpy as np
import numpy.typing as npt
from keras import layers

from sightline.errors import RecipeError
from sightline.recipes import Recipe

_Stack = list[keras.Layer]


def build(
    recipe: Recipe,
    num_classes: int,
    *,
    class_shares: npt.NDArray[np.float64] | None = None,
    policy: str = "float32",
) -> keras.Model:
    """Return a new network for a recipe, built, with its initial weights.

    Input (B, H, W, C) scaled float32; output float32 probabilities: (B, 1) sigmoid for two
    classes (of the second), (B, K) softmax otherwise. The output layer computes in float32 under
    any policy.

    Args:
        recipe: Resolved; no value is "auto".
        num_classes: K, at least 2.
        class_shares: (K,) shares of the training images; the output then starts at them.
        policy: "float32" or "mixed_bfloat16".

    Raises:
        RecipeError: The recipe gives another number of dropout rates than the network has, or
            an image too small for it.
    """
    seeds = itertools.count(recipe.seed * 1000 + 1)
    height, width = _size(recipe)
    shape = (height, width, int(recipe.data.channels))
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        inputs = keras.Input(shape, name="image")
        features = _NETWORKS[recipe.model.network](recipe, inputs, seeds)
        head = _head(num_classes, next(seeds))
        model = keras.Model(inputs, head(features), name=recipe.model.network.replace("-", "_"))
        if class_shares is not None:  # assigned: an initializer of ours would not load in Keras
            head.bias.assign(initial_bias(class_shares))
        return model
    except ValueError as error:
        if "Negative dimension" in str(error) or "negative" in str(error):
            raise RecipeError(
                f"data.image_size {height}x{width} is too small for network "
                f"{recipe.model.network!r}: a layer would have nothing left. Use a larger size."
            ) from error
        raise
    finally:
        keras.config.set_dtype_policy(previous)


def _skin_binary(
    recipe: Recipe, inputs: keras.KerasTensor, seeds: Iterator[int]
) -> keras.KerasTensor:
    first, second, third = _dropout(recipe, 3)
    return _apply(
        inputs,
        [
            _conv(16, 3, seeds),
            layers.MaxPooling2D(2),
            layers.Dropout(first, seed=next(seeds)),
            _conv(32, 3, seeds),
            layers.MaxPooling2D(2),
            layers.Dropout(second, seed=next(seeds)),
            layers.Flatten(),
            _dense(512, seeds),
            layers.Dropout(third, seed=next(seeds)),
        ],
    )


def _ham10000(recipe: Recipe, inputs: keras.KerasTensor, seeds: Iterator[int]) -> keras.KerasTensor:
    first, second = _dropout(recipe, 2)
    padding = recipe.model.padding
    return _apply(
        inputs,
        [
            _conv(30, 5, seeds, padding),
            _conv(30, 3, seeds, padding),
            layers.BatchNormalization(),
            layers.MaxPooling2D(2),
            _conv(20, 3, seeds, padding),
            _conv(15, 3, seeds, padding),
            layers.GroupNormalization(3),
            layers.MaxPooling2D(2),
            _conv(10, 3, seeds, padding),
            layers.Flatten(),
            layers.LayerNormalization(),
            _dense(256, seeds),
            layers.BatchNormalization(),
            layers.Dropout(first, seed=next(seeds)),
            _dense(128, seeds),
            layers.BatchNormalization(),
            layers.Dropout(second, seed=next(seeds)),
        ],
    )


def _chest_xray(
    recipe: Recipe, inputs: keras.KerasTensor, seeds: Iterator[int]
) -> keras.KerasTensor:
    rates = _dropout(recipe, 5)
    stack: _Stack = [_conv(16, 3, seeds), _conv(16, 3, seeds), layers.MaxPooling2D(2)]
    for filters in (32, 64, 128):
        stack += _separable_block(filters, seeds)
    stack.append(layers.Dropout(rates[0], seed=next(seeds)))
    stack += _separable_block(256, seeds)
    stack += [layers.Dropout(rates[1], seed=next(seeds)), layers.Flatten()]
    for units, rate in zip((512, 128, 64), rates[2:], strict=True):
        stack += [
            _dense(units, seeds),
            layers.BatchNormalization(),
            layers.Dropout(rate, seed=next(seeds)),
        ]
    return _apply(inputs, stack)


def _basic(recipe: Recipe, inputs: keras.KerasTensor, seeds: Iterator[int]) -> keras.KerasTensor:
    _dropout(recipe, 0)
    width = int(recipe.model.width)
    return _apply(
        inputs,
        [
            _conv(width, 3, seeds),
            layers.MaxPooling2D(2),
            _conv(2 * width, 3, seeds),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            _dense(64, seeds),
        ],
    )


def _residual(recipe: Recipe, inputs: keras.KerasTensor, seeds: Iterator[int]) -> keras.KerasTensor:
    """Pre-activation residual blocks (He et al., "Identity mappings in deep residual networks").

    Stages of two blocks double their filters and halve the image; images of 64 px or more are
    halved once more at the entrance. Ends in global average pooling, so the head stays small.
    """
    (rate,) = _dropout(recipe, 1)
    width = int(recipe.model.width)
    stride = 2 if min(_size(recipe)) >= 64 else 1
    x = _plain_conv(width, seeds, stride)(inputs)
    for stage in range(int(recipe.model.stages)):
        filters = width * 2**stage
        for block in range(2):
            x = _residual_block(x, filters, 2 if stage and not block else 1, seeds)
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
    x = layers.GlobalAveragePooling2D()(x)
    return layers.Dropout(rate, seed=next(seeds))(x)


def _residual_block(
    x: keras.KerasTensor, filters: int, stride: int, seeds: Iterator[int]
) -> keras.KerasTensor:
    active = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
    if stride != 1 or x.shape[-1] != filters:
        x = layers.Conv2D(
            filters, 1, strides=stride, use_bias=False, kernel_initializer=_he(seeds)
        )(active)
    y = _plain_conv(filters, seeds, stride)(active)
    y = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(y))
    return layers.Add()([x, _plain_conv(filters, seeds)(y)])


_NETWORKS: dict[str, Callable[[Recipe, keras.KerasTensor, Iterator[int]], keras.KerasTensor]] = {
    "skin-binary": _skin_binary,
    "ham10000": _ham10000,
    "chest-xray": _chest_xray,
    "basic": _basic,
    "residual": _residual,
}


def initial_bias(class_shares: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the output bias that starts a network at the class shares.

    (1,) log(positives / negatives) for two classes, (K,) log(share) for several; a share of 0
    counts as one in a million.
    """
    shares = np.clip(class_shares, 1e-6, 1)
    return np.asarray(np.log(shares[1:] / shares[:1]) if len(shares) == 2 else np.log(shares))


def _head(num_classes: int, seed: int) -> keras.Layer:
    """Return the output layer: one sigmoid for two classes, softmax otherwise."""
    binary = num_classes == 2
    return layers.Dense(
        1 if binary else num_classes,
        activation="sigmoid" if binary else "softmax",
        kernel_initializer=keras.initializers.GlorotUniform(seed=seed),
        dtype="float32",
        name="probabilities",
    )


def _apply(x: keras.KerasTensor, stack: _Stack) -> keras.KerasTensor:
    for layer in stack:
        x = layer(x)
    return x


def _conv(filters: int, kernel: int, seeds: Iterator[int], padding: str = "same") -> keras.Layer:
    return layers.Conv2D(
        filters,
        kernel,
        padding=padding,
        activation="relu",
        kernel_initializer=keras.initializers.GlorotUniform(seed=next(seeds)),
    )


def _plain_conv(filters: int, seeds: Iterator[int], stride: int = 1) -> keras.Layer:
    return layers.Conv2D(
        filters,
        3,
        strides=stride,
        padding="same",
        use_bias=False,  # batch normalisation follows and has one
        kernel_initializer=_he(seeds),
    )


def _separable_block(filters: int, seeds: Iterator[int]) -> _Stack:
    return [
        *(
            layers.SeparableConv2D(
                filters,
                3,
                padding="same",
                activation="relu",
                depthwise_initializer=keras.initializers.GlorotUniform(seed=next(seeds)),
                pointwise_initializer=keras.initializers.GlorotUniform(seed=next(seeds)),
            )
            for _ in range(2)
        ),
        layers.BatchNormalization(),
        layers.MaxPooling2D(2),
    ]


def _dense(units: int, seeds: Iterator[int]) -> keras.Layer:
    return layers.Dense(
        units,
        activation="relu",
        kernel_initializer=keras.initializers.GlorotUniform(seed=next(seeds)),
    )


def _he(seeds: Iterator[int]) -> keras.initializers.Initializer:
    return keras.initializers.HeNormal(seed=next(seeds))


def _dropout(recipe: Recipe, count: int) -> tuple[float, ...]:
    rates = recipe.model.dropout
    if len(rates) != count:
        raise RecipeError(
            f"network {recipe.model.network!r} has {count} dropout layers, and model.dropout "
            f"gives {len(rates)} rates: {list(rates)}"
        )
    return rates


def _size(recipe: Recipe) -> tuple[int, int]:
    size = recipe.data.image_size
    assert size != "auto", "the recipe is resolved before a network is built"
    return size
