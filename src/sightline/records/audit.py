"""What a look at every file of a data set found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from sightline.errors import RecipeError
from sightline.records.finding import Finding
from sightline.records.manifest import Manifest

# One row a pair of images that are the same picture. `how` is what has to be done to the first
# for it to become the second: "same", "mirrored" (left and right), "flipped" (up and down),
# "rotated 90" (counter-clockwise), "rotated 180", "rotated 270", "transposed" (along the main
# diagonal), "transversed" (along the other one). `similarity` is 0..1; equal bytes are 1.
PAIRS_SCHEMA = pl.Schema(
    {
        "first": pl.String,
        "second": pl.String,
        "kind": pl.String,  # "copy": equal bytes; "near copy": confirmed on pixels
        "how": pl.String,
        "similarity": pl.Float32,
    }
)
# One row a file that is not used, as the lines of quarantine.jsonl.
QUARANTINE_SCHEMA = pl.Schema(
    {
        "record_id": pl.String,
        "bytes": pl.Int64,
        "sha256": pl.String,
        "stage": pl.String,  # "open", "header" or "decode"
        "reason_code": pl.String,
        "detail": pl.String,
    }
)


@dataclass(frozen=True, slots=True)
class Audit:
    """The outcome of an audit: an audited manifest, and what was found.

    Attributes:
        manifest: The one given, with all columns filled: contents, sizes, copies, quarantine.
        findings: Of every check, whatever the outcome; the worst first.
        pairs: Columns of PAIRS_SCHEMA: the confirmed pairs that join copies to groups.
        quarantine: Columns of QUARANTINE_SCHEMA, by record id.
        num_read: Files that were read this time.
        num_reused: Files that were known from an earlier audit and have not changed since.
        seconds: What it took.
    """

    manifest: Manifest
    findings: tuple[Finding, ...]
    pairs: pl.DataFrame
    quarantine: pl.DataFrame
    num_read: int
    num_reused: int
    seconds: float

    def __post_init__(self) -> None:
        for name, schema in (("pairs", PAIRS_SCHEMA), ("quarantine", QUARANTINE_SCHEMA)):
            table = getattr(self, name)
            if table.schema != schema:
                raise ValueError(f"{name} must have the columns {schema}, got {table.schema}")

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The error-level findings that stand: found and not muted."""
        return tuple(f for f in self.findings if f.stands and f.severity == "error")

    def muting(self, codes: Sequence[str]) -> Audit:
        """Return the audit with the findings of these codes muted, and no others.

        Raises:
            RecipeError: There is no finding of that code.
        """
        refuse_unknown_codes(codes, [finding.code for finding in self.findings])
        findings = tuple(replace(f, muted=f.code in codes) for f in self.findings)
        return replace(self, findings=findings)

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the manifest as plain JSON values (`audit.json`)."""
        usable = len(self.manifest) - len(self.quarantine)
        return {
            "format_version": 1,
            "root": str(self.manifest.root),
            "images": len(self.manifest),
            "usable": usable,
            "classes": self.manifest.counts().rows(named=True),
            "num_read": self.num_read,
            "num_reused": self.num_reused,
            "seconds": round(self.seconds, 3),
            "errors": [finding.code for finding in self.errors],
            "findings": [finding.to_dict() for finding in self.findings],
            "pairs": self.pairs.rows(named=True),
            "quarantine": self.quarantine.rows(named=True),
        }


def refuse_unknown_codes(codes: Sequence[str], known: Sequence[str]) -> None:
    """Refuse to mute what no finding is called.

    Raises:
        RecipeError: One of the codes is not among the known ones.
    """
    unknown = sorted(set(codes) - set(known))
    if unknown:
        raise RecipeError(
            f"audit.mute has {', '.join(map(repr, unknown))}, which no finding is called. "
            f"There are: {', '.join(sorted(set(known)))}."
        )
