"""`auto` made concrete: numbers from the data's own fingerprint, each with its reason.

The rules are few and were chosen on validation splits only. They never look at a test split.
"""

from __future__ import annotations

import math
from typing import Any

from sightline.recipes.loading import change_recipe
from sightline.recipes.schema import Recipe
from sightline.records import DataFacts

_SMALL = 40  # px: images up to this are used as they are
_AREA = 96 * 96  # px: larger ones are brought to about this area, their shape kept
_FEWEST_EPOCHS, _MOST_EPOCHS = 8, 60
_AVERAGED = 0.04  # of all steps, by the moving average of the weights
_LONGEST_AVERAGE = 1000.0  # steps


def resolve_shape(recipe: Recipe, facts: DataFacts) -> tuple[Recipe, list[str]]:
    """Return the recipe with every "auto" but the epochs replaced, and why, in sentences."""
    changes: dict[str, Any] = {}
    reasons: list[str] = []
    if recipe.data.image_size == "auto":
        changes["data.image_size"] = list(_image_size(facts.height, facts.width))
        height, width = changes["data.image_size"]
        reasons.append(
            f"Images go in at {height}x{width} (height x width): the median image is "
            f"{facts.height}x{facts.width}"
            + (", used as it is." if height == facts.height and width == facts.width else ".")
        )
    if recipe.data.channels == "auto":
        changes["data.channels"] = 1 if facts.all_grey else 3
        reasons.append(
            f"One grey channel: all {facts.looked_at} images looked at are grey."
            if facts.all_grey
            else "Three colour channels: there are colour images."
        )
    if recipe.data.scaling == "auto":
        grey = changes.get("data.channels", recipe.data.channels) == 1
        apart = grey and recipe.model.network == "residual"  # others know what they were made for
        changes["data.scaling"] = "per-image" if apart else "1/255"
        if apart:
            reasons.append(
                "Each image is brought to the same mean and contrast: those of grey images are "
                "often no more than exposure. If yours mean something, --set data.scaling=1/255."
            )
    if recipe.train.batch_size == "auto":
        changes["train.batch_size"] = 32 if facts.count < 20_000 else 64
    side = min(changes.get("data.image_size", recipe.data.image_size))
    if recipe.model.stages == "auto":  # it has no effect but in "residual"
        stages = max(1, min(4, int(math.log2(max(side, 2)))))
        changes["model.stages"] = stages if recipe.model.network == "residual" else 3
    if recipe.model.blocks == "auto":
        changes["model.blocks"] = 1 if recipe.model.network == "residual" else 2
    if recipe.model.width == "auto":
        changes["model.width"] = 32
    resolved = change_recipe(recipe, changes)
    if recipe.model.network == "residual":
        reasons.append(
            f"A residual network of {resolved.model.stages} stages of {_counted(resolved)}, "
            f"{resolved.model.width} filters in the first."
        )
    reasons.extend(_augmentation_in_words(resolved))
    return resolved, reasons


def resolve_length(
    recipe: Recipe, train_count: int, images_per_second: float
) -> tuple[Recipe, list[str]]:
    """Return the recipe with "auto" epochs chosen to fit `train.minutes`, and why.

    An "auto" average of the weights then spans a share of all these steps: a longer one would
    still hold the first weights when a short training ends.

    Args:
        recipe: With or without "auto" epochs and average.
        train_count: Training images.
        images_per_second: Training images over the seconds of a whole epoch: reading, computing
            and validating.
    """
    changes: dict[str, Any] = {}
    reasons: list[str] = []
    epochs = recipe.train.epochs
    if epochs == "auto":
        affordable = recipe.train.minutes * 60 * images_per_second / max(train_count, 1)
        epochs = int(min(max(affordable, _FEWEST_EPOCHS), _MOST_EPOCHS))
        changes["train.epochs"] = epochs
        reasons.append(f"{epochs} epochs: {_why(affordable, recipe.train.minutes)}")
    if recipe.train.weight_average == "auto":
        batch = recipe.train.batch_size
        assert batch != "auto", "resolve_shape comes first"
        steps = epochs * math.ceil(train_count / batch)
        span = min(max(steps * _AVERAGED, 1.0), _LONGEST_AVERAGE)
        changes["train.weight_average"] = round(1 - 1 / span, 4)
        reasons.append(
            f"What counts is a moving average of the weights over about {span:.0f} of {steps:,} "
            "steps."
        )
    return change_recipe(recipe, changes), reasons


def _why(affordable: float, minutes: float) -> str:
    if affordable >= _MOST_EPOCHS:
        return f"more than {_MOST_EPOCHS} seldom help, and the time budget allows them."
    if affordable >= _FEWEST_EPOCHS:
        return f"what fits into {minutes:g} minutes at the speed expected here."
    return (
        f"fewer than {_FEWEST_EPOCHS} are not worth starting, though only "
        f"{affordable:.1f} fit into {minutes:g} minutes."
    )


def _counted(recipe: Recipe) -> str:
    blocks = recipe.model.blocks
    return "one block" if blocks == 1 else f"{blocks} blocks"


def _image_size(height: int, width: int) -> tuple[int, int]:
    if max(height, width) <= _SMALL:
        return height, width
    shape = min(max(height / width, 0.5), 2.0)  # narrower images are squeezed, not starved
    area = min(_AREA, height * width)
    rounded = [max(8, 8 * round(side / 8)) for side in
               (math.sqrt(area * shape), math.sqrt(area / shape))]  # fmt: skip
    return rounded[0], rounded[1]


def _augmentation_in_words(recipe: Recipe) -> list[str]:
    augment = recipe.augment
    moves = [
        f"rotation up to {augment.rotation:g} degrees" if augment.rotation else "",
        f"shifts up to {max(augment.width_shift, augment.height_shift):.0%}"
        if augment.width_shift or augment.height_shift
        else "",
        f"shear up to {augment.shear:g} degrees" if augment.shear else "",
        f"zoom up to {augment.zoom:.0%}" if augment.zoom else "",
        f"brightness up to {augment.brightness:.0%}" if augment.brightness else "",
        f"colours shifted by up to {augment.channel_shift:g} of 255"
        if augment.channel_shift
        else "",
        "mirrored left and right half of the time" if augment.horizontal_flip else "",
        "mirrored up and down half of the time" if augment.vertical_flip else "",
        f"a rectangle erased from {augment.erasing:.0%}" if augment.erasing else "",
        f"laid over one another in shares of Beta({augment.mixup:g}, {augment.mixup:g})"
        if augment.mixup
        else "",
        f"rectangles exchanged in shares of Beta({augment.cutmix:g}, {augment.cutmix:g})"
        if augment.cutmix
        else "",
    ]
    said = ", ".join(move for move in moves if move)
    sentences = [f"Training images are varied anew each epoch: {said}."] if said else []
    if said and not (augment.horizontal_flip or augment.vertical_flip):
        sentences.append(
            "No flips: nothing in the data says that a mirrored image keeps its label (a 2 does "
            "not). If yours do, --set augment.horizontal_flip=true usually helps."
        )
    return sentences
