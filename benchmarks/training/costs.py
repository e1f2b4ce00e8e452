"""What checkpoints cost at their default cadence, and whether memory grows over epochs.

Contenders of their own: one long turn each, in a process of its own.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from benchmarks.training.contenders import Turn
from benchmarks.training.ours import Training

from sightline.learning import training
from sightline.learning.training import variables

_FIRST, _LAST = 3, 30  # epochs of the slope, 1-based: the first two still settle


class TimedKeeper(training.Keeper):
    """A keeper that knows what its checkpoints took."""

    def save(self, *arguments: Any, **named: Any) -> None:
        """Write a checkpoint, timed."""
        began = time.perf_counter()
        super().save(*arguments, **named)
        if not hasattr(self, "took"):
            self.took: list[float] = []
        self.took.append(time.perf_counter() - began)


def checkpoints(order: Mapping[str, Any]) -> tuple[Turn, dict[str, Any]]:
    """Our loop on batches in memory, saved as the order's changes say."""
    one = Training.of(order, held=True)
    one.train_for(0.0)  # compiled, and not counted

    def turn(seconds: float) -> dict[str, Any]:
        began = time.perf_counter()
        clock, _ = one.train_for(seconds, keeper=TimedKeeper)
        wall = time.perf_counter() - began
        (keeper,) = one.keepers
        writing = getattr(keeper, "took", [])
        reading = statistics.median(_reading(one) for _ in range(3))
        spent = sum(writing[:-1]) + reading * len(writing[:-1])
        return {
            "wall": wall,
            "epochs": len(clock.taken),
            "images_per_second": one.images * len(clock.taken) / wall,
            # The last is the one at the end of every training, whatever the cadence.
            "writing": writing[:-1],
            "writing_at_the_end": writing[-1:],
            "reading": reading,
            "share": spent / wall if writing[:-1] else None,  # too short a turn says nothing
        }

    return turn, {}


def _reading(one: Training) -> float:
    """Return the seconds that a copy of all variables takes, which the loop makes for each save."""
    began = time.perf_counter()
    variables.read(one.model)
    return time.perf_counter() - began


def memory(order: Mapping[str, Any]) -> tuple[Turn, dict[str, Any]]:
    """Our loop on the stream, for 30 epochs of a small set."""
    epochs = int(order.get("epochs", _LAST))
    one = Training.of(order, held=False)

    def turn(_: float) -> dict[str, Any]:
        _, rows = one.train_for(float("inf"), epochs=epochs)
        held = [row["memory_mb"] for row in rows]
        return {"memory_mb": held, "slope": slope(held)}

    return turn, {}


def slope(held: list[float]) -> float:
    """Return the least-squares slope of the memory over epochs 3 to 30, in MB an epoch."""
    counted = held[_FIRST - 1 : _LAST]
    return float(np.polyfit(np.arange(len(counted)), counted, 1)[0])
