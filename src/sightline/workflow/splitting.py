"""Splits that are honest by construction: audited first, what was given kept, the rest said."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
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
from sightline.workflow.grouping import with_discovered_groups

Resplit = Literal["all", "train"]
_SHARE = 0.15  # of validation and of test, where nothing is said


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitOptions:
    """How images are to be divided; see `split`.

    Attributes:
        validation: Share of the images, 0 <= share < 1; None for 0.15. Folds have no use for it.
        test: Share of the images, 0 <= share < 1; None for 0.15.
        seed: Another seed, another division.
        resplit: None keeps what is given, "all" pools everything, "train" divides train alone.
        folds: Number of folds; None for one division into train, validation and test.
        repeat: Another number, another division (of the folds, where there are any).
        keep: Earlier manifests, or their files, whose assignments stay; the newest first.
        discovered_groups: Group by what the file names suggest.
        min_per_class: Images that every class has on every side, at least 1.
        rare_weights: Let every class weigh the same in training.
    """

    validation: float | None = None
    test: float | None = None
    seed: int = 0
    resplit: Resplit | None = None
    folds: int | None = None
    repeat: int = 0
    keep: tuple[str | Path | Manifest, ...] = ()
    discovered_groups: bool = False
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
        if self.folds is not None and self.validation is not None:
            raise RecipeError(
                f"with folds, fold 0 is validation, so a share of {self.validation:g} has no part "
                "in it. Leave validation out."
            )
        beside = {
            "resplit": self.resplit is not None,
            "folds": self.folds is not None,
            "repeats": self.repeat > 0,
            "min_per_class": self.min_per_class != 1,
        }
        useless = [name for name, given in beside.items() if given]
        if self.keep and useless:
            raise RecipeError(
                f"what an earlier manifest assigned is kept, so {' and '.join(useless)} cannot be "
                "asked for as well. Leave that out, or divide without keep."
            )

    @property
    def shares(self) -> splits.SplitShares:
        """How much is held out."""
        whole = 0.0 if self.folds is not None else _SHARE
        return splits.SplitShares(
            validation=whole if self.validation is None else self.validation,
            test=_SHARE if self.test is None else self.test,
        )


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
    validation: float | None = None,
    test: float | None = None,
    seed: int = 0,
    resplit: Resplit | None = None,
    folds: int | None = None,
    repeat: int = 0,
    keep: str | Path | Manifest | Sequence[str | Path | Manifest] = (),
    discovered_groups: bool = False,
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
        validation: Share of the images, 0 <= share < 1; 0 for none, None for 0.15. Not with folds,
            of which fold 0 is validation.
        test: Share of the images, 0 <= share < 1; 0 for none, None for 0.15.
        seed: Another seed gives another division.
        resplit: "all" pools every given split and divides anew; "train" divides the train split
            three ways and keeps the given test split aside as "external".
        folds: Deal all but the test split into so many folds; fold 0 is validation.
        repeat: Another number gives another division of the same seed; with folds, of the same
            test split.
        keep: An earlier manifest, or its file: what it assigned stays, new images are placed around
            it. Of several, the newest first; an image that one lacks is looked up in the next.
        discovered_groups: Group by the pattern that `guessed-groups` of an audit proposes.
        min_per_class: Images that every class must have on every side.
        rare_weights: Give training images weights that let every class weigh the same.
        progress: Where bars and lines go; by default to the terminal or notebook.

    Raises:
        DataError: A class has too few images or groups (the message says what is possible), given
            splits cannot be kept, or the images cannot be used.
        RecipeError: A value is out of range, or two options contradict each other.
    """
    earlier = (keep,) if isinstance(keep, (str, Path, Manifest)) else tuple(keep)
    options = SplitOptions(
        validation=validation, test=test, seed=seed, resplit=resplit, folds=folds, repeat=repeat,
        keep=earlier, discovered_groups=discovered_groups, min_per_class=min_per_class,
        rare_weights=rare_weights,
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
    found: list[Finding] = []
    if options.discovered_groups:
        manifest, finding = with_discovered_groups(manifest)
        found.append(finding)
    done, findings = _assigned(manifest, options)
    if options.rare_weights:
        done = splits.with_rare_weights(done)
    said = (*splits.sides_in_words(done), *_folds_in_words(done), *_looks_in_words(done))
    return Divided(done, (*found, *findings, *_leaking(done)), said)


def _assigned(manifest: Manifest, options: SplitOptions) -> tuple[Manifest, list[Finding]]:
    shares, minimum = options.shares, options.min_per_class
    seed = _seed(options)
    if options.keep:
        previous = [m if isinstance(m, Manifest) else Manifest.load(Path(m)) for m in options.keep]
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
        manifest, options.folds, seed=seed, repeat=options.repeat, test_share=shares.test,
        minimum=minimum,
    )  # fmt: skip
    return divided, []


def _seed(options: SplitOptions) -> int:
    """Return the seed of a division; folds have repeats of their own, of one test split."""
    if options.folds is not None or not options.repeat:
        return options.seed
    # Not their sum: repeat 1 of seed 0 would be repeat 0 of seed 1.
    text = f"{options.seed} repeat {options.repeat}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


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
    """Refuse to replace splits that were given, and what has no part in what they leave.

    Raises:
        DataError: Folds are asked for beside given splits or folds; a share of a split that is
            given; or another seed or repeat where nothing is left to divide.
    """
    found = set(manifest.table["split"].drop_nulls().unique()) - {"external"}
    given: list[str] = [name for name in SPLITS if name in found]
    if manifest.table["fold"].null_count() < len(manifest):
        given.append("folds")
    said = f"the images of {manifest.root} come with {', '.join(given)}"
    if given and options.folds is not None:
        raise DataError(f"{said}, and dealing folds would replace that. Ask for it: --resplit all.")
    asked = {"validation": options.validation, "test": options.test}
    idle = [f"{name} {share:g}" for name, share in asked.items() if share and name in found]
    shares = {"validation": options.shares.validation, "test": options.shares.test}
    if found and not [name for name, share in shares.items() if share > 0 and name not in found]:
        idle += [f"{n} {v}" for n, v in (("seed", options.seed), ("repeat", options.repeat)) if v]
    if idle:
        raise DataError(
            f"{said}, which are kept, so {' and '.join(idle)} would change nothing. Leave that "
            "out, or divide the images anew: --resplit all."
        )


def _leaking(manifest: Manifest) -> list[Finding]:
    """Return the finding that sides share pictures or groups, where they do.

    A warning where only chains through images that are on no side tie them.
    """
    found = splits.leaks(manifest)
    if not found.crossings:
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
            "error" if found else "warning",
            " ".join(found.in_words()),
            {"crossings": crossings},
            "Figures would look better than they are. Divide all images anew: --resplit all.",
        )
    ]
