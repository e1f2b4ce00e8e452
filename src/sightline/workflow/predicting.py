"""What a trained model says about images, labelled or not."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np
import polars as pl

from sightline import runs
from sightline.data.sources import ScanOptions, scan_files
from sightline.data.stream import Stream, StreamConfig, cache_root
from sightline.errors import DataError
from sightline.judging import evaluation
from sightline.learning.models import backend
from sightline.progress import Progress, Shown
from sightline.records import Manifest, Predictions, SetRule, Split, Weights, tempered
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
    calibrated: bool = False,
    coverage: float | None = None,
    follow_links: bool = False,
    progress: Progress | None = None,
) -> Path: ...


def predict(
    run: Run | str | Path,
    paths: str | Path | Sequence[str | Path],
    *,
    out: str | Path | None = None,
    weights: Weights = "best",
    calibrated: bool = False,
    coverage: float | None = None,
    follow_links: bool = False,
    progress: Progress | None = None,
) -> Predictions | Path:
    """Return what the model says about files and folders; labels are not needed.

    One row a file, sorted by path, whatever the order they were given in. A file that cannot be
    read has its row too, with the reason and no probabilities. The class is chosen as `evaluate`
    settled it for these weights; by default it is the most probable one.

    Args:
        run: A run or its folder; it may be read-only.
        paths: Image files, .tar shards, or folders, which are read at every depth.
        out: Stream the rows into this .csv or .parquet file in bounded memory, and return its
            path. Columns: file (relative to the current folder where it lies inside), predicted,
            p_CLASS for every class (0..1), reason.
        weights: "best", "last" or "average".
        calibrated: Let the p_ columns of `out` be calibrated by the temperature that `evaluate`
            fitted. The class is chosen as without.
        coverage: Add a column `classes` to `out`: a JSON list of the classes that cannot be ruled
            out, which holds the true one so often (over 0 and under 1), as `evaluate` says.
        follow_links: Follow symbolic links that lead out of a folder.
        progress: Where the bar goes; by default to the terminal or notebook.

    Raises:
        DataError: A path does not exist, there is no image, `out` has another extension or is
            needed, or what is calibrated, or a set of classes, rests on an evaluation that was not
            made or cannot be read.
        RunError: The run has no model, or it is damaged.
        SetupError: No Keras backend is installed, or the one of KERAS_BACKEND is not.
        ValueError: There are no weights of that name, or `coverage` is out of range.
    """
    if coverage is not None and not 0 < coverage < 1:
        raise ValueError(f"coverage must be over 0 and under 1, got {coverage}")
    opened, shown = runs.open_run(run), progress or Shown()
    if out is not None:
        runs.check_table_path(Path(out))
    elif calibrated or coverage is not None:
        raise DataError(
            "calibrated probabilities and sets of classes are columns of a table. Say where it "
            "goes: out='predictions.csv'."
        )
    columns = _Columns.of(opened, weights, shown, calibrated=calibrated, coverage=coverage)
    chosen = [paths] if isinstance(paths, (str, Path)) else list(paths)
    files = scan_files(chosen, ScanOptions(follow_links=follow_links))
    parts = predictions_of(opened, files, None, weights, shown)
    if out is None:
        return Predictions.together(list(parts))
    runs.write_rows(Path(out), (columns.rows(part, files.root) for part in parts))
    return Path(out)


def predictions_of(
    run: Run,
    manifest: Manifest,
    split: Split | None,
    weights: Weights,
    progress: Progress,
    *,
    embedded: bool = False,
    cache: Path | None = None,
) -> Iterator[Predictions]:
    """Yield predictions batch by batch; every verb that predicts comes through here.

    Args:
        run: Whose model.
        manifest: What is predicted; a file that cannot be read is an answer too.
        split: Which of its splits; None for all.
        weights: "best", "last" or "average".
        progress: Where the bar goes, and what is said of weights and backend.
        embedded: With what the network's last layer saw of each image, where that can be had.
        cache: Where decoded images are kept; None decodes each file as it is now.

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
    from sightline.learning.models import embedding

    if embedded:
        both = embedding.with_embedding(model)
        if both is None:
            progress.say(
                "This network has no last dense layer, so images cannot be compared by it."
            )
        model = both or model

    # A file that cannot be read is an answer here ("reason"), not a reason to stop.
    config = StreamConfig.of(run.recipe, training=False, cache=cache).forgiving(len(manifest))
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
            decision=runs.settled(run, kept).decision,
            on_batch=step.advance,
        )


def of_own_split(
    run: Run, split: Split, kept: KeptWeights, progress: Progress, *, embedded: bool = False
) -> Predictions:
    """Return what these weights say of a split of the run, and keep it.

    What is kept stands if it is of these weights and of all images of the split. Where some could
    not be read then, it is tried again, and stands if that is no better.

    Args:
        run: Whose.
        split: One that has images.
        kept: Which weights.
        progress: Where the bar goes, and what is said of a damaged file.
        embedded: As `predictions_of`.

    Raises:
        RunError: The run has no such weights, or they are damaged.
        SetupError: No Keras backend is installed, or the one of KERAS_BACKEND is not.
        OSError: It could not be written.
    """
    manifest = run.manifest
    try:
        before = runs.predictions_kept(run, split, kept)
    except DataError as error:
        progress.say(f"{error}; they are made anew.")
        before = None
    if before is not None:
        others = set(before.table["record_id"]) ^ set(manifest.of_split(split)["record_id"])
        if others or (embedded and before.embeddings is None):
            before = None
    if before is not None and not before.unreadable:
        return before
    parts = predictions_of(
        run, manifest, split, kept.which, progress, embedded=embedded, cache=cache_of(run)
    )  # fmt: skip
    found = Predictions.together(list(parts))
    if before is not None and before.unreadable <= found.unreadable:
        return before
    if found.unreadable < len(found):
        runs.write_atomically(run.predictions_path(split, kept.which), found.save)
    return found


def cache_of(run: Run) -> Path | None:
    """Return where decoded images of a run's own splits are kept; nowhere but for a fold.

    What a fold is judged on, the others learn from.
    """
    return cache_root() if run.info.get(runs.CACHED) else None


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


@dataclass(frozen=True, slots=True)
class _Columns:
    """What a user's table of predictions has.

    Attributes:
        temperature: That of the p_ columns; 1 leaves them as predicted.
        sets: Which classes cannot be ruled out; None: no such column.
    """

    temperature: float = 1.0
    sets: SetRule | None = None

    @classmethod
    def of(
        cls,
        run: Run,
        weights: Weights,
        progress: Progress,
        *,
        calibrated: bool,
        coverage: float | None,
    ) -> _Columns:
        """Return what is asked for, and say where it comes to nothing.

        Raises:
            DataError: What these weights say of the validation images is not kept, or damaged.
        """
        if not calibrated and coverage is None:
            return cls()
        kept = run.kept(weights)
        validation = _validation(run, kept)
        temperature = runs.settled(run, kept).temperature if calibrated else 1.0
        if calibrated and temperature == 1:
            progress.say(
                f"Probabilities are as predicted: the {len(validation):,} validation images gave "
                "no temperature that would mend them."
            )
        rule = None if coverage is None else evaluation.fit_sets(validation, coverage)
        if rule is not None and rule.note:
            progress.say(f"{rule.note}.")
        return cls(temperature, rule)

    def rows(self, part: Predictions, root: Path) -> pl.DataFrame:
        """Return the table of some predictions of files below `root`."""
        here = Path.cwd()
        files = []
        for record_id in part.table["record_id"]:
            path = root / record_id
            files.append(str(path.relative_to(here) if path.is_relative_to(here) else path))
        table = part.to_table().drop("record_id", "label", "group")
        if self.temperature != 1:
            shares = tempered(part.probabilities, self.temperature).astype(np.float32)
            named = Predictions.probability_columns(part.class_names)
            table = table.with_columns(
                pl.Series(name, shares[:, place]).fill_nan(None) for place, name in enumerate(named)
            )
        if self.sets is not None:
            known = [
                json.dumps([part.class_names[place] for place in np.flatnonzero(row)])
                for row in self.sets.sets(part.probabilities)
            ]
            unread = part.table["reason"].is_not_null()
            found = pl.Series("classes", known, dtype=pl.String).set(unread, None)
            table = table.with_columns(found).select(pl.all().exclude("reason"), "reason")
        return table.select(pl.Series("file", files, dtype=pl.String), pl.all())


def _validation(run: Run, kept: KeptWeights) -> Predictions:
    """Return what these weights said of the validation images.

    Raises:
        DataError: It is not kept, or is damaged.
    """
    if not len(run.manifest.of_split("validation")):
        raise DataError(
            f"{run.path} has no validation images, on which calibrated probabilities and sets of "
            "classes rest. Leave them out (--calibrated, --coverage)."
        )
    path, which = shlex.quote(str(run.path)), f" --weights {kept.which}" * (kept.which != "best")
    first = f"First: sightline evaluate {path}{which}"
    try:
        found = runs.predictions_kept(run, "validation", kept)
    except DataError as error:
        raise DataError(f"{str(error).rstrip('.')}. {first}") from error
    if found is None:
        raise DataError(
            f"{run.path} was not evaluated with the {kept.which} weights that it has, so nothing "
            f"is known of how far its probabilities can be believed. {first}"
        )
    return found
