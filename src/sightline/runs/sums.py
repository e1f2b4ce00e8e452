"""The files of a run that stay as they are, each with its sha256 in `run.json`.

So a bit that flips in one of them, or a hand that changes it, is noticed before figures are made
of it. What changes with every epoch has a checksum inside: see `files` and `epochs`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sightline.errors import RunError
from sightline.runs.files import SEAL, file_sha256, read_json, write_content, write_sealed
from sightline.runs.places import NETWORK

RECIPE, MANIFEST = "recipe.toml", "manifest.parquet"
_LASTING = (RECIPE, MANIFEST, f"{MANIFEST}.npy", NETWORK, "audit.json", "plan.txt")

Sums = dict[str, list[str]]


def sums_of(run: Path) -> Sums:
    """Return the sha256 of each file that was written before the first step.

    Raises:
        OSError: One cannot be read.
    """
    there = [name for name in _LASTING if (run / name).exists()]
    return {name: [file_sha256(run / name)] for name in there}


def seals(info: Mapping[str, Any]) -> dict[str, type]:
    """Return what the JSON files of a run must say: a sum, if `run.json` has those of others."""
    return {SEAL: str} if "files" in info else {}


def is_as_written(run: Path, info: Mapping[str, Any], name: str) -> bool:
    """Say whether a file is what was written; of one that `run.json` does not know, yes.

    Raises:
        RunError: It cannot be read.
    """
    known = info.get("files", {}).get(name)
    if known is None:
        return True
    try:
        return file_sha256(run / name) in known
    except FileNotFoundError:
        return False
    except OSError as error:
        raise RunError(f"{run / name} cannot be read: {error.strerror}") from error


def refuse_changed(run: Path, info: Mapping[str, Any], name: str) -> None:
    """Refuse a file that is not what was written: figures would be of something else.

    Raises:
        RunError: It was changed, is damaged or missing, or cannot be read.
    """
    if is_as_written(run, info, name):
        return
    happened = "is not as Sightline wrote it: it was changed, or is damaged"
    if not (run / name).exists():
        happened = "is missing"
    told = (
        f"{run / name} {happened}. Put it back as it was, or copy it again from where the run "
        "folder came from."
    )
    if name == RECIPE:
        told += (
            " To train by another recipe: sightline train DATA --recipe FILE.toml, in a folder of "
            f"its own. For more epochs in this one: sightline train --resume {run} "
            "--set train.epochs=N."
        )
    raise RunError(told)


def replace_file(run: Path, name: str, content: bytes) -> None:
    """Replace a file whose sum `run.json` has; at no moment is a good file one it does not know.

    Raises:
        RunError: `run.json` is damaged.
        OSError: It could not be written; what was there stands.
    """
    about = read_json(run / "run.json")
    known = about.get("files", {}).get(name)
    digest = hashlib.sha256(content).hexdigest()
    if known is not None and digest not in known:
        known.append(digest)
        write_sealed(run / "run.json", about)
    write_content(run / name, content)
