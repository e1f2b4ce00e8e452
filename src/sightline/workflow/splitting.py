"""Splits that are honest by construction: audited first, what was given kept, the rest said."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import polars as pl

from sightline import runs
from sightline.data import splits
from sightline.errors import DataError, RecipeError
from sightline.progress import Progress, Shown
from sightline.records import SPLITS, Finding, Manifest
from sightline.records.manifest import QUARANTINED
from sightline.workflow.auditing import audit
from sightline.workflow.data import manifest_of

Resplit = Literal["all", "train"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitOptions:
    """How images are to be divided; see `split`.

    Attributes:
        validation: Share of the images, 0 <= share < 1.
        test: Share of the images, 0 <= share < 1.
        seed: Another seed, another division.
        resplit: None keeps what is given, "all" pools everything, "train" divides train alone.
        folds: Number of folds; None for one division into train, validation and test.
        repeat: Another number, another division (of the folds, where there are any).
        keep: An earlier manifest, or its file, whose assignments stay.
        min_per_class: Images that every class has on every side, at least 1.
        rare_weights: Let every class weigh the same in training.
    """

    validation: float = 0.15
    test: float = 0.15
    seed: int = 0
    resplit: Resplit | None = None
    folds: int | None = None
    repeat: int = 0
    keep: str | Path | Manifest | None = None
    min_per_class: int = 1
    rare_weights: bool = False

    def __post_init__(self) -> None:
        if self.resplit not in (None, *get_args(Resplit)):
            raise RecipeError(f"resplit must be one of {get_args(Resplit)}, got {self.resplit!r}")
        if self.repeat < 0:
            raise RecipeError(f"repeat must be 0 or more, got {self.repeat}")
        if self.folds is not None and self.resplit == "train":
            raise RecipeError(
                "the train folder is divided three ways, not into folds. Leave folds out, or "
                "divide all images into folds (resplit all)."
            )
        beside = {
            "resplit": self.resplit is not None,
            "folds": self.folds is not None,
            "repeats": self.repeat > 0,
            "min_per_class": self.min_per_class != 1,
        }
        useless = [name for name, given in beside.items() if given]
        if self.keep is not None and useless:
            raise RecipeError(
                f"what an earlier manifest assigned is kept, so {' and '.join(useless)} cannot be "
                "asked for as well. Leave that out, or divide without keep."
            )

    @property
    def shares(self) -> splits.SplitShares:
        """How much is held out."""
        return splits.SplitShares(validation=self.validation, test=self.test)


@dataclass(frozen=True, slots=True)
class Divided:
    """A division and what there is to say about it.

    Attributes:
        manifest: Audited, with its splits.
        findings: What cannot be helped, such as images that would tie two sides together.
        sides: A sentence or two a side: what it holds, and how sure a figure measured on it is.
    """

    manifest: Manifest
    findings: tuple[Finding, ...]
    sides: tuple[str, ...]

    def in_words(self) -> Iterator[str]:
        """Yield one line a side and a finding."""
        yield from self.sides
        for finding in self.findings:
            yield f"{finding.severity.capitalize()} {finding.code}: {finding.title}"


def split(
    data: str | Path | Manifest,
    *,
    validation: float = 0.15,
    test: float = 0.15,
    seed: int = 0,
    resplit: Resplit | None = None,
    folds: int | None = None,
    repeat: int = 0,
    keep: str | Path | Manifest | None = None,
    min_per_class: int = 1,
    rare_weights: bool = False,
    progress: Progress | None = None,
) -> Manifest:
    """Return the manifest with train, validation and test; what belongs together is on one side.

    Groups, copies and near copies are never divided; images that were not audited are audited
    first. Stratified by label, every class on every side. The same contents, groups and seed give
    the same splits on every machine. Splits that the data came with are kept, and those they lack
    are taken out of train.

    Args:
        data: What `scan` takes as its path, or a manifest.
        validation: Share of the images, 0 <= share < 1; 0 for none. With folds it is fold 0.
        test: Share of the images, 0 <= share < 1; 0 for none.
        seed: Another seed gives another division.
        resplit: "all" pools every given split and divides anew; "train" divides the train split
            three ways and keeps the given test split aside as "external".
        folds: Deal all but the test split into so many folds; fold 0 is validation.
        repeat: Another number gives another division of the same seed; with folds, of the same
            test split.
        keep: An earlier manifest: what it assigned stays, new images are placed around it.
        min_per_class: Images that every class must have on every side.
        rare_weights: Give training images weights that let every class weigh the same.
        progress: Where bars and lines go; by default to the terminal or notebook.

    Raises:
        DataError: A class has too few images or groups (the message says what is possible), given
            splits cannot be kept, or the images cannot be used.
        RecipeError: A value is out of range, or two options contradict each other.
    """
    options = SplitOptions(
        validation=validation, test=test, seed=seed, resplit=resplit, folds=folds, repeat=repeat,
        keep=keep, min_per_class=min_per_class, rare_weights=rare_weights,
    )  # fmt: skip
    shown = progress or Shown()
    divided = divide(audited(manifest_of(data, {}), shown), options)
    for line in divided.in_words():
        shown.say(line)
    return divided.manifest


def audited(manifest: Manifest, progress: Progress) -> Manifest:
    """Return the manifest with its contents, copies and quarantine known."""
    usable = manifest.table.filter(pl.col("status").ne_missing(QUARANTINED))
    if not usable["sha256"].null_count():
        return manifest
    return audit(manifest, progress=progress).manifest


def divide(manifest: Manifest, options: SplitOptions) -> Divided:
    """Return the division of an audited manifest, and what there is to say about it.

    Raises:
        DataError: As `split`.
        RecipeError: As `split`.
    """
    done, findings = _assigned(manifest, options)
    if options.rare_weights:
        done = splits.with_rare_weights(done)
    said = (*splits.sides_in_words(done), *_folds_in_words(done), *_looks_in_words(done))
    return Divided(done, (*findings, *_leaking(done)), said)


def _assigned(manifest: Manifest, options: SplitOptions) -> tuple[Manifest, list[Finding]]:
    shares, minimum = options.shares, options.min_per_class
    seed = options.seed + (options.repeat if options.folds is None else 0)
    if options.keep is not None:
        kept = options.keep
        previous = kept if isinstance(kept, Manifest) else Manifest.load(Path(kept))
        return splits.keep(manifest, previous, shares, seed=seed)
    if options.resplit == "train":
        return splits.resplit_train(manifest, shares, seed=seed, minimum=minimum)
    if options.resplit == "all":
        manifest = splits.pooled(manifest)
    else:
        _refuse_given(manifest, options)
    if options.folds is None:
        return splits.complete(manifest, shares, seed=seed, minimum=minimum), []
    divided = splits.assign_folds(
        manifest, options.folds, seed=seed, repeat=options.repeat, test_share=options.test,
        minimum=minimum,
    )  # fmt: skip
    return divided, []


def _folds_in_words(manifest: Manifest) -> list[str]:
    sizes = manifest.table["fold"].drop_nulls().value_counts()["count"].to_list()
    if not sizes:
        return []
    return [f"{len(sizes):,} folds of {min(sizes):,} to {max(sizes):,} images."]


def _looks_in_words(manifest: Manifest) -> list[str]:
    """Return how often this test split was looked at, by any run of the user; [] for never."""
    looks = runs.count_looks(manifest) if len(manifest.of_split("test")) else 0
    if not looks:
        return []
    return [f"This test split has been looked at {looks:,} time{'s' * (looks > 1)} already."]


def _refuse_given(manifest: Manifest, options: SplitOptions) -> None:
    """Refuse to replace splits that were given, or to repeat what they leave nothing of.

    Raises:
        DataError: Folds are asked for beside given splits or folds, or repeats beside splits that
            lack nothing.
    """
    found = set(manifest.table["split"].drop_nulls().unique()) - {"external"}
    given: list[str] = [name for name in SPLITS if name in found]
    if manifest.table["fold"].null_count() < len(manifest):
        given.append("folds")
    if given and options.folds is not None:
        raise DataError(
            f"the images of {manifest.root} come with {', '.join(given)}, and dealing folds would "
            "replace that. Ask for it: --resplit all."
        )
    asked = {"validation": options.validation, "test": options.test}
    missing = [name for name, share in asked.items() if share > 0 and name not in found]
    if options.repeat and found and not missing:
        raise DataError(
            f"the images of {manifest.root} come with {', '.join(given)}, which are kept, so every "
            "repeat would be the same. Divide them anew: --resplit all."
        )


def _leaking(manifest: Manifest) -> list[Finding]:
    """Return the finding that given sides share pictures or groups, where they do."""
    found = splits.leaks(manifest)
    if not found:
        return []
    crossings: list[dict[str, Any]] = [
        {
            "kind": crossing.kind,
            "tie": crossing.tie,
            "ids_by_split": {side: list(ids) for side, ids in crossing.records.items()},
        }
        for crossing in found.crossings
    ]
    return [
        Finding(
            "leaking-split",
            "error",
            " ".join(found.in_words()),
            {"crossings": crossings},
            "Figures would look better than they are. Divide all images anew: --resplit all.",
        )
    ]
