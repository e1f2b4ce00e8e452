"""How long does it take to list a million files, and how much memory, beside Keras' own listing?

Empty files in class folders, made in a temporary folder and removed afterwards. Every question
is answered by a process of its own, in rounds, the questions taking turns: seconds of the call
alone (imports are not counted), how far resident memory grew at its highest, and how much of
that is still held afterwards. The folders' entries are in the system's cache, as after the
first epoch of anything.

    python benchmarks/index.py [--files 1000000] [--classes 7] [--rounds 3] [--json FILE]
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

MB = 1e6
Figures = dict[str, list[dict[str, float]]]


class Place(NamedTuple):
    """Where the class folders are, and where an answer may write."""

    images: Path
    scratch: Path


def main() -> None:
    """Measure and print; or, called by itself, answer one question."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--classes", type=int, default=7)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--place", type=Path, help="where to make the files; default: temporary")
    parser.add_argument("--only", nargs="*", choices=QUESTIONS, default=list(QUESTIONS))
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    parser.add_argument("--answer", nargs=3, help=argparse.SUPPRESS)  # question, images, scratch
    asked = parser.parse_args()
    if asked.answer:
        question, images, scratch = asked.answer
        print(json.dumps(answer(question, Place(Path(images), Path(scratch)))))
        return
    with tempfile.TemporaryDirectory(dir=asked.place) as place:
        images, scratch = Path(place) / "images", Path(place) / "scratch"
        scratch.mkdir()
        started = time.perf_counter()
        make_files(images, asked.files, asked.classes)
        print(f"{asked.files:,} files made in {time.perf_counter() - started:.0f} s", flush=True)
        show(asked, ask_in_turns(asked, images, scratch))


def make_files(images: Path, files: int, classes: int) -> None:
    """Make empty files with names as long as those of real sets."""
    for number in range(classes):
        (images / f"class_{number}").mkdir(parents=True)
    for number in range(files):
        (images / f"class_{number % classes}" / f"img_{number:07d}.jpg").touch()


def ask_in_turns(asked: argparse.Namespace, images: Path, scratch: Path) -> Figures:
    """Return the answers of every round; the first round warms up and does not count."""
    results: Figures = {name: [] for name in asked.only}
    prepare_index(images, scratch)
    for round_number in range(asked.rounds + 1):
        for name in asked.only:
            program = [sys.executable, __file__, "--answer", name, str(images), str(scratch)]
            done = subprocess.run(program, stdout=subprocess.PIPE, check=True)
            if round_number:
                results[name].append(json.loads(done.stdout.splitlines()[-1]))
    return results


def prepare_index(images: Path, scratch: Path) -> None:
    """Write the index that `open` opens."""
    import sightline as sl

    sl.index_folder(images, out=scratch / "saved.npy")


# --- one function a question: each returns what is timed, and imports what it needs --------


def listed(place: Place) -> Callable[[], Any]:
    """List the class folders and keep the index in memory."""
    from sightline import index_folder

    return lambda: index_folder(place.images)


def listed_to_a_file(place: Place) -> Callable[[], Any]:
    """List the class folders, write the index and map it."""
    from sightline import index_folder

    return lambda: index_folder(place.images, out=place.scratch / "index.npy")


def opened(place: Place) -> Callable[[], Any]:
    """Map an index that was written before."""
    from sightline.records import RecordIndex

    return lambda: RecordIndex.open(place.scratch / "saved.npy")


def scanned(place: Place) -> Callable[[], Any]:
    """Scan with size and time, and save the table and its index."""
    from sightline import scan

    def scan_and_save() -> Any:
        manifest = scan(place.images)
        manifest.save(place.scratch / "manifest.parquet")
        return manifest

    return scan_and_save


def keras_dataset(place: Place) -> Callable[[], Any]:
    """List as keras.utils.image_dataset_from_directory does, without making its dataset."""
    from keras.src.utils import dataset_utils

    formats = (".bmp", ".gif", ".jpeg", ".jpg", ".png")
    return lambda: dataset_utils.index_directory(
        str(place.images), labels="inferred", formats=formats, shuffle=False, verbose=False
    )


def keras_generator(place: Place) -> Callable[[], Any]:
    """List as ImageDataGenerator.flow_from_directory does."""
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    return lambda: ImageDataGenerator().flow_from_directory(str(place.images), shuffle=False)


QUESTIONS: dict[str, Callable[[Place], Callable[[], Any]]] = {
    "sl.index_folder": listed,
    "sl.index_folder(out=)": listed_to_a_file,
    "RecordIndex.open": opened,
    "sl.scan + save": scanned,
    "Keras dataset": keras_dataset,
    "Keras generator": keras_generator,
}


# --- measuring -----------------------------------------------------------------------------


def answer(question: str, place: Place) -> dict[str, float]:
    """Return seconds, and megabytes of resident memory at the highest and afterwards."""
    call = QUESTIONS[question](place)
    gc.collect()
    forget_highest()
    before = resident("VmRSS")
    started = time.perf_counter()
    kept = call()
    seconds = time.perf_counter() - started
    highest = resident("VmHWM") - before
    gc.collect()
    after = resident("VmRSS") - before
    assert kept is not None
    return {"seconds": seconds, "peak_mb": highest / MB, "kept_mb": after / MB}


def forget_highest() -> None:
    """Let the highest resident size count from now on, where the system can do that."""
    place = Path("/proc/self/clear_refs")
    if place.exists():
        place.write_text("5")


def resident(field: str) -> float:
    """Return a line of the process's status in bytes; elsewhere than on Linux, the highest."""
    status = Path("/proc/self/status")
    if not status.exists():
        return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    (line,) = (line for line in status.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024.0


def show(asked: argparse.Namespace, results: Figures) -> None:
    """Print machine, versions, median and spread; write JSON where that was asked for."""
    machine = {
        "system": platform.platform(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("sightline", "numpy", "polars", "keras")},
    }
    print(", ".join(f"{name} {value}" for name, value in machine.items()))
    print(f"{asked.files:,} files in {asked.classes} class folders, {asked.rounds} rounds")
    print(f"{'':24}{'seconds: median (min to max)':>32}{'peak MB':>10}{'kept MB':>10}")
    for name, figures in results.items():
        seconds = [one["seconds"] for one in figures]
        cell = f"{statistics.median(seconds):.3f} ({min(seconds):.3f} to {max(seconds):.3f})"
        peak, kept = (
            statistics.median(one[which] for one in figures) for which in ("peak_mb", "kept_mb")
        )
        print(f"{name:24}{cell:>32}{peak:>10.1f}{kept:>10.1f}")
    if asked.json:
        about = {"machine": machine, "files": asked.files, "results": results}
        asked.json.write_text(json.dumps(about, indent=2) + "\n")


if __name__ == "__main__":
    main()
