"""What the parameters of a search did: how much each decided, and which values went together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from sightline.judging.reports import figures
from sightline.recipes import varied
from sightline.records.trials import Trial, Tuning, comparable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_BARS = 15  # parameters, the most important ones
_MOST_AXES = {False: 8, True: 4}  # by whether the figure is narrow
_DECADE = 10.0  # a number that spans one is drawn by its logarithm
_MOST_MARKS = 6  # numbers on an axis, each of which is written
_BEST = 0.1  # of the trainings are drawn strongly
_BEST_TOLD, _MOST_TOLD = 3, 3  # trainings and parameters that are told in words
_FEWEST = 3  # trainings, below which lines beside each other say nothing

Row = Mapping[str, Any]


def importance_figure(shares: Sequence[tuple[str, float]], *, narrow: bool = False) -> Figure:
    """Return how much each parameter decided, as bars, the most important one on top.

    Args:
        shares: (parameter, share of 1), the most first; one or more.
        narrow: For a narrow screen.
    """
    from matplotlib.figure import Figure

    drawn = shares[:_MOST_BARS]
    width = figures.NARROW if narrow else 9.6
    figure = Figure(figsize=(width, 0.6 + 0.27 * len(drawn)), layout="constrained")
    axes = figure.add_subplot()
    axes.barh(range(len(drawn)), [100 * share for _, share in drawn], height=0.62,
              color=figures.TRAINING)  # fmt: skip
    for place, (_, share) in enumerate(drawn):
        axes.annotate(f"{100 * share:.0f} %", (100 * share, place), xytext=(4, 0),
                      textcoords="offset points", va="center", fontsize=8,
                      color=figures.INK)  # fmt: skip
    axes.set_yticks(range(len(drawn)), [name for name, _ in drawn])
    axes.set_ylim(len(drawn) - 0.5, -0.5)
    axes.set_xlim(0, 100 * drawn[0][1] * 1.18 or 1)
    axes.set_xticks([])
    axes.tick_params(colors=figures.INK, labelsize=8, length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return figure


def parallel_figure(shown: tuple[Tuning, Mapping[str, Any]], *, narrow: bool = False) -> Figure:
    """Return the trainings as lines over their parameters, the best ones strong and on top.

    Each parameter has an axis of its own, the most important ones first; the last axis is what
    the search is about. A line has a gap where a parameter has no effect in its recipe.

    Args:
        shown: A search with three trainings or more that can be compared, and the recipe that it
            began with, by dotted key; resolved.
        narrow: For a narrow screen, with fewer axes.
    """
    from matplotlib.figure import Figure

    tuning, base = shown
    trials = _compared(tuning)
    rows = varied(base, [trial.spec.changes for trial in trials])
    names = _shown(rows, tuning, narrow=narrow)
    # The worst first, so that the best are drawn over them.
    order = sorted(range(len(trials)), key=lambda place: -_loss(tuning, trials[place]))
    best = order[-max(1, math.ceil(_BEST * len(order))) :]
    width = figures.NARROW if narrow else 9.6
    figure = Figure(figsize=(width, 3.6), layout="constrained")
    axes = figure.add_subplot()
    places = {name: _Axis([row.get(name) for row in rows]) for name in names}
    values = _Axis(_without_the_worst(tuning, trials), every=False)
    for place in order:
        heights = [axis.height(rows[place].get(name)) for name, axis in places.items()]
        strong = place in best
        axes.plot(
            range(len(names) + 1), [*heights, _held(values.height(trials[place].value))],
            color=figures.TRAINING if strong else figures.INK,
            alpha=0.9 if strong else 0.18, linewidth=1.8 if strong else 0.8,
        )  # fmt: skip
    for position, axis in enumerate([*places.values(), values]):
        axis.write(axes, position)
    _name_axes(axes, [*names, tuning.objective], narrow=narrow)
    return figure


def _without_the_worst(tuning: Tuning, trials: Sequence[Trial]) -> list[float]:
    """Return the values of all but the worst fifth, which would press the others together."""
    order = sorted(trials, key=lambda trial: _loss(tuning, trial))
    return [float(trial.value or 0.0) for trial in order[: max(2, math.ceil(0.8 * len(order)))]]


def _held(height: float) -> float:
    """Return a height on the axis: what is worse than its end stands there."""
    return min(max(height, 0.0), 1.0)


class _Axis:
    """One axis: where a value stands on it, from 0 to 1.

    Words stand in the order of the alphabet at equal distances, and so do few numbers where every
    one of them is written.
    """

    def __init__(self, values: Sequence[Any], *, every: bool = True) -> None:
        known = [value for value in values if value is not None]
        numbers = all(isinstance(each, (int, float)) for each in known)
        numbers = numbers and not any(isinstance(each, bool) for each in known)
        distinct = sorted(set(known), key=lambda each: each if numbers else str(each))
        few = every and len(distinct) <= _MOST_MARKS
        self.marks = distinct if few or not numbers else []
        low, high = (distinct[0], distinct[-1]) if numbers else (0, 1)
        self._low, self._high = float(low), float(high)
        self._log = numbers and self._low > 0 and self._high / self._low >= _DECADE

    def height(self, value: Any) -> float:
        """Return where a value stands; NaN of None, where a line has a gap."""
        if value is None:
            return math.nan
        if self.marks:
            return self.marks.index(value) / max(len(self.marks) - 1, 1)
        low, high = self._scaled(self._low), self._scaled(self._high)
        return (self._scaled(value) - low) / (high - low or 1.0)

    def _scaled(self, value: float) -> float:
        return math.log(value) if self._log else float(value)

    def write(self, axes: Axes, position: int) -> None:
        """Draw the axis with its marks."""
        axes.axvline(position, color=figures.INK, alpha=0.4, linewidth=0.8)
        marks = self.marks or [self._low, self._high]
        for mark in marks:
            text = f"{mark:.3g}" if isinstance(mark, float) else str(mark).replace("$", r"\$")
            axes.annotate(text, (position, self.height(mark)), xytext=(3, 0),
                          textcoords="offset points", fontsize=7, va="center",
                          color=figures.INK)  # fmt: skip


def _name_axes(axes: Axes, names: Sequence[str], *, narrow: bool) -> None:
    most = 17 if narrow else 20
    lines = [name.replace(".", ".\n", 1) if len(name) > most // 2 else name for name in names]
    axes.set_xticks(range(len(names)), lines, fontsize=6.5 if narrow else 7.5)
    axes.set_xlim(-0.1, len(names) - 0.5)
    axes.set_ylim(-0.06, 1.06)
    axes.set_yticks([])
    axes.tick_params(colors=figures.INK, length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _shown(rows: Sequence[Row], tuning: Tuning, *, narrow: bool) -> list[str]:
    """Return the parameters that have an axis: the most important, or those most often changed."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    important = [name for name, _ in tuning.importance if name in names]
    often = sorted(names, key=lambda name: -sum(name in row for row in rows))
    order = dict.fromkeys([*important, *often])
    return list(order)[: _MOST_AXES[narrow]]


def _loss(tuning: Tuning, trial: Trial) -> float:
    sign = 1.0 if tuning.objective == "val_loss" else -1.0
    return sign * (trial.value if trial.value is not None else np.nan)


def headline(tuning: Tuning) -> str:
    """Return how many recipes a sampler had trained, a sentence."""
    drawn = [trial for trial in tuning.trials if trial.spec.fold is None]
    counts = {state: sum(each.state == state for each in drawn) for state in ("stopped", "failed")}
    said = "One recipe was trained" if len(drawn) == 1 else f"{len(drawn)} recipes were trained"
    parts = [f"{count} {word}" for count, word in (
        (counts["stopped"], "ended early, behind the others"), (counts["failed"], "failed")
    ) if count]  # fmt: skip
    return said + (f" ({', '.join(parts)})." if parts else ".")


def _compared(tuning: Tuning) -> list[Trial]:
    return comparable(tuning.trials, sampled=tuning.strategy == "optuna")


def learnt(tuning: Tuning) -> list[str]:
    """Return what a sampler showed, a sentence each; nothing of a ladder, which tells its own."""
    if tuning.strategy != "optuna":
        return []
    numbers = {trial.spec.key: number for number, trial in enumerate(tuning.trials, start=1)}
    best = sorted(
        _compared(tuning),
        key=lambda trial: _loss(tuning, trial),
    )[:_BEST_TOLD]
    told = [f"{trial.value:.4f} (no. {numbers[trial.spec.key]})" for trial in best]
    said = [f"The best trainings, by {tuning.objective}: {', '.join(told)}."] if told else []
    if tuning.importance:
        most = [f"{name} ({100 * share:.0f} %)" for name, share in tuning.importance[:_MOST_TOLD]]
        said.append(f"What decided most: {', '.join(most)}.")
    return said


def shown(tuning: Tuning, base: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the page shows of parameters: two figures, each where there is enough for it.

    Args:
        tuning: A search.
        base: The recipe that it began with, by dotted key; {} where it is not known.
    """
    trials = _compared(tuning)
    enough = bool(base) and len(trials) >= _FEWEST
    enough = enough and any(varied(base, [trial.spec.changes for trial in trials]))
    bars, lines = "How much each parameter decided", "The trainings over their parameters"
    return {
        "importance": both(importance_figure, tuning.importance, "importance", bars),
        "parallel": both(parallel_figure, (tuning, base) if enough else (), "parallel", lines),
        "num_compared": len(trials),
    }


def both(draw: Any, shown: Sequence[Any], name: str, label: str) -> dict[str, Markup] | None:
    """Return a drawing in its wide and its narrow form; None where there is nothing to show."""
    if not shown:
        return None
    return {
        width: Markup(
            figures.svg(
                draw(shown, narrow=width == "narrow"), prefix=f"{name}-{width}", label=label
            )
        )
        for width in ("wide", "narrow")
    }
