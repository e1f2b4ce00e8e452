"""Checkpoints: folders that appear complete, or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sightline.runs.files import (
    Tensors,
    file_sha256,
    flush_to_disk,
    write_atomically,
    write_json,
    write_tensors,
)


def save_checkpoint(run: Path, step: int, tensors: Tensors, meta: Mapping[str, Any]) -> None:
    """Write `checkpoints/step-N/` in one step and drop the one before.

    A checkpoint is {state.safetensors, meta.json, SHA256}; the folder appears complete. `meta`
    has at least the 0-based `epoch`. What a killed process left half written is removed.
    """
    final = run / "checkpoints" / f"step-{step:08d}"
    beside = final.with_name(f".{final.name}.{os.getpid()}")
    previous = latest_checkpoint(run)
    for left in final.parent.glob(".step-*"):  # the run is locked: nobody is writing it
        shutil.rmtree(left)
    beside.mkdir(parents=True)
    try:
        write_tensors(beside / "state.safetensors", tensors, epoch=meta["epoch"])
        write_json(beside / "meta.json", meta)
        names = ("state.safetensors", "meta.json")
        sums = "".join(f"{file_sha256(beside / name)}  {name}\n" for name in names)
        write_atomically(beside / "SHA256", lambda path: path.write_text(sums, "utf-8"))
        if final.exists():  # the same step again
            shutil.rmtree(final)
        beside.rename(final)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    flush_to_disk(final.parent)
    if previous is not None and previous != final:
        shutil.rmtree(previous)


def latest_checkpoint(run: Path) -> Path | None:
    """Return the folder of the newest complete checkpoint."""
    found = sorted((run / "checkpoints").glob("step-*/SHA256"))
    return found[-1].parent if found else None
