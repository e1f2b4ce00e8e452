"""The numbers to reach, and which of them a run reached.

Ratios between loaders are of images per CPU-second; the same by the wall clock stands beside. A
machine's speed wanders, so ratios are taken round by round, and their median counts. Nothing is
hidden: a target without figures says why, one that was missed says so.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Figure = Literal["cpu", "wall"]
Results = Mapping[str, Any]  # of one set: contender's name -> its Result as JSON

MEMORY_MB = 300.0
# Against whom, cached and uncached (None: no demand), for S, H and X.
DEMANDS: tuple[tuple[str, dict[str, float], dict[str, float]], ...] = (
    ("keras-generator", {"S": 10, "H": 15, "X": 25}, {"S": 4, "H": 3, "X": 2}),
    ("keras-layers", dict.fromkeys("SHX", 12.0), dict.fromkeys("SHX", 2.5)),
    ("keras-layers-cached", dict.fromkeys("SHX", 10.0), {}),
    ("torch-torchvision", dict.fromkeys("SHX", 5.0), dict.fromkeys("SHX", 1.5)),
    ("torch-albumentations", dict.fromkeys("SHX", 5.0), dict.fromkeys("SHX", 1.5)),
    ("tf-data-cached", dict.fromkeys("SHX", 1.5), {}),
    ("tf-data", {}, dict.fromkeys("SHX", 1.1)),
    ("tf-data-xla-cached", dict.fromkeys("SHX", 1.5), {}),
    ("tf-data-xla", {}, dict.fromkeys("SHX", 1.1)),
    ("grain", {}, dict.fromkeys("SHX", 1.4)),
    ("spdl", {}, dict.fromkeys("SHX", 1.4)),
    ("dali", {}, dict.fromkeys("SHX", 1.4)),
    ("ffcv", dict.fromkeys("SHX", 1.2), {}),
    ("ffcv-jpeg", {}, dict.fromkeys("SHX", 1.4)),
)
DECODE_SHARE = {"S": 0.40, "H": 0.70, "X": 0.85}
KERNEL_SHARE = 0.80
SCALING = 1.7
FILL_PRICE = {"S": 0.40, "H": 0.25, "X": 0.25}


@dataclass(frozen=True, slots=True)
class Verdict:
    """One target on one set: what was needed, what was measured, and how it is said."""

    set_name: str
    what: str
    needed: str
    measured: str
    reached: bool | None  # None: no figures


def rate(result: Results, name: str, figure: Figure) -> float | None:
    """Return a contender's median images a second in steady turns; None without any."""
    one = result.get(name)
    if one is None or not one["steady"]:
        return None
    return statistics.median(turn["images"] / turn[figure] for turn in one["steady"])


def verdicts(set_name: str, result: Results, threads: int) -> list[Verdict]:
    """Return every target of one set. `result` is of the augmented workload."""
    if set_name not in DECODE_SHARE:
        return []
    found = []
    for other, cached, uncached in DEMANDS:
        for ours, demand in (("sightline-cached", cached), ("sightline", uncached)):
            if set_name in demand:
                found.append(_faster(set_name, result, ours, other, demand[set_name]))
    return [*found, *_limits(set_name, result, threads), *_memory(set_name, result)]


def _faster(set_name: str, result: Results, ours: str, other: str, needed: float) -> Verdict:
    ratio, wall = _ratio(result, ours, other, "cpu"), _ratio(result, ours, other, "wall")
    what = f"{ours} against {other}"
    if ratio is None or wall is None:
        return _absent(set_name, what, f">= {needed:g}x", result, (ours, other))
    measured = f"{ratio:.2f}x ({wall:.2f}x by the wall clock)"
    return Verdict(set_name, what, f">= {needed:g}x", measured, ratio >= needed)


def _limits(set_name: str, result: Results, threads: int) -> list[Verdict]:
    decoders = ("bare-decode", "bare-decode-scaled")
    fastest = max(decoders, key=lambda name: rate(result, name, "cpu") or 0.0)
    return [
        _share(set_name, result, "sightline", fastest, DECODE_SHARE[set_name]),
        _share(set_name, result, "sightline-cached", "bare-kernel", KERNEL_SHARE),
        *(_scaling(set_name, result, name, threads) for name in ("sightline", "sightline-cached")),
        _filling(set_name, result),
    ]


def _share(set_name: str, result: Results, ours: str, limit: str, needed: float) -> Verdict:
    what, demand = f"{ours} as a share of {limit}", f">= {needed:.0%}"
    share = _ratio(result, ours, limit, "cpu")
    if share is None:
        return _absent(set_name, what, demand, result, (ours, limit))
    return Verdict(set_name, what, demand, f"{share:.0%}", share >= needed)


def _scaling(set_name: str, result: Results, ours: str, threads: int) -> Verdict:
    what, demand = f"{ours}, 1 to {threads} threads, wall clock", f">= {SCALING:g}x"
    gain = _ratio(result, ours, f"{ours}-1", "wall")
    if gain is None:
        return _absent(set_name, what, demand, result, (ours, f"{ours}-1"))
    return Verdict(set_name, what, demand, f"{gain:.2f}x", gain >= SCALING)


def _filling(set_name: str, result: Results) -> Verdict:
    needed = FILL_PRICE[set_name]
    what, demand = "an epoch that fills the cache, slower by", f"<= {needed:.0%}"
    names = ("sightline-filling", "sightline")
    left, wall = _ratio(result, *names, "cpu"), _ratio(result, *names, "wall")
    if left is None or wall is None:
        return _absent(set_name, what, demand, result, names)
    measured = f"{1 - left:.0%} ({1 - wall:.0%} by the wall clock)"
    return Verdict(set_name, what, demand, measured, 1 - left <= needed)


def _memory(set_name: str, result: Results) -> list[Verdict]:
    found = []
    for ours in ("sightline", "sightline-cached"):
        what, demand = f"{ours}, most memory beside cache pages", f"<= {MEMORY_MB:.0f} MB"
        used = result.get(ours, {}).get("memory_mb", 0.0)
        if not used:
            found.append(_absent(set_name, what, demand, result, (ours,)))
            continue
        found.append(Verdict(set_name, what, demand, f"{used:.0f} MB", used <= MEMORY_MB))
    return found


def _ratio(result: Results, ours: str, other: str, figure: Figure) -> float | None:
    turns = [result.get(name, {}).get("steady", []) for name in (ours, other)]
    rounds = [
        (mine["images"] / mine[figure]) / (its["images"] / its[figure])
        for mine, its in zip(*turns, strict=False)  # one that failed midway has fewer
    ]
    return statistics.median(rounds) if rounds else None


def _absent(
    set_name: str, what: str, needed: str, result: Results, names: tuple[str, ...]
) -> Verdict:
    reasons = [
        f"{name}: {result[name]['not_run'] if name in result else 'not asked for'}"
        for name in names
        if name not in result or not result[name]["steady"]
    ]
    return Verdict(set_name, what, needed, "; ".join(reasons) or "no figure", None)
