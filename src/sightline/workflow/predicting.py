"""What a trained model says about images, labelled or not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, overload

import polars as pl

from sightline import runs
from sightline.data.sources import ScanOptions, scan_files
from sightline.data.stream import Stream, StreamConfig
from sightline.learning.models import backend
from sightline.progress import Progress, Shown
from sightline.records import Manifest, Predictions, Split, Weights
from sightline.runs import KeptWeights, Run

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
        weights: "best", "last" or "average".
        follow_links: Follow symbolic links that lead out of a folder.
        progress: Where the bar goes; by default to the terminal or notebook.

    Raises:
        DataError: A path does not exist, there is no image, or `out` has another extension.
        RunError: The run has no model, or it is damaged.
        SetupError: No Keras backend is installed, or the one of KERAS_BACKEND is not.
        ValueError: There are no weights of that name.
    """
    opened = runs.open_run(run)
    if out is not None:
        runs.check_table_path(Path(out))
    chosen = [paths] if isinstance(paths, (str, Path)) else list(paths)
    files = scan_files(chosen, ScanOptions(follow_links=follow_links))
    parts = predictions_of(opened, files, None, weights, progress or Shown())
    if out is None:
        return Predictions.together(list(parts))
    runs.write_rows(Path(out), (_rows(part, files.root) for part in parts))
    return Path(out)


def predictions_of(
    run: Run, manifest: Manifest, split: Split | None, weights: Weights, progress: Progress
) -> Iterator[Predictions]:
    """Yield predictions batch by batch; every verb that predicts comes through here.

    Args:
        run: Whose model.
        manifest: What is predicted; a file that cannot be read is an answer too.
        split: Which of its splits; None for all.
        weights: "best", "last" or "average".
        progress: Where the bar goes, and what is said of weights and backend.

    Raises:
        RunError: The run has no such weights, or they are damaged.
        SetupError: No Keras backend is installed, or the one of KERAS_BACKEND is not.
        ValueError: There are no weights of that name.
    """
    class_names, kept = tuple(run.model["class_names"]), run.kept(weights)
    for line in kept.told:
        progress.say(line)
    model = rebuild(run, kept, progress)
    from sightline.learning import prediction

    # A file that cannot be read is an answer here ("reason"), not a reason to stop.
    config = StreamConfig.of(run.recipe, training=False).forgiving(len(manifest))
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


def rebuild(run: Run, kept: KeptWeights, progress: Progress) -> keras.Model:
    """Rebuild the network and assign the weights, on any backend; another than its own is said.

    Nothing is deserialised but a network that no recipe describes, and no code of its file is run.
    """
    made_on = str(run.info.get("backend"))
    used = backend.choose_for(made_on)
    if made_on in backend.BACKENDS and used != made_on:
        progress.say(
            f"{run.path} was made on {made_on} and is used on {used} here: probabilities may "
            "differ in their last digits, of a network in bfloat16 by up to about 0.01."
        )
    from sightline.learning.models import forward
    from sightline.learning.models import kept as networks

    model = networks.rebuild(run.recipe, len(run.model["class_names"]), run.network)
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
