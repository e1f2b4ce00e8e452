"""The leakage gate: no figure comes out of a split that shares pictures or patients, unasked."""

from __future__ import annotations

import hashlib

import polars as pl

from sightline.data import images, splits
from sightline.errors import DataError
from sightline.learning.models import backend
from sightline.learning.models.weights_file import weights_file
from sightline.recipes import Recipe
from sightline.records import Audit, Manifest, Split
from sightline.runs import Run

_HELD_OUT: tuple[Split, ...] = ("validation", "test")


def refuse_leaks(manifest: Manifest, *, allowed: bool) -> list[str]:
    """Return what is said about leaks that are allowed, and about chains; [] without any.

    Raises:
        DataError: Confirmed copies or groups are on two sides of the split, and that was not
            allowed; the message names them.
    """
    crossing = splits.leaks(manifest)
    if not crossing:
        return crossing.in_words()
    if allowed:
        return [
            "LEAKS ALLOWED (allow_leak): the figures of this run look better than they are. "
            + " ".join(crossing.in_words())
        ]
    words = " ".join(crossing.in_words())
    raise DataError(
        f"the split of {manifest.root} leaks. {words} Figures would look better than "
        "they are. Let Sightline split anew (sightline split DATA --resplit all --out M.parquet; "
        "with --resplit train the given test images stay apart as an external check), then "
        "sightline train M.parquet; or train all the same (--allow-leak)."
    )


def leaked_ids(run: Run, manifest: Manifest, split: Split, *, allowed: bool) -> frozenset[str]:
    """Return the records of a held-out split that have a copy or group mate on the other side.

    Of the external split they are only told: it is no part of the division.

    Raises:
        DataError: There are some, and that was not allowed.
    """
    if split == "train":
        return frozenset()
    crossing = splits.leaks(manifest)
    found = frozenset(crossing.record_ids(split))
    if found and crossing and split in _HELD_OUT and not allowed:
        words = " ".join(crossing.in_words())
        raise DataError(
            f"{len(found):,} {split} images of {run.path} have a copy, or an image of the same "
            f"group, among those it learned from. {words} Measure what that does "
            "(--leak-effect), or judge all the same (--allow-leak)."
        )
    return found


def refuse_missing_weights(recipe: Recipe) -> None:
    """Refuse a recipe whose file of weights is not there, before images are looked at for hours.

    Raises:
        RecipeError: The message names Keras' file, and how to get it.
        SetupError: No Keras backend is installed.
    """
    if not recipe.model.weights or weights_file(recipe).is_file():
        return
    backend.choose(recipe.backend)
    from sightline.learning.models import applications  # Keras knows what its file is called

    raise applications.missing_weights(recipe)


def refuse_unreadable(audit: Audit) -> None:
    """Refuse a set of which too many files cannot be read, unless that finding is muted.

    Raises:
        DataError: There are, and the message says which.
    """
    for finding in audit.errors:
        if finding.code == "unreadable-files":
            raise DataError(
                f"{finding.title} Mend or remove them (sightline audit shows each), or train "
                "without them: --set 'audit.mute=[\"unreadable-files\"]'."
            )


def in_words(audit: Audit) -> list[str]:
    """Return what the audit found, in sentences for the plan."""
    standing = [finding for finding in audit.findings if finding.stands]
    muted = [finding.code for finding in audit.findings if finding.muted]
    severe = [finding for finding in standing if finding.severity != "info"]
    left_out = f", {len(audit.quarantine):,} of them not used" if len(audit.quarantine) else ""
    sentences = [f"Audit: {len(audit.manifest):,} files looked at in full{left_out}."]
    sentences += [f"{finding.severity.capitalize()}: {finding.title}" for finding in severe]
    if muted:
        sentences.append(f"Muted by the recipe: {', '.join(muted)}.")
    return sentences


def learned(own: Manifest) -> pl.DataFrame:
    """Return the rows of a run's manifest that it learned from or chose its weights by."""
    return pl.concat([own.of_split("train"), own.of_split("validation")])


def same_images(rows: pl.DataFrame, own: Manifest, judged: Manifest) -> frozenset[str]:
    """Return the records judged that are images of some rows of the run's manifest.

    The same files, by path; and of an external set also the same content, where the run's images
    were audited: only files of a size that is among the rows are read for it. Copies inside the
    run's own split are the gate's business.
    """
    path = pl.lit("/") + pl.col("record_id")
    paths = rows.select(pl.lit(_place(own)) + path).to_series()
    by_path = judged.table.select((pl.lit(_place(judged)) + path).is_in(paths.implode()))
    found = set(judged.table.filter(by_path.to_series())["record_id"])
    known = set(rows["sha256"].drop_nulls()) if judged.root != own.root else set()
    candidates = judged.table.filter(
        ~by_path.to_series() & pl.col("bytes").is_in(rows["bytes"].implode())
    )
    for record_id, sha256 in candidates.select("record_id", "sha256").iter_rows() if known else ():
        if (sha256 or _sha256(judged, record_id)) in known:
            found.add(record_id)
    return frozenset(found)


def group_mates(own: Manifest, judged: Manifest) -> frozenset[str]:
    """Return the records of an external set whose group is one that the run learned from.

    Groups are compared by name: those of another hospital may be called the same by chance.
    """
    groups = learned(own)["group"].drop_nulls().unique().implode()
    return frozenset(judged.table.filter(pl.col("group").is_in(groups))["record_id"])


def _place(manifest: Manifest) -> str:
    return manifest.root.resolve().as_posix().rstrip("/")


def _sha256(manifest: Manifest, record_id: str) -> str:
    return hashlib.sha256(images.read_file(manifest.locate(record_id))).hexdigest()
