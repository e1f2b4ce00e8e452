"""What do the images of a search's second training cost, beside those of its first?

    python -m benchmarks.search_input --data FOLDER --out DIR [--rounds 5]

A training's images are iterated as it does, without a network: each epoch of the training split,
shuffled, and of the validation split. The first one decodes them into an empty cache; the second
one has another seed and finds them there. FOLDER holds ham10000_csv and chest_xray.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.search_race import BASE, RACED
from benchmarks.stream.machine import describe
from benchmarks.training.sets import SETS, prepare

import sightline as sl
from sightline.data.stream import StreamConfig

_EPOCHS = 10


def main() -> None:
    """Iterate, print the seconds and their ratio."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search_input", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--data", type=Path, required=True, help="folder of the real sets")
    parser.add_argument("--out", type=Path, required=True, help="where the splits are kept")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    print(json.dumps(describe(), indent=1))
    for name in RACED:
        split = prepare(SETS[name], asked.data, asked.out / name / "split")
        manifest = sl.Manifest.load(split.manifest)
        recipe = sl.load_recipe("basic", [BASE[name], "data.channels=3"])
        rounds = []
        for _ in range(asked.rounds):
            with tempfile.TemporaryDirectory(dir=asked.out) as cache:
                config = dataclasses.replace(
                    StreamConfig.of(recipe, training=True), cache=Path(cache)
                )
                rounds.append([_iterated(manifest, config, seed) for seed in range(2)])
        for what, place in (("until the first epoch ends", 0), (f"all {_EPOCHS} epochs", 1)):
            first, second = (
                statistics.median(each[training][place] for each in rounds) for training in (0, 1)
            )
            shares = sorted(each[1][place] / each[0][place] for each in rounds)
            print(
                f"{name}, {what}: the first training's images take {first:.2f} s, the second "
                f"one's {second:.2f} s: {statistics.median(shares):.1%} "
                f"({shares[0]:.1%} to {shares[-1]:.1%} in {asked.rounds} rounds)"
            )


def _iterated(manifest: sl.Manifest, config: StreamConfig, seed: int) -> tuple[float, float]:
    """Return the seconds that a training's images take by themselves: its first epoch, and all."""
    begun, first = time.perf_counter(), 0.0
    learns = dataclasses.replace(config, seed=seed)
    judges = dataclasses.replace(learns, shuffle=False, augment=None)
    with (
        sl.Stream(manifest, split="train", config=learns) as train,
        sl.Stream(manifest, split="validation", config=judges) as validation,
    ):
        for epoch in range(_EPOCHS):
            for stream, number in ((train, epoch), (validation, 0)):
                for batch in stream.epoch(number):
                    batch.images.sum()  # read as a network does
            first = first or time.perf_counter() - begun
    return first, time.perf_counter() - begun


if __name__ == "__main__":
    main()
