"""A whole training whose forward pass is a stub, in a process that forks a child a case.

Everything but Keras' compiled step is real: scan, audit, plan, stream, cache, checkpoints, history,
lock, events, the saved model. Keras runs on its NumPy backend, which has no threads that a fork
would lose and no step of training: `train_on_batch` below is a step that depends on all that a
real one depends on, variables, images, targets, weights, dropout and optimizer.

Run as a program: python stub_training.py SPEC.json, see `main`.
"""

from __future__ import annotations

import errno
import io
import itertools
import json
import os
import random
import shutil
import signal
import sys
import traceback
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

os.environ["KERAS_BACKEND"] = "numpy"
os.environ["POLARS_MAX_THREADS"] = "1"

# Keras' NumPy backend takes convolutions and Fourier transforms from JAX; none is computed here.
_jax, _fourier = ModuleType("jax"), ModuleType("keras.src.backend.jax.math")
_jax.__version__ = "0"
_jax.monitoring = SimpleNamespace(record_scalar=None)
_jax.lax = _fourier.fft = _fourier.fft2 = None  # type: ignore[attr-defined]
sys.modules |= {
    "jax": _jax,
    "keras.src.backend.jax": ModuleType("keras.src.backend.jax"),
    "keras.src.backend.jax.math": _fourier,
}

import cv2  # noqa: E402
import intercepting  # noqa: E402
import keras  # noqa: E402
import numpy as np  # noqa: E402
from intercepting import Disk, Operation, Watch  # noqa: E402

cv2.setNumThreads(0)

import sightline as sl  # noqa: E402
from sightline import runs  # noqa: E402
from sightline.data.stream import engine  # noqa: E402
from sightline.learning import planning, training  # noqa: E402, F401
from sightline.learning.models import backend, networks  # noqa: E402
from sightline.learning.models.applications import BACKBONE  # noqa: E402
from sightline.learning.training import cadence, speed  # noqa: E402
from sightline.runs.files import tensors_sha256  # noqa: E402
from sightline.workflow import gate, judging, resuming  # noqa: E402, F401

CHANGES: dict[str, Any] = {
    "data.image_size": [8, 8],
    "data.channels": 3,
    "data.test": 0,
    "train.epochs": 2,
    "train.batch_size": 8,
    "train.weight_average": 0.9,
    "model.dropout": [0.3],
    "augment.rotation": 20,
    "checkpoint.steps": 1,
}
KILLED = 137
TIMES = {  # and memory: no two trainings have the same
    *("seconds", "seconds_waiting", "seconds_computing", "images_per_second", "memory_mb"),
    *("waiting", "computing", "clock"),
}


def step(
    model: keras.Model, x: Any, y: Any, sample_weight: Any = None, return_dict: bool = True
) -> dict[str, Any]:
    """Take a step as Keras' does: the gradients are made up, and everything else is not."""
    global DIE_AFTER
    del return_dict
    if np.any(x):  # a resume compiles with black images
        if DIE_AFTER == 0:
            os._exit(KILLED)
        DIE_AFTER = None if DIE_AFTER is None else DIE_AFTER - 1
        note_step(x)
    outputs = model(x, training=True)
    loss = model.compute_loss(x=x, y=y, y_pred=outputs, sample_weight=sample_weight)
    model._loss_tracker.update_state(loss)
    pull = float(keras.ops.convert_to_numpy(loss)) + float(np.mean(x))
    gradients = [
        np.asarray(np.sin(np.asarray(v) * 3 + pull) * 0.1, np.float32)
        for v in model.trainable_variables
    ]
    model.optimizer.apply(gradients, model.trainable_variables)
    logs = dict(model.compute_metrics(x, y, outputs, sample_weight))
    model.reset_metrics()
    nested = [logs.pop(name) for name in list(logs) if isinstance(logs[name], dict)]
    return {name: value for part in (logs, *nested) for name, value in part.items()}


def note_step(images: Any) -> None:
    """Write down which pixels were trained on, outside of the run."""
    if STEPS is not None:
        os.write(STEPS, f"{zlib.crc32(np.ascontiguousarray(images).tobytes())}\n".encode())


STEPS: int | None = None  # the descriptor of that list
DIE_AFTER: int | None = None  # so many steps
BEFORE_TRAINING: Callable[[], None] = lambda: None  # noqa: E731
ENOUGH_AFTER: int | None = None  # after so many steps a callback asks for the end
AFTER_AN_EPOCH: Callable[[], None] = lambda: None  # noqa: E731


def stub_network(recipe: Any, num_classes: int, **options: Any) -> keras.Model:
    """Return a network that is small, with everything in it that has a state.

    Where the recipe freezes one, its first layers are that of which only the head learns; where
    images grow, it takes any size.
    """
    del num_classes  # two
    grows = bool(recipe.data.grow)
    size = (None, None) if grows and options.get("training") else recipe.data.image_size
    layers = keras.layers
    start = [keras.initializers.GlorotUniform(recipe.seed + number) for number in (1, 2)]
    first: list[keras.Layer] = [
        layers.GlobalAveragePooling2D(name="flat") if grows else layers.Flatten(name="flat"),
        layers.Dense(4, kernel_initializer=start[0], name="dense"),
        layers.BatchNormalization(name="normal"),
    ]
    inputs = keras.Input((*size, 3), name="image")
    if recipe.model.frozen_epochs:
        first = [keras.Sequential([inputs, *first], name=BACKBONE)]
    return keras.Sequential(
        [
            keras.Input((*size, 3), name="image"),
            *first,
            layers.Dropout(recipe.model.dropout[0], seed=3, name="dropout"),
            layers.Dense(1, "sigmoid", kernel_initializer=start[1], name="head"),
        ],
        name="stub",
    )


def put_stubs_in() -> None:
    keras.Model.train_on_batch = step
    networks.build = stub_network
    backend._accelerators = lambda name: []
    engine.usable_cores = lambda: 0  # no threads: operations come in one order
    speed._matrix_product_rate = lambda: 1e11  # measured, for the plan's words: 0.1 s
    gate.refuse_missing_weights = lambda recipe: None  # nobody reads them
    # A minute a look: after a checkpoint that failed, the next step is a try again.
    cadence.time = SimpleNamespace(perf_counter=itertools.count(step=60).__next__)


def warm_up(images: Path) -> None:
    """Load and compile all that a training needs, but start no thread: polars has one at once."""
    import tensorboardX  # noqa: F401
    import tensorflow  # noqa: F401

    recipe = sl.recipes.load_recipe("basic", CHANGES)
    index = sl.index_folder(images)
    for augmented in (True, False):
        config = sl.StreamConfig.of(recipe, training=augmented)
        with sl.Stream(index, split="train", config=config) as stream:
            batch = next(iter(stream.epoch(0)))
    model = stub_network(recipe, 2)
    training_of(model, recipe, batch)
    model.predict_on_batch(batch.images)


def training_of(model: keras.Model, recipe: Any, batch: Any) -> None:
    training.compile_model(model, recipe, 2, None)
    step(model, batch.images, batch.targets, batch.weights)


class Bystander(keras.callbacks.Callback):
    """A user's callback: draws from the generators of the process, and once sets the rate."""

    def __init__(self) -> None:
        super().__init__()
        self.drawn: list[float] = []
        self.is_fourth = False

    def on_train_begin(self, logs: object = None) -> None:
        BEFORE_TRAINING()

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        AFTER_AN_EPOCH()

    def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
        self.is_fourth = epoch == 3

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        if self.is_fourth and not batch:
            self.model.optimizer.learning_rate = 0.02
        more = float(keras.ops.convert_to_numpy(keras.random.normal(()))) if batch else 0.0
        self.drawn += [random.random(), float(np.random.rand()), more]  # noqa: NPY002
        if ENOUGH_AFTER is not None and len(self.drawn) == 3 * ENOUGH_AFTER:
            self.model.stop_training = True

    def get_state(self) -> list[float]:
        return list(self.drawn)

    def set_state(self, state: list[float]) -> None:
        self.drawn = list(state)


def seed() -> None:
    """Put the generators of the process where a first step finds them: each fork has others."""
    random.seed(7)
    np.random.seed(7)  # noqa: NPY002


def begin(images: Path, run: Path, changes: Mapping[str, Any] = CHANGES) -> None:
    seed()
    sl.train(
        images,
        recipe="basic",
        changes=changes,
        out=run,
        only_train=True,
        callbacks=[Bystander()],
        progress=sl.Silent(),
    )


def go_on(images: Path, run: Path, changes: Mapping[str, Any] | None = None) -> None:
    """Resume a run, with changes if there are any, or begin it where nothing can be resumed."""
    if runs.latest_checkpoint(run) is None:
        seed()
    if (run / "run.json").exists():
        sl.train(
            resume=run,
            changes=changes or {},
            only_train=True,
            callbacks=[Bystander()],
            progress=sl.Silent(),
        )
    else:
        begin(images, run)


# --- what a training came to -----------------------------------------------------------


def outcome(run: Path) -> dict[str, Any]:
    """Return everything that two equal trainings have in common, as plain JSON values."""
    saved, damaged = runs.load_checkpoint(run)
    assert saved is not None
    assert not damaged, damaged
    opened = sl.open_run(run)
    best = [runs.read_tensors(path) for path in sorted(run.rglob("best.safetensors"))]
    with zipfile.ZipFile(run / "model.keras") as file:
        assert file.testzip() is None
        network = file.read("config.json").decode()
    return {
        "state": opened.state,
        "meta": timeless(saved.meta),
        "tensors": sums_of(saved.tensors),
        "history": timeless(runs.read_history(run / "history.jsonl")),
        "best": [[epoch, sums_of(tensors)] for tensors, epoch in best],
        "model": dict(opened.model),
        "network": zlib.crc32(network.encode()),
        "left behind": sorted(str(each.relative_to(run)) for each in run.rglob(".*")),
    }


def timeless(value: Any) -> Any:
    """Return JSON values without those that are times."""
    if isinstance(value, dict):
        return {name: timeless(each) for name, each in value.items() if name not in TIMES}
    return [timeless(each) for each in value] if isinstance(value, list) else value


def sums_of(tensors: runs.Tensors) -> dict[str, str]:
    return {name: tensors_sha256({name: array}) for name, array in tensors.items()}


# --- children --------------------------------------------------------------------------


def in_child(work: Callable[[], None], *, patience: int = 60) -> tuple[int, str]:
    """Do something in a forked child; return its exit code, and a traceback where it had one."""
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(read)
        signal.alarm(patience)  # a child that hangs dies of it, and the case fails
        code = 0
        try:
            work()
        except sl.SightlineError as error:
            os.write(write, f"{type(error).__name__}: {error}".encode())
            code = 2
        except BaseException:  # noqa: BLE001
            os.write(write, traceback.format_exc()[-4000:].encode())
            code = 1
        os._exit(code)
    os.close(write)
    with io.open(read, "rb") as file:  # noqa: UP020
        said = file.read().decode()
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), said


def followed(root: Path, steps: Path, work: Callable[[], None]) -> Callable[[], None]:
    """Return work that keeps its cache below `root` and writes its steps down."""

    def do() -> None:
        global STEPS
        STEPS = os.open(steps, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.environ["SIGHTLINE_CACHE"] = str(root / "cache")
        os.environ["SIGHTLINE_STATE"] = str(root / "state")
        work()

    return do


@dataclass(frozen=True)
class Case:
    """Where a training is killed: at which operation, before it or in its middle, and how.

    `power` is "" for a process that dies, whose writes the system still finishes; else what is
    left when the machine goes off: "flushed", or "names" as well.
    """

    number: int
    middle: bool = False
    power: str = ""


def killed(images: Path, root: Path, case: Case) -> Callable[[], None]:
    """Return a training that dies where the case says."""
    seen = 0

    def die(_: Operation) -> None:
        intercepting.start(None)
        if disk is not None:
            disk.cut_power(names_survive=case.power == "names")
        os._exit(KILLED)

    def meet(operation: Operation) -> int | None:
        nonlocal seen
        seen += 1
        if seen - 1 < case.number:
            return None
        if case.middle:
            return operation.size // 2
        die(operation)
        return None

    disk = Disk(root) if case.power else None

    def work() -> None:
        intercepting.start(Watch((f"{root}/",), meet, die, disk))
        begin(images, root / "run")

    return work


def try_case(images: Path, where: Path, case: Case, steps: list[str]) -> dict[str, Any]:
    """Kill a training, go on with it, and return what became of it."""
    root = where / "disk"
    audited_already(where, root)
    lists = where / "steps-before", where / "steps-after"
    code, said = in_child(followed(root, lists[0], killed(images, root, case)))
    if code != KILLED:
        return {"problem": f"not killed, but ended with {code}: {said}"}
    reached = step_saved(root / "run")

    def rest() -> None:
        go_on(images, root / "run")
        dump(where / "outcome.json", outcome(root / "run"))

    code, said = in_child(followed(root, lists[1], rest))
    if code:
        return {"problem": f"going on ended with {code}: {said}"}
    found = json.loads((where / "outcome.json").read_text())
    before, after = (path.read_text().split() if path.exists() else [] for path in lists)
    problem = ""
    if before != steps[: len(before)] or after != steps[len(steps) - len(after) :]:
        problem = "other steps were taken"
    elif len(after) > len(steps) - reached:
        problem = f"the checkpoint of step {reached} was passed over"
    return {"outcome": found, "problem": problem, "lost": len(before) + len(after) - len(steps)}


def audited_already(where: Path, root: Path) -> None:
    """Give a case the audit of the reference: it has processes of its own, and takes a second."""
    shutil.rmtree(where, ignore_errors=True)
    shutil.copytree(where.with_name("audits"), root / "cache" / "audits")


@dataclass(frozen=True)
class Failure:
    """Which operation fails, with which error of the system, once or from then on."""

    number: int
    error: int
    for_good: bool


ERRORS = (errno.ENOSPC, errno.EIO, errno.EACCES, errno.EMFILE)


def failures(operations: list[tuple[str, str, int]], every: int) -> list[Failure]:
    """Return each operation with each error that it can have, once and for good."""
    cases = [
        Failure(number, error, for_good)
        for number, (kind, _, _) in enumerate(operations)
        for error in ERRORS
        for for_good in (False, True)
        if error != errno.EMFILE or kind.startswith("open")
    ]
    return cases[::every]


def try_failure(images: Path, where: Path, case: Failure, steps: list[str]) -> dict[str, Any]:
    """Let an operation fail in a training, then go on with it on a disk that is fine again."""
    root = where / "disk"
    audited_already(where, root)
    lists = where / "steps-before", where / "steps-after"
    seen = 0

    def meet(operation: Operation) -> None:
        nonlocal seen
        seen += 1
        if case.error == errno.EMFILE and not operation.kind.startswith("open"):
            return
        if seen - 1 == case.number or (case.for_good and seen > case.number):
            raise OSError(case.error, os.strerror(case.error), operation.path)

    def work() -> None:
        intercepting.start(Watch((f"{root}/",), meet, reading=True))
        begin(images, root / "run")

    def rest() -> None:
        go_on(images, root / "run")
        dump(where / "outcome.json", outcome(root / "run"))

    code, said = in_child(followed(root, lists[0], work))
    if code not in (0, 2):
        return {"problem": f"ended with {code}: {said}"}
    before = lists[0].read_text().split()
    saved = step_saved(root / "run")
    code, said = in_child(followed(root, lists[1], rest))
    if code:
        return {"problem": f"going on ended with {code}: {said}"}
    after = lists[1].read_text().split()
    problem = ""
    if before != steps[: len(before)] or after != steps[len(steps) - len(after) :]:
        problem = "other steps were taken"
    elif len(after) > len(steps) - saved:
        problem = f"the checkpoint of step {saved} was passed over"
    return {
        "outcome": json.loads((where / "outcome.json").read_text()),
        "problem": problem,
        "lost": len(before) + len(after) - len(steps),
        "said": said,
    }


def step_saved(run: Path) -> int:
    saved = runs.latest_checkpoint(run) if run.exists() else None
    return int(saved.name.split("-")[1].split(".")[0]) if saved else 0


def dump(path: Path, value: object) -> None:
    path.write_text(json.dumps(value), "utf-8")


def reference(images: Path, where: Path, *, reading: bool) -> dict[str, Any]:
    """Return the operations of a training that nobody kills, its steps, and its outcome."""
    root = where / "disk"
    root.mkdir(parents=True)
    code, said = in_child(
        followed(root, where.with_name("no"), lambda: begin(images, root / "audited"))
    )
    if code:
        raise RuntimeError(said)
    (root / "cache" / "audits").rename(where.with_name("audits"))
    audited_already(where, root)
    met: list[tuple[str, str, int]] = []

    def meet(operation: Operation) -> None:
        path = operation.path.removeprefix(f"{root}/")
        met.append((operation.kind, path, operation.size))

    def work() -> None:
        intercepting.start(Watch((f"{root}/",), meet, reading=reading))
        begin(images, root / "run")
        intercepting.start(None)
        dump(where / "operations.json", met)
        dump(where / "outcome.json", outcome(root / "run"))

    code, said = in_child(followed(root, where / "steps", work), patience=120)
    if code:
        raise RuntimeError(said)
    read = {
        name: json.loads((where / f"{name}.json").read_text()) for name in ("operations", "outcome")
    }
    return {**read, "steps": (where / "steps").read_text().split()}


def kill_cases(operations: list[tuple[str, str, int]], every: int) -> list[Case]:
    """Return each operation as a place to die: before it, in its middle, by a power cut."""
    cases: list[Case] = []
    for number, (kind, _, size) in enumerate(operations):
        cases.append(Case(number))
        if kind == "write" and size > 1:
            cases.append(Case(number, middle=True))
        cases += [Case(number, power=power) for power in ("flushed", "names")]
    return cases[::every]


def part(cases: list[Any], share: str) -> list[Any]:
    """Return one of several equal parts of the cases, such as "2/5"; "" is all of them."""
    number, _, parts = share.partition("/")
    return cases[int(number) - 1 :: int(parts)] if share else cases


def main(spec: dict[str, Any]) -> None:
    """Try the cases of a spec {images, where, told, kind, every, part}, writing a line for each."""
    images, where, every = Path(spec["images"]), Path(spec["where"]), spec["every"]
    put_stubs_in()
    warm_up(images)
    intercepting.install()
    fails = spec["kind"] == "fail"
    whole = reference(images, where / "reference", reading=fails)
    operations = whole["operations"]
    with Path(spec["told"]).open("w", encoding="utf-8") as told:
        cases: list[Any] = failures(operations, every) if fails else kill_cases(operations, every)
        for case in part(cases, spec.get("part", "")):
            attempt: Any = try_failure if fails else try_case
            found = attempt(images, where / "case", case, whole["steps"])
            result = found.pop("outcome", {})
            found["differing"] = [key for key in result if result[key] != whole["outcome"][key]]
            at = operations[case.number]
            told.write(json.dumps({"case": vars(case), "at": at, **found}) + "\n")
            told.flush()


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text("utf-8")))
