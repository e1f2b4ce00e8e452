"""Search for a better recipe, in a folder that it goes on from wherever it was cut off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack

from sightline import runs
from sightline.data.sources import SourceOptions
from sightline.errors import RecipeError, RunError
from sightline.judging import reports
from sightline.progress import Progress, Shown
from sightline.recipes import Recipe, change_recipe, dump_recipe, load_recipe
from sightline.records import Manifest
from sightline.records.trials import Attempt, Trial, TrialSpec, Tuning
from sightline.search import Climbed, Ladder
from sightline.workflow import gate
from sightline.workflow.auditing import audit
from sightline.workflow.data import manifest_of
from sightline.workflow.training import planned
from sightline.workflow.trials import Trials

if TYPE_CHECKING:
    from sightline.learning.planning import Plan

Strategy = Literal["ladder"]
_FIRST_RUNG = "basic"
_ABOUT = "search.json"
_METRICS = ("accuracy", "balanced_accuracy", "precision", "recall", "f1", "auc")


def tune(
    data: str | Path | Manifest | None = None,
    *,
    recipe: str | Path | None = None,
    changes: Mapping[str, Any] | Sequence[str] = (),
    strategy: Strategy = "ladder",
    objective: str = "val_loss",
    minutes: float = 0.0,
    trials: int = 0,
    out: str | Path | None = None,
    resume: str | Path | None = None,
    cache: bool = True,
    allow_leak: bool = False,
    progress: Progress | None = None,
    **source: Unpack[SourceOptions],
) -> Tuning:
    """Return a better recipe, as far as one can be shown to be better, and all that was tried.

    The ladder begins with the basic recipe and tries one change after the other: what the curves
    ask for first. Each is looked at in short trainings, then in up to eight pairs of whole ones
    that share fold and seed; it is kept only where the paired differences show it, with at most
    2 % of a wrong step in the whole search. At the end each kept change is left out once, to say
    what it is worth beside the others. The test split is never looked at.

    Cut off, it goes on with `resume` where it was: no training is done twice.

    Args:
        data: What `scan` takes, or a manifest.
        recipe: What it begins with; "basic" when None.
        changes: Of that recipe.
        strategy: "ladder".
        objective: "val_loss", or a metric of validation: "accuracy", "balanced_accuracy",
            "precision", "recall", "f1", "auc".
        minutes: All trainings together may take so long; 0 for no limit.
        trials: There may be so many trainings; 0 for no limit.
        out: A folder that does not exist yet; by default runs/tune-DATE-TIME.
        resume: The folder of a search that was cut off; of the rest, `minutes` and `trials` may
            be given as well, in place of those that it had.
        cache: As `train`.
        allow_leak: As `train`.
        progress: Where lines go; by default to the terminal or notebook.
        **source: As `scan`.

    Raises:
        DataError: As `train`.
        RecipeError: As `train`; or there is no such objective, or a limit is below 0.
        RunError: `out` holds something already, `resume` holds no search, or the very first
            training failed.
        SetupError: As `train`.
    """
    shown = progress or Shown()
    limits = Limits(minutes, trials)
    if resume is not None:
        _refuse_beside_resume({"data": data, "recipe": recipe, "out": out, **source})
        study = _Study.again(Path(resume), limits)
    else:
        chosen = _about(load_recipe(recipe or _FIRST_RUNG, changes), objective)
        gate.refuse_missing_weights(chosen)
        path = Path(out) if out is not None else runs.new_run_path("tune")
        runs.check_new(path)
        manifest = manifest_of(data, source)
        study = _Study(path, manifest, chosen, strategy, objective, limits)
    return study.search(shown, cache=cache, allow_leak=allow_leak)


@dataclass(frozen=True, slots=True)
class Limits:
    """How far a search may go.

    Attributes:
        minutes: Of all trainings together; 0 for no limit.
        trials: Trainings; 0 for no limit.
    """

    minutes: float = 0.0
    trials: int = 0

    def __post_init__(self) -> None:
        if self.minutes < 0 or self.trials < 0:
            raise RecipeError(
                f"minutes and trials must be 0 (no limit) or more, got {self.minutes} and "
                f"{self.trials}"
            )


@dataclass(slots=True)
class _Study:
    """One search.

    Attributes:
        path: Its folder.
        manifest: The images; with splits, once it was begun.
        recipe: What it begins with; resolved, once it was begun.
        strategy: How it goes on.
        objective: What it is about.
        limits: How far it may go.
    """

    path: Path
    manifest: Manifest
    recipe: Recipe
    strategy: str
    objective: str
    limits: Limits

    @classmethod
    def again(cls, path: Path, limits: Limits) -> _Study:
        """Return a search that was begun.

        Raises:
            RunError: There is none, or it is damaged.
        """
        if not (path / _ABOUT).exists():
            raise RunError(f"{path} holds no search to go on with. Begin one: sightline tune DATA")
        about = runs.read_json(path / _ABOUT)
        known = Limits(limits.minutes or about["minutes"], limits.trials or about["trials"])
        manifest = Manifest.load(path / "manifest.parquet")
        recipe = load_recipe(path / "recipe.toml")
        return cls(path, manifest, recipe, about["strategy"], about["objective"], known)

    def search(self, progress: Progress, *, cache: bool, allow_leak: bool) -> Tuning:
        """Return what the search came to, and write it."""
        audited = audit(self.manifest, mute=self.recipe.audit.mute, progress=progress)
        plan = planned(audited, self.recipe, None, cached=cache, allow_leak=allow_leak)
        self._begin(plan)
        trials = Trials(
            self.path, plan, audited, column=_column(self.objective),
            seconds=60 * self.limits.minutes, most=self.limits.trials, progress=progress,
        )  # fmt: skip
        first = trials.now(TrialSpec())
        if first.value is None:
            raise RunError(f"the first training failed, so nothing can be compared: {first.reason}")
        progress.say(f"{plan.recipe.name}: {self.objective} {first.value:.4f}")
        trials.reserve(first.seconds)  # for the best one, at the end
        climbed = Ladder(
            plan.recipe, trials,
            higher_is_better=self.objective != "val_loss",
            imbalance=plan.facts.imbalance,
            told=lambda attempt: progress.say(_in_words(attempt)),
        ).climb()  # fmt: skip
        best = trials.now(TrialSpec(climbed.changes))
        return self._kept(plan, climbed, trials.all(), first, best)

    def _begin(self, plan: Plan) -> None:
        """Write what it goes on with, wherever it is cut off."""
        runs.make_folder(self.path)
        about = {
            "strategy": self.strategy, "objective": self.objective,
            "minutes": self.limits.minutes, "trials": self.limits.trials,
        }  # fmt: skip
        if not (self.path / _ABOUT).exists():
            runs.write_content(self.path / "recipe.toml", dump_recipe(plan.recipe))
            runs.save_manifest(plan.manifest, self.path / "manifest.parquet")
        runs.write_sealed(self.path / _ABOUT, about)

    def _kept(
        self, plan: Plan, climbed: Climbed, trials: Sequence[Trial], first: Trial, best: Trial
    ) -> Tuning:
        tuning = Tuning(
            folder=str(self.path),
            strategy=self.strategy,
            objective=self.objective,
            recipe=plan.recipe.name,
            changes=climbed.changes,
            trials=tuple(trials),
            attempts=climbed.attempts,
            ablations=climbed.ablations,
            first=first,
            best=best,
            ended=climbed.ended,
            seconds=sum(trial.seconds for trial in trials),
        )
        recipe = change_recipe(plan.recipe, {**climbed.changes, "name": "tuned"})
        runs.write_content(self.path / "best.toml", dump_recipe(recipe))
        runs.write_json(self.path / "tuning.json", tuning.to_dict())
        runs.write_content(self.path / "tune.html", reports.render_tuning(tuning))
        return tuning


def _about(recipe: Recipe, objective: str) -> Recipe:
    """Return the recipe whose best weights, and whose patience, are by what is searched for."""
    if objective == "val_loss":
        return recipe
    if objective not in _METRICS:
        raise RecipeError(
            f"there is no objective {objective!r}. A search is about val_loss, or one of "
            f"{', '.join(_METRICS)} of validation."
        )
    column = _column(objective)
    metrics = list(dict.fromkeys([*recipe.train.metrics, objective]))
    changes = {"train.best": column, "stop.monitor": column, "train.metrics": metrics}
    return change_recipe(recipe, changes)


def _column(objective: str) -> str:
    return objective if objective.startswith("val_") else f"val_{objective}"


def _refuse_beside_resume(also: Mapping[str, object]) -> None:
    if given := [name for name, value in also.items() if value]:
        raise RunError(
            "a search goes on with its own images and recipe in its own folder, so "
            f"{', '.join(given)} cannot be given as well. Leave that out."
        )


def _in_words(attempt: Attempt) -> str:
    return f"{attempt.verdict.capitalize()}: {attempt.name}. {attempt.sentence}"
