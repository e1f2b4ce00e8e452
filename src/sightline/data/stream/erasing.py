"""Random erasing: a rectangle of a picture is painted over with random colours.

After Zhong, Zheng, Kang, Li & Yang, "Random erasing data augmentation" (AAAI 2020): 2 to 33 % of
the area, aspect ratio 0.3 to 3.3, each pixel a colour of its own, which did best there. They draw
until a rectangle lies inside the picture, which favours small ones near its middle; here the
aspect ratio is drawn from those that fit, so one draw does, and tall ones are as likely as wide.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sightline.data.stream.keys import ERASE, PAINT, hashes, uniforms

LEAST_ERASED, MOST_ERASED = 0.02, 0.33  # of the area
_NARROWEST, _WIDEST = 0.3, 3.3  # height over width

Int32s = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Erasures:
    """What is painted over in each record of a batch.

    Attributes:
        boxes: (B, 4) int32 top, left, bottom, right in pixels, the last two exclusive; zeros
            where nothing is.
        hashes: (B,) uint64 that the colours follow from, pixel by pixel.
    """

    boxes: Int32s
    hashes: npt.NDArray[np.uint64]

    def part(self, begin: int, end: int) -> Erasures:
        """Return those of the records begin..end-1."""
        return Erasures(self.boxes[begin:end], self.hashes[begin:end])


def draw_erasures(
    chance: float, *, size: tuple[int, int], seed: int, epoch: int, keys: npt.NDArray[np.int64]
) -> Erasures | None:
    """Return what is erased of these records in this epoch; None without a chance.

    Args:
        chance: Share of the records that lose a rectangle.
        size: (height, width) of the images in pixels.
        seed: 0..2**32-1.
        epoch: 0-based.
        keys: (N,) as for `augment.draw`.
    """
    if not chance:
        return None
    # The chance, area, shape, y, x: a new draw goes to the end.
    draws = uniforms(ERASE, seed=seed, epoch=epoch, rows=keys, draws=5)
    area = LEAST_ERASED + (MOST_ERASED - LEAST_ERASED) * draws[:, 1]
    boxes = erased_boxes(size, area, shape=draws[:, 2], y=draws[:, 3], x=draws[:, 4])
    boxes[draws[:, 0] >= chance] = 0
    return Erasures(boxes, hashes(PAINT, seed=seed, epoch=epoch, rows=keys))


def erased_boxes(
    size: tuple[int, int], area: Floats, *, shape: Floats, y: Floats, x: Floats
) -> Int32s:
    """Return (N, 4) rectangles inside of the picture.

    Args:
        size: (height, width) of the picture in pixels.
        area: (N,) shares of its area, above 0 and up to 1; what comes out is whole pixels.
        shape: (N,) 0..1: from the widest rectangle that is allowed and fits to the tallest.
        y: (N,) 0..1: from the top to the bottom.
        x: (N,) 0..1: from the left to the right.
    """
    height, width = size
    pixels = area * (height * width)
    # Between these it is neither taller nor wider than the picture; one of them always fits.
    least, most = pixels / width**2, height**2 / pixels
    low = np.log(np.clip(_NARROWEST, least, most))
    high = np.log(np.clip(_WIDEST, least, most))
    tall = np.sqrt(pixels * np.exp(low + (high - low) * shape))
    rows = np.clip(np.rint(tall), 1, height)
    columns = np.clip(np.rint(pixels / rows), 1, width)
    top = np.minimum(np.floor(y * (height - rows + 1)), height - rows)
    left = np.minimum(np.floor(x * (width - columns + 1)), width - columns)
    return np.stack([top, left, top + rows, left + columns], axis=1).astype(np.int32)
