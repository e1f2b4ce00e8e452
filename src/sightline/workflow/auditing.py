"""Every file looked at before anything is learned from it, and what is kept of that look."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

from sightline import runs
from sightline.data import pictures
from sightline.data.auditing.audit import audit as audit_files
from sightline.data.auditing.checks import CODES
from sightline.data.sources import SourceOptions
from sightline.data.stream import cache_root, usable_cores
from sightline.errors import RecipeError, RunError, SetupError
from sightline.judging import reports
from sightline.progress import Progress, Shown
from sightline.recipes import load_recipe
from sightline.records import Audit, Manifest
from sightline.records.audit import refuse_unknown_codes
from sightline.workflow.data import manifest_of

_FILES = (
    "audit.json",
    "manifest.parquet",
    "manifest.parquet.npy",
    "quarantine.jsonl",
    "audit.html",
)
# What an interrupted write leaves beside them; see `runs.write_atomically`.
_LEFT_OVER = re.compile(
    r"\.(audit|manifest|quarantine)\.\d+\.(json|parquet|parquet\.npy|jsonl|html)"
)
_MOST_MEGAPIXELS = 10_000  # 240 GB for the process that decodes it
_SIDE = 192  # px of a picture on the page, the longer side


def audit(
    data: str | Path | Manifest | None = None,
    *,
    mute: Sequence[str] = (),
    recipe: str | Path | None = None,
    against: str | Path | Manifest | None = None,
    reuse: bool = True,
    max_megapixels: float = 64.0,
    out: str | Path | None = None,
    progress: Progress | None = None,
    **source: Unpack[SourceOptions],
) -> Audit:
    """Return what a look at every file found: unusable files, copies, leaks, shortcuts.

    Every file is decoded in full, in child processes that may crash or hang. Nothing is moved or
    changed: what cannot be used is quarantined in the manifest that comes back. A set of one
    class and lopsided splits are let through; they are findings.

    Args:
        data: What `scan` takes, or a manifest.
        mute: Codes of findings that do not count.
        recipe: A recipe whose `audit.mute` is muted as well.
        against: An earlier audited manifest, or its file: every file is read, and content that has
            changed since is quarantined, which finds damage that decodes without a word.
        reuse: Take what an earlier audit knows of files that have not changed.
        max_megapixels: Larger pictures are quarantined before anything is allocated.
        out: Save it all in this folder, as `save_audit`.
        progress: Where bars and lines go; by default to the terminal or notebook.
        **source: As `scan`.

    Raises:
        DataError: The images or the earlier manifest cannot be used as given.
        RecipeError: There is no such recipe, no finding of a muted code, or `max_megapixels` is
            not above 0 and at most 10,000.
        RunError: As `save_audit`.
    """
    muted = [*mute, *(load_recipe(recipe).audit.mute if recipe is not None else ())]
    refuse_unknown_codes(muted, CODES)
    if not 0 < max_megapixels <= _MOST_MEGAPIXELS:
        raise RecipeError(
            f"max_megapixels must be above 0 and at most {_MOST_MEGAPIXELS:,}, got {max_megapixels}"
        )
    if out is not None:
        _refuse_foreign_folder(Path(out))
    earlier = Manifest.load(Path(against)) if isinstance(against, (str, Path)) else against
    manifest = manifest_of(data, source, learnable=False)
    done = audit_files(
        manifest,
        keep=_kept(),
        workers=usable_cores(),
        against=earlier,
        reuse=reuse,
        max_megapixels=max_megapixels,
        progress=progress or Shown(),
    ).muting(muted)
    if out is not None:
        save_audit(done, Path(out))
    return done


def save_audit(audit: Audit, folder: str | Path) -> Path:
    """Write an audit into a folder and return the path of its page.

    `audit.json` (findings, pairs, quarantine), `manifest.parquet` with its index,
    `quarantine.jsonl` (one JSON object a line: path, bytes, sha256, stage, reason_code, detail)
    and `audit.html`, one page that loads nothing. Each replaces that of an earlier audit there
    in one step.

    Raises:
        RunError: The folder holds something else, or nothing may be written there; nothing of it
            is touched.
    """
    where = Path(folder)
    _refuse_foreign_folder(where)
    page = reports.render_audit(
        reports.AuditContents(
            name=audit.manifest.root.name or str(audit.manifest.root),
            audit=audit,
            pictures=pictures.thumbnails(
                audit.manifest, reports.records_to_show(audit), max_side=_SIDE
            ),
            headers=pictures.first_bytes(
                audit.manifest, reports.files_to_dump(audit), count=reports.DUMPED
            ),
        )
    )
    # First, because it says whose folder this is.
    runs.write_json(where / "audit.json", audit.to_dict())
    runs.save_manifest(audit.manifest, where / "manifest.parquet")
    runs.write_content(where / "quarantine.jsonl", _quarantine_lines(audit))
    runs.write_content(where / "audit.html", page)
    return where / "audit.html"


def _kept() -> Path | None:
    """Return where audits keep what they know; None for a user without a home folder."""
    try:
        return cache_root() / "audits"
    except SetupError:
        return None


def _quarantine_lines(audit: Audit) -> str:
    """Return one JSON object a line, in ASCII: no name of a file can break a line."""
    rows = audit.quarantine.rename({"record_id": "path"}).rows(named=True)
    return "".join(f"{json.dumps(row)}\n" for row in rows)


def _refuse_foreign_folder(folder: Path) -> None:
    """Refuse a folder that holds anything but an earlier audit, before work has gone into it.

    Raises:
        RunError: It does, is a file, or lies where nothing may be written.
    """
    if not folder.is_dir() or not any(folder.iterdir()):
        runs.check_new(folder)
        return
    names = {entry.name for entry in folder.iterdir()}
    others = sorted(name for name in names - set(_FILES) if not _LEFT_OVER.fullmatch(name))
    if others or "audit.json" not in names:
        told = others[0] if others else sorted(names)[0]
        raise RunError(
            f"{folder} holds {told!r}, which is no part of an audit, so nothing was written "
            "there. Give an empty or a new folder with --out."
        )
