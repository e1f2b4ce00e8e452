"""What a trained model says about images, and how good that is."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Unpack, get_args, overload

import polars as pl

from sightline import runs
from sightline.data.sources import ScanOptions, SourceOptions, scan_files
from sightline.data.sources.walk import absolute
from sightline.data.stream import Stream, StreamConfig
from sightline.errors import DataError
from sightline.judging import evaluation
from sightline.learning.models import backend
from sightline.progress import Progress, Shown
from sightline.records import SPLITS, Evaluation, Manifest, Predictions, Split, Weights
from sightline.runs import KeptWeights, Run
from sightline.workflow.data import manifest_of

if TYPE_CHECKING:
    import keras


@overload
def predict(
    run: Run | str | Path,
    paths: str | Path | Sequence[str | Path],
    *,
    out: None = None,
    weights: Weights = "best",
    follow_links: bool = False,
    progress: Progress | None = None,
) -> Predictions: ...


@overload
def predict(
    run: Run | str | Path,
    paths: str | Path | Sequence[str | Path],
    *,
    out: str | Path,
    weights: Weights = "best",
    follow_links: bool = False,
    progress: Progress | None = None,
) -> Path: ...


def predict(
    run: Run | str | Path,
    paths: str | Path | Sequence[str | Path],
    *,
    out: str | Path | None = None,
    weights: Weights = "best",
    follow_links: bool = False,
    progress: Progress | None = None,
) -> Predictions | Path:
    """Return what the model says about files and folders; labels are not needed.

    One row a file, sorted by path, whatever the order they were given in. A file that cannot be
    read has its row too, with the reason and no probabilities.

    Args:
        run: A run or its folder; it may be read-only.
        paths: Image files, .tar shards, or folders, which are read at every depth.
        out: Stream the rows into this .csv or .parquet file in bounded memory, and return its
            path. Columns: file (relative to the current folder where it lies inside), predicted,
            p_CLASS for every class (0..1), reason.
        weights: "best" or "last".
        follow_links: Follow symbolic links that lead out of a folder.
        progress: Where the bar goes; by default to the terminal or notebook.

    Raises:
        DataError: A path does not exist, there is no image, or `out` has another extension.
        RunError: The run has no model, or it is damaged.
        ValueError: There are no weights of that name.
    """
    opened = run if isinstance(run, Run) else runs.open_run(run)
    if out is not None:
        runs.check_table_path(Path(out))
    chosen = [paths] if isinstance(paths, (str, Path)) else list(paths)
    files = scan_files(chosen, ScanOptions(follow_links=follow_links))
    parts = _predictions(opened, files, None, weights, progress or Shown())
    if out is None:
        return Predictions.together(list(parts))
    runs.write_rows(Path(out), (_rows(part, files.root) for part in parts))
    return Path(out)


def evaluate(
    run: Run | str | Path,
    *,
    split: Split = "test",
    data: str | Path | Manifest | None = None,
    weights: Weights = "best",
    progress: Progress | None = None,
    **source: Unpack[SourceOptions],
) -> Evaluation:
    """Return how good the model is on a split of its own manifest, or on an external set.

    The predictions go to `predictions/` of the run and the figures into `evaluation.json`, in
    place of earlier ones of the same source and weights.

    Args:
        run: A run or its folder.
        split: Which of the run's own splits, when no external set is given.
        data: An external set: what `scan` takes, or a manifest; all of its images are judged,
            whatever their splits, and one class is enough.
        weights: "best" or "last".
        progress: Where the bar goes; by default to the terminal or notebook.
        **source: As `scan`, for an external set.

    Raises:
        DataError: The split is empty, the images are gone, or a label is not one of the
            model's classes.
        RunError: The run has no model, is damaged, in use, or cannot be written to.
        ValueError: There is no split, or no weights, of that name.
    """
    opened = run if isinstance(run, Run) else runs.open_run(run)
    external = data is not None or any(source.values())
    if external:
        manifest = manifest_of(data, source, learnable=False)
        name = _external_name(manifest, data, source)
    else:
        manifest, name = opened.manifest, split
        _refuse_empty_split(manifest, split, opened)
    _refuse_foreign_labels(manifest, opened)
    with runs.locked(opened.path):
        parts = _predictions(
            opened, manifest, None if external else split, weights, progress or Shown()
        )
        predictions = Predictions.together(list(parts))
        _refuse_nothing_read(predictions, manifest)
        result = dataclasses.replace(
            evaluation.evaluate(predictions, source=name),
            root=str(manifest.root),
            seen_in_training=_seen_in_training(opened.manifest, manifest.root, predictions),
        )
        _keep(opened, predictions, result)
    return result


def _predictions(
    run: Run, manifest: Manifest, split: Split | None, weights: Weights, progress: Progress
) -> Iterator[Predictions]:
    """Yield predictions batch by batch; every verb that predicts comes through here."""
    if weights not in get_args(Weights):
        raise ValueError(f"weights must be one of {get_args(Weights)}, got {weights!r}")
    class_names, kept = tuple(run.model["class_names"]), run.kept(weights)
    model = _rebuild(run, len(class_names), kept)
    from sightline.learning import prediction

    # A file that cannot be read is an answer here ("reason"), not a reason to stop.
    config = dataclasses.replace(
        StreamConfig.of(run.recipe, training=False), max_fault_share=1.0, max_faults=len(manifest)
    )
    with (
        Stream(manifest, split=split, config=config) as stream,
        progress.step(f"predicting {split or 'images'}", stream.num_records) as step,
    ):
        yield from prediction.predict(
            model,
            manifest,
            stream,
            class_names=class_names,
            kept=kept,
            on_batch=step.advance,
        )


def _rebuild(run: Run, num_classes: int, kept: KeptWeights) -> keras.Model:
    """Rebuild the network from its recipe and assign the weights: nothing is deserialised."""
    backend.choose(run.recipe.backend)
    from sightline.learning.models import forward, networks

    model = networks.build(run.recipe, num_classes, policy=run.recipe.precision)
    forward.set_weights(model, kept.arrays)
    return model


def _rows(part: Predictions, root: Path) -> pl.DataFrame:
    """Return the columns that a user's table has."""
    here = Path.cwd()
    files = []
    for record_id in part.table["record_id"]:
        path = root / record_id
        files.append(str(path.relative_to(here) if path.is_relative_to(here) else path))
    table = part.to_table().drop("record_id", "label", "group")
    return table.select(pl.Series("file", files, dtype=pl.String), pl.all())


def _external_name(
    manifest: Manifest, data: str | Path | Manifest | None, source: SourceOptions
) -> str:
    """Return an absolute path: never the name of a split, and one name from every folder."""
    given = source.get("labels") or data
    return absolute(given) if isinstance(given, (str, Path)) else str(manifest.root)


def _seen_in_training(own: Manifest, root: Path, predictions: Predictions) -> int:
    """Return how many of the records judged are files that the run learned or chose by."""
    learned = pl.concat([own.of_split("train"), own.of_split("validation")])
    judged, known = (
        table.select(
            path=pl.lit(f"{folder.resolve().as_posix().rstrip('/')}/") + pl.col("record_id")
        )
        for table, folder in ((predictions.scored().table, root), (learned, own.root))
    )
    return judged.join(known, on="path", how="semi").height


def _refuse_empty_split(manifest: Manifest, split: Split, run: Run) -> None:
    if split not in SPLITS:
        raise ValueError(f"split must be one of {SPLITS}, got {split!r}")
    if not len(manifest.of_split(split)):
        raise DataError(
            f"{run.path} has no {split} images. Judge it on its validation split "
            "(--split validation), or on an external set (--data)."
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
    runs.write_json(run.path / "evaluation.json", {"evaluations": entries})
