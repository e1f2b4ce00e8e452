"""How good a recipe is, judged on every image by a network that never saw it."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import polars as pl

from sightline import runs
from sightline.data.sources import SourceOptions
from sightline.errors import RecipeError, RunError, SightlineError
from sightline.judging import evaluation, reports
from sightline.progress import Progress, Shown
from sightline.recipes import Recipe, dump_recipe, load_recipe
from sightline.records import MOST_PROBABLE, Evaluation, Manifest, Predictions
from sightline.records.crossvalidation import CrossValidation, Fold
from sightline.records.parquet import write_parquet
from sightline.workflow import gate, sharing
from sightline.workflow.auditing import audit
from sightline.workflow.data import manifest_of
from sightline.workflow.dealing import Asked, Dealt, pool_of
from sightline.workflow.folds import Folds, in_words
from sightline.workflow.training import refuse_ensemble

_ABOUT = "cv.json"
_PAUSE = 0.5  # s, between looks at what the workers have finished
_SOURCE = "out-of-fold"
_VERSION = 1  # of what is written beside the folds


def cv(
    data: str | Path | Manifest | None = None,
    *,
    recipe: str | Path | None = None,
    changes: Mapping[str, Any] | Sequence[str] = (),
    folds: int | None = None,
    repeats: int = 1,
    workers: int = 1,
    out: str | Path | None = None,
    resume: str | Path | None = None,
    cache: bool = True,
    allow_leak: bool = False,
    progress: Progress | None = None,
    **source: Unpack[SourceOptions],
) -> CrossValidation:
    """Return how good a recipe is, each image judged by a network that learned from other folds.

    Train and validation images are divided into folds that keep groups and copies together and the
    classes' shares alike; given test and external images are not read. Each fold is a run: the
    fold is its test split, and what chooses its weights and threshold is taken out of the other
    folds, so that no image has a part in what judges it. Such a look at a fold is not counted as
    one at a test split.

    What the recipe leaves open (image size, epochs ...) is settled once, on the first fold's
    training images, so that all folds train alike and share one cache of decoded images.

    Cut off, it goes on with `resume` where it was. A fold that fails is kept with its reason, the
    figures are of the others, and `resume` tries it again. Deterministic on a processor, with the
    same versions and threads: workers have fewer threads each.

    Args:
        data: What `scan` takes, or a manifest.
        recipe: As `train`.
        changes: Of that recipe.
        folds: 2 or more; by default those that the images came with, else 5.
        repeats: So often, the images are dealt anew and all is trained with another seed.
        workers: Processes that train folds side by side, each on its share of the processors.
        out: A folder that does not exist yet; by default runs/cv-DATE-TIME.
        resume: The folder of a cross-validation that was cut off; of the rest, `workers` alone may
            be given as well.
        cache: As `train`.
        allow_leak: Go on although given folds share groups or copies.
        progress: Where bars and lines go; by default to the terminal or notebook.
        **source: As `scan`.

    Raises:
        DataError: As `train`; or there cannot be so many folds, or the given ones leak, are fewer
            than two, or lack images.
        RecipeError: As `train`; or a number is out of range.
        RunError: `out` holds something already, `resume` holds no cross-validation, or no fold
            could be trained.
        SetupError: As `train`.
    """
    shown = progress or Shown()
    if workers < 1:
        raise RecipeError(f"workers must be 1 or more, got {workers}")
    if workers > 1:
        sharing.leave_room()
    if resume is not None:
        given = {"data": data, "recipe": recipe, "changes": changes, "folds": folds, "out": out}
        also = {"repeats": repeats - 1, "cache": not cache, "allow_leak": allow_leak}
        _refuse_beside_resume({**given, **also, **source})
        work = _again(Path(resume), shown)
    else:
        chosen = load_recipe(recipe or "auto", changes)
        refuse_ensemble(chosen)
        runs.refuse_missing(chosen.train.log_to)
        gate.refuse_missing_weights(chosen)
        path = Path(out) if out is not None else None
        runs.check_new(path or runs.new_run_path("cv"))
        pool = pool_of(manifest_of(data, source))
        asked = Asked.of(pool, folds, repeats, cache=cache, allow_leak=allow_leak)
        work = _begun(path, chosen, pool, asked, shown)
    work.forget_failed()
    try:
        if workers > 1:
            _side_by_side(work, workers, shown)
        done = work.all()
    except (KeyboardInterrupt, SightlineError, OSError):
        shown.say(f"What was done is kept. Go on: sightline cv --resume {work.folder}")
        raise
    return _summed_up(work, done)


def take_part(folder: Path, progress: Progress) -> None:
    """Train folds of a cross-validation beside the process that began it, until none is left.

    Raises:
        RunError: As `cv`.
    """
    _again(folder, progress).all()


def _begun(
    out: Path | None, chosen: Recipe, pool: Manifest, asked: Asked, progress: Progress
) -> Folds:
    """Return a new cross-validation, with all written that it goes on with wherever it is cut off.

    Raises:
        DataError: The images cannot be used, or divided so.
        RecipeError: The recipe does not fit them.
        RunError: Another process took the folder meanwhile.
    """
    audited = audit(pool, mute=chosen.audit.mute, progress=progress)
    gate.refuse_unreadable(audited)
    dealt = Dealt(audited.manifest, asked, chosen.seed)
    dealt.refuse_unfit(chosen.data.validation, needed=chosen.needs_validation)
    draft = Folds(out or Path(), chosen, dealt, progress, audited=audited)
    resolved = draft.resolved()
    progress.say("The first fold (its test images are the fold); the others are planned alike:")
    for sentence in draft.first.sentences:
        progress.say(sentence)
    recipe, folded = dump_recipe(resolved), dealt.of_repeat(0)
    # Without the sides that go with fold 0: nobody uses them, and an audit would tell of them.
    kept = folded.with_splits(pl.Series("split", [None] * len(folded.table), pl.String))
    path = _made(out)
    runs.write_content(path / "recipe.toml", recipe)
    runs.save_manifest(kept, path / "manifest.parquet")
    about = {
        "format_version": _VERSION,
        **dataclasses.asdict(asked),
        "recipe": _digest(recipe),
        "manifest": _identity(kept),
    }
    runs.write_sealed(path / _ABOUT, about)
    progress.say(f"{len(dealt.names())} folds are trained; they are kept in {path}")
    recipe_kept = load_recipe(path / "recipe.toml")
    return Folds(path, recipe_kept, dealt, progress, audited=audited, first=draft.first)


def _made(out: Path | None) -> Path:
    """Return a new folder with a place for the folds, which no other process can have as well.

    Raises:
        RunError: `out` holds something by now, or cannot be made.
    """
    while True:
        path = runs.create_run(out or runs.new_run_path("cv"))
        try:
            (path / "folds").mkdir()
        except FileExistsError:
            if out is not None:
                raise RunError(
                    f"{path} was taken by another process meanwhile. Give another folder with --out"
                ) from None
        else:
            return path


def _again(path: Path, progress: Progress) -> Folds:
    """Return a cross-validation that was begun.

    Raises:
        RunError: There is none, or it is damaged, or not what was begun.
    """
    if not (path / _ABOUT).exists():
        told = f"{path} holds no cross-validation to go on with"
        if (path / "folds").is_dir():
            told += ": it was cut off before its first fold. Remove that folder and begin anew"
        raise RunError(f"{told}. Begin one: sightline cv DATA")
    about = runs.read_json(path / _ABOUT)
    if about["format_version"] != _VERSION:
        raise RunError(
            f"{path} was begun by another version of Sightline (format {about['format_version']}, "
            f"and this one knows {_VERSION}). Go on with that one, or begin anew elsewhere."
        )
    manifest = Manifest.load(path / "manifest.parquet")
    recipe = load_recipe(path / "recipe.toml")
    text = (path / "recipe.toml").read_text("utf-8")  # as it is: a newer version may add keys
    now = {"recipe": _digest(text), "manifest": _identity(manifest)}
    if other := [name for name, value in now.items() if about[name] != value]:
        raise RunError(
            f"the {' and the '.join(other)} of {path} are not those that it began with, so its "
            "folds would be of another one. Put them back, or begin anew elsewhere."
        )
    names = (field.name for field in dataclasses.fields(Asked))
    asked = Asked(**{name: about[name] for name in names})
    return Folds(path, recipe, Dealt(manifest, asked, recipe.seed), progress)


def _side_by_side(work: Folds, workers: int, progress: Progress) -> None:
    """Have folds trained by several processes, until all are done or all processes have ended."""
    names = list(work.dealt.names())
    missing = [name for name in names if work.known(name) is None]
    if len(missing) < 2:
        return
    command = ["cv", "--resume", str(work.folder.absolute())]
    count = min(workers, len(missing))
    with (
        sharing.workers(command, count, work.folder) as running,
        progress.step("folds", len(missing)) as bar,
    ):
        while missing and running:
            time.sleep(_PAUSE)
            for name in tuple(missing):
                if (fold := work.known(name)) is not None:
                    missing.remove(name)
                    bar.advance(note=name)
                    progress.say(in_words(fold))
            for worker in tuple(running):
                if worker.runs:
                    continue
                running.remove(worker)
                try:
                    worker.refuse_failure()
                except RunError as error:
                    progress.say(f"{error}. What it was at is left to the others.")
    for fold in map(work.known, missing):  # what was finished in the last moment
        if fold is not None:
            progress.say(in_words(fold))


def _summed_up(work: Folds, folds: Sequence[Fold]) -> CrossValidation:
    """Return what the folds come to together, and write it.

    Raises:
        RunError: None was trained.
    """
    finished = [fold for fold in folds if fold.state == "finished"]
    if not finished:
        raise RunError(f"no fold could be trained: {folds[0].reason}")
    pooled: list[Evaluation] = []
    tables: list[pl.DataFrame] = []
    for repeat in sorted({fold.repeat for fold in finished}):
        own = [fold for fold in finished if fold.repeat == repeat]
        predictions, numbers = _out_of_fold(work, own)
        pooled.append(evaluation.evaluate(predictions, source=_named(repeat, work.dealt.asked)))
        found = predictions.to_table().with_columns(
            numbers, pl.lit(repeat, pl.Int32).alias("repeat")
        )
        tables.append(found.sort("record_id"))
    metrics, classes = evaluation.spread_over_folds(finished, pooled)
    asked = work.dealt.asked
    result = CrossValidation(
        folder=str(work.folder),
        root=str(work.dealt.manifest.root),
        recipe=work.recipe.name,
        num_folds=len(folds) // asked.repeats,
        repeats=asked.repeats,
        given=not asked.folds,
        count=work.dealt.count(),
        folds=tuple(folds),
        metrics=metrics,
        classes=classes,
        groups=pooled[0].groups,
        leak_allowed=asked.allow_leak and not asked.folds,
    )
    _keep(work.folder, result, pooled, pl.concat(tables))
    return result


def _keep(
    folder: Path, result: CrossValidation, pooled: Sequence[Evaluation], predictions: pl.DataFrame
) -> None:
    """Write the whole, in place of what fewer folds came to."""
    about = {"source": _SOURCE}
    runs.write_atomically(
        folder / "predictions.parquet", lambda path: write_parquet(predictions, path, about)
    )
    entries = [each.to_dict() for each in pooled]
    runs.write_sealed(folder / "evaluation.json", {"evaluations": entries})
    runs.write_json(folder / "crossvalidation.json", result.to_dict())
    runs.write_content(folder / "cv.html", reports.render_cross_validation(result))


def _out_of_fold(work: Folds, folds: Sequence[Fold]) -> tuple[Predictions, pl.Series]:
    """Return what the networks of a repeat say of the folds that they never saw, and whose."""
    parts = [work.run_of(fold.name).predictions("test", "best") for fold in folds]
    together = dataclasses.replace(
        parts[0],
        table=pl.concat([part.table for part in parts]),
        probabilities=np.concatenate([part.probabilities for part in parts]),
        model_fingerprint="",
        epoch=0,
        decision=MOST_PROBABLE,
        embeddings=None,
    )
    numbers = [fold.fold for fold, part in zip(folds, parts, strict=True) for _ in range(len(part))]
    return together, pl.Series("fold", numbers, pl.Int32)


def _named(repeat: int, asked: Asked) -> str:
    return _SOURCE if asked.repeats == 1 else f"{_SOURCE}, repeat {repeat}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _identity(manifest: Manifest) -> str:
    folds = manifest.table["fold"].cast(pl.String).fill_null("").to_list()
    return _digest(manifest.fingerprint() + "\n".join(folds))


def _refuse_beside_resume(also: Mapping[str, object]) -> None:
    if given := [name for name, value in also.items() if value]:
        raise RunError(
            "a cross-validation goes on with its own images, recipe and folds in its own folder, "
            f"so {', '.join(given)} cannot be given as well. Leave that out."
        )
