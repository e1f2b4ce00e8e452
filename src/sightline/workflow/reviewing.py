"""Which images are worth a look, as a table, and what else is known of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from sightline import runs
from sightline.data.sources import columns_beside
from sightline.errors import DataError
from sightline.judging import evaluation
from sightline.progress import Progress
from sightline.records import Evaluation, Manifest, Predictions, Slice, Weights
from sightline.runs import KeptWeights, Run
from sightline.workflow import predicting

_UNCERTAIN = 50  # images that the model was least certain of
SIMILAR = 3  # training images beside a mistake


def columns_of(
    manifest: Manifest,
    slice_by: str | Sequence[str],
    metadata: str | Path | None,
    labels: str | Path | None,
) -> pl.DataFrame:
    """Return record_id and the columns to cut into slices, of every image of the manifest.

    Args:
        manifest: What is judged.
        slice_by: The columns, or one.
        metadata: The table that has them.
        labels: The table that the manifest was made of, which is taken where there is no other.

    Raises:
        DataError: A column is nowhere, the table cannot be used, or no column of it is named.
    """
    names = list(dict.fromkeys([slice_by] if isinstance(slice_by, str) else slice_by))
    if metadata and not names:
        raise DataError(
            f"the table {metadata} was given, and no column whose values are to be judged apart. "
            "Name one or more of it: --slice-by COLUMN."
        )
    table = metadata or labels
    return columns_beside(manifest, names, table=Path(table) if table and names else None)


def slices_of(
    predictions: Predictions, columns: pl.DataFrame, progress: Progress
) -> tuple[Slice, ...]:
    """Return the figures of each value of each column; one that parts no images is said."""
    names = [name for name in columns.columns if name != "record_id"]
    found = evaluation.slices(predictions, columns) if names else ()
    for name in names:
        if all(each.column != name for each in found):
            progress.say(
                f"{name} is the same, or not known, of all these images: no parts to compare."
            )
    return found


def embed_training(run: Run, kept: KeptWeights, progress: Progress) -> Predictions | None:
    """Return what is said of the training images, with what the network's last layer sees of each.

    It is kept. None where there are no training images.
    """
    if not len(run.manifest.of_split("train")):
        progress.say(f"{run.path} has no training images to compare with.")
        return None
    return predicting.of_own_split(run, "train", kept, progress, embedded=True)


def similar_images(
    run: Run, predictions: Predictions, record_ids: Sequence[str]
) -> dict[str, list[tuple[str, str | None, float]]]:
    """Return (record id, label, similarity) of the training images most like each record.

    {} where no embeddings were kept, or those kept are of other weights. An image of the training
    split is not like itself.
    """
    path = run.predictions_path("train", predictions.weights)
    if predictions.embeddings is None or not record_ids or not path.exists():
        return {}
    try:
        training = Predictions.load(path)
    except DataError:
        return {}
    same = training.model_fingerprint == predictions.model_fingerprint
    if not same or training.embeddings is None:
        return {}
    place = {name: row for row, name in enumerate(predictions.table["record_id"])}
    known = [name for name in record_ids if name in place]
    queries = predictions.embeddings[[place[name] for name in known]]
    rows, similarity = evaluation.nearest(queries, training.embeddings, SIMILAR + 1)
    ids, labels = training.table["record_id"], training.table["label"]
    return {
        name: [
            (ids[row], labels[row], alike)
            for row, alike in zip(found.tolist(), near.tolist(), strict=True)
            if row >= 0 and not (ids[row] == name and alike == 1)
        ][:SIMILAR]
        for name, found, near in zip(known, rows, similarity, strict=True)
    }


def review_path(run: Run, source: str, weights: Weights) -> Path:
    """Return where the table of images worth a look is kept."""
    beside = run.predictions_path(source, weights)
    return beside.with_name(f"{beside.stem}-review.csv")


def write_review(run: Run, predictions: Predictions, judged: Evaluation) -> None:
    """Write the table of the images worth a look, the most confident mistake first.

    A row an image: every wrong one, every doubtful label, and those the model was least certain
    of. Columns: record_id, label, predicted, probability, label_probability, margin, wrong,
    doubtful_label (1 is the most doubtful; nothing of images that were trained on, whose labels
    were learned), least_certain (1 is the least), and where training images were embedded,
    similar_1 to similar_3 with label_1 to label_3.
    """
    wrong = evaluation.most_confident_errors(predictions, judged.count)
    learned = judged.source == "train"
    doubtful = () if learned else evaluation.doubtful_labels(predictions).candidates
    every = evaluation.least_certain(predictions, judged.count)
    unsure = every[:_UNCERTAIN]
    doubt = {each.record_id: rank for rank, each in enumerate(doubtful, start=1)}
    doubts = {each.record_id: rank for rank, each in enumerate(unsure, start=1)}
    # Under a threshold or costs, a label may be doubtful and what was decided right.
    right = (each for each in every if each.record_id in doubt)
    listed = {each.record_id: each for each in (*wrong, *right, *unsure)}
    rows = [
        {
            "record_id": each.record_id,
            "label": each.label,
            "predicted": each.predicted,
            "probability": each.probability,
            "label_probability": each.label_probability,
            "margin": each.margin,
            "wrong": each.predicted != each.label,
            "doubtful_label": doubt.get(each.record_id),
            "least_certain": doubts.get(each.record_id),
        }
        for each in listed.values()
    ]
    table = pl.DataFrame(rows, schema=_REVIEW)
    similar = similar_images(run, predictions, [each.record_id for each in wrong])
    if similar:
        table = table.with_columns(
            pl.Series(
                f"{name}_{rank + 1}",
                [_at(similar.get(record_id, []), rank, part) for record_id in table["record_id"]],
                dtype=pl.String,
            )
            for rank in range(SIMILAR)
            for part, name in enumerate(("similar", "label"))
        )
    path = review_path(run, judged.source, judged.weights)
    runs.write_content(path, table.write_csv())


_REVIEW = pl.Schema(
    {
        "record_id": pl.String, "label": pl.String, "predicted": pl.String,
        "probability": pl.Float64, "label_probability": pl.Float64, "margin": pl.Float64,
        "wrong": pl.Boolean, "doubtful_label": pl.Int64, "least_certain": pl.Int64,
    }
)  # fmt: skip


def _at(found: Sequence[tuple[str, str | None, float]], rank: int, part: int) -> str | None:
    return str(found[rank][part]) if rank < len(found) else None
