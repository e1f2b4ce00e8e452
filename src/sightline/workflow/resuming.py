"""A training that stopped, gone on with as if it had not."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sightline import runs
from sightline.data.auditing.changed import changed_since
from sightline.errors import RecipeError, RunError
from sightline.learning.models import backend
from sightline.progress import Progress, Shown
from sightline.recipes import Recipe, dump_recipe, flat, load_recipe
from sightline.records.manifest import index_path
from sightline.runs import Checkpoint, Journal, Logged, Run
from sightline.workflow.fitting import fit, identity, may_change

if TYPE_CHECKING:
    import keras

_COMPARED = ("backend", "device", "devices", "threads", "settings", "python", "packages")
_OF_PARTS = ("settings", "packages")  # dictionaries, told key by key


def resume(
    path: str | Path,
    *,
    changes: Mapping[str, Any] | Sequence[str] = (),
    cache: bool = True,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    progress: Progress | None = None,
) -> Run:
    """Return a run whose training went on from its newest intact checkpoint.

    On a processor, with the same versions and threads, the end is the same to the last bit as if
    it had never stopped; where something differs, that is said. Without a checkpoint it begins
    again; a finished training is left as it is. Of one whose objective became NaN or infinite,
    every checkpoint is from before; it would come to the same end at the same learning rate.

    Args:
        path: The run folder.
        changes: "train.epochs" for more epochs, and what "stop" and "checkpoint" say; of a
            training that failed, "train.learning_rate" too.
        cache: As `train`.
        callbacks: The same as before, in the same order.
        progress: Where bars and lines go; by default to the terminal or notebook.

    Raises:
        RunError: There is no run, another process works in it, or its recipe or manifest is not
            the one that it was saved with, or is damaged.
        RecipeError: A change would make it another training.
        SetupError: A package of train.log_to is not installed.
    """
    folder, shown = Path(path), progress or Shown()
    run = runs.open_run(folder)
    if not isinstance(run.info.get("backend"), str):
        raise RunError(f"{folder / 'run.json'} is damaged: it does not say backend")
    if run.info["state"] == runs.IMPORTED:
        raise RunError(f"{folder} holds a model that was trained elsewhere: nothing can be resumed")
    if run.info["state"] == runs.COMPOSED:
        raise RunError(f"{folder} was put together from other runs: nothing can be resumed")
    with runs.writing(folder), runs.locked(folder):
        log = Logged(shown, folder / "run.log")
        runs.remove_unfinished(folder)
        checkpoint, damaged = runs.load_checkpoint(folder)
        if damaged and checkpoint is None:
            raise RunError(_all_damaged(folder, damaged))
        for line in (*damaged, *_mended_index(run)):
            log.say(line)
        _refuse_others(run, checkpoint)
        recipe = _changed(run, changes)
        _refuse_fewer_epochs(folder, recipe, checkpoint)
        if run.info["state"] == "finished" and recipe == run.recipe:
            log.say(f"{folder} is finished already: {run.info['reason']}")
            _settle_again(run, log)  # where its process was killed before it did
            return run
        runs.refuse_missing(recipe.train.log_to)
        other = _changed_images(run, log)
        _write_recipe(run, recipe)
        said = _ended_before(run, recipe)
        run = runs.open_run(folder)
        other += _differences(run)
        for line in dict.fromkeys((*said, *run.info.get("not_as_before", ()), *other)):
            log.say(line)
        backend.choose(run.info["backend"])
        from sightline.learning import planning  # loads Keras, now that its backend is chosen

        plan = planning.plan_again(run, cached=cache)
        log.say(_where(checkpoint))
        if damaged and checkpoint is not None:
            runs.set_aside_damaged(folder, checkpoint)
        journal = Journal.again(folder, other)
        with journal.watching():
            outcome = fit(folder, plan, callbacks, log, resumed=checkpoint)
        journal.end(outcome.state, outcome.reason, signal=outcome.signal_number)
        log.say(outcome.reason)
        run = runs.open_run(folder)
        _settle_again(run, log)
    return run


def _settle_again(run: Run, progress: Progress) -> None:
    """Keep how a class is chosen by weights that the run still has, and say what is lost."""
    if not (run.path / "model.json").exists():
        return
    names = run.model["class_names"]
    for each in runs.settle_again(run):
        if each.decision.kind != "most probable":
            progress.say(
                f"How a class is chosen ({each.decision.in_words(names)}) was settled for weights "
                "that the run has no more; the most probable one is chosen again. Settle it anew: "
                f"sightline evaluate {shlex.quote(str(run.path))} --threshold RULE"
            )


def _all_damaged(folder: Path, damaged: Sequence[str]) -> str:
    """Return what to do when there are checkpoints and none can be used: nothing is begun again."""
    told = "\n".join(f"  {line}" for line in damaged)
    return (
        f"no checkpoint of {folder} can be used:\n{told}\nNothing was changed. Copy the run folder "
        "again from where it came from, or mend the disk. The best weights so far can still be "
        f"used: sightline evaluate {folder}. To begin again from the first step, remove "
        f"{folder / 'checkpoints'}."
    )


def _refuse_others(run: Run, checkpoint: Checkpoint | None) -> None:
    """Refuse a recipe or manifest that is not the one a checkpoint was saved with."""
    if checkpoint is None:
        return
    version = checkpoint.meta.get("format_version")
    if version != runs.CHECKPOINT_VERSION:
        raise RunError(
            f"{checkpoint.path} was saved by another version of Sightline (format {version}, and "
            f"this one goes on from {runs.CHECKPOINT_VERSION} alone), so its training cannot go on "
            "here. Its weights can be used as ever (evaluate, predict, export); to train on, use "
            "that version, or train anew in a folder of its own."
        )
    now = identity(run.path, run.recipe)
    other = [name for name in now if now[name] != checkpoint.meta["identity"].get(name)]
    if other:
        raise RunError(
            f"the {' and the '.join(other)} of {run.path} are not those that this training was "
            "saved with, so it would be another one. Put them back, or train anew elsewhere."
        )


def _mended_index(run: Run) -> list[str]:
    """Make the manifest's index anew where it is damaged, and return what is to be said of it.

    Raises:
        RunError: The manifest, which it is made of, is damaged too.
    """
    path = index_path(run.path / "manifest.parquet")
    runs.refuse_changed(run.path, run.info, "manifest.parquet")
    if path.exists() and runs.is_as_written(run.path, run.info, path.name):
        return []
    runs.write_atomically(path, run.manifest.index().write)
    return [f"{path} was missing or damaged; it was made anew from manifest.parquet."]


def _ended_before(run: Run, recipe: Recipe) -> list[str]:
    """Return how a training failed, and at which learning rate it goes on."""
    if run.info["state"] != "failed":
        return []
    before, rate = run.recipe.train.learning_rate, recipe.train.learning_rate
    told = f"This training failed before: {run.info.get('reason', 'no reason is known')}"
    if rate != before:
        return [told, f"From here on train.learning_rate is {rate:g}; it was {before:g}."]
    return [told]


def _changed(run: Run, changes: Mapping[str, Any] | Sequence[str]) -> Recipe:
    recipe = load_recipe(run.path / "recipe.toml", changes)
    before, after = flat(run.recipe), flat(recipe)
    failed = run.info["state"] == "failed"
    others = [
        name
        for name, value in after.items()
        if value != before[name] and not may_change(name, failed=failed)
    ]
    if others:
        raise RecipeError(
            f"{', '.join(others)} cannot be changed in the middle of a training: it would be "
            "another one. train.epochs, stop and checkpoint may, and train.learning_rate once it "
            "has failed; train anew for the rest."
        )
    if recipe.train.epochs == "auto":
        raise RecipeError(
            f"train.epochs is chosen before a training begins, and {run.path} was to have "
            f"{before['train.epochs']}: give a number instead of auto."
        )
    return recipe


def _refuse_fewer_epochs(folder: Path, recipe: Recipe, checkpoint: Checkpoint | None) -> None:
    """Refuse an end that lies behind, or before images have grown to their size."""
    standing = checkpoint.meta["standing"] if checkpoint else {"epoch": 0, "batch": 0, "planned": 0}
    epochs, done = int(recipe.train.epochs), int(standing["epoch"])
    begun = done + (standing["batch"] > 0)
    if epochs < begun:
        where = f"has done {done}" + (f" and is within epoch {begun}" if begun > done else "")
        raise RecipeError(
            f"train.epochs {epochs} lies behind: {folder} {where}. Set it to {begun} or more, or "
            "leave it out. The best weights so far are used wherever the run is; for those of "
            "fewer epochs train anew in a folder of its own."
        )
    if recipe.data.grow and epochs < standing["planned"]:
        raise RecipeError(
            f"train.epochs {epochs} would end {folder} before its images have grown to their size: "
            f"data.grow was laid out over {standing['planned']} epochs when it began. Set it to "
            f"{standing['planned']} or more, or train anew in a folder of its own."
        )


def _write_recipe(run: Run, recipe: Recipe) -> None:
    if recipe != run.recipe:
        runs.replace_file(run.path, "recipe.toml", dump_recipe(recipe).encode())


def _changed_images(run: Run, progress: Progress) -> list[str]:
    """Return which images are not as they were when the training began, and what that means.

    Raises:
        RunError: Not one of them is there.
    """
    manifest = run.manifest
    changed = changed_since(manifest, ("train", "validation"), progress)
    count = sum(len(manifest.of_split(split)) for split in ("train", "validation"))
    if len(changed.missing) == count:
        raise RunError(
            f"not one of the {count:,} images of {run.path} is there any more, first "
            f"{manifest.root}/{changed.missing[0]}. Put them back (is the disk mounted?), and "
            "resume again."
        )
    found = [
        f"{len(ids):,} of its {count:,} images {words}, first {ids[0]}"
        for ids, words in (
            (changed.rewritten, "were written anew with other content"),
            (changed.missing, "cannot be read any more"),
        )
        if ids
    ]
    return [_no_longer_the_same("; ".join(found))] if found else []


def _differences(run: Run) -> list[str]:
    """Return what is not as it was when the training began, and what no longer holds for it."""
    name = backend.choose(run.info["backend"])
    from sightline.learning.models import devices  # loads Keras, now that its backend is chosen

    machine = backend.describe(name)
    used = devices.Devices.of(run.recipe, accelerators=machine["accelerators"])
    now = {**machine, "devices": list(used.names), **runs.provenance()}
    other = [key for key in _COMPARED if key in run.info and run.info[key] != now[key]]
    words = [f"{key} {run.info[key]}, now {now[key]}" for key in other if key not in _OF_PARTS]
    for name in (key for key in other if key in _OF_PARTS):
        before, after = run.info[name], now[name]
        words += [
            f"{each} {before.get(each)}, now {after.get(each)}"
            for each in sorted(before.keys() | after.keys())
            if before.get(each) != after.get(each)
        ]
    if words:
        return [_no_longer_the_same("; ".join(words))]
    if now["accelerators"]:
        return ["On an accelerator: it goes on from there, and not to the last bit the same."]
    return []


def _no_longer_the_same(what: str) -> str:
    return (
        f"Not as when this training began: {what}. It goes on, and its end will not be the same "
        "to the last bit as without the stop."
    )


def _where(checkpoint: Checkpoint | None) -> str:
    if checkpoint is None:
        return "There is no checkpoint yet, so the training begins again."
    standing = checkpoint.meta["standing"]
    return f"Going on in epoch {standing['epoch'] + 1}, after {standing['batch']} of its steps."
