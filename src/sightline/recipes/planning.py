"""`auto` made concrete: numbers from the data's own fingerprint, each with its reason.

The rules are few and were chosen on validation splits only. They never look at a test split.
"""

from __future__ import annotations

import math
from typing import Any

from sightline.errors import RecipeError
from sightline.recipes.loading import change_recipe
from sightline.recipes.schema import Recipe
from sightline.records import DataFacts

_SMALL = 40  # px: images up to this are used as they are
# px: larger ones are brought to about this area, their shape kept. On validation splits, chest
# X-rays gained from the larger one (ROC AUC 0.991 at 96x96, 0.994 at 128x128), skin lesions did not
# (0.914, 0.905 at 1.9 times the seconds).
_COLOUR_AREA, _GREY_AREA = 96 * 96, 128 * 128
_FEWEST_EPOCHS = 8
# The most epochs are those that come to so many steps, kept within two bounds. On validation,
# chest X-rays were best at 630 and 1,090 steps, lesions of two classes at 1,200 to 2,700, of seven
# at 3,900, which is the 29th epoch.
_MOST_STEPS = 1500
_FEWEST_AT_MOST, _MOST_AT_MOST = 30, 60
# Of stop.minutes: the first epoch is slower, and the last, in which the learning rate comes to its
# end, must not be the one for which there is no time.
_WITHIN_A_LIMIT = 0.85
# The span of the moving average of the weights: a tenth of an epoch, or the average still holds the
# first weights when the first epochs are judged. On validation, lesions of two classes had a
# val_loss of 0.27 after the first epoch with 16 steps, 0.35 with 80; of seven classes 0.85 with 22,
# 1.34 with 55. The best of 30 epochs hardly differed (two classes: 25 against 80 steps).
_AVERAGED = 0.1
_SHORTEST_AVERAGE, _LONGEST_AVERAGE = 16.0, 1000.0  # steps
_MOST_AVERAGED = 0.02  # of all steps


def resolve_shape(recipe: Recipe, facts: DataFacts) -> tuple[Recipe, list[str]]:
    """Return the recipe with every "auto" but the epochs replaced, and why, in sentences."""
    changes: dict[str, Any] = {}
    reasons: list[str] = []
    if recipe.data.image_size == "auto":
        area = _GREY_AREA if _is_grey(recipe, facts) else _COLOUR_AREA
        changes["data.image_size"] = list(_image_size(facts.height, facts.width, area))
        height, width = changes["data.image_size"]
        reasons.append(
            f"Images go in at {height}x{width} (height x width): the median image is "
            f"{facts.height}x{facts.width}"
            + (", used as it is." if height == facts.height and width == facts.width else ".")
        )
    if recipe.data.channels == "auto":
        changes["data.channels"] = 1 if _is_grey(recipe, facts) else 3
        reasons.append(
            f"One grey channel: all {facts.looked_at} images looked at are grey."
            if facts.all_grey
            else "Three colour channels: there are colour images."
        )
    if recipe.data.scaling == "auto":
        # Other networks know what they were made for.
        apart = _is_grey(recipe, facts) and recipe.model.network == "residual"
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

    Where `stop.minutes` sets a limit as well, fewer epochs are chosen, from one up, that end within
    it. An "auto" average of the weights then spans a share of an epoch, and no more of all steps
    than lets it forget the first weights before a short training ends.

    Args:
        recipe: With or without "auto" epochs and average.
        train_count: Training images.
        images_per_second: Training images over the seconds of a whole epoch: reading, computing
            and validating.

    Raises:
        RecipeError: Gradients of more steps are accumulated than there are.
    """
    changes: dict[str, Any] = {}
    reasons: list[str] = []
    epochs, batch = recipe.train.epochs, recipe.train.batch_size
    assert batch != "auto", "resolve_shape comes first"
    epoch_steps = math.ceil(max(train_count, 1) / batch)
    if epochs == "auto":
        minutes, limit = recipe.train.minutes, recipe.stop.minutes
        fewest = 1 if limit else _FEWEST_EPOCHS
        if limit:
            minutes = min(minutes, limit * _WITHIN_A_LIMIT)
        affordable = minutes * 60 * images_per_second / max(train_count, 1)
        most = min(max(_MOST_STEPS // epoch_steps, _FEWEST_AT_MOST), _MOST_AT_MOST)
        epochs = int(min(max(affordable, fewest), most))
        changes["train.epochs"] = epochs
        reasons.append(f"{epochs} epochs: {_why(affordable, (fewest, most), minutes)}")
    steps = epochs * epoch_steps
    if recipe.train.accumulate > steps:
        raise RecipeError(
            f"train.accumulate {recipe.train.accumulate} is more than all {steps:,} steps of this "
            "training, so the weights would never change. Lower it, or train more epochs."
        )
    if recipe.train.weight_average == "auto":
        span = min(max(epoch_steps * _AVERAGED, _SHORTEST_AVERAGE), _LONGEST_AVERAGE)
        span = max(min(span, steps * _MOST_AVERAGED), 1.0)
        changes["train.weight_average"] = round(1 - 1 / span, 4)
        if span > 1:
            reasons.append(
                f"What counts is a moving average of the weights over about {span:.0f} of "
                f"{steps:,} steps."
            )
    return change_recipe(recipe, changes), reasons


def _why(affordable: float, bounds: tuple[int, int], minutes: float) -> str:
    fewest, most = bounds
    if affordable >= most:
        return "more seldom help with this many images, and the time budget allows them."
    if affordable >= fewest:
        return f"what fits into {minutes:g} minutes at the speed expected here."
    return (
        f"fewer than {fewest} are not worth starting, though only "
        f"{affordable:.1f} fit into {minutes:g} minutes."
    )


def _counted(recipe: Recipe) -> str:
    blocks = recipe.model.blocks
    return "one block" if blocks == 1 else f"{blocks} blocks"


def _is_grey(recipe: Recipe, facts: DataFacts) -> bool:
    channels = recipe.data.channels
    return facts.all_grey if channels == "auto" else channels == 1


def _image_size(height: int, width: int, area: int) -> tuple[int, int]:
    if max(height, width) <= _SMALL:
        return height, width
    shape = min(max(height / width, 0.5), 2.0)  # narrower images are squeezed, not starved
    area = min(area, height * width)
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
