"""Work that several processes share: each piece is done once, by whichever comes first."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import TypeVar

from sightline import runs
from sightline.errors import RunError

Ended = TypeVar("Ended")
_PARENT = "SIGHTLINE_WORKER_OF"  # the process that a worker must not outlive
_PAUSE = 0.5  # s, while another process does what is waited for
_GRACE = 120.0  # s, for a worker to save where it is
_INTERRUPTED = 128 + signal.SIGINT


def in_turn(
    folder: Path,
    wanted: Sequence[str],
    known: Callable[[str], Ended | None],
    do: Callable[[str], Ended],
    *,
    goes_on: Callable[[], bool] = lambda: True,
) -> dict[str, Ended] | None:
    """Return what came of each piece of work; one that another process is at is waited for.

    Each is claimed by `KEY.lock` in the folder, which goes with the process that has it: what a
    killed one was at is free again.

    Args:
        folder: Where the claims lie.
        wanted: The pieces, by key.
        known: Returns what came of a piece; None of one that is not finished.
        do: Does a piece, and keeps what came of it where `known` finds it.
        goes_on: Asked before each piece that is done here; no: None is returned.
    """
    found: dict[str, Ended] = {}
    while True:
        found |= {
            key: ended for key in wanted if key not in found and (ended := known(key)) is not None
        }
        missing = [key for key in wanted if key not in found]
        if not missing:
            return found
        if not goes_on():
            return None
        for key in missing:
            with runs.claimed(folder / f"{key}.lock") as ours:
                if ours:
                    ended = known(key)
                    found[key] = do(key) if ended is None else ended
                    break
        else:
            time.sleep(_PAUSE)


@contextmanager
def workers(arguments: Sequence[str], count: int, logs: Path) -> Iterator[list[Worker]]:
    """Have so many processes run a command of Sightline, each on processors of its own.

    On the way out all are ended, as Ctrl-C does, and what they are at is saved.

    Args:
        arguments: Of the command line.
        count: Processes.
        logs: Folder in which each keeps what it says: `worker-1.log` ...
    """
    leave_room()
    started: list[Worker] = []
    try:
        started.extend(Worker.started(arguments, each, count, logs) for each in range(count))
        yield started
    finally:
        for each in started:
            each.interrupt()
        for each in started:
            each.ended()


class Worker:
    """One process beside this one.

    Attributes:
        number: From 1.
        log: What it says.
    """

    def __init__(self, process: subprocess.Popen[bytes], number: int, log: Path) -> None:
        """Remember a process."""
        self.number, self.log, self._process = number, log, process

    @classmethod
    def started(cls, arguments: Sequence[str], number: int, count: int, logs: Path) -> Worker:
        """Start one of `count`, on its share of the processors."""
        log = logs / f"worker-{number + 1}.log"
        with log.open("ab") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "sightline", *arguments],
                stdout=file, stderr=file, stdin=subprocess.DEVNULL,
                env=_with_threads(count), start_new_session=True,
            )  # fmt: skip
        _bind(process.pid, number, count)
        return cls(process, number + 1, log)

    @property
    def runs(self) -> bool:
        """Whether it is still at it."""
        return self._process.poll() is None

    def interrupt(self) -> None:
        """Ask it to save where it is, and to end."""
        with suppress(ProcessLookupError):
            if self.runs:
                self._process.send_signal(signal.SIGINT)

    def ended(self) -> int:
        """Return its exit code, once it has ended; it is killed where it does not."""
        try:
            return self._process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def refuse_failure(self) -> None:
        """Raise what it failed with.

        Raises:
            RunError: It ended with an error of its own, which its log holds.
        """
        code = self._process.poll()
        if code not in (None, 0, _INTERRUPTED):
            said = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            last = said[-1] if said else "it said nothing"
            raise RunError(f"worker {self.number} ended with {code}: {last} ({self.log})")


def _with_threads(count: int) -> Mapping[str, str]:
    """Return the environment of a worker, whose libraries take a share of the threads."""
    threads = str(max(len(_processors()) // count, 1))
    names = ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS")
    given = {name: os.environ.get(name, threads) for name in names}
    return {**os.environ, **given, _PARENT: str(os.getpid())}


def leave_room() -> None:
    """Have this process and its workers take of a GPU's memory what they need, and no more.

    To be called before a backend is loaded: one that is has taken the whole.
    """
    from sightline.learning.models import backend  # the command line starts sooner without it

    for name, value in backend.SHARED_GPU.items():
        os.environ.setdefault(name, value)


def is_worker() -> bool:
    """Say whether this process works for another one, which brings things to their end."""
    return os.environ.get(_PARENT) == str(os.getppid())


def end_with_parent() -> None:
    """End this process as Ctrl-C does, once the one that it works for is gone; else do nothing."""
    if is_worker():
        # A shell's & has SIGINT ignored, and processes inherit that.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_PAUSE)
    os.kill(os.getpid(), signal.SIGINT)


def _bind(process: int, number: int, count: int) -> None:
    """Give a process its share of the processors, where the system can; none is shared in vain."""
    known = _processors()
    if hasattr(os, "sched_setaffinity") and count <= len(known):
        with suppress(OSError):
            os.sched_setaffinity(process, known[number::count])


def _processors() -> list[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))
