"""A training that came to no number: on which images, and what to do."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sightline import runs
from sightline.data.stream import Stream
from sightline.errors import RunError
from sightline.recipes import Recipe

_SHOWN = 5  # ids in a message; the log of the run has all

_Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Recent:
    """The batches of the latest steps: those that may have brought a NaN about, or infinity.

    A gradient may be no number behind an objective that is one. Then the weights are spoiled, and
    a batch after it is the first that shows it: mostly the next one.

    Attributes:
        batches: 0-based epoch and step, and (B,) rows of each, the latest one last.
    """

    batches: deque[tuple[int, int, _Rows]]

    @classmethod
    def of(cls, recipe: Recipe) -> Recent:
        """Return none yet, with room for those of one change of the weights and the one after."""
        return cls(deque(maxlen=recipe.train.accumulate + 1))

    def add(self, epoch: int, step: int, rows: _Rows) -> None:
        """Take note of the batch of a step, before it is taken."""
        self.batches.append((epoch, step, rows))

    def named(self, stream: Stream, run: Path) -> tuple[str, str]:
        """Return the first ids of the latest batch, and what to do with them; the log gets all.

        Args:
            stream: Of the batches.
            run: The run folder.
        """
        if not self.batches:
            return "no step was taken since it was resumed", ""
        *before, latest = self.batches
        for epoch, step, rows in (*before, latest):
            is_latest = rows is latest[2]
            role = "where it was noticed" if is_latest else "whose gradient may be the cause"
            write_down(f"epoch {epoch + 1}, step {step + 1}, {role}", stream, rows, run)
        named = some(stream, latest[2])
        if not before:
            return named, "look at these images (run.log names all of them), or "
        steps = "the step" if len(before) == 1 else f"the {len(before)} steps"
        return named, (
            f"look at these images and those of {steps} before, whose gradient may be what was no "
            "number (run.log names all of them), or "
        )


def some(stream: Stream, rows: _Rows) -> str:
    """Return the ids of the first few of these records, and how many more there are."""
    more = f" and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else ""
    return f"records {_ids(stream, rows[:_SHOWN])}{more}"


def write_down(what: str, stream: Stream, rows: _Rows, run: Path) -> None:
    """Write the ids of all these records into the run's log, which has room for them."""
    runs.note(run, f"{what}: records {_ids(stream, rows)}")


def diverged(what: str, run: Path, recipe: Recipe, *, first: str = "") -> RunError:
    """Return what to say of a training that came to no number, and what to do.

    Args:
        what: Became no number, and where.
        run: The run folder.
        recipe: The one that it was trained by.
        first: What to do beside lowering the rate, such as "look at these images, or ".
    """
    lower = recipe.train.learning_rate / 10
    return RunError(
        f"{what}. What was reached before is kept. To go on from there, {first}lower the "
        f"learning rate: sightline train --resume {run} --set train.learning_rate={lower:g}"
    )


def _ids(stream: Stream, rows: _Rows) -> str:
    return ", ".join(stream.record_id(int(row)) for row in rows)
