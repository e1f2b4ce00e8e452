"""Whole epochs, training and validation, beside the plain programs; each in a fresh process.

They take turns, repeat after repeat. Everybody's first epoch stands apart: in it TensorFlow
compiles, and we decode every image and fill a new cache.

    python -m benchmarks.training.epochs ORDER      what runs in our process
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.training.loops import spread
from benchmarks.training.sets import SETS, Split
from benchmarks.training.turns import Place

_HERE = Path(__file__).resolve().parent.parent
PLAIN = {
    "skin-binary": "plain_skin_binary.py",
    "ham10000": "plain_ham10000.py",
    "chest-xray": "plain_chest_xray.py",
}
OURS = {"ours, float32": "float32", "ours, precision auto": "auto"}


def plain_variants(recipe: str, workers: int) -> dict[str, list[str]]:
    """Return the ways to run the plain program of a recipe, with the arguments of each."""
    if recipe == "chest-xray":
        return {"plain": [], "plain, --cache": ["--cache"]}
    return {"plain": [], f"plain, {workers} workers": ["--workers", str(workers)]}


def run(
    set_name: str, split: Split, place: Place, *, epochs: int, repeats: int, workers: int
) -> dict[str, Any]:
    """Return the seconds of every variant's epochs, and the ratios, as JSON."""
    recipe = SETS[set_name].recipe
    plain = plain_variants(recipe, workers)
    names = [*plain, *OURS]
    seconds: dict[str, list[list[float]]] = {name: [] for name in names}
    not_run: dict[str, str] = {}
    for repeat in range(repeats):
        first = repeat % len(names)
        for name in names[first:] + names[:first]:
            out = place.scratch / f"epochs-{set_name}-{repeat}-{names.index(name)}"
            try:
                if name in plain:
                    taken = _plain(recipe, split, out, epochs, plain[name], place)
                else:
                    taken = _ours(recipe, split, out, epochs, OURS[name], place)
                seconds[name].append(taken)
            except subprocess.CalledProcessError as error:
                not_run[name] = _last_words(error)
            shutil.rmtree(out, ignore_errors=True)
    return {
        "set": set_name,
        "recipe": recipe,
        "seconds": seconds,
        "first": {name: spread([run[0] for run in runs]) for name, runs in seconds.items() if runs},
        "later": {
            name: spread([_later(run) for run in runs]) for name, runs in seconds.items() if runs
        },
        "ratios": _ratios(seconds, list(plain)),
        "not_run": not_run,
    }


def _ratios(seconds: Mapping[str, list[list[float]]], plain: list[str]) -> dict[str, Any]:
    """Return how often as fast as each plain variant we are: later epochs, repeat by repeat."""
    found = {}
    for mine in OURS:
        for other in plain:
            by_repeat = [
                _later(its) / _later(ours)
                for its, ours in zip(seconds[other], seconds[mine], strict=False)
            ]
            if by_repeat:
                found[f"{mine} / {other}"] = spread(by_repeat)
    return found


def _later(seconds: list[float]) -> float:
    """Return the median epoch after the first; the first where it is the only one."""
    return statistics.median(seconds[1:] or seconds)


def _plain(
    recipe: str, split: Split, out: Path, epochs: int, arguments: list[str], place: Place
) -> list[float]:
    program = [sys.executable, str(_HERE / PLAIN[recipe])]
    how = [*arguments, "--epochs", str(epochs), "--out", str(out)]
    _call([*program, str(split.table), *how], place)
    lines = (out / "epochs.jsonl").read_text().splitlines()
    return [json.loads(line)["seconds"] for line in lines]


def _ours(
    recipe: str, split: Split, out: Path, epochs: int, precision: str, place: Place
) -> list[float]:
    order = {
        "manifest": str(split.manifest),
        "recipe": recipe,
        "precision": precision,
        "epochs": epochs,
        "out": str(out / "run"),
    }
    out.mkdir(parents=True)
    # A folder of its own: its first epoch finds no decoded image of an earlier repeat.
    own = Place(out, place.backend, place.python)
    told = _call([place.python, "-m", "benchmarks.training.epochs", json.dumps(order)], own)
    seconds: list[float] = json.loads(told.splitlines()[-1])
    return seconds


def _call(command: list[str], place: Place) -> str:
    done = subprocess.run(
        command, env=place.environment(), check=True, capture_output=True, text=True
    )
    return done.stdout


def _last_words(error: subprocess.CalledProcessError) -> str:
    said = [line for line in (error.stderr or "").splitlines() if line.strip()]
    return f"{said[-1][:300] if said else 'nothing said'} (exit {error.returncode})"


def main() -> None:
    """Train as `sightline train` does, for so many epochs, and print their seconds.

    The recipe keeps its own number of epochs: the plan, and with it the precision, is that of the
    whole training. An epoch ends where the next one begins, so history, best weights and
    checkpoints are in it; the last one ends when it has been told.
    """
    import keras

    import sightline as sl

    class Marks(keras.callbacks.Callback):
        """Notes when epochs begin, and stops after so many."""

        def __init__(self, epochs: int) -> None:
            super().__init__()
            self.marks: list[float] = []
            self._epochs = epochs

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
            self.marks.append(time.perf_counter())

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
            if epoch + 1 == self._epochs:
                self.marks.append(time.perf_counter())
                self.model.stop_training = True

    order = json.loads(sys.argv[1])
    marks = Marks(order["epochs"])
    sl.train(
        sl.Manifest.load(Path(order["manifest"])),
        recipe=order["recipe"],
        changes={"precision": order["precision"]},
        out=order["out"],
        only_train=True,
        callbacks=[marks],
        progress=sl.Silent(),
    )
    pairs = zip(marks.marks[1:], marks.marks, strict=False)
    print(json.dumps([ended - began for ended, began in pairs]))


if __name__ == "__main__":
    main()
