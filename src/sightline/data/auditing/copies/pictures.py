"""`Pictures`: the distinct contents of a data set, and which of them can be searched for copies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from sightline.data.auditing.copies.fingerprints import THUMB_SIDE
from sightline.records.manifest import QUARANTINED

MIN_SIDE = 32  # pixels as stored: below, pictures of different things agree too often
MIN_CONTRAST = 2.0  # standard deviation of luma: a flat picture is like every other flat one


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """Every distinct content of the usable files, sorted by sha256, so whatever the row order.

    Attributes:
        sha256: One a content.
        rows: For each content the rows of the manifest that have it, ascending.
        equal: Pairs of contents whose pixels are equal, the first being the smallest of its kind.
        searched: (s,) int64, ascending: contents to be searched for near copies, one of those
            whose pixels are equal.
        hashes: (s,) uint64.
        thumbs: (s, 16, 16) uint8.
    """

    sha256: tuple[str, ...]
    rows: tuple[tuple[int, ...], ...]
    equal: tuple[tuple[int, int], ...]
    searched: npt.NDArray[np.int64]
    hashes: npt.NDArray[np.uint64]
    thumbs: npt.NDArray[np.uint8]

    @classmethod
    def of(cls, inspected: pl.DataFrame) -> Pictures:
        """Return the pictures of a table of INSPECTED_SCHEMA; quarantined rows take no part."""
        contents = (
            inspected.lazy()
            .with_columns(row=pl.int_range(pl.len(), dtype=pl.Int64))
            .filter(pl.col("status").ne_missing(QUARANTINED) & pl.col("sha256").is_not_null())
            .sort("sha256", "row")
            .group_by("sha256", maintain_order=True)
            .agg(
                pl.col("row").alias("rows"),
                pl.col("pixels", "phash", "thumb", "contrast", "width", "height").first(),
            )
            .with_columns(content=pl.int_range(pl.len(), dtype=pl.Int64))
            .with_columns(
                first=pl.when(pl.col("pixels").is_null())
                .then(pl.col("content"))
                .otherwise(pl.col("content").min().over("pixels"))
            )
            .collect()
        )
        twins = contents.filter(pl.col("first") != pl.col("content"))
        searched = contents.filter(
            (pl.col("first") == pl.col("content"))
            & (pl.min_horizontal("width", "height") >= MIN_SIDE)
            & (pl.col("contrast") >= MIN_CONTRAST)
            & pl.col("phash").is_not_null()
            & pl.col("thumb").is_not_null()
        )
        thumbs = np.frombuffer(b"".join(searched["thumb"]), np.uint8)
        return cls(
            sha256=tuple(contents["sha256"]),
            rows=tuple(tuple(rows) for rows in contents["rows"].to_list()),
            equal=tuple(zip(twins["first"], twins["content"], strict=True)),
            searched=searched["content"].to_numpy(),
            hashes=searched["phash"].to_numpy(),
            thumbs=thumbs.reshape(-1, THUMB_SIDE, THUMB_SIDE),
        )
