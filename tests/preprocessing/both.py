"""The old class of Keras and ours, on the same small pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from sightline.preprocessing import image as ours

legacy = pytest.importorskip("keras.src.legacy.preprocessing.image")

Array = npt.NDArray[Any]
SIZE = (9, 12)
TOLERANCE = 0.002  # of 255

# Keras' own class uses a module of SciPy that will be removed, and NumPy's functions loosely.
QUIET = pytest.mark.filterwarnings(
    "ignore:Please import `affine_transform` from the `scipy.ndimage` namespace",
    "ignore:.*scipy.ndimage.interpolation.*:DeprecationWarning",
)

MOVES: dict[str, Any] = {
    "rotation_range": 20,
    "width_shift_range": 0.2,
    "height_shift_range": 0.2,
    "shear_range": 10,
    "zoom_range": 0.2,
    "horizontal_flip": True,
}


def write_folders(root: Path, counts: Sequence[int] = (5, 4), *, suffix: str = "png") -> Path:
    """Write class folders c0, c1, ... of colour noise, each picture of its own size."""
    for label, count in enumerate(counts):
        (root / f"c{label}").mkdir(parents=True)
        for number in range(count):
            rng = np.random.default_rng((label, number))
            shape = (8 + number, 10 + 2 * number, 3)
            pixels = rng.integers(0, 256, shape).astype(np.uint8)
            Image.fromarray(pixels).save(root / f"c{label}" / f"p{number}.{suffix}")
    return root


def both(make: Callable[[Any], Any], *, seed: int = 3) -> tuple[Any, Any]:
    """Return what is made with Keras' module and with ours, each from the same random numbers."""
    found = []
    for module in (legacy, ours):
        np.random.seed(seed)
        found.append(make(module))
    return found[0], found[1]


def same(theirs: Any, mine: Any, *, within: float = TOLERANCE) -> None:
    """Compare batches: arrays, or tuples and lists of them."""
    assert type(theirs) is type(mine)
    if isinstance(theirs, tuple | list):
        assert len(theirs) == len(mine)
        for one, other in zip(theirs, mine, strict=True):
            same(one, other, within=within)
        return
    assert theirs.dtype == mine.dtype
    assert theirs.shape == mine.shape
    if theirs.dtype.kind == "f":
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=within)
    else:
        np.testing.assert_array_equal(mine, theirs)


def random_state() -> tuple[int, bytes]:
    """Return where NumPy's global generator stands."""
    state: Any = np.random.get_state()
    return state[2], state[1].tobytes()
