"""What the histories of a race come to: who reached what, and how soon."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from benchmarks.pages import said
from benchmarks.training.targets import Verdict

# set, seed, program, kept (the column whose best epoch's weights are kept), wall, resumed, history
Training = Mapping[str, Any]
Table = tuple[tuple[str, ...], list[tuple[str, ...]]]
SOONER = 3.0  # `auto` to the published recipe's best
HALF = 0.5
_RACED = ("val_loss", "val_auc")
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
    for one in told["verdicts"]:
        found.append(f"{said(one['reached']):12} {one['what']}: {one['measured']}")
    return found


def best(history: list[Mapping[str, Any]], column: str) -> tuple[Mapping[str, Any], float] | None:
    """Return the epoch best in a column and the seconds until it ended; None without."""
    elapsed = 0.0
    found: tuple[Mapping[str, Any], float] | None = None
    for row in history:
        elapsed += row["seconds"]
        value = row.get(column)
        if value is None or not math.isfinite(value):
            continue
        if found is None or _as_good(column, value, found[0][column], strictly=True):
            found = (row, elapsed)
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


def until_best(training: Training) -> float | None:
    """Return the seconds from the start of a training until its best epoch ended.

    The best is that of val_loss, or whose weights are kept: the earlier one. None where nobody
    knows, because the training was broken off, or had no finite value.
    """
    found = [best(training["history"], column) for column in ("val_loss", training["kept"])]
    ends = [each[1] for each in found if each is not None]
    return beside_epochs(training) + min(ends) if ends and not training["resumed"] else None


def beside_epochs(training: Training) -> float:
    """Return the seconds of a whole training that are of no epoch: audit, plan, start and end."""
    return float(training["wall"]) - sum(row["seconds"] for row in training["history"])


def _as_good(column: str, value: float, wanted: float, *, strictly: bool = False) -> bool:
    if value == wanted:
        return not strictly
    return (value < wanted) == column.endswith("loss")


def _races(mine: Training, trainings: list[Training]) -> Iterable[dict[str, Any]]:
    """Yield how soon an `auto` came to the best of each published training of its set and seed.

    Seconds are those of epochs; the ratio counts what is beside them as well, audit and plan.
    """
    if mine["program"] != "auto":
        return
    for other in trainings:
        same = (other["set"], other["seed"]) == (mine["set"], mine["seed"])
        if not same or other["program"] not in _SOURCES:
            continue
        if mine["resumed"] or other["resumed"]:
            continue  # nobody knows what it took
        starts = beside_epochs(other), beside_epochs(mine)
        for column in _RACED:
            target = best(other["history"], column)
            if target is None:
                continue
            wanted, theirs = target[0][column], target[1]
            ours = reached(mine["history"], column, wanted)
            yield {
                "set": mine["set"],
                "seed": mine["seed"],
                "against": other["program"],
                "column": column,
                "wanted": wanted,
                "theirs": theirs,
                "ours": ours,
                "ratio": None if ours is None else (theirs + starts[0]) / (ours + starts[1]),
                "of_epochs": None if ours is None else theirs / ours,
            }


def _race_table(races: list[dict[str, Any]]) -> Table:
    head = ("set", "best of", "seed", "column", "its best", "its s", "auto's s")
    head = (*head, "times sooner", "of epochs alone")
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
            "" if race["ratio"] is None else f"{race['of_epochs']:.2f}",
        )
        for race in races
    ]
    return head, rows


def _halves(trainings: list[Training]) -> dict[tuple[str, str], list[tuple[Training, Training]]]:
    """Return, by set and whose recipe, [its training, that of `auto` in half the time] a seed."""
    found: dict[tuple[str, str], list[tuple[Training, Training]]] = {}
    for mine in trainings:
        for other in trainings:
            same = (other["set"], other["seed"]) == (mine["set"], mine["seed"])
            if mine["program"] == "auto-half" and other["program"] in _SOURCES and same:
                found.setdefault((mine["set"], other["program"]), []).append((other, mine))
    return found


def _half_table(trainings: list[Training]) -> Table:
    head = ("set", "who", "seeds", "epochs", "s to the best", "whole s", *_JUDGED)
    rows = []
    for (name, program), pairs in _halves(trainings).items():
        for ones, who in zip(zip(*pairs, strict=True), (program, "auto-half"), strict=True):
            ends = [until_best(one) or math.nan for one in ones]
            rows.append(
                (
                    name,
                    who if who == program else f"{who}, beside {program}",
                    str(len(ones)),
                    _mean([len(one["history"]) for one in ones], 0),
                    _mean(ends, 0),
                    _mean([one["wall"] for one in ones if not one["resumed"]], 0),
                    *(_mean([_at_best(one, column) for one in ones]) for column in _JUDGED),
                )
            )
    return head, rows


def _better(trainings: list[Training]) -> Iterable[Verdict]:
    """Yield whether `auto` is better on the mean of the seeds, and whether it took half the time.

    The time is that of all of its command, over that of the other's until its best epoch.
    """
    for (name, program), pairs in _halves(trainings).items():
        for column in _JUDGED[1:]:
            theirs, ours = (
                statistics.mean(_at_best(pair[place], column) for pair in pairs) for place in (0, 1)
            )
            what = f"{column} of auto in half the time of {program} to its best, {name}"
            known = math.isfinite(theirs)  # the plain programs do not tell all columns
            reached = ours > theirs if known else None
            yield Verdict(what, f"> {theirs:.4f}" if known else "", f"{ours:.4f}", reached)
        shares = [
            mine["wall"] / until
            for other, mine in pairs
            if (until := until_best(other)) is not None and not mine["resumed"]
        ]
        if shares:
            what = f"time of auto-half over that of {program} to its best, {name}"
            told = ", ".join(f"{share:.2f}" for share in shares)
            yield Verdict(what, f"<= {HALF:g}", told, max(shares) <= HALF)


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
                *(_mean([_at_best(one, column) for one in group]) for column in columns),
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
                [_at_best(training, "val_accuracy") for training in group],
                [_at_best(training, "val_accuracy") for training in other],
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
    known = {name for name, _, _ in _pairs(trainings)}
    for name in dict.fromkeys(training["set"] for training in trainings):
        if name not in known:
            what = f"accuracy of precision auto against float32, {name}"
            yield Verdict(what, "within the seeds", "not measured yet", None)
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


def _at_best(training: Training, column: str) -> float:
    """Return a column in the epoch whose weights are kept; NaN without."""
    found = best(training["history"], training["kept"])
    return math.nan if found is None else float(found[0].get(column, math.nan))


def _mean(values: list[float], digits: int = 4) -> str:
    """Return "mean (lowest to highest)"; "" where nothing is known."""
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return ""
    middle = f"{statistics.mean(known):,.{digits}f}"
    if len(known) == 1:
        return middle
    return f"{middle} ({min(known):,.{digits}f} to {max(known):,.{digits}f})"
