"""How good a trained model is, on its own splits or on images it has never seen."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Unpack

from sightline import runs
from sightline.data import splits
from sightline.data.sources import SourceOptions
from sightline.data.sources.walk import absolute
from sightline.errors import DataError
from sightline.judging import evaluation
from sightline.progress import Progress, Shown
from sightline.records import SPLITS, Evaluation, Manifest, Predictions, Split, Weights
from sightline.runs import Run
from sightline.workflow import gate, predicting
from sightline.workflow.data import manifest_of


def evaluate(
    run: Run | str | Path,
    *,
    split: Split = "test",
    data: str | Path | Manifest | None = None,
    weights: Weights = "best",
    allow_leak: bool = False,
    leak_effect: bool = False,
    progress: Progress | None = None,
    **source: Unpack[SourceOptions],
) -> Evaluation:
    """Return how good the model is on a split of its own manifest, or on an external set.

    The predictions go to `predictions/` of the run and the figures into `evaluation.json`, in
    place of earlier ones of the same source and weights. Each look at a test split is counted.

    Args:
        run: A run or its folder.
        split: Which of the run's own splits, when no external set is given.
        data: An external set: what `scan` takes, or a manifest; all of its images are judged,
            whatever their splits, and one class is enough.
        weights: "best", "last" or "average".
        allow_leak: Judge although images of the split have a copy, or an image of their group,
            among those that were learned from; the figures say so.
        leak_effect: Allow it as well, and also give the metrics with and without those images.
        progress: Where the bar goes; by default to the terminal or notebook.
        **source: As `scan`, for an external set.

    Raises:
        DataError: The split is empty or leaks, the images are gone, a label is not one of the
            model's classes, or there is nothing leaked to measure the effect of.
        RunError: The run has no model, is damaged, in use, or cannot be written to.
        ValueError: There is no split, or no weights, of that name.
    """
    opened = runs.open_run(run)
    external, own = data is not None or any(source.values()), opened.manifest
    manifest = manifest_of(data, source, learnable=False) if external else own
    seen = gate.same_images(gate.learned(own), own, manifest)
    name = _external_name(manifest, data, source) if external else split
    leaked = gate.group_mates(own, manifest) | seen
    if not external:
        _refuse_empty_split(manifest, split, opened)
        leaked = gate.leaked_ids(opened, manifest, split, allowed=allow_leak or leak_effect)
    if leak_effect:
        _refuse_nothing_leaked(leaked, opened, name)
    _refuse_foreign_labels(manifest, opened)
    with runs.locked(opened.path):
        chosen = None if external else split
        parts = predicting.predictions_of(opened, manifest, chosen, weights, progress or Shown())
        predictions = Predictions.together(list(parts))
        _refuse_nothing_read(predictions, manifest)
        result = dataclasses.replace(
            evaluation.evaluate(predictions, source=name),
            root=str(manifest.root),
            seen_in_training=len(seen.intersection(predictions.scored().table["record_id"])),
            **_leaks(predictions, manifest, leaked, measured=leak_effect),
            looks=_looks(opened, manifest, predictions),
        )
        _keep(opened, predictions, result)
    return result


def _leaks(
    predictions: Predictions, manifest: Manifest, leaked: frozenset[str], *, measured: bool
) -> dict[str, Any]:
    """Return how many of the judged records are leaked, and what they do to the figures."""
    scored = predictions.scored()
    known = scored.table["record_id"].is_in(leaked).to_numpy()
    if not measured:
        return {"leaked": int(known.sum())}
    units = manifest.table.select("record_id", unit=splits.Units.of(manifest).of_row)
    joined = scored.table.join(units, on="record_id", how="left", maintain_order="left")
    effect = evaluation.leak_effect(scored, known, joined["unit"].to_numpy())
    return {"leaked": effect.leaked, "leak_effect": effect}


def _looks(run: Run, judged: Manifest, predictions: Predictions) -> int:
    """Count a look at the run's test split, and return which one it is, as far as is known.

    It is one wherever images of the split were judged, by whatever name; else 0.
    """
    manifest = run.manifest
    tested = gate.same_images(manifest.of_split("test"), manifest, judged)
    if tested.isdisjoint(predictions.table["record_id"]):
        return 0
    before = max((judged.looks for judged in run.evaluations), default=0)
    return max(runs.note_look(manifest, run.path) or 0, before + 1)


def _external_name(
    manifest: Manifest, data: str | Path | Manifest | None, source: SourceOptions
) -> str:
    """Return an absolute path: never the name of a split, and one name from every folder."""
    given = source.get("labels") or data
    return absolute(given) if isinstance(given, (str, Path)) else str(manifest.root)


def _refuse_empty_split(manifest: Manifest, split: Split, run: Run) -> None:
    if split not in SPLITS:
        raise ValueError(f"split must be one of {SPLITS}, got {split!r}")
    if run.state == runs.IMPORTED:
        raise DataError(
            f"the model of {run.path} was trained elsewhere, so there is no {split} split. Judge "
            "it on an external set (--data) that it was not trained on."
        )
    if not len(manifest.of_split(split)):
        raise DataError(
            f"{run.path} has no {split} images. Judge it on its validation split "
            "(--split validation), or on an external set (--data)."
        )


def _refuse_nothing_leaked(leaked: frozenset[str], run: Run, name: str) -> None:
    if leaked:
        return
    if name == "train":
        raise DataError(
            f"the train split of {run.path} is what it learned from, so there is nothing without a "
            "leak to compare with. Measure the effect on validation or test (--split)."
        )
    raise DataError(
        f"no image judged here has a copy or a group mate among those that {run.path} learned "
        "from, so there is no effect to measure. Leave --leak-effect out."
    )


def _refuse_nothing_read(predictions: Predictions, manifest: Manifest) -> None:
    if not predictions.table["reason"].null_count():
        first = predictions.table.row(0, named=True)
        raise DataError(
            f"not one of {len(predictions)} images of {manifest.root} could be read, first "
            f"{first['record_id']}: {first['reason']}. If they were moved, put them back, or "
            "judge the run on a set that you have (--data)."
        )


def _refuse_foreign_labels(manifest: Manifest, run: Run) -> None:
    known = run.model["class_names"]
    foreign = sorted(set(manifest.class_names) - set(known))
    if foreign:
        raise DataError(
            f"{manifest.root} has labels {foreign} that the model of {run.path} does not know; "
            f"its classes are {known}. Rename the folders or labels, or leave these images out."
        )


def _keep(run: Run, predictions: Predictions, result: Evaluation) -> None:
    """Write predictions and figures, in place of those of the same source and weights."""
    path = run.predictions_path(result.source, result.weights)
    runs.write_atomically(path, predictions.save)
    identity = (result.source, result.weights)
    others = [old for old in run.evaluations if (old.source, old.weights) != identity]
    entries = [evaluation.to_dict() for evaluation in (*others, result)]
    runs.write_sealed(run.path / "evaluation.json", {"evaluations": entries})
