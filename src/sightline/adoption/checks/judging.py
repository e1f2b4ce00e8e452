"""How a model is chosen and judged: metrics, validation, the weights that are kept, seeds."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from sightline.adoption.faults import Fault
from sightline.adoption.names import Value, dotted_text, shown
from sightline.adoption.reading import Made, Reading, Run

FEW_IMAGES = 100  # below, one picture moves the accuracy by a point or more
_MANY_CLASSES = 5
_ACCURACY = frozenset(
    {"acc", "accuracy", "binary_accuracy", "categorical_accuracy", "sparse_categorical_accuracy"}
)
_SEEDS = frozenset({
    "keras.utils.set_random_seed", "numpy.random.default_rng", "numpy.random.seed",
    "random.seed", "tensorflow.compat.v1.set_random_seed", "tensorflow.random.set_seed",
    "tensorflow.set_random_seed", "torch.manual_seed",
})  # fmt: skip
_SEED_ARGUMENTS = frozenset({"random_seed", "random_state", "seed"})
_STEERING = ("EarlyStopping", "ModelCheckpoint", "ReduceLROnPlateau")


def accuracy_alone(reading: Reading) -> Iterator[Fault]:
    """Yield models that are judged by their accuracy and nothing else."""
    for key, made in reading.compiles:
        metrics = reading.metrics(made)
        if not metrics or len(metrics) != 1 or metrics[0] not in _ACCURACY:
            continue
        hint = _imbalance(reading, key, made)
        yield Fault(
            "accuracy-alone",
            "warning",
            made.place("metrics"),
            f"{metrics[0]!r} is the only metric{hint or ': it hides a class that is never found'}.",
            'Add metrics that see each class: "AUC", "Precision", "Recall"; '
            "sightline evaluate gives them with intervals.",
        )


def _imbalance(reading: Reading, key: object, made: Made) -> str:
    """Return what in the program says that the classes are not of one size."""
    for run in reading.of("fit"):
        if reading.key(run.value) == key and "class_weight" in run.arguments:
            return (
                f", though class_weight in line {run.call.lineno} says that the classes are not "
                "of one size: a model that always says the largest class scores well"
            )
    assert isinstance(made.call.func, ast.Attribute)
    frame = reading.program.frame_of(made.call)
    output = reading.output(Value(made.call.func.value, frame))
    if output is not None and isinstance(output.units, int) and output.units >= _MANY_CLASSES:
        return f" of {output.units} classes: it hides those with few pictures"
    return ""


def validation_small(reading: Reading) -> Iterator[Fault]:
    """Yield trainings that are steered by a handful of validation pictures."""
    for run in reading.of("fit"):
        steering = sorted({each.name for each in reading.attached(run, *_STEERING)})
        found = _validation_images(reading, run)
        if not steering or found is None or found[0] > FEW_IMAGES:
            continue
        images, why = found
        verb = "steers" if len(steering) == 1 else "steer"
        yield Fault(
            "validation-small",
            "warning",
            run.call,
            f"{' and '.join(steering)} {verb} by {images} validation pictures ({why}): "
            f"one picture moves the accuracy by {100 / max(images, 1):.1f} points.",
            "Validate on all there is: a few hundred pictures, split by group.",
        )


def _validation_images(reading: Reading, run: Run) -> tuple[int, str] | None:
    """Return how many pictures a training is validated on, and where that is written."""
    flow = reading.flow(run.arguments.get("validation_data"))
    if flow is None:
        return None
    batch = reading.constant(flow, "batch_size", 32)
    steps = reading.constant(run, "validation_steps", None)
    images = reading.images(flow)
    if isinstance(steps, int) and isinstance(batch, int):
        asked = steps * batch
        if images is None or asked < images:
            return asked, f"validation_steps={steps} of {batch}"
    if images is None:
        return None
    return images, f"the files in {reading.constant(flow, 'directory')}"


def last_weights(reading: Reading) -> Iterator[Fault]:
    """Yield evaluations of the last epoch's weights where the best ones were meant."""
    for run in reading.of("fit"):
        after = _judged_after(reading, run)
        if after is None:
            continue
        stops = list(reading.attached(run, "EarlyStopping"))
        keeps = list(reading.attached(run, "ModelCheckpoint"))
        restored = any(reading.constant(each, "restore_best_weights", False) for each in stops)
        if restored or _loads_between(reading, run, after) or not (stops or keeps):
            continue
        made = (stops or keeps)[0]
        why = "has no restore_best_weights" if stops else "writes a file that is never loaded"
        yield Fault(
            "last-weights",
            "warning",
            after.call,
            f"`{after.name}.{after.method}` judges the last epoch's weights: the "
            f"{made.name} in line {made.call.lineno} {why}.",
            "Write EarlyStopping(..., restore_best_weights=True)."
            if stops
            else f"Load the best weights before line {after.call.lineno}: "
            f"{after.name}.load_weights(...), or keras.models.load_model(...).",
        )


def _judged_after(reading: Reading, run: Run) -> Run | None:
    """Return the first evaluation or prediction of the model after a training."""
    key = reading.key(run.value)
    for other in reading.runs:
        if other.call.lineno > run.call.lineno and reading.key(other.value) == key:
            if other.verb == "fit":
                return None
            return other
    return None


def _loads_between(reading: Reading, run: Run, after: Run) -> bool:
    """Return whether weights are loaded between a training and what judges it."""
    between = range(run.call.lineno, after.call.lineno + 1)
    calls = (call for call in reading.program.calls if call.lineno in between)
    names = (dotted_text(call.func).rpartition(".")[2] for call in calls)
    return any(name in {"load_weights", "load_model", "set_weights"} for name in names)


def test_as_validation(reading: Reading) -> Iterator[Fault]:
    """Yield trainings validated on the very data that are called the test."""
    for run in reading.of("fit"):
        given = run.arguments.get("validation_data")
        if given is None:
            continue
        held = _data(reading, given)
        for other in reading.of("evaluate"):
            judged = other.arguments.get("x")
            if judged is None or other.call.lineno < run.call.lineno or not held:
                continue
            if _data(reading, judged) != held or reading.key(other.value) != reading.key(run.value):
                continue
            yield Fault(
                "test-as-validation",
                "warning",
                other.call,
                f"`{shown(judged.node)}` is evaluated here and was the validation data in line "
                f"{run.call.lineno}: what the training was chosen by cannot judge it.",
                "Keep a test set apart, and look at it once.",
            )
            break


def _data(reading: Reading, value: Value) -> object:
    """Return what tells one set of data from another, None where nothing does."""
    flow = reading.flow(value)
    if flow is not None:
        return flow.call
    node = reading.program.follow(value).node
    if isinstance(node, (ast.Tuple, ast.List)) and node.elts:
        node = node.elts[0]
    return ast.unparse(node) if isinstance(node, (ast.Name, ast.Attribute)) else None


def no_seed(reading: Reading) -> Iterator[Fault]:
    """Yield the first training of a program that sets no seed at all."""
    first = next(reading.of("fit"), None)
    if first is None:
        return
    for call in reading.program.calls:
        if reading.program.origin(call.func) in _SEEDS:
            return
        for keyword in call.keywords:
            given = Value(keyword.value, reading.program.frame_of(call))
            if keyword.arg in _SEED_ARGUMENTS and reading.program.constant(given) is not None:
                return
    yield Fault(
        "no-seed",
        "info",
        first.call,
        "No seed is set anywhere: the next run gives other numbers, and nobody can tell a better "
        "model from a luckier one.",
        "Begin with keras.utils.set_random_seed(0).",
    )


CHECKS = (
    accuracy_alone,
    validation_small,
    last_weights,
    test_as_validation,
    no_seed,
)
