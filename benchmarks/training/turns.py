"""Every contender in a process of its own; they work in turns, one at a time.

A contender that is not at work is stopped (SIGSTOP), so it takes nothing from the others. The order
of turns moves on by one each round, and the first round, in which much is compiled, does not count.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_START_LIMIT, _TURN_LIMIT = 900.0, 1800.0  # seconds


class Stopped(Exception):
    """A contender's process ended or took too long; the text says why."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the processes of a benchmark run.

    Attributes:
        scratch: A folder for logs, run folders and the caches of decoded images.
        backend: Of Keras.
        python: The interpreter, which has that backend.
    """

    scratch: Path
    backend: str = "tensorflow"
    python: str = sys.executable

    def environment(self) -> dict[str, str]:
        """Return the variables of a child: its backend, and no cache or state but its own."""
        return {
            **os.environ,
            "KERAS_BACKEND": self.backend,
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "SIGHTLINE_CACHE": str(self.scratch / "cache"),
            "SIGHTLINE_STATE": str(self.scratch / "state"),
        }


@dataclass(slots=True)
class Result:
    """What one contender did.

    Attributes:
        about: What it said when it was built.
        turns: Its answers, one a round.
        not_run: Why there are none, or no more.
    """

    about: dict[str, Any] = field(default_factory=dict)
    turns: list[dict[str, Any]] = field(default_factory=list)
    not_run: str = ""


class Child:
    """A contender's process."""

    def __init__(self, name: str, order: Mapping[str, Any], place: Place) -> None:
        scratch = place.scratch / name
        scratch.mkdir(parents=True, exist_ok=True)
        self._log = place.scratch / f"{name}.log"
        full = {**order, "scratch": str(scratch)}
        with self._log.open("wb") as errors:
            self._process = subprocess.Popen(
                [place.python, "-m", "benchmarks.training.child", json.dumps(full)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=place.environment(),
                process_group=0,
            )

    def built(self) -> dict[str, Any]:
        """Wait until it is built, and let it rest."""
        answer = self._read(_START_LIMIT)
        self._signal(signal.SIGSTOP)
        return answer

    def work(self, seconds: float) -> dict[str, Any]:
        """Let it work for so long, then stop it again."""
        assert self._process.stdin is not None
        self._signal(signal.SIGCONT)
        try:
            self._process.stdin.write((json.dumps({"seconds": seconds}) + "\n").encode())
            self._process.stdin.flush()
        except BrokenPipeError:
            raise Stopped(self._last_words()) from None
        answer = self._read(_TURN_LIMIT + seconds)
        self._signal(signal.SIGSTOP)
        return answer

    def close(self) -> None:
        """End it."""
        self._signal(signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()

    def _read(self, limit: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], limit)[0]:
            raise Stopped(f"no answer within {limit:.0f} s")
        line = self._process.stdout.readline()
        if not line:
            raise Stopped(self._last_words())
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            return

    def _last_words(self) -> str:
        code = self._process.wait()
        lines = [
            line for line in self._log.read_text(errors="replace").splitlines() if line.strip()
        ]
        return f"{lines[-1].strip()[:300] if lines else 'nothing said'} (exit {code})"


def race(
    orders: Mapping[str, Mapping[str, Any]],
    place: Place,
    *,
    rounds: int,
    seconds: float,
    warm: bool = True,
) -> dict[str, Result]:
    """Return what every contender did in `rounds` rounds of turns of `seconds`.

    They are built one after the other: some try out what is fastest meanwhile. With `warm`, one
    more round comes first and does not count.
    """
    results = {name: Result() for name in orders}
    children: dict[str, Child] = {}
    try:
        for name, order in orders.items():
            children[name] = Child(name, order, place)
            try:
                results[name].about = children[name].built()
            except Stopped as reason:
                results[name].not_run = str(reason)
        for number in range(rounds + warm):
            able = [name for name in orders if not results[name].not_run]
            first = number % max(1, len(able))
            for name in able[first:] + able[:first]:
                try:
                    answer = children[name].work(seconds)
                except Stopped as reason:
                    results[name].not_run = str(reason)
                    continue
                if number >= warm:
                    results[name].turns.append(answer)
    finally:
        for child in children.values():
            child.close()
    return results
