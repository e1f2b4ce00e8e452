"""Checkpoints: folders that appear complete, or not at all, the newest two of them."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sightline.errors import RunError
from sightline.runs.files import (
    Tensors,
    file_sha256,
    flush_to_disk,
    make_folder,
    read_tensors,
    write_content,
    write_json,
    write_tensors,
)

CHECKPOINT_VERSION = 4  # of what `meta` holds: a training goes on from its own version alone
GENERATIONS = 2  # kept: if the newest is damaged on the disk, the one before it is used
_NAME = re.compile(r"step-(?P<step>\d+)(\.(?P<again>\d+))?")
_TENSORS, _META, _SUMS = "state.safetensors", "meta.json", "SHA256"


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """What was saved of a training.

    Attributes:
        path: Its folder.
        tensors: By name.
        meta: Everything else, plain JSON values.
    """

    path: Path
    tensors: Tensors
    meta: Mapping[str, Any]


def save_checkpoint(run: Path, step: int, tensors: Tensors, meta: Mapping[str, Any]) -> None:
    """Write `checkpoints/step-N/` in one step and drop all but the newest GENERATIONS.

    A checkpoint is {state.safetensors, meta.json, SHA256}; the folder appears complete, and what
    was there stays until then. The same step saved again, as before its validation and after, is
    `step-N.2`, so that there is no moment without the newest one. `meta` has at least the 0-based
    `epoch`. What a killed process left half written is removed, and so are checkpoints of later
    steps: whoever saves an earlier one has given them up.

    Raises:
        OSError: It could not be written; those before stand.
    """
    folder = run / "checkpoints"
    make_folder(folder)
    final = _new_name(folder, step)
    beside = folder / f".{final.name}.{os.getpid()}"
    _remove_hidden(folder)
    beside.mkdir()
    try:
        write_tensors(beside / _TENSORS, tensors, epoch=meta["epoch"])
        write_json(beside / _META, meta)
        write_content(beside / _SUMS, _sums(beside))
        beside.rename(final)
        flush_to_disk(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    _drop_others(run, final)


def _new_name(folder: Path, step: int) -> Path:
    """Return a name that no checkpoint has, and that sorts behind those of the same step."""
    there = [_place(path)[1] for path in folder.glob(f"step-{step:08d}*")]
    return folder / (f"step-{step:08d}.{max(there) + 1}" if there else f"step-{step:08d}")


def _place(path: Path) -> tuple[int, int]:
    """Return the step of a checkpoint, and which of that step it is; (-1, 0) of anything else."""
    found = _NAME.fullmatch(path.name)
    return (int(found["step"]), int(found["again"] or 1)) if found else (-1, 0)


def _drop_others(run: Path, newest: Path) -> None:
    """Remove all checkpoints but the newest and those kept before it, each in one step."""
    complete = [path for path in _complete(run) if _place(path)[0] < _place(newest)[0]]
    kept = [*complete[1 - GENERATIONS :], newest]
    for path in newest.parent.iterdir():
        if path.name.startswith("step-") and path not in kept:
            with suppress(OSError):  # it is tried again when the next one is saved
                gone = path.rename(path.with_name(f".{path.name}.gone"))
                shutil.rmtree(gone)
    _remove_hidden(newest.parent)  # at once, too: this may be the last one


def _remove_hidden(folder: Path) -> None:
    """Remove what is left of checkpoints that were begun, dropped or set aside, if it can be."""
    for left in folder.glob(".step-*"):  # the run is locked: nobody is writing it
        shutil.rmtree(left, ignore_errors=True)


def latest_checkpoint(run: Path) -> Path | None:
    """Return the folder of the newest complete checkpoint."""
    return next(reversed(_complete(run)), None)


def load_checkpoint(run: Path) -> tuple[Checkpoint | None, list[str]]:
    """Return the newest checkpoint that is intact, None without one, and which are not.

    Every byte of a checkpoint is covered by a checksum.
    """
    damaged: list[str] = []
    for path in reversed(_complete(run)):
        try:
            return _loaded(path), damaged
        except RunError as error:
            damaged.append(str(error))
    return None, damaged


def set_aside_damaged(run: Path, intact: Checkpoint) -> None:
    """Take the checkpoints after an intact one away, as training goes on from that.

    They would count as one of the GENERATIONS, and it would be dropped in their favour.

    Raises:
        OSError: One could not be renamed.
    """
    for path in _complete(run):
        if _place(path) > _place(intact.path):
            # Hidden ones are removed with the next that is saved.
            path.rename(path.with_name(f".{path.name}.damaged"))


def _loaded(path: Path) -> Checkpoint:
    try:
        if (path / _SUMS).read_bytes() != _sums(path).encode():
            raise RunError(f"{path} is damaged: its files do not have the checksums in {_SUMS}")
        tensors, _ = read_tensors(path / _TENSORS)
        meta = json.loads((path / _META).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path} is damaged or cannot be read: {error}") from error
    return Checkpoint(path, tensors, meta)


def _complete(run: Path) -> list[Path]:
    """Return the checkpoints that have all their files, the newest last."""
    found = (sums.parent for sums in (run / "checkpoints").glob(f"step-*/{_SUMS}"))
    return sorted((path for path in found if _place(path)[1]), key=_place)


def _sums(folder: Path) -> str:
    return "".join(f"{file_sha256(folder / name)}  {name}\n" for name in (_TENSORS, _META))
