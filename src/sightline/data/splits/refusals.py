"""What is said when the images cannot be divided as asked: why, and what is possible instead."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import polars as pl

from sightline.data.splits.placing import Pool, Quota
from sightline.errors import DataError
from sightline.records import Manifest


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
    possible: Callable[[int], bool],
) -> None:
    """Refuse a division that leaves a side short, saying the largest minimum that is possible.

    Args:
        manifest: For its root.
        pool: What was to be divided.
        quotas: What was asked for.
        short: (class, side) that are short.
        possible: Whether the same division can be made with this minimum, >= 1.
    """
    if not short:
        return
    label, side = short[0]
    name, number = pool.names[label], int(pool.units_of_class()[label])
    images, asked = int(pool.images_of_class()[label]), quotas[side].images
    names = " and ".join(quota.name for quota in quotas)
    holds = f"class {name!r} has {counted(number, 'group')} with {counted(images, 'image')}"
    largest = _largest(asked, possible)
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


def counted(number: int, noun: str) -> str:
    """Return "1 group" or "2 groups"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
