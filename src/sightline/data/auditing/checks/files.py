"""Files that cannot be used, are no longer the same, or are not what their name says."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from sightline.data.auditing.checks.audited import AuditedSet, counts_by, ids_by
from sightline.data.auditing.checks.outcomes import (
    Outcomes,
    counted,
    joined,
    listed,
    part_of,
    percent,
)
from sightline.records import Finding

# A handful of broken files in a large set is life; more than this says that a copy or a download
# went wrong, and a class that loses more than this is no longer the class it was.
UNREADABLE_SHARE = 0.01
UNREADABLE_FILES = 100
UNREADABLE_SHARE_OF_CLASS = 0.05

_EXTENSION = "EXT_MISMATCH"
_OWN_CHECK = (_EXTENSION, "EXIF_ROTATED")
# With these something of the file is not seen: other frames, what a resize to a square leaves of
# it, what was transparent. The other notes say how it was read, and nothing is lost.
_LOSING = ("MULTIFRAME", "TINY", "EXTREME_ASPECT", "ALPHA")
_NOTE_WORDS = {
    "TRAILING_BYTES": "with bytes after the picture",
    "CMYK": "in printing colours",
    "MULTIFRAME": "with several frames",
    "TINY": "under 8 pixels",
    "EXTREME_ASPECT": "longer than 32:1",
    "ALPHA": "partly transparent",
    "SIXTEEN_BIT": "of 16 bits",
}
_POSSIBLY_IMAGES = "name is not UTF-8"  # the kind passed over that an image may be among

_UNREADABLE = Outcomes("unreadable-files", "error")
_CHANGED = Outcomes("changed-files", "error")
_MISMATCH = Outcomes("extension-mismatch", "info")
_ODD = Outcomes("odd-files", "warning")
_IGNORED = Outcomes("ignored-files", "info")


def unreadable_files(audited: AuditedSet) -> Finding:
    """Return which files cannot be read; an error when they are over the budget."""
    broken, total = audited.unreadable, len(audited.rows)
    if not len(broken):
        return _UNREADABLE.passed(f"All of {counted(total, 'file')} can be read.")
    lost = counts_by(broken, "label")
    of_class = counts_by(audited.rows, "label")
    heavy = {
        name: f"{count:,} of {of_class[name]:,}"
        for name, count in lost.items()
        if count > UNREADABLE_SHARE_OF_CLASS * of_class[name]
    }
    over = len(broken) > min(UNREADABLE_FILES, UNREADABLE_SHARE * total)
    reasons = counts_by(broken, "reason")
    title = (
        f"{len(broken):,} of {counted(total, 'file')} cannot be read "
        f"({percent(len(broken), total)}): {listed(reasons)}."
    )
    if heavy:
        title = f"{title[:-1]}; {_losing_much(heavy)}."
    return _UNREADABLE.found(
        title,
        {
            "ids_by_reason": ids_by(broken, "reason"),
            "counts_by_class": lost,
            "classes_over_budget": heavy,
            "files": total,
        },
        "They are left out of every split and never deleted. Copy or download them again and run "
        "`sightline audit` once more; quarantine.jsonl holds the reason of each.",
        severity="error" if over or heavy else "warning",
    )


def changed_files(audited: AuditedSet) -> Finding:
    """Return which files are not what an earlier audit saw."""
    changed = audited.changed
    if len(changed):
        return _CHANGED.found(
            f"{counted(len(changed), 'file')} changed since the earlier audit: the content's "
            "sha256 is another.",
            {
                "ids": changed["record_id"].to_list(),
                "counts_by_class": counts_by(changed, "label"),
                "gone": list(audited.earlier.gone) if audited.earlier else [],
            },
            "Find out who changed them: a damaged disk also looks like this. Where the change is "
            "meant, audit without the earlier manifest.",
        )
    if audited.earlier is None:
        return _CHANGED.not_applicable("No earlier audited manifest was given to compare with.")
    gone = audited.earlier.gone
    same = f"No content of {counted(audited.earlier.shared, 'file')} differs from the earlier audit"
    if gone:
        return _CHANGED.found(
            f"{same}, and {counted(len(gone), 'file')} that it saw "
            f"{'is' if len(gone) == 1 else 'are'} gone.",
            {"gone": list(gone)},
            "Put them back, if nobody took them away on purpose.",
            severity="warning",
        )
    return _CHANGED.passed(f"{same}.")


def extension_mismatch(audited: AuditedSet) -> Finding:
    """Return which files are of another format than their name says."""
    rows = _noted(audited.usable).filter(pl.col("note") == _EXTENSION)
    if not len(rows):
        return _MISMATCH.passed("Every file's name fits its content.")
    formats = counts_by(rows, "format")
    return _MISMATCH.found(
        f"{counted(len(rows), 'file holds', 'files hold')} another format than the name says: "
        f"{listed(formats)}.",
        {"ids_by_format": ids_by(rows, "format")},
        "Sightline goes by the content, so nothing is lost here. Rename them where other "
        "programs are to read them.",
    )


def odd_files(audited: AuditedSet) -> Finding:
    """Return which files were read with a note."""
    rows = _noted(audited.usable).filter(pl.col("note").is_in(_OWN_CHECK).not_())
    if not len(rows):
        return _ODD.passed("No file needed a note to be read.")
    notes = counts_by(rows, "note")
    words = {_NOTE_WORDS.get(note, note): count for note, count in notes.items()}
    return _ODD.found(
        f"{part_of(rows['record_id'].n_unique(), len(audited.usable), 'file')} unusual: "
        f"{listed(words)}.",
        {"ids_by_note": ids_by(rows, "note")},
        "They are used: the first frame, transparency on the recipe's data.background, 16 bits "
        "as 8. Look at a few, and take out of the folder what does not belong there.",
        severity="warning" if set(notes) & set(_LOSING) else "info",
    )


def ignored_files(audited: AuditedSet) -> Finding:
    """Return what the scan passed over."""
    ignored = {str(kind): int(count) for kind, count in audited.manifest.ignored.items() if count}
    if not ignored:
        return _IGNORED.passed("The scan passed nothing over.")
    total = sum(ignored.values())
    return _IGNORED.found(
        f"{counted(total, 'entry', 'entries')} of the folder passed over: {listed(ignored)}.",
        {
            "counts_by_kind": ignored,
            "names_by_kind": {
                kind: list(names) for kind, names in audited.manifest.passed_over.items()
            },
        },
        "Nothing to do where these are notes, labels and what systems leave behind; an image "
        "among them needs a plain name with an image's extension.",
        severity="warning" if _POSSIBLY_IMAGES in ignored else "info",
    )


def _losing_much(heavy: Mapping[str, str]) -> str:
    """Return which classes are over the budget, up to three by name."""
    if len(heavy) == 1:
        ((name, part),) = heavy.items()
        return f"class {name!r} loses {part}"
    names = [f"{name!r} ({part})" for name, part in list(heavy.items())[:3]]
    if len(heavy) > len(names):
        names.append(counted(len(heavy) - len(names), "other"))
    return f"classes {joined(names)} lose more than {100 * UNREADABLE_SHARE_OF_CLASS:.0f} %"


def _noted(usable: pl.DataFrame) -> pl.DataFrame:
    """Return one row for each note of each usable file."""
    noted = usable.filter(pl.col("reason").is_not_null()).select("record_id", "format", "reason")
    return noted.with_columns(note=pl.col("reason").str.split(", ")).explode("note")
