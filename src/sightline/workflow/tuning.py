"""Search for a better recipe, in a folder that it goes on from wherever it was cut off."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from sightline import runs
from sightline.data.sources import SourceOptions
from sightline.errors import RecipeError, RunError
from sightline.judging import reports
from sightline.progress import Progress, Shown, Silent
from sightline.recipes import Recipe, change_recipe, dump_recipe, flat, load_recipe
from sightline.records import Manifest
from sightline.records.trials import Attempt, Strategy, Trial, TrialSpec, Tuning
from sightline.search import FRESH_PAIRS, Climbed, Ladder, importance_of, rules_of_thumb
from sightline.workflow import gate, sharing
from sightline.workflow.auditing import audit
from sightline.workflow.data import manifest_of
from sightline.workflow.judging import evaluate
from sightline.workflow.reporting import write_page
from sightline.workflow.retraining import retrained
from sightline.workflow.sampling import Sampling
from sightline.workflow.training import planned, refuse_ensemble
from sightline.workflow.trial_rows import TrialRows
from sightline.workflow.trials import Trials

if TYPE_CHECKING:
    from sightline.learning.planning import Plan

_FIRST_RUNG = "basic"
_ABOUT = "search.json"
_LAST_PART = 4  # of the time is kept back at most for what is measured at the end
_LOOK = 1.0  # s, between two looks at what the workers did
_METRICS = ("accuracy", "balanced_accuracy", "precision", "recall", "f1", "auc")


def tune(
    data: str | Path | Manifest | None = None,
    *,
    recipe: str | Path | None = None,
    changes: Mapping[str, Any] | Sequence[str] = (),
    strategy: Strategy = "ladder",
    objective: str = "val_loss",
    space: str | Path | None = None,
    storage: str = "",
    study: str = "",
    minutes: float = 0.0,
    trials: int = 0,
    workers: int = 0,
    retrain: bool = False,
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

    The sampler, strategy "optuna", draws whole recipes from a declared space instead: Optuna's TPE
    draws more of what was good so far, and its Hyperband ends trainings that fall behind. At the
    end the best one is measured again on other splits, as the one that chose it flatters it.

    Cut off, it goes on with `resume` where it was: no training is done twice.

    Args:
        data: What `scan` takes, or a manifest.
        recipe: What it begins with; "basic" when None.
        changes: Of that recipe.
        strategy: "ladder" or "optuna", which needs the extra of that name.
        objective: "val_loss", or a metric of validation: "accuracy", "balanced_accuracy",
            "precision", "recall", "f1", "auc".
        space: For "optuna": a TOML file of the values that may be drawn, in the forms that
            docs/search.md shows; without, the usual ones around those of the recipe.
        storage: For "optuna": URL of a database that several machines share, as Optuna and
            SQLAlchemy take it; without, a file in the folder. `$NAME` in it is an environment
            variable, so that no password need be written.
        study: For "optuna": its name in that database; without, that of the folder.
        minutes: Its trainings may take so long; 0 for no limit.
        trials: There may be so many trainings; 0 for no limit.
        workers: Processes that train at the same time, each on processors of its own; 0 as before
            it was cut off, else 1: in this process, on all processors.
        retrain: Train the best recipe once more at the end, on train and validation together, in
            the folder's `retrained`. Nothing is left that could measure it but the test split.
        out: A folder that does not exist yet; by default runs/tune-DATE-TIME.
        resume: The folder of a search that was cut off; of the rest, `minutes`, `trials`,
            `workers` and `retrain` may be given as well, in place of those that it had.
        cache: As `train`.
        allow_leak: As `train`.
        progress: Where lines go; by default to the terminal or notebook.
        **source: As `scan`.

    Raises:
        DataError: As `train`.
        RecipeError: As `train`; or there is no such objective or strategy, a limit is below 0, or
            the space has a key or a value that the recipe does not take.
        RunError: `out` holds something already, `resume` holds no search, or the very first
            training failed; or the storage does not answer, or its study is of
            something else.
        SetupError: As `train`; or Optuna is not installed.
    """
    shown = progress or Shown()
    limits = Limits(minutes, trials, workers)
    sampling = Sampling(Path(space) if space is not None else None, storage, study)
    if workers > 1:
        sharing.leave_room()
    if resume is not None:
        also = {"space": space, "storage": storage, "study": study}
        given = {"data": data, "recipe": recipe, "changes": changes, "out": out}
        _refuse_beside_resume({**given, **also, **source})
        search = _Study.again(Path(resume), limits, cache=cache, allow_leak=allow_leak)
        search.refuse_other(strategy, objective)
    else:
        chosen = _about(load_recipe(recipe or _FIRST_RUNG, changes), objective)
        refuse_ensemble(chosen)
        runs.refuse_missing(chosen.train.log_to)
        sampling.check(strategy, chosen, limited=bool(minutes or trials))
        gate.refuse_missing_weights(chosen)
        path = Path(out) if out is not None else runs.new_run_path("tune")
        runs.check_new(path)
        manifest = manifest_of(data, source)
        search = _Study(
            path, manifest, chosen, strategy, objective, limits, sampling, cache, allow_leak
        )  # fmt: skip
    tuning = search.search(shown)
    if retrain and not sharing.is_worker():
        retrained(tuning, search.manifest, cache=search.cache, progress=shown)
    return tuning


@dataclass(frozen=True, slots=True)
class Limits:
    """How far a search may go.

    Attributes:
        minutes: That its trainings take; 0 for no limit.
        trials: Trainings; 0 for no limit.
        workers: Processes; 0 for what it had before, else 1.
    """

    minutes: float = 0.0
    trials: int = 0
    workers: int = 0

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if getattr(self, name) < 0:
                raise RecipeError(f"{name} must be 0 or more, got {getattr(self, name)}")

    def over(self, before: Mapping[str, Any]) -> Limits:
        """Return these, and those from before where none are given."""
        return Limits(**{name: getattr(self, name) or before[name] for name in self.__slots__})


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
        sampling: What the sampler alone is told.
        cache: Keep decoded images.
        allow_leak: Search although copies or groups are on two sides of the split.
    """

    path: Path
    manifest: Manifest
    recipe: Recipe
    strategy: str
    objective: str
    limits: Limits
    sampling: Sampling
    cache: bool
    allow_leak: bool

    @classmethod
    def again(cls, path: Path, limits: Limits, *, cache: bool, allow_leak: bool) -> _Study:
        """Return a search that was begun, with or without what is said now or was said then.

        Raises:
            RunError: There is none, or it is damaged.
        """
        if not (path / _ABOUT).exists():
            raise RunError(f"{path} holds no search to go on with. Begin one: sightline tune DATA")
        about = runs.read_json(path / _ABOUT)
        known = limits.over(about)
        manifest = Manifest.load(path / "manifest.parquet")
        recipe = load_recipe(path / "recipe.toml")
        of = (about["strategy"], about["objective"])
        how = (cache and about.get("cache", True), allow_leak or about.get("allow_leak", False))
        return cls(path, manifest, recipe, *of, known, Sampling.again(about), *how)

    def refuse_other(self, strategy: str, objective: str) -> None:
        """Refuse to go on as another search; the defaults are those of nobody who named one.

        Raises:
            RunError: It is of another strategy, or about something else.
        """
        for name, given, known, usual in (
            ("strategy", strategy, self.strategy, "ladder"),
            ("objective", objective, self.objective, "val_loss"),
        ):
            if given not in (known, usual):
                raise RunError(
                    f"{self.path} is a search with {name} {known}, and cannot go on with {given}. "
                    "Begin another one for that."
                )

    def search(self, progress: Progress) -> Tuning:
        """Return what the search came to, and write it."""
        audited = audit(self.manifest, mute=self.recipe.audit.mute, progress=progress)
        plan = planned(audited, self.recipe, None, cached=self.cache, allow_leak=self.allow_leak)
        self._begin(plan)
        workers = max(self.limits.workers, 1)
        trials = Trials(
            self.path, plan, audited, column=_column(self.objective),
            seconds=60 * self.limits.minutes * workers, most=self.limits.trials,
        )  # fmt: skip
        with progress.step("search", int(trials.seconds) or trials.most or None) as step:
            rows = TrialRows(trials, progress, step, self.objective)
            trials.told = rows.add_new
            if workers > 1 and not sharing.is_worker():
                self._share(workers, rows, progress)
            first, climbed = self._climbed(plan, trials, progress)
            best = trials.now(TrialSpec(climbed.changes))
        tuning = self._tuning(plan, climbed, trials.all(), first, best)
        # One of several processes that came to the end writes what all of them found.
        with runs.claimed(self.path / "writing.lock") as ours:
            if ours and not sharing.is_worker():
                self._write(plan, tuning, progress)
        return tuning

    def _climbed(self, plan: Plan, trials: Trials, progress: Progress) -> tuple[Trial, Climbed]:
        """Return the first training, and what the search came to.

        Raises:
            RunError: The first one failed.
        """
        if not sharing.is_worker():
            trials.forget_failed(TrialSpec().key)
        first = trials.now(TrialSpec())
        if first.value is None:
            raise RunError(f"the first training failed, so nothing can be compared: {first.reason}")
        last = first.seconds  # for the best one, on the split that the images came with
        wanted = last * (1 + 2 * FRESH_PAIRS)
        most = min(1 + 2 * FRESH_PAIRS, trials.most // _LAST_PART)
        kept_back = min(wanted, max(last, trials.seconds / _LAST_PART)), most
        if self.strategy == "optuna":
            trials.reserve(*kept_back)
            return first, self.sampling.search(plan, self.objective, trials, first)

        def told(attempt: Attempt) -> None:
            progress.say(_in_words(attempt))
            if attempt.verdict == "kept":  # there is something to measure at the end
                trials.reserve(*kept_back)

        climbed = Ladder(
            plan.recipe, trials,
            higher_is_better=self.objective != "val_loss",
            imbalance=plan.facts.imbalance,
            told=told,
            climbed=lambda: trials.reserve(last, min(most, 1)),
        ).climb()  # fmt: skip
        return first, climbed

    def _share(self, workers: int, rows: TrialRows, progress: Progress) -> None:
        """Have worker processes do all trainings; what one that fails leaves is done here."""
        command = ["tune", "--resume", str(self.path)]
        with sharing.workers(command, workers, self.path) as started:
            while any(each.runs for each in started):
                rows.add_new()
                time.sleep(_LOOK)
            for each in started:
                try:
                    each.refuse_failure()
                except RunError as error:
                    progress.say(f"{error}. What it was at is done here.")
        rows.add_new()

    def _begin(self, plan: Plan) -> None:
        """Write what it goes on with, wherever it is cut off."""
        runs.make_folder(self.path)
        about = {
            "strategy": self.strategy, "objective": self.objective,
            "cache": self.cache, "allow_leak": self.allow_leak,
            **self.sampling.told(), **dataclasses.asdict(self.limits),
        }  # fmt: skip
        if not (self.path / _ABOUT).exists():
            runs.write_content(self.path / "recipe.toml", dump_recipe(plan.recipe))
            runs.save_manifest(plan.manifest, self.path / "manifest.parquet")
        if self.strategy == "optuna":
            self.sampling.begin(self.path, plan.recipe)
        runs.write_sealed(self.path / _ABOUT, about)

    def _tuning(
        self, plan: Plan, climbed: Climbed, trials: Sequence[Trial], first: Trial, best: Trial
    ) -> Tuning:
        return Tuning(
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
            optimism=climbed.optimism,
            importance=importance_of(
                flat(plan.recipe), trials, higher_is_better=self.objective != "val_loss"
            ),
        )

    def _write(self, plan: Plan, tuning: Tuning, progress: Progress) -> None:
        recipe = change_recipe(plan.recipe, {**tuning.changes, "name": "tuned"})
        runs.write_content(self.path / "best.toml", dump_recipe(recipe))
        runs.write_json(self.path / "tuning.json", tuning.to_dict())
        self._report_trials(tuning, progress)
        page = reports.render_tuning(tuning, thumb=_thumb(plan), base=flat(plan.recipe))
        runs.write_content(self.path / "tune.html", page)

    def _report_trials(self, tuning: Tuning, progress: Progress) -> None:
        """Write the report of each training that has none; the first and the best are judged too.

        On validation images alone: a search looks at no other.
        """
        judged = {each.run for each in (tuning.first, tuning.best) if each is not None}
        paths = [self.path / "trials" / t.run for t in tuning.trials if t.curve and t.run]
        missing = [path for path in paths if not (path / "report.html").exists()]
        with progress.step("reports", len(missing)) as step:
            for path in missing:
                if path.name in judged:
                    evaluate(path, split="validation", allow_leak=True, progress=Silent())
                write_page(runs.open_run(path), Silent())
                step.advance()


def _thumb(plan: Plan) -> dict[str, int]:
    """Return what rules of thumb say of the hidden layer, where the network has one."""
    model, size = plan.recipe.model, plan.recipe.data.image_size
    if model.network != "basic" or not model.dense or "auto" in (size, model.blocks, model.width):
        return {}
    height, width = (side // 2 ** int(model.blocks) for side in size)
    filters = int(model.width) * 2 ** (int(model.blocks) - 1)
    return rules_of_thumb(height * width * filters, len(plan.manifest.class_names))


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
