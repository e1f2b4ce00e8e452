"""A search as it goes: a row for each training that is done, and a bar for what is left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sightline.progress import Progress, Step
from sightline.records.trials import Trial
from sightline.workflow.trials import Trials

_HEAD = "  no.  kind   fold  {objective:>10}  epochs   time  changes"
_ROW = "{number:5,}  {kind:<6} {fold:>4}  {value:>10}  {epochs:>6}  {time:>5}  {changes}"


class TrialRows:
    """The live table of a search.

    Args:
        trials: Whose.
        progress: Where the rows go.
        step: The bar; in seconds where the time is limited, else in trainings.
        objective: What it is about.
    """

    def __init__(self, trials: Trials, progress: Progress, step: Step, objective: str) -> None:
        """Begin where the search stands; the trainings that are done already are counted."""
        self._trials, self._progress, self._step = trials, progress, step
        self._shown = {trial.spec.key for trial in trials.all()}
        self._counted = 0
        if self._shown:
            progress.say(f"{len(self._shown):,} trainings were done before.")
        progress.say(_HEAD.format(objective=objective))
        self._move()

    def add_new(self) -> None:
        """Show the trainings that were done since, by whichever process."""
        for trial in self._trials.all():
            if trial.spec.key not in self._shown:
                self._shown.add(trial.spec.key)
                self._progress.say(row_of(trial, len(self._shown)))
        self._move()

    def _move(self) -> None:
        done = self._trials.all()
        seconds = sum(trial.seconds for trial in done if trial.run)  # else on another machine
        now = int(seconds) if self._trials.seconds else len(done)
        note = f"{len(done):,} trainings, {seconds / 60:.1f} minutes of training"
        self._step.advance(now - self._counted, note=note)
        self._counted = now


def row_of(trial: Trial, number: int) -> str:
    """Return the row of a training, as wide as the head."""
    return _ROW.format(
        number=number,
        kind="short" if trial.spec.quick else "whole",
        fold="" if trial.spec.fold is None else trial.spec.fold,
        value=trial.state if trial.value is None else f"{trial.value:.4f}",
        epochs=f"{len(trial.curve)}{'!' * (trial.state == 'stopped')}" if trial.curve else "",
        time=f"{trial.seconds:.0f} s",
        changes=_words(trial.spec.changes) + (f" ({trial.reason})" if trial.reason else ""),
    )


def _words(changes: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={_plain(value)}" for key, value in changes.items()) or "as it is"


def _plain(value: object) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{', '.join(map(str, value))}]"
    return str(value)
