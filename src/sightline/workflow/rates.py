"""Which learning rate to train with: tried on the recipe's own network, batches and optimizer."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
import polars as pl

from sightline import runs
from sightline.data.sources import SourceOptions
from sightline.data.stream import Stream
from sightline.errors import RunError
from sightline.judging import reports
from sightline.progress import Progress, Shown
from sightline.recipes import load_recipe
from sightline.records import Manifest, Split
from sightline.records.rates import COMPARISON_SCHEMA, RateCurve, RateSearch
from sightline.workflow import gate
from sightline.workflow.auditing import audit
from sightline.workflow.data import manifest_of
from sightline.workflow.training import planned

if TYPE_CHECKING:
    import keras

    from sightline.learning.planning import Plan

_FILES = {"rates.json", "rates.html", "rates.png", "comparison.png"}
_LEFT_OVER = re.compile(r"\.(rates|comparison)\.\d+\.(json|html|png)")  # `write_atomically`
_EPOCHS, _MOST_STEPS = 3, 300  # of a short training: so many epochs, unless that is more steps
_VALIDATIONS = 6  # of each, beside the one at the beginning


def find_learning_rate(
    data: str | Path | Manifest | None = None,
    *,
    recipe: str | Path = "auto",
    changes: Mapping[str, Any] | Sequence[str] = (),
    compare: Sequence[float] = (),
    compare_steps: int | None = None,
    lowest: float = 1e-7,
    highest: float = 10.0,
    steps: int = 120,
    model: keras.Model | None = None,
    out: str | Path | None = None,
    cache: bool = True,
    allow_leak: bool = False,
    progress: Progress | None = None,
    **source: Unpack[SourceOptions],
) -> RateCurve:
    """Return a range test of the learning rate, with a suggestion; and a comparison if asked for.

    The rate rises from step to step while the objective is watched: network, augmented batches,
    objective and optimizer are those that `train` would use. The suggestion is the lower of two
    rates: where the objective falls fastest, and a tenth of where it is lowest.

    With `compare`, the network is then trained briefly at each of these rates: the same initial
    weights, the same batches, a constant rate. What is compared is val_loss.

    The images are audited and split as `train` does it. No run is made or changed. The same seed,
    images and machine give the same curve.

    Args:
        data: What `scan` takes, or a manifest.
        recipe: "auto", "basic", "chest-xray", "ham10000", "skin-binary", or a .toml file.
        changes: {"train.optimizer": "sgd"} or ["train.optimizer=sgd"].
        compare: Rates to train briefly at, at most 8, e.g. [0.1, 0.01, 0.001].
        compare_steps: Steps of each of these; by default three epochs, at most 300 steps.
        lowest: The rate that the test begins with.
        highest: The rate that it ends with, unless the objective explodes before.
        steps: Rates that it tries, 20 or more; each takes a batch (or `train.accumulate`).
        model: A Keras model of your own, as for `train`.
        out: Save it all in this folder, as `save_rates`.
        cache: As `train`.
        allow_leak: As `train`.
        progress: Where bars and lines go; by default to the terminal or notebook.
        **source: As `scan`.

    Raises:
        DataError: The images, labels or splits cannot be used; too many files cannot be read.
        RecipeError: A value is wrong or does not fit the data.
        RunError: The objective is not finite from the beginning; or as `save_rates`.
        SetupError: No Keras backend is installed, or another one is loaded already.
    """
    shown = progress or Shown()
    wanted = RateSearch(
        lowest=lowest,
        highest=highest,
        steps=steps,
        compare=tuple(compare),
        compare_steps=compare_steps,
    )
    chosen = load_recipe(recipe, changes)
    gate.refuse_missing_weights(chosen)
    if out is not None:
        _refuse_foreign_folder(Path(out))
    audited = audit(manifest_of(data, source), mute=chosen.audit.mute, progress=shown)
    plan = planned(audited, chosen, model, cached=cache, allow_leak=allow_leak)
    curve = _tried(plan, wanted, shown)
    if out is not None:
        save_rates(curve, out)
    return curve


def save_rates(curve: RateCurve, folder: str | Path) -> Path:
    """Write a range test into a folder and return the path of its page.

    `rates.json` (every number), `rates.png`, with a comparison also `comparison.png`, and
    `rates.html`, one page that loads nothing. Each replaces that of an earlier test there in one
    step.

    Raises:
        RunError: The folder holds something else, or nothing may be written there; nothing of it
            is touched.
    """
    where = Path(folder)
    _refuse_foreign_folder(where)
    # First, because it says whose folder this is.
    runs.write_json(where / "rates.json", curve.to_dict())
    (where / "comparison.png").unlink(missing_ok=True)  # of an earlier test
    if curve.reached:
        runs.write_content(where / "comparison.png", reports.png(reports.comparison_figure(curve)))
    runs.write_content(where / "rates.png", reports.png(reports.rates_figure(curve)))
    runs.write_content(where / "rates.html", reports.render_rates(curve))
    return where / "rates.html"


def _tried(plan: Plan, wanted: RateSearch, progress: Progress) -> RateCurve:
    """Carry the test out, and the comparison."""
    from sightline.learning.training import rates

    recipe = plan.recipe
    model = plan.compiled()
    with ExitStack() as stack:
        train = stack.enter_context(_stream(plan, "train", progress))
        validation = stack.enter_context(_stream(plan, "validation", progress))
        stack.enter_context(plan.training())
        with progress.step("learning rates", wanted.steps) as step:
            found = rates.range_test(
                model, train, wanted, accumulate=recipe.train.accumulate, step=step
            )
        compared = pl.DataFrame(schema=COMPARISON_SCHEMA)
        diverged: dict[float, int] = {}
        if wanted.compare:
            marks = _marks(wanted, len(train))
            with progress.step("short trainings", len(wanted.compare) * marks[-1]) as step:
                compared, diverged = rates.compare(
                    model, train, validation, wanted.compare, marks, step=step
                )
        about = _about(plan, len(train))
    return RateCurve(
        recipe=recipe.name,
        about=about,
        table=found.table,
        ended=found.ended,
        steepest=found.steepest,
        lowest=found.lowest,
        comparison=compared,
        diverged=diverged,
    )


def _stream(plan: Plan, split: Split, progress: Progress) -> Stream:
    return Stream(plan.manifest, split=split, config=plan.stream_config(split), say=progress.say)


def _marks(wanted: RateSearch, epoch: int) -> list[int]:
    """Return the steps after which a short training is validated, the last of them its end."""
    total = wanted.compare_steps or min(_EPOCHS * epoch, _MOST_STEPS)
    return [
        int(step)
        for step in np.unique(np.ceil(total * np.arange(1, _VALIDATIONS + 1) / _VALIDATIONS))
    ]


def _about(plan: Plan, epoch: int) -> dict[str, Any]:
    """Return what was trained and how, as plain JSON values."""
    recipe, images = plan.recipe, plan.manifest.counts()
    return {
        "images": str(plan.manifest.root),
        "num_train": int(images["train"].sum()),
        "num_validation": int(images["validation"].sum()),
        "network": recipe.model.network,
        "optimizer": recipe.train.optimizer,
        "batch_size": recipe.train.batch_size,
        "accumulate": recipe.train.accumulate,
        "steps_an_epoch": epoch,
        "precision": recipe.precision,
        "backend": plan.machine["backend"],
        "seed": recipe.seed,
        "only_the_head": bool(recipe.model.frozen_epochs),
    }


def _refuse_foreign_folder(folder: Path) -> None:
    """Refuse a folder that holds anything but an earlier range test, before work has gone into it.

    Raises:
        RunError: It does, is a file, or lies where nothing may be written.
    """
    if not folder.is_dir() or not any(folder.iterdir()):
        runs.check_new(folder)
        return
    names = {entry.name for entry in folder.iterdir()}
    others = sorted(name for name in names - _FILES if not _LEFT_OVER.fullmatch(name))
    if others or "rates.json" not in names:
        told = others[0] if others else sorted(names)[0]
        raise RunError(
            f"{folder} holds {told!r}, which is no part of a range test, so nothing was written "
            "there. Give an empty or a new folder with --out."
        )
