"""One child program as its parent sees it: pipes, what it was asked, how it ended."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from sightline.data.auditing.child import HASH_ALONE, SMALL, VALUES
from sightline.records import Location
from sightline.records.manifest import QUARANTINED

_PACKAGE_PARENT = Path(__file__).parents[3]
_ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS"), "1"
)
# Memory that one picture has used is kept for the next: glibc would hand it back each time, and a
# small picture would take 40 microseconds more.
_KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(128 << 20)}
_AT_ONCE = 1 << 20
_KILL_SECONDS = 5.0  # a program that waits for a dead disk cannot be killed, and is left behind
_WORDS = 400  # characters of an error that are repeated
_REASON, _STATUS = VALUES.index("reason"), VALUES.index("status")
_STAGE, _DETAIL = VALUES.index("stage"), VALUES.index("detail")


@dataclass(slots=True, eq=False)
class Task:
    """One file to look at.

    Attributes:
        place: In the table that is made.
        location: What is read.
        name: Of the file, whose extension is compared with its content.
        expected_bytes: Of the file, as far as it is known.
        mode: See `child`.
        endings: How the children that died on it ended, in words.
        hangs: How many children did not answer.
        verdict: Why it is given up, "" while it is not.
    """

    place: int
    location: Location
    name: str
    expected_bytes: int
    mode: str = SMALL
    endings: list[str] = field(default_factory=list)
    hangs: int = 0
    verdict: str = ""

    def asked(self) -> list[object]:
        """Return the task as a child reads it."""
        return [*self.location, self.name, self.mode]

    def give_up(self, patience: float) -> None:
        """Have the file hashed alone, because decoding it has ended too many children."""
        ended = [
            f"{'once' if times == 1 else f'{times} times'} {how}"
            for how, times in sorted(Counter(self.endings).items())
        ]
        if self.hangs:
            often = "once" if self.hangs == 1 else f"{self.hangs} times"
            ended.append(f"{often} made no progress for {patience:g} s")
        self.mode = HASH_ALONE
        self.verdict = (
            f"the program that decoded the file {' and '.join(ended)}. The file is damaged in a "
            "way that decoders do not survive, or decoding it takes more than this machine has. "
            "Replace it or leave it out."
        )

    def completed(self, values: list[object]) -> list[object]:
        """Return a child's answer, with the verdict where there is one."""
        if self.verdict:
            values[_DETAIL] = self.verdict
        return values

    def unreadable(self) -> list[object]:
        """Return the answer for a file that cannot even be hashed."""
        values: list[object] = [None] * len(VALUES)
        values[_STATUS], values[_REASON] = QUARANTINED, "CRASHED_DECODER"
        values[_STAGE], values[_DETAIL] = "open", self.verdict
        return values


class Process:
    """A running child.

    Attributes:
        asked: Tasks without an answer, in order; the first is the one in hand.
        asked_bytes: Of these files.
        alone: It has been asked for one file, and is to get no other meanwhile.
        ready: It has said so.
        heard_at: When it last answered or had nothing to do, on the monotonic clock.
        command: How it was started, for messages.
    """

    def __init__(self, program: Path, settings: Mapping[str, float]) -> None:
        arguments = [sys.executable, "-P", str(program)]
        self.command = " ".join(arguments)
        self.asked: deque[Task] = deque()
        self.asked_bytes = 0
        self.alone = self.ready = False
        self.heard_at = time.monotonic()
        self._popen = subprocess.Popen(
            arguments,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,  # Ctrl-C is for the parent alone
            env=os.environ | _ONE_THREAD | _KEEP_MEMORY | {"PYTHONPATH": _python_path()},
        )
        self._input, self._output, self._errors = (
            _pipe(pipe) for pipe in (self._popen.stdin, self._popen.stdout, self._popen.stderr)
        )
        for pipe in (self._input, self._output, self._errors):
            os.set_blocking(pipe.fileno(), False)
        self._outgoing = bytearray(json.dumps(settings).encode() + b"\n")
        self._incoming = b""
        self._words = ""
        self._registered: dict[IO[bytes], int] = {}

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._popen.pid

    def ask(self, tasks: Sequence[Task]) -> None:
        """Give the child more to do, after what it has."""
        if not self.asked:
            self.heard_at = time.monotonic()
        self.asked.extend(tasks)
        self.asked_bytes += sum(task.expected_bytes for task in tasks)
        asked = [task.asked() for task in tasks]
        self._outgoing += json.dumps(asked, separators=(",", ":")).encode() + b"\n"
        self.push()

    def push(self) -> None:
        """Write what the pipe takes of what is to be written."""
        with suppress(BlockingIOError, BrokenPipeError):  # its end is seen when it is read from
            while self._outgoing:
                del self._outgoing[: os.write(self._input.fileno(), self._outgoing)]

    def read(self) -> tuple[list[Any], bool]:
        """Return the answers that have come, and whether more can."""
        try:
            content = os.read(self._output.fileno(), _AT_ONCE)
        except BlockingIOError:
            return [], True
        whole, newline, rest = (self._incoming + content).rpartition(b"\n")
        self._incoming = rest
        if not newline:
            return [], bool(content)
        self.heard_at = time.monotonic()
        answers = json.loads(b"[" + whole.replace(b"\n", b",") + b"]")
        self.ready = True  # its first line says so
        return answers, bool(content)

    def register(self, selector: selectors.BaseSelector) -> None:
        """Have the selector watch what there is to read and to write."""
        wanted = {self._output: selectors.EVENT_READ}
        if self._outgoing:
            wanted[self._input] = selectors.EVENT_WRITE
        for pipe in self._registered.keys() - wanted.keys():
            selector.unregister(pipe)
        for pipe in wanted.keys() - self._registered.keys():
            selector.register(pipe, wanted[pipe], self)
        self._registered = wanted

    def unregister(self, selector: selectors.BaseSelector) -> None:
        """Have the selector forget the child."""
        for pipe in self._registered:
            selector.unregister(pipe)
        self._registered = {}

    def await_end(self) -> None:
        """Let a child that has closed its pipes end in its own way, so that its reason is seen."""
        with suppress(subprocess.TimeoutExpired):
            self._popen.wait(_KILL_SECONDS)

    def kill(self) -> None:
        """End the child at once; more than once does no harm."""
        self._popen.kill()
        with suppress(subprocess.TimeoutExpired):
            self._popen.wait(_KILL_SECONDS)
        if not self._errors.closed:
            self._words = _last_line(self._errors)
        for pipe in (self._input, self._output, self._errors):
            pipe.close()

    def ending(self) -> str:
        """Return in words how a child that was not killed by its parent ended."""
        code = self._popen.returncode or 0
        if code >= 0:
            return f"ended with code {code} ({self.last_words()})"
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = str(-code)
        return f"was ended by signal {name}"

    def last_words(self) -> str:
        """Return the last line that a killed or ended child wrote on its standard error."""
        return self._words or "it said nothing"


def _last_line(pipe: IO[bytes]) -> str:
    with suppress(OSError):
        words = os.read(pipe.fileno(), _AT_ONCE).decode("utf-8", "backslashreplace")
        return (words.strip().splitlines() or [""])[-1][:_WORDS]
    return ""


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe


def _python_path() -> str:
    """Return where this process finds its modules, so that the child finds the same."""
    here = [str(_PACKAGE_PARENT), *(path or str(Path.cwd()) for path in sys.path)]
    return os.pathsep.join(dict.fromkeys(here))
