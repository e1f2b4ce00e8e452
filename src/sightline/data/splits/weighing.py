"""Weights that let every class weigh the same in training."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from sightline.data.splits.units import DIVISIBLE
from sightline.errors import DataError
from sightline.records import Manifest


def with_rare_weights(manifest: Manifest) -> Manifest:
    """Return the manifest with weight total / (K * count) on training images, 1 on all others.

    `count` is the training images of the image's class, `total` those of all K classes: every
    class then weighs the same in total, and the mean weight of training is 1. A stream of the
    training split hands the weights out with its batches; validation is measured without any.

    Former weights are replaced. Not to be used beside class weights of a recipe, which say the
    same: a rare class would then weigh too much.

    Raises:
        DataError: No image is in train.
    """
    trained = DIVISIBLE & (pl.col("split") == "train").fill_null(False)
    counts = manifest.table.filter(trained).group_by("label").agg(count=pl.len())
    if not len(counts):
        raise DataError(
            f"{manifest.root} has no training images, so none can be weighed. Split it first."
        )
    total = int(counts["count"].sum())
    weighed = manifest.table.join(counts, on="label", how="left", maintain_order="left").select(
        weight=pl.when(trained)
        .then(total / (len(counts) * pl.col("count")))
        .otherwise(1.0)
        .cast(pl.Float32)
    )
    return replace(manifest, table=manifest.table.with_columns(weighed["weight"]))
