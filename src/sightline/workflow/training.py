"""The whole job: from images to a run folder with a model, its figures and a report."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from sightline import runs
from sightline.data import facts as data_facts
from sightline.data import splits
from sightline.data.sources import SourceOptions
from sightline.errors import DataError, RecipeError, RunError, SightlineError
from sightline.learning.models import backend
from sightline.progress import Progress, Shown
from sightline.recipes import Recipe, dump_recipe, load_recipe
from sightline.records import Audit, Manifest, Split
from sightline.runs import Journal, Logged, Run
from sightline.workflow import describing, gate
from sightline.workflow.auditing import audit
from sightline.workflow.data import manifest_of
from sightline.workflow.diagnosing import diagnose
from sightline.workflow.explaining import explain
from sightline.workflow.explaining import kept as explained
from sightline.workflow.fitting import fit
from sightline.workflow.judging import evaluate
from sightline.workflow.reporting import report
from sightline.workflow.resuming import resume as go_on

if TYPE_CHECKING:
    import keras

    from sightline.learning.planning import Plan

_PENALTIES = ("model.l1", "model.l2")  # which any network can have
_HELD_OUT: tuple[Split, ...] = ("validation", "test", "external")


def train(
    data: str | Path | Manifest | None = None,
    *,
    recipe: str | Path | None = None,
    changes: Mapping[str, Any] | Sequence[str] = (),
    model: keras.Model | None = None,
    out: str | Path | None = None,
    resume: str | Path | None = None,
    only_train: bool = False,
    cache: bool = True,
    allow_leak: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    progress: Progress | None = None,
    **source: Unpack[SourceOptions],
) -> Run:
    """Return the run of the whole job: audit, split, train, evaluate, diagnose, explain, report.

    The plan is said before training begins, and kept as `plan.txt`. Splits that the data came
    with are kept; missing ones are taken out of train (with folds and no splits, the lowest fold
    is the validation split). Order and augmentation follow from the recipe's seed alone.

    Ctrl-C or SIGTERM ends it after the step in hand, with a checkpoint: the run comes back with
    state "interrupted". With `resume` it goes on at the very next step, also after a crash; on a
    processor, with the same versions and threads, it ends the same to the last bit as if it had
    never stopped.

    Args:
        data: What `scan` takes, or a manifest.
        recipe: "auto" (also when None), "basic", "chest-xray", "ham10000", "skin-binary", or a
            .toml file.
        changes: {"train.epochs": 3} or ["train.epochs=3"].
        model: A Keras model of your own, in place of the recipe's network, also one made in the
            scope of a tf.distribute strategy, which then trains it. A copy is trained, with the
            recipe's optimizer and cross-entropy, whatever it was compiled with; its input decides
            the image size that the recipe leaves open. Layers of your own have to be registered
            with Keras, in a module that is imported wherever the run is used.
        out: A folder that does not exist yet; by default runs/RECIPE-DATE-TIME.
        resume: The folder of a run that stopped; nothing else is needed. Of the changes,
            "train.epochs" and those of "stop" and "checkpoint" are possible, and once it has
            failed "train.learning_rate". With other best weights than were judged before, it is
            judged again, which is one more look at the test split.
        only_train: Stop after training: no evaluation, no report.
        cache: Keep decoded images on disk for later epochs and other runs (in SIGHTLINE_CACHE,
            else the user's cache folder). It changes the speed, and never a byte of a batch.
        allow_leak: Train although copies or groups are on two sides of the split; the report
            states it.
        callbacks: Keras callbacks; they are told of every epoch and step. One with `get_state`
            and `set_state` (plain JSON values, strings as keys; NumPy's numbers become plain
            ones) is resumed exactly.
        progress: Where bars and lines go; by default to the terminal or notebook.
        **source: As `scan`.

    Raises:
        DataError: The images, labels or splits cannot be used; too many files cannot be read;
            or copies or groups are on two sides of the split.
        RecipeError: A value is wrong or does not fit the data.
        RunError: `out` already holds something, or the objective or an output became NaN or
            infinite, or the state of a callback cannot be saved.
        SetupError: No Keras backend is installed, or another one is loaded already; or a package
            of train.log_to is missing.
    """
    shown = progress or Shown()
    if resume is not None:
        given = {"data": data, "recipe": recipe, "out": out, **source}
        _refuse_beside_resume(given, model)
        run = go_on(resume, changes=changes, cache=cache, callbacks=callbacks, progress=shown)
        log = Logged(shown, run.path / "run.log")
        if run.state == "finished":
            if not only_train:
                _judge_again(run, log, allow_leak=allow_leak)
            _say_stale(run, log)
        return run
    chosen = load_recipe(recipe or "auto", changes)
    refuse_ensemble(chosen)
    if model is not None:
        _refuse_another_network(changes)
    runs.refuse_missing(chosen.train.log_to)
    if model is None:
        gate.refuse_missing_weights(chosen)
    path = Path(out) if out is not None else runs.new_run_path(chosen.name)
    runs.check_new(path)
    audited = audit(manifest_of(data, source), mute=chosen.audit.mute, progress=shown)
    plan = planned(audited, chosen, model, cached=cache, allow_leak=allow_leak)
    if out is None:  # another training may have begun in the same second
        path = runs.new_run_path(chosen.name)
    run = carry_out(path, plan, audited, callbacks=callbacks, progress=shown)
    if run.state == "finished" and not only_train:
        judge(run, Logged(shown, path / "run.log"), allow_leak=allow_leak)
    return run


def carry_out(
    path: Path,
    plan: Plan,
    audited: Audit,
    *,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    about: Mapping[str, Any] | None = None,
    progress: Progress,
) -> Run:
    """Return the run of a plan, trained to its end in a new folder; nothing is judged.

    Args:
        path: The folder.
        plan: What is done.
        audited: The images.
        callbacks: As `train`.
        about: What `run.json` says beside the rest.
        progress: Where bars and lines go.

    Raises:
        RunError: The folder already holds something, or cannot be written to; or as `train`.
        DataError: Too many files cannot be read.
    """
    with runs.writing(path), runs.locked(runs.create_run(path)):
        log = Logged(progress, path / "run.log")
        runs.remove_unfinished(path)  # of an earlier start that was cut off
        journal = _write_plan(path, plan, audited, log, about or {})
        with journal.watching():
            outcome = fit(path, plan, callbacks, log)
        journal.end(outcome.state, outcome.reason, signal=outcome.signal_number)
        log.say(outcome.reason)
    return runs.open_run(path)


def refuse_ensemble(recipe: Recipe) -> None:
    """Refuse a recipe that was put together from trained runs.

    Raises:
        RecipeError: It has a section [ensemble].
    """
    if recipe.ensemble is not None:
        names = ", ".join(member.run for member in recipe.ensemble.members)
        raise RecipeError(
            f"recipe {recipe.name} has a section [ensemble]: it was put together from trained runs "
            f"({names}) and is not trained itself. Train those, then: sightline ensemble RUN RUN"
        )


def _refuse_beside_resume(also: Mapping[str, object], model: keras.Model | None) -> None:
    given = [name for name, value in also.items() if value] + ["model"] * (model is not None)
    if given:
        raise RunError(
            "a training is resumed with its own images and recipe in its own folder, so "
            f"{', '.join(given)} cannot be given as well. Leave that out, or train anew without "
            "--resume."
        )


def _refuse_another_network(changes: Sequence[str] | Mapping[str, object]) -> None:
    """Refuse changes of [model] that a model given as an object would make nothing of."""
    keys = [each.partition("=")[0].strip() for each in changes]
    unused = [key for key in keys if key.partition(".")[0] == "model" and key not in _PENALTIES]
    if unused:
        raise RecipeError(
            f"{', '.join(unused)} would change nothing: the network is the model that was given. "
            "Leave that out, or leave out model=."
        )


def planned(
    audited: Audit,
    recipe: Recipe,
    model: keras.Model | None,
    *,
    cached: bool,
    allow_leak: bool,
) -> Plan:
    """Return what will be done with these images.

    Raises:
        DataError: They cannot be used, or their split leaks.
    """
    gate.refuse_unreadable(audited)
    manifest = _with_splits(audited.manifest, recipe)
    said = gate.in_words(audited) + gate.refuse_leaks(manifest, allowed=allow_leak)
    said += splits.folds_in_words(audited.manifest) + splits.sides_in_words(manifest)
    backend_name = backend.choose(recipe.backend)
    from sightline.learning import planning  # loads Keras, now that its backend is chosen

    facts = data_facts.measure(manifest)
    plan = planning.make_plan(manifest, recipe, facts, backend_name, cached=cached, model=model)
    return dataclasses.replace(plan, sentences=(*plan.sentences, *said))


def judge(
    run: Run, log: Progress, *, allow_leak: bool, judged: Collection[str] = frozenset()
) -> None:
    """Evaluate every held-out split but those `judged` already, diagnose, explain and report."""
    for split in _HELD_OUT:
        if split in judged:
            continue
        if len(run.manifest.of_split(split)):
            evaluate(run, split=split, allow_leak=allow_leak, progress=log)
        elif split == "test":
            log.say(
                "There are no test images. The validation split chose the weights, so its "
                "figures are optimistic; judge on images never seen: sightline evaluate --data"
            )
    _tell(run, log)


def _tell(run: Run, log: Progress) -> None:
    """Diagnose, explain and report, from the figures that there are."""
    for finding in diagnose(run, progress=log).standing:
        log.say(f"{finding.severity.capitalize()}: {finding.title}")
    try:
        if explained(run) is None:
            explain(run, progress=log)
    except SightlineError as error:  # figures and report are worth having without it
        log.say(f"Where it looks is not shown: {error}")
    report(run, progress=log)


def _judge_again(run: Run, log: Progress, *, allow_leak: bool) -> None:
    """Judge a run that went on, unless its best weights were judged; report what is new."""
    judged = {each.source for each in run.evaluations if each.weights == "best" and run.is_of(each)}
    held_out = {split for split in _HELD_OUT if len(run.manifest.of_split(split))}
    if not held_out <= judged:
        judge(run, log, allow_leak=allow_leak, judged=judged)
    elif _changed_at(run.path / "report.html") < _changed_at(run.path / "run.json"):
        _tell(run, log)


def _changed_at(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


def _say_stale(run: Run, log: Progress) -> None:
    """Name the figures that are not of the run as it is now, and say how to have new ones."""
    for each in run.evaluations:
        if stale := describing.stale(run, each):
            log.say(f"The figures of {each.source} are {stale.reason}. {stale.again.in_words}")


def _with_splits(manifest: Manifest, recipe: Recipe) -> Manifest:
    """Return the manifest with the splits it has and those it lacks."""
    shares = splits.SplitShares(validation=recipe.data.validation, test=recipe.data.test)
    completed = splits.complete(manifest, shares, seed=recipe.seed)
    if not len(completed.of_split("validation")) and recipe.needs_validation:
        raise DataError(
            f"{manifest.root} has no validation images, which choose the best weights, and the "
            f"recipe takes a share of {recipe.data.validation:g} out of train for them. "
            "Give a validation folder, or set data.validation above 0. (To train on all images, "
            "with nothing left to measure by: --set train.best=epoch --set stop.patience=0.)"
        )
    return completed


def _write_plan(
    path: Path, plan: Plan, audited: Audit, log: Logged, also: Mapping[str, Any]
) -> Journal:
    """Say the plan, and write everything that is known before the first step."""
    network = dataclasses.asdict(plan.summary)
    about = runs.run_card(plan.recipe, plan.machine, plan.facts, network) | dict(also)
    about["manifest_fingerprint"] = plan.manifest.fingerprint()
    runs.write_content(path / "recipe.toml", dump_recipe(plan.recipe))
    runs.save_manifest(plan.manifest, path / "manifest.parquet")
    if plan.network is not None:
        runs.write_content(path / runs.NETWORK, plan.network)
    runs.write_json(path / "audit.json", audited.to_dict())
    runs.write_content(path / "plan.txt", "\n".join(plan.sentences) + "\n")
    journal = Journal(path, about)  # last: a folder with run.json has all that a resume needs
    for sentence in plan.sentences:
        log.say(sentence)
    log.say(f"The run is kept in {path}")
    return journal
