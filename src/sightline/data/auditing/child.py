"""The program that looks at files, so that no file can harm the program that asks.

Reads JSON lines: first the settings, {"max_megapixels", "memory", "patience"}, then lists of
tasks, [path, begin, size, mtime_ns, name, mode]. Answers with JSON lines: "ready", then for each
task in order the values of INSPECTED_SCHEMA but the record id, or "large" for a file that is to be
looked at alone. So the file in hand is always the first one without an answer. Ends when its input
does, also in the middle of a file.
"""

from __future__ import annotations

import base64
import contextlib
import json
import math
import os
import queue
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import cv2

from sightline.data.auditing.inspected import INSPECTED_SCHEMA
from sightline.data.auditing.inspecting import Row, hash_alone, inspect_within
from sightline.records import Location

SMALL, LARGE, HASH_ALONE = "small", "large", "hash alone"  # the modes of a task
VALUES = tuple(name for name in INSPECTED_SCHEMA if name != "record_id")
THUMB = VALUES.index("thumb")

Look = Callable[[Location, str, str, float], Row | None]

# What a file may take while another child decodes one too: a JPEG of 26 megapixels, a PNG of 20.
_SMALL_BYTES = 384_000_000
_OPEN_FILES = 64
_SPARE_SECONDS = 30  # of CPU, past the patience of the parent, which is to be first


def look(location: Location, name: str, mode: str, max_megapixels: float) -> Row | None:
    """Return the row of one file, or None for a large one where small ones are asked for."""
    if mode == HASH_ALONE:
        return hash_alone(location, name, reason="CRASHED_DECODER", detail="")
    return inspect_within(
        location,
        name,
        max_megapixels=max_megapixels,
        max_bytes=_SMALL_BYTES if mode == SMALL else None,
    )


def main(look: Look = look) -> None:
    """Answer until the input ends.

    Args:
        look: What is done with each task.
    """
    source, answers = _own_pipes()
    settings = json.loads(source.readline())
    cv2.setNumThreads(1)
    _limit(int(settings["memory"]))
    _answer(answers, "ready")
    patience = math.ceil(settings["patience"]) + _SPARE_SECONDS
    limited_at = -math.inf
    for path, begin, size, mtime_ns, name, mode in _tasks(source):
        if time.monotonic() > limited_at + 1:  # not for each of many small files
            _limit_seconds(patience)
            limited_at = time.monotonic()
        row = look(Location(path, begin, size, mtime_ns), name, mode, settings["max_megapixels"])
        _answer(answers, "large" if row is None else _values(row))


def _own_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Return input and output for this program alone: what a library prints goes nowhere."""
    source, answers = os.dup(0), os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    os.set_blocking(2, False)  # nobody reads the errors before the end, so they may be lost
    return os.fdopen(source, "rb"), os.fdopen(answers, "wb", buffering=0)


def _limit(memory: int) -> None:
    """Give up what this program does not need: memory, files to write, core dumps."""
    with contextlib.suppress(OSError):  # the kernel is to end this one before its parent
        Path("/proc/self/oom_score_adj").write_text("800")
    for kind, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
    ):
        with contextlib.suppress(OSError, ValueError):  # a lower limit stands already
            resource.setrlimit(kind, (most, most))


def _limit_seconds(patience: int) -> None:
    """Let the kernel end this program when it works on one file for ever and nobody watches."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    most = math.ceil(used.ru_utime + used.ru_stime) + patience
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CPU, (most, resource.RLIM_INFINITY))


def _tasks(source: BinaryIO) -> Iterator[list[Any]]:
    """Yield each task, asked for by a thread of its own that sees the end at once."""
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def read() -> None:
        for line in source:
            lines.put(line)
        os._exit(0)  # the parent has finished, or is no more

    threading.Thread(target=read, daemon=True).start()
    while True:
        yield from json.loads(lines.get())


def _values(row: Row) -> list[object]:
    thumb = row["thumb"]
    if isinstance(thumb, bytes):
        row["thumb"] = base64.b64encode(thumb).decode()
    return [row[name] for name in VALUES]


def _answer(answers: BinaryIO, value: object) -> None:
    rest = memoryview(json.dumps(value, separators=(",", ":")).encode() + b"\n")
    while rest:
        try:
            rest = rest[answers.write(rest) :]
        except BrokenPipeError:
            sys.exit(0)  # nobody asks any more


if __name__ == "__main__":
    main()
