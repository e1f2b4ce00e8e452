"""Noisy pictures with one planted object at a random place, whose colour alone tells the class."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sightline.data.images import encode_png

SIDE, OBJECT = 48, 13  # px
CLASSES = ("blue", "red")
_COLOURS = {"blue": (70, 80, 210), "red": (210, 80, 70)}
_DISTRACTORS = ((60, 180, 70), (200, 190, 60))  # in both classes

Box = tuple[int, int]  # top, left; as high and wide as the object


def write_planted(folder: Path, count: int, *, seed: int) -> Mapping[str, Box]:
    """Write so many pictures of each class; return where the objects are, by record id."""
    rng = np.random.default_rng(seed)
    places = {}
    for name in CLASSES:
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels, place = planted(rng, name)
            (folder / name / f"{number:03d}.png").write_bytes(encode_png(pixels))
            places[f"{name}/{number:03d}.png"] = place
    return places


def planted(rng: np.random.Generator, name: str) -> tuple[npt.NDArray[np.uint8], Box]:
    """Return one picture, and where its object is."""
    pixels = rng.normal(120, 30, (SIDE, SIDE, 3))
    for colour in _DISTRACTORS:
        height, width = rng.integers(6, 12, 2)
        top, left = rng.integers(0, SIDE - height), rng.integers(0, SIDE - width)
        spot = pixels[top : top + height, left : left + width]
        spot[:] = np.asarray(colour) + rng.normal(0, 15, spot.shape)
    top, left = (int(each) for each in rng.integers(0, SIDE - OBJECT, 2))
    down, across = np.mgrid[:OBJECT, :OBJECT] - OBJECT // 2
    disc = np.hypot(down, across) <= OBJECT // 2
    spot = pixels[top : top + OBJECT, left : left + OBJECT]
    spot[disc] = np.asarray(_COLOURS[name]) + rng.normal(0, 20, (int(disc.sum()), 3))
    return pixels.clip(0, 255).astype(np.uint8), (top, left)


def is_inside(peak: tuple[int, int], place: Box) -> bool:
    """Say whether a peak lies in the object's box."""
    return all(begin <= at < begin + OBJECT for at, begin in zip(peak, place, strict=True))
