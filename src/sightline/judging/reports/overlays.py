"""Pictures of where a network looks: the legend below an overlay, grids, and average maps.

They come as pixels, at the size that is asked for, so that a picture keeps its own beside them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sightline.judging.reports.figures import INK, any_script, one_line
from sightline.records import METHOD_NAMES, Attention, AverageMap

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Pixels = npt.NDArray[np.uint8]

_NARROWEST = 360  # px of a legend: less cannot be read
_DPI = 100
_GROWTH = 0.6  # of a legend's print with the width of the picture
_HEADLINE, _LINE, _BAR, _MARGIN = 22, 15, 27, 7  # px of a legend of the least width
_PRINT = 0.74  # of a line's height
_BOLD, _PLAIN = 0.68, 0.58  # how wide a letter is for its height, on average
_GAP = 2  # px between the maps of a grid
_WIDE_GRID = 8  # maps side by side
_CELL = 96  # px, about, of a map in a grid
_MOST_CLASSES = 7  # average maps beside that of all images


@dataclass(frozen=True, slots=True)
class Legend:
    """What stands below an overlay.

    Attributes:
        headline: The class and its probability.
        lines: Method, layer, file; in smaller print.
        colours: (256, 3) uint8 of the values 0..1; None for no colour bar.
    """

    headline: str
    lines: tuple[str, ...]
    colours: Pixels | None = None


def with_legend(picture: Pixels, legend: Legend) -> Pixels:
    """Return a picture, its pixels unchanged, on top of its legend; (H', W', 3) uint8.

    A picture narrower than the legend stands in the middle of white.

    Args:
        picture: (H, W, 3) uint8.
        legend: Class names and file names may hold anything.
    """
    height, width = picture.shape[:2]
    below = _drawn(legend, max(width, _NARROWEST))
    result = np.full((height + len(below), below.shape[1], 3), 255, np.uint8)
    left = (below.shape[1] - width) // 2
    result[:height, left : left + width] = picture
    result[height:] = below
    return result


def enlarged_whole(picture: Pixels, least: int) -> Pixels:
    """Return a picture with each pixel as a square of several, until its longer side is `least`."""
    times = max(1, -(-least // max(picture.shape[:2])))
    return np.repeat(np.repeat(picture, times, axis=0), times, axis=1)


def grid(maps: npt.NDArray[np.float32]) -> Pixels:
    """Return (N, h, w, 1 or 3) maps in 0..1 side by side, eight in a row; (H, W, 3) uint8."""
    count, height, width = maps.shape[:3]
    times = max(1, round(_CELL / max(height, width)))
    cell = np.array([height, width]) * times + _GAP
    rows, columns = -(-count // _WIDE_GRID), min(count, _WIDE_GRID)
    sheet = np.full((rows * cell[0] + _GAP, columns * cell[1] + _GAP, 3), 255, np.uint8)
    shades = np.rint(255 * np.clip(maps, 0, 1)).astype(np.uint8)
    for number, shade in enumerate(shades):
        top, left = np.array(divmod(number, _WIDE_GRID)) * cell + _GAP
        large = np.repeat(np.repeat(shade, times, axis=0), times, axis=1)
        sheet[top : top + height * times, left : left + width * times] = large
    return sheet


def attention_picture(attention: Attention, colours: Pixels) -> Figure:
    """Return the average maps of a split, of all images and of each class, with the outer ring.

    Args:
        attention: Up to seven classes are shown, those of most images.
        colours: (256, 3) uint8 of the values 0..1.
    """
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure

    several = len(attention.classes) > 1
    classes = sorted(attention.classes, key=lambda part: -part.count)[:_MOST_CLASSES]
    parts = [attention.whole, *(classes if several else [])]
    columns = min(4, len(parts))
    rows = -(-len(parts) // columns)
    shape = attention.whole.average.shape
    high = 2.3 * min(2.0, shape[0] / shape[1])
    figure = Figure(figsize=(max(4.2, 2.5 * columns), rows * (high + 0.75) + 0.75))
    figure.set_layout_engine("constrained", w_pad=0.06, h_pad=0.06)
    palette = ListedColormap(colours / 255)
    image = None
    for number, part in enumerate(parts):
        axes = figure.add_subplot(rows, columns, number + 1)
        image = axes.imshow(part.average, cmap=palette, vmin=0, vmax=1, interpolation="bilinear")
        _draw_ring(axes, shape, attention.ring)
        name = one_line(part.class_name) if part.class_name else "all images"
        axes.set_title(
            f"{name}\n{_on_border(part)}", fontsize=8.5, color=INK, parse_math=False, loc="left"
        )
        axes.set_axis_off()
    assert image is not None, "there is at least the map of all images"
    bar = figure.colorbar(image, ax=figure.axes, location="bottom", shrink=0.5, aspect=40)
    bar.set_ticks([0, 1], labels=["least", "most attention"], fontsize=8, color=INK)
    layer = f", layer {one_line(attention.layer)}" if attention.layer else ""
    figure.suptitle(
        f"Average {METHOD_NAMES[attention.method]} map, {attention.split} split{layer}\n"
        f"Spread evenly, {attention.expected:.0%} would be outside the frame.",
        fontsize=9, color=INK, parse_math=False,
    )  # fmt: skip
    return figure


def pixels_of(figure: Figure, dpi: int = _DPI) -> Pixels:
    """Return a figure on white as (H, W, 3) uint8."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure.set_dpi(dpi)
    figure.set_facecolor("white")
    canvas: Any = FigureCanvasAgg(figure)
    with any_script():
        canvas.draw()
    return np.array(np.asarray(canvas.buffer_rgba())[..., :3])


def _drawn(legend: Legend, width: int) -> Pixels:
    """Return the legend, `width` pixels wide; its print grows slower than a picture."""
    from matplotlib.figure import Figure

    scale = (width / _NARROWEST) ** _GROWTH
    sizes = [_HEADLINE, *[_LINE] * len(legend.lines)]
    bar = 0 if legend.colours is None else _BAR
    height = round(scale * (sum(sizes) + bar + 2 * _MARGIN))
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)
    margin = _MARGIN * scale / width
    style: dict[str, Any] = {"color": INK, "parse_math": False, "va": "center"}
    top = _MARGIN * scale
    for number, (text, size) in enumerate(
        zip((legend.headline, *legend.lines), sizes, strict=True)
    ):
        letter = _PRINT * scale * size  # px
        most = (1 - 2 * margin) * width / ((_PLAIN if number else _BOLD) * letter)
        figure.text(
            margin, 1 - (top + scale * size / 2) / height, _fitting(text, most),
            fontsize=letter * 72 / _DPI, fontweight="normal" if number else "bold", **style,
        )  # fmt: skip
        top += scale * size
    if legend.colours is not None:
        axes = figure.add_axes(
            (
                margin,
                1 - (top + 0.55 * scale * bar) / height,
                1 - 2 * margin,
                0.4 * scale * bar / height,
            )
        )
        axes.imshow(legend.colours[None], aspect="auto", interpolation="nearest")
        axes.set_axis_off()
        for place, side, text in (
            (margin, "left", "0  nothing speaks for it"),
            (1 - margin, "right", "most  1"),
        ):
            figure.text(
                place, 1 - (top + 0.8 * scale * bar) / height, text, ha=side,
                fontsize=0.33 * scale * bar * 72 / _DPI, **style,
            )  # fmt: skip
    return pixels_of(figure)[:height, :width]


def _fitting(text: str, letters: float) -> str:
    """Return a text on one line, its middle left out where it is too long."""
    plain, most = one_line(text, 10_000), max(8, int(letters))
    if len(plain) <= most:
        return plain
    tail = most // 2
    return f"{plain[: most - tail - 1]}…{plain[-tail:]}"


def _on_border(part: AverageMap) -> str:
    border = part.border
    if not part.count:
        return "no map"
    sure = "" if border.low is None else f" ({border.low:.0%} to {border.high:.0%})"
    return f"{part.count:,} images, {border.value:.0%}{sure} outside"


def _draw_ring(axes: Axes, shape: tuple[int, ...], ring: float) -> None:
    from matplotlib.patches import Rectangle

    height, width = shape
    down, across = max(1, round(ring * height)), max(1, round(ring * width))
    corner = (across - 0.5, down - 0.5)
    frame = Rectangle(
        corner, width - 2 * across, height - 2 * down, fill=False, edgecolor="white", linewidth=1,
        linestyle=(0, (4, 3)),
    )  # fmt: skip
    axes.add_patch(frame)
