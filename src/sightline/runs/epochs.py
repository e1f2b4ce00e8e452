"""An epoch a line: `history.jsonl` with the CRC of each line, and TensorBoard's `events/`."""

from __future__ import annotations

import json
import os
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sightline.errors import RunError
from sightline.runs.files import flush_to_disk, write_content


def append_history(path: Path, row: Mapping[str, Any]) -> None:
    """Append one epoch to `history.jsonl`, with the CRC of its own text, and flush it to disk.

    What a crash left of a line is cut off first, so that the new line stands alone. The line
    of an epoch that is there already, as after a try that failed at its end, is not written twice.

    Raises:
        OSError: It cannot be written; the lines before stand.
    """
    text = json.dumps(row)
    line = json.dumps({**row, "crc": zlib.crc32(text.encode())}).encode()
    is_new = not path.exists()
    with path.open("ab+") as file:
        file.seek(0)
        content = file.read()
        begin = content.rfind(b"\n") + 1  # of the last line, if it has no end
        torn, lines = content[begin:], content[:begin].split(b"\n")
        if torn and _intact(torn) is None:
            file.truncate(begin)
            torn = b""
        if torn == line:
            file.write(b"\n")
        elif torn or lines[-2:] != [line, b""] or "epoch" not in row:
            file.write((b"\n" if torn else b"") + line + b"\n")
        file.flush()
        os.fsync(file.fileno())
    if is_new:
        flush_to_disk(path.parent)


def read_history(path: Path) -> list[dict[str, Any]]:
    """Return the epochs of `history.jsonl`; a torn last line (a crash in mid-write) is dropped.

    Raises:
        RunError: A line before the last is damaged.
    """
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")
    lines = lines if lines[-1] else lines[:-1]
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
    lines = path.read_bytes().splitlines(keepends=True) if rows else []
    if len(lines) > epochs:
        write_content(path, b"".join(lines[:epochs]))


def _intact(line: bytes) -> dict[str, Any] | None:
    """Return the row of a line without its CRC; None where the line is damaged."""
    try:
        row: dict[str, Any] = json.loads(line)
        crc = row.pop("crc")
        return row if zlib.crc32(json.dumps(row).encode()) == crc else None
    except (ValueError, KeyError, AttributeError, TypeError):
        return None


class Events:
    """TensorBoard events of a run: loss and metrics of training and validation side by side.

    They are a copy of the history, and no training ends because they cannot be written: then
    there are no more of them. Nothing is done in a thread of its own: tensorboardX's would die of
    a full disk, and whoever waits for it would wait for ever.

    Attributes:
        trouble: Why there are no more events; "" while there are.

    Args:
        folder: `events/` of the run folder.
        from_epoch: What earlier files say of this epoch and later ones no longer holds; None where
            there are none.
    """

    def __init__(self, folder: Path, *, from_epoch: int | None = None) -> None:
        # Brings torch in where there is one: 200 MB.
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog
        from tensorboardX.summary import scalar

        self._scalar, self._event = scalar, Event
        self.trouble = ""
        with self._trying():
            folder.mkdir(parents=True, exist_ok=True)
            # The time in a name is in whole seconds: two processes may not share a file.
            self._writer = EventsWriter(str(folder / "events"), f".{time.time_ns()}")
            if from_epoch is not None:
                start = SessionLog(status=SessionLog.START)
                self._write(Event(step=from_epoch, session_log=start))

    def add(self, row: Mapping[str, Any]) -> None:
        """Add one epoch; `epoch` is its step."""
        if self.trouble:
            return
        values = {}
        for name, value in row.items():
            if name == "epoch" or not isinstance(value, (int, float)):
                continue
            if name.startswith("raw_val_"):
                tag = f"{name.removeprefix('raw_val_')}/validation_of_the_trained_weights"
            elif name.startswith("val_"):
                tag = f"{name.removeprefix('val_')}/validation"
            else:
                tag = f"{name}/train" if f"val_{name}" in row else f"training/{name}"
            values[tag] = float(value)
        with self._trying():
            for tag, value in values.items():
                self._write(self._event(step=row["epoch"], summary=self._scalar(tag, value)))
            self._writer.flush()

    def close(self) -> None:
        """End the file."""
        if not self.trouble:
            with self._trying():
                self._writer.close()

    def _write(self, event: Any) -> None:
        event.wall_time = time.time()
        self._writer.write_event(event)

    @contextmanager
    def _trying(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.trouble = error.strerror or str(error)
