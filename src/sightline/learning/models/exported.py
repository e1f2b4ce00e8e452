"""A network as a file for other programs: written, and reloaded by plain Keras or TensorFlow.

The program that reloads it is a new one and knows nothing of Sightline. What does not put out the
run's own predictions there is not an export.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
import numpy.typing as npt
from keras import layers

from sightline.errors import RunError
from sightline.learning.models import backend, forward, reloading
from sightline.learning.models.own import operations_of
from sightline.recipes import Recipe

Format = Literal["keras", "h5", "savedmodel"]
LIMIT = 1e-5  # the greatest difference of a probability
_PATIENCE = 600  # seconds: a large network on a slow disk
_KERAS = "keras.src."
_APPLICATIONS = f"{_KERAS}applications."
_CHILD = Path(reloading.__file__)


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Images that an export is tried on.

    Attributes:
        inputs: (N, H, W, C) float32, as the exported network takes them.
        probabilities: (N, K) float32, the run's own for them.
    """

    inputs: npt.NDArray[np.float32]
    probabilities: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Agreement:
    """How an export did in a new process.

    Attributes:
        difference: The greatest one of a probability, 0..1.
        versions: Of the packages that opened it.
        packages: All that were loaded there.
    """

    difference: float
    versions: Mapping[str, str]
    packages: tuple[str, ...]


def outward(model: keras.Model, recipe: Recipe, kind: Format) -> keras.Model:
    """Return the network that takes RGB 0..255 and scales it as the run does.

    Args:
        model: With its weights; takes what the stream gives.
        recipe: Its [data] is what goes inside.
        kind: In .h5, Keras keeps layers only, so grey is made by one.
    """
    height, width, channels = model.input_shape[1:]
    if kind != "h5" or channels == 3:
        return forward.with_own_scaling(model, recipe)
    inputs = keras.Input((height, width, 3), name="rgb_0_255")
    wide = forward.precision_of_pixels(recipe)
    grey = layers.Conv2D(1, 1, use_bias=False, trainable=False, dtype=wide, name="grey")
    pixels = grey(inputs)
    grey.set_weights([np.asarray(forward.LUMA).reshape(1, 1, 3, 1)])
    return keras.Model(inputs, model(forward.scaled(pixels, recipe)), name=model.name)


def scaled(pixels: npt.NDArray[np.floating], recipe: Recipe) -> npt.NDArray[np.float32]:
    """Return (N, H, W, C) pixels of 0..255 as the stream would scale them."""
    data = recipe.data
    if data.scaling == "per-image":
        wide, axes = pixels.astype(np.float64), (1, 2, 3)
        apart = wide - wide.mean(axes, keepdims=True)
        return np.asarray(apart / np.sqrt(wide.var(axes, keepdims=True) + 1e-12), np.float32)
    if data.scaling == "mean-std":
        mean, std = np.asarray(data.mean), np.asarray(data.std)
        return np.asarray((pixels / 255 - mean) / std, np.float32)
    return np.asarray(pixels / 255 if data.scaling == "1/255" else pixels, np.float32)


def save(model: keras.Model, path: Path, kind: Format) -> None:
    """Write a network, without anything that only training needs.

    Raises:
        RunError: Keras cannot write it in this format, or not so that it can be opened.
    """
    if kind == "h5" and (lost := sorted(set(_not_in_h5(model)))):
        raise RunError(
            f"this network cannot be written as h5, which keeps Keras' layers alone: it has "
            f"{', '.join(lost)} among them. Export it with --keras, which keeps any network."
        )
    with _silent():
        try:
            if kind == "savedmodel":
                model.export(path, format="tf_saved_model", verbose=False)
            elif kind == "h5":
                model.save(path, include_optimizer=False)
            else:
                model.save(path)
        except (AttributeError, LookupError, NotImplementedError, TypeError, ValueError) as error:
            raise RunError(
                f"this network cannot be written as {kind}: {' '.join(str(error).split())[:300]} "
                "Export it with --keras, which keeps any network."
            ) from error


def _not_in_h5(model: keras.Model) -> Iterator[str]:
    """Yield what Keras writes into an .h5 file and cannot read there, by the names of classes.

    Operations on tensors (x * 3, x[..., :1]), unless the user has registered them or there is a
    layer of their name that is called alike, on one tensor; and layers that keras.applications
    have for themselves.
    """
    for operation in operations_of(model):
        kind = type(operation)
        if isinstance(operation, keras.Layer):
            if kind.__module__.startswith(_APPLICATIONS):
                yield kind.__name__
        elif kind.__module__.startswith(_KERAS) and not _is_as_a_layer(operation):
            yield kind.__name__


def _is_as_a_layer(operation: keras.Operation) -> bool:
    """Say whether a layer has its name, and is given what it is given: one tensor, nothing more."""
    given = [node.arguments for node in operation._inbound_nodes]
    alone = all(
        len(each.args) == 1 and isinstance(each.args[0], keras.KerasTensor) and not each.kwargs
        for each in given
    )
    return alone and hasattr(keras.layers, type(operation).__name__)


def compared(path: Path, sample: Sample, *, modules: Sequence[str] = ()) -> Agreement:
    """Open an export in a new process and compare its outputs with the run's own predictions.

    Args:
        path: The file, or the folder of a SavedModel.
        sample: What is put in, and what has to come out.
        modules: A user's own, which the process imports first.

    Raises:
        RunError: It cannot be opened there, or puts out something else.
    """
    with tempfile.TemporaryDirectory() as folder:
        images, outputs = Path(folder) / "images.npy", Path(folder) / "outputs.npy"
        np.save(images, sample.inputs)
        about = _reload([str(path), str(images), str(outputs)], modules)
        answers = np.load(outputs)
    probabilities = sample.probabilities
    wanted = probabilities[:, 1:] if answers.shape[1:] == (1,) else probabilities
    if answers.shape != wanted.shape:
        raise RunError(
            f"the export puts out {answers.shape[1:]} for each image, and the run "
            f"{wanted.shape[1:]}. It was removed."
        )
    difference = float(np.abs(answers.astype(np.float64) - wanted).max())
    if not difference <= LIMIT:  # NaN too
        raise RunError(
            f"the export, opened by plain Keras or TensorFlow, differs from the run's own "
            f"predictions by {difference:.3g} (at most {LIMIT:g} is allowed). It was removed. "
            "Export in another format, or on the backend that the run was trained with."
        )
    return Agreement(difference, about["versions"], tuple(about["packages"]))


@contextmanager
def hidden(path: Path) -> Iterator[Path]:
    """Give a place beside `path` to write an export to; what stays there is removed."""
    beside = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield beside
    finally:
        remove(beside)


def remove(path: Path) -> None:
    """Remove an export: a file, or the files and folders of a SavedModel."""
    if path.is_dir():
        for inner in path.iterdir():
            remove(inner)
        path.rmdir()
    else:
        path.unlink(missing_ok=True)


def _reload(files: Sequence[str], modules: Sequence[str]) -> dict[str, Any]:
    environment = {
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path),
        "KERAS_BACKEND": keras.config.backend(),
    }
    try:
        done = subprocess.run(
            [sys.executable, "-P", str(_CHILD), *files, *modules],
            env=os.environ | backend.SHARED_GPU | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE,
        )
    except subprocess.TimeoutExpired as error:
        raise RunError(
            f"the export was written, but a new process had not opened it and predicted a few "
            f"images with it after {_PATIENCE} seconds, so it was removed. Export again when this "
            "machine and its disk have less to do, or on a faster one."
        ) from error
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "Error" in line]
        said = (lines or done.stderr.splitlines() or [f"exit code {done.returncode}"])[-1]
        raise RunError(
            f"a new process without Sightline cannot open the export, so it was removed: "
            f"{said[:300]}. Export it in another format; layers of your own have to be registered "
            "in a module that can be imported."
        )
    about = json.loads(done.stdout.splitlines()[-1])
    # A user's own module may import it, for the type of the recipe that its function takes.
    alone = bool(modules) or "sightline" not in about["packages"]
    assert alone, "the export is to be opened without Sightline"
    return dict(about)


@contextmanager
def _silent() -> Iterator[None]:
    """Hold back Keras' advice to use another format than the one that was asked for."""
    logger = logging.getLogger("absl")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
