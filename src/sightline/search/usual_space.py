"""The space that is searched where no file declares one."""

from __future__ import annotations

from typing import Any

from sightline.recipes import Recipe
from sightline.search.space import Choices, Declared, Each, Range, Share, Space, short


def default_space(recipe: Recipe) -> Space:
    """Return what is searched where no file says it: all that people usually change.

    Around the recipe's own values, so that it is in the space itself.

    Args:
        recipe: Resolved.
    """
    found = {**_optimisation(recipe), **_images(recipe), **_network(recipe)}
    return Space(found)


def _optimisation(recipe: Recipe) -> dict[str, Declared]:
    train = recipe.train
    rate, epochs = train.learning_rate, int(train.epochs)
    half = max(epochs // 2, 1)
    return {
        "train.learning_rate": Range(short(rate / 10), short(rate * 10), log=True),
        "train.optimizer": _with(train.optimizer, "adam", "adamw", "sgd", "rmsprop", "lion"),
        "train.momentum": _with(train.momentum, 0.8, 0.9, 0.95),
        "train.weight_decay": _with(train.weight_decay, 0.0, 0.0001, 0.001, 0.01, 0.1),
        "train.batch_size": _with(train.batch_size, 16, 32, 64, 128),
        "train.label_smoothing": _from(train.label_smoothing, 0.0, 0.1, 0.05),
        "train.weight_average": _with(train.weight_average, 0.0, "auto"),
        "train.epochs": _with(epochs, half, epochs, 2 * epochs),
        "stop.patience": _with(recipe.stop.patience, 3, 5, 10),
        "schedule.kind": _with(recipe.schedule.kind, "constant", "plateau", "cosine", "one-cycle"),
        "schedule.warmup": _with(recipe.schedule.warmup, 0.05, 0.1, 0.3),
        "balance.class_weights": _with(recipe.balance.class_weights, "none", "balanced"),
        "balance.sampling": _with(recipe.balance.sampling, "all", "oversample", "undersample"),
        "balance.focal_gamma": _from(recipe.balance.focal_gamma, 0.0, 2.0, 1.0),
        "balance.initial_bias": Choices((False, True)),
    }


def _images(recipe: Recipe) -> dict[str, Declared]:
    augment = recipe.augment
    return {
        "data.image_size": Share(Choices((0.5, 0.75, 1.0))),
        "augment.rotation": _from(augment.rotation, 0.0, 30.0, 10.0),
        "augment.width_shift": _from(augment.width_shift, 0.0, 0.2, 0.05),
        "augment.height_shift": _from(augment.height_shift, 0.0, 0.2, 0.05),
        "augment.zoom": _from(augment.zoom, 0.0, 0.2, 0.05),
        "augment.brightness": _from(augment.brightness, 0.0, 0.2, 0.05),
        "augment.erasing": _from(augment.erasing, 0.0, 0.5, 0.25),
        "augment.mixup": _with(augment.mixup, 0.0, 0.2),
        "augment.horizontal_flip": Choices((False, True)),
        "augment.vertical_flip": Choices((False, True)),
    }


def _network(recipe: Recipe) -> dict[str, Declared]:
    model = recipe.model
    found: dict[str, Declared] = {
        "model.l1": _with(model.l1, 0.0, 1e-6, 1e-5),
        "model.l2": _with(model.l2, 0.0, 1e-5, 1e-4, 1e-3),
    }
    if model.network not in ("basic", "residual"):
        if model.dropout:
            found["model.dropout"] = Each(Range(0.0, 0.8, 0.1))
        if model.weights:
            found["model.frozen_epochs"] = _with(model.frozen_epochs, 0, 2, 5)
            found["model.unfrozen_rate"] = Range(0.01, 1.0, log=True)
        return found
    return found | {
        "model.network": Choices(("basic", "residual")),
        "model.blocks": _from(model.blocks, 1, 3, 1),
        "model.stages": _with(model.stages, 2, 3),
        "model.width": _from(model.width, 16, 64, 16),
        "model.kernel": _with(model.kernel, 3, 5),
        "model.activation": _with(model.activation, "relu", "elu", "gelu", "silu"),
        "model.dense": Each(Choices((32, 64, 128)), Range(0, 2)),
        "model.normalisation": Each(Choices(("none", "batch", "group"))),
        "model.dropout": Each(Range(0.0, 0.5, 0.1)),
    }


def _with(present: Any, *values: Any) -> Choices:
    """Return these choices, and the recipe's own where it is not among them."""
    return Choices(values if present in values else (present, *values))


def _from(present: float | str, low: float, high: float, step: float) -> Range | Choices:
    """Return a range of steps; as choices, where the recipe's own value is not on one of them."""
    found = Range(low, high, step)
    if found.holds(present):
        return found
    count = round((high - low) / step)
    return _with(present, *(short(low + step * each) for each in range(count + 1)))
