"""What a mean of weights needs: networks that are the same, and batch statistics of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from sightline.data.stream import Stream, StreamConfig
from sightline.errors import DataError, RecipeError
from sightline.progress import Progress
from sightline.recipes import Recipe
from sightline.records import Manifest
from sightline.runs import Run

if TYPE_CHECKING:
    import keras

    from sightline.learning.models.composing import Part

_PASSED = 4096  # training images that batch statistics are taken of


def refuse_unlike(opened: Sequence[Run], parts: Sequence[Part], *, flips: bool) -> None:
    """Refuse a soup of networks that are not the same.

    Raises:
        RecipeError: Their layers or what goes in differ, one is not of a recipe, or flips are
            asked for.
    """
    from sightline.learning.models import composing, forward

    if flips:
        raise RecipeError("a soup is one network as it was trained, without --tta: leave it out")
    shapes = [
        {name: value.shape for name, value in forward.get_weights(each.model).items()}
        for each in parts
    ]
    first = opened[0]
    for run, each in zip(opened, shapes, strict=True):
        alike = composing.all_alike([first.recipe, run.recipe])
        if run.network is not None:
            raise RecipeError(
                f"{run.path} has a network of its own, not one of a recipe, and only those are "
                "known to be the same: use --method mean"
            )
        if each != shapes[0] or not alike or run.recipe.model != first.recipe.model:
            raise RecipeError(
                f"{first.path} and {run.path} do not have the same network and the same "
                "pixels, so their weights have no mean: use --method mean"
            )


def mend_statistics(
    model: keras.Model, recipe: Recipe, images: Manifest, progress: Progress
) -> None:
    """Take batch statistics anew from training images: the mean of several is not theirs.

    Raises:
        DataError: There are batch statistics and no training image.
    """
    from sightline.learning.models import composing

    if not composing.has_statistics(model):
        return
    if not len(images.of_split("train")):
        raise DataError(
            "the networks have batch statistics, which are taken anew from training images, and "
            "these runs have none: use --method mean"
        )
    config = dataclasses.replace(StreamConfig.of(recipe, training=False), shuffle=True)
    config = config.forgiving(len(images))
    with (
        Stream(images, split="train", config=config) as stream,
        progress.step("batch statistics", min(_PASSED, stream.num_records)) as step,
    ):
        batches = []
        for batch in stream.epoch(0):
            batches.append(batch.images.astype(np.float32))
            step.advance(len(batch.rows))
            if len(batches) * config.batch_size >= _PASSED:
                break
        composing.estimate_statistics(model, batches)
