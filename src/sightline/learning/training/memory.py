"""Memory given back at the end of an epoch."""

from __future__ import annotations

import ctypes
import gc
import sys
from typing import Any

import keras


class ReleaseMemory(keras.callbacks.Callback):
    """Collects garbage at each epoch's end and hands freed memory back to the system.

    Python frees cycles late, and glibc keeps what was freed for later; on Linux it is asked to
    give it back. The column `memory_mb` of the epochs after it shows the effect.
    """

    def __init__(self) -> None:
        super().__init__()
        self._trim = None
        if sys.platform == "linux":
            # Other C libraries have no such function.
            self._trim = getattr(ctypes.CDLL(None), "malloc_trim", None)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Release it."""
        gc.collect()
        if self._trim is not None:
            self._trim(0)
