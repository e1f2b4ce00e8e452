"""The runs that an ensemble is made of, and the images that none of them learned from."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from sightline import runs
from sightline.data.splits.units import connected, ties
from sightline.errors import DataError, RunError
from sightline.records import Manifest
from sightline.records.manifest import MANIFEST_SCHEMA, QUARANTINED
from sightline.runs import Run
from sightline.workflow import gate
from sightline.workflow.dealing import Asked, Dealt

_FOLDS = "cv.json"  # of a folder of cross-validation, with a run for each fold below
_WHERE = ("bytes", "mtime_ns", "begin")  # where an image's content lies: of one file, not of two


@dataclass(frozen=True, slots=True)
class Images:
    """The images of several runs, by what they were to all of them together.

    Attributes:
        whole: All. `train` are those that any run learned from, and what belongs with them (its
            group, copies, near copies, chains of those); `validation` are other images that any
            run was chosen by, or that were given to judge, and what belongs with those; `test`
            are the rest of those that have a split.
        judges: Those of its validation images that fit and judge: all runs validated them, or
            they were given.
        told: What is not among them and why, a sentence each.
    """

    whole: Manifest
    judges: Manifest
    told: tuple[str, ...] = ()


def members_of(given: Sequence[Run | str | Path], least: int = 2) -> list[Run]:
    """Return the runs to be put together; a folder of cross-validation is all of its folds' runs.

    Args:
        given: Runs and folders.
        least: How many runs are needed.

    Raises:
        DataError: There are fewer, one is there twice, is an ensemble, or their classes differ.
        RunError: One has no model, did not finish, or is damaged; or folds are missing.
    """
    opened = [runs.open_run(each) for each in _expanded(given)]
    if len(opened) < least:
        raise DataError(
            f"an ensemble is made of two runs or more, got {len(opened)}. Name another one, or a "
            "folder of cross-validation; one run alone can be averaged over flips (--tta)."
        )
    places = [run.path.resolve() for run in opened]
    for run, place in zip(opened, places, strict=True):
        if places.count(place) > 1:
            raise DataError(f"{run.path} was named twice. Name different runs.")
        if run.recipe.ensemble is not None:
            names = ", ".join(each.run for each in run.recipe.ensemble.members)
            raise DataError(f"{run.path} is an ensemble itself: name its members ({names}) instead")
        if run.state not in ("finished", runs.IMPORTED):
            more = f"train --resume {run.path}"
            if runs.FOLD in run.info:
                more = f"cv --resume {run.path.parent.parent}"
            raise RunError(
                f"{run.path} is {run.state}, and an ensemble is made of finished runs. Go on with "
                f"it: sightline {more}"
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


def _expanded(given: Sequence[Run | str | Path]) -> Iterator[Run | str | Path]:
    for each in given:
        if isinstance(each, Run) or not (Path(each) / _FOLDS).is_file():
            yield each
        else:
            yield from _folds_of(Path(each))


def _folds_of(path: Path) -> list[Path]:
    """Return the runs of all folds of a cross-validation.

    Raises:
        RunError: Some are missing, or did not finish.
    """
    about = runs.read_json(path / _FOLDS)
    asked = Asked(**{field.name: about[field.name] for field in dataclasses.fields(Asked)})
    names = Dealt(Manifest.load(path / "manifest.parquet"), asked, seed=0).names()
    folds = [path / "folds" / name for name in names]
    missing = [each.name for each in folds if not _is_finished(each)]
    if missing:
        raise RunError(
            f"{path} has no finished run of {len(missing)} of its {len(folds)} folds "
            f"({', '.join(missing)}). Let it finish: sightline cv --resume {path}; or name the "
            "runs that there are, each by itself."
        )
    return folds


def _is_finished(run: Path) -> bool:
    return (run / "run.json").is_file() and runs.open_run(run).state == "finished"


def images_of(opened: Sequence[Run], data: Manifest | None) -> Images:
    """Return all images of the members, and which of them can judge.

    An image that lies in several places is one, where its content is known.

    Args:
        opened: The members.
        data: A labelled set; its images judge in place of the members' own, without those that
            any member has in whatever split.

    Raises:
        DataError: Labels of `data` are none of the classes, or nothing of it is left.
    """
    own = [run.manifest for run in opened if run.state != runs.IMPORTED]
    own.sort(key=lambda each: not each.root.exists())  # where an image lies in two places
    fresh = None if data is None else _fresh(opened, own, data)
    parts = [*own] if fresh is None else [*own, _validating(fresh)]
    if not parts:
        return Images(opened[0].manifest, opened[0].manifest)
    root = os.path.commonpath([each.root.resolve() for each in parts])
    rows = _in_units(pl.concat(_below(root, each, place) for place, each in enumerate(parts)))
    members = {len(own)} if fresh is not None else set(range(len(opened)))
    table = _divided(_named_alike(rows), members)
    whole = Manifest.make(Path(root), table)
    judges = table.filter(pl.col("judges") & (pl.col("split") == "validation"))
    return Images(whole, Manifest.make(Path(root), judges), tuple(_told(table)))


def _told(table: pl.DataFrame) -> Iterator[str]:
    spoilt = int((table["judges"] & (table["split"] == "train")).sum())
    if spoilt:
        yield (
            f"{spoilt:,} images that every run validated belong with images that one learned from "
            "(the same group, or copies): they judge nothing, and count as learned from."
        )
    unlike = int(table["unlike"].sum())
    if unlike:
        yield f"{unlike:,} images have not the same label in all runs: they judge nothing."


def _validating(manifest: Manifest) -> Manifest:
    return manifest.with_splits(pl.Series(["validation"] * len(manifest), dtype=pl.String))


def _below(root: str, manifest: Manifest, place: int) -> pl.DataFrame:
    """Return the rows of a manifest with paths relative to a folder above, and its number."""
    prefix = os.path.relpath(manifest.root.resolve(), root)
    rows = manifest.table.with_columns(member=pl.lit(place), home=pl.lit(prefix))
    if prefix == ".":
        return rows
    named = pl.lit(f"{prefix}/") + pl.col("record_id")
    apart = [
        (pl.lit(f"{prefix}:") + pl.col(name)).alias(name) for name in ("copy_group", "near_group")
    ]
    return rows.with_columns(named.alias("record_id"), *apart)


def _in_units(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the usable rows, with the number of all that belongs together in any member's eyes.

    What cannot be used still ties, as everywhere.
    """
    unit = pl.Series("unit", connected(rows.select("record_id", *ties())))
    return rows.with_columns(unit).filter(pl.col("status").ne_missing(QUARANTINED))


def _named_alike(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows in which an image of equal content has one id, that of its first place.

    Copies within one folder stay apart: the first of each folder is the same image, and so on.
    """
    known = rows.with_columns(pl.col("sha256").drop_nulls().first().over("record_id"))
    number = pl.col("record_id").rank("dense").over("home", "sha256")
    first = pl.col("record_id").first().over("sha256", "number")
    numbered = known.with_columns(number=number)
    return numbered.with_columns(pl.col("number").min().over("record_id")).with_columns(
        record_id=pl.when(pl.col("sha256").is_null()).then("record_id").otherwise(first)
    )


def _divided(rows: pl.DataFrame, judging: set[int]) -> pl.DataFrame:
    """Return one row an image, in the split that its unit has to all members together.

    Two columns are added: `judges`, where exactly those of the numbers `judging` validated an
    image and nobody has it in another split; `unlike`, where members disagree about its label.
    """
    split = pl.col("split")
    rows = rows.with_columns(
        learned=(split == "train").any().over("unit"),
        chosen=(split == "validation").any().over("unit"),
    )
    columns = [name for name in MANIFEST_SCHEMA if name not in ("record_id", "split")]
    values = [pl.col(name) if name in _WHERE else pl.col(name).drop_nulls() for name in columns]
    table = rows.group_by("record_id", maintain_order=True).agg(
        *[value.first() for value in values],
        pl.col("learned", "chosen").first(),
        unlike=pl.col("label").drop_nulls().n_unique() > 1,
        splits=split.drop_nulls().unique(),
        validated=pl.col("member").filter(split == "validation").unique().sort(),
    )
    one, only = pl.col("splits").list.len() == 1, pl.col("splits").list.first()
    table = table.with_columns(
        split=pl.when(pl.col("splits").list.len() == 0).then(None)
        .when("learned").then(pl.lit("train"))
        .when("unlike").then(None)
        .when("chosen").then(pl.lit("validation"))
        .otherwise(pl.when(one).then(only).otherwise(pl.lit("test"))),
        judges=one & (only == "validation") & ~pl.col("unlike")
        & (pl.col("validated") == pl.lit(sorted(judging), pl.List(pl.Int32))),
    )  # fmt: skip
    return table.with_columns(pl.col("judges").fill_null(value=False))


def _fresh(opened: Sequence[Run], own: Sequence[Manifest], data: Manifest) -> Manifest:
    """Return the labelled images of a set that no member has, nor any of the same group."""
    names = opened[0].model["class_names"]
    if foreign := sorted(set(data.class_names) - set(names)):
        raise DataError(
            f"{data.root} has labels {foreign} that the runs do not know; their classes are "
            f"{names}. Rename the folders or labels, or leave these images out."
        )
    known = set[str]()
    for each in own:
        known |= gate.same_images(each.table, each, data)
    groups = (
        pl.concat([each.table["group"] for each in own]) if own else pl.Series([], dtype=pl.String)
    )
    mates = pl.col("group").is_in(groups.drop_nulls().implode()).fill_null(value=False)
    left = pl.col("record_id").is_in(list(known)).not_() & pl.col("label").is_not_null()
    table = data.table.filter(left & ~mates).with_columns(
        copy_group=pl.lit(None, pl.String), near_group=pl.lit(None, pl.String)
    )
    if not len(table):
        raise DataError(
            f"each of the {len(data):,} images of {data.root} is one that a run learned from or "
            "keeps for its test, is of the same group as one, or has no label. Give others "
            "(--data)."
        )
    return Manifest.make(data.root, table)
