"""Which records are trained on, chosen by and judged on: grouped, stratified, and repeatable.

The side of a group follows from a hash of (seed, group), never from a generator's state: the
same records give the same splits on every machine and version, in any row order and folder.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from sightline.errors import DataError, RecipeError
from sightline.records import Manifest, Split
from sightline.records.manifest import QUARANTINED

_USABLE = pl.col("status").ne_missing(QUARANTINED) & pl.col("label").is_not_null()


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitShares:
    """How much is held out; the rest is train. 0 means none.

    Attributes:
        validation: Share of the images, 0 <= share < 1.
        test: Share of the images, 0 <= share < 1.
    """

    validation: float = 0.15
    test: float = 0.15

    def __post_init__(self) -> None:
        for name, share in (("validation", self.validation), ("test", self.test)):
            if not 0 <= share < 1:
                raise RecipeError(f"the {name} share must be 0 <= share < 1, got {share}")
        if self.validation + self.test >= 1:
            raise RecipeError(
                f"validation {self.validation} and test {self.test} leave nothing to train on; "
                "together they must be below 1"
            )


def assign(manifest: Manifest, shares: SplitShares, *, seed: int) -> Manifest:
    """Return the manifest with every usable labelled record on one side; other splits are null.

    A group is never on two sides; a record without a group is a group of its own. Within each
    class the shares of images are met as nearly as whole groups allow. Every class is on every
    side that is asked for.

    Raises:
        DataError: There is no labelled record, or a class has too few groups.
    """
    empty = manifest.with_splits(pl.repeat(None, len(manifest), dtype=pl.String, eager=True))
    sides: list[tuple[Split, float]] = [("test", shares.test), ("validation", shares.validation)]
    return _carve(empty, _USABLE, [(side, share) for side, share in sides if share > 0], seed)


def complete(manifest: Manifest, shares: SplitShares, *, seed: int) -> Manifest:
    """Return the manifest with the splits it has, and those it lacks taken out of train.

    Without any split this is `assign`, unless there are folds: then the lowest fold is validation
    as a whole, whatever its share, and the others are train. Otherwise a missing validation or
    test split becomes its share of the train records, as `assign` would choose it; all else stays,
    even groups that are on two of the given sides, and records that were given no split.

    Raises:
        DataError: As `assign`; or splits are given and none of them is train; or all records are
            in one fold.
    """
    fold = _validation_fold(manifest)
    if fold is not None:
        manifest = _with_fold(manifest, fold)
    given = set(manifest.table["split"].drop_nulls().unique())
    if not given:
        return assign(manifest, shares, seed=seed)
    if "train" not in given:
        raise DataError(
            f"{manifest.root} has records in {' and '.join(sorted(given))} but none in train. "
            "Add training images, or leave the splits out and let Sightline make them."
        )
    sides: list[tuple[Split, float]] = [("test", shares.test), ("validation", shares.validation)]
    missing = [(side, share) for side, share in sides if side not in given and share > 0]
    if not missing:
        return manifest
    return _carve(manifest, _USABLE & (pl.col("split") == "train"), missing, seed)


def folds_in_words(manifest: Manifest) -> list[str]:
    """Return how `complete` uses the folds of a manifest, in a sentence; [] where it does not."""
    fold = _validation_fold(manifest)
    if fold is None:
        return []
    return [
        f"Folds were given and no splits: fold {fold} is the validation split as a whole, the "
        "others are trained on (and a test split is taken out of them). The manifest keeps them."
    ]


def _validation_fold(manifest: Manifest) -> int | None:
    """Return the fold that becomes validation; None where splits are given, or no folds."""
    if manifest.table["split"].null_count() < len(manifest):
        return None
    folds = manifest.table.filter(_USABLE)["fold"].drop_nulls()
    return min(folds, default=None)


def _with_fold(manifest: Manifest, fold: int) -> Manifest:
    """Return the manifest with one fold as validation and all other usable records in train."""
    inside = pl.col("fold").eq_missing(fold)
    splits = manifest.table.select(
        split=pl.when(_USABLE & inside)
        .then(pl.lit("validation"))
        .when(_USABLE)
        .then(pl.lit("train"))
    ).to_series()
    if "train" not in splits:
        raise DataError(
            f"all images of {manifest.root} are in fold {fold}, so none is left to train on. "
            "Give at least two folds, or leave the fold column out."
        )
    return manifest.with_splits(splits)


def _carve(
    manifest: Manifest, pool: pl.Expr, sides: Sequence[tuple[Split, float]], seed: int
) -> Manifest:
    """Return the manifest with the records of `pool` divided between train and `sides`."""
    table = manifest.table.with_columns(key=pl.coalesce("group", "record_id"), pool=pool)
    counts = table.filter("pool").group_by("key", "label").len().sort("key", "label")
    if not len(counts):
        raise DataError(
            f"{manifest.root} has no usable record with a label, so there is nothing to split."
        )
    groups: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for key, label, count in counts.iter_rows():
        groups[key][label] = count
    _refuse_small_classes(manifest, groups, [side for side, _ in sides])
    chosen = _Holdout(groups, sides, seed).choose()
    new = pl.DataFrame({"key": list(chosen), "new": list(chosen.values())})
    joined = table.join(new, on="key", how="left", maintain_order="left")
    return manifest.with_splits(
        joined.select(pl.when("pool").then("new").otherwise("split").alias("split")).to_series()
    )


class _Holdout:
    """One division of groups between train and the sides that are asked for.

    The rarest class chooses first. A group belongs to the stratum of its rarest label, so when
    a class is reached, all other groups that hold it are already placed.
    """

    def __init__(
        self, groups: dict[str, Counter[str]], sides: Sequence[tuple[Split, float]], seed: int
    ) -> None:
        self._groups = groups
        self._sides = sides
        self._totals = sum(groups.values(), Counter[str]())
        self._order = {key: _hash(key, seed) for key in groups}
        self._images: dict[Split, Counter[str]] = {"train": Counter()}  # placed: side, label
        self._images |= {side: Counter() for side, _ in sides}
        self._chosen: dict[str, Split] = {}

    def choose(self) -> dict[str, Split]:
        """Return the side of every group."""
        rank = {label: (count, label) for label, count in self._totals.items()}
        strata: defaultdict[str, list[str]] = defaultdict(list)
        for key, labels in self._groups.items():
            strata[min(labels, key=rank.__getitem__)].append(key)
        for label in sorted(self._totals, key=rank.__getitem__):
            left = sorted(strata[label], key=self._order.__getitem__)
            for side, share in self._sides:
                taken = self._take(label, side, share, left)
                left = [key for key in left if key not in taken]
            self._place(left, "train")
            self._refuse_absent(label)
        return self._chosen

    def _take(self, label: str, side: Split, share: float, left: list[str]) -> set[str]:
        """Place groups of one stratum on a side while each brings it nearer to its share."""
        others = [name for name in self._images if name != side]
        reserved = sum(self._images[name][label] == 0 for name in others)
        limit = len(left) - reserved
        missing = share * self._totals[label] - self._images[side][label]
        taken: list[str] = []
        for key in left:
            if len(taken) >= limit:
                break
            size = self._groups[key][label]
            if abs(missing - size) < abs(missing):
                taken.append(key)
                missing -= size
        if not taken and limit > 0 and self._images[side][label] == 0:
            smallest = min(left, key=lambda key: (self._groups[key][label], self._order[key]))
            taken.append(smallest)
        self._place(taken, side)
        return set(taken)

    def _place(self, keys: Sequence[str], side: Split) -> None:
        for key in keys:
            self._chosen[key] = side
            self._images[side].update(self._groups[key])

    def _refuse_absent(self, label: str) -> None:
        absent = [side for side, images in self._images.items() if images[label] == 0]
        if absent:
            number = sum(label in labels for labels in self._groups.values())
            raise DataError(
                f"class {label!r} has {number} groups, but they also hold rarer classes, and "
                f"this seed puts none of them into {' and '.join(absent)}. Try another seed, "
                "ask for fewer splits, or check the groups."
            )


def _refuse_small_classes(
    manifest: Manifest, groups: dict[str, Counter[str]], sides: Sequence[Split]
) -> None:
    """Refuse classes with fewer groups than sides, all in one message."""
    number = Counter(label for labels in groups.values() for label in labels)
    images = sum(groups.values(), Counter[str]())
    needed = len(sides) + 1
    small = sorted(label for label, count in number.items() if count < needed)
    if not small:
        return
    listed = ", ".join(
        f"{label!r} has {_counted(number[label], 'group')} ({_counted(images[label], 'image')})"
        for label in small
    )
    fewest = min(number.values())
    possible = (
        f"set the share of {' or of '.join(sides)} to 0"
        if fewest > 1
        else f"set the share of {' and of '.join(sides)} to 0"
    )
    raise DataError(
        f"each class must be in train and in {' and in '.join(sides)}, and a group is never "
        f"divided, so each needs {needed} groups; in {manifest.root} {listed}. Add images of "
        f"other patients or scenes, leave these classes out, or {possible}."
    )


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _hash(key: str, seed: int) -> bytes:
    return hashlib.blake2b(
        f"{seed}\x1f{key}".encode(), digest_size=16, person=b"sightline split"
    ).digest()
