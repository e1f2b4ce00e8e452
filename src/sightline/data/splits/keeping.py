"""A split that grows: what was assigned stays, and new images are placed around it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl

from sightline.data.splits.folding import deal
from sightline.data.splits.matching import MISSING_ROW, matched
from sightline.data.splits.placing import Division, Pool, Quota, divide
from sightline.data.splits.refusals import counted
from sightline.data.splits.shares import SplitShares
from sightline.data.splits.units import CONTENT, DIVISIBLE, Int64s, Units, connected
from sightline.errors import DataError
from sightline.records import Finding, Manifest

BRIDGING, MISSING = "bridging-images", "missing-images"
_TIES = ("content", "copy_group", "near_group")
_NOWHERE = -1


def keep(
    manifest: Manifest, previous: Manifest, shares: SplitShares, *, seed: int
) -> tuple[Manifest, list[Finding]]:
    """Return the manifest with the splits and folds of `previous`, new images placed around them.

    No image that was assigned moves, and one that was left without a split stays so. An image is
    the same where its content is (sha256), whatever its name; where one of the two manifests does
    not know contents, where its record id and size are.

    A new image goes where its group, copies and near copies are. One that would tie two sides (or
    two folds) together is set aside, without a split. All other new units are placed so that the
    shares are met as nearly as the assigned ones allow, stratified, between the sides that
    `previous` has; with folds, those that are not test go to the fold with the fewest images. A
    class need not reach every side.

    Deterministic: depends on contents, groups, seed and `previous` alone.

    Findings: "bridging-images" (warning), with every image set aside and what it ties together;
    "missing-images" (info), with the records of `previous` that are gone.

    Raises:
        DataError: `previous` has neither splits nor folds, or splits without train.
    """
    places = _Places.of(previous)
    if places.has_splits and "train" not in places.splits:
        raise DataError(
            f"the previous manifest, of {previous.root}, has splits but none of them is train. "
            "Give the manifest that was trained with."
        )
    rows = matched(manifest, previous)
    found = rows != MISSING_ROW
    at = np.where(found, places.of_row[rows], _NOWHERE)
    was_free = np.zeros(len(manifest), bool)
    was_free[found] = places.left_out[rows[found]]
    divisible = manifest.table.select(DIVISIBLE).to_series().to_numpy()
    new = divisible & (at == _NOWHERE) & ~was_free
    at, bridging = _tied(manifest, at, new)
    at = _placed(manifest, at, new & (at == _NOWHERE) & ~bridging, places, shares, seed)
    kept = places.written(manifest, at)
    gone = previous.table["record_id"].gather(
        np.setdiff1d(np.flatnonzero(places.of_row != _NOWHERE), rows[found])
    )
    return kept, [*_bridging(kept, bridging), *_missing(gone)]


@dataclass(frozen=True, slots=True, eq=False)
class _Places:
    """Where the records of the previous manifest are: a place is a split and a fold.

    Attributes:
        splits: (P,) split of each place, or None.
        folds: (P,) fold of each place, or None.
        of_row: (m,) int64 place of each previous row, -1 for none.
        left_out: (m,) bool: usable and labelled, and yet nowhere.
        has_splits: Some record had a split.
    """

    splits: tuple[str | None, ...]
    folds: tuple[int | None, ...]
    of_row: Int64s
    left_out: npt.NDArray[np.bool_]
    has_splits: bool

    @classmethod
    def of(cls, previous: Manifest) -> _Places:
        pairs = previous.table.select("split", "fold")
        known = pairs.filter(pl.any_horizontal(pl.all().is_not_null())).unique()
        ordered = known.sort("split", "fold", nulls_last=True)
        if not len(ordered):
            raise DataError(
                f"the previous manifest, of {previous.root}, has neither splits nor folds, so "
                "there is nothing to keep. Split without it."
            )
        with_place = pairs.join(
            ordered.with_row_index("place"), on=["split", "fold"], how="left",
            nulls_equal=True, maintain_order="left",
        )  # fmt: skip
        of_row = with_place["place"].cast(pl.Int64).fill_null(_NOWHERE).to_numpy()
        usable = previous.table.select(DIVISIBLE).to_series().to_numpy()
        splits, folds = ordered["split"].to_list(), ordered["fold"].to_list()
        has_splits = ordered["split"].null_count() < len(ordered)
        return cls(tuple(splits), tuple(folds), of_row, usable & (of_row == _NOWHERE), has_splits)

    def of_split(self, split: str) -> int | None:
        """Return the place of a split without a fold, else its first; None if there is none."""
        found = [n for n, name in enumerate(self.splits) if name == split]
        without = [n for n in found if self.folds[n] is None]
        return next(iter(without or found), None)

    def in_folds(self) -> list[int]:
        """Return the places that are folds of train and validation."""
        outside = ("test", "external")
        return [
            n
            for n, fold in enumerate(self.folds)
            if fold is not None and self.splits[n] not in outside
        ]

    def written(self, manifest: Manifest, at: Int64s) -> Manifest:
        """Return the manifest with these places as its splits and folds."""
        places = pl.Series(np.where(at < 0, len(self.splits), at))
        splits = pl.Series([*self.splits, None], dtype=pl.String).gather(places)
        folds = pl.Series([*self.folds, None], dtype=pl.Int32).gather(places)
        return replace(manifest, table=manifest.table.with_columns(split=splits, fold=folds))


def _tied(
    manifest: Manifest, at: Int64s, new: npt.NDArray[np.bool_]
) -> tuple[Int64s, npt.NDArray[np.bool_]]:
    """Return the places with those that new images get by their ties, and which are set aside.

    Most new images are tied to one place at most, and are done all at once. The others come one
    after another, in the order of their contents: one that joins two places is set aside, and
    what it would have tied together is still apart for the next.
    """
    table = manifest.table.select("copy_group", "near_group", content=CONTENT).with_columns(
        pl.when(pl.Series(new | (at != _NOWHERE))).then(pl.col(name)).alias(name) for name in _TIES
    )
    frame = table.with_columns(at=pl.Series(at), row=pl.int_range(pl.len(), dtype=pl.Int64))
    fixed, fresh = frame.filter(pl.col("at") >= 0), frame.filter(pl.Series(new))
    fresh = fresh.with_columns(unit=pl.Series(connected(fresh.select(_TIES)), dtype=pl.Int64))
    ties = pl.concat(
        fresh.select("unit", tie=name).drop_nulls().unique()
        .join(fixed.select("at", tie=name).drop_nulls().unique(), on="tie")
        for name in _TIES
    )  # fmt: skip
    reached = ties.group_by("unit").agg(pl.col("at").min(), places=pl.col("at").n_unique())
    joined = fresh.select("row", "unit").join(reached, on="unit")
    simple = joined.filter(pl.col("places") == 1)
    at = at.copy()
    at[simple["row"].to_numpy()] = simple["at"].to_numpy()
    bridging = np.zeros(len(manifest), bool)
    torn = joined.filter(pl.col("places") > 1).select("row").join(fresh, on="row")
    ids = {name: _places_of_ties(fixed, torn, name) for name in _TIES}
    ordered = torn.sort("content", "copy_group", "near_group", "row").select("row", *_TIES)
    for row, place in _one_by_one(ordered, ids).items():
        at[row] = _NOWHERE if place is None else place
        bridging[row] = place is None
    return at, bridging


def _places_of_ties(fixed: pl.DataFrame, torn: pl.DataFrame, name: str) -> dict[str, set[int]]:
    """Return which places the assigned images of each tie are in."""
    wanted = torn.select(name).drop_nulls().unique()
    found = fixed.select(name, "at").join(wanted, on=name).unique()
    places: dict[str, set[int]] = {}
    for tie, place in found.iter_rows():
        places.setdefault(tie, set()).add(place)
    return places


def _one_by_one(
    images: pl.DataFrame, places: dict[str, dict[str, set[int]]]
) -> dict[int, int | None]:
    """Return the place of each row, -1 for any, None for those that are to be set aside.

    A forest over the ties: each tree has the one place that its images may be in, if any.
    """
    roots: dict[tuple[str, str], tuple[str, str]] = {}
    reached: dict[tuple[str, str], set[int]] = {}

    def root(tie: tuple[str, str]) -> tuple[str, str]:
        if tie not in roots:
            roots[tie], reached[tie] = tie, places[tie[0]].get(tie[1], set())
        while roots[tie] != tie:
            roots[tie] = roots[roots[tie]]
            tie = roots[tie]
        return tie

    joined: dict[int, tuple[str, str] | None] = {}
    for row, *ids in images.iter_rows():
        found = {root((name, tie)) for name, tie in zip(_TIES, ids, strict=True) if tie is not None}
        together = set().union(*(reached[tie] for tie in found))
        if len(together) > 1:
            joined[row] = None
            continue
        head = min(found)
        for tie in found:
            roots[tie] = head
        reached[head] = together
        joined[row] = head
    return {
        row: None if tie is None else next(iter(reached[root(tie)]), _NOWHERE)
        for row, tie in joined.items()
    }


def _placed(
    manifest: Manifest,
    at: Int64s,
    free: npt.NDArray[np.bool_],
    places: _Places,
    shares: SplitShares,
    seed: int,
) -> Int64s:
    """Return the places with those of the new units that nothing ties to any."""
    if not free.any():
        return at
    rows = pl.Series(free)
    pool = Pool.of(manifest, Units.of(manifest, rows), rows, seed=seed)
    held = _held(manifest, at, pool.names, len(places.splits))
    folds = places.in_folds()
    asked = [("test", shares.test)] + ([] if folds else [("validation", shares.validation)])
    targets = [(places.of_split(name), name, share) for name, share in asked if share > 0]
    known = [(place, Quota(name, share)) for place, name, share in targets if place is not None]
    train = places.of_split("train")
    rest = folds or ([] if train is None else [train])
    assert rest, "a previous manifest without train and folds was refused"
    quotas = [Quota("train", 0.0), *(quota for _, quota in known)]
    before = np.stack([held[rest].sum(axis=0), *(held[place] for place, _ in known)])
    division = divide(pool, quotas, held=before)
    division.repair(quotas)
    of_unit = np.asarray([rest[0], *(place for place, _ in known)])[division.sides]
    if folds:
        of_unit = _dealt(pool, of_unit, division.sides == 0, folds, held)
    new = at.copy()
    new[free] = of_unit[pool.of_row[free]]
    return new


def _dealt(
    pool: Pool, of_unit: Int64s, dealt: npt.NDArray[np.bool_], folds: list[int], held: Int64s
) -> Int64s:
    """Return the places of units with those that are dealt to folds: to the emptiest each."""
    division = Division(pool, len(folds), held[folds])
    whole = pool.size_of_unit()
    for label, units, sizes in pool.strata():
        mine = np.flatnonzero(dealt[units])
        mine = mine[np.argsort(-sizes[mine], kind="stable")]
        totals = division.images.sum(axis=1)
        turns = deal(sizes[mine], whole[units[mine]], division.images[:, label], totals)
        division.place(units[mine], np.fromiter(turns, np.int64, len(mine)))
    return np.where(dealt, np.asarray(folds)[division.sides], of_unit)


def _held(manifest: Manifest, at: Int64s, names: tuple[str, ...], num_places: int) -> Int64s:
    """Return (P, K) int64: the usable images of each class that are in each place."""
    counts = (
        manifest.table.with_columns(at=pl.Series(at))
        .filter(DIVISIBLE & (pl.col("at") >= 0) & pl.col("label").is_in(names))
        .group_by("at", "label")
        .len()
    )
    held = np.zeros((num_places, len(names)), np.int64)
    for place, label, count in counts.iter_rows():
        held[place, names.index(label)] = count
    return held


def _bridging(kept: Manifest, bridging: npt.NDArray[np.bool_]) -> list[Finding]:
    """Report the images that were set aside, each with the assigned ones that it is tied to."""
    if not bridging.any():
        return []
    table = kept.table.select("record_id", "split", "fold", *_TIES[1:], content=CONTENT)
    aside = table.filter(pl.Series(bridging))
    side = pl.coalesce(
        pl.when(pl.col("fold").is_not_null()).then(pl.format("fold {}", "fold")), "split"
    )
    placed = table.filter(pl.any_horizontal(pl.col("split", "fold").is_not_null()))
    tied = pl.concat(
        aside.select(image="record_id", tie=name).drop_nulls().join(
            placed.select("record_id", side=side, tie=name).drop_nulls(), on="tie"
        )
        for name in _TIES
    )  # fmt: skip
    tied = tied.unique(["image", "record_id"]).sort("image", "side", "record_id")
    evidence: dict[str, dict[str, list[str]]] = {image: {} for image in aside["record_id"]}
    for image, record_id, name in tied.select("image", "record_id", "side").iter_rows():
        evidence[image].setdefault(name, []).append(record_id)
    first, sides = next(iter(evidence.items()))
    example = ", ".join(f"{ids[0]} in {name}" for name, ids in sides.items())
    one = len(evidence) == 1
    return [
        Finding(
            BRIDGING,
            "warning",
            f"{counted(len(evidence), 'new image')} would tie two sides of the split together, so "
            f"{'it is' if one else 'they are'} set aside: {'' if one else 'such as '}{first}, "
            f"which belongs together with {example}.",
            {"images": evidence},
            f"{'It is' if one else 'They are'} not used. To use {'it' if one else 'them'}, split "
            "anew without the previous split, or correct the groups.",
        )
    ]


def _missing(gone: pl.Series) -> list[Finding]:
    if not len(gone):
        return []
    return [
        Finding(
            MISSING,
            "info",
            f"{counted(len(gone), 'image')} of the previous split "
            f"{'is' if len(gone) == 1 else 'are'} gone or changed, such as {gone[0]}.",
            {"record_ids": gone.to_list()},
            "Figures of earlier runs were measured with them.",
        )
    ]
