"""What is on two sides of a split although it belongs together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import polars as pl

from sightline.data.splits.units import CONTENT, connected, ties
from sightline.records import SPLITS, Manifest, Split
from sightline.records.manifest import QUARANTINED

Kind = Literal["group", "copy", "near copy", "chain"]

_COLUMNS: dict[str, Kind] = {"group": "group", "copy_group": "copy", "near_group": "near copy"}
_LEARNED: tuple[Split, ...] = ("train", "validation")
_WORDS: dict[Kind, tuple[str, str]] = {
    "group": ("1 group is", "groups are"),
    "copy": ("1 set of exact copies is", "sets of exact copies are"),
    "near copy": ("1 set of near copies is", "sets of near copies are"),
    "chain": ("1 chain of groups and copies is", "chains of groups and copies are"),
}


@dataclass(frozen=True, slots=True)
class Crossing:
    """Images that belong together, on two sides or more.

    Attributes:
        kind: What ties them: "group", "copy" (equal bytes), "near copy" (confirmed on pixels) or
            "chain" (several of those, one after another, perhaps through images that are not used).
        tie: The group, or the id of the copies; of a chain its smallest group or content.
        records: Side -> its record ids, sorted; sides in the order of SPLITS.
    """

    kind: Kind
    tie: str
    records: Mapping[Split, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Leaks:
    """Everything that crosses a split.

    Attributes:
        crossings: Between train, validation and test; groups first, then copies, near copies
            and chains, each kind by tie.
        external: Between the split external and train or validation, in the same order.
    """

    crossings: tuple[Crossing, ...]
    external: tuple[Crossing, ...]

    def __bool__(self) -> bool:
        """Whether a group, or copies, cross train, validation and test; external ones count apart.

        Chains alone do not count: they go through images that are on no side, such as one that was
        set aside because it would tie two sides together.
        """
        return any(crossing.kind != "chain" for crossing in self.crossings)

    def of_kind(self, kind: Kind) -> tuple[Crossing, ...]:
        """Return the crossings of one kind between train, validation and test."""
        return tuple(crossing for crossing in self.crossings if crossing.kind == kind)

    def record_ids(self, side: Split) -> tuple[str, ...]:
        """Return the images of a held-out side that belong together with learned ones, sorted.

        In chains too: all images of a unit of which any is learned. Learned: in train, or in
        validation, by which weights are chosen. For validation it is train alone; for train there
        are none.
        """
        crossings = self.external if side == "external" else self.crossings
        learned = [name for name in _LEARNED if name != side] if side != "train" else []
        leaked = {
            record_id
            for crossing in crossings
            if any(name in crossing.records for name in learned)
            for record_id in crossing.records.get(side, ())
            if side != "train"
        }
        return tuple(sorted(leaked))

    def in_words(self, limit: int = 5) -> list[str]:
        """Return a sentence for each kind of crossing that there is, naming the first `limit`."""
        return [
            *_sentences(self.crossings, "on two sides of the split", limit),
            *_sentences(self.external, "both in the external images and in learned ones", limit),
        ]


def leaks(manifest: Manifest) -> Leaks:
    """Return the groups, exact copies, near copies and chains that cross the splits of a manifest.

    Only usable records cross, but all tie, quarantined ones and those without a split too: if any
    unit (`Units`) is on two sides, something is named. Copies are known in an audited manifest
    only; in any other, groups alone can be found. A set of near copies is not named where all that
    crosses are exact copies of one image; a chain names the images of a unit that have no tie of
    their own with another of its sides, and all images there. A million rows take about a second
    or two where little crosses.
    """
    rows = _on_several_sides(manifest)
    inner: list[Crossing] = []
    outer: list[Crossing] = []
    for column, kind in _COLUMNS.items():
        tied = rows.select("record_id", "split", "content", tie=column).drop_nulls("tie")
        inner += _crossings(tied.filter(pl.col("split") != "external"), kind)
        learned = tied.filter(pl.col("split") != "test")
        external = (pl.col("split") == "external").any().over("tie")
        outer += _crossings(learned.filter(external), kind)
    apart = _unexplained(rows)
    is_outer = (pl.col("split") == "external") | (pl.col("other") == "external")
    is_test = (pl.col("split") == "test") | (pl.col("other") == "test")
    inner += _chains(rows, apart.filter(~is_outer))
    outer += _chains(rows, apart.filter(is_outer & ~is_test))
    return Leaks(tuple(inner), tuple(outer))


def _on_several_sides(manifest: Manifest) -> pl.DataFrame:
    """Return the usable records of the units that have such on several sides.

    Columns: record_id, split, unit, those of _COLUMNS, content (equal for equal bytes) and name.
    """
    usable = pl.col("status").ne_missing(QUARANTINED) & pl.col("split").is_not_null()
    table = manifest.table.select(
        "record_id", "split", "sha256", *_COLUMNS, name=CONTENT, usable=usable,
        unit=pl.Series(connected(manifest.table.select(ties())), dtype=pl.Int64),
        side=pl.col("split").cast(pl.Enum(SPLITS)).to_physical(),
    ).filter("usable")  # fmt: skip
    sides = table.group_by("unit").agg(least=pl.col("side").min(), most=pl.col("side").max())
    several = sides.filter(pl.col("least") < pl.col("most"))
    rows = table.join(several, on="unit", how="semi")
    # Without an audit equal contents may be known, and yet not named as copies.
    again = pl.col("sha256").is_not_null() & pl.col("sha256").is_duplicated()
    copies = pl.coalesce("copy_group", pl.when(again).then(pl.col("sha256").str.slice(0, 16)))
    return rows.with_columns(
        copy_group=copies, content=pl.coalesce("copy_group", "sha256", "record_id")
    )


def _unexplained(rows: pl.DataFrame) -> pl.DataFrame:
    """Return (unit, record_id, split, other): another side of its unit to which no tie leads."""
    sides = rows.select("unit", other="split").unique()
    wanted = rows.select("unit", "record_id", "split").join(sides, on="unit")
    wanted = wanted.filter(pl.col("split") != pl.col("other"))
    led = pl.concat(
        rows.select("record_id", tie=column).drop_nulls().join(
            rows.select(tie=column, other="split").drop_nulls().unique(), on="tie"
        ).select("record_id", "other")
        for column in _COLUMNS
    )  # fmt: skip
    return wanted.join(led, on=["record_id", "other"], how="anti")


def _chains(rows: pl.DataFrame, apart: pl.DataFrame) -> Iterator[Crossing]:
    """Yield the units with unexplained records: those, and all on the sides they are tied to."""
    if not len(apart):
        return
    opposite = rows.join(
        apart.select("unit", split="other").unique(), on=["unit", "split"], how="semi"
    )
    names = rows.group_by("unit").agg(tie=pl.col("name").min())
    members = pl.concat([table.select("unit", "record_id", "split") for table in (apart, opposite)])
    found = members.unique().join(names, on="unit").sort("record_id")
    yield from _by_tie(found, "chain")


def _crossings(rows: pl.DataFrame, kind: Kind) -> Iterator[Crossing]:
    """Yield the ties whose records are in several splits, in the order of the ties."""
    sides = rows.group_by("tie").agg(
        pl.col("split").n_unique().alias("sides"), pl.col("content").n_unique().alias("contents")
    )
    crossing = sides.filter(pl.col("sides") > 1)
    if kind == "near copy":
        crossing = crossing.filter(pl.col("contents") > 1)
    yield from _by_tie(rows.join(crossing, on="tie", how="semi").sort("record_id"), kind)


def _by_tie(found: pl.DataFrame, kind: Kind) -> Iterator[Crossing]:
    """Yield a crossing for each tie, in the order of the ties; `found` is sorted by record."""
    lists = found.group_by("tie", "split", maintain_order=True).agg("record_id")
    records: defaultdict[str, dict[str, tuple[str, ...]]] = defaultdict(dict)
    for tie, split, ids in lists.iter_rows():
        records[tie][split] = tuple(ids)
    for tie, of_side in sorted(records.items()):
        yield Crossing(kind, tie, {side: of_side[side] for side in SPLITS if side in of_side})


def _sentences(crossings: tuple[Crossing, ...], where: str, limit: int) -> Iterator[str]:
    for kind, (one, several) in _WORDS.items():
        found = [crossing for crossing in crossings if crossing.kind == kind]
        if not found:
            continue
        named = "; ".join(_named(crossing) for crossing in found[:limit])
        more = f"; and {len(found) - limit:,} more" if len(found) > limit else ""
        words = one if len(found) == 1 else f"{len(found):,} {several}"
        yield f"{words} {where}: {named}{more}."


def _named(crossing: Crossing) -> str:
    """Return which images cross: the first of each side, and how many more it has."""
    sides = ", ".join(
        f"{side} {ids[0]}{f' and {len(ids) - 1:,} more' if len(ids) > 1 else ''}"
        for side, ids in crossing.records.items()
    )
    return f"{crossing.tie!r} ({sides})" if crossing.kind == "group" else f"({sides})"
