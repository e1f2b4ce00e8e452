"""Groups that only file names tell of, used where somebody asked for it."""

from __future__ import annotations

import dataclasses

from sightline.data.auditing.checks.guessing import guesses
from sightline.data.sources import ScanOptions
from sightline.errors import DataError
from sightline.records import Finding, Manifest


def with_discovered_groups(manifest: Manifest) -> tuple[Manifest, Finding]:
    """Return the manifest with the groups that its file names suggest, and what they are.

    The pattern is the first that the audit's finding `guessed-groups` proposes.

    Raises:
        DataError: The manifest has groups already, or the names tell of none.
    """
    if manifest.table["group"].null_count() < len(manifest):
        raise DataError(
            f"the images of {manifest.root} have groups already, so none are to be discovered. "
            "Leave that out, or scan the images without groups."
        )
    found = guesses(manifest.table)
    if not found:
        raise DataError(
            f"the file names of {manifest.root} do not tell of images that belong together. Name "
            "the groups yourself: --group-regex, or --group-col of a table."
        )
    best = found[0]
    groups = ScanOptions(group_regex=best.regex).groups(manifest.table["record_id"])
    assert groups is not None, "there is a pattern"
    grouped = dataclasses.replace(
        manifest, table=manifest.table.with_columns(groups.alias("group"))
    )
    finding = Finding(
        "discovered-groups",
        "info",
        f"{best.num_images:,} of {len(manifest):,} images are in {best.num_groups:,} groups by "
        f"their names: {best.what}.",
        {"regex": best.regex, "examples": best.examples},
        f"It is a guess, and the same as --group-regex '{best.regex}': look at the examples.",
    )
    return grouped, finding
