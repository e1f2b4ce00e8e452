"""Tiny real image folders, recipes to train on them in a second, and callbacks that look on."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sightline.learning.models import backend

backend.choose()  # before any test module of this wing imports Keras

import keras  # noqa: E402

import sightline as sl  # noqa: E402
from sightline.data.images import encode_png  # noqa: E402
from sightline.learning.models import forward  # noqa: E402
from sightline.recipes import Recipe, load_recipe  # noqa: E402
from sightline.runs import Run  # noqa: E402

SIZE = (12, 16)  # height, width
SMALL: Mapping[str, Any] = {
    "data.image_size": SIZE,
    "data.channels": 3,
    "train.epochs": 2,
    "train.batch_size": 8,
}
# Recipes whose network has a width; the residual one may not be narrower.
NARROW: Mapping[str, Mapping[str, Any]] = {
    "basic": {"model.width": 4},
    "auto": {
        "model.width": 16,
        "model.stages": 2,
        "model.blocks": 2,
        "data.scaling": "1/255",
        "train.weight_average": 0.98,
    },
}

Arrays = dict[str, npt.NDArray[np.generic]]


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
    return load_recipe(name, {**SMALL, **NARROW.get(name, {}), **dotted(changes)})


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
        changes={**SMALL, **NARROW.get(recipe, {}), "data.test": 0, **dotted(changes)},
        out=out,
        only_train=True,
        callbacks=callbacks,
        progress=progress or sl.Silent(),
    )


def train_alike(folder: Path, out: Path, **more: Any) -> Run:
    """Train from one state of the process' own generators, from which other tests draw as well."""
    keras.utils.set_random_seed(7)
    return train(folder, out, **more)


class Witness(keras.callbacks.Callback):
    """Writes down what a Keras callback is told, and the weights it sees at an epoch's end."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []
        self.logs: list[Mapping[str, Any]] = []
        self.weights: list[Arrays] = []

    def on_train_begin(self, logs: object = None) -> None:
        self.told.append("train begins")

    def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
        self.told.append(f"epoch {epoch} begins")

    def on_train_batch_begin(self, batch: int, logs: object = None) -> None:
        self.told.append(f"step {batch} begins")

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        self.told.append(f"step {batch} ends")

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any]) -> None:
        self.told.append(f"epoch {epoch} ends")
        self.logs.append(dict(logs))
        self.weights.append(forward.get_weights(self.model))

    def on_train_end(self, logs: object = None) -> None:
        self.told.append("train ends")


class Spoiler(keras.callbacks.Callback):
    """Raises the learning rate so far, from one epoch on, that the weights get worse."""

    def __init__(self, epoch: int, rate: float) -> None:
        super().__init__()
        self.epoch, self.rate = epoch, rate

    def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
        if epoch == self.epoch:
            self.model.optimizer.learning_rate = self.rate


@dataclass(frozen=True)
class Trained:
    folder: Path
    run: Run
    witness: Witness


class AfterSteps(keras.callbacks.Callback):
    """Does something once, after so many steps; a class of its own says what."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.left = steps

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        self.left -= 1
        if not self.left:
            self.act()

    def act(self) -> None:
        raise NotImplementedError


class Batches(keras.callbacks.Callback):
    """Remembers what each step was trained on, as a checksum, in a state that is saved."""

    def __init__(self) -> None:
        super().__init__()
        self.sums: list[int] = []

    def on_train_begin(self, logs: object = None) -> None:
        step = self.model.train_on_batch

        def noting(images: Any, targets: Any, *, sample_weight: Any, **rest: Any) -> Any:
            if np.any(images):  # a resume compiles with black ones
                arrays = (images, targets, sample_weight)
                self.note(zlib.crc32(b"".join(np.asarray(each).tobytes() for each in arrays)))
            return step(images, targets, sample_weight=sample_weight, **rest)

        self.model.train_on_batch = noting

    def note(self, checksum: int) -> None:
        self.sums.append(checksum)

    def get_state(self) -> dict[str, Any]:
        return {"sums": list(self.sums)}

    def set_state(self, state: Mapping[str, Any]) -> None:
        self.sums = list(state["sums"])
