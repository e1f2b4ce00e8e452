"""Small real trainings, each with one cause made on purpose, and healthy ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import sightline as sl
from sightline.data.images import encode_png

Counts = Mapping[str, int]
_BASE: Mapping[str, Any] = {
    "data.channels": 1,
    "data.test": 0,
    "model.width": 8,
    "train.batch_size": 32,
    "stop.patience": 0,
}
THREE, FIVE = ("a", "b", "c"), ("a", "b", "c", "d", "e")


def each(count: int, names: tuple[str, ...] = THREE) -> Counts:
    return dict.fromkeys(names, count)


@dataclass(frozen=True)
class Pictures:
    """Gratings in noise: the class is the direction of the stripes.

    Attributes:
        train: Images of each class to train on.
        validation: Images of each class to validate on.
        noise: Deviation of the grey values; the stripes have an amplitude of 40.
        side: Pixels of height and width.
        shuffled: Labels are dealt at random, for the training images and all others.
        aligned: The stripes always begin at the same place.
        copied: The validation images are copies of training images.
        inverted: Light and dark are exchanged and the picture is turned a little.
        constant: Every picture is of one grey.
    """

    train: Counts = field(default_factory=lambda: each(200))
    validation: Counts = field(default_factory=lambda: each(150))
    noise: float = 60.0
    side: int = 16
    shuffled: bool = False
    aligned: bool = False
    copied: bool = False
    inverted: bool = False
    constant: bool = False

    def write(self, folder: Path, *, seed: int = 0) -> Path:
        """Write train and val folders."""
        rng = np.random.default_rng(seed)
        for split, counts in (("train", self.train), ("val", self.validation)):
            for number, (name, count) in enumerate(counts.items()):
                place = folder / split / name
                place.mkdir(parents=True, exist_ok=True)
                for image in range(count):
                    if split == "val" and self.copied:
                        content = (folder / "train" / name / f"{name}{image:04d}.png").read_bytes()
                    else:
                        shown = int(rng.integers(len(counts))) if self.shuffled else number
                        content = encode_png(self._picture(rng, shown / len(counts)))
                    (place / f"{name}{image:04d}.png").write_bytes(content)
        return folder

    def _picture(self, rng: np.random.Generator, turn: float) -> npt.NDArray[np.uint8]:
        rows, columns = np.mgrid[: self.side, : self.side] / 16
        angle = np.pi * (turn + 0.12 * self.inverted)
        along = rows * np.cos(angle) + columns * np.sin(angle)
        stripes = 40 * np.sin(2 * np.pi * (4 * along + rng.random() * (not self.aligned)))
        noise = self.noise * rng.normal(size=stripes.shape)
        grey = np.full(stripes.shape, 128.0) if self.constant else 128 + stripes + noise
        if self.inverted:
            grey = 255 - 0.5 * grey
        return np.clip(grey, 0, 255).astype(np.uint8)[:, :, np.newaxis]


@dataclass(frozen=True)
class Case:
    """A training and what is to be found of it.

    Attributes:
        expected: Codes of which at least one must stand; () for a healthy training.
        pictures: What it is trained on.
        changes: Of the recipe `basic`.
        model: Makes a network in its place.
        judged: Whether the validation split is evaluated as well.
        outside: An external set, which is evaluated.
        cached: Whether decoded images are kept.
    """

    expected: tuple[str, ...]
    pictures: Pictures = field(default_factory=Pictures)
    changes: Mapping[str, Any] = field(default_factory=dict)
    model: Callable[[], Any] | None = None
    judged: bool = False
    outside: Pictures | None = None
    cached: bool = True

    def train(self, folder: Path) -> sl.Run:
        """Return the run, which may have failed where that is the point."""
        data = self.pictures.write(folder / "pictures")
        changes = {**_BASE, "train.epochs": 12, **self.changes}
        model = self.model() if self.model else None
        if model is not None:
            changes = {key: changes[key] for key in changes if not key.startswith("model.")}
        quiet, out = sl.Silent(), folder / "run"
        try:
            sl.train(
                data, recipe="basic", changes=changes, model=model, out=out, only_train=True,
                cache=self.cached, allow_leak=True, progress=quiet,
            )  # fmt: skip
        except sl.RunError:  # one that came to no number: what is left is what is diagnosed
            assert sl.open_run(out).state == "failed"
        if self.judged or self.outside:
            sl.evaluate(out, split="validation", allow_leak=True, progress=quiet)
        if self.outside:
            other = self.outside.write(folder / "outside", seed=1) / "val"
            sl.evaluate(out, data=other, progress=quiet)
        return sl.open_run(out)


def dense_512() -> Any:
    """Return Flatten and Dense 512, which hold nearly all parameters."""
    layers = seeded_layers()
    stack = [layers.Flatten(), layers.Dense(512, "relu", name="large"), layers.Dense(3, "softmax")]
    return _sequential(stack, side=32)


def deep_without_normalisation() -> Any:
    """Return 24 narrow sigmoid layers, through which hardly a gradient passes."""
    layers = seeded_layers()
    hidden = [layers.Dense(16, "sigmoid") for _ in range(24)]
    return _sequential([layers.Flatten(), *hidden, layers.Dense(3, "softmax")])


def constant_output() -> Any:
    """Return a network whose units are all dead: whatever it sees, it says the same."""
    import keras

    layers = seeded_layers()
    far_below = keras.initializers.Constant(-1000.0)
    dead = layers.Dense(16, "relu", bias_initializer=far_below, name="dead")
    return _sequential([layers.Flatten(), dead, layers.Dense(3, "softmax")])


def too_weak() -> Any:
    """Return a network of one filter, which can tell one direction of stripes from the others."""
    layers = seeded_layers(5)
    one = layers.Conv2D(1, 5, activation="relu")
    return _sequential([one, layers.GlobalAveragePooling2D(), layers.Dense(5, "softmax")])


def seeded_layers(seed: int = 3) -> Any:
    """Return `keras.layers`, whose next ones begin with the weights of a seed."""
    import keras

    keras.utils.set_random_seed(seed)
    return keras.layers


def _sequential(layers: list[Any], *, side: int = 16) -> Any:
    import keras

    return keras.Sequential([keras.Input((side, side, 1)), *layers])


EASY = Pictures(noise=40.0)
FEW = Pictures(train=each(67), noise=90.0)
RARE = {"a": 500, "b": 500, "c": 8}
RARE_HELD = {"a": 200, "b": 200, "c": 12}
LOPSIDED = {"a": 600, "b": 25}
LOPSIDED_HELD = {"a": 300, "b": 20}

CASES: Mapping[str, Case] = {
    "tiny validation set": Case(("small-validation",), Pictures(validation=each(5), noise=80.0)),
    "learning rate x 100": Case(("rate-too-high",), changes={"train.learning_rate": 0.1}),
    "learning rate beyond all bounds": Case(
        ("diverged",), changes={"train.optimizer": "sgd", "train.learning_rate": 1e20}
    ),
    "learning rate / 1000": Case(("rate-too-low",), changes={"train.learning_rate": 1e-6}),
    "labels shuffled": Case(("flat",), Pictures(shuffled=True)),
    "validation copied from train": Case(
        ("validation-better",), Pictures(validation=each(100), copied=True)
    ),
    "200 images without augmentation": Case(
        ("overfitting",), FEW, {"train.epochs": 40, "model.width": 16, "train.learning_rate": 0.003}
    ),
    "decay in the first epochs": Case(
        ("rate-decayed-early",),
        EASY,
        {"schedule.kind": "step", "schedule.factor": 0.1, "schedule.epochs": 5, "train.epochs": 16},
    ),
    "deep without normalisation": Case(("flat",), model=deep_without_normalisation),
    "dead units": Case(("flat",), model=constant_output),
    "patience of 1": Case(
        ("patience-too-short",),
        Pictures(validation=each(30), noise=75.0),
        {"stop.patience": 1, "train.learning_rate": 0.003, "train.epochs": 40},
    ),
    "patience of 40": Case(
        ("patience-too-long",),
        Pictures(train=each(67), noise=110.0),
        {"stop.patience": 40, "train.epochs": 40, "model.width": 16, "train.learning_rate": 0.003},
    ),
    "rare class": Case(
        ("class-never-predicted",), Pictures(RARE, RARE_HELD, noise=75.0), judged=True
    ),
    "accuracy of the majority": Case(
        ("accuracy-mirrors-imbalance",),
        Pictures(LOPSIDED, LOPSIDED_HELD, noise=160.0),
        {"train.epochs": 6},
        judged=True,
    ),
    "extreme class weights": Case(
        ("class-weights-harm",),
        Pictures({"a": 600, "b": 6}, {"a": 300, "b": 20}, noise=160.0),
        {
            "balance.class_weights": "balanced",
            "train.epochs": 4,
            "train.best": "val_balanced_accuracy",
        },
        judged=True,
    ),
    "flatten and dense 512": Case(
        ("too-many-parameters",),
        Pictures(train=each(67), noise=280.0, side=32, aligned=True),
        model=dense_512,
    ),
    "constant pictures": Case(("flat",), Pictures(constant=True), {"train.epochs": 6}),
    "another population": Case(
        ("external-below",), EASY, outside=Pictures(noise=60.0, inverted=True)
    ),
    "too few epochs": Case(
        ("not-finished",), Pictures(noise=40.0), {"train.epochs": 6, "train.learning_rate": 2e-4}
    ),
    "network too weak": Case(
        ("underfitting",),
        Pictures(each(120, FIVE), each(90, FIVE), noise=30.0),
        {"train.epochs": 60, "train.learning_rate": 0.01, "schedule.kind": "cosine"},
        model=too_weak,
    ),
    "dropout of 0.6": Case(
        ("validation-better",),
        Pictures(noise=60.0),
        {"model.dropout": [0.2, 0.2, 0.6], "train.learning_rate": 0.002, "train.epochs": 25},
    ),
    "jumping validation": Case(
        ("erratic-validation", "rate-too-high"),
        Pictures(noise=75.0),
        {"model.normalisation": "batch", "train.learning_rate": 0.03, "train.epochs": 20},
    ),
    "slow loader": Case(
        ("loader-bound",),
        Pictures(train=each(30), validation=each(4), side=1400),
        {"data.image_size": [16, 16], "data.quality": "best", "train.epochs": 3},
        cached=False,
    ),
}

HEALTHY: Mapping[str, Case] = {
    "enough images": Case((), EASY, {"stop.patience": 4, "train.epochs": 25}, judged=True),
    "a decaying rate": Case(
        (), Pictures(noise=50.0), {"schedule.kind": "cosine", "train.epochs": 15}, judged=True
    ),
    "augmented": Case(
        (), EASY,
        {"augment.width_shift": 0.1, "augment.height_shift": 0.1, "stop.patience": 5,
         "train.epochs": 25}, judged=True,
    ),
    "normalised and dropped out": Case(
        (), Pictures(noise=50.0),
        {"model.normalisation": "batch", "model.dropout": [0.0, 0.0, 0.3],
         "schedule.kind": "cosine", "train.epochs": 15}, judged=True,
    ),
    "unequal classes, well apart": Case(
        (), Pictures({"a": 300, "b": 200, "c": 60}, {"a": 150, "b": 100, "c": 40}, noise=30.0),
        {"stop.patience": 5, "train.epochs": 25}, judged=True,
    ),
}  # fmt: skip
