"""An epoch a line: `history.jsonl` with the CRC of each line, and TensorBoard's `events/`."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sightline.errors import RunError
from sightline.runs.files import write_atomically


def append_history(path: Path, row: Mapping[str, Any]) -> None:
    """Append one epoch to `history.jsonl`, with the CRC of its own text, and flush it to disk.

    What a crash left of a line is cut off first, so that the new line stands alone.
    """
    text = json.dumps(row)
    line = json.dumps({**row, "crc": zlib.crc32(text.encode())})
    with path.open("ab+") as file:
        file.seek(0)
        content = file.read()
        begin = content.rfind(b"\n") + 1  # of the last line, if it has no end
        if _intact(content[begin:].decode(errors="replace")) is not None:
            line = "\n" + line
        else:
            file.truncate(begin)
        file.write(f"{line}\n".encode())
        file.flush()
        os.fsync(file.fileno())


def read_history(path: Path) -> list[dict[str, Any]]:
    """Return the epochs of `history.jsonl`; a torn last line (a crash in mid-write) is dropped.

    Raises:
        RunError: A line before the last is damaged.
    """
    if not path.exists():
        return []
    lines = path.read_text("utf-8", errors="replace").splitlines()
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(lines, 1):
        row = _intact(line)
        if row is not None:
            rows.append(row)
        elif number < len(lines):
            raise RunError(f"{path}, line {number}, is damaged: its CRC does not match")
    return rows


def cut_history(path: Path, epochs: int) -> None:
    """Keep the first lines of a history, one an epoch, in one step.

    Raises:
        RunError: There are fewer, or one of them is damaged.
    """
    rows = read_history(path)
    if len(rows) < epochs:
        raise RunError(
            f"{path} is damaged: it has {len(rows)} epochs, and the checkpoint is of {epochs}. "
            "Copy the run folder again from where it came from."
        )
    lines = path.read_text("utf-8").splitlines(keepends=True) if rows else []
    if len(lines) > epochs:
        kept = "".join(lines[:epochs])
        write_atomically(path, lambda beside: beside.write_text(kept, "utf-8"))


def _intact(line: str) -> dict[str, Any] | None:
    """Return the row of a line without its CRC; None where the line is damaged."""
    try:
        row: dict[str, Any] = json.loads(line)
        crc = row.pop("crc")
        return row if zlib.crc32(json.dumps(row).encode()) == crc else None
    except (ValueError, KeyError, AttributeError, TypeError):
        return None


class Events:
    """TensorBoard events of a run: loss and metrics of training and validation side by side.

    Args:
        folder: `events/` of the run folder.
        from_epoch: What earlier files say of this epoch and later ones no longer holds.
    """

    def __init__(self, folder: Path, *, from_epoch: int = 0) -> None:
        from tensorboardX import SummaryWriter  # brings torch in where there is one: 200 MB

        self._writer = SummaryWriter(str(folder), purge_step=from_epoch or None)

    def add(self, row: Mapping[str, Any]) -> None:
        """Add one epoch; `epoch` is its step."""
        for name, value in row.items():
            if name == "epoch" or not isinstance(value, (int, float)):
                continue
            if name.startswith("val_"):
                tag = f"{name.removeprefix('val_')}/validation"
            else:
                tag = f"{name}/train" if f"val_{name}" in row else f"training/{name}"
            self._writer.add_scalar(tag, value, row["epoch"])
        self._writer.flush()

    def close(self) -> None:
        """End the file and its thread."""
        self._writer.close()
