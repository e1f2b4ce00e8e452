"""How often a checkpoint is written."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

_COSTS_BETWEEN = 100  # 1 % of the time
_FIRST_AFTER = 20.0  # s: nobody minds losing less


@dataclass(slots=True)
class Cadence:
    """Says when the next checkpoint is due.

    Attributes:
        steps: Every so many steps; 0 leaves it to the clock.
        seconds: At least so many apart; None for a hundred times what the last one took.
    """

    steps: int = 0
    seconds: float | None = None
    _interval: float = field(init=False)
    _saved_at: float = field(init=False)
    _steps_since: int = 0

    def __post_init__(self) -> None:
        self._interval = _FIRST_AFTER if self.seconds is None else self.seconds
        self._saved_at = time.perf_counter()

    def step_done(self) -> bool:
        """Take note of a step, and say whether a checkpoint is due."""
        self._steps_since += 1
        return self.is_due()

    def is_due(self) -> bool:
        """Say whether a checkpoint is due."""
        if self.steps:
            return self._steps_since >= self.steps
        return time.perf_counter() - self._saved_at >= self._interval

    def saved(self, took: float) -> None:
        """Take note of a checkpoint and of the seconds it took, or of a try."""
        self._steps_since, self._saved_at = 0, time.perf_counter()
        if self.seconds is None:
            self._interval = max(_COSTS_BETWEEN * took, 1.0)
