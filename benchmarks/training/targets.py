"""The numbers to reach, and which of them a run reached.

Nothing is hidden: a target without figures is among them, one that was missed says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.training.loops import WORKS

LOOP = {"tensorflow": 0.98, "jax": 0.95, "torch": 0.95}
STREAM = 0.93
# set: (float32, precision auto), against the plain program without its in-memory cache
EPOCHS = {"skin-binary": (1.15, 1.5), "ham10000": (1.0, 1.8), "chest-original": (1.1, 1.1)}
ARITHMETIC = 0.40  # of auto, in the precision that it takes
CHECKPOINTS = 0.02
SLOPE = 0.1  # MB an epoch
_OURS = ("ours, float32", "ours, precision auto")


@dataclass(frozen=True, slots=True)
class Verdict:
    """One target: of what, what was needed, what was measured; None: no figures."""

    what: str
    needed: str
    measured: str
    reached: bool | None


def verdicts(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return every target of a report as JSON."""
    found: list[Verdict] = []
    for race in report.get("loops", []):
        found += _of_race(race)
    found += _of_auto(report.get("loops", []))
    for one in report.get("epochs", []):
        found += _of_epochs(one)
    for one in report.get("checkpoints", []):
        share = one["share"]
        what = f"checkpoints, {one['work']}: share of the time"
        found.append(_at_most(what, CHECKPOINTS, share and share["median"], one["not_run"]))
    for one in report.get("memory", []):
        for kind, name in (("resident", "slope"), ("asked for", "asked_for_slope")):
            what = f"memory, {one['work']}, release_memory {one['release']}: {kind}, MB an epoch"
            slope = one[name]
            found.append(_at_most(what, SLOPE, slope and slope["median"], one["not_run"]))
    return [asdict(verdict) for verdict in (*found, *_not_measured(report))]


def _not_measured(report: Mapping[str, Any]) -> Iterator[Verdict]:
    """Yield a target for everything that a report has no figures of at all."""
    why = "not measured yet"
    ran = {race["backend"] for race in report.get("loops", [])}
    for backend, needed in LOOP.items():
        if backend not in ran:
            yield _at_least(f"{backend}: ours / fit", needed, None, why)
    sets = {one["set"] for one in report.get("epochs", [])}
    for name, needs in EPOCHS.items():
        if name not in sets:
            for mine, needed in zip(_OURS, needs, strict=True):
                yield _at_least(f"whole epochs, {name}: {mine} / plain", needed, None, why)
    for part, needed in (("checkpoints", CHECKPOINTS), ("memory", SLOPE)):
        works = {one["work"] for one in report.get(part, [])}
        for work in WORKS:
            if work.name not in works:
                yield _at_most(f"{part}, {work.name}", needed, None, why)


def _of_race(race: Mapping[str, Any]) -> Iterator[Verdict]:
    name = f"{race['work']}, {race['precision']}, {race['backend']}"
    why = "; ".join(
        f"{who}: {one['not_run']}" for who, one in race["results"].items() if one["not_run"]
    )
    loop = LOOP[race["backend"]]
    for pair, needed in (
        ("ours / fit", loop),
        ("ours / fit-same-step", loop),
        ("stream / ours", STREAM),
    ):
        if set(pair.split(" / ")) <= set(race["results"]):
            yield _at_least(f"{name}: {pair}", needed, race["ratios"].get(pair), why)


def _of_auto(races: list[Mapping[str, Any]]) -> Iterator[Verdict]:
    """`auto` takes the faster precision, so the better race of each set counts."""
    best: dict[str, Mapping[str, Any]] = {}
    for race in races:
        if race["work"].startswith("auto") and race["arithmetic"]:
            speed = race["images_per_second"]["ours"]["median"]
            known = best.get(race["work"])
            if known is None or speed > known["images_per_second"]["ours"]["median"]:
                best[race["work"]] = race
    for work, race in best.items():
        what = f"{work}, {race['precision']}: arithmetic over the matrix product"
        yield _at_least(what, ARITHMETIC, race["arithmetic"]["share"], "")


def _of_epochs(one: Mapping[str, Any]) -> Iterator[Verdict]:
    why = "; ".join(f"{name}: {reason}" for name, reason in one["not_run"].items())
    for mine, needed in zip(_OURS, EPOCHS.get(one["set"], ()), strict=False):
        pair = f"{mine} / plain"
        yield _at_least(f"whole epochs, {one['set']}: {pair}", needed, one["ratios"].get(pair), why)


def _at_least(what: str, needed: float, measured: Mapping[str, float] | None, why: str) -> Verdict:
    if measured is None:
        return Verdict(what, f">= {needed:g}", why or "no figure", None)
    told = f"{measured['median']:.3f} ({measured['lowest']:.3f} to {measured['highest']:.3f})"
    return Verdict(what, f">= {needed:g}", told, measured["median"] >= needed)


def _at_most(what: str, needed: float, measured: float | None, why: str) -> Verdict:
    if measured is None:
        return Verdict(what, f"<= {needed:g}", why or "no figure", None)
    return Verdict(what, f"<= {needed:g}", f"{measured:.4f}", measured <= needed)
