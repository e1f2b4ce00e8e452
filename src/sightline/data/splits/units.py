"""What is never divided: images of one group, copies and near copies, and chains of those."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from sightline.records import Manifest
from sightline.records.manifest import QUARANTINED

Int64s = npt.NDArray[np.int64]

# Usable and labelled: the records that a split may hold.
DIVISIBLE = pl.col("status").ne_missing(QUARANTINED) & pl.col("label").is_not_null()
# What a record is, wherever it lies: its group, else its content, else its name. The first letter
# keeps a group apart from a file of the same name, and puts groups first.
CONTENT = pl.coalesce(
    pl.lit("group ") + pl.col("group"),
    pl.lit("sha256 ") + pl.col("sha256"),
    pl.lit("id ") + pl.col("record_id"),
)
TIES = ("group", "content", "copy_group", "near_group")


@dataclass(frozen=True, slots=True, eq=False)
class Units:
    """The units of a manifest: each record is in one.

    Attributes:
        of_row: (n,) int64 unit of each manifest row, 0..U-1.
        keys: (U,) the smallest content id of each unit. It names the unit the same way in any
            folder and row order, and an image that joins a group does not change it.
    """

    of_row: Int64s
    keys: pl.Series

    @classmethod
    def of(cls, manifest: Manifest) -> Units:
        """Return the units of every row, quarantined and unlabelled ones too.

        Those have a part in it because they may be repaired or labelled later: what they tie
        together must not be apart by then.
        """
        numbers = connected(manifest.table.select(ties()))
        return cls.named(numbers, manifest.table.select(CONTENT).to_series())

    @classmethod
    def named(cls, numbers: Int64s, content: pl.Series) -> Units:
        """Return the units of rows that have the same number (n,), named by CONTENT (n,)."""
        firsts, dense = np.unique(numbers, return_inverse=True)
        smallest = (
            pl.DataFrame({"content": content, "unit": pl.Series(dense, dtype=pl.Int64)})
            .group_by("unit")
            .agg(pl.col("content").min())
            .sort("unit")
        )
        assert len(smallest) == len(firsts), "every unit has a key"
        return cls(dense.astype(np.int64), smallest["content"])


def ties() -> list[pl.Expr]:
    """Return the columns TIES of a manifest's table: rows with an equal cell belong together.

    Of a quarantined file the content ties nothing: all empty files are equal, and no copies.
    """
    usable = pl.col("status").ne_missing(QUARANTINED)
    columns = {"content": pl.when(usable).then("sha256")}
    return [columns.get(name, pl.col(name)).alias(name) for name in TIES]


def connected(table: pl.DataFrame) -> Int64s:
    """Return (n,) int64: rows get the same number if equal cells tie them, directly or in a chain.

    The number is the first row of the unit. Null ties nothing. A quarter of a second a million
    rows and column.
    """
    parents = np.arange(len(table), dtype=np.int64)
    rows = pl.int_range(pl.len(), dtype=pl.Int64)
    for column in table.columns:
        if table[column].null_count() == len(table):
            continue
        # The first row of each value stands for the value, so that a tie is an edge between rows.
        # What only one row has ties nothing, and a number is sooner seen to be single than a text.
        edges = (
            table.lazy()
            .select(column, row=rows)
            .drop_nulls(column)
            .filter(pl.col(column).hash().is_duplicated())
            .with_columns(first=pl.col("row").first().over(column))
            .filter(pl.col("row") != pl.col("first"))
            .collect()
        )
        parents = join(parents, edges["row"].to_numpy(), edges["first"].to_numpy())
    return parents


def join(parents: Int64s, one: Int64s, other: Int64s) -> Int64s:
    """Return the parents after each pair of nodes was joined; every node points at its root.

    Roots are hooked to their smallest neighbour and paths then cut short, all at once, until no
    pair is apart: the rounds grow with the logarithm of the longest chain, in practice.

    Args:
        parents: (n,) int64, every node pointing at its root, the smallest node of its set.
        one: (e,) int64 nodes.
        other: (e,) int64 nodes that they are joined with.
    """
    parents = parents.copy()
    while len(one):
        root, neighbour = parents[one], parents[other]
        apart = root != neighbour
        one, other = one[apart], other[apart]
        root, neighbour = root[apart], neighbour[apart]
        np.minimum.at(parents, np.maximum(root, neighbour), np.minimum(root, neighbour))
        while True:
            shorter = parents[parents]
            if np.array_equal(shorter, parents):
                break
            parents = shorter
    return parents


def hashes(keys: pl.Series, *, seed: int, purpose: str = "") -> npt.NDArray[np.uint64]:
    """Return (u, 2) uint64: a hash of (seed, purpose, key) for each key.

    Never a generator's state: it is the same on every machine and version.
    """
    start = f"{seed}\x1f{purpose}\x1f".encode()
    digests = b"".join(
        hashlib.blake2b(start + key.encode(), digest_size=16, person=b"sightline units").digest()
        for key in keys
    )
    return np.frombuffer(digests, ">u8").reshape(-1, 2).astype(np.uint64)
