"""What checkpoints cost at their default cadence, and whether memory grows over epochs.

Contenders of their own: one long turn each, in a process of its own.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from benchmarks.training.contenders import Turn
from benchmarks.training.ours import Training, timed_saves

_FIRST, _LAST = 3, 30  # epochs of the slope, 1-based: the first two still settle


def checkpoints(order: Mapping[str, Any]) -> tuple[Turn, dict[str, Any]]:
    """Our loop on batches in memory, saved as the order's changes say."""
    one = Training.of(order, held=True)
    one.train_for(0.0)  # compiled, and not counted

    def turn(seconds: float) -> dict[str, Any]:
        began = time.perf_counter()
        with timed_saves() as (saving, writing):
            clock, _ = one.train_for(seconds)
        wall = time.perf_counter() - began
        return {
            "wall": wall,
            "epochs": len(clock.taken),
            "images_per_second": one.images * len(clock.taken) / wall,
            # The last is the one at the end of every training, whatever the cadence.
            "saving": saving,
            "writing": writing,
            "share": sum(saving) / wall,
        }

    return turn, {}


def memory(order: Mapping[str, Any]) -> tuple[Turn, dict[str, Any]]:
    """Our loop on the stream, for 30 epochs of a small set."""
    epochs = int(order.get("epochs", _LAST))
    one = Training.of(order, held=False)

    def turn(_: float) -> dict[str, Any]:
        clock, rows = one.train_for(float("inf"), epochs=epochs)
        held, asked = [row["memory_mb"] for row in rows], clock.asked_for
        return {
            "memory_mb": held,
            "slope": slope(held),
            "asked_for_mb": asked,
            "asked_for_slope": slope(asked) if np.isfinite(asked).all() else None,
        }

    return turn, {}


def slope(held: list[float]) -> float:
    """Return the least-squares slope of the memory over epochs 3 to 30, in MB an epoch."""
    counted = held[_FIRST - 1 : _LAST]
    return float(np.polyfit(np.arange(len(counted)), counted, 1)[0])
