"""The page of a range test of the learning rate: the curve, the suggestion, the comparison."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from jinja2 import Environment
from markupsafe import Markup

from sightline.judging.reports import figures, layout
from sightline.records.rates import RateCurve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_HIGHEST = 1.6  # times the beginning: what lies above it, where it explodes, is cut off
# Okabe and Ito's, dark enough for a line on white; style and marker do without colour.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#a0528a")
_STYLES, _MARKERS = ("-", "--"), "os^DvPX*"


def rates_figure(curve: RateCurve, *, narrow: bool = False) -> Figure:
    """Return the objective over the rate, of each step and smoothed, with the rules' rates marked.

    What lies far above the beginning is cut off.

    Args:
        curve: Any.
        narrow: For a narrow screen.
    """
    figure, axes = _panel("learning rate", "objective", narrow=narrow)
    rate, smoothed = curve.table["rate"].to_numpy(), curve.table["smoothed"].to_numpy()
    objective = curve.table["objective"].to_numpy()
    axes.set_xscale("log")
    axes.plot(rate, objective, "o", color=figures.INK, alpha=0.35, markersize=2.6, label="a step")
    axes.plot(rate, smoothed, color=figures.TRAINING, linewidth=2.2, label="smoothed")
    together = np.concatenate([objective, smoothed])
    _limit(axes, together[together <= max(_HIGHEST * smoothed[0], objective[0])])
    if curve.steepest is not None and curve.lowest is not None:
        marked = {
            "steepest": curve.steepest,
            "a tenth of the lowest": curve.lowest / 10,
            "lowest": curve.lowest,
        }
        # Words stand on the left of their line: those further left end below them.
        for place, (name, at) in enumerate(sorted(marked.items(), key=lambda each: each[1])):
            _mark(axes, f"{name}: {at:.2g}", at, 0.84 + 0.08 * place)
    _legend(figure, axes)
    return figure


def comparison_figure(curve: RateCurve, *, narrow: bool = False) -> Figure:
    """Return the val_loss of the short trainings over their steps, one line a rate.

    Args:
        curve: With a comparison.
        narrow: For a narrow screen.
    """
    from matplotlib.ticker import MaxNLocator

    figure, axes = _panel("step", "val_loss", narrow=narrow)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))  # there is no half of a step
    for place, rate in enumerate(curve.reached):
        rows = curve.comparison.filter(curve.comparison["rate"] == rate)
        axes.plot(
            rows["step"].to_numpy(),
            rows["val_loss"].to_numpy(),
            color=_COLOURS[place % len(_COLOURS)],
            linestyle=_STYLES[place // len(_COLOURS) % len(_STYLES)],
            marker=_MARKERS[place % len(_MARKERS)],
            markersize=5,
            linewidth=1.9,
            label=f"{rate:g}, diverged" if rate in curve.diverged else f"{rate:g}",
        )
    losses = curve.comparison["val_loss"].to_numpy()
    finite = losses[np.isfinite(losses)]
    _limit(axes, finite[finite <= 2 * losses[0]] if np.isfinite(losses[0]) else finite)
    _legend(figure, axes)
    return figure


def render_rates(curve: RateCurve) -> str:
    """Return the test as one HTML5 page that loads nothing; equal curves, equal page."""
    compared = curve.reached
    drawings = {"curves": (rates_figure, f"Objective over the learning rate. {curve.ended}")}
    if compared:
        drawings["comparison"] = (comparison_figure, "val_loss over the steps of each rate")
    return (
        _environment()
        .get_template("rates.html.j2")
        .render(
            name=curve.recipe,
            headline=_headline(curve),
            curve=curve,
            facts=_facts(curve.about),
            figures={
                name: {
                    width: Markup(
                        figures.svg(
                            draw(curve, narrow=width == "narrow"),
                            prefix=f"{name}-{width}",
                            label=label,
                        )
                    )
                    for width in ("wide", "narrow")
                }
                for name, (draw, label) in drawings.items()
            },
            compared=_compared(curve),
        )
    )


@functools.cache
def _environment() -> Environment:
    return layout.environment(rate="{:.2g}".format)


def _headline(curve: RateCurve) -> str:
    if curve.suggestion is None:
        return (
            "The objective never fell clearly, at no learning rate, so there is none to suggest. "
            "Try more steps or larger batches, or look at the images and their labels."
        )
    best = curve.best
    told = "" if best is None else f" Of the rates compared, {best:g} came to the lowest val_loss."
    return f"Suggested learning rate: {curve.suggestion:g}.{told}"


def _facts(about: Mapping[str, Any]) -> list[tuple[str, str]]:
    accumulated = f", gradients of {about['accumulate']} together" * (about["accumulate"] > 1)
    facts = [
        ("Images", str(about["images"])),
        ("Train", f"{about['num_train']:,}"),
        ("Validation", f"{about['num_validation']:,}"),
        ("Network", str(about["network"])),
        ("Optimizer", str(about["optimizer"])),
        ("Batch", f"{about['batch_size']} images{accumulated}"),
        ("Steps an epoch", f"{about['steps_an_epoch']:,}"),
        ("Precision", f"{about['precision']}, {about['backend']}"),
        ("Seed", str(about["seed"])),
    ]
    if about["only_the_head"]:
        facts.append(("What learns", "the new head alone, as in the first epochs"))
    return facts


def _compared(curve: RateCurve) -> dict[str, Any] | None:
    """Return the table of the comparison: columns of steps, a row of texts for each rate."""
    if not curve.reached:
        return None
    steps = sorted(set(curve.comparison["step"]))
    rows = []
    for rate in curve.reached:
        mine = curve.comparison.filter(curve.comparison["rate"] == rate)
        losses = dict(mine.select("step", "val_loss").iter_rows())
        rows.append(
            {
                "rate": f"{rate:g}",
                "cells": [_loss(losses.get(step)) for step in steps],
                "best": rate == curve.best,
                "diverged": curve.diverged.get(rate),
            }
        )
    return {"steps": steps, "rows": rows}


def _loss(value: float | None) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{value:.4f}"


def _panel(across: str, up: str, *, narrow: bool) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.3, 3.6) if narrow else (9.6, 4.3), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(across, color=figures.INK, fontsize=9)
    axes.set_ylabel(up, color=figures.INK, fontsize=9)
    axes.tick_params(which="both", colors=figures.INK, labelsize=8)
    axes.grid(axis="y", color=figures.INK, alpha=0.13, linewidth=0.7)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set(color=figures.INK, alpha=0.45, linewidth=0.7)
    return figure, axes


def _limit(axes: Axes, values: np.ndarray[Any, np.dtype[np.float64]]) -> None:
    """Let the axis hold these values and no more."""
    if len(values):
        low, high = float(values.min()), float(values.max())
        margin = 0.06 * (high - low) or 0.1
        axes.set_ylim(low - margin, high + margin)


def _mark(axes: Axes, words: str, rate: float, height: float) -> None:
    """Draw a line at a rate up to a height of its own, 0..1, and its words there."""
    dashed = (0, (2, 2))
    axes.axvline(rate, 0, height, color=figures.INK, alpha=0.55, linewidth=1, linestyle=dashed)
    axes.annotate(
        words,
        (rate, height),
        xycoords=("data", "axes fraction"),
        xytext=(-4, -2),
        textcoords="offset points",
        ha="right",
        va="top",
        fontsize=8,
        color=figures.INK,
    )


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=8.5,
        labelcolor=figures.INK, columnspacing=1.8,
    )  # fmt: skip
