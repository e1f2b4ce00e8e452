"""The race of the loops: ours, `model.fit`, ours on the stream, and the machine's matrix product.

One race a work and precision; all ratios of it are taken round by round.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.training.sets import Split
from benchmarks.training.turns import Place, Result, race

# What "full augmentation" is, for every recipe; that of skin-binary, the richest published one.
FULL = {
    "augment.rotation": 20.0,
    "augment.width_shift": 0.2,
    "augment.height_shift": 0.2,
    "augment.shear": 0.2,
    "augment.zoom": 0.2,
    "augment.horizontal_flip": True,
}
CONTENDERS = {
    "ours": "contenders:loop",
    "fit": "contenders:fit",
    "fit-same-step": "contenders:fit_same_step",
    "stream": "contenders:streamed",
    "product": "contenders:product",
}
PRECISIONS = ("float32", "mixed_bfloat16")


@dataclass(frozen=True, slots=True)
class Work:
    """A recipe on a set."""

    recipe: str
    set_name: str

    @property
    def name(self) -> str:
        """How it is called."""
        return self.recipe if self.recipe == self.set_name else f"{self.recipe} on {self.set_name}"


WORKS = (
    Work("skin-binary", "skin-binary"),
    Work("ham10000", "ham10000"),
    Work("chest-xray", "chest-xray"),
    Work("auto", "skin-binary"),
    Work("auto", "ham10000"),
    Work("auto", "chest-xray"),
)


def run(
    work: Work,
    precision: str,
    split: Split,
    place: Place,
    *,
    rounds: int,
    seconds: float,
    contenders: tuple[str, ...],
) -> dict[str, Any]:
    """Return one race as JSON: every contender's turns, and the ratios."""
    order = {
        "manifest": str(split.manifest),
        "recipe": work.recipe,
        "precision": precision,
        # Images of one size from the first epoch to the last: those in memory have one.
        "changes": FULL,
    }
    orders = {name: {**order, "entry": CONTENDERS[name]} for name in contenders}
    results = race(orders, place, rounds=rounds, seconds=seconds)
    return {
        "work": work.name,
        "precision": precision,
        "backend": place.backend,
        "images_per_second": {
            name: spread([turn["images"] / turn["seconds"] for turn in result.turns])
            for name, result in results.items()
            if name != "product" and result.turns
        },
        "ratios": ratios(results),
        "arithmetic": arithmetic(results, precision),
        "feed": {name: one.about["feed"] for name, one in results.items() if "feed" in one.about},
        "results": {name: asdict(result) for name, result in results.items()},
    }


def ratios(results: Mapping[str, Result]) -> dict[str, dict[str, float]]:
    """Return images/s of one over another, by round: median, lowest, highest."""
    found = {}
    pairs = (("ours", "fit"), ("ours", "fit-same-step"), ("stream", "ours"))
    for one, other in pairs:
        turns = [results[name].turns if name in results else [] for name in (one, other)]
        by_round = [
            (mine["images"] / mine["seconds"]) / (its["images"] / its["seconds"])
            for mine, its in zip(*turns, strict=False)  # one that failed midway has fewer
        ]
        if by_round:
            found[f"{one} / {other}"] = spread(by_round)
    return found


def arithmetic(results: Mapping[str, Result], precision: str) -> dict[str, Any]:
    """Return operations a second reached by our loop over those of the matrix product."""
    if "product" not in results or not results.get("ours", Result()).turns:
        return {}
    kind = "bfloat16" if precision == "mixed_bfloat16" else "float32"
    each = results["ours"].about["operations"]
    reached = [each * turn["images"] / turn["seconds"] for turn in results["ours"].turns]
    products = [turn[kind] for turn in results["product"].turns]
    shares = [mine / limit for mine, limit in zip(reached, products, strict=False)]
    if not shares:
        return {}
    return {
        "operations_an_image": each,
        "reached": spread(reached),
        "product": spread(products),
        "share": spread(shares),
    }


def spread(values: list[float]) -> dict[str, float]:
    """Return median, lowest and highest of values, at least one."""
    return {
        "median": statistics.median(values),
        "lowest": min(values),
        "highest": max(values),
        "count": len(values),
    }
