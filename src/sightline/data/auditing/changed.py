"""Which images are no longer what was looked at."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import polars as pl

from sightline.data import images
from sightline.data.auditing.known import files_now
from sightline.errors import DataError
from sightline.progress import Progress
from sightline.records import Manifest, Split
from sightline.records.manifest import QUARANTINED


class Changed(NamedTuple):
    """Record ids, in the manifest's order.

    Attributes:
        rewritten: Of images whose bytes are others than when they were looked at.
        missing: Of images that cannot be read now.
    """

    rewritten: tuple[str, ...]
    missing: tuple[str, ...]


def changed_since(manifest: Manifest, splits: Sequence[Split], progress: Progress) -> Changed:
    """Return which usable images of some splits are not as the audit saw them.

    Length and time are asked of every file, 3 microseconds each; a file of another time is read,
    and has changed if its SHA-256 has. One that was rewritten with the same length and the same
    time is not noticed. Images that no audit looked at are passed over.

    Args:
        manifest: Audited.
        splits: Of which splits.
        progress: Where the bar of files that have to be read goes.
    """
    looked_at = pl.col("sha256").is_not_null() & pl.col("status").ne_missing(QUARANTINED)
    wanted = manifest.table.filter(pl.col("split").is_in(splits) & looked_at)
    now = files_now(replace(manifest, table=wanted))
    other = now["bytes"].ne_missing(wanted["bytes"]) | now["mtime_ns"].ne_missing(
        wanted["mtime_ns"]
    )
    suspects = wanted.with_columns(now_bytes=now["bytes"]).filter(other)
    rewritten: list[str] = []
    missing: list[str] = []
    with progress.step("Looking at images that were written anew", len(suspects)) as step:
        for record_id, sha256, size, now_size in suspects.select(
            "record_id", "sha256", "bytes", "now_bytes"
        ).iter_rows():
            try:
                if size != now_size or _digest(manifest, record_id) != sha256:
                    (missing if now_size is None else rewritten).append(record_id)
            except DataError:
                missing.append(record_id)
            step.advance()
    return Changed(tuple(rewritten), tuple(missing))


def _digest(manifest: Manifest, record_id: str) -> str:
    """Return the SHA-256 of an image's bytes as they are now, whenever they were written."""
    place = manifest.locate(record_id)._replace(mtime_ns=-1)
    return hashlib.sha256(images.read_file(place)).hexdigest()
