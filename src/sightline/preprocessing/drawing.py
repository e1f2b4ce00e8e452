"""The random parameters of pictures, in Keras' order, and the changes they stand for.

A parameter is drawn, or not, exactly where the old Keras does it, so that one seed gives the same
numbers; both flips are drawn always.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from sightline.data.stream.augment import Changes, matrices
from sightline.preprocessing.affine import product, transform_matrix_offset_center

Parameters = dict[str, Any]


class Ranges(Protocol):
    """What is drawn from, as an ImageDataGenerator holds it."""

    rotation_range: float
    height_shift_range: Any
    width_shift_range: Any
    shear_range: float
    zoom_range: list[float]
    horizontal_flip: bool
    vertical_flip: bool
    channel_shift_range: float
    brightness_range: Sequence[float] | None


class Source(Protocol):
    """NumPy's global generator (the module `numpy.random`), or a RandomState."""

    def uniform(self, low: float, high: float, size: int | None = None) -> Any:
        """Return a number, or `size` of them."""

    def choice(self, a: Any) -> Any:
        """Return one element, or a number below `a`."""

    def random(self) -> float:
        """Return a number of 0..1."""


def draw(ranges: Ranges, height: int, width: int, source: Source) -> Parameters:
    """Return the parameters of one picture: angles in degrees, shifts in pixels.

    `theta`, `tx` (of the height's range), `ty` (of the width's), `shear`, `zx`, `zy`,
    `flip_horizontal`, `flip_vertical`, `channel_shift_intensity` and `brightness`, the last two
    None where they are not asked for.
    """
    turn, lean, zoom = ranges.rotation_range, ranges.shear_range, ranges.zoom_range
    theta = source.uniform(-turn, turn) if turn else 0
    tx = _shift(ranges.height_shift_range, height, source)
    ty = _shift(ranges.width_shift_range, width, source)
    shear = source.uniform(-lean, lean) if lean else 0
    zx, zy = (1, 1)
    if not (zoom[0] == 1 and zoom[1] == 1):
        zx, zy = source.uniform(zoom[0], zoom[1], 2)
    horizontal = (source.random() < 0.5) * ranges.horizontal_flip
    vertical = (source.random() < 0.5) * ranges.vertical_flip
    colour, light = ranges.channel_shift_range, ranges.brightness_range
    return {
        "theta": theta,
        "tx": tx,
        "ty": ty,
        "shear": shear,
        "zx": zx,
        "zy": zy,
        "flip_horizontal": horizontal,
        "flip_vertical": vertical,
        "channel_shift_intensity": source.uniform(-colour, colour) if colour != 0 else None,
        "brightness": None if light is None else source.uniform(light[0], light[1]),
    }


def _shift(given: Any, side: int, source: Source) -> Any:
    """Return a shift in pixels: of a share of the side, of whole pixels, or of a list."""
    if not given:
        return 0
    if isinstance(given, float):  # what NumPy's `choice` would refuse, without asking it
        shift = source.uniform(-given, given)
    else:
        try:
            shift = source.choice(given)
            shift = shift * source.choice([-1, 1])
        except ValueError:
            shift = source.uniform(-given, given)
    return shift * side if np.max(given) < 1 else shift


class Hashed:
    """Numbers of one picture that were worked out by a hash, in place of a generator."""

    def __init__(self, numbers: Sequence[float]) -> None:
        """Take numbers of 0..1, as many as `draw` can ask for: `MOST_DRAWS`."""
        self._numbers = iter(numbers)

    def random(self) -> float:
        """Return the next number."""
        return next(self._numbers)

    def uniform(self, low: float, high: float, size: int | None = None) -> Any:
        """Return a number, or (size,) of them."""
        count = 1 if size is None else size
        found = np.array([low + (high - low) * self.random() for _ in range(count)])
        return float(found[0]) if size is None else found

    def choice(self, a: Any) -> Any:
        """Return one element, or a whole number below `a`.

        Raises:
            ValueError: `a` is neither whole nor a list.
        """
        if isinstance(a, int | np.integer):
            return int(self.random() * int(a))
        if np.ndim(a) != 1:
            raise ValueError(f"a must be a list or a whole number, got {a!r}")
        return a[int(self.random() * len(a))]


MOST_DRAWS = 16  # that the parameters of one picture take


def changes_of(drawn: Sequence[Parameters], height: int, width: int, *, moves: bool) -> Changes:
    """Return what the stream's kernel does for these parameters, (B,) of them.

    Brightness is not among it: Pillow's is in whole numbers, after everything else.

    Args:
        drawn: The parameters.
        height: Of the pictures, pixels.
        width: Likewise.
        moves: Whether any range could move a pixel.
    """
    placing = np.empty((0, 2, 3))
    if moves:
        placing = np.stack([_matrix(each, height, width) for each in drawn])
    shifts = [each["channel_shift_intensity"] or 0.0 for each in drawn]
    return Changes(placing, np.ones(len(drawn), np.float32), np.asarray(shifts, np.float32))


def fast_changes_of(
    drawn: Sequence[Parameters], height: int, width: int, *, moves: bool
) -> Changes:
    """Return the same for the stream's own geometry, brightness included.

    A picture turns about its middle, and each axis is shifted by its own range.
    """
    columns = {name: np.array([float(each[name] or 0) for each in drawn]) for name in drawn[0]}
    placing = np.empty((0, 2, 3))
    if moves:
        placing = matrices(
            size=(height, width),
            theta=np.deg2rad(columns["theta"]),
            shift_y=columns["tx"],
            shift_x=columns["ty"],
            shear=np.deg2rad(columns["shear"]),
            zoom_y=columns["zy"],
            zoom_x=columns["zx"],
            flip_x=columns["flip_horizontal"] > 0,
            flip_y=columns["flip_vertical"] > 0,
        )
    bright = [1.0 if each["brightness"] is None else each["brightness"] for each in drawn]
    shifts = columns["channel_shift_intensity"].astype(np.float32)
    return Changes(placing, np.asarray(bright, np.float32), shifts)


def _matrix(drawn: Parameters, height: int, width: int) -> npt.NDArray[np.float64]:
    """Return (2, 3): input (x, y) of output (x, y, 1), flips last.

    Keras gives the columns the centre of the rows, and the rows that of the columns: a picture
    that is not square turns about another point than its middle.
    """
    names = ("theta", "tx", "ty", "shear", "zx", "zy")
    matrix = product(*(drawn[name] for name in names))
    matrix = np.eye(3) if matrix is None else transform_matrix_offset_center(matrix, height, width)
    for flipped, axis, last in (
        (drawn["flip_horizontal"], 0, width - 1),
        (drawn["flip_vertical"], 1, height - 1),
    ):
        if flipped:
            matrix[:, 2] += matrix[:, axis] * last
            matrix[:, axis] *= -1
    return matrix[:2]
