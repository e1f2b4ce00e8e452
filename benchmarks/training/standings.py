"""What the histories of a race come to: who reached what, and how soon."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Any

from benchmarks.training.targets import Verdict

Training = Mapping[str, Any]  # set, seed, program, wall, resumed, history
Table = tuple[tuple[str, ...], list[tuple[str, ...]]]
SOONER = 3.0  # `auto` to the published recipe's best
_LOWER = {"val_loss": True, "val_auc": False}
_JUDGED = ("val_loss", "val_balanced_accuracy", "val_auc")
_SOURCES = ("recipe", "plain")  # whose best is to be reached


def report(trainings: list[Training]) -> dict[str, Any]:
    """Return the tables, the ratios behind them and the targets, as JSON."""
    races = [race for training in trainings for race in _races(training, trainings)]
    return {
        "trainings": [
            {key: value for key, value in training.items() if key != "history"}
            for training in trainings
        ],
        "races": races,
        "tables": {
            "Time to the published recipe's best": _race_table(races),
            "In half the published recipe's time": _half_table(trainings),
            "Whole trainings": _whole_table(trainings),
            "Precision auto against float32": _precision_table(trainings),
        },
        "verdicts": [
            asdict(verdict)
            for verdict in (*_sooner(races), *_better(trainings), *_precise(trainings))
        ],
    }


def lines(told: Mapping[str, Any]) -> list[str]:
    """Return the tables for the terminal."""
    found = []
    for name, (head, rows) in told["tables"].items():
        found += ["", name]
        for row in rows:
            found.append("; ".join(f"{at} {cell}" for at, cell in zip(head, row, strict=True)))
    said = {True: "reached", False: "NOT REACHED", None: "not measured"}
    for one in told["verdicts"]:
        found.append(f"{said[one['reached']]:12} {one['what']}: {one['measured']}")
    return found


def best(history: list[Mapping[str, Any]], column: str) -> tuple[float, float] | None:
    """Return the best value of a column and the seconds until its epoch ended; None without."""
    elapsed, found = 0.0, None
    for row in history:
        elapsed += row["seconds"]
        value = row.get(column)
        if value is None or not math.isfinite(value):
            continue
        if found is None or _as_good(column, value, found[0], strictly=True):
            found = (value, elapsed)
    return found


def reached(history: list[Mapping[str, Any]], column: str, wanted: float) -> float | None:
    """Return the seconds until an epoch ended that was at least as good; None: never."""
    elapsed = 0.0
    for row in history:
        elapsed += float(row["seconds"])
        value = row.get(column)
        if value is not None and math.isfinite(value) and _as_good(column, value, wanted):
            return elapsed
    return None


def _as_good(column: str, value: float, wanted: float, *, strictly: bool = False) -> bool:
    if value == wanted:
        return not strictly
    return (value < wanted) == _LOWER[column]


def _races(mine: Training, trainings: list[Training]) -> Iterable[dict[str, Any]]:
    """Yield how soon an `auto` came to the best of each published training of its set and seed."""
    if mine["program"] != "auto":
        return
    for other in trainings:
        same = (other["set"], other["seed"]) == (mine["set"], mine["seed"])
        if not same or other["program"] not in _SOURCES:
            continue
        for column in _LOWER:
            target = best(other["history"], column)
            if target is None:
                continue
            wanted, theirs = target
            ours = reached(mine["history"], column, wanted)
            yield {
                "set": mine["set"],
                "seed": mine["seed"],
                "against": other["program"],
                "column": column,
                "wanted": wanted,
                "theirs": theirs,
                "ours": ours,
                "ratio": None if ours is None else theirs / ours,
            }


def _race_table(races: list[dict[str, Any]]) -> Table:
    head = ("set", "best of", "seed", "column", "its best", "its s", "auto's s", "times sooner")
    rows: list[tuple[str, ...]] = [
        (
            race["set"],
            race["against"],
            str(race["seed"]),
            race["column"],
            f"{race['wanted']:.4f}",
            f"{race['theirs']:.0f}",
            "never" if race["ours"] is None else f"{race['ours']:.0f}",
            "" if race["ratio"] is None else f"{race['ratio']:.2f}",
        )
        for race in races
    ]
    return head, rows


def _halves(trainings: list[Training]) -> dict[tuple[str, str], list[list[dict[str, float]]]]:
    """Return, by set and whose recipe, [its best epoch, that of `auto` in half the time] a seed.

    The best epoch is that of the best val_loss, whose weights are kept, and the time is that until
    it ended. Where no epoch of `auto` ended in half of it, its figures are NaN.
    """
    found: dict[tuple[str, str], list[list[dict[str, float]]]] = {}
    for mine in trainings:
        for other in trainings:
            same = (other["set"], other["seed"]) == (mine["set"], mine["seed"])
            if mine["program"] != "auto" or other["program"] not in _SOURCES or not same:
                continue
            target = best(other["history"], "val_loss")
            if target is None:
                continue
            until = _until(mine["history"], target[1] / 2)
            pair = [
                {column: _at_best(history, column) for column in _JUDGED}
                for history in (other["history"], until)
            ]
            pair[0]["seconds"], pair[1]["seconds"] = target[1], target[1] / 2
            found.setdefault((mine["set"], other["program"]), []).append(pair)
    return found


def _until(history: list[Mapping[str, Any]], seconds: float) -> list[Mapping[str, Any]]:
    ends = itertools.accumulate(row["seconds"] for row in history)
    return [row for row, end in zip(history, ends, strict=True) if end <= seconds]


def _half_table(trainings: list[Training]) -> Table:
    head = ("set", "who", "seeds", "seconds", *_JUDGED)
    rows = []
    for (name, program), pairs in _halves(trainings).items():
        for place, who in enumerate((program, f"auto beside {program}")):
            ones = [pair[place] for pair in pairs]
            told = [_mean([one[column] for one in ones]) for column in _JUDGED]
            seconds = _mean([one["seconds"] for one in ones], 0)
            rows.append((name, who, str(len(ones)), seconds, *told))
    return head, rows


def _better(trainings: list[Training]) -> Iterable[Verdict]:
    """Yield whether `auto` is better on the mean of the seeds, in half the time."""
    for (name, program), pairs in _halves(trainings).items():
        for column in _JUDGED[1:]:
            theirs, ours = (
                statistics.mean(pair[place][column] for pair in pairs) for place in (0, 1)
            )
            what = f"{column} of auto in half the time of {program} to its best, {name}"
            yield Verdict(what, f"> {theirs:.4f}", f"{ours:.4f}", ours > theirs)


def _whole_table(trainings: list[Training]) -> Table:
    head = ("set", "program", "seeds", "epochs", "epochs' s", "whole s", "s to best val_loss")
    columns = ("val_loss", "val_accuracy", "val_balanced_accuracy", "val_auc")
    rows = []
    for (name, program), group in _grouped(trainings).items():
        histories = [training["history"] for training in group]
        # A training that was broken off and resumed knows only its last stretch's wall time.
        whole = [training["wall"] for training in group if not training["resumed"]]
        to_best = [found[1] for history in histories if (found := best(history, "val_loss"))]
        rows.append(
            (
                name,
                program,
                str(len(group)),
                _mean([len(history) for history in histories], 0),
                _mean([sum(row["seconds"] for row in history) for history in histories], 0),
                _mean(whole, 0),
                _mean(to_best, 0),
                *(
                    _mean([_at_best(history, column) for history in histories])
                    for column in columns
                ),
            )
        )
    return (*head, *columns), rows


def _precision_table(trainings: list[Training]) -> Table:
    head = ("set", "float32: val_accuracy by seed", "auto: by seed", "difference", "seeds' spread")
    rows = []
    for name, plain, auto in _pairs(trainings):
        shown = [", ".join(f"{value:.4f}" for value in values) for values in (plain, auto)]
        apart = statistics.mean(auto) - statistics.mean(plain)
        rows.append((name, *shown, f"{apart:+.4f}", f"{max(plain) - min(plain):.4f}"))
    return head, rows


def _pairs(trainings: list[Training]) -> Iterable[tuple[str, list[float], list[float]]]:
    """Yield a set, and the best epochs' accuracy of the recipe in float32 and precision auto."""
    groups = _grouped(trainings)
    for (name, program), group in groups.items():
        other = groups.get((name, "recipe-auto"))
        if program == "recipe" and other:
            yield (
                name,
                [_at_best(training["history"], "val_accuracy") for training in group],
                [_at_best(training["history"], "val_accuracy") for training in other],
            )


def _sooner(races: list[dict[str, Any]]) -> Iterable[Verdict]:
    """Yield one target for each set and column: the median of the seeds, never counts as 0."""
    keys = dict.fromkeys((race["set"], race["against"], race["column"]) for race in races)
    for key in keys:
        ratios = [
            race["ratio"] or 0.0
            for race in races
            if (race["set"], race["against"], race["column"]) == key
        ]
        middle = statistics.median(ratios)
        what = f"auto to the best {key[2]} of {key[1]}, {key[0]}: times sooner"
        told = f"{middle:.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        yield Verdict(what, f">= {SOONER:g}", told, middle >= SOONER)


def _precise(trainings: list[Training]) -> Iterable[Verdict]:
    for name, plain, auto in _pairs(trainings):
        apart = abs(statistics.mean(auto) - statistics.mean(plain))
        spread = max(plain) - min(plain)
        what = f"accuracy of precision auto against float32, {name}"
        several = min(len(plain), len(auto)) > 1  # one seed has no spread
        told = f"{apart:.4f} apart"
        yield Verdict(what, f"<= {spread:.4f}", told, apart <= spread if several else None)


def _grouped(trainings: list[Training]) -> dict[tuple[str, str], list[Training]]:
    groups: dict[tuple[str, str], list[Training]] = {}
    for training in trainings:
        groups.setdefault((training["set"], training["program"]), []).append(training)
    return groups


def _at_best(history: list[Mapping[str, Any]], column: str) -> float:
    """Return a column in the epoch of the best val_loss; NaN without."""
    pick: Callable[[Mapping[str, Any]], float] = lambda row: row["val_loss"]  # noqa: E731
    finite = [row for row in history if math.isfinite(row["val_loss"])]
    return float(min(finite, key=pick).get(column, math.nan)) if finite else math.nan


def _mean(values: list[float], digits: int = 4) -> str:
    """Return "mean (lowest to highest)"; "" where nothing is known."""
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return ""
    middle = f"{statistics.mean(known):,.{digits}f}"
    if len(known) == 1:
        return middle
    return f"{middle} ({min(known):,.{digits}f} to {max(known):,.{digits}f})"
