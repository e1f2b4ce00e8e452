"""`inspect_all`: every file looked at in child programs that may die, hang or be killed.

The children are programs of their own, started afresh: nothing of this process is copied into
them, so it may have threads, a deep-learning framework or no `__main__` to import. A file that
ends its child is tried again alone; one that does so again and again is quarantined.
"""

from __future__ import annotations

import selectors
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import polars as pl

from sightline.data.auditing import child
from sightline.data.auditing.answers import Answers
from sightline.data.auditing.process import Process, Task
from sightline.data.images import DEFAULT_MAX_MEGAPIXELS
from sightline.errors import SetupError
from sightline.records import Location, Manifest
from sightline.records.index import archive_of

CHILD = Path(child.__file__)
PATIENCE = 60.0  # seconds

_MAX_DEATHS, _MAX_HANGS = 3, 2
_MAX_FAILED_STARTS = 3
_START_SECONDS = 60.0  # it takes 0.3, and more on a busy machine or a slow disk
# What a child has been asked for and not answered: enough that it never waits for the parent,
# little enough that the last files are shared out evenly.
_AHEAD_FILES, _AHEAD_BYTES = 32, 1 << 19
_SEVERAL = 0.003  # seconds: answers are collected so long, as each waking takes 20 microseconds
_UNKNOWN_BYTES = 1 << 16


def inspect_all(
    manifest: Manifest,
    rows: Sequence[int],
    *,
    workers: int,
    max_megapixels: float = DEFAULT_MAX_MEGAPIXELS,
    on_done: Callable[[int], None] | None = None,
    program: Path = CHILD,
    patience: float = PATIENCE,
) -> pl.DataFrame:
    """Return INSPECTED_SCHEMA for these rows of a manifest, in the order given.

    Files are read as they are now; records of archives only where the archive has not been
    written since the scan. The table depends on the files alone, not on the number of children or
    on what happened to them. No child is left behind, however this ends.

    Args:
        manifest: Where the files are.
        rows: Which of its rows.
        workers: Children at once, at least 1. Pictures that take much memory wait until the
            others are done and are decoded one at a time.
        max_megapixels: Larger pictures are quarantined before anything is allocated.
        on_done: Told how many more files are done, from this thread.
        program: What is run as a child, with this Python: see `auditing.child`.
        patience: Seconds without an answer after which a child is killed.

    Raises:
        SetupError: The children cannot be started.
        ValueError: `workers` or `patience` is not positive.
    """
    if workers < 1 or patience <= 0:
        raise ValueError(
            f"workers must be at least 1 and patience above 0, got {workers} and {patience}"
        )
    tasks = list(_tasks(manifest, rows))
    answers = Answers(len(tasks), on_done)
    if tasks:
        settings = {
            "max_megapixels": max_megapixels,
            "memory": _memory(max_megapixels),
            "patience": patience,
        }
        with _Crew(program, settings, answers, tasks) as crew:
            crew.work(min(workers, len(tasks)))
    ids = manifest.table["record_id"].gather(list(rows))
    return answers.table(ids)


def _memory(max_megapixels: float) -> int:
    """Return the bytes of address space of a child: 1 GiB for itself, 24 a pixel of a picture.

    Of 64 megapixels, 1.0 GiB was the most that was seen to be taken, by WebP.
    """
    return max(5 << 29, (1 << 30) + int(24 * max_megapixels * 1e6))


def _tasks(manifest: Manifest, rows: Sequence[int]) -> Iterator[Task]:
    root = str(manifest.root).rstrip("/")
    columns = manifest.table.select("record_id", "begin", "bytes", "mtime_ns")
    for place, (record_id, begin, size, mtime_ns) in enumerate(columns[list(rows)].iter_rows()):
        expected = _UNKNOWN_BYTES if size is None else size
        if begin is None:
            location = Location(f"{root}/{record_id}", -1, -1, -1)
        else:
            location = Location(
                f"{root}/{archive_of(record_id)}",
                begin,
                -1 if size is None else size,
                -1 if mtime_ns is None else mtime_ns,
            )
        yield Task(place, location, record_id.rpartition("/")[2], expected)


class _Crew:
    """Children at work, and what is still to be done."""

    def __init__(
        self, program: Path, settings: dict[str, float], answers: Answers, tasks: Sequence[Task]
    ) -> None:
        self._program, self._settings, self._answers = program, settings, answers
        self._patience = settings["patience"]
        self._todo = deque(tasks)
        self._suspects: deque[Task] = deque()
        self._large: deque[Task] = deque()
        self._left = len(tasks)
        self._children: list[Process] = []
        self._failed_starts = 0
        self._selector = selectors.DefaultSelector()

    def __enter__(self) -> _Crew:
        return self

    def __exit__(self, *_: object) -> None:
        with ExitStack() as closing:
            closing.callback(self._selector.close)
            for process in self._children:
                closing.callback(process.kill)

    def work(self, workers: int) -> None:
        """Return when every task is answered.

        Raises:
            SetupError: The children cannot be started.
        """
        while self._left:
            if not (self._todo or self._suspects) and self._large:
                workers = 1  # the pictures that take much memory come last, one at a time
            self._hand_out(workers)
            watched = self._selector.select(min(self._patience / 4, 1.0))
            for key, events in watched:
                process: Process = key.data
                if process not in self._children:
                    continue  # buried a moment ago, by its other pipe
                if events & selectors.EVENT_WRITE:
                    process.push()
                    self._watch(process)
                if events & selectors.EVENT_READ and not self._hear(process):
                    self._bury(process, "died")
            self._look_for_hanging(time.monotonic())
            if watched:
                time.sleep(_SEVERAL)

    def _hand_out(self, workers: int) -> None:
        """Give every child something to do; start those that are missing, end those left over."""
        waiting = len(self._todo) + len(self._suspects) + len(self._large)
        while len(self._children) < workers and waiting > len(self._children):
            self._children.append(Process(self._program, self._settings))
            self._watch(self._children[-1])
        for process in list(self._children):
            if len(self._children) > workers and not process.asked:
                self._let_go(process)
            elif process.ready:
                self._supply(process)

    def _supply(self, process: Process) -> None:
        """Ask a child for as much as it should have ahead."""
        batch: list[Task] = []
        if process.alone and process.asked:
            return
        process.alone = False
        if self._suspects:
            if not process.asked:
                batch.append(self._suspects.popleft())
                process.alone = True
        elif self._todo:
            files, size = len(process.asked), process.asked_bytes
            while self._todo and files < _AHEAD_FILES and (files < 2 or size < _AHEAD_BYTES):
                batch.append(self._todo.popleft())
                files, size = files + 1, size + batch[-1].expected_bytes
        elif self._large and len(self._children) == 1 and not process.asked:
            batch.append(self._large.popleft())
            process.alone = True
        if batch:
            process.ask(batch)
            self._watch(process)

    def _hear(self, process: Process) -> bool:
        """Take the answers that a child has written; return False when it has closed its pipe."""
        lines, open_still = process.read()
        done: list[tuple[Task, list[object]]] = []
        for line in lines:
            if line == "ready":
                self._failed_starts = 0
                continue
            task = process.asked.popleft()
            process.asked_bytes -= task.expected_bytes
            if line == "large":
                task.mode = child.LARGE
                self._large.append(task)
            else:
                done.append((task, task.completed(line)))
        if done:
            self._left -= len(done)
            self._answers.add(done)
        return open_still

    def _look_for_hanging(self, now: float) -> None:
        for process in list(self._children):
            silent = now - process.heard_at
            if process.ready:
                hangs = bool(process.asked) and silent > self._patience
            else:
                hangs = silent > max(_START_SECONDS, self._patience)
            if hangs:
                self._bury(process, "hung")

    def _bury(self, process: Process, how: str) -> None:
        """Make up for a child that died or hangs: one file is suspect, the others wait again.

        Raises:
            SetupError: It is the third in a row that did not even start.
        """
        if how == "died":
            process.await_end()
        self._let_go(process)
        if not process.ready:
            self._failed_starts += 1
            if self._failed_starts >= _MAX_FAILED_STARTS:
                raise SetupError(
                    f"the program that decodes images cannot be started ({process.last_words()}). "
                    f"Try it: {process.command}"
                )
        if process.asked:
            self._suspect(process.asked.popleft(), process.ending() if how == "died" else "")
            self._todo.extendleft(reversed(process.asked))

    def _suspect(self, task: Task, ending: str) -> None:
        """Have a file tried again alone, or at last hashed and no more, or given up."""
        if task.mode == child.HASH_ALONE:
            self._left -= 1
            self._answers.add([(task, task.unreadable())])
            return
        if ending:
            task.endings.append(ending)
        else:
            task.hangs += 1
        if len(task.endings) >= _MAX_DEATHS or task.hangs >= _MAX_HANGS:
            task.give_up(self._patience)
        (self._large if task.mode == child.LARGE else self._suspects).appendleft(task)

    def _watch(self, process: Process) -> None:
        process.register(self._selector)

    def _let_go(self, process: Process) -> None:
        process.unregister(self._selector)
        process.kill()
        self._children.remove(process)
