"""What every contender does, and the face it shows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SIZE = (122, 122)  # height, width
BATCH = 32

# Degrees, shares of a side, degrees, share: the units of Keras' ImageDataGenerator.
ROTATION, SHIFT, SHEAR, ZOOM = 20.0, 0.2, 0.2, 0.2
# Libraries that do not shear by degrees get 0.2 of a radian; the cost of a warp is the same.
SHEAR_DEGREES = math.degrees(0.2)


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """One contender's order.

    Attributes:
        folder: Class folders of JPEG files; their number is a multiple of BATCH.
        scratch: A folder of its own, empty at first.
        augment: Rotation, shifts, shear, zoom and flip; False only resizes.
        threads: Threads or worker processes it may use.
    """

    folder: Path
    scratch: Path
    augment: bool
    threads: int


# epoch(number) yields (images, labels) until every image came once. Images are float32, 0..1,
# (32, 122, 122, 3) or (32, 3, 122, 122), as whatever array the library delivers.
Epoch = Callable[[int], Iterable[tuple[Any, Any]]]


def labelled_files(folder: Path) -> tuple[list[str], list[int]]:
    """Return the paths under class folders, sorted, and their classes' numbers."""
    classes = sorted(part for part in folder.iterdir() if part.is_dir())
    found = [
        (str(path), number)
        for number, part in enumerate(classes)
        for path in sorted(part.iterdir())
    ]
    return [path for path, _ in found], [number for _, number in found]
