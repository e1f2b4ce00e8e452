"""What goes into a network and comes out of it: sizes, activations, losses and labels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sightline.adoption.faults import Fault
from sightline.adoption.program import UNKNOWN
from sightline.adoption.reading import Output, Reading, Run

_LOSSES = {
    "BinaryCrossentropy": "binary_crossentropy",
    "CategoricalCrossentropy": "categorical_crossentropy",
    "SparseCategoricalCrossentropy": "sparse_categorical_crossentropy",
}


def outputs(reading: Reading) -> Iterator[Fault]:
    """Yield last layers that do not fit their activation, their loss or their labels."""
    told: set[object] = set()
    for run in reading.of("fit"):
        output = reading.output(run.value)
        if output is None or not isinstance(output.units, int) or output.call in told:
            continue
        told.add(output.call)
        loss = _loss(reading, run)
        fault = _activation(output) or _loss_of_one(output, loss)
        if fault is not None:
            yield fault
            continue
        flow = reading.flow(run.arguments.get("x"))
        if flow is None or flow.method == "flow":
            continue
        mode = reading.constant(flow, "class_mode", "categorical")
        wanted = _wanted(output.units, loss)
        if mode is UNKNOWN or not wanted or mode in {*wanted, "other"}:  # the old name of "raw"
            continue
        yield Fault(
            "class-mode",
            "error",
            flow.call,
            f"`{flow.name}` gives labels of class_mode={mode!r}, but the model ends with "
            f"Dense({output.units}) and {loss!r}: the shapes do not fit, and Keras stops.",
            f"Give {flow.method} class_mode={wanted[0]!r}.",
        )


def _loss(reading: Reading, run: Run) -> Any:
    """Return the name of the loss a training has, UNKNOWN for what is not plain."""
    compiled = reading.compiled(run)
    given = None if compiled is None else compiled.arguments.get("loss")
    if given is None:
        return UNKNOWN
    made = reading.made(given)
    if made is not None:
        return _LOSSES.get(made.name.rpartition(".")[2], UNKNOWN)
    name = reading.program.origin(given.node)
    return name.rpartition(".")[2] if name else reading.program.constant(given)


def _activation(output: Output) -> Fault | None:
    if output.units != 1 or output.activation != "softmax":
        return None
    return Fault(
        "output-activation",
        "error",
        output.call,
        "Dense(1) with softmax is always 1: the model cannot learn.",
        'Write activation="sigmoid", with the loss "binary_crossentropy".',
    )


def _loss_of_one(output: Output, loss: Any) -> Fault | None:
    if output.units != 1 or loss not in {
        "categorical_crossentropy",
        "sparse_categorical_crossentropy",
    }:
        return None
    what = "is always 0" if loss == "categorical_crossentropy" else "knows one class only"
    return Fault(
        "output-loss",
        "error",
        output.call,
        f"{loss} of Dense(1) {what}: the model cannot learn.",
        'Compile with loss="binary_crossentropy", or give the layer one unit a class.',
    )


def _wanted(units: int, loss: Any) -> tuple[str, ...]:
    """Return the class modes whose labels fit a layer and a loss."""
    if loss == "sparse_categorical_crossentropy":
        return ("sparse", "binary", "raw")
    if loss == "binary_crossentropy" and units == 1:
        return ("binary", "sparse", "raw")
    if loss in {"categorical_crossentropy", "binary_crossentropy"} and units > 1:
        return ("categorical", "raw", "multi_output")
    return ()


def input_sizes(reading: Reading) -> Iterator[Fault]:
    """Yield generators whose pictures are of another size than the model takes."""
    for run in reading.of("fit"):
        size = _input_size(reading, run)
        flow = reading.flow(run.arguments.get("x"))
        if size is None or flow is None or flow.method == "flow":
            continue
        given = reading.constant(flow, "target_size", (256, 256))
        if not isinstance(given, tuple) or given == size or len(given) != len(size):
            continue
        yield Fault(
            "input-size",
            "error",
            flow.call,
            f"`{flow.name}` makes pictures of {given[0]}x{given[1]}, the model takes "
            f"{size[0]}x{size[1]}: Keras stops.",
            f"Give {flow.method} target_size={size!r}.",
        )


def _input_size(reading: Reading, run: Run) -> tuple[int, int] | None:
    """Return (height, width) of what a model takes, channels last."""
    layers = reading.layers(run.value)
    made = reading.made(layers[0], ("shape",)) if layers else None
    if made is None:
        return None
    shape = reading.constant(made, "input_shape")
    if shape is UNKNOWN and made.name in {"keras.Input", "keras.layers.Input"}:
        shape = reading.constant(made, "shape")
    if not isinstance(shape, tuple) or len(shape) != 3 or shape[2] not in {1, 3, 4}:
        return None
    return (shape[0], shape[1]) if all(isinstance(each, int) for each in shape[:2]) else None


CHECKS = (outputs, input_sizes)
