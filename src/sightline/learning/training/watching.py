"""A training that is watched: it ends after an epoch whose curve promises nothing more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from sightline.records.trials import Watch


class Watching(keras.callbacks.Callback):
    """Ask after each epoch whether the training goes on.

    Attributes:
        column: Of the history that is watched.
        watch: Who is asked; None: it always goes on.
        reason: For which it was ended; "" where it was not.
    """

    def __init__(self, column: str, watch: Watch | None) -> None:
        """Begin a curve without an epoch."""
        super().__init__()
        self.column, self.watch, self.reason = column, watch, ""
        self._values: list[float] = []

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Stop the training where the watch has a reason."""
        del epoch
        self._values.append(float((logs or {})[self.column]))
        if self.watch is not None and (reason := self.watch(self._values)):
            self.reason, self.model.stop_training = reason, True

    def get_state(self) -> dict[str, Any]:
        """Return what a training that goes on must know."""
        return {"reason": self.reason, "values": list(self._values)}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.reason, self._values = str(state["reason"]), list(state["values"])
