"""What is on two sides of a split although it belongs together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import polars as pl

from sightline.data.splits.refusals import counted
from sightline.records import SPLITS, Manifest, Split
from sightline.records.manifest import QUARANTINED

Kind = Literal["group", "copy", "near copy"]

_COLUMNS: dict[str, Kind] = {"group": "group", "copy_group": "copy", "near_group": "near copy"}
_LEARNED: tuple[Split, ...] = ("train", "validation")
_WORDS: dict[Kind, str] = {
    "group": "group",
    "copy": "set of exact copies",
    "near copy": "set of near copies",
}


@dataclass(frozen=True, slots=True)
class Crossing:
    """Images that belong together, on two sides or more.

    Attributes:
        kind: What ties them: "group", "copy" (equal bytes) or "near copy" (confirmed on pixels).
        tie: The group, or the id of the copies.
        records: Side -> its record ids, sorted; sides in the order of SPLITS.
    """

    kind: Kind
    tie: str
    records: Mapping[Split, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Leaks:
    """Everything that crosses a split.

    Attributes:
        crossings: Between train, validation and test; groups first, then copies, then near
            copies, each kind by tie.
        external: Between the split external and train or validation, in the same order.
    """

    crossings: tuple[Crossing, ...]
    external: tuple[Crossing, ...]

    def __bool__(self) -> bool:
        """Whether anything crosses train, validation and test; external images count apart."""
        return bool(self.crossings)

    def of_kind(self, kind: Kind) -> tuple[Crossing, ...]:
        """Return the crossings of one kind between train, validation and test."""
        return tuple(crossing for crossing in self.crossings if crossing.kind == kind)

    def record_ids(self, side: Split) -> tuple[str, ...]:
        """Return the images of a held-out side that belong together with learned ones, sorted.

        Learned: in train, or in validation, by which weights are chosen. For validation it is
        train alone; for train there are none.
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
    """Return the groups, exact copies and near copies that cross the splits of a manifest.

    Quarantined records do not count. Copies are known in an audited manifest only; in any other,
    groups alone can be found. A set of near copies is not named where all that crosses are exact
    copies of one image. A million rows take about a second where little crosses.
    """
    table = manifest.table.filter(
        pl.col("status").ne_missing(QUARANTINED) & pl.col("split").is_not_null()
    ).with_columns(content=pl.coalesce("copy_group", "sha256", "record_id"))
    inner: list[Crossing] = []
    outer: list[Crossing] = []
    for column, kind in _COLUMNS.items():
        rows = table.select("record_id", "split", "content", tie=column).drop_nulls("tie")
        inner += _crossings(rows.filter(pl.col("split") != "external"), kind)
        learned = rows.filter(pl.col("split") != "test")
        external = (pl.col("split") == "external").any().over("tie")
        outer += _crossings(learned.filter(external), kind)
    return Leaks(tuple(inner), tuple(outer))


def _crossings(rows: pl.DataFrame, kind: Kind) -> Iterator[Crossing]:
    """Yield the ties whose records are in several splits, in the order of the ties."""
    sides = rows.group_by("tie").agg(
        pl.col("split").n_unique().alias("sides"), pl.col("content").n_unique().alias("contents")
    )
    crossing = sides.filter(pl.col("sides") > 1)
    if kind == "near copy":
        crossing = crossing.filter(pl.col("contents") > 1)
    found = rows.join(crossing, on="tie", how="semi").sort("record_id")
    lists = found.group_by("tie", "split", maintain_order=True).agg("record_id")
    records: defaultdict[str, dict[str, tuple[str, ...]]] = defaultdict(dict)
    for tie, split, ids in lists.iter_rows():
        records[tie][split] = tuple(ids)
    for tie, of_side in sorted(records.items()):
        yield Crossing(kind, tie, {side: of_side[side] for side in SPLITS if side in of_side})


def _sentences(crossings: tuple[Crossing, ...], where: str, limit: int) -> Iterator[str]:
    for kind, noun in _WORDS.items():
        found = [crossing for crossing in crossings if crossing.kind == kind]
        if not found:
            continue
        named = "; ".join(_named(crossing) for crossing in found[:limit])
        more = f"; and {len(found) - limit:,} more" if len(found) > limit else ""
        words = counted(len(found), noun) if len(found) == 1 else _plural(len(found), noun)
        yield f"{words} {'is' if len(found) == 1 else 'are'} {where}: {named}{more}."


def _plural(number: int, noun: str) -> str:
    return f"{number:,} {noun}s" if noun == "group" else f"{number:,} {noun.replace('set', 'sets')}"


def _named(crossing: Crossing) -> str:
    """Return which images cross: the first of each side, and how many more it has."""
    sides = ", ".join(
        f"{side} {ids[0]}{f' and {len(ids) - 1:,} more' if len(ids) > 1 else ''}"
        for side, ids in crossing.records.items()
    )
    return f"{crossing.tie!r} ({sides})" if crossing.kind == "group" else f"({sides})"
