"""Data sets as an audit sees them, without files: rows to plant one fault in."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl

from sightline.data.auditing.checks import Earlier, run_checks
from sightline.data.auditing.copies import RADIUS, TURNED_RADIUS, VERDICTS_SCHEMA, Copies
from sightline.data.auditing.inspected import INSPECTED_SCHEMA
from sightline.records import PAIRS_SCHEMA, SPLITS, Finding, Manifest

Row = dict[str, Any]

# A colour photograph of 256 px that nothing is wrong with.
_SOUND = {
    "label": None, "group": None, "split": None,
    "bytes": 20_000, "mtime_ns": 1, "status": "ok", "format": "JPEG", "width": 256, "height": 256,
    "mode": "RGB", "bits": 8, "orientation": 1, "frames": 1, "alpha": False, "grey": False,
    "quality": 3.0, "phash": 1, "brightness": 120.0, "contrast": 50.0, "brightest": 220.0,
    "sharpness": 400.0, "border_brightness": 100.0, "border_contrast": 30.0,
}  # fmt: skip
_OF_THE_MANIFEST = ("label", "group", "split", "status", "reason")


def rows(count: int, label: str | None = "a", **columns: Any) -> list[Row]:
    """Return sound rows named `<split>/<label>/0000.jpg` and on, with these columns changed."""
    folder = "/".join(part for part in (columns.get("split"), label) if part)
    return [
        {"record_id": f"{folder}/{number:04d}.jpg", "label": label, **columns}
        for number in range(count)
    ]


def named(names: Iterable[str], **columns: Any) -> list[Row]:
    """Return a sound row for each path `[<split>/]<label>/.../<name>`."""
    made = []
    for name in names:
        first, *others = name.split("/")
        split, label = (first, others[0]) if first in SPLITS else (None, first)
        made.append({"record_id": name, "label": label, "split": split, **columns})
    return made


def audited(
    chosen: Sequence[Row],
    *,
    near: Sequence[Sequence[str]] = (),
    how: str = "same",
    unbound: tuple[tuple[str, ...], ...] = (),
    ignored: Mapping[str, int] | None = None,
    radius: tuple[int, int] = (RADIUS, TURNED_RADIUS),
) -> tuple[Manifest, pl.DataFrame, Copies]:
    """Return what `run_checks` takes: equal sha256 are copies, `near` are groups of near copies."""
    whole = sorted((_whole(row) for row in chosen), key=lambda row: str(row["record_id"]))
    table = pl.DataFrame(whole, {**dict.fromkeys(_OF_THE_MANIFEST, pl.String), **INSPECTED_SCHEMA})
    manifest = Manifest.make(
        Path("/set"), table.select("record_id", *_OF_THE_MANIFEST), ignored=ignored
    )
    counts = table["sha256"].value_counts()
    twice = counts.filter(pl.col("count") > 1)["sha256"].implode()
    copy_group = table.select(
        pl.when(pl.col("sha256").is_in(twice)).then(pl.col("sha256").str.head(16))
    )["sha256"]
    group_of = {name: f"near-{number}" for number, ids in enumerate(near) for name in ids}
    near_group = pl.Series([group_of.get(name) for name in table["record_id"]], dtype=pl.String)
    pairs = [
        {"first": one, "second": other, "kind": "near copy", "how": how, "similarity": 0.98}
        for ids in near
        for one, other in pairwise(ids)
    ]
    copies = Copies(
        pl.DataFrame(pairs, PAIRS_SCHEMA), copy_group, near_group, unbound,
        VERDICTS_SCHEMA.to_frame(), radius,
    )  # fmt: skip
    return manifest, table.select(INSPECTED_SCHEMA.names()), copies


def findings(
    chosen: Sequence[Row], *, earlier: Earlier | None = None, **kwargs: Any
) -> dict[str, Finding]:
    """Return the finding of every check by code; each goes through JSON on the way."""
    found = run_checks(*audited(chosen, **kwargs), earlier=earlier)
    return {
        finding.code: Finding.from_dict(json.loads(json.dumps(finding.to_dict(), allow_nan=False)))
        for finding in found
    }


def _whole(row: Row) -> Row:
    digest = hashlib.sha256(str(row["record_id"]).encode()).hexdigest()
    known = {"sha256": digest, "pixels": int(digest[:15], 16), "reason": None, **_SOUND, **row}
    return {name: known.get(name) for name in (*_OF_THE_MANIFEST, *INSPECTED_SCHEMA)}
