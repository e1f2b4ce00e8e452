"""How often a test split was looked at: each look makes the next choice a little less honest.

A look is one evaluation on the test split, by whichever run. They are counted for each user, by
what the split holds, so that ten runs on one manifest count as ten looks at the same images.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from sightline.records import Manifest


def state_folder() -> Path | None:
    """Return the folder for what is remembered for good; None for a user without a home.

    SIGHTLINE_STATE, else "sightline" in the user's folder for state. Unlike the cache it is never
    emptied.
    """
    if chosen := os.environ.get("SIGHTLINE_STATE"):
        return Path(chosen).expanduser().absolute()
    given = Path(os.environ.get("XDG_STATE_HOME", ""))
    if sys.platform == "linux" and given.is_absolute():
        return given / "sightline"
    try:
        home = Path.home()
    except RuntimeError:
        return None
    below = "Library/Application Support" if sys.platform == "darwin" else ".local/state"
    return home / below / "sightline"


def note_look(manifest: Manifest, run: Path) -> int | None:
    """Count one more look at the manifest's test split, and return how many there are now.

    None where nothing can be remembered: there is no home, or it is read-only.
    """
    path = _ledger(manifest)
    if path is None:
        return None
    look = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "run": str(run.absolute())}
    line = json.dumps(look).encode() + b"\n"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with path.open("ab+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            before = file.read()
            torn = bool(before) and not before.endswith(b"\n")  # by a full disk or a crash
            file.write(b"\n" * torn + line)
            return _counted(before) + 1
    except OSError:
        return None


def count_looks(manifest: Manifest) -> int:
    """Return how often the manifest's test split was looked at, as far as is known."""
    path = _ledger(manifest)
    try:
        return _counted(path.read_bytes()) if path is not None else 0
    except OSError:
        return 0


def _counted(content: bytes) -> int:
    """Return how many lines are looks; what is damaged counts as none."""
    return sum(
        line.startswith(b'{"time": ') and line.endswith(b"}") for line in content.split(b"\n")
    )


def _ledger(manifest: Manifest) -> Path | None:
    """Return the file of this test split's looks; one split, one file, wherever its images are."""
    folder = state_folder()
    if folder is None:
        return None
    content = manifest.of_split("test").select(pl.coalesce("sha256", "record_id")).to_series()
    digest = hashlib.sha256("\n".join(content.sort().to_list()).encode())
    return folder / "looks" / f"{digest.hexdigest()}.jsonl"
