"""Tiny real image folders, and recipes small enough to train on them in a second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

import sightline as sl
from sightline.data.images import encode_png
from sightline.recipes import Recipe, load_recipe
from sightline.runs import Run

SIZE = (12, 16)  # height, width
SMALL: Mapping[str, Any] = {
    "data.image_size": SIZE,
    "data.channels": 3,
    "model.width": 4,
    "train.epochs": 2,
    "train.batch_size": 8,
}


def write_images(folder: Path, counts: Mapping[str, int], *, seed: int = 0) -> Path:
    """Write noise whose brightness tells the class, though not with certainty."""
    rng = np.random.default_rng(seed)
    for number, (name, count) in enumerate(counts.items()):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for image in range(count):
            pixels = rng.integers(0, 160, (*SIZE, 3)) + rng.integers(0, 50) + 20 * number
            path = folder / name / f"{image:03d}.png"
            path.write_bytes(encode_png(pixels.astype(np.uint8)))
    return folder


def write_splits(
    folder: Path, train: Mapping[str, int], held_out: Mapping[str, int], *, seed: int = 0
) -> Path:
    """Write train and validation folders; no test folder."""
    write_images(folder / "train", train, seed=seed)
    write_images(folder / "val", held_out, seed=seed + 1)
    return folder


def small_recipe(name: str = "basic", **changes: Any) -> Recipe:
    """Return a resolved recipe; in the names of changes, "__" stands for the dot."""
    return load_recipe(name, {**SMALL, "model.stages": 2, **dotted(changes)})


def dotted(changes: Mapping[str, Any]) -> dict[str, Any]:
    return {key.replace("__", "."): value for key, value in changes.items()}


def train(
    folder: Path,
    out: Path,
    *,
    recipe: str = "basic",
    callbacks: Sequence[keras.callbacks.Callback] = (),
    progress: sl.Silent | None = None,
    **changes: Any,
) -> Run:
    """Train without a test split, evaluation and report."""
    return sl.train(
        folder,
        recipe=recipe,
        changes={**SMALL, "data.test": 0, **dotted(changes)},
        out=out,
        only_train=True,
        callbacks=callbacks,
        progress=progress or sl.Silent(),
    )
