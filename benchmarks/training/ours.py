"""Our loop, on a real stream or on batches in memory, and the clock that everyone wears.

All that the benchmarks know of the inside of training is here.
"""

from __future__ import annotations

import ctypes
import math
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import keras

import sightline as sl
from sightline import runs
from sightline.data import facts
from sightline.learning import planning, training
from sightline.learning.models import backend, forward
from sightline.learning.training import loop
from sightline.recipes import dump_recipe, load_recipe
from sightline.records import Batch

NEVER = 1_000_000  # epochs, seconds: more than any turn takes


class Clock(keras.callbacks.Callback):
    """Times the training part of epochs, and ends a training after so many seconds.

    An epoch counts from its begin until its last step is done; what follows (validation, files) is
    not in it. In our loop and in `fit` it is told the same.

    Args:
        steps: Of an epoch.
        seconds: No epoch is begun that much later.
        epochs: Or after so many.
    """

    def __init__(self, steps: int, seconds: float, epochs: int = NEVER) -> None:
        super().__init__()
        self.taken: list[float] = []
        self.asked_for: list[float] = []  # MB of the C library, at each epoch's end
        self._steps, self._seconds, self._epochs = steps, seconds, epochs
        self._first = self._began = time.perf_counter()

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:  # noqa: ARG002
        self._began = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        if batch == self._steps - 1:
            float((logs or {})["loss"])  # waits, where a backend computes behind our back
            self.taken.append(time.perf_counter() - self._began)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:  # noqa: ARG002
        self.asked_for.append(_asked_for())
        late = time.perf_counter() - self._first >= self._seconds
        if late or len(self.taken) >= self._epochs:
            self.model.stop_training = True


class _Allocated(ctypes.Structure):
    """`struct mallinfo2` of glibc: ten sizes."""

    _fields_: ClassVar = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "free_chunks", "fast_chunks", "mapped_chunks", "mapped", "most", "fast"),
            *("used", "free", "top"),
        )
    ]


def _asked_for() -> float:
    """Return the MB that the process holds of the C library; NaN where it is not glibc."""
    count = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if count is None:
        return math.nan
    count.restype = _Allocated
    found = count()
    return float(found.used + found.mapped) / 1e6


class Held(sl.Stream):
    """The real stream, whose batches were all made beforehand: every epoch gives them again."""

    def hold(self) -> list[Batch]:
        """Make the batches of its first epoch, and keep them."""
        self.held = list(super().epoch(0))
        return self.held

    def epoch(self, number: int) -> Iterator[Batch]:  # noqa: ARG002
        """Yield what is held."""
        return iter(self.held)


@dataclass(slots=True)
class Training:
    """A recipe on a set, ready to be trained in turns.

    Attributes:
        plan: Resolved.
        model: Compiled as our trainings are.
        train: Streamed or held.
        validation: Likewise.
        scratch: For run folders, each removed after its turn.
    """

    plan: planning.Plan
    model: keras.Model
    train: sl.Stream
    validation: sl.Stream
    scratch: Path

    @classmethod
    def of(cls, order: Mapping[str, Any], *, held: bool) -> Training:
        """Return that of an order: manifest, recipe, precision, changes, scratch."""
        plan = plan_of(order)
        train, validation = (_stream(plan, split, held=held) for split in ("train", "validation"))
        return cls(plan, compiled(plan), train, validation, Path(order["scratch"]))

    def train_for(
        self, seconds: float, *, epochs: int = NEVER
    ) -> tuple[Clock, list[dict[str, Any]]]:
        """Train in a new run folder; return the clock and the lines of the history.

        Args:
            seconds: Whole epochs, until so many have passed.
            epochs: Or so many epochs.
        """
        path = self.scratch / "run"
        shutil.rmtree(path, ignore_errors=True)
        runs.create_run(path)
        (path / "recipe.toml").write_text(dump_recipe(self.plan.recipe), "utf-8")
        names = self.plan.manifest.class_names
        kept = training.Keeper(path, self.plan.recipe, names, sl.Silent())
        clock = Clock(len(self.train), seconds, epochs)
        with closing(kept):
            training.fit(
                self.model,
                train=[self.train],
                validation=self.validation,
                keeper=kept,
                callbacks=[clock],
                progress=sl.Silent(),
            )
        rows = runs.read_history(path / "history.jsonl")
        shutil.rmtree(path)
        return clock, rows

    @property
    def images(self) -> int:
        """Images of an epoch."""
        return self.train.num_records


@contextmanager
def timed_saves() -> Iterator[tuple[list[float], list[float]]]:
    """Give the seconds that each checkpoint takes, and how many of them are writing."""
    with _timed(loop._Loop, "save") as saving, _timed(training.Keeper, "save") as writing:
        yield saving, writing


@contextmanager
def _timed(owner: type, name: str) -> Iterator[list[float]]:
    """Give the seconds that each call of a method takes."""
    method, took = getattr(owner, name), []

    def timed(*arguments: Any, **named: Any) -> None:
        began = time.perf_counter()
        method(*arguments, **named)
        took.append(time.perf_counter() - began)

    setattr(owner, name, timed)
    try:
        yield took
    finally:
        setattr(owner, name, method)


def _stream(plan: planning.Plan, split: Any, *, held: bool) -> sl.Stream:
    config = plan.stream_config(split)
    if not held:
        return sl.Stream(plan.manifest, split=split, config=config)
    stream = Held(plan.manifest, split=split, config=config)
    stream.hold()
    return stream


def plan_of(order: Mapping[str, Any]) -> planning.Plan:
    """Return the plan of an order: nothing ends it early, and checkpoints come at the end alone.

    All images have their whole size from the first epoch. `order["changes"]` go on top of that.
    """
    backend_name = backend.choose()
    manifest = sl.Manifest.load(Path(order["manifest"]))
    changes = {
        "precision": order["precision"],
        "train.epochs": NEVER,
        "stop.patience": 0,
        "checkpoint.seconds": NEVER,
        "data.grow": [],
        **order.get("changes", {}),
    }
    recipe = load_recipe(order["recipe"], changes)
    return planning.make_plan(manifest, recipe, facts.measure(manifest), backend_name)


def compiled(plan: planning.Plan, *, layers_of_keras: bool = False) -> keras.Model:
    """Return the network, compiled as our trainings are; with Keras' own layers if asked."""
    model = plan.build(training=not layers_of_keras)
    training.compile_model(model, plan.recipe, len(plan.manifest.class_names), plan.weights())
    return model


def operations(model: keras.Model) -> int:
    """Return floating-point operations of one image trained.

    Two for each multiply-accumulate; forward, backward and the gradients of the weights.
    """
    return forward.summarise(model).operations * 2 * 3
