"""Pictures of floats of any range through the kernel: moved, shifted and scaled, never clipped."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from sightline.data.stream import augment
from sightline.data.stream.augment import Changes
from sightline.data.stream.config import StreamConfig
from sightline.data.stream.engine import Engine, finish
from sightline.data.stream.kernels import Fill, Output, make_kernel
from sightline.records import RecordIndex

SIZE = (9, 14)
COUNT = 6
Floats = npt.NDArray[np.float32]


def moves() -> npt.NDArray[np.float64]:
    rng = np.random.default_rng(1)
    return augment.matrices(
        size=SIZE,
        theta=rng.uniform(-0.6, 0.6, COUNT),
        shift_y=rng.uniform(-3, 3, COUNT),
        shift_x=rng.uniform(-3, 3, COUNT),
        shear=rng.uniform(-0.3, 0.3, COUNT),
        zoom_y=rng.uniform(0.7, 1.3, COUNT),
        zoom_x=rng.uniform(0.7, 1.3, COUNT),
        flip_x=rng.random(COUNT) < 0.5,
        flip_y=rng.random(COUNT) < 0.5,
    )


def changes(*, moved: bool = True, shift: float = 0.0) -> Changes:
    placing = moves() if moved else np.empty((0, 2, 3))
    return Changes(placing, np.ones(COUNT, np.float32), np.full(COUNT, shift, np.float32))


def made(source: npt.NDArray[Any], changes: Changes, **how: Any) -> Floats:
    channels = source.shape[-1]
    plain = {"scale": (1.0,) * channels, "offset": (0.0,) * channels}
    out = Output(size=SIZE, channels=channels, **{**plain, **how})
    places, written = np.arange(COUNT), np.empty((COUNT, *out.shape), np.float32)
    make_kernel(out)(source, places, places, changes, written)
    return written


def noise(channels: int, *, low: float = -3.0, high: float = 700.0) -> Floats:
    rng = np.random.default_rng(0)
    return rng.uniform(low, high, (COUNT, *SIZE, channels)).astype(np.float32)


@pytest.mark.parametrize("fill", get_args(Fill))
@pytest.mark.parametrize(
    "channels",
    [3, pytest.param(1, marks=pytest.mark.slow), pytest.param(4, marks=pytest.mark.slow)],
)
def test_floats_are_moved_as_scipy_moves_them(channels: int, fill: Fill) -> None:
    source = noise(channels)
    found = made(source, changes(), fill=fill, fill_value=37.0)
    for place, matrix in enumerate(moves()):
        rows = matrix[::-1][:, [1, 0, 2]]  # SciPy counts (row, column)
        for channel in range(channels):
            expected = ndimage.affine_transform(
                source[place, ..., channel], rows[:, :2], rows[:, 2], order=1, mode=fill, cval=37.0
            )
            np.testing.assert_allclose(found[place, ..., channel], expected, atol=3e-3)


@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize("shift", [0.0, 40.0])
def test_whole_floats_give_the_bytes_that_uint8_gives(moved: bool, shift: float) -> None:
    source = np.random.default_rng(2).integers(0, 256, (COUNT, *SIZE, 3)).astype(np.uint8)
    how = {"scale": (0.1, 0.2, 0.3), "offset": (1.0, 2.0, 3.0), "channels_first": True}
    expected = made(source, changes(moved=moved, shift=shift), **how)
    found = made(source.astype(np.float32), changes(moved=moved, shift=shift), **how)
    np.testing.assert_array_equal(found, expected)


def test_nothing_is_clipped_where_nothing_is_shifted() -> None:
    source = noise(3, low=-1e4, high=1e4)
    np.testing.assert_array_equal(made(source, changes(moved=False)), source)


def test_a_shift_keeps_to_the_pictures_own_range() -> None:
    source = noise(3, low=-1.0, high=1.0)
    found = made(source, changes(moved=False, shift=0.5))
    for mine, plain in zip(found, source, strict=True):
        np.testing.assert_array_equal(
            mine, np.clip(plain + np.float32(0.5), plain.min(), plain.max())
        )


def test_an_engine_does_what_comes_after_in_the_thread_that_filled() -> None:
    source = noise(3)
    index = RecordIndex.make(
        Path(), (), np.zeros(0, np.uint8), np.zeros(COUNT + 1, np.uint32),
        np.full(COUNT, -1, np.int32), pixels=source,
    )  # fmt: skip
    config = StreamConfig(image_size=SIZE, batch_size=4, scaling="none", num_threads=2)
    engine = Engine(index, config)
    rows = np.array([5, 0, 3])
    touched: list[tuple[int, int]] = []

    def double(images: Floats, begin: int, end: int) -> None:
        touched.append((begin, end))
        images[begin:end] *= 2

    making = engine.start(rows, np.ones(3, np.float32), augment.no_changes(3), double)
    finish(making)
    engine.close()
    np.testing.assert_array_equal(making.images, 2 * source[rows])
    assert sorted(place for begin, end in touched for place in range(begin, end)) == [0, 1, 2]
