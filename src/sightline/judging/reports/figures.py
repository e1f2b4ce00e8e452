"""The figures of a run, as matplotlib Figures made without pyplot, and their two encodings.

Ink is drawn in one dark colour, on white in a PNG. `svg` leaves the background transparent and
turns that colour into `currentColor`, so that a figure inside a page takes the page's ink, light
or dark. Blue and vermilion (Okabe and Ito) differ for every common kind of colour blindness.
"""

from __future__ import annotations

import hashlib
import html
import io
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sightline.records import Evaluation, History, rounded

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#1b2733"
TRAINING, VALIDATION, OPTIMISED = "#2f7fc1", "#d55e00", "#8a7fb5"
_CURVES = {  # colour and line style, in the order of the legend
    "training": (TRAINING, "-"),
    "validation": (VALIDATION, "-"),
    "optimised (objective)": (OPTIMISED, "--"),
}
MARK = "#7a4fa3"  # what a diagnosis marks
MARK_HIGH, MARK_WIDE = 15, 0.1  # of its circle: points, and the share of a panel's width
RIGHT, WRONG = "#134b8a", "#c75200"  # the diagonal of a confusion matrix, and the rest

LARGEST_SIDE = 9.4  # inches of a confusion matrix with its names
FAINTEST = 0.12  # how strong the colour of a cell is that is not empty
MOST_COUNTED = 20  # classes up to which every cell of a confusion matrix shows its count
MOST_WITH_SHARES = 12  # classes up to which it shows the share of the true class as well
MOST_NAMED = 60  # classes up to which every row and column is named
MOST_MARKED = 20  # epochs up to which every epoch has a marker
NARROW = 3.75  # inches wide is a figure for a phone, so that its print is no smaller than there
MOST_METRICS = 3  # panels beside the loss; the page's table has every column
LONGEST_TITLE = 34  # characters of a metric's name
LONGEST_NAME = 22  # characters of a class name in a figure; the page's tables show all of it

_NO_METRICS = ("val_loss", "val_faults")
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>")  # matplotlib escapes < and > in all that is written


def history_figure(
    history: History, *, stacked: bool = False, marks: Mapping[int, Sequence[int]] | None = None
) -> Figure:
    """Return the curves of a training: the loss and up to three metrics, the best epoch marked.

    Epochs count from 1 on the axis. `objective` is drawn thin and dashed where it differs from
    `loss`. A column that is missing is left out; NaN, infinity and null leave a gap.

    Args:
        history: Any number of epochs, also none.
        stacked: One panel above the other, for a narrow screen.
        marks: 0-based epoch to the numbers that are written above it in the panel of the loss.
    """
    from matplotlib.figure import Figure

    metrics = metric_names(history)
    count = 1 + len(metrics)
    columns = 1 if stacked else {4: 2}.get(count, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(NARROW, 0.5 + 2.4 * rows) if stacked else (9.6, 0.5 + 3.2 * rows))
    figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.08)
    panels = [figure.add_subplot(rows, columns, position + 1) for position in range(count)]
    deep = _write_marks(panels[0], marks or {}, len(history))
    _draw_curves(panels[0], history, "loss", "loss (cross-entropy)", deep=deep)
    for panel, metric in zip(panels[1:], metrics, strict=True):
        _draw_curves(panel, history, metric, one_line(metric.replace("_", " "), LONGEST_TITLE))
    curves = {str(line.get_label()): line for panel in panels for line in panel.lines[::-1]}
    figure.legend(
        handles=[curves[name] for name in _CURVES if name in curves], loc="outside lower center",
        ncols=2 if stacked else len(_CURVES), frameon=False, fontsize=8.5, labelcolor=INK,
        columnspacing=1.8,
    )  # fmt: skip
    return figure


def metric_names(history: History) -> list[str]:
    """Return the metrics that are drawn: those validated on, the one that chose the best first."""
    names = [
        column.removeprefix("val_")
        for column in history.table.columns
        if column.startswith("val_") and column not in _NO_METRICS
    ]
    names.sort(key=lambda name: f"val_{name}" != history.monitor)
    return names[:MOST_METRICS] or ["accuracy"]


def confusion_figure(evaluation: Evaluation) -> Figure:
    """Return the confusion matrix: counts, on colour that shows the share of the true class.

    Rows are true classes, columns predicted ones. Blue is right, vermilion wrong; the colour
    grows with the square root of the share, so that rare mistakes are seen. Up to 12 classes the
    share of the true class stands below its count. Counts are left out above 20 classes, every
    name but some above 60.
    """
    from matplotlib.figure import Figure

    counts = evaluation.confusion
    size = len(counts)
    side = _side(size)
    figure = Figure(figsize=(side + 0.5, side), layout="constrained")
    axes = figure.add_subplot()
    strength = np.sqrt(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))
    strength[counts > 0] = FAINTEST + (1 - FAINTEST) * strength[counts > 0]
    axes.imshow(_cell_colours(strength), interpolation="none", aspect="equal")
    if size <= MOST_COUNTED:
        for row, column in zip(*np.nonzero(counts), strict=True):
            _write_count(axes, int(row), int(column), counts, strength)
    _name_classes(axes, evaluation.class_names)
    axes.set_xlabel("predicted", color=INK, fontsize=9)
    axes.set_ylabel("true", color=INK, fontsize=9)
    if size <= MOST_NAMED:
        edges = np.arange(size + 1) - 0.5
        axes.set_xticks(edges, minor=True)
        axes.set_yticks(edges, minor=True)
        axes.grid(which="minor", color=INK, alpha=0.14, linewidth=0.6)
    axes.tick_params(which="both", length=0)
    for spine in axes.spines.values():
        spine.set(color=INK, alpha=0.3, linewidth=0.6)
    return figure


def svg(figure: Figure, *, prefix: str = "", label: str = "") -> str:
    """Return the figure as one `<svg>` element, to stand inside an HTML page (no namespaces).

    The same figure gives the same text: no date, no random ids. Ids that nothing refers to are
    dropped, the others begin with `prefix`, by default a hash of the drawing; pages that show
    one drawing twice give each its own. Text stays text, in the font of the page. `label` is
    what a screen reader says instead of the drawing.
    """
    import matplotlib as mpl

    file = io.StringIO()
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    with mpl.rc_context({"svg.hashsalt": "sightline", "svg.fonttype": "none"}), any_script():
        figure.savefig(file, format="svg", transparent=True, metadata=nothing)
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(
        r"<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>", "", text, flags=re.DOTALL
    )
    prefix = prefix or "f" + hashlib.sha256(text.encode()).hexdigest()[:8]
    text = re.sub(r"\s*\n\s*", "\n", _slim(text, prefix)).strip()
    return text.replace("<svg", f'<svg aria-label="{html.escape(label)}"', 1) if label else text


def png(figure: Figure, dpi: int = 144) -> bytes:
    """Return the figure as a PNG on white, at `dpi` pixels an inch."""
    file = io.BytesIO()
    with any_script():
        figure.savefig(file, format="png", dpi=dpi, facecolor="white", metadata={"Software": None})
    return file.getvalue()


def _objective_differs(history: History) -> bool:
    """Return whether what was optimised is another number than the plain loss."""
    if "objective" not in history:
        return False
    if "loss" not in history:
        return True
    objective, loss = _values(history, "objective"), _values(history, "loss")
    return not np.allclose(objective, loss, rtol=1e-3, atol=1e-6, equal_nan=True)


def _values(history: History, column: str) -> npt.NDArray[np.float64]:
    """Return (epochs,) float64; NaN where the value is null or not finite."""
    values = np.array(history[column].cast(float, strict=False).to_numpy(), np.float64)
    values[~np.isfinite(values)] = np.nan
    return values


def _draw_curves(axes: Axes, history: History, measure: str, title: str, *, deep: int = 0) -> None:
    """Draw the panel of one measure: training, validation and, of the loss, what was optimised.

    `deep` rows of numbers stand above already.
    """
    from matplotlib.ticker import MaxNLocator

    plain_axes(axes, title)
    columns = dict(zip(_CURVES, (measure, f"val_{measure}", "objective"), strict=True))
    if measure != "loss" or not _objective_differs(history):
        del columns["optimised (objective)"]
    shown = {label: column for label, column in columns.items() if column in history}
    for label, column in shown.items():
        colour, style = _CURVES[label]
        dashed = style == "--"
        values = _values(history, column)
        axes.plot(
            np.arange(1, len(history) + 1),
            values,
            color=colour,
            linestyle=style,
            linewidth=1.1 if dashed else 1.9,
            marker=None if dashed or len(history) > MOST_MARKED else "os"[label == "validation"],
            markersize=3.4,
            label=label,
        )
    axes.set_xlim(0.5, max(len(history), 1) + 0.5)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
    if not shown:
        message = f"no {title} was recorded" if len(history) else "no epoch has finished yet"
        axes.text(0.5, 0.5, message, transform=axes.transAxes, ha="center", color=INK, alpha=0.7)
        axes.set_yticks([])
        return
    _mark_best(axes, history, high=measure == "loss", deep=deep)


def plain_axes(axes: Axes, title: str) -> None:
    """Prepare a panel over the epochs, or over what its caller names instead."""
    axes.set_title(title, loc="left", color=INK, fontsize=10, fontweight="bold", parse_math=False)
    axes.set_xlabel("epoch", color=INK, fontsize=9)
    axes.tick_params(colors=INK, labelsize=8, length=3)
    axes.grid(axis="y", color=INK, alpha=0.13, linewidth=0.7)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set(color=INK, alpha=0.45, linewidth=0.7)


def _mark_best(axes: Axes, history: History, *, high: bool, deep: int) -> None:
    """Draw the line of the best epoch, its words where curves seldom run, below any numbers."""
    if history.best_epoch is None or history.best_epoch >= len(history):
        return
    epoch = history.best_epoch + 1
    axes.axvline(epoch, color=INK, alpha=0.55, linewidth=1, linestyle=(0, (2, 2)))
    to_the_left = epoch > (len(history) + 1) / 2
    axes.annotate(
        f"best: epoch {epoch}",
        (epoch, 1.0 if high else 0.0),
        xycoords=("data", "axes fraction"),
        xytext=(-4 if to_the_left else 4, -4 - MARK_HIGH * deep if high else 4),
        textcoords="offset points",
        ha="right" if to_the_left else "left",
        va="top" if high else "bottom",
        fontsize=8,
        color=INK,
    )


def _write_marks(axes: Axes, marks: Mapping[int, Sequence[int]], epochs: int) -> int:
    """Write numbers in a circle at the top of their epochs; return how many rows they take.

    A number goes into the highest row where it covers no other.
    """
    ends: list[float] = []  # of each row: where its last circle ends, in epochs
    width = MARK_WIDE * max(epochs, 1)
    for epoch, numbers in sorted(marks.items()):
        axes.axvline(epoch + 1, color=MARK, alpha=0.5, linewidth=0.9)
        for number in numbers:
            free = [row for row, end in enumerate(ends) if end <= epoch]
            row = free[0] if free else len(ends)
            ends[row : row + 1] = [epoch + width]
            axes.annotate(
                str(number), (epoch + 1, 1.0), xycoords=("data", "axes fraction"),
                xytext=(0, -7 - MARK_HIGH * row), textcoords="offset points", ha="center",
                va="center", fontsize=7.5, fontweight="bold", color="#ffffff",
                bbox={"boxstyle": "circle,pad=0.25", "facecolor": MARK, "edgecolor": "none"},
            )  # fmt: skip
    return len(ends)


def _side(size: int) -> float:
    """Return the height of a confusion matrix of `size` classes, in inches."""
    return float(np.clip(1.5 + 0.42 * size, 3.3, LARGEST_SIDE))


def _cell_colours(strength: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return (K, K, 4) RGBA in 0..1 of `strength`, (K, K) in 0..1: hue by right or wrong."""
    from matplotlib.colors import to_rgb

    colours = np.empty((*strength.shape, 4))
    colours[..., :3] = to_rgb(WRONG)
    diagonal = np.arange(len(strength))
    colours[diagonal, diagonal, :3] = to_rgb(RIGHT)
    colours[..., 3] = strength
    return colours


def _write_count(
    axes: Axes,
    row: int,
    column: int,
    counts: npt.NDArray[np.int64],
    strength: npt.NDArray[np.float64],
) -> None:
    """Write the count of a cell, and below it the share of the true class where there is room."""
    size, count = len(counts), int(counts[row, column])
    cell = max(30.0, 150.0 / size)  # points wide, about
    largest = 12.0 if size <= 3 else 10.0 if size <= MOST_WITH_SHARES else 8.5
    fontsize = min(largest, 1.15 * cell / len(f"{count:,}"))
    style: dict[str, Any] = {
        "ha": "center",
        "color": "#ffffff" if strength[row, column] > 0.68 else INK,
    }
    weight = "bold" if row == column else "normal"
    if size > MOST_WITH_SHARES:
        axes.text(column, row, f"{count:,}", va="center", fontsize=fontsize, fontweight=weight,
                  **style)  # fmt: skip
        return
    axes.text(column, row - 0.02, f"{count:,}", va="bottom", fontsize=fontsize, fontweight=weight,
              **style)  # fmt: skip
    share = rounded(count / int(counts[row].sum()), 0, percent=True)
    axes.text(column, row + 0.05, share, va="top", fontsize=0.84 * fontsize, alpha=0.9, **style)


def _name_classes(axes: Axes, class_names: tuple[str, ...]) -> None:
    """Write the class names beside rows and columns; every n-th where there are too many."""
    step = -(-len(class_names) // MOST_NAMED)
    places = list(range(0, len(class_names), step))
    names = [one_line(class_names[place]) for place in places]
    style: dict[str, Any] = {"color": INK, "parse_math": False}
    style["fontsize"] = 8.5 if len(names) <= MOST_COUNTED else 7.0
    axes.set_yticks(places, names, **style)
    cell = 72 * (_side(len(class_names)) - 1.2) / max(len(names), 1)  # points wide, about
    if max(map(len, names), default=0) * 5.8 > cell:
        style |= {"rotation": 90 if len(names) > MOST_COUNTED else 40, "ha": "right"}
        style |= {"rotation_mode": "anchor", "va": "center" if len(names) > MOST_COUNTED else "top"}
    axes.set_xticks(places, names, **style)


def one_line(name: str, most: int = LONGEST_NAME) -> str:
    """Return a name on one line, without control characters, of at most so many characters."""
    plain = " ".join(_UNPRINTABLE.sub(" ", name).split()) or "(blank)"
    return plain if len(plain) <= most else plain[: most - 1] + "…"


@contextmanager
def any_script() -> Iterator[None]:
    """Draw a glyph that the font lacks as a box, without a warning."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support")
        yield


def _slim(drawing: str, prefix: str) -> str:
    """Return an SVG without bare groups, unused ids, font lists and needless decimals."""
    used = set(re.findall(r'(?:url\(|href=")#([^)"]+)', drawing))
    bare: list[bool] = []  # of the groups that are open: whether their tags are left out

    def slim(match: re.Match[str]) -> str:
        tag = match.group()
        if tag == "</g>":
            return "" if bare.pop() else tag
        tag = _slim_tag(tag, prefix, used)
        if tag == "<g/>":
            return ""
        if tag.startswith("<g") and not tag.endswith("/>"):
            bare.append(tag == "<g>")
            return "" if bare[-1] else tag
        return tag

    return _TAG.sub(slim, drawing)


def _slim_tag(tag: str, prefix: str, used: set[str]) -> str:
    if tag.startswith("<svg"):
        tag = re.sub(r' (?:width|height|version|xmlns(?::xlink)?)="[^"]*"', "", tag)
        tag = tag.replace("<svg", '<svg role="img" style="stroke-linejoin: round"', 1)

    def own_id(match: re.Match[str]) -> str:
        return f' id="{prefix}-{match[1]}"' if match[1] in used else ""

    tag = re.sub(r' id="([^"]*)"', own_id, tag)
    tag = re.sub(r'(url\(|href=")#', rf"\g<1>#{prefix}-", tag)
    tag = re.sub(r"font-family: [^;\"]*; ?", "", tag)
    tag = re.sub(r"(font: [^;']*?[\d.]+px) [^;\"]*", r"\1 sans-serif", tag)
    tag = re.sub(r' transform="rotate\(-?0 [^"]*"', "", tag)
    if not tag.startswith("<image"):
        tag = re.sub(r"(\d\.\d\d)\d+", r"\1", tag)
    return tag.replace(INK, "currentColor")
