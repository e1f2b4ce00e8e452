"""A network whose weights come from elsewhere: at first only its new head learns, then all of it.

While it is frozen, its batch normalisation works as in prediction, by the means and variances that
came with the weights.
"""

from __future__ import annotations

import keras

from sightline.learning.models.applications import BACKBONE
from sightline.learning.training.objective import compile_again
from sightline.recipes import Recipe


def freeze(model: keras.Model, recipe: Recipe) -> None:
    """Freeze all but the head, if the recipe begins so; before the model is compiled."""
    if recipe.model.frozen_epochs:
        model.get_layer(BACKBONE).trainable = False


def is_frozen(model: keras.Model, recipe: Recipe) -> bool:
    """Say whether only the head learns."""
    return bool(recipe.model.frozen_epochs) and not model.get_layer(BACKBONE).trainable


def thaw(model: keras.Model, recipe: Recipe, num_classes: int) -> None:
    """Let everything learn from now on, with a fresh optimizer."""
    model.get_layer(BACKBONE).trainable = True
    compile_again(model, recipe, num_classes)


def share_of_rate(recipe: Recipe, epoch: int) -> float:
    """Return what the learning rate of a 0-based epoch is multiplied by."""
    frozen = recipe.model.frozen_epochs
    return recipe.model.unfrozen_rate if frozen and epoch >= frozen else 1.0
