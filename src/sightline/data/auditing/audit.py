"""`audit`: from a manifest to an audited one, with what was found on the way."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from pathlib import Path

import polars as pl

from sightline.data.auditing.checks import CHECKS_VERSION, Earlier, run_checks
from sightline.data.auditing.children import inspect_all
from sightline.data.auditing.copies import VERDICTS_SCHEMA, Copies, find_copies
from sightline.data.auditing.copies.judging import VERDICTS_VERSION
from sightline.data.auditing.inspected import INSPECTED_SCHEMA
from sightline.data.auditing.known import Known, files_now, outcome_key
from sightline.errors import DataError
from sightline.progress import Progress, Silent
from sightline.records import QUARANTINE_SCHEMA, Audit, Finding, Manifest
from sightline.records.manifest import MANIFEST_SCHEMA, QUARANTINED

# What a look at a file knows better than the scan did.
_SEEN = ("sha256", "width", "height", "mode", "bits", "orientation", "frames", "phash")
_OUTCOMES = ("found", "passed", "not applicable")
_SEVERITIES = ("error", "warning", "info")


def audit(
    manifest: Manifest,
    *,
    keep: Path | None,
    workers: int,
    against: Manifest | None = None,
    reuse: bool = True,
    max_megapixels: float = 64.0,
    progress: Progress | None = None,
) -> Audit:
    """Return what a full look at every file found, with the audited manifest.

    Depends on the files, the manifest and the arguments that decide alone: not on `workers`, on
    what was kept, or on the order of the rows. Nothing is written but in `keep`.

    Args:
        manifest: As scanned, or audited before: then contents must still be the same.
        keep: A folder for what later audits may use again; None for nothing.
        workers: Child processes that decode.
        against: An earlier audited manifest; records of the same id must have the same content.
            Every file is read for it, whatever is known.
        reuse: Take from `keep` what is known of files that have not changed.
        max_megapixels: Larger pictures are quarantined undecoded.
        progress: Where bars go.

    Raises:
        DataError: There is no image; or `against` was not audited, or is of other images.
        SetupError: No child process can be started.
    """
    if not len(manifest):
        raise DataError(f"there is no image in {manifest.root} to look at")
    started = time.perf_counter()
    shown, known = progress or Silent(), Known(keep, manifest.root)
    promised, earlier = _promised(manifest, against)
    reuse = reuse and against is None  # a file that rots keeps its length and its time
    now = files_now(manifest)
    key = outcome_key(manifest, now, _settings(promised, earlier, max_megapixels))
    outcome = known.load_outcome(key) if reuse else None
    if outcome is not None:
        return dataclasses.replace(outcome, seconds=time.perf_counter() - started)
    rows = INSPECTED_SCHEMA.to_frame()
    if reuse:
        rows = known.load_rows(manifest, now, max_megapixels=max_megapixels)
    inspected, num_read = _looked_at(manifest, rows, workers, max_megapixels, shown)
    known.save_rows(inspected, max_megapixels=max_megapixels)
    inspected = _compared(inspected, promised)
    audited = _with_look(manifest, inspected)
    with shown.step("comparing pictures", None) as step:
        copies = find_copies(
            audited,
            inspected,
            known=known.load_verdicts(VERDICTS_SCHEMA, version=VERDICTS_VERSION),
            workers=workers,
            on_done=step.advance,
        )
    known.save_verdicts(copies.verdicts, version=VERDICTS_VERSION)
    done = _audit(audited, inspected, copies, num_read, earlier)
    known.save_outcome(key, done)
    return dataclasses.replace(done, seconds=time.perf_counter() - started)


def _audit(
    audited: Manifest,
    inspected: pl.DataFrame,
    copies: Copies,
    num_read: int,
    earlier: Earlier | None,
) -> Audit:
    """Return the noun, with the findings of every check."""
    table = audited.table.with_columns(
        copies.copy_group.alias("copy_group"), copies.near_group.alias("near_group")
    )
    manifest = dataclasses.replace(audited, table=table)
    quarantine = inspected.filter(pl.col("status") == QUARANTINED).select(
        "record_id", "bytes", "sha256", "stage", reason_code="reason", detail="detail"
    )
    return Audit(
        manifest=manifest,
        findings=tuple(sorted(run_checks(manifest, inspected, copies, earlier=earlier), key=_rank)),
        pairs=copies.pairs,
        quarantine=quarantine.cast(QUARANTINE_SCHEMA),
        num_read=num_read,
        num_reused=len(manifest) - num_read,
        seconds=0.0,
    )


def _rank(finding: Finding) -> tuple[int, int]:
    """Return the place of a finding: what was found first, the worst of it at the top."""
    return _OUTCOMES.index(finding.outcome), _SEVERITIES.index(finding.severity)


def _promised(manifest: Manifest, against: Manifest | None) -> tuple[pl.DataFrame, Earlier | None]:
    """Return record_id and the sha256 that its content had when an earlier audit saw it."""
    parts = [manifest.table.select("record_id", promised="sha256")]
    if against is not None:
        if against.table["sha256"].null_count() == len(against):
            raise DataError(
                f"the earlier manifest of {against.root} was never audited, so nothing can be "
                "compared with it. Give the manifest.parquet that an audit has written."
            )
        parts.insert(0, against.table.select("record_id", promised="sha256"))
    known = pl.concat(parts).drop_nulls().unique("record_id", keep="first").sort("record_id")
    ids = manifest.table["record_id"].implode()
    shared = known.filter(pl.col("record_id").is_in(ids))
    if against is not None and not len(shared):
        raise DataError(
            f"not one of {len(against):,} images of the earlier manifest ({against.root}) is among "
            f"the {len(manifest):,} of {manifest.root}, so there is nothing to compare. Give the "
            "manifest of an audit of these images."
        )
    gone = known.filter(~pl.col("record_id").is_in(ids))["record_id"].to_list()
    return shared, Earlier(len(shared), tuple(gone)) if len(shared) else None


def _settings(
    promised: pl.DataFrame, earlier: Earlier | None, max_megapixels: float
) -> dict[str, object]:
    """Return what else decides the outcome, for its key."""
    lines = "\n".join("\t".join(row) for row in promised.iter_rows())
    return {
        "max_megapixels": float(max_megapixels),
        "promised": hashlib.sha256(lines.encode()).hexdigest(),
        "gone": earlier.gone if earlier is not None else (),
        "checks": CHECKS_VERSION,
        "copies": VERDICTS_VERSION,
    }


def _looked_at(
    manifest: Manifest, known: pl.DataFrame, workers: int, max_megapixels: float, shown: Progress
) -> tuple[pl.DataFrame, int]:
    """Return INSPECTED_SCHEMA in the manifest's order, and how many files were read for it."""
    ids = manifest.table.select("record_id").with_row_index("row")
    missing = ids.join(known, on="record_id", how="anti").sort("row")["row"].to_list()
    if not missing:
        return known, 0
    with shown.step("looking at files", len(missing)) as step:
        read = inspect_all(
            manifest,
            missing,
            workers=workers,
            max_megapixels=max_megapixels,
            on_done=step.advance,
        )
    return pl.concat([known, read]).sort("record_id"), len(missing)


def _compared(inspected: pl.DataFrame, promised: pl.DataFrame) -> pl.DataFrame:
    """Return the rows with those quarantined whose content is not what was promised."""
    rows = inspected.join(promised, on="record_id", how="left", maintain_order="left")
    differs = pl.col("sha256") != pl.col("promised")
    detail = pl.format(
        "the content is not what an earlier audit saw: its sha256 begins with {} and began with "
        "{}. Restore the file, or scan the images again if the change was meant.",
        pl.col("sha256").str.head(12),
        pl.col("promised").str.head(12),
    )
    usual = pl.col("status") != QUARANTINED  # a reason of its own says more
    changed = (differs & usual).fill_null(value=False)
    return rows.with_columns(
        status=pl.when(changed).then(pl.lit(QUARANTINED)).otherwise("status"),
        reason=pl.when(changed).then(pl.lit("CHANGED")).otherwise("reason"),
        stage=pl.when(changed).then(pl.lit("open")).otherwise("stage"),
        detail=pl.when(changed).then(detail).otherwise("detail"),
    ).select(INSPECTED_SCHEMA.names())


def _with_look(manifest: Manifest, inspected: pl.DataFrame) -> Manifest:
    """Return the manifest with everything that the files themselves say.

    Sizes and times become those of the content that was seen, so that a stream can tell when a
    file changes after it; but a file that has changed since an earlier audit keeps the old ones.
    """
    kept = inspected["reason"].eq_missing("CHANGED")
    as_seen = {
        name: inspected[name].zip_with(inspected[name].is_not_null() & ~kept, manifest.table[name])
        for name in ("bytes", "mtime_ns")
    }
    columns = {name: inspected[name] for name in (*_SEEN, "status", "reason")} | as_seen
    table = manifest.table.with_columns(
        series.cast(MANIFEST_SCHEMA[name]).alias(name) for name, series in columns.items()
    )
    return dataclasses.replace(manifest, table=table)
