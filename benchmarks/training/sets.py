"""The images: split once, so that everyone trains and validates on the very same files."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

import sightline as sl

_COPY = re.compile(r"\(\d+\)$")  # "ISIC_0024310(1)" is a copy of ISIC_0024310
PATIENT = r"(person\d+|(?:NORMAL2-)?IM-\d+)"


@dataclass(frozen=True, slots=True)
class ImageSet:
    """One set.

    Attributes:
        name: On the command line.
        place: Where it lies in the data folder.
        recipe: The published training that belongs to it.
        test: Share that nobody here ever looks at.
    """

    name: str
    place: str
    recipe: str
    test: float = 0.15


SETS = {
    one.name: one
    for one in (
        ImageSet("skin-binary", "skin_binary", "skin-binary"),
        ImageSet("ham10000", "ham10000_csv", "ham10000"),
        ImageSet("chest-xray", "chest_xray/train", "chest-xray"),
        ImageSet(
            "chest-original",
            "chest_xray_original_sample/train",
            "chest-xray",
            test=0.0,
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Split:
    """Where the split of a set lies: a manifest for us, a CSV for plain Keras; the same images."""

    manifest: Path
    table: Path

    @classmethod
    def under(cls, folder: Path) -> Split:
        """Return that of a folder, made or not."""
        return cls(folder / "manifest.parquet", folder / "split.csv")


def prepare(
    one: ImageSet, data: Path, out: Path, *, images: tuple[int, int] | None = None
) -> Split:
    """Split a set as docs/results.md does, by patient or lesion; once, later calls find it.

    Args:
        one: The set.
        data: Folder of the real sets.
        out: Folder for manifest and CSV.
        images: So many of train and of validation, for a short look; None for all.

    Raises:
        SystemExit: The data folder lacks the set.
    """
    split = Split.under(out)
    if split.table.exists():
        return split
    folder = data / one.place
    if not folder.is_dir():
        raise SystemExit(f"no folder {one.place} in {data}; give the folder of the sets as --data")
    out.mkdir(parents=True, exist_ok=True)
    manifest = sl.split(_scanned(one, data, out), test=one.test, progress=sl.Silent())
    if images is not None:
        manifest = subset(manifest, *images)
    manifest.save(split.manifest)
    with split.table.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("path", "label", "split"))
        chosen = manifest.table.select("record_id", "label", "split")
        for record_id, label, side in chosen.drop_nulls("split").iter_rows():
            rows.writerow((manifest.root / record_id, label, side))
    return split


def subset(manifest: sl.Manifest, train: int, validation: int) -> sl.Manifest:
    """Return a manifest of so many images, classes in their shares, at least two of each class."""
    parts = []
    for side, count in (("train", train), ("validation", validation)):
        rows = manifest.table.filter(pl.col("split") == side).sample(
            fraction=1.0, shuffle=True, seed=0
        )
        place = pl.int_range(pl.len()).over("label")
        share = count / len(rows)
        wanted = pl.max_horizontal(2, (pl.len().over("label") * share).ceil())
        chosen = rows.with_columns(place.alias("place")).filter(pl.col("place") < wanted)
        # Rounded up for each class: what is too many is taken from the end of the largest.
        chosen = chosen.sort("place").head(count).drop("place")
        if len(chosen) < count:
            raise SystemExit(f"{side} has {len(chosen)} images and {count} are asked for")
        parts.append(chosen)
    return replace(manifest, table=pl.concat(parts).sort("record_id"))


def _scanned(one: ImageSet, data: Path, out: Path) -> sl.Manifest:
    folder = data / one.place
    if one.name == "ham10000":
        return sl.scan(
            folder / "images",
            labels=folder / "HAM10000_metadata.csv",
            path_col="image_id",
            label_col="dx",
            group_col="lesion_id",
        )
    if one.name == "skin-binary":
        labels = out / "labels.csv"
        _with_lesions(folder, data / SETS["ham10000"].place / "HAM10000_metadata.csv", labels)
        return sl.scan(
            folder, labels=labels, path_col="path", label_col="label", group_col="lesion"
        )
    return sl.scan(folder, group_regex=PATIENT)


def _with_lesions(folder: Path, metadata: Path, labels: Path) -> None:
    """Write a table of the class folders with each image's lesion, as the metadata tell it."""
    with metadata.open(newline="") as file:
        lesions = {row["image_id"]: row["lesion_id"] for row in csv.DictReader(file)}
    with labels.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("path", "label", "lesion"))
        for path in sorted(folder.glob("*/*.jpg")):
            lesion = lesions.get(_COPY.sub("", path.stem), path.stem)
            rows.writerow((path.relative_to(folder).as_posix(), path.parent.name, lesion))
