"""What the plain programs share: reading the split, and a JSON line an epoch.

Nothing here knows Sightline. SPLIT.csv has the columns path, label, split, where split is train,
validation or test (which these programs never read).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.metrics import roc_auc_score

# Labels (N,) int and what the network says of them: (N, 1) or (N, K), in the same order.
Judged = tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]


def parser(about: str, epochs: int) -> argparse.ArgumentParser:
    """Return the arguments that every plain program takes."""
    asked = argparse.ArgumentParser(description=about.partition("\n")[0])
    asked.add_argument("split", type=Path, help="CSV with the columns path, label, split")
    asked.add_argument("--epochs", type=int, default=epochs, help=f"at most; published: {epochs}")
    asked.add_argument("--seed", type=int, default=0)
    asked.add_argument(
        "--out", type=Path, required=True, help="folder for weights and epochs.jsonl"
    )
    return asked


def read(split: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows of train and of validation, columns path and label."""
    table = pd.read_csv(split, dtype=str)
    train, validation = (table[table["split"] == name] for name in ("train", "validation"))
    return train.reset_index(drop=True), validation.reset_index(drop=True)


class EpochLines(keras.callbacks.Callback):
    """Prints each epoch and appends it to `epochs.jsonl`; comes last, so it times all others.

    "seconds" is an epoch with its validation and its callbacks; the ROC AUC of the validation
    images is worked out after that and is in "seconds_judging" alone, not in "elapsed".

    Args:
        out: Folder of the file.
        images: Of train.
        judge: Says what the network makes of the validation images.
    """

    def __init__(self, out: Path, images: int, judge: Callable[[keras.Model], Judged]) -> None:
        super().__init__()
        self._file = out / "epochs.jsonl"
        self._file.write_text("")
        self._images, self._judge = images, judge
        self._began = self._trained = self._elapsed = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        self._began = time.perf_counter()

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        self._trained = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        ended = time.perf_counter()
        self._elapsed += ended - self._began
        labels, outputs = self._judge(self.model)
        line = {name: float(value) for name, value in (logs or {}).items()}
        line |= {
            "epoch": epoch,
            "val_auc": auc(labels, outputs),
            "seconds": ended - self._began,
            "elapsed": self._elapsed,
            "images_per_second": self._images / (self._trained - self._began),
            "seconds_judging": time.perf_counter() - ended,
        }
        with self._file.open("a") as file:
            file.write(json.dumps(line) + "\n")
        shown = ("seconds", "val_loss", "val_accuracy", "val_auc", "images_per_second")
        told = ", ".join(f"{name} {line[name]:.4g}" for name in shown)
        print(f"epoch {epoch + 1}: {told}", flush=True)


def auc(labels: npt.NDArray[np.int64], outputs: npt.NDArray[np.float32]) -> float:
    """Return the ROC AUC, of several classes the plain mean of each against the rest."""
    if outputs.shape[1] == 1:
        return float(roc_auc_score(labels, outputs[:, 0]))
    of_each = [
        roc_auc_score(labels == number, outputs[:, number])
        for number in range(outputs.shape[1])
        if 0 < (labels == number).sum() < len(labels)
    ]
    return float(np.mean(of_each))


def end(out: Path, began: float, callbacks: Sequence[keras.callbacks.Callback]) -> None:
    """Write `done.json`: the whole program's seconds, and after how many epochs it stopped."""
    stopped = [each.stopped_epoch for each in callbacks if hasattr(each, "stopped_epoch")]
    told = {"seconds": time.perf_counter() - began, "stopped_epoch": max(stopped, default=0)}
    (out / "done.json").write_text(json.dumps(told) + "\n")
