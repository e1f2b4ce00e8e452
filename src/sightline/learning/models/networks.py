"""The networks of the recipes, layer by layer as published, and the modern one of `auto`.

Every random choice inside a network (initial weights, dropout) has an explicit seed made from
the recipe's, so a rebuilt network is the same network.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
import numpy.typing as npt
from keras import layers

from sightline.errors import RecipeError
from sightline.learning.models import applications, own
from sightline.learning.models.parts import Parts
from sightline.recipes import Normalisation, Recipe

_Stack = list[keras.Layer]


def build(
    recipe: Recipe,
    num_classes: int,
    *,
    class_shares: npt.NDArray[np.float64] | None = None,
    policy: str = "float32",
    training: bool = False,
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
        training: With layers that train fast (`normalising`); without them, a file of the network
            can be read by Keras alone. Weights and predictions are the same. It takes images of
            any size where the recipe lets them grow.

    Raises:
        RecipeError: The recipe gives another number of dropout rates than the network has, or
            an image too small for it; or as `own.called` and `applications.features`.
    """
    if ":" in recipe.model.network:
        return own.called(recipe, num_classes, policy)
    make = Parts(recipe, training)
    height, width = _size(recipe)
    grows = training and recipe.data.grow
    shape = (*((None, None) if grows else (height, width)), int(recipe.data.channels))
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        inputs = keras.Input(shape, name="image")
        network = recipe.model.network
        features = _NETWORKS.get(network, applications.features)(inputs, make)
        head = make.head(num_classes)
        name = network.replace("-", "_").replace("/", "_")
        model = keras.Model(inputs, head(features), name=name)
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


def _skin_binary(inputs: keras.KerasTensor, make: Parts) -> keras.KerasTensor:
    first, second, third = make.rates(3)
    return _apply(
        inputs,
        [
            make.conv(16, 3),
            layers.MaxPooling2D(2),
            make.dropout(first),
            make.conv(32, 3),
            layers.MaxPooling2D(2),
            make.dropout(second),
            layers.Flatten(),
            make.dense(512),
            make.dropout(third),
        ],
    )


def _ham10000(inputs: keras.KerasTensor, make: Parts) -> keras.KerasTensor:
    first, second = make.rates(2)
    padding = make.recipe.model.padding
    return _apply(
        inputs,
        [
            make.conv(30, 5, padding),
            make.conv(30, 3, padding),
            make.batch_normalisation(),
            layers.MaxPooling2D(2),
            make.conv(20, 3, padding),
            make.conv(15, 3, padding),
            make.group_normalisation(3),
            layers.MaxPooling2D(2),
            make.conv(10, 3, padding),
            layers.Flatten(),
            make.layer_normalisation(),
            make.dense(256),
            make.batch_normalisation(),
            make.dropout(first),
            make.dense(128),
            make.batch_normalisation(),
            make.dropout(second),
        ],
    )


def _chest_xray(inputs: keras.KerasTensor, make: Parts) -> keras.KerasTensor:
    rates = make.rates(5)
    stack: _Stack = [make.conv(16, 3), make.conv(16, 3), layers.MaxPooling2D(2)]
    for filters in (32, 64, 128):
        stack += _separable_block(filters, make)
    stack.append(make.dropout(rates[0]))
    stack += _separable_block(256, make)
    stack += [make.dropout(rates[1]), layers.Flatten()]
    for units, rate in zip((512, 128, 64), rates[2:], strict=True):
        stack += [make.dense(units), make.batch_normalisation(), make.dropout(rate)]
    return _apply(inputs, stack)


def _separable_block(filters: int, make: Parts) -> _Stack:
    return [
        make.separable(filters),
        make.separable(filters),
        make.batch_normalisation(),
        layers.MaxPooling2D(2),
    ]


def _basic(inputs: keras.KerasTensor, make: Parts) -> keras.KerasTensor:
    """Blocks of a convolution each, then dense layers; dropout may follow each of them.

    From block to block the filters double and the image is halved.
    """
    model = make.recipe.model
    blocks, width = int(model.blocks), int(model.width)
    count = blocks + len(model.dense)
    rates = iter(make.rates(0, count) or (0.0,) * count)
    stack: _Stack = []
    for block, kind in enumerate(make.normalisations(blocks)):
        filters = width * 2**block
        stack += [make.conv(filters, model.kernel), *make.normalisation(kind, filters)]
        stack += [layers.MaxPooling2D(2), *_dropout(next(rates), make)]
    stack.append(layers.Flatten())
    for units in model.dense:
        stack += [make.dense(units), *_dropout(next(rates), make)]
    return _apply(inputs, stack)


def _dropout(rate: float, make: Parts) -> _Stack:
    return [make.dropout(rate)] if rate else []


def _residual(inputs: keras.KerasTensor, make: Parts) -> keras.KerasTensor:
    """Pre-activation residual blocks (He et al., "Identity mappings in deep residual networks").

    From stage to stage the filters double and the image is halved; images of 64 px or more are
    halved once more at the entrance. Ends in global average pooling, so the head stays small.
    """
    (rate,) = make.rates(1)
    width, blocks = int(make.recipe.model.width), int(make.recipe.model.blocks)
    stride = 2 if min(_size(make.recipe)) >= 64 else 1
    kinds = make.normalisations(int(make.recipe.model.stages))
    x = make.plain_conv(width, stride=stride, shifted=kinds[0] != "none")(inputs)
    for stage, kind in enumerate(kinds):
        part = _Stage(width * 2**stage, kind, make)
        for block in range(blocks):
            x = part.block(x, stride=2 if stage and not block else 1)
    x = part.activated(x)
    x = layers.GlobalAveragePooling2D()(x)
    return make.dropout(rate)(x)


@dataclass(frozen=True, slots=True)
class _Stage:
    """A stage of the residual network: its filters, and what its activations are normalised by."""

    filters: int
    kind: Normalisation
    make: Parts

    def block(self, x: keras.KerasTensor, *, stride: int) -> keras.KerasTensor:
        active = self.activated(x)
        if stride != 1 or x.shape[-1] != self.filters:
            x = self._conv(1, stride)(active)
        kernel = self.make.recipe.model.kernel
        y = self.activated(self._conv(kernel, stride)(active))
        return layers.Add()([x, self._conv(kernel, 1)(y)])

    def activated(self, x: keras.KerasTensor) -> keras.KerasTensor:
        return _apply(x, [*self.make.normalisation(self.kind, x.shape[-1]), self.make.activation()])

    def _conv(self, kernel: int, stride: int) -> keras.Layer:
        shifted = self.kind != "none"
        return self.make.plain_conv(self.filters, kernel, stride, shifted=shifted)


_NETWORKS: dict[str, Callable[[keras.KerasTensor, Parts], keras.KerasTensor]] = {
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


def _apply(x: keras.KerasTensor, stack: _Stack) -> keras.KerasTensor:
    for layer in stack:
        x = layer(x)
    return x


def _size(recipe: Recipe) -> tuple[int, int]:
    size = recipe.data.image_size
    assert size != "auto", "the recipe is resolved before a network is built"
    return size
