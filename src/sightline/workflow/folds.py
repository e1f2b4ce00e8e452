"""The trainings of a cross-validation: one run a fold, done once, by whichever process is first."""

from __future__ import annotations

import dataclasses
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from sightline import runs
from sightline.data import splits
from sightline.errors import DataError, RecipeError, RunError
from sightline.learning.models import backend
from sightline.progress import Progress, Step
from sightline.recipes import Recipe, change_recipe
from sightline.records import Audit, Evaluation, Manifest
from sightline.records.crossvalidation import Fold
from sightline.runs import Logged, Run
from sightline.workflow import sharing
from sightline.workflow.auditing import audit
from sightline.workflow.training import carry_out, judge, planned, train

if TYPE_CHECKING:
    from sightline.learning.planning import Plan

USUAL = 5  # folds, where nothing else is said
_MEASURED = ("data.mean", "data.std")  # on training images, so anew in each fold


@dataclass(frozen=True, slots=True)
class Asked:
    """How the images are divided, and what holds for every fold.

    Attributes:
        folds: How many; 0 for those that the images came with.
        repeats: How often they are dealt.
        cache: Keep decoded images on disk.
        allow_leak: Go on with given folds that share groups or copies.
    """

    folds: int
    repeats: int = 1
    cache: bool = True
    allow_leak: bool = False

    @classmethod
    def of(
        cls, manifest: Manifest, folds: int | None, repeats: int, *, cache: bool, allow_leak: bool
    ) -> Asked:
        """Return what is asked of these images.

        Raises:
            RecipeError: A number is out of range, or given folds are to be repeated.
        """
        for name, value, least in (("folds", folds, 2), ("repeats", repeats, 1)):
            if value is not None and value < least:
                raise RecipeError(f"{name} must be {least} or more, got {value}")
        if folds is None:
            folds = 0 if manifest.table["fold"].count() else USUAL
        if not folds and repeats > 1:
            raise RecipeError(
                f"the images came with folds, which are the same however often: {repeats} repeats "
                "need others. Say how many (--folds 5), or leave --repeats out."
            )
        return cls(folds, repeats, cache, allow_leak)


def pool_of(manifest: Manifest) -> Manifest:
    """Return the images that are divided into folds: train and validation, or all without splits.

    Test and external images are not in it: nothing of them is read.

    Raises:
        DataError: There are none.
    """
    split = pl.col("split")
    given = manifest.table["split"].is_in(["train", "validation"]).any()
    rows = split.is_in(["train", "validation"]) if given else split.is_null()
    table = manifest.table.filter(rows).with_columns(split=pl.lit(None, dtype=pl.String))
    if not len(table):
        raise DataError(
            f"{manifest.root} has neither train nor validation images, which are what is divided "
            "into folds. Test and external images stay apart."
        )
    return dataclasses.replace(manifest, table=table)


@dataclass(slots=True)
class Dealt:
    """The images of a pool in folds.

    Attributes:
        manifest: The pool.
        asked: How it is divided.
        seed: Of the folds.
    """

    manifest: Manifest
    asked: Asked
    seed: int

    def names(self) -> dict[str, tuple[int, int]]:
        """Return the name of each fold to its repeat and number, in order."""
        numbers = range(self.asked.folds)
        if not self.asked.folds:
            numbers = sorted(self.manifest.table["fold"].drop_nulls().unique())  # type: ignore[assignment]
        return {
            f"r{repeat}-f{fold}": (repeat, fold)
            for repeat in range(self.asked.repeats)
            for fold in numbers
        }

    def of_repeat(self, repeat: int) -> Manifest:
        """Return the pool with its folds.

        Raises:
            DataError: There cannot be so many.
        """
        if not self.asked.folds:
            return self.manifest
        return splits.assign_folds(self.manifest, self.asked.folds, seed=self.seed, repeat=repeat)

    def sides(self, repeat: int, fold: int, validation: float) -> Manifest:
        """Return the pool with one fold as test, and validation out of the others.

        Raises:
            DataError: They cannot be divided so.
        """
        folded, number = self.of_repeat(repeat), pl.col("fold")
        split = folded.table.select(
            pl.when(number == fold)
            .then(pl.lit("test"))
            .when(number.is_not_null())
            .then(pl.lit("train"))
        ).to_series()
        shares = splits.SplitShares(validation=validation, test=0)
        return splits.complete(folded.with_splits(split), shares, seed=self.seed + repeat)

    def refuse_unfit(self, validation: float) -> None:
        """Refuse folds that cannot be used, before anything is trained.

        Raises:
            DataError: There are fewer than two, images without one, or what belongs together is in
                several and that was not allowed; or there is nothing to choose weights by.
        """
        root = self.manifest.root
        if not validation:
            raise DataError(
                "the best weights of each fold are chosen on images out of the other folds, and "
                "the recipe takes a share of 0 for them. Set data.validation above 0."
            )
        if self.asked.folds:
            return self._refuse_too_many()
        usable = self.manifest.table.filter(pl.col("status").ne_missing("quarantined"))
        without = usable.filter(pl.col("fold").is_null())["record_id"]
        if len(without):
            raise DataError(
                f"{len(without):,} of {len(usable):,} images of {root} have no fold, first "
                f"{without[0]}. Fill in the fold column, or have all dealt anew (--folds 5)."
            )
        names = self.names()
        if len(names) < 2:
            raise DataError(
                f"all images of {root} are in fold {usable['fold'][0]}, so none is left to learn "
                "from. Have folds dealt (--folds 5)."
            )
        for place in names.values():
            crossing = splits.leaks(self.sides(*place, validation))
            if crossing and not self.asked.allow_leak:
                raise DataError(
                    f"the folds of {root} leak: of fold {place[1]} and the others, "
                    f"{' '.join(crossing.in_words())} Figures would look better than they are. "
                    "Have folds dealt that keep those together (--folds 5), or go on all the same "
                    "(--allow-leak)."
                )
        return None

    def _refuse_too_many(self) -> None:
        for repeat in range(self.asked.repeats):
            self.of_repeat(repeat)


class Folds:
    """Has every fold trained and judged, each once, also when it is cut off and begun again.

    What is finished lies in `folds/NAME.json`, its run in `folds/NAME/`.

    Attributes:
        folder: Of the cross-validation.
        recipe: Resolved, once it was begun.
        dealt: The images in folds.
        progress: Where lines and bars go.
    """

    def __init__(self, folder: Path, recipe: Recipe, dealt: Dealt, progress: Progress) -> None:
        """Remember what is to be done; train nothing yet."""
        self.folder, self.recipe, self.dealt, self.progress = folder, recipe, dealt, progress

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
        except (DataError, RecipeError, RunError) as error:
            return Fold(name, *self.dealt.names()[name], "failed", str(error))
        if run.state != "finished":
            raise KeyboardInterrupt  # it stays, and goes on with the others
        return _told(name, self.dealt.names()[name], run)

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
