"""What earlier audits of the same folder learned, and whether it still holds.

A file whose length and time have not changed is not read again, a pair that was compared is not
compared again, and a set of which nothing has changed gets its whole outcome back. A file that was
rewritten with both the same length and the same time is therefore not noticed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import polars as pl

from sightline.data.auditing.copies.fingerprints import FINGERPRINT_VERSION
from sightline.data.auditing.inspected import INSPECTED_SCHEMA
from sightline.data.auditing.inspecting import INSPECT_VERSION
from sightline.data.auditing.shelf import Shelf
from sightline.data.images import DECODER_VERSION
from sightline.records import Manifest
from sightline.records.audit import Audit
from sightline.records.columns import join_names
from sightline.records.finding import Finding
from sightline.records.index import archive_of

# What may end otherwise next time, though the file is the same.
TRIED_AGAIN = ("UNREADABLE", "MISSING", "CRASHED_DECODER")
NOW_SCHEMA = pl.Schema({"bytes": pl.Int64, "mtime_ns": pl.Int64})

_FORMAT_VERSION = 1
_ROWS, _VERDICTS, _OUTCOME = "rows", "verdicts", "outcome"
_FORGOTTEN_ABOVE = 10_000  # rows of files that this set does not have, such as deleted ones


def files_now(manifest: Manifest) -> pl.DataFrame:
    """Return the bytes and mtime_ns (NOW_SCHEMA) that each row's file has now; null without one.

    A record of an archive has its own bytes, and the time of the archive. 3 microseconds a file.
    """
    root = f"{str(manifest.root).rstrip('/')}/"
    sizes: list[int | None] = []
    times: list[int | None] = []
    archives: dict[str, int | None] = {}
    for record_id, begin, size in manifest.table.select("record_id", "begin", "bytes").iter_rows():
        if begin is None:
            found = _stat(root + record_id)
            sizes.append(found and found.st_size)
            times.append(found and found.st_mtime_ns)
            continue
        archive = archive_of(record_id)
        if archive not in archives:
            found = _stat(root + archive)
            archives[archive] = found and found.st_mtime_ns
        sizes.append(size)
        times.append(archives[archive])
    return pl.DataFrame({"bytes": sizes, "mtime_ns": times}, schema=NOW_SCHEMA)


def _stat(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)  # noqa: PTH116 - of a million files, and Path takes twice as long
    except (OSError, ValueError):
        return None


def outcome_key(manifest: Manifest, now: pl.DataFrame, settings: Mapping[str, object]) -> str:
    """Return the digest of everything that the outcome of an audit depends on.

    Args:
        manifest: What is audited: every column counts.
        now: Of `files_now`.
        settings: What else decides: limits, versions of checks, what it is compared with; as JSON.
    """
    about = {
        "versions": _versions(),
        "settings": settings,
        "root": str(manifest.root),
        "classes": manifest.class_names,
        "ignored": sorted(manifest.ignored.items()),
        "passed_over": sorted(manifest.passed_over.items()),
        "rows": len(manifest),
    }
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for table in (manifest.table, now):
        for column in table.get_columns():
            _digest_column(digest, column)
    return digest.hexdigest()


def _digest_column(digest: Any, column: pl.Series) -> None:
    missing = column.is_null()
    digest.update(f"{column.name} {column.dtype} {missing.sum()} ".encode())
    if missing.all():
        return
    if missing.any():
        digest.update(missing.to_numpy().tobytes())
    if column.dtype == pl.String:
        names, offsets = join_names(column.fill_null(""))
        digest.update(offsets.tobytes())
        digest.update(names.data)
    else:
        digest.update(column.fill_null(0).to_numpy().tobytes())


def _versions() -> list[int]:
    return [_FORMAT_VERSION, DECODER_VERSION, FINGERPRINT_VERSION, INSPECT_VERSION]


class Known:
    """What is kept of the audits of one folder of images.

    Several processes may use it at once: each sees what one of them has written, whole. What is
    damaged, of another version or cannot be written is as if it had never been kept.

    Args:
        keep: A folder for all that is kept, of any number of image folders; it is made, readable
            by this user alone. None keeps nothing.
        root: The folder of the images.
    """

    def __init__(self, keep: Path | None, root: Path) -> None:
        name = hashlib.sha256(os.fsencode(root)).hexdigest()[:16]
        self._shelf = None if keep is None else Shelf(keep / name)

    def load_rows(
        self, manifest: Manifest, now: pl.DataFrame, *, max_megapixels: float
    ) -> pl.DataFrame:
        """Return INSPECTED_SCHEMA for the records that need not be looked at again, by row.

        Those are the ones whose bytes and time are as they were when they were read, with the
        same limit and the same versions, and that were not unreadable then.
        """
        nothing = INSPECTED_SCHEMA.to_frame()
        kept = self._table(_ROWS, _row_settings(max_megapixels), INSPECTED_SCHEMA)
        if kept is None:
            return nothing
        scanned = manifest.table.select("record_id", "begin", scanned="mtime_ns")
        here = pl.concat([scanned, now], how="horizontal").with_row_index("row")
        # What stands at a place in an archive was found when it was scanned.
        stale = pl.col("begin").is_not_null() & (pl.col("scanned") != pl.col("mtime_ns"))
        here = here.filter(stale.not_() | stale.is_null()).select("row", "record_id", *NOW_SCHEMA)
        again = pl.col("reason").is_in(TRIED_AGAIN)
        kept = kept.filter((pl.col("status") != "quarantined") | ~again)
        reused = kept.join(here, on=["record_id", *NOW_SCHEMA], how="inner").sort("row")
        return reused.select(INSPECTED_SCHEMA.names())

    def save_rows(self, inspected: pl.DataFrame, *, max_megapixels: float) -> None:
        """Keep rows of INSPECTED_SCHEMA; those of other records stay, while they are not many."""
        if self._shelf is None:
            return
        settings = _row_settings(max_megapixels)
        kept = self._table(_ROWS, settings, INSPECTED_SCHEMA)
        if kept is not None:
            others = kept.join(inspected, on="record_id", how="anti")
            if len(others) <= max(_FORGOTTEN_ABOVE, len(inspected)):
                inspected = pl.concat([inspected, others])
        self._shelf.put(_ROWS, settings, {_ROWS: _parquet(inspected)})

    def load_verdicts(self, schema: pl.Schema, *, version: int) -> pl.DataFrame:
        """Return what is known of pairs, as it was saved; no row where nothing is."""
        table = self._table(_VERDICTS, {"version": version}, schema)
        return schema.to_frame() if table is None else table

    def save_verdicts(self, verdicts: pl.DataFrame, *, version: int) -> None:
        """Keep what is known of pairs.

        Args:
            verdicts: Any table; it replaces the one before.
            version: Of the way they were found; what another one has found does not count.
        """
        if self._shelf is not None:
            self._shelf.put(_VERDICTS, {"version": version}, {_VERDICTS: _parquet(verdicts)})

    def load_outcome(self, key: str) -> Audit | None:
        """Return the outcome of an earlier audit of the very same set; None without one.

        It says that no file was read, all were reused, and that it took 0 seconds.
        """
        found = None if self._shelf is None else self._shelf.get(_OUTCOME, key)
        if found is None:
            return None
        about, parts = found
        manifest, pairs, quarantine = (
            pl.read_parquet(BytesIO(parts[name])) for name in ("manifest", "pairs", "quarantine")
        )
        audited = Manifest(
            Path(about["root"]),
            tuple(about["class_names"]),
            manifest,
            dict(about["ignored"]),
            {kind: tuple(paths) for kind, paths in about["passed_over"].items()},
        )
        findings = tuple(Finding.from_dict(plain) for plain in about["findings"])
        return Audit(audited, findings, pairs, quarantine, 0, len(manifest), 0.0)

    def save_outcome(self, key: str, audit: Audit) -> None:
        """Keep the outcome of an audit, unless a file in it is to be tried again."""
        if self._shelf is None or audit.quarantine["reason_code"].is_in(TRIED_AGAIN).any():
            return
        about = {
            "root": str(audit.manifest.root),
            "class_names": audit.manifest.class_names,
            "ignored": dict(audit.manifest.ignored),
            "passed_over": dict(audit.manifest.passed_over),
            "findings": [finding.to_dict() for finding in audit.findings],
        }
        parts = {
            "manifest": _parquet(audit.manifest.table),
            "pairs": _parquet(audit.pairs),
            "quarantine": _parquet(audit.quarantine),
        }
        self._shelf.put(_OUTCOME, key, parts, about)

    def _table(self, name: str, settings: object, schema: pl.Schema) -> pl.DataFrame | None:
        found = None if self._shelf is None else self._shelf.get(name, settings)
        if found is None:
            return None
        table = pl.read_parquet(BytesIO(found[1][name]))
        return table if table.schema == schema else None


def _row_settings(max_megapixels: float) -> dict[str, object]:
    return {"versions": _versions(), "max_megapixels": float(max_megapixels)}


def _parquet(table: pl.DataFrame) -> bytes:
    buffer = BytesIO()
    table.write_parquet(buffer, compression="lz4")
    return buffer.getvalue()
