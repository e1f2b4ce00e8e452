"""What belongs together: groups that a split divides, and groups that only file names tell of."""

from __future__ import annotations

from sightline.data.auditing.checks.audited import AuditedSet
from sightline.data.auditing.checks.crossing import crossing
from sightline.data.auditing.checks.guessing import guesses
from sightline.data.auditing.checks.outcomes import Outcomes, counted
from sightline.records import Finding

_GROUPS_CROSS = Outcomes("groups-across-splits", "error")
_GUESSED = Outcomes("guessed-groups", "warning")


def groups_across_splits(audited: AuditedSet) -> Finding:
    """Return which groups, patients or lesions, lie on several sides of the split."""
    rows = audited.usable.drop_nulls("group")
    if not len(rows):
        return _GROUPS_CROSS.not_applicable("The manifest has no groups.")
    return crossing(
        _GROUPS_CROSS,
        audited,
        rows,
        "group",
        what=("group lies", "groups lie"),
        passed="No group lies on two sides of the split.",
    )


def guessed_groups(audited: AuditedSet) -> Finding:
    """Return the groups that file names suggest, as a pattern to use if it is right."""
    rows = audited.usable
    if rows["group"].drop_nulls().len():
        return _GUESSED.not_applicable(
            f"Groups are given: {counted(rows['group'].n_unique(), 'group')}."
        )
    found = guesses(rows)
    if not found:
        return _GUESSED.passed("File names do not tell of images that belong together.")
    best = found[0]
    title = (
        f"File names suggest {counted(best.num_groups, 'group')} among {best.num_images:,} of "
        f"{counted(len(rows), 'image')}, {best.num_several:,} of them with several images"
    )
    if best.across:
        title += f"; {counted(len(best.across), 'such group')} on several sides of the split"
    return _GUESSED.found(
        f"{title}: {best.what}.",
        {
            "regex": best.regex,
            "num_groups": best.num_groups,
            "num_several": best.num_several,
            "num_images": best.num_images,
            "examples": best.examples,
            "groups_across_splits": best.across,
            "patterns": [guess.to_dict() for guess in found],
        },
        f"If these are patients, lesions or the like, scan with --group-regex '{best.regex}' (or "
        "--group-col, where a table names them), so that none is on two sides of a split. "
        "Nothing is grouped by a guess.",
    )
