"""The process of one contender: builds it, then runs epochs as it is told, line by line.

Requests come as JSON lines on standard input, answers go out on what was standard output; what
libraries print goes to standard error. An error ends the process: its last words are the reason
that the driver reports.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import numpy.typing as npt
from benchmarks.stream import processes
from benchmarks.stream.workload import Epoch, Work


def main() -> None:
    """Build the contender of the command line and serve it."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    order = json.loads(sys.argv[1])
    module, _, name = order["entry"].partition(":")
    work = Work(
        folder=Path(order["folder"]),
        scratch=Path(order["scratch"]),
        augment=order["augment"],
        threads=order["threads"],
    )
    began = time.perf_counter()
    build: Callable[[Work], Epoch] = getattr(
        importlib.import_module(f"benchmarks.stream.contenders.{module}"), name
    )
    served = _Served(build(work))
    _tell(answers, {"seconds": time.perf_counter() - began})
    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] == "run":
            _tell(answers, served.run(request["seconds"]))
        else:
            served.write_sheet(Path(request["path"]))
            _tell(answers, {})
    os._exit(0)  # no library's farewell: nothing is measured any more


def _tell(answers: TextIO, answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


class _Served:
    """A built contender, its epochs counted on."""

    def __init__(self, epoch: Epoch) -> None:
        self._epoch = epoch
        self._number = 0
        self._mark: float | None = None  # CPU seconds when the last answer was ready

    def run(self, seconds: float) -> dict[str, Any]:
        """Run whole epochs until `seconds` have passed, one at least.

        CPU seconds count from the end of the last run, not from the begin of this one: some
        libraries prepare the next epoch's first batches at the end of an epoch.
        """
        pid = os.getpid()
        cpu_began = processes.cpu_seconds(pid) if self._mark is None else self._mark
        began = time.perf_counter()
        images = epochs = 0
        batch: tuple[Any, Any] = ((), None)
        while not epochs or time.perf_counter() - began < seconds:
            for batch in self._epoch(self._number):
                images += len(batch[0])
            self._number += 1
            epochs += 1
        wall = time.perf_counter() - began
        cpu = processes.cpu_seconds(pid) - cpu_began
        answer = {"images": images, "epochs": epochs, "wall": wall, "cpu": cpu}
        answer["check"] = _check(*batch)
        self._mark = processes.cpu_seconds(pid)
        return answer

    def write_sheet(self, path: Path) -> None:
        """Write the first batch of the next epoch as one picture, 8 across."""
        from PIL import Image

        batches = iter(self._epoch(self._number))
        pictures, _ = next(batches)
        shown = _channels_last(np.array(pictures, copy=True))
        for _ in batches:  # to the end, so that the next epoch begins as any other
            pass
        self._number += 1
        rows = shown.reshape(-1, 8, *shown.shape[1:]).swapaxes(1, 2)
        sheet = rows.reshape(rows.shape[0] * rows.shape[1], -1, 3)
        Image.fromarray(np.uint8(np.clip(sheet * 255, 0, 255))).save(path)
        self._mark = processes.cpu_seconds(os.getpid())


def _check(pictures: Any, labels: Any) -> dict[str, Any]:
    """Return what can be said of the last batch; limits deliver no pictures to check."""
    if labels is None:
        return {}
    array = np.asarray(pictures)
    return {
        "shape": list(array.shape),
        "dtype": str(array.dtype),
        "min": float(array.min()),
        "max": float(array.max()),
        "mean": float(array.mean()),
        "labels": len(np.asarray(labels)),
        "digest": hashlib.sha256(np.ascontiguousarray(array)).hexdigest()[:16],
    }


def _channels_last(array: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return array.transpose(0, 2, 3, 1) if array.shape[1] == 3 else array


if __name__ == "__main__":
    main()
