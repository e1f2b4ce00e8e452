"""What is called inside a network, heard while it is called, and changed for the length of a call.

Any model is heard alike: a chain, a graph, a model inside a model, a subclass whose call alone
knows what it does. Nothing is built anew and nothing of the model is left changed: for as long as
it takes, `call` of an operation is replaced on that one object.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras

Change = Callable[[Any, Any], Any]  # of what goes in and what comes out; returns what comes out


@dataclass(frozen=True, slots=True)
class Call:
    """One call of an operation, as it was heard.

    Attributes:
        operation: A layer, or an operation of keras.ops in a graph.
        number: Which of its calls, from 0.
        output: What came out, a tensor of the backend.
    """

    operation: Any
    number: int
    output: Any


def operations_in(model: keras.Model) -> list[Any]:
    """Return every layer and operation inside a network at any depth, each once."""
    found: dict[int, Any] = {}
    waiting: list[Any] = [model]
    while waiting:
        each = waiting.pop()
        inner = [*getattr(each, "operations", ()), *getattr(each, "_layers", ())]
        for operation in inner:
            if id(operation) not in found and hasattr(operation, "call"):
                found[id(operation)] = operation
                waiting.append(operation)
    return list(found.values())


def heard(model: keras.Model, images: Any) -> tuple[list[Call], Any]:
    """Return all calls of one forward pass in the order they end, and what the network puts out.

    Args:
        model: In inference mode: dropout off, batch normalisation with its moving statistics.
        images: (B, H, W, C).
    """
    calls: list[Call] = []
    counts: dict[int, int] = {}

    def listen(operation: Any) -> Change:
        def note(_: Any, output: Any) -> Any:
            number = counts.get(id(operation), 0)
            counts[id(operation)] = number + 1
            if hasattr(output, "shape"):
                calls.append(Call(operation, number, output))
            return output

        return note

    with changed({operation: listen(operation) for operation in operations_in(model)}):
        output = model(images, training=False)
    return calls, output


def names_of(calls: Sequence[Call], *, counted_anew: bool) -> dict[int, str]:
    """Return the name of each operation, by its `id`.

    Args:
        calls: In their order.
        counted_anew: Count operations that were given no name, such as "conv2d_7", from the first
            call on: Keras counts them over all networks that a process has built.
    """
    names: dict[int, str] = {}
    counts: dict[str, int] = {}
    for call in calls:
        operation, name = call.operation, str(call.operation.name)
        if id(operation) in names:
            continue
        kind = _in_snake_case(type(operation).__name__)
        if counted_anew and re.fullmatch(rf"{kind}(_\d+)?", name):
            number = counts.get(kind, 0)
            counts[kind] = number + 1
            name = f"{kind}_{number}" if number else kind
        names[id(operation)] = name
    return names


@contextmanager
def changed(changes: Mapping[Any, Change]) -> Iterator[None]:
    """Let what comes out of operations be changed while inside."""
    done: list[Any] = []
    try:
        for operation, change in changes.items():
            # Not through setattr: Keras and torch look through what they are given there.
            object.__setattr__(operation, "call", _with(operation.call, change))
            done.append(operation)
        yield
    finally:
        for operation in done:
            object.__delattr__(operation, "call")


@contextmanager
def without_activation(layers: Sequence[Any]) -> Iterator[None]:
    """Let layers put out what they compute before their activation while inside."""
    kept = [layer.activation for layer in layers]
    try:
        for layer in layers:
            object.__setattr__(layer, "activation", keras.activations.linear)
        yield
    finally:
        for layer, activation in zip(layers, kept, strict=True):
            object.__setattr__(layer, "activation", activation)


def _in_snake_case(name: str) -> str:
    """Return the name that Keras gives to what is of a class of this name."""
    apart = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", apart).lower()


def _with(call: Callable[..., Any], change: Change) -> Callable[..., Any]:
    def changed_call(*inputs: Any, **more: Any) -> Any:
        return change(inputs[0] if inputs else None, call(*inputs, **more))

    return changed_call
