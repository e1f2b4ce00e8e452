"""The trainings of a search: each a run of its own, done once, by whichever process comes first."""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from sightline import runs
from sightline.data import splits
from sightline.errors import DataError
from sightline.judging import diagnosis
from sightline.learning.models import backend
from sightline.progress import Silent
from sightline.recipes import Recipe, change_recipe
from sightline.records import Audit, Manifest
from sightline.records.trials import Trial, TrialSpec, Watch
from sightline.runs import Run
from sightline.search import FOLDS
from sightline.workflow import sharing
from sightline.workflow.diagnosing import facts_of_run
from sightline.workflow.failures import is_of_the_machine, reason_of
from sightline.workflow.resuming import resume
from sightline.workflow.training import carry_out

if TYPE_CHECKING:
    from sightline.learning.planning import Plan

_QUICK_EPOCHS = 3  # a quick training has so many times fewer epochs
_FEWEST_EPOCHS = 2
_FEW_FOLDS = 4
_LARGE = 96  # pixels of the shorter side, from which on a quick training halves it


class Trials:
    """Has the trainings of a search done, each once, also when it is cut off and begun again.

    What is finished lies in `trials/KEY.json`, its run in `trials/KEY/`. One that was cut off goes
    on at its next step. Several processes share the work: each training is claimed by one.

    Attributes:
        folder: Of the search.
        plan: Of the recipe it began with, on the splits that the images came with; resolved.
        audited: The images.
        column: Of the history that they are compared by: "val_loss", "val_f1" ...
        seconds: What all trainings together may take; 0 for no limit.
        most: How many there may be; 0 for no limit.
        told: Called after each training that is done here.
    """

    def __init__(
        self,
        folder: Path,
        plan: Plan,
        audited: Audit,
        *,
        column: str = "val_loss",
        seconds: float = 0.0,
        most: int = 0,
    ) -> None:
        """Make the folder of the trials; train nothing yet."""
        self.folder, self.plan, self.audited = folder, plan, audited
        self.column, self.seconds, self.most = column, seconds, most
        self.told: Callable[[], None] = lambda: None
        self._reserved, self._kept_back = 0.0, 0
        (folder / "trials").mkdir(parents=True, exist_ok=True)

    def __call__(
        self, specs: Sequence[TrialSpec], watch: Watch | None = None
    ) -> list[Trial] | None:
        """Return what came of these trainings, in order; None where there is no time for all.

        Args:
            specs: Each is trained once, whatever process asks for it.
            watch: Told after each epoch; stops a training with a reason.
        """
        found = self._in_turn(specs, watch, goes_on=self._affords)
        return None if found is None else [found[spec.key] for spec in specs]

    def now(self, spec: TrialSpec) -> Trial:
        """Return what came of a training, whatever time is left."""
        found = self._in_turn([spec], None, goes_on=lambda: True)
        assert found is not None
        return found[spec.key]

    def _in_turn(
        self, specs: Sequence[TrialSpec], watch: Watch | None, *, goes_on: Callable[[], bool]
    ) -> dict[str, Trial] | None:
        wanted = {spec.key: spec for spec in specs}
        folder = self.folder / "trials"

        def done(key: str) -> Trial:
            trial = self.train(wanted[key], watch)
            runs.write_sealed(folder / f"{key}.json", {"trial": trial.to_dict()})
            # Nobody goes on with it, and they are two thirds of what a run takes on disk.
            shutil.rmtree(folder / key / "checkpoints", ignore_errors=True)
            self.told()
            return trial

        return sharing.in_turn(folder, list(wanted), self.known, done, goes_on=goes_on)

    def reserve(self, seconds: float, trainings: int = 0) -> None:
        """Keep so much of the time, and so many trainings, for what is done at the end."""
        self._reserved, self._kept_back = seconds, trainings

    def release(self) -> None:
        """Let what follows have all that was reserved."""
        self.reserve(0.0)

    def keep(self, trial: Trial) -> None:
        """Know what came of a training that was done elsewhere; its run is not here."""
        path = self.folder / "trials" / f"{trial.spec.key}.json"
        if not path.exists():
            elsewhere = dataclasses.replace(trial, run="")
            runs.write_sealed(path, {"trial": elsewhere.to_dict()})

    def forget_failed(self, key: str) -> None:
        """Let a training that failed be tried again; one that did not is left as it is."""
        if (trial := self.known(key)) is not None and trial.state == "failed":
            (self.folder / "trials" / f"{key}.json").unlink()

    def known(self, key: str) -> Trial | None:
        """Return a trial that was finished before; None where there is none."""
        path = self.folder / "trials" / f"{key}.json"
        return Trial.from_dict(runs.read_json(path)["trial"]) if path.exists() else None

    def all(self) -> list[Trial]:
        """Return every finished trial, the first one first."""
        # What was cut off while it was written begins with a dot; it is no trial.
        paths = (self.folder / "trials").glob("[!.]*.json")
        order = sorted(paths, key=lambda path: (path.stat().st_mtime_ns, path.name))
        return [Trial.from_dict(runs.read_json(path)["trial"]) for path in order]

    def _affords(self) -> bool:
        done = self.all()
        spent = self._reserved + sum(trial.seconds for trial in done if trial.run)
        return (not self.seconds or spent < self.seconds) and (
            not self.most or len(done) + self._kept_back < self.most
        )

    def train(self, spec: TrialSpec, watch: Watch | None = None) -> Trial:
        """Train, or go on where it was cut off; what fails is told, and ends nothing else."""
        path = self.folder / "trials" / spec.key
        begun = time.perf_counter()
        backend.choose(self.plan.recipe.backend)
        from sightline.learning.training.watching import Watching

        watching = Watching(self.column, watch)
        try:
            if (path / "run.json").exists():
                run = resume(
                    path, cache=self.plan.cached, callbacks=[watching], progress=Silent()
                )  # fmt: skip
            else:
                plan = self._planned(spec)
                run = carry_out(
                    path, plan, self.audited, callbacks=[watching], progress=Silent()
                )  # fmt: skip
        except Exception as error:
            if is_of_the_machine(error):
                raise
            seconds = time.perf_counter() - begun
            return Trial(spec, "failed", reason_of(error), seconds=seconds, run=spec.key)
        if run.state != "finished":
            raise KeyboardInterrupt  # it stays, and goes on with the search
        history = run.history
        reason = watching.reason
        if watch is not None and not reason and len(history) < int(run.recipe.train.epochs):
            reason = watch(history[self.column].to_list())  # ended by a process that is gone
        # What other processes did of it is in its epochs.
        seconds = max(time.perf_counter() - begun, float(history["seconds"].sum()))
        return self._told(spec, run, reason, seconds)

    def recipe_of(self, spec: TrialSpec) -> Recipe:
        """Return the recipe of a training.

        Raises:
            RecipeError: The changes do not go with the recipe.
        """
        base = self.plan.recipe
        recipe = change_recipe(base, {**spec.changes, "seed": base.seed + spec.seed})
        return _quick(recipe) if spec.quick else recipe

    def _planned(self, spec: TrialSpec) -> Plan:
        from sightline.learning import planning

        recipe = self.recipe_of(spec)
        return planning.make_plan(
            self.manifest_of(spec), recipe, self.plan.facts, backend.choose(recipe.backend),
            cached=self.plan.cached,
        )  # fmt: skip

    def manifest_of(self, spec: TrialSpec) -> Manifest:
        """Return the images of a training, with the fold it asks for as validation."""
        if spec.fold is None:
            return self.plan.manifest
        folded = self._folded
        inside = folded.table["fold"].is_not_null()
        fold = _fold_of(spec.fold, int(folded.table["fold"].max()) + 1)  # type: ignore[arg-type]
        sides = folded.table.select(
            split=pl.when(inside & (pl.col("fold") == fold))
            .then(pl.lit("validation"))
            .when(inside)
            .then(pl.lit("train"))
            .otherwise("split")
        )
        return folded.with_splits(sides.to_series())

    @cached_property
    def _folded(self) -> Manifest:
        """The images with folds of train and validation together; test stays apart."""
        manifest = self.plan.manifest
        pool = pl.col("split").is_in(["train", "validation"])
        inside = dataclasses.replace(manifest, table=manifest.table.filter(pool))
        folded = None
        for count in range(FOLDS, 1, -1):
            try:
                folded = splits.assign_folds(inside, count, seed=self.plan.recipe.seed)
                break
            except DataError:
                if count == 2:
                    raise
        assert folded is not None
        numbers = folded.table.select("record_id", "fold")
        table = manifest.table.drop("fold").join(numbers, on="record_id", how="left",
                                                 maintain_order="left")  # fmt: skip
        return dataclasses.replace(manifest, table=table.select(manifest.table.columns))

    def _told(self, spec: TrialSpec, run: Run, reason: str, seconds: float) -> Trial:
        history = run.history
        losses = history["val_loss"].to_list()
        best = history.best_epoch
        assert best is not None, "a finished training has epochs"
        found = diagnosis.diagnose(facts_of_run(run), source=str(run.path))
        return Trial(
            spec,
            "stopped" if reason else "finished",
            reason,
            value=float(history[self.column][best]),
            val_loss=float(losses[best]),
            guess_loss=guess_loss(run.manifest),
            num_validation=len(run.manifest.of_split("validation")),
            curve=tuple(losses),
            values=tuple(history[self.column].to_list()),
            best_epoch=best,
            seconds=seconds,
            waiting=float(history["seconds_waiting"].sum()),
            parameters=run.summary.parameters,
            answers=tuple(
                (finding.code, finding.recipe_change)
                for finding in found.standing
                if finding.recipe_change
            ),
            run=spec.key,
        )


def _fold_of(fold: int, count: int) -> int:
    """Return the fold that stands for one of FOLDS where there are fewer of them.

    The last two are those of short trainings, which no whole one shares if there are four or more.
    """
    quick = FOLDS - fold
    if count == FOLDS or count < _FEW_FOLDS:
        return fold % count
    return count - quick if quick <= 2 else fold % (count - 2)


def guess_loss(manifest: Manifest) -> float:
    """Return the cross-entropy of always answering the class shares of the training images.

    Each class counts as one image more, so that one without any is not impossible.
    """
    counts = manifest.counts().select("label", "train", "validation")
    train = counts["train"].to_numpy().astype(np.float64) + 1
    validation = counts["validation"].to_numpy().astype(np.float64)
    return float(-(validation * np.log(train / train.sum())).sum() / validation.sum())


def _quick(recipe: Recipe) -> Recipe:
    """Return the recipe with fewer epochs, and smaller images where they are large."""
    assert recipe.train.epochs != "auto", "the plan is resolved"
    epochs = min(
        recipe.train.epochs, max(_FEWEST_EPOCHS, round(recipe.train.epochs / _QUICK_EPOCHS))
    )
    changes: dict[str, Any] = {"train.epochs": epochs}
    if frozen := recipe.model.frozen_epochs:  # what is unfrozen afterwards has its share
        changes["model.frozen_epochs"] = max(1, round(frozen * epochs / recipe.train.epochs))
    size = recipe.data.image_size
    if size != "auto" and min(size) >= _LARGE and not recipe.data.grow:
        changes["data.image_size"] = [size[0] // 2, size[1] // 2]
    return change_recipe(recipe, changes)
