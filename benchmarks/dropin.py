"""How fast is sightline.preprocessing.image beside Keras' own ImageDataGenerator?

The same folders, arguments and seed, 122x122, batches of 32, all augmentations of the stream's
benchmark; both classes take turns, each in a process of its own that rests while the other runs.
The first epoch starts without a cache. Images per CPU second of the whole process tree.

    python -m benchmarks.dropin [--data FOLDER] [--minutes 6] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.stream import sets
from benchmarks.stream.contenders import Contender
from benchmarks.stream.driver import Race, Result
from benchmarks.stream.machine import describe

FILES = (
    Contender(name="keras", title="Keras, from folders", entry="keras_generator:build"),
    Contender(name="exact", title="Sightline exact, from folders", entry="dropin:exact"),
    Contender(name="fast", title="Sightline fast, from folders", entry="dropin:fast"),
)
ARRAYS = (
    Contender(name="keras-arrays", title="Keras, from an array", entry="dropin:keras_arrays"),
    Contender(name="exact-arrays", title="Sightline exact, from an array", entry="dropin:arrays"),
)
# set, contenders, what is asked for: of the first epoch, and of those after it
RACES = (("S", (*FILES, *ARRAYS), 3.0, 6.0), ("H", FILES, 3.0, 10.0))
ARRAYS_TARGET = 6.0


def main() -> None:
    """Measure, print, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, help="folder of the real sets")
    parser.add_argument("--minutes", type=float, default=6.0, help="for everything")
    parser.add_argument("--images", type=int, default=1888, help="of each set")
    parser.add_argument("--json", type=Path, help="write the figures here")
    asked = parser.parse_args()
    report: dict[str, Any] = {"machine": describe(), "races": {}}
    with tempfile.TemporaryDirectory() as scratch:
        for name, contenders, first, later in RACES:
            results = _race(name, contenders, asked, Path(scratch))
            report["races"][name] = _told(name, results, first, later)
    if asked.json:
        asked.json.write_text(json.dumps(report, indent=1) + "\n")


def _race(
    name: str, contenders: tuple[Contender, ...], asked: argparse.Namespace, scratch: Path
) -> dict[str, Result]:
    began = time.monotonic()
    folder = scratch / name
    one = sets.SETS[name]
    one = type(one)(one.name, one.title, one.place, asked.images)
    if missing := sets.prepare(one, asked.data, folder):
        print(f"{name}: not run, {missing}")
        return {}
    race = Race(
        folder=folder,
        images=asked.images,
        scratch=scratch / f"race-{name}",
        contenders=list(contenders),
        augment=True,
        threads=len(os.sched_getaffinity(0)),
        seconds=asked.minutes * 60 / len(RACES) - (time.monotonic() - began),
    )
    return race.run()


def _told(name: str, results: dict[str, Result], first: float, later: float) -> dict[str, Any]:
    """Print and return the rates of a race, and how often as fast as Keras they are."""
    rates: dict[str, Any] = {}
    for key, result in results.items():
        if result.not_run:
            print(f"{name} {key}: not run, {result.not_run}")
            continue
        steady = [turn["images"] / turn["cpu"] for turn in result.steady]
        wall = [turn["images"] / turn["wall"] for turn in result.steady]
        rates[key] = {
            "first_cpu": result.cold["images"] / result.cold["cpu"],
            "first_wall": result.cold["images"] / result.cold["wall"],
            "later_cpu": statistics.median(steady),
            "later_wall": statistics.median(wall),
        }
        shown = ", ".join(f"{part} {value:,.0f}" for part, value in rates[key].items())
        print(f"{name} {key}: images/s {shown}")
    for key, peer in (("exact", "keras"), ("fast", "keras"), ("exact-arrays", "keras-arrays")):
        if key in rates and peer in rates:
            ratios = {part: rates[key][part] / rates[peer][part] for part in rates[key]}
            asked = {"first_cpu": first, "later_cpu": later}
            if key == "exact-arrays":
                asked = {"later_cpu": ARRAYS_TARGET}
            rates[f"{key} over {peer}"] = ratios | {"asked": asked}
            shown = ", ".join(f"{part} {value:.1f}x" for part, value in ratios.items())
            print(f"{name} {key} over {peer}: {shown}; asked {asked}")
    return rates


if __name__ == "__main__":
    main()
