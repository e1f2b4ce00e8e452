"""The trainings of a cross-validation: one run a fold, done once, by whichever process is first."""

from __future__ import annotations

import dataclasses
import signal
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sightline import runs
from sightline.errors import RunError
from sightline.learning.models import backend
from sightline.progress import Progress, Step
from sightline.recipes import Recipe, change_recipe, flat
from sightline.records import Audit, Evaluation
from sightline.records.crossvalidation import Fold
from sightline.runs import Logged, Run
from sightline.workflow import sharing
from sightline.workflow.auditing import audit
from sightline.workflow.dealing import Dealt
from sightline.workflow.failures import is_of_the_machine, reason_of
from sightline.workflow.training import carry_out, judge, planned, train

if TYPE_CHECKING:
    from sightline.learning.planning import Plan

_MEASURED = ("data.mean", "data.std")  # on training images, so anew in each fold
_ALONE = " To go on from there, "  # what a training that diverged advises
_OF_A_FOLD = {"seed", *_MEASURED}


class Folds:
    """Has every fold trained and judged, each once, also when it is cut off and begun again.

    What is finished lies in `folds/NAME.json`, its run in `folds/NAME/`.

    Attributes:
        folder: Of the cross-validation.
        recipe: Resolved, once it was begun.
        dealt: The images in folds.
        progress: Where lines and bars go.
    """

    def __init__(
        self,
        folder: Path,
        recipe: Recipe,
        dealt: Dealt,
        progress: Progress,
        *,
        audited: Audit | None = None,
        first: Plan | None = None,
    ) -> None:
        """Remember what is to be done, and what is known already; train nothing yet."""
        self.folder, self.recipe, self.dealt, self.progress = folder, recipe, dealt, progress
        if audited is not None:
            self.audited = audited
        if first is not None:
            self.first = first

    def all(self) -> list[Fold]:
        """Return what came of every fold, in order; what another process is at is waited for."""
        found = sharing.in_turn(self._place, list(self.dealt.names()), self.known, self._done)
        assert found is not None
        return [found[name] for name in self.dealt.names()]

    def known(self, name: str) -> Fold | None:
        """Return what came of a fold, as far as it is known."""
        path = self._place / f"{name}.json"
        return Fold.from_dict(runs.read_json(path)["fold"]) if path.exists() else None

    def forget_failed(self) -> None:
        """Have the folds that failed tried again."""
        for name in self.dealt.names():
            if (fold := self.known(name)) is not None and fold.state == "failed":
                runs.remove_file(self._place / f"{name}.json")

    def run_of(self, name: str) -> Run:
        """Return the run of a fold."""
        return runs.open_run(self._place / name)

    @property
    def _place(self) -> Path:
        return self.folder / "folds"

    def _done(self, name: str) -> Fold:
        fold = self._trained(name)
        runs.write_sealed(self._place / f"{name}.json", {"fold": fold.to_dict()})
        self.progress.say(in_words(fold))
        return fold

    def _trained(self, name: str) -> Fold:
        """Train and judge a fold, or go on where it was cut off; what fails is told."""
        path, asked, shown = self._place / name, self.dealt.asked, _Bars(self.progress, name)
        try:
            if (path / "run.json").exists():
                self._refuse_another(runs.open_run(path), name)
                run = train(
                    resume=path, cache=asked.cache, allow_leak=asked.allow_leak, progress=shown
                )
            else:
                about = {runs.FOLD: name, runs.CACHED: asked.cache}
                run = carry_out(
                    path, self._plan(name), self.audited, about=about, progress=shown
                )  # fmt: skip
                if run.state == "finished":
                    log = Logged(shown, path / "run.log")
                    judge(run, log, allow_leak=asked.allow_leak)
        except Exception as error:
            if is_of_the_machine(error):
                raise
            # A training alone would go on with another rate; a fold of another recipe is none.
            why = reason_of(error).partition(_ALONE)[0]
            return Fold(name, *self.dealt.names()[name], "failed", why)
        if run.state != "finished":
            raise KeyboardInterrupt(
                run.info.get("signal") or signal.SIGINT
            )  # it stays, and goes on with the others
        return _told(name, self.dealt.names()[name], run)

    def _refuse_another(self, run: Run, name: str) -> None:
        """Refuse the run of a fold whose recipe was changed since, beside the others' figures.

        Raises:
            RunError: The message names what differs.
        """
        asked, own = flat(self.recipe), flat(run.recipe)
        for key in sorted((asked.keys() | own.keys()) - _OF_A_FOLD):
            if own.get(key) != asked.get(key):
                raise RunError(
                    f"{run.path} is of {key}={own.get(key)}, and the cross-validation is of "
                    f"{key}={asked.get(key)}. Remove that folder and go on, so that {name} is "
                    "trained anew; for another recipe begin another cross-validation."
                )

    @cached_property
    def audited(self) -> Audit:
        """The pool, looked at in full."""
        found = audit(
            self.dealt.manifest, mute=self.recipe.audit.mute, progress=_Bars(self.progress, "")
        )
        return dataclasses.replace(found, manifest=self.dealt.manifest)

    @cached_property
    def first(self) -> Plan:
        """The plan of the first fold, whose sizes and lengths are those of all."""
        place, asked = next(iter(self.dealt.names().values())), self.dealt.asked
        manifest = self.dealt.sides(*place, self.recipe.data.validation)
        return planned(
            dataclasses.replace(self.audited, manifest=manifest), self.recipe, None,
            cached=asked.cache, allow_leak=asked.allow_leak,
        )  # fmt: skip

    def resolved(self) -> Recipe:
        """Return the recipe of every fold, but for its seed and what is measured on its images."""
        kept: dict[str, Any] = {
            key: getattr(self.recipe.data, key.removeprefix("data.")) for key in _MEASURED
        }
        return change_recipe(self.first.recipe, kept)

    def _plan(self, name: str) -> Plan:
        from sightline.learning import planning  # loads Keras, once its backend is chosen

        repeat, fold = self.dealt.names()[name]
        recipe = self.recipe
        backend_name = backend.choose(recipe.backend)
        return planning.make_plan(
            self.dealt.sides(repeat, fold, recipe.data.validation),
            change_recipe(recipe, {"seed": recipe.seed + repeat}),
            self.first.facts, backend_name, cached=self.dealt.asked.cache,
        )  # fmt: skip


def in_words(fold: Fold) -> str:
    """Return what came of a fold, in a line."""
    if fold.state == "failed":
        return f"{fold.name} failed: {fold.reason}"
    shown = ", ".join(
        f"{name} {fold.metrics[name]:.4f}"
        for name in ("accuracy", "balanced_accuracy", "roc_auc", "log_loss")
        if fold.metrics.get(name) is not None
    )
    return f"{fold.name}: {fold.count:,} images held out, {shown}"


def _told(name: str, place: tuple[int, int], run: Run) -> Fold:
    judged = held_out(run)
    history = run.history
    return Fold(
        name,
        *place,
        num_train=len(run.manifest.of_split("train")),
        num_validation=len(run.manifest.of_split("validation")),
        count=judged.count,
        best_epoch=judged.epoch,
        seconds=float(history["seconds"].sum()),
        metrics=dict(judged.metrics),
        classes={scores.name: dict(scores.metrics) for scores in judged.classes},
    )


def held_out(run: Run) -> Evaluation:
    """Return the figures of a fold's run on its own fold."""
    (judged,) = (
        each for each in run.evaluations if (each.source, each.weights) == ("test", "best")
    )
    return judged


class _Bars:
    """A `Progress` that shows whose bar it is, and no lines: they are in the run's own log."""

    def __init__(self, shown: Progress, name: str) -> None:
        self._shown, self._name = shown, name

    def step(self, title: str, total: int | None) -> AbstractContextManager[Step]:
        return self._shown.step(f"{self._name} {title}".strip(), total)

    def say(self, line: str) -> None:
        pass
