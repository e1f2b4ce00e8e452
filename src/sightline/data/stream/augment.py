"""Random changes of a whole batch: affine matrices, brightness and channel shifts.

The geometry is that of Keras' ImageDataGenerator: output pixel -> input pixel, as
rotation * shift * shear * zoom about the centre ((size - 1) / 2), flips last. Keras itself turns
an image that is not square about a point beside its centre, and moves it sideways by the height's
range; here the centre is the centre, and each axis has its own range.

What needs more than one record or one pass is in `erasing` and `mixing`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sightline.data.stream.erasing import Erasures, draw_erasures
from sightline.data.stream.keys import AUGMENT, uniforms
from sightline.recipes import AugmentSection

# rotation, two shifts, shear, two zooms, two flips, brightness, channel shift: a new draw goes to
# the end, so that the others keep their values.
_DRAWS = 10


@dataclass(frozen=True, slots=True)
class Changes:
    """What happens to each record of a batch.

    Attributes:
        matrices: (B, 2, 3) float64, input (x, y) = M @ output (x, y, 1); (0, 2, 3) where no pixel
            of any record changes its place.
        brightness: (B,) float32 factors.
        shifts: (B,) float32, added to every colour, in 0..255, within the picture's own range.
        erasures: What is painted over after all that; None where nothing of any record is.
    """

    matrices: npt.NDArray[np.float64]
    brightness: npt.NDArray[np.float32]
    shifts: npt.NDArray[np.float32]
    erasures: Erasures | None = None

    def part(self, begin: int, end: int) -> Changes:
        """Return those of the records begin..end-1."""
        return Changes(
            self.matrices[begin:end],
            self.brightness[begin:end],
            self.shifts[begin:end],
            None if self.erasures is None else self.erasures.part(begin, end),
        )


def no_changes(count: int) -> Changes:
    """Return the changes of `count` records that stay as they are."""
    return Changes(np.empty((0, 2, 3)), np.ones(count, np.float32), np.zeros(count, np.float32))


def moves(augment: AugmentSection) -> bool:
    """Say whether `augment` changes any pixel's place."""
    return any(
        (
            augment.rotation,
            augment.width_shift,
            augment.height_shift,
            augment.shear,
            augment.zoom,
            augment.horizontal_flip,
            augment.vertical_flip,
        )
    )


def varies(augment: AugmentSection) -> bool:
    """Say whether `augment` changes anything at all."""
    levels = augment.brightness or augment.channel_shift
    return moves(augment) or bool(levels or augment.erasing or augment.mixup or augment.cutmix)


def draw(
    augment: AugmentSection | None,
    *,
    size: tuple[int, int],
    seed: int,
    epoch: int,
    keys: npt.NDArray[np.int64],
) -> Changes:
    """Return the changes of these records in this epoch.

    Args:
        augment: Ranges to draw from; None changes nothing.
        size: (height, width) of the images in pixels.
        seed: 0..2**32-1.
        epoch: 0-based.
        keys: (N,) manifest rows; where rows come several times in an epoch, numbers that tell
            those times apart.

    Returns:
        A pure function of the arguments, key by key.
    """
    if augment is None:
        return no_changes(len(keys))
    draws = uniforms(AUGMENT, seed=seed, epoch=epoch, rows=keys, draws=_DRAWS)
    spread = 2 * draws - 1
    placing = (
        matrices(
            size=size,
            theta=np.deg2rad(augment.rotation) * spread[:, 0],
            shift_y=augment.height_shift * size[0] * spread[:, 1],
            shift_x=augment.width_shift * size[1] * spread[:, 2],
            shear=np.deg2rad(augment.shear) * spread[:, 3],
            zoom_y=1 + augment.zoom * spread[:, 4],
            zoom_x=1 + augment.zoom * spread[:, 5],
            flip_x=draws[:, 6] < 0.5 * augment.horizontal_flip,
            flip_y=draws[:, 7] < 0.5 * augment.vertical_flip,
        )
        if moves(augment)
        else np.empty((0, 2, 3))
    )
    return Changes(
        placing,
        (1 + augment.brightness * spread[:, 8]).astype(np.float32),
        (augment.channel_shift * spread[:, 9]).astype(np.float32),
        draw_erasures(augment.erasing, size=size, seed=seed, epoch=epoch, keys=keys),
    )


def matrices(
    *,
    size: tuple[int, int],
    theta: npt.NDArray[np.float64],
    shift_y: npt.NDArray[np.float64],
    shift_x: npt.NDArray[np.float64],
    shear: npt.NDArray[np.float64],
    zoom_y: npt.NDArray[np.float64],
    zoom_x: npt.NDArray[np.float64],
    flip_x: npt.NDArray[np.bool_],
    flip_y: npt.NDArray[np.bool_],
) -> npt.NDArray[np.float64]:
    """Return (N, 2, 3) matrices in (x, y) for these parameters: angles in radians, shifts in px.

    In (x, y) the linear part is R(theta) * shear * zoom * flips and the shift is rotated with it,
    exactly as the product of Keras' 3x3 matrices.
    """
    cos, sin = np.cos(theta), np.sin(theta)
    # R @ S with S = [[1, -sin(shear)], [0, cos(shear)]]
    a, b = cos, -cos * np.sin(shear) - sin * np.cos(shear)
    c, d = sin, -sin * np.sin(shear) + cos * np.cos(shear)
    move_x, move_y = cos * shift_x - sin * shift_y, sin * shift_x + cos * shift_y
    scale_x, scale_y = zoom_x * np.where(flip_x, -1, 1), zoom_y * np.where(flip_y, -1, 1)
    a, b, c, d = a * scale_x, b * scale_y, c * scale_x, d * scale_y
    centre_x, centre_y = (size[1] - 1) / 2, (size[0] - 1) / 2
    move_x = move_x + centre_x - a * centre_x - b * centre_y
    move_y = move_y + centre_y - c * centre_x - d * centre_y
    result = np.empty((len(theta), 2, 3))
    result[:, 0] = np.stack([a, b, move_x], axis=1)  # x from (x, y)
    result[:, 1] = np.stack([c, d, move_y], axis=1)  # y from (x, y)
    return result
