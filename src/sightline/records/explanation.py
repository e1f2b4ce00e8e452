"""Where a network looks: at one image, over a whole split, and whether to trust the answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from sightline.records.interval import Interval

ExplainMethod = Literal["gradcam", "gradcam++", "occlusion", "integrated-gradients"]
METHOD_NAMES: Mapping[str, str] = {  # for people
    "gradcam": "Grad-CAM",
    "gradcam++": "Grad-CAM++",
    "occlusion": "Occlusion",
    "integrated-gradients": "Integrated gradients",
    "features": "Feature maps",
    "filters": "First filters",
}


@dataclass(frozen=True, slots=True)
class Explanation:
    """Which places of one image speak for a class, as one method sees it.

    Attributes:
        record_id: Which image.
        method: How it was found.
        class_name: The class that is explained.
        probability: That the network gives this class, 0..1.
        map: (h, w) float32 at the network's input size: 0 where nothing speaks for the class, 1
            where most does; all 0 where no place does.
        layer: Whose output the map was made from; "" where the whole network was asked.
        label: The image's own, where it has one.
        measured: What the method says of itself, by name. Of integrated gradients: "difference"
            of the two outputs, "sum" of the attributions, and "gap", the relative error.
    """

    record_id: str
    method: ExplainMethod
    class_name: str
    probability: float
    map: npt.NDArray[np.float32]
    layer: str = ""
    label: str | None = None
    measured: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.map.ndim != 2 or self.map.dtype != np.float32:
            raise ValueError(
                f"a map must be (height, width) float32, got {self.map.shape} {self.map.dtype}"
            )
        if not (self.map.min() >= 0 and self.map.max() <= 1):
            raise ValueError(
                f"a map must be in 0..1, got {float(self.map.min())}..{float(self.map.max())}"
            )

    @property
    def is_empty(self) -> bool:
        """Whether no place speaks for the class."""
        return not self.map.any()

    def peak(self) -> tuple[int, int]:
        """Return (row, column) of the largest value; of equals, the one nearest to their middle."""
        largest = np.argwhere(self.map == self.map.max())
        apart = ((largest - largest.mean(axis=0)) ** 2).sum(axis=1)
        row, column = largest[int(apart.argmin())]
        return int(row), int(column)

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the map as plain JSON values, with the place of the peak, 0..1."""
        height, width = self.map.shape
        row, column = self.peak()
        return {
            "record_id": self.record_id,
            "method": self.method,
            "class": self.class_name,
            "label": self.label,
            "probability": self.probability,
            "layer": self.layer,
            "peak": None if self.is_empty else [(row + 0.5) / height, (column + 0.5) / width],
            "measured": dict(self.measured),
        }


@dataclass(frozen=True, slots=True)
class AverageMap:
    """The maps of many images as one.

    Attributes:
        class_name: The class that they explain; "" for all of them.
        count: Images with a map that is not empty.
        empty: Images without a place that speaks for the class; they are left out.
        average: (h, w) float32, 0..1: the mean of the maps, each with a sum of 1, scaled so that
            its largest value is 1.
        border: Share of the attention that falls on the outer ring, 0..1: the mean over images.
    """

    class_name: str
    count: int
    empty: int
    average: npt.NDArray[np.float32]
    border: Interval


@dataclass(frozen=True, slots=True)
class Attention:
    """Where a network looks over a whole split.

    Attributes:
        split: Which one.
        method: How it was found.
        layer: Whose output the maps were made from; "" for the whole network.
        whole: Of all images looked at.
        classes: One for each class that was explained, in class order.
        ring: How wide the outer ring is, as a share of each side.
        expected: The ring's share of the picture: that of attention spread evenly.
    """

    split: str
    method: ExplainMethod
    layer: str
    whole: AverageMap
    classes: tuple[AverageMap, ...]
    ring: float
    expected: float

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the average maps as plain JSON values."""
        return {
            "split": self.split,
            "method": self.method,
            "layer": self.layer,
            "ring": self.ring,
            "expected": self.expected,
            "parts": [
                {
                    "class": part.class_name or None,
                    "count": part.count,
                    "empty": part.empty,
                    "border": part.border.value if part.count else None,
                    "low": part.border.low,
                    "high": part.border.high,
                }
                for part in (self.whole, *self.classes)
            ],
        }


@dataclass(frozen=True, slots=True)
class SanityCheck:
    """Whether maps depend on what the network learned (Adebayo et al. 2018).

    Attributes:
        method: Whose maps.
        layers: Which weights were made random last, from the output downwards.
        correlations: Mean rank correlation of the maps with those of the trained network, -1..1,
            once the weights of that layer and of all after it are random.
        count: Images it was tried on.
    """

    method: ExplainMethod
    layers: tuple[str, ...]
    correlations: tuple[float, ...]
    count: int

    @property
    def passed(self) -> bool:
        """Whether the maps have become others once every weight is random."""
        return bool(self.correlations) and self.correlations[-1] < MOST_ALIKE

    def in_words(self) -> str:
        """Return the verdict as one sentence."""
        if not self.correlations:
            return "Sanity check: not applicable, as no image has a map to compare."
        last = self.correlations[-1]
        if self.passed:
            return (
                f"Sanity check passed: with every weight random, the maps of {self.count} images "
                f"keep a rank correlation of {last:.2f} with those of the trained network."
            )
        return (
            f"Sanity check FAILED: with every weight random, the maps of {self.count} images "
            f"still have a rank correlation of {last:.2f} with those of the trained network. So "
            f"they show the images more than what the network learned: trust no "
            f"{METHOD_NAMES[self.method]} map "
            "of this network; try another method or layer."
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the check as plain JSON values."""
        return {
            "method": self.method,
            "passed": self.passed,
            "words": self.in_words(),
            "count": self.count,
            "layers": [
                {"layer": layer, "correlation": value}
                for layer, value in zip(self.layers, self.correlations, strict=True)
            ],
        }


MOST_ALIKE = 0.5  # rank correlation of maps from there on that nothing learned can explain
