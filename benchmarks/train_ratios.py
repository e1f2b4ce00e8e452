"""How fast is training? Ratios in one run on one machine: everyone in turns, printed, and as JSON.

    python -m benchmarks.train_ratios --data FOLDER [--parts loops epochs ...] [--json FILE]

FOLDER holds skin_binary, ham10000_csv, chest_xray and chest_xray_original_sample. The parts:

loops        our loop beside `model.fit` on the same batches in memory, our loop on the stream with
             full augmentation, and the arithmetic reached beside the machine's matrix product
epochs       whole epochs beside the plain programs
checkpoints  what checkpoints cost at their default cadence
memory       its slope over epochs 3 to 30, with and without release_memory

The loops run on TensorFlow, or on just the --backends named: "tensorflow jax=PYTHON torch=PYTHON"
runs them on all three, with interpreters that have them; without one, it is this one. Figures that
FILE already holds, of the same machine, stay until they are measured again, so that it can be done
in pieces. --quick takes a few steps of everything, to see that it runs: its figures say nothing.
Run it on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.stream.machine import describe
from benchmarks.training import epochs, loops, page, targets
from benchmarks.training.sets import SETS, Split, prepare
from benchmarks.training.turns import Place, Result, race

PARTS = {  # and what tells the figures of a part from one another
    "loops": ("work", "precision", "backend"),
    "epochs": ("set",),
    "checkpoints": ("work",),
    "memory": ("work", "release"),
}
QUICK_EPOCHS = 4


def main() -> None:
    """Measure, print, write JSON."""
    asked = _ask()
    began = time.monotonic()
    report = _so_far(asked)
    began -= report["minutes"] * 60
    if asked.json:
        asked.json.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=asked.scratch, prefix="bench-train-") as folder:
        bench = _Bench(asked, Path(folder))
        for part in asked.parts:
            for figures in getattr(bench, part)():
                _put(report.setdefault(part, []), figures, PARTS[part])
                print(*page.LINES[part](figures), sep="\n", flush=True)
                _write(report, asked.json, began)  # so far, should the rest be broken off
    print(*page.verdict_lines(report["verdicts"]), sep="\n")
    print(f"{report['minutes']:.1f} minutes")


def _ask() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.train_ratios", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    works = [work.name for work in loops.WORKS]
    parser.add_argument("--data", type=Path, required=True, help="folder of the real sets")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--works", nargs="+", choices=works, default=works, metavar="NAME")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS), help="of epochs")
    parser.add_argument("--precisions", nargs="+", default=list(loops.PRECISIONS))
    parser.add_argument("--backends", nargs="+", default=["tensorflow"], help="NAME or NAME=PYTHON")
    parser.add_argument("--images", type=int, default=640, help="of loops: a multiple of 64")
    parser.add_argument("--rounds", type=int, default=9, help="of loops")
    parser.add_argument("--seconds", type=float, default=3.0, help="of a turn of loops")
    parser.add_argument("--epochs", type=int, default=4, help="of epochs, the first apart")
    parser.add_argument("--repeats", type=int, default=3, help="of epochs and memory")
    parser.add_argument("--long", type=float, default=240.0, help="seconds of checkpoints")
    parser.add_argument("--quick", action="store_true", help="a few steps of everything")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--scratch", type=Path, help="for runs and caches; default: temporary")
    asked = parser.parse_args()
    if asked.images % 64:
        parser.error(f"--images {asked.images} is no multiple of 64, the largest batch")
    if asked.quick:
        asked.images, asked.rounds, asked.seconds = 64, 1, 0.0
        asked.epochs, asked.repeats, asked.long = 2, 1, 5.0
    return asked


def _so_far(asked: argparse.Namespace) -> dict[str, Any]:
    """Return the report with the figures of the same machine that the file holds already."""
    report: dict[str, Any] = {"machine": describe(), "load": os.getloadavg()[0]}
    report |= {"quick": asked.quick, "minutes": 0.0}
    if asked.json and asked.json.exists():
        earlier: dict[str, Any] = json.loads(asked.json.read_text())
        differs = [key for key in ("machine", "quick") if earlier.get(key) != report[key]]
        if differs:
            told = "; ".join(f"{key} {earlier.get(key)}, now {report[key]}" for key in differs)
            raise SystemExit(f"{asked.json} holds other figures ({told}): give another --json")
        report.update(earlier)
    return report


def _put(measured: list[dict[str, Any]], figures: dict[str, Any], key: tuple[str, ...]) -> None:
    """Put figures in the place of those of the same thing, or at the end."""
    for place, one in enumerate(measured):
        if all(one[name] == figures[name] for name in key):
            measured[place] = figures
            return
    measured.append(figures)


def _write(report: dict[str, Any], place: Path | None, began: float) -> None:
    report["minutes"] = (time.monotonic() - began) / 60
    report["verdicts"] = targets.verdicts(report)
    if place:
        place.write_text(json.dumps(report, indent=1) + "\n")


class _Bench:
    """The parts; each yields its figures one by one."""

    def __init__(self, asked: argparse.Namespace, scratch: Path) -> None:
        self._asked, self._scratch = asked, scratch
        self._works = [work for work in loops.WORKS if work.name in asked.works]
        self._number = 0

    def loops(self) -> Any:
        """Race on every backend: each work and precision."""
        pairs = (given.partition("=") for given in self._asked.backends)
        for backend, python in {name: python for name, _, python in pairs}.items():
            # The slow ones, and only the question of the loop, where it is not TensorFlow.
            others = ("ours", "fit", "fit-same-step")
            who = tuple(loops.CONTENDERS) if backend == "tensorflow" else others
            for work in self._works:
                if backend != "tensorflow" and work.recipe == "auto" and self._asked.quick:
                    continue
                for precision in self._asked.precisions:
                    yield loops.run(
                        work,
                        precision,
                        self._split(work.set_name, images=self._asked.images),
                        self._place(backend, python or sys.executable),
                        rounds=self._asked.rounds,
                        seconds=self._asked.seconds,
                        contenders=who,
                    )

    def epochs(self) -> Any:
        """Whole epochs of each set."""
        for name in self._asked.sets:
            small = 128 if self._asked.quick else None
            # A small set's epochs are over at once: more of them.
            more = 4 if name == "chest-original" and not small else 1
            yield epochs.run(
                name,
                self._split(name, images=small),
                self._place(),
                epochs=self._asked.epochs * more,
                repeats=self._asked.repeats,
                workers=len(os.sched_getaffinity(0)),
            )

    def checkpoints(self) -> Any:
        """The cost of checkpoints of each work, beside the same training without."""
        for work in self._works:
            split = self._split(work.set_name, images=self._asked.images)
            order = {
                "entry": "costs:checkpoints",
                "manifest": str(split.manifest),
                "recipe": work.recipe,
                "precision": "float32",
            }
            orders = {
                "saved": {**order, "changes": {"checkpoint.seconds": "auto"}},
                "not saved": order,
            }
            # One round, and its warm-up: a turn is long, and shares are of the time within it.
            results = _long(orders, self._place(), self._asked.long)
            turns = {name: one.turns for name, one in results.items()}
            shares = [turn["share"] for turn in turns["saved"]]
            yield {
                "work": work.name,
                "share": loops.spread(shares) if shares else None,
                "turns": turns,
                "not_run": "; ".join(one.not_run for one in results.values() if one.not_run),
            }

    def memory(self) -> Any:
        """The slope of the memory of each work, with and without the callback that releases it."""
        for work in self._works:
            for release in (True, False):
                split = self._split(work.set_name, images=min(self._asked.images, 256))
                order = {
                    "entry": "costs:memory",
                    "manifest": str(split.manifest),
                    "recipe": work.recipe,
                    "precision": "float32",
                    "epochs": QUICK_EPOCHS if self._asked.quick else 30,
                    "changes": {"train.release_memory": release},
                }
                results: list[Result] = []
                for _ in range(self._asked.repeats):
                    results += _long({"memory": order}, self._place(), 0.0).values()
                turns = [turn for one in results for turn in one.turns]
                slopes, asked = (
                    [turn[name] for turn in turns if turn[name] is not None]
                    for name in ("slope", "asked_for_slope")
                )
                yield {
                    "work": work.name,
                    "release": release,
                    "slope": loops.spread(slopes) if slopes else None,
                    "asked_for_slope": loops.spread(asked) if asked else None,
                    "runs": [asdict(one) for one in results],
                    "not_run": "; ".join(one.not_run for one in results if one.not_run),
                }

    def _split(self, name: str, *, images: int | None) -> Split:
        out = self._scratch / "sets" / f"{name}-{images or 'all'}"
        counts = None if images is None else (images, 32)
        return prepare(SETS[name], self._asked.data, out, images=counts)

    def _place(self, backend: str = "tensorflow", python: str = sys.executable) -> Place:
        """Return a folder of its own; decoded images are shared by nobody."""
        self._number += 1
        folder = self._scratch / f"{self._number:03d}"
        folder.mkdir()
        return Place(folder, backend, python)


def _long(orders: dict[str, dict[str, Any]], place: Place, seconds: float) -> dict[str, Result]:
    """Return one turn of each; they have warmed up by themselves."""
    return race(orders, place, rounds=1, seconds=seconds, warm=False)


if __name__ == "__main__":
    main()
