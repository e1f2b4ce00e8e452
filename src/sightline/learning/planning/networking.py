"""What a plan has to know of its network: where it comes from, and what it asks of the recipe."""

from __future__ import annotations

from dataclasses import dataclass, field

import keras
import numpy as np
import numpy.typing as npt

from sightline.data.stream import StreamConfig
from sightline.errors import RecipeError
from sightline.learning.models import applications, fitting, kept, networks, own
from sightline.recipes import OWN, Recipe, change_recipe
from sightline.records import ModelSummary


@dataclass(frozen=True, slots=True)
class Source:
    """Where the network of a plan comes from.

    Attributes:
        counts: (K,) training images a class.
        model: What was given, if anything.
        class_shares: (K,) that its output starts at; None to leave it.
    """

    counts: npt.NDArray[np.int64]
    model: keras.Model | None
    class_shares: npt.NDArray[np.float64] | None
    _made: dict[str, bytes] = field(default_factory=dict)

    def build(
        self, recipe: Recipe, policy: str | None = None, *, training: bool = False
    ) -> keras.Model:
        """Return a new network for a recipe whose image size is resolved.

        Args:
            recipe: What it is built for.
            policy: By default the recipe's precision; float32 while that is open.
            training: As `networks.build`.
        """
        precision = policy or _policy(recipe)
        recipe = recipe.model_copy(update={"precision": precision})
        return kept.rebuild(
            recipe,
            len(self.counts),
            self.kept(recipe),
            class_shares=self.class_shares,
            training=training,
        )

    def kept(self, recipe: Recipe) -> bytes | None:
        """Return what a run of this recipe keeps of its network; None if the recipe says it all.

        Raises:
            RecipeError: As `kept.content`; or the model's own loss does not go with its output.
        """
        if not kept.is_kept(recipe):
            return None
        # A function is given the recipe, and may go by the number of epochs.
        key = f"{_policy(recipe)} {recipe.train.epochs if ':' in recipe.model.network else ''}"
        if key not in self._made:
            self._made[key] = self._make(recipe)
        return self._made[key]

    def with_its_bias(self, recipe: Recipe) -> tuple[Recipe, list[str]]:
        """Return the recipe without an initial bias where the network has one of its own."""
        shares = self.class_shares
        if shares is None or not kept.is_kept(recipe) or kept.starts_at(self.build(recipe), shares):
            return recipe, []
        said = ["Its output starts at the bias that it has: balance.initial_bias is not used."]
        return change_recipe(recipe, {"balance.initial_bias": False}), said

    def _make(self, recipe: Recipe) -> bytes:
        classes = len(self.counts)
        model = self.model
        if model is None:
            model = networks.build(recipe, classes, policy=_policy(recipe))
        own.refuse_double_scaling(recipe, model)
        made = kept.content(model, recipe, classes, class_shares=self.class_shares)
        if getattr(model, "compiled", False):
            units = kept.rebuild(recipe, classes, made).output_shape[-1]
            fitting.refuse_loss(model, classes, units)
        return made


def as_its_network_wants(recipe: Recipe, model: keras.Model | None) -> tuple[Recipe, list[str]]:
    """Return the recipe with what its network decides, and what is said about that.

    Raises:
        RecipeError: They do not go together.
    """
    if model is not None:
        return own.described_by(recipe, model)
    if recipe.model.network == OWN:
        raise RecipeError(
            f"model.network {OWN!r} is a Keras model that is given in Python: "
            'sl.train(..., model=model). On the command line, name a function: "module:function".'
        )
    if applications.is_application(recipe):
        return applications.unscaled(recipe)
    return recipe, []


def in_words(recipe: Recipe, summary: ModelSummary, network: bytes | None) -> list[str]:
    """Return what a plan says of its network, a sentence each."""
    size = f"Network {recipe.model.network}: {summary.parameters:,} parameters"
    if summary.operations:
        size += f", {summary.operations / 1e6:,.0f} million multiply-adds an image"
    sentences = [f"{size}.", *_weights(recipe), *_growth(recipe)]
    if network is None:
        return sentences
    if classes := kept.own_classes(network):
        named = recipe.model.network
        if ":" in named:
            module = named.partition(":")[0]
            to_do = f"to use or resume the run, start where {module} can be imported from"
        else:
            modules = kept.modules_in_words(classes)
            to_do = f"import {modules} before you use or resume the run"
        sentences.append(f"It has {', '.join(classes)} of your own: {to_do}.")
    if kept.draws_anew(network):
        sentences.append(
            "It has layers that draw random numbers and keep no seed: another training of this "
            "recipe will differ, and on torch a resumed one from one that never stopped. Give "
            "them a seed, and return it from get_config."
        )
    return sentences


def _weights(recipe: Recipe) -> list[str]:
    """Say where the weights of a network of keras.applications come from, and which learn when."""
    model, frozen = recipe.model, recipe.model.frozen_epochs
    if not applications.is_application(recipe):
        return []
    if not model.weights:
        return ["It starts from random weights: model.weights names no file of trained ones."]
    if not frozen:
        return [f"Its weights come from {model.weights}; all of them learn."]
    come = f"Its weights come from {model.weights}."
    if frozen >= int(recipe.train.epochs):
        return [f"{come} In all epochs only the new head learns (model.frozen_epochs {frozen})."]
    return [
        f"{come} In epoch{'s 1 to' * (frozen > 1)} {frozen} only the new head learns; then "
        f"everything, at {model.unfrozen_rate:g} of the learning rate, with a fresh optimizer."
    ]


def _growth(recipe: Recipe) -> list[str]:
    """Say how the images grow."""
    shares, epochs = recipe.data.grow, int(recipe.train.epochs)
    if not shares:
        return []
    sizes = [StreamConfig.of(recipe, training=True, share=share).image_size for share in shares]
    shown = ", ".join(f"{height}x{width}" for height, width in sizes)
    fewer = f" (the last {epochs} of these: there are no more epochs)" * (epochs < len(shares))
    return [f"Training images grow, in equal parts of the epochs: {shown}{fewer}."]


def _policy(recipe: Recipe) -> str:
    return "float32" if recipe.precision == "auto" else recipe.precision
