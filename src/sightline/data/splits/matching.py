"""Which record of an earlier manifest each record is, whatever it is called now."""

from __future__ import annotations

import polars as pl

from sightline.data.splits.units import Int64s
from sightline.records import Manifest

MISSING_ROW = -1


def matched(manifest: Manifest, previous: Manifest) -> Int64s:
    """Return (n,) int64: the row of `previous` that is the same image, -1 for none; none twice.

    Where both know the content, equal contents decide, those of one name first; of several equal
    files, the first of the one are the first of the other. Otherwise it is the record of that id,
    unless both sizes are known and differ.
    """
    now, then = _columns(manifest), _columns(previous, "_then")
    by_name = now.join(then, left_on="record_id", right_on="record_id_then").filter(
        pl.when(pl.col("sha256").is_not_null() & pl.col("sha256_then").is_not_null())
        .then(pl.col("sha256") == pl.col("sha256_then"))
        .otherwise((pl.col("bytes") == pl.col("bytes_then")).fill_null(True))
    )
    rest = [
        table.drop_nulls(f"sha256{end}")
        .join(by_name, on=f"row{end}", how="anti")
        .sort(f"record_id{end}")
        .with_columns(turn=pl.int_range(pl.len()).over(f"sha256{end}"))
        for table, end in ((now, ""), (then, "_then"))
    ]
    by_content = rest[0].join(rest[1], left_on=["sha256", "turn"], right_on=["sha256_then", "turn"])
    pairs = pl.concat([table.select("row", "row_then") for table in (by_name, by_content)])
    found = now.select("row").join(pairs, on="row", how="left", maintain_order="left")
    return found["row_then"].fill_null(MISSING_ROW).to_numpy()


def _columns(manifest: Manifest, end: str = "") -> pl.DataFrame:
    table = manifest.table.select(
        "record_id", "sha256", "bytes", row=pl.int_range(pl.len(), dtype=pl.Int64)
    )
    return table.rename({name: f"{name}{end}" for name in table.columns})
