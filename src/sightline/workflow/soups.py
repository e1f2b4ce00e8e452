"""What a mean of weights needs: networks that are the same, and batch statistics of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sightline.data.stream import Stream, StreamConfig
from sightline.errors import DataError, RecipeError
from sightline.progress import Progress, Step
from sightline.records import Manifest
from sightline.runs import Run

if TYPE_CHECKING:
    import keras

    from sightline.learning.models.composing import Part

_PASSED = 4096  # training images that batch statistics are taken of
_SHAPING = (  # of [model]: what makes networks unlike; the rest is how they were trained
    "network", "width", "stages", "blocks", "kernel", "activation", "dense", "padding",
    "normalisation",
)  # fmt: skip
_TRAINED = {"seed", "rate", "kernel_regularizer", "kernel_initializer", "bias_initializer"}


def refuse_unlike(opened: Sequence[Run], parts: Sequence[Part], *, flips: bool) -> None:
    """Refuse a soup of networks that are not the same.

    Raises:
        RecipeError: Their layers or what goes in differ, or flips are asked for.
    """
    from sightline.learning.models import composing, forward

    if flips:
        raise RecipeError("a soup is one network as it was trained, without --tta: leave it out")
    shapes = [
        {name: value.shape for name, value in forward.get_weights(each.model).items()}
        for each in parts
    ]
    first, whole = opened[0], parts[0].model
    for run, model, each in zip(opened, (part.model for part in parts), shapes, strict=True):
        alike = composing.all_alike([first.recipe, run.recipe])
        if each != shapes[0] or not alike or _shape_of(run, model) != _shape_of(first, whole):
            raise RecipeError(
                f"{first.path} and {run.path} do not have the same network and the same "
                "pixels, so their weights have no mean: use --method mean"
            )


def _shape_of(run: Run, model: keras.Model) -> Any:
    """Return what equal networks have in common: of a recipe its values, else their layers."""
    if run.network is None:
        return [getattr(run.recipe.model, name) for name in _SHAPING]
    return _without_training(model.get_config())


def _without_training(plain: Any) -> Any:
    if isinstance(plain, dict):
        return {k: _without_training(v) for k, v in plain.items() if k not in _TRAINED}
    return [_without_training(each) for each in plain] if isinstance(plain, list | tuple) else plain


def mend_statistics(
    soup: Part, differing: Collection[int], images: Manifest, progress: Progress
) -> None:
    """Take batch statistics anew from training images: the mean of several is not theirs.

    Args:
        soup: The network, whose statistics change.
        differing: Places of the layers whose statistics are not the same in all networks, of
            `composing.unlike_statistics`.
        images: Of all members.
        progress: Where the bar goes.

    Raises:
        DataError: There are batch statistics and no training image that can be read.
    """
    from sightline.learning.models import composing

    if not differing:
        return
    config = dataclasses.replace(StreamConfig.of(soup.recipe, training=False), shuffle=True)
    config = config.forgiving(len(images))
    with (
        Stream(images, split="train", config=config) as stream,
        progress.step("batch statistics", min(_PASSED, stream.num_records)) as step,
    ):
        seen = composing.estimate_statistics(soup.model, differing, _readable(stream, step))
    if not seen:
        raise DataError(
            "the networks have batch statistics, which are taken anew from training images, and "
            "these runs have none that can be read: use --method mean"
        )


def _readable(stream: Stream, step: Step) -> Iterator[npt.NDArray[np.float32]]:
    passed = 0
    for batch in stream.epoch(0):
        fine = [int(row) not in stream.faults for row in batch.rows]
        if any(fine):
            yield batch.images[fine].astype(np.float32)
        step.advance(len(batch.rows))
        passed += len(batch.rows)
        if passed >= _PASSED:
            return
