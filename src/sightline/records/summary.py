"""What a network is made of."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LayerSummary:
    """One layer: its class, what it puts out (without the batch axis), and what it holds."""

    name: str
    kind: str
    output_shape: tuple[int | None, ...]
    parameters: int


@dataclass(frozen=True, slots=True)
class ModelSummary:
    """A network, layer by layer.

    Attributes:
        layers: In the order of the forward pass.
        parameters: All of them, trainable or not.
        trainable: Those that training changes.
        operations: Multiply-accumulates of one forward pass for one image; 0 when not counted.
    """

    layers: tuple[LayerSummary, ...]
    parameters: int
    trainable: int
    operations: int = 0
