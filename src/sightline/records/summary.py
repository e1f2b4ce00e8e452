"""What a network is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


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

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> ModelSummary:
        """Return the summary whose `dataclasses.asdict` was kept as JSON."""
        layers = tuple(
            LayerSummary(**{**layer, "output_shape": tuple(layer["output_shape"])})
            for layer in plain["layers"]
        )
        return cls(**{**plain, "layers": layers})
