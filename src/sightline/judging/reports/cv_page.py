"""The page of a cross-validation: every figure over the folds, and the way to each fold's own."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from sightline.judging.reports import figures, layout
from sightline.records import CrossValidation, Interval, Spread, edges_of, rounded

_OF_A_CLASS = ("precision", "recall", "specificity", "f1", "roc_auc", "average_precision")
_DRAWN = ("accuracy", "balanced_accuracy", "macro_f1", "roc_auc", "average_precision", "mcc")
_MOST_COLUMNS = 12  # folds whose figures stand beside the mean; of more, the table is too wide


def render_cross_validation(result: CrossValidation) -> str:
    """Return a cross-validation as one HTML5 page that loads nothing; equal ones, equal page."""
    names = [fold.name for fold in result.finished]
    return (
        _environment()
        .get_template("cv.html.j2")
        .render(
            name=result.folder.rstrip("/").rpartition("/")[2],
            headline=_headline(result),
            result=result,
            names=names if len(names) <= _MOST_COLUMNS else [],
            metrics=_rows(result.metrics),
            classes={
                label: _rows({name: found[name] for name in _OF_A_CLASS if name in found})
                for label, found in result.classes.items()
            },
            drawing=_drawing(result.metrics),
            chosen=any(fold.num_validation for fold in result.finished),
        )
    )


def spread_figure(metrics: Mapping[str, Spread], *, narrow: bool = False) -> Any:
    """Return each fold's figures as points, with the mean and its interval.

    Args:
        metrics: Of those that go from 0, or -1, to 1; one or more.
        narrow: For a narrow screen.
    """
    from matplotlib.figure import Figure

    width = figures.NARROW if narrow else 9.6
    figure = Figure(figsize=(width, 0.7 + 0.42 * len(metrics)), layout="constrained")
    axes = figure.add_subplot()
    for place, spread in enumerate(metrics.values()):
        known = [value for value in spread.values if value is not None]
        edges = spread.interval
        if edges is not None and edges.low is not None and edges.high is not None:
            axes.plot([edges.low, edges.high], [place, place], color=figures.INK, alpha=0.35,
                      linewidth=6, solid_capstyle="butt")  # fmt: skip
        axes.plot(known, [place] * len(known), "o", color=figures.VALIDATION, alpha=0.8,
                  markersize=4.5)  # fmt: skip
        mean = [value for value in (spread.mean,) if value is not None]
        axes.plot(mean, [place] * len(mean), "|", color=figures.INK, markersize=15,
                  markeredgewidth=2)  # fmt: skip
    axes.set_yticks(range(len(metrics)), [name.replace("_", " ") for name in metrics])
    axes.set_ylim(len(metrics) - 0.4, -0.6)
    axes.tick_params(colors=figures.INK, labelsize=8)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set(color=figures.INK, alpha=0.45, linewidth=0.7)
    return figure


def _drawing(metrics: Mapping[str, Spread]) -> dict[str, Markup] | None:
    drawn = {
        name: metrics[name] for name in _DRAWN if name in metrics and metrics[name].mean is not None
    }
    if not drawn:
        return None
    return {
        width: Markup(
            figures.svg(
                spread_figure(drawn, narrow=width == "narrow"), prefix=f"spread-{width}",
                label="Each fold's figures, their mean and its interval",
            )
        )
        for width in ("wide", "narrow")
    }  # fmt: skip


@functools.cache
def _environment() -> Environment:
    return layout.environment()


def _headline(result: CrossValidation) -> str:
    said = []
    for name in ("accuracy", "roc_auc"):
        spread = result.metrics.get(name)
        if spread is None or spread.mean is None:
            continue
        told = f"{name.replace('_', ' ')} {rounded(spread.mean)}"
        if spread.interval is not None and spread.interval.low is not None:
            told += f" (95 % interval {edges_of(spread.interval)})"
        said.append(told)
    mean = f"Mean over {layout.counted(len(result.finished), 'fold')}: {', '.join(said)}."
    if not result.failed:
        return mean
    failed = layout.counted(len(result.failed), "fold")
    return f"{mean} {failed} failed, and no figure knows their images."


def _rows(metrics: Mapping[str, Spread]) -> list[dict[str, Any]]:
    return [
        {
            "name": name.replace("_", " "),
            "mean": rounded(spread.mean),
            "lacking": spread.lacking,
            "deviation": rounded(spread.deviation),
            "interval": _edges(spread.interval),
            "pooled": rounded(spread.pooled.value if spread.pooled else None),
            "pooled_interval": _edges(spread.pooled),
            "values": [rounded(value) for value in spread.values],
        }
        for name, spread in metrics.items()
    ]


def _edges(interval: Interval | None) -> str:
    return edges_of(interval) if interval is not None else "–"
