"""Every contender in a process of its own; they work in turns, one at a time.

A contender that is not at work is stopped (SIGSTOP), its workers too, so it takes nothing from
the others. The order of turns moves on by one each round.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.stream import processes
from benchmarks.stream.contenders import Contender
from benchmarks.stream.workload import BATCH, SIZE

_START_LIMIT, _TURN_LIMIT = 300.0, 240.0  # seconds
_QUIET = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "KERAS_BACKEND": "tensorflow",
    "CUDA_VISIBLE_DEVICES": "",
    "NO_ALBUMENTATIONS_UPDATE": "1",
}


class Stopped(Exception):
    """A contender's process ended or took too long; the text says why."""


@dataclass(slots=True)
class Result:
    """What one contender did on one set.

    Attributes:
        build_seconds: To import, list files and, for packed formats, to pack them.
        cold: The first epoch.
        steady: Later turns, of whole epochs each.
        memory_mb: At its highest, without pages of caches and packed files.
        pages_mb: Those pages.
        not_run: Why there are no figures, or no more of them.
    """

    build_seconds: float = 0.0
    cold: dict[str, Any] = field(default_factory=dict)
    steady: list[dict[str, Any]] = field(default_factory=list)
    memory_mb: float = 0.0
    pages_mb: float = 0.0
    not_run: str = ""


class Child:
    """A contender's process."""

    def __init__(self, order: dict[str, Any], log: Path) -> None:
        self._log = log
        self._scratch = Path(order["scratch"])
        self._closed = False
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.stream.child", json.dumps(order)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**os.environ, **_QUIET},
                process_group=0,
            )

    def read(self, limit: float, *, result: Result | None = None) -> dict[str, Any]:
        """Return the next answer; note memory in `result` while waiting.

        Raises:
            Stopped: The process ended, or `limit` seconds passed.
        """
        assert self._process.stdout is not None
        until = time.monotonic() + limit
        pause = limit if result is None else 0.1
        while not select.select([self._process.stdout], [], [], pause)[0]:
            if time.monotonic() > until:
                raise Stopped(f"no answer within {limit:.0f} s")
            if result is not None:
                self.note_memory(result)
        line = self._process.stdout.readline()
        if not line:
            raise Stopped(self._last_words())
        answer: dict[str, Any] = json.loads(line)
        return answer

    def ask(self, result: Result | None = None, **request: Any) -> dict[str, Any]:
        """Let it work on one request, then stop it again."""
        assert self._process.stdin is not None
        self._signal(signal.SIGCONT)
        try:
            self._process.stdin.write((json.dumps(request) + "\n").encode())
            self._process.stdin.flush()
        except BrokenPipeError:
            raise Stopped(self._last_words()) from None
        answer = self.read(_TURN_LIMIT, result=result)
        self.rest()
        return answer

    def rest(self) -> None:
        """Stop it and its workers where they are."""
        self._signal(signal.SIGSTOP)

    def note_memory(self, result: Result) -> None:
        """Raise the memory of `result` to what is held now."""
        own, pages = processes.memory(self._process.pid, self._scratch)
        result.memory_mb = max(result.memory_mb, own)
        result.pages_mb = max(result.pages_mb, pages)

    def close(self) -> None:
        """End it and its workers."""
        if self._closed:
            return
        self._closed = True
        self._signal(signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            return

    def _last_words(self) -> str:
        lines = [
            line for line in self._log.read_text(errors="replace").splitlines() if line.strip()
        ]
        return lines[-1].strip()[:300] if lines else f"ended with {self._process.wait()}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Race:
    """One set and everyone who runs on it.

    Attributes:
        folder: Class folders.
        images: Their number.
        scratch: For caches and packed files.
        contenders: Who runs.
        augment: Rotation, shifts, shear, zoom, flip.
        threads: For each contender, where it does not set its own.
        seconds: Wall seconds for everything; rounds go on until they are used up.
        least_rounds: Steady rounds even past that time.
        most_rounds: Steady rounds, at most.
        turn_seconds: A steady turn takes whole epochs until so much has passed.
        sheets: Where to write one batch of each as a picture; None for nowhere.
    """

    folder: Path
    images: int
    scratch: Path
    contenders: list[Contender]
    augment: bool
    threads: int
    seconds: float
    least_rounds: int = 3
    most_rounds: int = 9
    turn_seconds: float = 1.0
    sheets: Path | None = None

    def run(self) -> dict[str, Result]:
        """Return the figures of every contender."""
        deadline = time.monotonic() + self.seconds
        results = {contender.name: Result() for contender in self.contenders}
        children: dict[str, Child] = {}
        try:
            with ThreadPoolExecutor(self.threads) as pool:  # not timed, so side by side
                list(pool.map(lambda one: self._start(one, children, results), self.contenders))
            self._round(children, results, 0, seconds=0.0)
            self._watch_memory(children, results)
            turn, last = 1, 0.0
            while turn <= self.least_rounds or (
                turn <= self.most_rounds and time.monotonic() + last < deadline
            ):
                began = time.monotonic()
                self._round(children, results, turn, seconds=self.turn_seconds)
                turn, last = turn + 1, time.monotonic() - began
        finally:
            for child in children.values():
                child.close()
        return results

    def _start(
        self, contender: Contender, children: dict[str, Child], results: dict[str, Result]
    ) -> None:
        scratch = self.scratch / contender.name
        scratch.mkdir(parents=True)
        order = {
            "entry": contender.entry,
            "folder": str(self.folder),
            "scratch": str(scratch),
            "augment": self.augment,
            "threads": contender.threads or self.threads,
        }
        child = children[contender.name] = Child(order, self.scratch / f"{contender.name}.log")
        result = results[contender.name]
        try:
            result.build_seconds = child.read(_START_LIMIT)["seconds"]
            child.rest()
        except Stopped as reason:
            result.not_run = str(reason)

    def _round(
        self, children: dict[str, Child], results: dict[str, Result], turn: int, *, seconds: float
    ) -> None:
        names = [name for name in children if not results[name].not_run]
        first = turn % max(1, len(names))
        for name in names[first:] + names[:first]:
            result, child = results[name], children[name]
            try:
                answer = child.ask(do="run", seconds=seconds)
            except Stopped as reason:
                result.not_run = str(reason)
                continue
            result.not_run = complaint(answer, self.images, self.augment, result)
            child.note_memory(result)
            if turn:
                result.steady.append(answer)
            else:
                result.cold = answer
            if result.not_run:
                child.close()

    def _watch_memory(self, children: dict[str, Child], results: dict[str, Result]) -> None:
        """One more epoch each that is not timed: reading memory ten times a second costs time."""
        for name, child in children.items():
            if results[name].not_run:
                continue
            try:
                child.ask(results[name], do="run", seconds=0.0)
                if self.sheets is not None and results[name].cold["check"]:
                    child.ask(do="sheet", path=str(self.sheets / f"{name}.png"))
            except Stopped as reason:
                results[name].not_run = str(reason)


def complaint(answer: dict[str, Any], images: int, augment: bool, result: Result) -> str:
    """Return what is wrong with the work that was delivered; empty if nothing is."""
    if answer["images"] != images * answer["epochs"]:
        return f"delivered {answer['images']} images in {answer['epochs']} epochs of {images}"
    check = answer["check"]
    if not check:
        return ""
    if check["shape"] not in ([BATCH, *SIZE, 3], [BATCH, 3, *SIZE]) or check["dtype"] != "float32":
        return f"last batch is {check['shape']} {check['dtype']}"
    if check["labels"] != BATCH:
        return f"last batch has {check['labels']} labels"
    if not (-1e-4 <= check["min"] < check["mean"] < check["max"] <= 1.0001 and check["max"] > 0.5):
        return "last batch has values {min:.3f} to {max:.3f}, mean {mean:.3f}".format(**check)
    earlier = [result.cold, *result.steady] if result.cold else []
    if augment and any(check["digest"] == other["check"]["digest"] for other in earlier):
        return "delivered the same last batch in two epochs"
    return ""
