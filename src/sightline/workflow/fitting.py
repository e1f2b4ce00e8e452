"""A plan carried out in its run folder, from the first step or from a checkpoint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

from sightline import runs
from sightline.data.stream import Stream
from sightline.progress import Progress
from sightline.recipes import Recipe, flat
from sightline.records import RecordIndex, Split
from sightline.records.manifest import index_path
from sightline.runs import Checkpoint

if TYPE_CHECKING:
    import keras

    from sightline.learning.planning import Plan
    from sightline.learning.training import Outcome


def fit(
    path: Path,
    plan: Plan,
    callbacks: Sequence[keras.callbacks.Callback],
    log: Progress,
    *,
    resumed: Checkpoint | None = None,
) -> Outcome:
    """Train as planned; once it is finished, the best weights are written out for Keras users.

    Args:
        path: The run folder, held.
        plan: What to do.
        callbacks: The user's.
        log: Where bars and lines go.
        resumed: Where to go on; None for the first step.
    """
    from sightline.learning import training
    from sightline.learning.models import forward

    names = plan.manifest.class_names
    model = plan.compiled()
    keeper = training.Keeper(path, plan.recipe, names, log, identity(path, plan.recipe))
    # Mapped from the run folder: millions of records cost no memory here.
    index = RecordIndex.open(index_path(path / "manifest.parquet"))
    with (
        ExitStack() as opened,
        closing(keeper),
        plan.training(),
    ):
        train = [
            opened.enter_context(_stream(index, plan, "train", log, share=share))
            for share in plan.recipe.data.grow or (1.0,)
        ]
        validation = None
        if len(plan.manifest.of_split("validation")):
            validation = opened.enter_context(_stream(index, plan, "validation", log))
        outcome = training.fit(
            model,
            train=train,
            validation=validation,
            keeper=keeper,
            callbacks=callbacks,
            progress=log,
            resumed=resumed,
        )
        keeper.state = outcome.state
    # Who interrupts waits for the end of the process, and the run predicts without this file.
    if outcome.epochs and outcome.state == "finished":
        finished = plan.build()  # without the optimizer and objective, which only training needs
        best, _, told = runs.read_best(path)
        if told:
            log.say(told)
        forward.set_weights(finished, best)
        keeper.export_keras(finished)
    return outcome


def identity(path: Path, recipe: Recipe) -> dict[str, str]:
    """Return what makes a training the one that it is: its recipe, images and network.

    What may change of the recipe does not count, nor the learning rate, which may once a training
    has failed.
    """
    decisive = {
        name: value for name, value in flat(recipe).items() if not may_change(name, failed=True)
    }
    known = {
        "recipe": hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest(),
        "manifest": runs.file_sha256(path / "manifest.parquet"),
        "index": runs.file_sha256(index_path(path / "manifest.parquet")),  # what is streamed from
    }
    network = path / runs.NETWORK
    return known | ({"network": runs.file_sha256(network)} if network.exists() else {})


def may_change(name: str, *, failed: bool) -> bool:
    """Say whether a value may change in the middle of a training, or after it failed there."""
    if name == "train.learning_rate":
        return failed  # what diverged at one rate would do so again
    return name == "train.epochs" or name.startswith(("stop.", "checkpoint."))


def _stream(
    index: RecordIndex, plan: Plan, split: Split, log: Progress, *, share: float = 1.0
) -> Stream:
    return Stream(index, split=split, config=plan.stream_config(split, share=share), say=log.say)
