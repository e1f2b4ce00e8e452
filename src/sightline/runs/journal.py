"""What a run says about itself while it goes on: `run.json` and `run.log`."""

from __future__ import annotations

import importlib.metadata
import platform
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sightline.errors import RunError
from sightline.progress import Progress, Step
from sightline.runs.files import read_json, write_sealed
from sightline.runs.sums import sums_of

_PACKAGES = (
    "sightline",
    "numpy",
    "numba",
    "polars",
    "opencv-python-headless",
    "pillow",
    "simplejpeg",
    "keras",
    "tensorflow",
    "jax",
    "jaxlib",
    "torch",
)


def provenance() -> dict[str, Any]:
    """Return what a result depends on beside data and recipe.

    Keys: python, system, packages ({name: version} of the installed ones), git (commit and
    whether the tree is dirty, of the folder that the run was started in; None outside of git).
    """
    packages = {}
    for name in _PACKAGES:
        try:
            packages[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "packages": packages,
        "git": _git_state(),
    }


class Journal:
    """Keeps `run.json` true, from the first second to the last.

    Args:
        run: The run folder, with all files that were made before the first step.
        about: What is known at the start; `state` "training", the times and the sha256 of those
            files are added.
    """

    def __init__(self, run: Path, about: Mapping[str, Any]) -> None:
        self._path = run / "run.json"
        self._started = time.perf_counter()
        started = datetime.now(UTC).isoformat(timespec="seconds")
        more = {"state": "training", "started": started, "files": sums_of(run)}
        write_sealed(self._path, {**about, **more})

    @classmethod
    def again(cls, run: Path, differences: Sequence[str] = ()) -> Journal:
        """Return the journal of a run that goes on; its seconds add up.

        Args:
            run: The run folder.
            differences: What is not as when it began, in sentences; kept, with earlier ones, as
                `not_as_before`.
        """
        before = read_json(run / "run.json")
        journal = cls.__new__(cls)
        journal._path = run / "run.json"
        journal._started = time.perf_counter() - float(before.get("seconds", 0))
        resumed = datetime.now(UTC).isoformat(timespec="seconds")
        about = {key: before[key] for key in before if key not in ("reason", "signal")}
        times = [*before.get("resumed", ()), resumed]
        about |= {"state": "training", "resumed": times}
        if other := list(dict.fromkeys((*before.get("not_as_before", ()), *differences))):
            about["not_as_before"] = other
        write_sealed(journal._path, about)
        return journal

    def end(self, state: str, reason: str, **more: Any) -> None:
        """Write how it ended: state, reason, seconds, the peak of memory.

        Raises:
            RunError: `run.json` is damaged.
            OSError: It cannot be written; who opens the run takes it for interrupted.
        """
        about = read_json(self._path)
        about |= {
            "state": state,
            "reason": reason,
            "seconds": round(time.perf_counter() - self._started, 1),
            "peak_memory_mb": round(_peak_memory() / 1e6),
            **more,
        }
        write_sealed(self._path, about)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Note the run as failed, or interrupted, when what is inside raises."""
        try:
            yield
        except KeyboardInterrupt:
            with suppress(OSError, RunError):  # what happened counts, not what could be noted
                self.end("interrupted", "Interrupted by Ctrl-C.", signal=signal.SIGINT)
            raise
        except BaseException as error:
            with suppress(OSError, RunError):
                self.end("failed", f"{type(error).__name__}: {error}")
            raise


class Logged:
    """A `Progress` that also keeps every line in a log file, with the time.

    Args:
        shown: Where the lines and bars go.
        path: The log; lines are appended.
    """

    def __init__(self, shown: Progress, path: Path) -> None:
        self._shown, self._path = shown, path

    def step(self, title: str, total: int | None) -> AbstractContextManager[Step]:
        """Enter a piece of work; only lines are logged."""
        return self._shown.step(title, total)

    def say(self, line: str) -> None:
        """Show the line, and keep it where that is possible."""
        _append(self._path, line)
        self._shown.say(line)


def note(run: Path, line: str) -> None:
    """Keep a line in the log of a run, where that is possible, and show it to nobody: too long."""
    _append(run / "run.log", line)


def _append(log: Path, line: str) -> None:
    with suppress(OSError), log.open("a", encoding="utf-8") as file:
        file.write(f"{datetime.now():%Y-%m-%d %H:%M:%S}  {line}\n")


def _git_state() -> dict[str, Any] | None:
    try:
        commit = _git("rev-parse", "HEAD")
        return {"commit": commit, "dirty": bool(_git("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return None


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], capture_output=True, text=True, check=True, timeout=10
    )
    return done.stdout.strip()


def _peak_memory() -> int:
    """Return the most resident memory of this process so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
