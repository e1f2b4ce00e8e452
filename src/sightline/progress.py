"""How long work shows where it is: bars on a terminal, lines in a log, nothing when asked.

Rooms report through the `Progress` protocol and never print; the face chooses which one.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress


class Step(Protocol):
    """One piece of long work."""

    def advance(self, done: int = 1, *, note: str = "") -> None:
        """Report `done` more units, with a few words on how it goes."""


class Progress(Protocol):
    """Where long work reports to."""

    def step(self, title: str, total: int | None) -> AbstractContextManager[Step]:
        """Enter one piece of work of `total` units (None when nobody can know)."""

    def say(self, line: str) -> None:
        """Show one line that stays."""


class Silent:
    """Shows nothing."""

    @contextmanager
    def step(self, title: str, total: int | None) -> Iterator[Step]:  # noqa: ARG002
        """Enter a piece of work that nobody watches."""
        yield self

    def advance(self, done: int = 1, *, note: str = "") -> None:
        """Do nothing."""

    def say(self, line: str) -> None:
        """Do nothing."""


class Shown:
    """Bars that vanish when done, and lines that stay; lines alone in a log file.

    Args:
        console: Where to; the default is standard output.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False, emoji=False, soft_wrap=True)
        # In a notebook, rich draws live bars through ipywidgets; without them, lines must do.
        widgets = importlib.util.find_spec("ipywidgets") is not None
        self._bars = widgets if self._console.is_jupyter else self._console.is_terminal

    @contextmanager
    def step(self, title: str, total: int | None) -> Iterator[Step]:
        """Enter a piece of work with a bar of its own."""
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
        )
        with RichProgress(
            *columns, console=self._console, transient=True, disable=not self._bars
        ) as bars:
            yield _Bar(bars, bars.add_task(title, total=total, note=""))

    def say(self, line: str) -> None:
        """Print one line; it is plain text, brackets and colons and all."""
        self._console.print(line, markup=False, emoji=False)


class _Bar:
    """One rich bar as a Step."""

    def __init__(self, bars: RichProgress, task: TaskID) -> None:
        self._bars, self._task = bars, task

    def advance(self, done: int = 1, *, note: str = "") -> None:
        """Move the bar."""
        self._bars.update(self._task, advance=done, note=note)
