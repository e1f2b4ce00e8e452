"""Which record of an earlier manifest each record is, whatever it is called now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl

from sightline.data.splits.units import CONTENT, TIES, Int64s, ties
from sightline.records import Manifest
from sightline.records.manifest import QUARANTINED

NO_ROW = -1


@dataclass(frozen=True, slots=True, eq=False)
class Images:
    """The images of a manifest, and after them those that only earlier manifests have, each once.

    Attributes:
        manifest: With the groups that its records had earlier, where it gives them none.
        record_ids: (N,) as each was called last.
        content: (N,) what each is, for an order that does not depend on names; see CONTENT.
        ties: Columns image (Int64, 0..N-1) and TIES: what ties each image, now or earlier. An
            image has several rows where that changed.
        of_row: For each earlier manifest (m,) int64: which image each of its rows is.
        known: (n,) bool: the image is in one of them, by its content or its name and size.
    """

    manifest: Manifest
    record_ids: pl.Series
    content: pl.Series
    ties: pl.DataFrame
    of_row: tuple[Int64s, ...]
    known: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, manifest: Manifest, previous: Sequence[Manifest]) -> Images:
        """Return the images of a manifest and of earlier ones, the newest of those first.

        Where both know the content, equal contents decide, those of one name first; of several
        equal files, the first of the one are the first of the other. Otherwise it is the record of
        that id, unless both sizes are known and differ. What is left is the record of that id if
        one of the two is quarantined: a file that broke, or that was repaired.
        """
        count = len(manifest)
        images = _columns(manifest)
        of_row: list[Int64s] = []
        known = np.zeros(count, bool)
        for earlier in previous:
            then = _columns(earlier)
            same, mended = _pairs(images, then)
            image = np.full(len(then), NO_ROW, np.int64)
            for pairs in (same, mended):
                image[pairs["row_then"].to_numpy()] = pairs["row"].to_numpy()
            known |= np.isin(np.arange(count), same["row"].to_numpy())
            lacking = np.flatnonzero(image == NO_ROW)
            image[lacking] = len(images) + np.arange(len(lacking))
            more = then[lacking].with_columns(row=pl.Series(image[lacking]))
            images = pl.concat([images, more])
            of_row.append(image)
        grouped = _with_groups(manifest, previous, of_row)
        images = images.with_columns(
            group=pl.concat([grouped.table["group"], images["group"].slice(count)])
        )
        return cls(
            grouped,
            images["record_id"],
            images.select(CONTENT).to_series(),
            _all_ties(images, previous, of_row),
            tuple(of_row),
            known,
        )

    def __len__(self) -> int:
        return len(self.record_ids)


def _columns(manifest: Manifest) -> pl.DataFrame:
    return manifest.table.select(
        "record_id", "sha256", "bytes", "status", "group", "copy_group", "near_group",
        row=pl.int_range(pl.len(), dtype=pl.Int64),
    )  # fmt: skip


def _pairs(now: pl.DataFrame, then: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return (row, row_then) of what is the same image, and of what broke or was repaired since.

    No row is in two pairs.
    """
    columns = ("record_id", "sha256", "bytes", "status", "row")
    now = now.select(columns)
    then = then.select(pl.col(columns).name.suffix("_then"))
    named = now.join(then, left_on="record_id", right_on="record_id_then")
    alike = (
        pl.when(pl.col("sha256").is_not_null() & pl.col("sha256_then").is_not_null())
        .then(pl.col("sha256") == pl.col("sha256_then"))
        .otherwise((pl.col("bytes") == pl.col("bytes_then")).fill_null(True))
    )
    by_name = _newest(named.filter(alike))
    rest = [
        _without(table, by_name, f"row{end}")
        .drop_nulls(f"sha256{end}")
        .sort(f"record_id{end}", f"row{end}")
        .with_columns(turn=pl.int_range(pl.len()).over(f"sha256{end}"))
        for table, end in ((now, ""), (then, "_then"))
    ]
    by_content = rest[0].join(rest[1], left_on=["sha256", "turn"], right_on=["sha256_then", "turn"])
    same = pl.concat([table.select("row", "row_then") for table in (by_name, by_content)])
    broken = pl.any_horizontal(pl.col("status", "status_then") == QUARANTINED)
    left = _without(_without(named.filter(broken), same, "row"), same, "row_then")
    return same, _newest(left).select("row", "row_then")


def _newest(pairs: pl.DataFrame) -> pl.DataFrame:
    """Return one pair of each earlier row: with the newest image that had its name."""
    if pairs["row_then"].n_unique() == len(pairs):  # one earlier manifest: a million are not sorted
        return pairs
    return pairs.sort("row").unique("row_then", keep="first", maintain_order=True)


def _without(table: pl.DataFrame, pairs: pl.DataFrame, row: str) -> pl.DataFrame:
    """Return the table without the rows that are paired."""
    return table.join(pairs.select(row), on=row, how="anti")


def _with_groups(
    manifest: Manifest, previous: Sequence[Manifest], of_row: Sequence[Int64s]
) -> Manifest:
    """Return the manifest whose records without a group have that of the newest that knew one."""
    group = manifest.table["group"]
    for earlier, image in zip(previous, of_row, strict=True):
        if not group.null_count():
            break
        inside = image < len(manifest)
        had = pl.DataFrame({"row": image[inside], "group": earlier.table["group"].filter(inside)})
        rows = pl.DataFrame({"row": np.flatnonzero(group.is_null().to_numpy())})
        taken = rows.join(had.drop_nulls(), on="row")
        group = group.scatter(taken["row"], taken["group"])
    return replace(manifest, table=manifest.table.with_columns(group=group))


def _all_ties(
    images: pl.DataFrame, previous: Sequence[Manifest], of_row: Sequence[Int64s]
) -> pl.DataFrame:
    """Return what ties each image as it was last, and what tied it earlier where that differs."""
    last = images.select(image="row").hstack(images.select(ties()))
    tables = [last]
    for earlier, image in zip(previous, of_row, strict=True):
        then = earlier.table.select(ties())
        names = [name for name in TIES if then[name].null_count() < len(then)]
        differs = np.zeros(len(then), bool)
        for name in names:
            differs |= then[name].ne_missing(last[name].gather(image)).to_numpy()
        changed = then.with_columns(image=pl.Series(image)).filter(differs)
        tables.append(changed.select(last.columns))
    return pl.concat(tables)
