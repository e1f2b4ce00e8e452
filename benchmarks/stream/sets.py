"""The images: real ones, cut to a fixed number and copied, and generated ones.

A number is a multiple of the batch, so that no loader has a ragged last batch or drops one.
"""

from __future__ import annotations

import csv
import random
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from benchmarks.stream.workload import BATCH
from PIL import Image


@dataclass(frozen=True, slots=True)
class ImageSet:
    """One set: its letter, what it is, where it lies in the data folder, how many are taken."""

    name: str
    title: str
    place: str
    images: int


SETS = {
    one.name: one
    for one in (
        ImageSet("S", "chest X-rays, 224x224", "chest_xray/train", 1280),
        ImageSet("H", "generated, 600x450", "", 2016),
        ImageSet("X", "chest X-rays as taken, to 2,890 pixels", "chest_xray_original_sample", 256),
        ImageSet("HAM", "HAM10000 skin images, 200x150", "ham10000_csv", 1280),
    )
}


def prepare(one: ImageSet, data: Path | None, out: Path) -> str:
    """Put the images of a set into class folders under `out`, and into the system's cache.

    Returns:
        Why the set cannot be had; empty if it can.
    """
    assert one.images % BATCH == 0, f"{one.images} is no multiple of {BATCH}"
    if one.place:
        source = None if data is None else data / one.place
        if source is None or not source.is_dir():
            return f"no folder {one.place} in the data folder (DATA=...)"
        found = sorted(_with_labels(source))
        if len(found) < one.images:
            return f"{one.place} has {len(found)} JPEG files, {one.images} are needed"
        _copy(random.Random(0).sample(found, one.images), out)
    else:
        for number in range(one.images):
            _generate(number, out / f"class_{number % 7}" / f"{number:05d}.jpg")
    for path in out.rglob("*.*"):
        path.read_bytes()
    return ""


def _with_labels(source: Path) -> Iterable[tuple[Path, str]]:
    """Yield (file, label): the folder's name, or for HAM10000 the diagnosis of its table."""
    table = source / "HAM10000_metadata.csv"
    if table.exists():
        with table.open(newline="") as file:
            for row in csv.DictReader(file):
                path = source / "images" / f"{row['image_id']}.jpg"
                if path.exists():
                    yield path, row["dx"]
        return
    for path in source.rglob("*"):
        if path.suffix.lower() in (".jpg", ".jpeg"):
            yield path, path.parent.name


def _copy(found: Iterable[tuple[Path, str]], out: Path) -> None:
    for path, label in found:
        (out / label).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, out / label / path.name)


def _generate(number: int, path: Path) -> None:
    """Write picture `number`: smooth colours, blotches and grain, about 54 KB as photos have."""
    rng = np.random.default_rng((20, number))
    picture = np.full((450, 600, 3), 128, np.float32)
    for cells, strength in ((5, 70), (40, 14)):
        coarse = rng.standard_normal((cells * 3 // 4 + 1, cells, 3), dtype=np.float32) * strength
        picture += cv2.resize(coarse, (600, 450), interpolation=cv2.INTER_CUBIC)
    grain = rng.standard_normal((450, 600), dtype=np.float32) * 9
    picture += cv2.GaussianBlur(grain, (0, 0), 0.8)[..., None]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)).save(path, "JPEG", quality=90)
