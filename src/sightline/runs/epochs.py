"""`history.jsonl`: an epoch a line, each line with the CRC of its own text."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sightline.errors import RunError


def append_history(path: Path, row: Mapping[str, Any]) -> None:
    """Append one epoch to `history.jsonl`, with the CRC of its own text, and flush it to disk."""
    text = json.dumps(row)
    line = json.dumps({**row, "crc": zlib.crc32(text.encode())})
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
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
        try:
            row = json.loads(line)
            crc = row.pop("crc")
            intact = zlib.crc32(json.dumps(row).encode()) == crc
        except (ValueError, KeyError, AttributeError):
            intact = False
        if intact:
            rows.append(row)
        elif number < len(lines):
            raise RunError(f"{path}, line {number}, is damaged: its CRC does not match")
    return rows
