"""What is said of a split that was kept: what was set aside, what is gone, what is not known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from sightline.data.splits.matching import Images
from sightline.data.splits.places import Places
from sightline.data.splits.refusals import counted
from sightline.data.splits.shares import SplitShares
from sightline.data.splits.units import DIVISIBLE, TIES, Int64s
from sightline.records import Finding, Manifest

BRIDGING, MISSING, GROUPS = "bridging-images", "missing-images", "groups-unknown"
NOT_MADE = "kept-without-"  # and the side
_MANY_GONE = 0.01  # of what was assigned


def bridging(
    images: Images, places: Places, at: Int64s, aside: Mapping[int, Mapping[int, int]]
) -> list[Finding]:
    """Report the images that were set aside, each with those in a place that it is tied to.

    Args:
        images: All there are.
        places: Their names.
        at: (N,) int64 place of every image in the end.
        aside: Image -> place -> an image there that it is tied to, perhaps through others.
    """
    if not aside:
        return []
    frame = images.ties.with_columns(at=pl.Series(at).gather(images.ties["image"]))
    mine = frame.filter(pl.col("image").is_in(list(aside)))
    tied = pl.concat(
        mine.select(new="image", tie=name).drop_nulls().join(
            frame.filter(pl.col("at") >= 0).select("image", "at", tie=name).drop_nulls(), on="tie"
        )
        for name in TIES
    )  # fmt: skip
    direct: dict[int, dict[int, set[int]]] = {image: {} for image in sorted(aside)}
    for new, image, place in tied.select("new", "image", "at").iter_rows():
        direct[new].setdefault(place, set()).add(image)
    evidence: dict[str, dict[str, list[str]]] = {}
    for new, of_place in direct.items():
        through = {place: {image} for place, image in aside[new].items()}
        named = evidence[images.record_ids[new]] = {}
        for place, tied_images in sorted(
            {**through, **of_place}.items(), key=lambda item: places.name(item[0])
        ):
            ids = {images.record_ids[image] for image in tied_images}
            named[places.name(place)] = sorted({*named.get(places.name(place), []), *ids})
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


def missing(images: Images, places: Places) -> list[Finding]:
    """Report the images that had a place and are no longer in the manifest."""
    placed = np.flatnonzero(places.of_image >= 0)
    gone = images.record_ids.gather(placed[placed >= len(images.manifest)]).sort()
    if not len(gone):
        return []
    return [
        Finding(
            MISSING,
            "warning" if len(gone) > _MANY_GONE * len(placed) else "info",
            f"{counted(len(gone), 'image')} of the previous split "
            f"{'is' if len(gone) == 1 else 'are'} gone or changed, such as {gone[0]}.",
            {"record_ids": gone.to_list()},
            "Figures of earlier runs were measured with them. Should they come back, give this "
            "earlier manifest too, after the new one: --keep NEW --keep OLD.",
        )
    ]


def groups_unknown(images: Images, previous: Sequence[Manifest]) -> list[Finding]:
    """Report the new images, where earlier manifests have groups and not one of these does."""
    if all(earlier.table["group"].null_count() == len(earlier) for earlier in previous):
        return []
    unknown = pl.Series(~np.isin(np.arange(len(images.manifest)), np.concatenate(images.of_row)))
    new = images.manifest.table.filter(
        unknown & images.manifest.table.select(DIVISIBLE).to_series()
    )
    if not len(new) or new["group"].null_count() < len(new):
        return []
    return [
        Finding(
            GROUPS,
            "warning",
            f"The earlier manifest has groups, and {counted(len(new), 'new image')} "
            f"{'has' if len(new) == 1 else 'have'} none, such as {new['record_id'][0]}.",
            {"record_ids": new["record_id"].to_list()},
            "Give the same --group-regex or --group-col as then: otherwise new images of one "
            "patient or scene may be on another side than the earlier ones.",
        )
    ]


def sides_not_made(places: Places, shares: SplitShares) -> list[Finding]:
    """Report each side that is asked for and is not made, as no earlier manifest has it."""
    asked = {"test": shares.test}
    if not places.in_folds():  # else fold 0 is validation
        asked = {"validation": shares.validation, **asked}
    return [
        Finding(
            f"{NOT_MADE}{side}",
            "info",
            f"The previous split has no {side} side, so none is made, although a share of "
            f"{share:g} is asked for: all images without ties go to the sides that there are.",
            {"share": share},
            f"Set the share of {side} to 0 to say so, or split without the previous split.",
        )
        for side, share in asked.items()
        if share > 0 and places.of_split(side) is None
    ]
