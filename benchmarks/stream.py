"""How many images a second does the Stream deliver, beside tf.data as Keras users write it?

Same files, same size, same batch, both reading and decoding anew each epoch, interleaved in one
process, so that what counts is the ratio. tf.data has its parallel calls and prefetching on
AUTOTUNE and is drained as Keras' fit would. Two questions: plain resizing, and with rotation,
shifts and zoom.

    python benchmarks/stream.py IMAGES [--size 180] [--batch 32] [--rounds 5] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import sightline as sl
from sightline.data.digits import write_digits
from sightline.data.stream import usable_cores
from sightline.learning.models import backend
from sightline.recipes import AugmentSection

AUGMENT = AugmentSection(rotation=8, width_shift=0.08, height_shift=0.08, zoom=0.08)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("images", type=Path, nargs="?", help="class folders; default: the digits")
    parser.add_argument("--size", type=int, default=180, help="height and width, pixels")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    asked = parser.parse_args()
    backend.choose("tensorflow")
    with tempfile.TemporaryDirectory() as place:
        folder = asked.images or write_digits(Path(place) / "digits")
        results = {
            name: compare(folder, asked.size, asked.batch, asked.rounds, augment)
            for name, augment in (("plain", None), ("augmented", AUGMENT))
        }
    show(folder if asked.images else Path("digits"), asked, results)


def compare(
    folder: Path, size: int, batch: int, rounds: int, augment: AugmentSection | None
) -> dict[str, list[float]]:
    """Return images a second of each round, the two pipelines taking turns."""
    pipelines = {
        "sightline": stream_epoch(folder, size, batch, augment),
        "tf.data": tf_data_epoch(folder, size, batch, augment),
    }
    speeds: dict[str, list[float]] = {name: [] for name in pipelines}
    for round_number in range(rounds + 1):
        for name, epoch in pipelines.items():
            started = time.perf_counter()
            images = epoch(round_number)
            if round_number:  # the first one warms up: threads, tracing, the page cache
                speeds[name].append(images / (time.perf_counter() - started))
    return speeds


def stream_epoch(
    folder: Path, size: int, batch: int, augment: AugmentSection | None
) -> Callable[[int], int]:
    """Return a function that drains one epoch of the Stream and counts its images."""
    config = sl.StreamConfig(
        image_size=(size, size), batch_size=batch, shuffle=True, augment=augment
    )
    stream = sl.Stream(sl.scan(folder), split=None, config=config)
    return lambda number: sum(len(part.images) for part in stream.epoch(number))


def tf_data_epoch(
    folder: Path, size: int, batch: int, augment: AugmentSection | None
) -> Callable[[int], int]:
    """Return the same for image_dataset_from_directory with Keras' random layers."""
    import keras
    import tensorflow as tf

    data = keras.utils.image_dataset_from_directory(
        folder, image_size=(size, size), batch_size=batch, shuffle=True, seed=0, verbose=False
    )
    layers = [keras.layers.Rescaling(1 / 255)]
    if augment is not None:
        layers += [
            keras.layers.RandomRotation(augment.rotation / 360, fill_mode="nearest"),
            keras.layers.RandomTranslation(
                augment.height_shift, augment.width_shift, fill_mode="nearest"
            ),
            keras.layers.RandomZoom(augment.zoom, augment.zoom, fill_mode="nearest"),
        ]

    def change(images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        for layer in layers:
            images = layer(images, training=True)
        return images, labels

    data = data.map(change, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
    return lambda _: sum(int(images.shape[0]) for images, _ in data)


def show(
    folder: Path, asked: argparse.Namespace, results: dict[str, dict[str, list[float]]]
) -> None:
    """Print machine, versions, median and spread; write JSON where that was asked for."""
    machine = {
        "processor": backend.processor_name(),
        "cores": usable_cores(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("sightline", "tensorflow", "keras")},
    }
    print(", ".join(f"{name} {value}" for name, value in machine.items()))
    print(f"{folder}, {asked.size}x{asked.size}, batch {asked.batch}, {asked.rounds} rounds")
    print(f"{'':12}{'sightline':>26}{'tf.data':>26}{'ratio':>8}   images/s: median (min to max)")
    for name, speeds in results.items():
        cells = [
            f"{statistics.median(s):,.0f} ({min(s):,.0f} to {max(s):,.0f})" for s in speeds.values()
        ]
        ours, theirs = (statistics.median(s) for s in speeds.values())
        print(f"{name:12}{cells[0]:>26}{cells[1]:>26}{ours / theirs:>8.2f}")
    if asked.json:
        about = {"machine": machine, "images": str(folder), "results": results}
        asked.json.write_text(json.dumps(about, indent=2) + "\n")


if __name__ == "__main__":
    main()
