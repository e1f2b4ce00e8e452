"""The layers that networks are made of, each with an explicit seed made from the recipe's."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

import keras
from keras import layers

from sightline.errors import RecipeError
from sightline.learning.models import normalising
from sightline.recipes import Normalisation, Recipe

_SHORTEST_MOMENTUM = 0.9  # of the batch normalisation that a recipe chose
_GROUP = 8  # channels of one group of "group" normalisation


@dataclass(frozen=True, slots=True)
class Parts:
    """Makes layers, one after another; equal recipes get equal layers.

    Attributes:
        recipe: Resolved.
        training: Make the layers that train fast. They are named as Keras' own, have the same
            weights and predict the same.
        seeds: Of what comes next.
    """

    recipe: Recipe
    training: bool = False
    seeds: Iterator[int] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "seeds", itertools.count(self.recipe.seed * 1000 + 1))

    def conv(self, filters: int, kernel: int, padding: str = "same") -> keras.Layer:
        """Return a convolution with the recipe's activation."""
        return layers.Conv2D(
            filters,
            kernel,
            padding=padding,
            activation=self.recipe.model.activation,
            kernel_initializer=self._glorot(),
            kernel_regularizer=self._regularizer(),
        )

    def plain_conv(
        self, filters: int, kernel: int = 3, stride: int = 1, *, shifted: bool
    ) -> keras.Layer:
        """Return a convolution alone; one that a normalisation shifts has no bias of its own."""
        return layers.Conv2D(
            filters,
            kernel,
            strides=stride,
            padding="same",
            use_bias=not shifted,
            kernel_initializer=keras.initializers.HeNormal(seed=next(self.seeds)),
            kernel_regularizer=self._regularizer(),
        )

    def separable(self, filters: int) -> keras.Layer:
        """Return a 3x3 separable convolution with relu."""
        return layers.SeparableConv2D(
            filters,
            3,
            padding="same",
            activation="relu",
            depthwise_initializer=self._glorot(),
            pointwise_initializer=self._glorot(),
            depthwise_regularizer=self._regularizer(),
            pointwise_regularizer=self._regularizer(),
        )

    def dense(self, units: int) -> keras.Layer:
        """Return a dense layer with the recipe's activation."""
        return layers.Dense(
            units,
            activation=self.recipe.model.activation,
            kernel_initializer=self._glorot(),
            kernel_regularizer=self._regularizer(),
        )

    def head(self, num_classes: int) -> keras.Layer:
        """Return the output layer, in float32: one sigmoid for two classes, else softmax."""
        binary = num_classes == 2
        return layers.Dense(
            1 if binary else num_classes,
            activation="sigmoid" if binary else "softmax",
            kernel_initializer=self._glorot(),
            kernel_regularizer=self._regularizer(),
            dtype="float32",
            name="probabilities",
        )

    def activation(self) -> keras.Layer:
        """Return the recipe's activation, as a layer of its own."""
        chosen = self.recipe.model.activation
        return layers.ReLU() if chosen == "relu" else layers.Activation(chosen)

    def dropout(self, rate: float) -> keras.Layer:
        """Return dropout."""
        return layers.Dropout(rate, seed=next(self.seeds))

    def rates(self, *counts: int) -> tuple[float, ...]:
        """Return the recipe's dropout rates, of which there must be one of so many.

        Raises:
            RecipeError: There are more or fewer.
        """
        rates = self.recipe.model.dropout
        if len(rates) not in counts:
            wanted = " or ".join(str(count) for count in counts)
            raise RecipeError(
                f"network {self.recipe.model.network!r} has {wanted} dropout layers, and "
                f"model.dropout gives {len(rates)} rates: {list(rates)}"
            )
        return rates

    def batch_normalisation(self, momentum: float = 0.99) -> keras.Layer:
        """Return batch normalisation."""
        if self.training:
            return normalising.BatchNormalization(momentum=momentum)
        return layers.BatchNormalization(momentum=momentum)

    def group_normalisation(self, groups: int) -> keras.Layer:
        """Return group normalisation."""
        if self.training:
            return normalising.GroupNormalization(groups)
        return layers.GroupNormalization(groups)

    def layer_normalisation(self) -> keras.Layer:
        """Return layer normalisation of vectors."""
        if self.training:
            return normalising.LayerNormalization()
        return layers.LayerNormalization()

    def normalisations(self, count: int) -> tuple[Normalisation, ...]:
        """Return the recipe's normalisation of each of so many places.

        Raises:
            RecipeError: It names more or fewer.
        """
        chosen = self.recipe.model.normalisation
        if isinstance(chosen, str):
            return (chosen,) * count
        if len(chosen) != count:
            raise RecipeError(
                f"network {self.recipe.model.network!r} has {count} places for a normalisation, "
                f"and model.normalisation names {len(chosen)}: {list(chosen)}. Name one for each, "
                "or a single one for all."
            )
        return chosen

    def normalisation(self, kind: Normalisation, channels: int) -> list[keras.Layer]:
        """Return a normalisation that the recipe chose, for so many channels; nothing for none."""
        if kind == "batch":
            # The average of the weights is judged with these statistics: over a shorter span than
            # its own they fit the last weights instead, and its validation jumps.
            average = self.recipe.train.weight_average
            if average == "auto":  # a draft, built to be counted
                average = 0.0
            return [self.batch_normalisation(momentum=max(average, _SHORTEST_MOMENTUM))]
        if kind == "group":
            return [self.group_normalisation(max(1, channels // _GROUP))]
        return [self.group_normalisation(1)] if kind == "layer" else []

    def _glorot(self) -> keras.initializers.Initializer:
        return keras.initializers.GlorotUniform(seed=next(self.seeds))

    def _regularizer(self) -> keras.regularizers.Regularizer | None:
        l1, l2 = self.recipe.model.l1, self.recipe.model.l2
        return keras.regularizers.L1L2(l1, l2) if l1 or l2 else None
