"""Pixels of a batch, from uint8 pictures to what a network takes, in one pass.

compiled  machine code by Numba: the one that is used
opencv    the same, where Numba does not load
blending  two pictures made one, and rectangles painted over, before the scaling
overlaid  that in machine code
"""

from __future__ import annotations

import atexit
import importlib
import shutil
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from sightline.data.stream.augment import Changes, no_changes

Fill = Literal["nearest", "constant", "reflect", "wrap"]
Made = TypeVar("Made")
_FILLS: tuple[Fill, ...] = ("nearest", "constant", "reflect", "wrap")


@dataclass(frozen=True, kw_only=True, slots=True)
class Output:
    """What the pixels of a batch become.

    Attributes:
        size: (height, width), of the input too.
        channels: 1, 3 or 4; the fourth is alpha, which brightness and channel shift leave alone.
        channels_first: (C, H, W) instead of (H, W, C).
        dtype: "float32", or "uint8" rounded to the nearest.
        scale: A factor for each channel, applied to 0..255.
        offset: Added to each channel after that.
        per_image: Then bring each picture to mean 0 and deviation 1 (all channels together).
        fill: What appears where a picture was moved away: the edge's pixel, `fill_value`, the
            picture mirrored, or repeated with its last pixel standing for the first (as in SciPy).
        fill_value: 0..255, for "constant".
    """

    size: tuple[int, int]
    channels: int
    channels_first: bool = False
    dtype: Literal["float32", "uint8"] = "float32"
    scale: tuple[float, ...]
    offset: tuple[float, ...]
    per_image: bool = False
    fill: Fill = "nearest"
    fill_value: float = 0.0

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of one picture as it comes out."""
        sides = self.size
        return (self.channels, *sides) if self.channels_first else (*sides, self.channels)


Kernel = Callable[
    [
        npt.NDArray[np.uint8] | npt.NDArray[np.float32],
        npt.NDArray[np.int64],
        npt.NDArray[np.int64],
        Changes,
        npt.NDArray[np.float32] | npt.NDArray[np.uint8],
    ],
    None,
]


def make_kernel(output: Output, *, engine: Literal["numba", "opencv", "any"] = "any") -> Kernel:
    """Return kernel(source, picks, places, changes, out) for one kind of output.

    It reads pictures `picks` (P,) of `source` (M, H, W, C) uint8, and writes them, moved by
    bilinear interpolation and scaled, to `places` (P,) of `out` (B, *output.shape), with the
    changes of those places. Both arrays must be C-contiguous. It releases the GIL; several
    threads may fill different places at once. A picture's result depends on nothing else.

    Against SciPy's affine_transform with order 1: within 0.0001 of 255 for every fill mode, with
    Numba; `opencv` says what differs there.

    Args:
        output: What comes out.
        engine: "any" takes Numba where it loads.

    Raises:
        ImportError: engine is "numba" and it does not load.
    """
    settings = (
        output.size,
        output.channels_first,
        _FILLS.index(output.fill),
        output.fill_value,
        output.scale,
        output.offset,
        output.per_image,
        output.dtype == "uint8",
    )
    run = _runner(engine, settings, output)

    def kernel(
        source: npt.NDArray[np.uint8] | npt.NDArray[np.float32],
        picks: npt.NDArray[np.int64],
        places: npt.NDArray[np.int64],
        changes: Changes,
        out: npt.NDArray[np.float32] | npt.NDArray[np.uint8],
    ) -> None:
        run(
            source.reshape(len(source), -1),
            picks,
            places,
            changes.matrices,
            changes.brightness,
            changes.shifts,
            out.reshape(len(out), -1),
        )

    return kernel


def _runner(engine: str, settings: tuple[Any, ...], output: Output) -> Callable[..., None]:
    def of_batches(module: ModuleType) -> Callable[..., None]:
        run: Callable[..., None] = module.batch(*settings)
        return run

    if engine != "opencv":
        try:
            kernel: Callable[..., None]
            kernel = loaded("compiled", of_batches, partial(_run_on_nothing, output))
            return kernel
        except ImportError:
            if engine == "numba":
                raise
    from sightline.data.stream.kernels import opencv

    return opencv.batch(*settings)


def loaded(name: str, make: Callable[[ModuleType], Made], try_it: Callable[[Made], None]) -> Made:
    """Return what a module of this room makes, its machine code loaded or made.

    Args:
        name: Of the module.
        make: Returns what is wanted of it.
        try_it: Lets that load its machine code.

    Raises:
        ImportError: Numba does not load.
    """
    module = _imported(name)
    made = make(module)
    try:
        try_it(made)
    except Exception as error:  # noqa: BLE001 - a damaged file raises what its bytes happen to say
        folder = module.folder()
        _keep_elsewhere()
        made = make(importlib.reload(module))
        try_it(made)  # any other mistake comes again
        warnings.warn(
            f"The machine code of the stream's kernels could not be loaded from {folder} or kept "
            f"there ({type(error).__name__}: {error}). It was made anew for this process alone; "
            f"to keep it again, see that there is room, and delete the files {name}.* there.",
            stacklevel=4,
        )
    return made


def _imported(name: str) -> ModuleType:
    """Import compiled kernels.

    Raises:
        ImportError: Numba does not load.
    """
    try:
        return importlib.import_module(f"{__name__}.{name}")
    except RuntimeError:  # nowhere to keep machine code: a read-only system without a home
        _keep_elsewhere()
        return importlib.import_module(f"{__name__}.{name}")


def _keep_elsewhere() -> None:
    """Let this process keep its machine code in a folder of its own."""
    import numba

    folder = tempfile.mkdtemp(prefix="sightline-kernels-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    numba.config.CACHE_DIR = folder  # type: ignore[attr-defined]


def _run_on_nothing(output: Output, run: Callable[..., None]) -> None:
    """Run a kernel on no picture, of memory that can be written and of a file that cannot."""
    none, changes = np.zeros(0, np.int64), no_changes(1)
    source = np.zeros((1, int(np.prod(output.shape))), np.uint8)
    out = np.zeros(source.shape, output.dtype)
    for writeable in (True, False):
        source.flags.writeable = writeable
        run(source, none, none, changes.matrices, changes.brightness, changes.shifts, out)
