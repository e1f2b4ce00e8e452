"""The one prediction loop: validation, evaluation, prediction and pictures all use it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import keras
import numpy as np
import numpy.typing as npt

from sightline.data.stream import Stream
from sightline.learning.models.embedding import narrowed
from sightline.learning.models.forward import forward_seeing
from sightline.records import MOST_PROBABLE, Decision, Manifest, Predictions
from sightline.runs import KeptWeights


@dataclass(frozen=True, slots=True)
class Scored:
    """One batch after the network.

    Attributes:
        rows: (B,) int64 rows of the manifest.
        labels: (B,) int32 class indices; -1 without one.
        readable: (B,) bool; False where the file could not be read.
        probabilities: (B, K) float32; NaN where not readable.
        embeddings: (B, E) float16, NaN where not readable; None of a network with one output.
    """

    rows: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int32]
    readable: npt.NDArray[np.bool_]
    probabilities: npt.NDArray[np.float32]
    embeddings: npt.NDArray[np.float16] | None = None


def score(model: keras.Model, stream: Stream) -> Iterator[Scored]:
    """Yield the probabilities of a stream's records, batch by batch, in bounded memory.

    Embeddings as well, of a network that `embedding.with_embedding` made.
    """
    for batch in stream.epoch(0):
        images = batch.images.astype(np.float32, copy=False)
        size = stream.config.batch_size
        probabilities, seen = forward_seeing(model, images, batch_size=size)
        embeddings = None if seen is None else narrowed(seen)
        # Not by weight: a record may count for nothing and still be predicted.
        readable = np.asarray([int(row) not in stream.faults for row in batch.rows])
        probabilities[~readable] = np.nan
        if embeddings is not None:
            embeddings[~readable] = np.nan
        yield Scored(batch.rows, batch.labels, readable, probabilities, embeddings)


def predict(
    model: keras.Model,
    manifest: Manifest,
    stream: Stream,
    *,
    class_names: tuple[str, ...],
    kept: KeptWeights,
    decision: Decision = MOST_PROBABLE,
    on_batch: Callable[[int], None] = lambda _: None,
) -> Iterator[Predictions]:
    """Yield predictions, a batch at a time, with ids, labels and groups from the manifest.

    Args:
        model: The network with its weights.
        manifest: What `stream` streams.
        stream: In manifest order, without augmentation.
        class_names: The model's classes, which may differ from the manifest's.
        kept: The weights that the model has; their identity goes into the predictions.
        decision: How probabilities become one class.
        on_batch: Called with the number of records of each batch.
    """
    table = manifest.table.select("record_id", "label", "group")
    for scored in score(model, stream):
        part = table[scored.rows]
        reasons = [
            None if fine else stream.faults[int(row)].reason
            for row, fine in zip(scored.rows, scored.readable, strict=True)
        ]
        yield Predictions.make(
            class_names=class_names,
            record_ids=part["record_id"].to_list(),
            labels=part["label"].to_list(),
            groups=part["group"].to_list(),
            reasons=reasons,
            probabilities=scored.probabilities,
            embeddings=scored.embeddings,
            decision=decision,
            model_fingerprint=kept.fingerprint,
            weights=kept.which,
            epoch=kept.epoch,
        )
        on_batch(len(scored.rows))
