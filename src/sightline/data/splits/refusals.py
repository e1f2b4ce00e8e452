"""What is said when the images cannot be divided as asked: why, and what is possible instead."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import polars as pl

from sightline.data.splits.placing import Pool, Quota
from sightline.data.splits.units import DIVISIBLE
from sightline.errors import DataError
from sightline.records import Manifest

_DIVIDED = ("train", "validation", "test")


def refuse_nothing(manifest: Manifest, rows: pl.Series) -> None:
    """Refuse to divide no row at all."""
    if not rows.any():
        raise DataError(
            f"{manifest.root} has no usable record with a label, so there is nothing to split."
        )


def refuse_small_classes(manifest: Manifest, pool: Pool, quotas: Sequence[Quota]) -> None:
    """Refuse classes with fewer units than sides, all in one message."""
    number, images = pool.units_of_class(), pool.images_of_class()
    needed = len(quotas)
    if needed == 1 or number.min() >= needed:
        return
    listed = ", ".join(
        f"{name!r} has {counted(int(number[k]), 'group')} ({counted(int(images[k]), 'image')})"
        for k, name in enumerate(pool.names)
        if number[k] < needed
    )
    sides = [quota.name for quota in quotas[1:]]
    joint = " or of " if number.min() > 1 else " and of "
    raise DataError(
        f"each class must be in {quotas[0].name} and in {' and in '.join(sides)}, and a group is "
        f"never divided, so each needs {needed} groups; in {manifest.root} {listed}. Add images "
        "of other patients or scenes, leave these classes out, or set the share of "
        f"{joint.join(sides)} to 0."
    )


def refuse_short(
    manifest: Manifest,
    pool: Pool,
    quotas: Sequence[Quota],
    short: Sequence[tuple[int, int]],
    short_at: Callable[[int], Sequence[tuple[int, int]]],
) -> None:
    """Refuse a division that leaves a side short: the class that limits it, and what is possible.

    Args:
        manifest: For its root.
        pool: What was to be divided.
        quotas: What was asked for.
        short: (class, side) that are short.
        short_at: Returns those that are short of this minimum, >= 1, in the same division.
    """
    if not short:
        return
    asked = max(quota.images for quota in quotas[1:] or quotas)
    largest = _largest(asked, lambda least: not short_at(least))
    limiting = short if largest + 1 == asked else short_at(largest + 1)
    label, side = min(limiting, key=lambda pair: (int(pool.images_of_class()[pair[0]]), pair))
    name, number = pool.names[label], int(pool.units_of_class()[label])
    images = int(pool.images_of_class()[label])
    names = " and ".join(quota.name for quota in quotas)
    holds = f"class {name!r} has {counted(number, 'group')} with {counted(images, 'image')}"
    if asked > 1 and largest:
        raise DataError(
            f"{holds}, and a group is never divided, so {quotas[side].name} cannot have the "
            f"minimum of {asked} of them beside the other sides of {names} in {manifest.root}. "
            f"The largest minimum that is possible here is {largest}."
        )
    raise DataError(
        f"{holds} in {manifest.root}, but they also hold other classes, and no division was found "
        f"that has each class in {names}: {quotas[side].name} is without it. Try another seed, ask "
        "for fewer sides, or check the groups."
    )


def _largest(asked: int, possible: Callable[[int], bool]) -> int:
    """Return the largest minimum below `asked` that is possible, by halving; 0 for none."""
    low, high = 0, asked
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if possible(middle) else (low, middle)
    return low


def refuse_few_given(manifest: Manifest, minimum: int) -> None:
    """Refuse splits, given or made, in which a side has fewer images of a class than `minimum`.

    A minimum of 1 is no demand here: the given splits of many sets lack a class on a side.
    External records are never divided, and may be few.
    """
    if minimum <= 1:
        return
    inside = manifest.table.filter(DIVISIBLE & pl.col("split").is_in(_DIVIDED))
    counts = {(name, side): n for name, side, n in inside.group_by("label", "split").len().rows()}
    sides = [side for side in _DIVIDED if side in set(inside["split"])]
    few = [
        f"{name!r} has {counted(counts.get((name, side), 0), 'image')} in {side}"
        for name in sorted(set(inside["label"]))
        for side in sides
        if counts.get((name, side), 0) < minimum
    ]
    if few:
        raise DataError(
            f"the splits of {manifest.root} are to have {minimum} images of each class on every "
            f"side, but {', '.join(few)}. Ask for fewer (--min-per-class), or pool all images and "
            "divide them anew (--resplit all)."
        )


def counted(number: int, noun: str) -> str:
    """Return "1 group" or "2 groups"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
