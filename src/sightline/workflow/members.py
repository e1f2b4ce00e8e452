"""The runs that an ensemble is made of, and the images that none of them learned from."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from sightline import runs
from sightline.errors import DataError, RunError
from sightline.records import Manifest
from sightline.runs import Run
from sightline.workflow import gate

_FOLDS = "cv.json"  # of a folder of cross-validation, with a run for each fold below


def members_of(given: Sequence[Run | str | Path]) -> list[Run]:
    """Return the runs to be put together; a folder of cross-validation is all of its folds' runs.

    Raises:
        DataError: There are fewer than two, one is there twice, is an ensemble, or their classes
            differ.
        RunError: One has no model, did not finish, or is damaged.
    """
    opened = [runs.open_run(each) for each in _expanded(given)]
    if len(opened) < 2:
        raise DataError(
            f"an ensemble is made of two runs or more, got {len(opened)}. Name another one, or a "
            "folder of cross-validation."
        )
    places = [run.path.resolve() for run in opened]
    for run, place in zip(opened, places, strict=True):
        if places.count(place) > 1:
            raise DataError(f"{run.path} was named twice. Name different runs.")
        if run.recipe.ensemble is not None:
            names = ", ".join(each.run for each in run.recipe.ensemble.members)
            raise DataError(f"{run.path} is an ensemble itself: name its members ({names}) instead")
        if run.state not in ("finished", runs.IMPORTED):
            raise RunError(
                f"{run.path} is {run.state}, and an ensemble is made of finished runs. Go on with "
                f"it: sightline train --resume {run.path}"
            )
    first, *others = opened
    for other in others:
        if other.model["class_names"] != first.model["class_names"]:
            raise DataError(
                f"{first.path} has the classes {first.model['class_names']} and {other.path} "
                f"{other.model['class_names']}; only runs of the same classes, in the same order, "
                "can be put together."
            )
    _refuse_copies(opened)
    return opened


def _refuse_copies(opened: Sequence[Run]) -> None:
    """Refuse a network that is there twice: it would only count more."""
    seen = dict[str, Run]()
    for run in opened:
        first = seen.setdefault(run.model["fingerprint"], run)
        if first is not run:
            raise DataError(f"{first.path} and {run.path} are the same network. Leave one out.")


def unknown_of(opened: Sequence[Run]) -> Iterator[str]:
    """Yield a sentence for each member of which nobody here knows what it learned from."""
    for run in opened:
        if run.state == runs.IMPORTED:
            yield (
                f"{run.name} was trained elsewhere: whether it has seen the images of the others, "
                "or those that judged, only its maker knows."
            )


def _expanded(given: Sequence[Run | str | Path]) -> list[Run | str | Path]:
    found: list[Run | str | Path] = []
    for each in given:
        if isinstance(each, Run) or not (Path(each) / _FOLDS).is_file():
            found.append(each)
            continue
        folds = sorted(path.parent for path in Path(each).glob("folds/*/run.json"))
        if not folds:
            raise RunError(f"{each} has no run of a fold yet: let the cross-validation finish.")
        found += folds
    return found


def images_of(opened: Sequence[Run], data: Manifest | None) -> Manifest:
    """Return all images of the members, by what they were to all of them together.

    `validation` are those that every member validated and none learned from; with `data`, its
    images in their place, without those that any member has in whatever split. `test` are those
    that no member learned from or was chosen by. All others are `train`.

    Args:
        opened: The members.
        data: A labelled set.

    Raises:
        DataError: Labels of `data` are none of the classes, or nothing of it is left.
    """
    own = [run.manifest for run in opened if run.state != runs.IMPORTED]
    fresh = None if data is None else _fresh(opened, own, data)
    roots = [str(each.root) for each in (*own, *([fresh] if fresh else []))]
    if not roots:
        return opened[0].manifest
    root = os.path.commonpath(roots)
    parts = [_below(root, each).with_columns(member=pl.lit(n)) for n, each in enumerate(own)]
    table = _divided(pl.concat(parts), len(opened), keep=fresh is None) if parts else None
    if fresh is not None:
        more = _below(root, fresh).with_columns(split=pl.lit("validation"))
        table = more if table is None else pl.concat([table, more])
    assert table is not None
    return Manifest.make(Path(root), table)


def _below(root: str, manifest: Manifest) -> pl.DataFrame:
    """Return the usable rows of a manifest with paths relative to a folder above."""
    prefix = os.path.relpath(manifest.root, root)
    usable = manifest.table.filter(pl.col("status").ne_missing("quarantined"))
    if prefix == ".":
        return usable
    named = pl.lit(f"{prefix}/") + pl.col("record_id")
    apart = [
        (pl.lit(f"{prefix}:") + pl.col(name)).alias(name) for name in ("copy_group", "near_group")
    ]
    return usable.with_columns(named.alias("record_id"), *apart)


def _divided(table: pl.DataFrame, members: int, *, keep: bool) -> pl.DataFrame:
    """Return one row an image, in the split that it is to all members together."""
    columns = [name for name in table.columns if name not in ("record_id", "split", "member")]
    rows = table.group_by("record_id", maintain_order=True).agg(
        *[pl.col(name).first() for name in columns],
        splits=pl.col("split").drop_nulls().unique(),
        times=pl.col("split").is_not_null().sum(),
    )
    one, only = pl.col("splits").list.len() == 1, pl.col("splits").list.first()
    everywhere = one & (only == "validation") & (pl.col("times") == members) & keep
    untouched = one & only.is_in(["test", "external"])
    split = (
        pl.when(pl.col("times") == 0).then(None)
        .when(everywhere | untouched).then(only)
        .otherwise(pl.lit("train"))
    )  # fmt: skip
    rows = rows.with_columns(split=split)
    learned = rows.filter(pl.col("split") == "train")["sha256"].drop_nulls().implode()
    copied = pl.col("split").is_not_null() & pl.col("sha256").is_in(learned)
    rows = rows.with_columns(split=pl.when(copied).then(pl.lit("train")).otherwise(pl.col("split")))
    return rows.select([name for name in table.columns if name != "member"])


def _fresh(opened: Sequence[Run], own: Sequence[Manifest], data: Manifest) -> Manifest:
    """Return the images of a set that no member has, nor images of a group it learned from."""
    names = opened[0].model["class_names"]
    if foreign := sorted(set(data.class_names) - set(names)):
        raise DataError(
            f"{data.root} has labels {foreign} that the runs do not know; their classes are "
            f"{names}. Rename the folders or labels, or leave these images out."
        )
    known = set[str]()
    for each in own:
        known |= gate.same_images(each.table, each, data) | gate.group_mates(each, data)
    left = pl.col("record_id").is_in(list(known)).not_() & pl.col("label").is_not_null()
    table = data.table.filter(left).with_columns(
        copy_group=pl.lit(None, pl.String), near_group=pl.lit(None, pl.String)
    )
    if not len(table):
        raise DataError(
            f"each of the {len(data):,} images of {data.root} is one that a run learned from or "
            "keeps for its test, or has no label. Give others (--data)."
        )
    return Manifest.make(data.root, table)
