"""The best recipe of a search, trained once more on all images but those of the test split."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from sightline.progress import Progress
from sightline.recipes import EVERY_EPOCH, Recipe, change_recipe, flat, load_recipe
from sightline.records import Manifest
from sightline.records.trials import Tuning
from sightline.runs import Run, open_run
from sightline.workflow.auditing import audit
from sightline.workflow.reporting import report
from sightline.workflow.resuming import resume
from sightline.workflow.training import carry_out, planned

FOLDER = "retrained"
_LAID_OUT = ("cosine", "one-cycle")  # their rate comes down at the very end


def retrained(tuning: Tuning, manifest: Manifest, *, cache: bool, progress: Progress) -> Run:
    """Return a run of the best recipe on train and validation together.

    Nothing is left to choose an epoch by, so it has as many as were best on the average of the
    whole trainings of that recipe (all of them with a schedule that comes down over all), and
    its last weights. Cut off, it goes on where it was.

    Args:
        tuning: What the search came to.
        manifest: Its images.
        cache: As `train`.
        progress: Where bars and lines go.

    Raises:
        DataError: As `train`.
        RunError: It was cut off and cannot go on, or failed.
    """
    recipe = _wanted(tuning)
    path = _place(Path(tuning.folder), recipe)
    if (path / "run.json").exists():
        run = resume(path, cache=cache, progress=progress)
    else:
        pool = pl.col("split").is_in(["train", "validation"])
        sides = pl.when(pool).then(pl.lit("train")).otherwise("split")
        whole = manifest.with_splits(manifest.table.select(split=sides).to_series())
        audited = audit(whole, mute=recipe.audit.mute, progress=progress)
        plan = planned(audited, recipe, None, cached=cache, allow_leak=True)
        run = carry_out(path, plan, audited, progress=progress)
    if run.state != "finished":
        raise KeyboardInterrupt  # it stays, and goes on with the search
    report(run, progress=progress)
    progress.say(
        f"Trained on train and validation together: {path}. Only images never seen can measure "
        f"it: sightline evaluate {path}"
    )
    return run


def _wanted(tuning: Tuning) -> Recipe:
    """Return the best recipe, with nothing left to validation images."""
    recipe = load_recipe(Path(tuning.folder) / "best.toml")
    changes: dict[str, Any] = {
        "train.best": EVERY_EPOCH, "stop.patience": 0, "data.validation": 0.0,
    }  # fmt: skip
    if recipe.schedule.kind == "plateau":  # it follows val_loss
        changes["schedule.kind"] = "constant"
    if recipe.schedule.kind not in _LAID_OUT:
        changes["train.epochs"] = _usual_epochs(tuning)
    return change_recipe(recipe, changes)


def _place(folder: Path, recipe: Recipe) -> Path:
    """Return where a run of this recipe is, or goes; one of another recipe stays as it is."""
    for number in itertools.count(1):
        path = folder / (FOLDER if number == 1 else f"{FOLDER}-{number}")
        if not (path / "run.json").exists():
            return path
        known = flat(open_run(path).recipe)
        if all(known[key] == value for key, value in flat(recipe).items() if value != "auto"):
            return path
    raise AssertionError("numbers do not end")


def _usual_epochs(tuning: Tuning) -> int:
    """Return the mean number of epochs to the best one, of whole trainings of the best recipe."""
    found = [
        trial.best_epoch + 1
        for trial in tuning.trials
        if trial.state == "finished"
        and not trial.spec.quick
        and dict(trial.spec.changes) == dict(tuning.changes)
    ]
    return max(round(float(np.mean(found))), 1)
