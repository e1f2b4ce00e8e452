"""How often a checkpoint is written."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

_COSTS_BETWEEN = 100  # 1 % of the time
_FIRST_AFTER = 20.0  # s: nobody minds losing less
_FIRST_AT_MOST = 300.0  # s: a process that is often killed has to get ahead
_AFTER_FAILURE = 20.0  # s: what is wrong needs time to be mended, and fails at once till then
# Bytes a second, before one was written: with checksums, the best weights twice beside it, and a
# disk of moderate speed that is waited for. Measured: 78 million on a virtual disk.
_USUAL_SPEED = 75e6


@dataclass(slots=True)
class Cadence:
    """Says when the next checkpoint is due.

    Attributes:
        steps: Every so many steps; 0 leaves it to the clock.
        seconds: Every so many; with `steps` too, whichever comes first. None leaves it to `steps`;
            without them it is a hundred times what the last one took, or the first is expected to
            take: that one comes within five minutes.
    """

    steps: int = 0
    seconds: float | None = None
    _interval: float = field(init=False)
    _saved_at: float = field(init=False)
    _steps_since: int = 0
    _pause: float = 0.0  # s: none is due before, after a try that failed

    def __post_init__(self) -> None:
        self._interval = _FIRST_AFTER if self.seconds is None else self.seconds
        self._saved_at = time.perf_counter()

    def step_done(self) -> bool:
        """Take note of a step, and say whether a checkpoint is due."""
        self._steps_since += 1
        return self.is_due()

    def is_due(self) -> bool:
        """Say whether a checkpoint is due."""
        waited = time.perf_counter() - self._saved_at
        if waited < self._pause:
            return False
        if self.steps and self._steps_since >= self.steps:
            return True
        by_clock = self.seconds is not None or not self.steps
        return by_clock and waited >= self._interval

    def expect(self, size: int) -> None:
        """Take note of the bytes of a checkpoint, before the first one is written."""
        if self.seconds is None:
            expected = _COSTS_BETWEEN * size / _USUAL_SPEED
            self._interval = min(max(expected, _FIRST_AFTER), _FIRST_AT_MOST)

    def saved(self, took: float) -> None:
        """Take note of a checkpoint and of the seconds it took."""
        self._begin_anew(pause=0.0)
        if self.seconds is None:
            self._interval = max(_COSTS_BETWEEN * took, 1.0)

    def failed(self) -> None:
        """Take note of a try that failed: the next waits a while, whatever was asked for."""
        self._begin_anew(pause=_AFTER_FAILURE)

    def _begin_anew(self, *, pause: float) -> None:
        self._steps_since, self._saved_at, self._pause = 0, time.perf_counter(), pause
