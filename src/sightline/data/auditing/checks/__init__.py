"""What is wrong with a data set, one finding a check, whatever its outcome.

audited    what every check is given
outcomes   found, passed, not applicable: and the words they are said in
crossing   what belongs together and lies on several sides of the split
files      unreadable, changed, misnamed, odd, passed over
copies     the same picture twice, under two labels, on two sides
groups     groups that a split divides; groups that file names suggest
guessing   the patterns behind those
counts     too little to measure on, classes of unequal size
pictures   sizes, depths, colours, rotations; one colour, dark, blurred
shortcut   metadata that predict the label
features   the metadata, and the one rule that a feature allows
predicting cross-validated small trees, and how sure their AUC is
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import polars as pl

from sightline.data.auditing.checks import copies as _copies
from sightline.data.auditing.checks import counts, files, groups, pictures
from sightline.data.auditing.checks.audited import AuditedSet, Earlier
from sightline.data.auditing.checks.shortcut import shortcut
from sightline.records import Finding, Manifest

if TYPE_CHECKING:
    from sightline.data.auditing.copies import Copies

__all__ = ["CHECKS_VERSION", "CODES", "Earlier", "run_checks"]

CHECKS_VERSION = 2  # raise it when any finding comes out differently: they are kept between audits

# The order of the report: what stops a training, what makes its figures wrong, what to look at.
_CHECKS: Mapping[str, Callable[[AuditedSet], Finding]] = MappingProxyType(
    {
        "unreadable-files": files.unreadable_files,
        "changed-files": files.changed_files,
        "conflicting-labels": _copies.conflicting_labels,
        "copies-across-splits": _copies.copies_across_splits,
        "near-copies-across-splits": _copies.near_copies_across_splits,
        "groups-across-splits": groups.groups_across_splits,
        "exact-copies": _copies.exact_copies,
        "near-copies": _copies.near_copies,
        "unbound-cluster": _copies.unbound_cluster,
        "guessed-groups": groups.guessed_groups,
        "shortcut": shortcut,
        "small-splits": counts.small_splits,
        "small-classes": counts.small_classes,
        "class-imbalance": counts.class_imbalance,
        "mixed-sizes": pictures.mixed_sizes,
        "mixed-depths": pictures.mixed_depths,
        "mixed-colours": pictures.mixed_colours,
        "exif-rotations": pictures.exif_rotations,
        "constant-images": pictures.constant_images,
        "dark-images": pictures.dark_images,
        "blurred-images": pictures.blurred_images,
        "extension-mismatch": files.extension_mismatch,
        "odd-files": files.odd_files,
        "ignored-files": files.ignored_files,
    }
)
CODES: tuple[str, ...] = tuple(_CHECKS)
# These look at all files, the others at those that can be used.
_OF_ALL_FILES = ("unreadable-files", "changed-files", "ignored-files")


def run_checks(
    manifest: Manifest, inspected: pl.DataFrame, copies: Copies, *, earlier: Earlier | None = None
) -> list[Finding]:
    """Return the finding of every check, in the order of CODES.

    Deterministic; nothing is read from disk.

    Args:
        manifest: Audited: its status and reason are filled.
        inspected: Columns of INSPECTED_SCHEMA, rows as the manifest's.
        copies: Its groups have a value for each row of the manifest.
        earlier: What contents were compared with; None where there was nothing.

    Raises:
        ValueError: The three are not about the same records.
    """
    audited = AuditedSet.make(manifest, inspected, copies, earlier=earlier)
    found = [check(audited) for check in _CHECKS.values()]
    return found if len(audited.usable) else [_without_images(finding) for finding in found]


def _without_images(finding: Finding) -> Finding:
    """Return what a check comes to where every image is in quarantine."""
    if finding.code in _OF_ALL_FILES:
        return finding
    return Finding(finding.code, finding.severity, "No image is usable.", outcome="not applicable")
