"""A training in a process of its own, which tells where it is, and kills itself where it is told.

Run as a program: python killed_training.py SPEC.json, with {images, run, changes, told, die_at}.
It begins the training, or goes on with it. Each line that it adds to `told` is the time (monotonic,
ns), an event, and for a step the checksum of what it is trained on, with tabs in between. At the
first event of `die_at` it sends itself SIGKILL.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from tiny import Batches

import sightline as sl
from sightline import runs


class Teller(Batches):
    """Tells each event, and draws from the generators of the process, as a user's code may."""

    def __init__(self, told: Path, die_at: set[str]) -> None:
        super().__init__()
        self.file = os.open(told, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.die_at = die_at
        self.epochs = 0  # done
        self.drawn: list[float] = []

    def tell(self, event: str, more: object = "") -> None:
        os.write(self.file, f"{time.monotonic_ns()}\t{event}\t{more}\n".encode())
        if event in self.die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def on_train_begin(self, logs: object = None) -> None:
        super().on_train_begin(logs)
        self.tell("training begins")

    def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
        self.tell(f"epoch {epoch} begins")

    def note(self, checksum: int) -> None:
        super().note(checksum)
        self.tell(f"step {len(self.sums)} begins", checksum)

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        self.drawn += [random.random(), float(np.random.rand())]  # noqa: NPY002
        self.drawn.append(float(keras.ops.convert_to_numpy(keras.random.normal(()))))
        if keras.config.backend() == "torch":
            self.drawn.append(float(sys.modules["torch"].rand(())))
        self.tell(f"step {len(self.sums)} ends")

    def on_test_begin(self, logs: object = None) -> None:
        self.tell(f"validation {self.epochs} begins")

    def on_test_batch_end(self, batch: int, logs: object = None) -> None:
        self.tell(f"validation {self.epochs} batch {batch} ends")

    def on_test_end(self, logs: object = None) -> None:
        self.tell(f"validation {self.epochs} ends")

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        self.epochs += 1
        self.tell(f"epoch {epoch} ends")

    def get_state(self) -> dict[str, Any]:
        return {**super().get_state(), "epochs": self.epochs, "drawn": list(self.drawn)}

    def set_state(self, state: Mapping[str, Any]) -> None:
        super().set_state(state)
        self.epochs, self.drawn = state["epochs"], list(state["drawn"])


def main(spec: Mapping[str, Any]) -> None:
    run = Path(spec["run"])
    saved = run.exists() and runs.latest_checkpoint(run)
    keras.utils.set_random_seed(os.getpid() if saved else 7)  # where it goes on, others
    more: dict[str, Any] = {
        "only_train": True,
        "callbacks": [Teller(Path(spec["told"]), set(spec["die_at"]))],
        "progress": sl.Silent(),
    }
    if (run / "run.json").exists():
        sl.train(resume=run, **more)
    else:
        sl.train(spec["images"], recipe="basic", changes=spec["changes"], out=run, **more)


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text("utf-8")))
