"""A split that grows: what was assigned stays, and new images are placed around it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from sightline.data.splits import telling
from sightline.data.splits.folding import deal
from sightline.data.splits.matching import Images
from sightline.data.splits.places import NOWHERE, Places
from sightline.data.splits.placing import Division, Pool, Quota, divide
from sightline.data.splits.refusals import counted
from sightline.data.splits.shares import SplitShares
from sightline.data.splits.tying import tied
from sightline.data.splits.units import DIVISIBLE, Int64s, Units
from sightline.errors import DataError
from sightline.records import Finding, Manifest


def keep(
    manifest: Manifest, previous: Sequence[Manifest], shares: SplitShares, *, seed: int
) -> tuple[Manifest, list[Finding]]:
    """Return the manifest with the splits and folds of `previous`, new images placed around them.

    No image that was assigned moves, and one that was left without a split stays so. An image is
    the same where its content is (sha256), whatever its name; where one of the two manifests does
    not know contents, where its record id and size are; and a quarantined one where its record id
    is. Records without a group take the one that they had.

    A new image goes where its group, copies and near copies are: those of the manifest, and those
    of `previous`, whether they are still there or not, usable or not. One that would tie two sides
    (or two folds) together is set aside, without a split. All other new units are placed so that
    the shares are met as nearly as the assigned ones allow, stratified, between the sides that
    `previous` has; with folds, those that are not test go to the fold with the fewest images. A
    class need not reach every side.

    Deterministic: depends on contents, groups, seed and `previous` alone.

    Args:
        manifest: Its own splits and folds are replaced.
        previous: Earlier manifests, at least one, the newest first: what one lacks is looked up
            in the next.
        shares: What the sides are to hold in the end.
        seed: Of the new units' order.

    Findings: "bridging-images" (warning), with every image set aside and what it ties together;
    "missing-images" (info; warning beyond 1 %), with the assigned records that are gone;
    "groups-unknown" (warning), with the new images, where only earlier ones have groups;
    "kept-without-validation" and "kept-without-test" (info), where that side is asked for and
    `previous` has none.

    Raises:
        DataError: One of `previous` has neither splits nor folds, or splits without train; some
            have folds and others none; or no image of the manifest is in any of them.
    """
    assert previous, "at least one earlier manifest"
    images = Images.of(manifest, previous)
    places = Places.of(images, previous)
    _refuse_strangers(images, previous)
    manifest, count = images.manifest, len(manifest)
    at = places.of_image
    new = np.zeros(len(images), bool)
    new[:count] = manifest.table.select(DIVISIBLE).to_series().to_numpy()
    new &= (at == NOWHERE) & ~places.left_out
    found = tied(images, at, new)
    free = new & (found.at == NOWHERE)
    free[list(found.aside)] = False
    units = Units.named(found.unit, images.content)
    at = _placed(manifest, found.at[:count], free[:count], units, places, shares, seed)
    return places.written(manifest, at), [
        *telling.bridging(images, places, np.concatenate([at, found.at[count:]]), found.aside),
        *telling.missing(images, places),
        *telling.groups_unknown(images, previous),
        *telling.sides_not_made(places, shares),
    ]


def _refuse_strangers(images: Images, previous: Sequence[Manifest]) -> None:
    """Refuse earlier manifests that have not one image of this one."""
    if images.known.any():
        return
    manifest = images.manifest
    others = " and ".join(
        f"{counted(len(earlier), 'image')} of {earlier.root}" for earlier in previous
    )
    raise DataError(
        f"none of the {counted(len(manifest), 'image')} of {manifest.root} is among the {others} "
        "whose split is to be kept. Give the manifest of an earlier split of these images; if it "
        "is that, all files were written anew since: split without it."
    )


def _placed(
    manifest: Manifest,
    at: Int64s,
    free: npt.NDArray[np.bool_],
    units: Units,
    places: Places,
    shares: SplitShares,
    seed: int,
) -> Int64s:
    """Return the places with those of the new units that nothing ties to any."""
    if not free.any():
        return at
    pool = Pool.of(manifest, units, pl.Series(free), seed=seed)
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
