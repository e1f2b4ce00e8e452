"""Which place each new image belongs to by its ties, and which would tie two places together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from sightline.data.splits.matching import Images
from sightline.data.splits.places import NOWHERE
from sightline.data.splits.units import TIES, Int64s, connected

_Tie = tuple[str, str]  # a column of TIES, and its cell
_Reached = dict[int, int]  # place -> an image that is there


@dataclass(frozen=True, slots=True, eq=False)
class Tied:
    """What ties make of images that have no place yet.

    Attributes:
        at: (N,) int64 place of each image, -1 for none.
        aside: New image that is set aside -> the places that it would tie together, and for each
            an image that is there.
        unit: (N,) int64 number of the unit of each image that has no place still.
    """

    at: Int64s
    aside: dict[int, _Reached]
    unit: Int64s


def tied(images: Images, at: Int64s, new: npt.NDArray[np.bool_]) -> Tied:
    """Return the places with those that new images get by their ties, and which are set aside.

    All images without a place tie: quarantined and unlabelled ones, ones that were left out, and
    ones that are gone. Most units reach one place at most, and are done all at once. The others
    are taken apart, image by image: one that joins two places is set aside, and what it would have
    tied together is still apart for the next. Those that are not new come first, so that a new
    image that would join what they tie is set aside and named.

    Args:
        images: All there are.
        at: (N,) int64 place of each, -1 for none.
        new: (N,) bool: it is to get a place.
    """
    place = pl.Series(at).gather(images.ties["image"])
    fixed = images.ties.with_columns(at=place).filter(place >= 0)
    loose = images.ties.filter(place < 0)
    firsts = connected(loose.select(*TIES, "image"))
    loose = loose.with_columns(unit=loose["image"].gather(firsts), new=new[loose["image"]])
    reached = (
        pl.concat(
            loose.select("unit", tie=name).drop_nulls().unique()
            .join(fixed.select("at", tie=name).drop_nulls(), on="tie").unique()
            for name in TIES
        )
        .group_by("unit")
        .agg(pl.col("at").min(), places=pl.col("at").n_unique())
    )  # fmt: skip
    one_place = loose.filter("new").join(reached.filter(pl.col("places") == 1), on="unit")
    at, unit = at.copy(), np.arange(len(images), dtype=np.int64)
    at[one_place["image"].to_numpy()] = one_place["at"].to_numpy()
    unit[loose["image"].to_numpy()] = loose["unit"].to_numpy()
    torn = loose.join(reached.filter(pl.col("places") > 1), on="unit", how="semi")
    aside: dict[int, _Reached] = {}
    forest = _Forest(torn, fixed)
    ends: dict[int, _Tie | None] = {}
    for image, found in _in_order(torn, images):
        ends[image], joined = forest.join(found)
        if ends[image] is None and new[image]:
            aside[image] = joined
    first_of: dict[_Tie, int] = {}
    for image, tie in ends.items():
        root = None if tie is None else forest.root(tie)
        unit[image] = image if root is None else first_of.setdefault(root, image)
        if root is not None and new[image]:
            at[image] = next(iter(forest.reached[root]), NOWHERE)
    return Tied(at, aside, unit)


def _in_order(torn: pl.DataFrame, images: Images) -> Iterator[tuple[int, set[_Tie]]]:
    """Yield each image and its ties: what is not new first, then in the order of contents."""
    ordered = torn.with_columns(name=images.content.gather(torn["image"])).sort(
        "new", "name", "content", "copy_group", "near_group", "image"
    )
    found: dict[int, set[_Tie]] = {}
    for image, *cells in ordered.select("image", *TIES).iter_rows():
        own = {(name, tie) for name, tie in zip(TIES, cells, strict=True) if tie is not None}
        found.setdefault(image, set()).update(own)
    yield from found.items()


class _Forest:
    """Trees of ties; each reaches the one place that its images may be in, if any."""

    def __init__(self, torn: pl.DataFrame, fixed: pl.DataFrame) -> None:
        """Begin with every tie of `torn` alone, and with the places that `fixed` gives them."""
        self.reached: dict[_Tie, _Reached] = {}
        self._parents: dict[_Tie, _Tie] = {}
        for name in TIES:
            wanted = torn.select(name).drop_nulls().unique()
            found = fixed.select(name, "at", "image").join(wanted, on=name).sort("at", "image")
            for tie, place, image in found.iter_rows():
                self.reached.setdefault((name, tie), {}).setdefault(place, image)

    def root(self, tie: _Tie) -> _Tie:
        """Return the tie that stands for the tree of this one."""
        parents = self._parents
        if tie not in parents:
            parents[tie] = tie
            self.reached.setdefault(tie, {})
        while parents[tie] != tie:
            parents[tie] = parents[parents[tie]]
            tie = parents[tie]
        return tie

    def join(self, ties: set[_Tie]) -> tuple[_Tie | None, _Reached]:
        """Join the trees of these ties, unless they reach two places; return root and places."""
        roots = sorted({self.root(tie) for tie in ties})
        together: _Reached = {}
        for root in roots:
            together = {**self.reached[root], **together}
        if len(together) > 1:
            return None, together
        for root in roots:
            self._parents[root] = roots[0]
        self.reached[roots[0]] = together
        return roots[0], together
