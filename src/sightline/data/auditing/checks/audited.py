"""What every check is given: the rows of the manifest beside what was seen in each file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from sightline.records import Manifest
from sightline.records.manifest import QUARANTINED

if TYPE_CHECKING:
    from sightline.data.auditing.copies import Copies

_OF_THE_MANIFEST = ("record_id", "label", "group", "split", "status", "reason")
_CHANGED = "CHANGED"


@dataclass(frozen=True, slots=True)
class Earlier:
    """What an earlier audit saw of these images.

    Attributes:
        shared: Records whose content it knew, and which are still there.
        gone: Ids of those that are no longer there.
    """

    shared: int
    gone: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AuditedSet:
    """A data set after every file was looked at.

    Attributes:
        manifest: The audited manifest.
        rows: One row a record, as the manifest's: record_id, label, group, split, status and
            reason of the manifest, the other columns of INSPECTED_SCHEMA, copy_group, near_group,
            and `picture`, equal where the upright pixels are equal.
        usable: The rows that are not quarantined.
        copies: What was found to be there twice.
        earlier: What contents were compared with; None where there was nothing.
    """

    manifest: Manifest
    rows: pl.DataFrame
    usable: pl.DataFrame
    copies: Copies
    earlier: Earlier | None

    @classmethod
    def make(
        cls, manifest: Manifest, inspected: pl.DataFrame, copies: Copies, *, earlier: Earlier | None
    ) -> AuditedSet:
        """Return the set of a manifest, the rows of INSPECTED_SCHEMA in its order, and its copies.

        Raises:
            ValueError: The three are not about the same records in the same order.
        """
        if not inspected["record_id"].equals(manifest.table["record_id"]):
            raise ValueError(
                f"inspected must have the manifest's {len(manifest)} record ids in their order, "
                f"got {len(inspected)} rows"
            )
        for name in ("copy_group", "near_group"):
            series = getattr(copies, name)
            if len(series) != len(manifest):
                raise ValueError(
                    f"copies.{name} must have {len(manifest)} values, got {len(series)}"
                )
        seen = inspected.drop("record_id", "status", "reason")
        rows = manifest.table.select(_OF_THE_MANIFEST).with_columns(
            *seen.get_columns(),
            copies.copy_group.alias("copy_group"),
            copies.near_group.alias("near_group"),
        )
        rows = rows.with_columns(picture=pl.coalesce(pl.col("pixels").cast(pl.String), "sha256"))
        usable = rows.filter(pl.col("status").ne_missing(QUARANTINED))
        return cls(manifest, rows, usable, copies, earlier)

    @property
    def unreadable(self) -> pl.DataFrame:
        """The quarantined rows but those whose content has changed."""
        reason = pl.col("reason").ne_missing(_CHANGED)
        return self.rows.filter((pl.col("status") == QUARANTINED) & reason)

    @property
    def changed(self) -> pl.DataFrame:
        """The rows whose content is not what an earlier audit saw."""
        return self.rows.filter((pl.col("status") == QUARANTINED) & (pl.col("reason") == _CHANGED))

    @property
    def sides(self) -> list[str]:
        """The splits that hold a usable image, by name."""
        return sorted(self.usable["split"].drop_nulls().unique().to_list())

    @property
    def classes(self) -> list[str]:
        """The labels of the usable images, by name."""
        return sorted(self.usable["label"].drop_nulls().unique().to_list())


def ids_by(rows: pl.DataFrame, column: str) -> dict[str, list[str]]:
    """Return the record ids of each value of a column, the longest list first; nulls are none."""
    rows = rows.drop_nulls(column)
    lists = rows.group_by(pl.col(column).cast(pl.String), maintain_order=True).agg("record_id")
    lists = lists.sort(pl.col("record_id").list.len(), column, descending=[True, False])
    return {str(value): ids for value, ids in lists.iter_rows()}


def counts_by(rows: pl.DataFrame, column: str) -> dict[str, int]:
    """Return how many rows there are of each value of a column, most first; nulls are none."""
    rows = rows.drop_nulls(column)
    counts = rows.group_by(pl.col(column).cast(pl.String)).agg(pl.len().alias("rows"))
    counts = counts.sort("rows", column, descending=[True, False])
    return {str(value): int(count) for value, count in counts.iter_rows()}
