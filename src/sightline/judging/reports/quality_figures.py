"""The figures of one evaluation beside its confusion matrix: ROC, precision-recall, reliability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sightline.judging.reports.figures import INK, NARROW, one_line, plain_axes
from sightline.records import ReliabilityBin

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which differ for every common kind of colour blindness; black and the
# yellow, which is hardly seen on white, are left out. A second and third round is dashed, dotted.
COLOURS = ("#2f7fc1", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a7fb5")
STYLES = ("-", (0, (4, 2)), (0, (1, 1.2)))
MOST_CURVES = len(COLOURS) * len(STYLES)  # classes; with more, lines cannot be told apart
MOST_COLUMNS = 5  # of a legend
BEFORE, AFTER = "#d55e00", "#2f7fc1"


@dataclass(frozen=True, slots=True)
class ClassCurves:
    """The curves of one class against the rest.

    Attributes:
        name: The class.
        roc: (P,) false positive rates and (P,) true positive rates.
        precision_recall: (Q,) recalls, falling from 1 to 0, and (Q,) precisions.
        share: Of the records that are of the class, 0..1: the precision of calling all so.
    """

    name: str
    roc: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]
    precision_recall: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]
    share: float


def curves_figure(curves: Sequence[ClassCurves], *, stacked: bool = False) -> Figure:
    """Return ROC and precision-recall curves side by side.

    One class: chance is drawn beside it. Several: each in a colour of its own, at most 21 of them.

    Args:
        curves: One or more; of two classes, as a rule the second alone.
        stacked: One panel above the other, for a narrow screen.
    """
    from matplotlib.figure import Figure

    shown = curves[:MOST_CURVES]
    names = len(shown) > 1
    labels = [one_line(each.name) for each in shown]
    width, height = (NARROW, 6.9) if stacked else (9.6, 4.1)
    columns = max(1, int(72 * width / (36 + 7 * max(map(len, labels)))))  # 7 points: a "w"
    columns = min(columns, MOST_COLUMNS)
    below = 0.22 * -(-len(shown) // columns) if names else 0.0
    size = (width, height + below)
    figure = Figure(figsize=size, layout="constrained")
    rows, places = ((2, 1), (1, 2)) if stacked else ((1, 2), (1, 2))
    roc, recall = (figure.add_subplot(*rows, place) for place in places)
    _unit_axes(roc, "ROC", "false positive rate", "true positive rate (recall)")
    _unit_axes(recall, "Precision and recall", "recall", "precision")
    roc.plot([0, 1], [0, 1], color=INK, alpha=0.4, linewidth=0.8, linestyle=(0, (2, 2)))
    lines = []
    for place, each in enumerate(shown):
        style: dict[str, Any] = {
            "color": COLOURS[place % len(COLOURS)],
            "linestyle": STYLES[place // len(COLOURS)],
            "linewidth": 1.7,
        }
        lines += roc.plot(*each.roc, **style)
        recall.plot(*_steps(*each.precision_recall), drawstyle="steps-post", **style)
    if not names:
        share = shown[0].share
        recall.axhline(share, color=INK, alpha=0.4, linewidth=0.8, linestyle=(0, (2, 2)))
    else:
        legend = figure.legend(
            lines, labels, loc="outside lower center",
            ncols=columns, frameon=False, fontsize=8.5, labelcolor=INK,
        )  # fmt: skip
        for text in legend.get_texts():
            text.set_parse_math(False)  # a name may hold a dollar sign
    return figure


def reliability_figure(
    before: Sequence[ReliabilityBin], after: Sequence[ReliabilityBin] = ()
) -> Figure:
    """Return how often records of each confidence were right, and how many there are.

    A point on the diagonal: 80 % sure is right 8 times of 10. Whiskers are 95 % intervals.

    Args:
        before: Of the probabilities as predicted.
        after: Of the same probabilities calibrated; none leaves them out.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(NARROW, 4.5), layout="constrained")
    upper, lower = figure.subplots(2, 1, height_ratios=[4, 1], sharex=True)
    _unit_axes(upper, "Reliability", "", "share that was right")
    upper.set_box_aspect(None)  # as wide as the counts below, whose axis it shares
    upper.tick_params(axis="x", length=0)
    upper.plot([0, 1], [0, 1], color=INK, alpha=0.4, linewidth=0.8, linestyle=(0, (2, 2)))
    shown = [("as predicted", BEFORE, "o", before), ("calibrated", AFTER, "s", after)]
    for label, colour, marker, bins in shown:
        if bins:
            _draw_bins(upper, bins, colour, marker, label)
    lower.bar(
        [each.low for each in before], [each.count for each in before],
        width=[each.high - each.low for each in before], align="edge",
        color=BEFORE, alpha=0.45, edgecolor=INK, linewidth=0.3,
    )  # fmt: skip
    plain_axes(lower, "")
    lower.set_xlabel("confidence: probability of the most probable class", color=INK, fontsize=9)
    lower.set_ylabel("images", color=INK, fontsize=9)
    if after:
        upper.legend(frameon=False, fontsize=8.5, labelcolor=INK, loc="upper left")
    return figure


def _steps(
    recall: npt.NDArray[np.float64], precision: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the curve from recall 1 to 0, each precision held down to the next lower recall.

    That is the area which average precision measures. Before the first hit there is no recall to
    be precise at, so what stands at 0 is left out.
    """
    found = recall > 0
    return np.r_[recall[found], 0.0], np.r_[precision[found], precision[found][-1:]]


def _draw_bins(
    axes: Axes, bins: Sequence[ReliabilityBin], colour: str, marker: str, label: str
) -> None:
    shares = np.asarray([each.share.value for each in bins])
    edges = np.asarray([[each.share.low, each.share.high] for each in bins], np.float64).T
    axes.errorbar(
        [each.confidence for each in bins], shares,
        yerr=np.abs(edges - shares), color=colour, marker=marker, markersize=4.2,
        linewidth=1.2, elinewidth=0.8, capsize=0, label=label,
    )  # fmt: skip


def _unit_axes(axes: Axes, title: str, x: str, y: str) -> None:
    """Prepare a panel whose two sides run from 0 to 1."""
    plain_axes(axes, title)
    axes.set_xlabel(x, color=INK, fontsize=9)
    axes.set_ylabel(y, color=INK, fontsize=9)
    axes.set(xlim=(-0.015, 1.015), ylim=(-0.015, 1.015))
    axes.set_box_aspect(1)
