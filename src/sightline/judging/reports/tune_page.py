"""The page of a search: what was tried on what, what was kept and why, and every curve."""

from __future__ import annotations

import functools
import math
import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import tomli_w
from jinja2 import Environment

from sightline.judging.reports import figures, layout, tune_parameters
from sightline.records.trials import Attempt, Trial, Tuning

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ORDER = {"kept": 0, "undecided": 1, "rejected": 2}
_COLOURS = {
    "kept": figures.TRAINING,
    "undecided": figures.OPTIMISED,
    "rejected": figures.VALIDATION,
}


def gains_figure(attempts: Sequence[Attempt], *, narrow: bool = False) -> Figure:
    """Return what each change gained in each pair of whole trainings, and their mean.

    Args:
        attempts: With gains, in the order in which they were tried.
        narrow: For a narrow screen.
    """
    from matplotlib.figure import Figure

    width = figures.NARROW if narrow else 9.6
    figure = Figure(figsize=(width, 0.9 + 0.34 * len(attempts)), layout="constrained")
    axes = figure.add_subplot()
    axes.axvline(0, color=figures.INK, alpha=0.5, linewidth=0.9)
    for place, attempt in enumerate(attempts):
        colour = _COLOURS[attempt.verdict]
        known = [gain for gain in attempt.gains if math.isfinite(gain)]
        axes.plot(known, [place] * len(known), "o", color=colour, alpha=0.55, markersize=4.5)
        if attempt.mean is not None:
            axes.plot([attempt.mean], [place], "|", color=figures.INK, markersize=15,
                      markeredgewidth=2)  # fmt: skip
    axes.set_yticks(range(len(attempts)), [_label(each, narrow=narrow) for each in attempts])
    axes.set_ylim(len(attempts) - 0.4, -0.6)
    axes.set_xlabel("gain of a pair (right is better)", color=figures.INK, fontsize=9)
    axes.tick_params(colors=figures.INK, labelsize=8)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set(color=figures.INK, alpha=0.45, linewidth=0.7)
    return figure


def curves_figure(trials: Sequence[tuple[int, Trial]], *, narrow: bool = False) -> Figure:
    """Return val_loss over the epochs of each trial, a small panel each on one scale.

    Args:
        trials: Their numbers and they, with a finite val_loss each, one or more.
        narrow: For a narrow screen.
    """
    from matplotlib.figure import Figure

    columns = 3 if narrow else 8
    rows = -(-len(trials) // columns)
    width = figures.NARROW if narrow else 9.6
    figure = Figure(figsize=(width, 0.2 + 1.15 * rows), layout="constrained")
    every = sorted(loss for _, trial in trials for loss in trial.curve if math.isfinite(loss))
    low, high = every[0], every[min(len(every) - 1, int(0.97 * len(every)))]
    margin = 0.08 * (high - low) or 0.1
    for place, (number, trial) in enumerate(trials):
        curve = [loss if math.isfinite(loss) else math.nan for loss in trial.curve]
        axes = figure.add_subplot(rows, columns, place + 1)
        axes.plot(range(1, len(curve) + 1), curve, color=figures.VALIDATION, linewidth=1.3)
        if 0 <= trial.best_epoch < len(curve):
            axes.plot([trial.best_epoch + 1], [curve[trial.best_epoch]], "o",
                      color=figures.INK, markersize=2.8)  # fmt: skip
        axes.set_ylim(low - margin, high + margin)
        axes.set_title(f"{number}", color=figures.INK, fontsize=7.5, pad=2)
        axes.tick_params(colors=figures.INK, labelsize=6, length=2)
        axes.set_xticks([1, max(len(curve), 2)])
        if place % columns:
            axes.set_yticklabels([])
        for side, spine in axes.spines.items():
            spine.set_visible(side in ("left", "bottom"))
            spine.set(color=figures.INK, alpha=0.45, linewidth=0.6)
    return figure


def render_tuning(
    tuning: Tuning,
    *,
    thumb: Mapping[str, int] | None = None,
    base: Mapping[str, Any] | None = None,
) -> str:
    """Return a search as one HTML5 page that loads nothing; equal searches, equal page.

    Args:
        tuning: What it came to.
        thumb: Widths that rules of thumb recommend for the dense layer, where there is one.
        base: The recipe that it began with, by dotted key, resolved; without, it is not shown
            which values went together.
    """
    rounds = _rounds(tuning)
    tested = [attempt for attempt in tuning.attempts if attempt.gains]
    numbered = enumerate(tuning.trials, start=1)
    curved = [(number, trial) for number, trial in numbered if any(map(math.isfinite, trial.curve))]
    return (
        _environment()
        .get_template("tune.html.j2")
        .render(
            name=tuning.folder.rstrip("/").rpartition("/")[2],
            headline=_headline(tuning),
            tuning=tuning,
            rounds=rounds,
            tree=_tree(rounds),
            gains=tune_parameters.both(
                gains_figure, tested, "gains", "What each change gained in each pair"
            ),
            curves=tune_parameters.both(
                curves_figure, curved, "curves", "val_loss of each training"
            ),
            trials=_rows(tuning),
            **tune_parameters.shown(tuning, base or {}),
            thumb=thumb or {},
            learnt=_learnt(tuning),
        )
    )


@functools.cache
def _environment() -> Environment:
    return layout.environment(change=_change, gain="{:+.4f}".format, settable=_settable)


def _change(changes: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} = {value}" for key, value in changes.items())


def _headline(tuning: Tuning) -> str:
    kept = [attempt.name for attempt in tuning.attempts if attempt.verdict == "kept"]
    said = f"Of {len(tuning.attempts)} changes, {len(kept)} could be shown to help"
    said += f": {', '.join(kept)}." if kept else "."
    if tuning.strategy == "optuna":
        said = tune_parameters.headline(tuning)
    if tuning.first is None or tuning.best is None or tuning.best.value is None:
        return said
    if not tuning.changes:
        return f"{said} {tuning.recipe} stays: {tuning.objective} {tuning.first.value:.4f}."
    return (
        f"{said} {tuning.objective} went from {tuning.first.value:.4f} ({tuning.recipe}) to "
        f"{tuning.best.value:.4f} on the validation split."
    )


def _rounds(tuning: Tuning) -> list[dict[str, Any]]:
    """Return what was tried on which base, and what each step took over from the one before."""
    rounds, base = [], tuning.recipe
    for number in sorted({attempt.round for attempt in tuning.attempts}):
        tried = [attempt for attempt in tuning.attempts if attempt.round == number]
        tried.sort(key=lambda attempt: _ORDER[attempt.verdict])
        tested = [attempt for attempt in tried if attempt.gains]
        others = [attempt for attempt in tried if not attempt.gains]
        rounds.append({"base": base, "tested": tested, "looked_at": others})
        base += "".join(f" + {each.name}" for each in tried if each.verdict == "kept")
    return rounds


def _tree(rounds: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return the rounds one within the other: what was kept leads to the next one."""
    if not rounds:
        return None
    first, *later = rounds
    names: dict[str, list[str]] = {"undecided": [], "rejected": []}
    for attempt in first["tested"]:
        if attempt.verdict != "kept":
            names[attempt.verdict].append(attempt.name)
    kept = [attempt for attempt in first["tested"] if attempt.verdict == "kept"]
    return {
        "kept": kept[0] if kept else None,
        "next": _tree(later),
        "others": [(verdict, each) for verdict, each in names.items() if each],
        "looked_at": len(first["looked_at"]),
    }


def _settable(key: str, value: object) -> str:
    """Return a change as a shell takes it."""
    plain = list(value) if isinstance(value, tuple) else value
    text = tomli_w.dumps({"value": plain}).partition("=")[2]
    if isinstance(value, str):  # a bare word is read as one
        text = value
    change = f"{key}={' '.join(text.split())}".replace("[ ", "[").replace(", ]", "]")
    return f"--set {shlex.quote(change)}"


def _rows(tuning: Tuning) -> list[dict[str, Any]]:
    return [
        {
            "number": number,
            "trial": trial,
            "what": _change(trial.spec.changes) or tuning.recipe,
            "kind": "short" if trial.spec.quick else "whole",
            "value": "–" if trial.value is None else f"{trial.value:.4f}",
            "epoch": "–" if trial.best_epoch < 0 else f"{trial.best_epoch + 1}",
        }
        for number, trial in enumerate(tuning.trials, start=1)
    ]


def _learnt(tuning: Tuning) -> list[str]:
    """Return what the search showed, a sentence each."""
    said = tune_parameters.learnt(tuning)
    said += [f"{each.name.capitalize()} helped: {each.sentence}"
             for each in tuning.attempts if each.verdict == "kept"]  # fmt: skip
    said += [f"{each.name.capitalize()}. {each.sentence}" for each in tuning.ablations]
    unsure = [each for each in tuning.attempts if each.verdict == "undecided" and each.needed]
    if unsure:
        nearest = min(unsure, key=lambda each: each.needed)
        said.append(
            f"Nearest to a decision: {nearest.name}, which about {nearest.needed:,} pairs would "
            "decide."
        )
    failed = sum(trial.state == "failed" for trial in tuning.trials)
    if failed:
        said.append(f"{failed} of {len(tuning.trials)} trainings failed; the table says why.")
    return [*said, tuning.ended]


def _label(attempt: Attempt, *, narrow: bool) -> str:
    most = figures.LONGEST_NAME if narrow else 48
    name = attempt.name if len(attempt.name) <= most else f"{attempt.name[: most - 1]}…"
    return name.replace("$", r"\$")
