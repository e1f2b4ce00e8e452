"""Checkpoints: folders that appear complete, or not at all, the newest two of them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sightline.errors import RunError
from sightline.runs.files import (
    Tensors,
    file_sha256,
    flush_to_disk,
    read_tensors,
    write_atomically,
    write_json,
    write_tensors,
)

GENERATIONS = 2  # kept: if the newest is damaged on the disk, the one before it is used
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
    was there stays until then. `meta` has at least the 0-based `epoch`. What a killed process
    left half written is removed.
    """
    final = run / "checkpoints" / f"step-{step:08d}"
    beside = final.with_name(f".{final.name}.{os.getpid()}")
    for left in final.parent.glob(".step-*"):  # the run is locked: nobody is writing it
        shutil.rmtree(left)
    beside.mkdir(parents=True)
    try:
        write_tensors(beside / _TENSORS, tensors, epoch=meta["epoch"])
        write_json(beside / _META, meta)
        sums = _sums(beside)
        write_atomically(beside / _SUMS, lambda path: path.write_text(sums, "utf-8"))
        if final.exists():  # the same step again, e.g. before its validation and after
            final.rename(final.with_name(f".{final.name}.replaced"))
        beside.rename(final)
        flush_to_disk(final.parent)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    kept = _complete(run)[-GENERATIONS:]
    for path in final.parent.iterdir():
        if path.name.lstrip(".").startswith("step-") and path not in kept:
            shutil.rmtree(path)


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
    return [found.parent for found in sorted((run / "checkpoints").glob(f"step-*/{_SUMS}"))]


def _sums(folder: Path) -> str:
    return "".join(f"{file_sha256(folder / name)}  {name}\n" for name in (_TENSORS, _META))
