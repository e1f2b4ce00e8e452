"""The kernels against SciPy, NumPy and each other, pixel by pixel."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from sightline.data.stream import augment
from sightline.data.stream.augment import Changes, no_changes
from sightline.data.stream.kernels import Fill, Output, make_kernel

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]
Values = npt.NDArray[Any]
Engine = Literal["numba", "opencv"]

FILLS: tuple[Fill, ...] = get_args(Fill)
GROUND = 37.0  # the constant fill of these tests
SIZE = (9, 14)


def output(size: tuple[int, int] = SIZE, channels: int = 3, **how: Any) -> Output:
    """Return an output that scales nothing."""
    plain = {"scale": (1.0,) * channels, "offset": (0.0,) * channels, "fill_value": GROUND}
    return Output(size=size, channels=channels, **{**plain, **how})


def pictures(count: int, out: Output, *, seed: int = 0, low: int = 0, high: int = 256) -> Pixels:
    """Return (count, H, W, C) noise."""
    shape = (count, *out.size, out.channels)
    return np.random.default_rng(seed).integers(low, high, shape, np.uint8)


def changed(
    count: int,
    *,
    matrices: Any = None,
    brightness: Any = None,
    shifts: Any = None,
) -> Changes:
    """Return changes of `count` places; what is not given changes nothing."""
    return Changes(
        np.empty((0, 2, 3)) if matrices is None else np.asarray(matrices, np.float64),
        np.ones(count, np.float32) if brightness is None else np.asarray(brightness, np.float32),
        np.zeros(count, np.float32) if shifts is None else np.asarray(shifts, np.float32),
    )


def made(out: Output, source: Pixels, changes: Changes, *, engine: Engine = "numba") -> Values:
    """Return every picture of `source`, in order."""
    places = np.arange(len(source))
    written = np.empty((len(source), *out.shape), out.dtype)
    make_kernel(out, engine=engine)(source, places, places, changes, written)
    return written


def random_moves(count: int, size: tuple[int, int] = SIZE, *, seed: int = 0) -> Floats:
    """Return (count, 2, 3) matrices of every kind of move, as strong as users ask for."""
    rng = np.random.default_rng(seed)
    return augment.matrices(
        size=size,
        theta=rng.uniform(-0.6, 0.6, count),
        shift_y=rng.uniform(-0.3, 0.3, count) * size[0],
        shift_x=rng.uniform(-0.3, 0.3, count) * size[1],
        shear=rng.uniform(-0.3, 0.3, count),
        zoom_y=rng.uniform(0.7, 1.3, count),
        zoom_x=rng.uniform(0.7, 1.3, count),
        flip_x=rng.random(count) < 0.5,
        flip_y=rng.random(count) < 0.5,
    )


# --- against SciPy ---------------------------------------------------------------------


def by_scipy(picture: Pixels, matrix: Floats, fill: Fill) -> Values:
    """Return (H, W, C) float32 by order-1 interpolation of each channel."""
    swapped = matrix[[1, 0]][:, [1, 0, 2]]  # SciPy counts (row, column)
    moved = [
        ndimage.affine_transform(
            picture[..., channel].astype(np.float32),
            swapped[:, :2],
            swapped[:, 2],
            order=1,
            mode=fill,
            cval=GROUND,
        )
        for channel in range(picture.shape[2])
    ]
    return np.stack(moved, axis=-1)


def coordinates(size: tuple[int, int], matrix: Floats) -> list[tuple[Floats, int]]:
    """Return where in the input each pixel comes from, (H, W), and the last pixel: x, then y."""
    y, x = np.mgrid[: size[0], : size[1]]
    lasts = (size[1] - 1, size[0] - 1)
    return [
        (row[0] * x + row[1] * y + row[2], last) for row, last in zip(matrix, lasts, strict=True)
    ]


def jumps(size: tuple[int, int], matrix: Floats, fill: Fill) -> npt.NDArray[np.bool_]:
    """Return (H, W): where a rounding of the coordinates may change the pixel altogether.

    "constant" cuts off at the border; "wrap" goes from the last pixel to the first. There SciPy
    and we may fall on two sides, since the coordinates are summed in another order.
    """
    found = np.zeros(size, np.bool_)
    near = 1e-12 * max(1.0, float(np.abs(matrix).max())) * max(size)
    for at, last in coordinates(size, matrix):
        if fill == "constant":
            found |= np.minimum(np.abs(at), np.abs(at - last)) < near
        elif fill == "wrap" and last:
            found |= np.abs(at - np.rint(at / last) * last) < near
    return found


def within(size: tuple[int, int], matrix: Floats) -> npt.NDArray[np.bool_]:
    """Return (H, W): what comes from inside the input, a pixel off its border at least."""
    (x, last_x), (y, last_y) = coordinates(size, matrix)
    inside: npt.NDArray[np.bool_] = (x > 1) & (x < last_x - 1) & (y > 1) & (y < last_y - 1)
    return inside


sides = st.one_of(st.just(1), st.just(2), st.integers(1, 40))
factors = st.one_of(st.sampled_from([0.0, 1.0, -1.0]), st.floats(-2, 2), st.floats(-80, 80))
distances = st.one_of(st.integers(-9, 9).map(float), st.floats(-60, 60), st.floats(-1e6, 1e6))
rows = st.tuples(factors, factors, distances)
anything = st.tuples(rows, rows).map(lambda both: np.array(both, np.float64))


@pytest.mark.parametrize(
    ("channels", "channels_first"),
    [
        (3, False),
        (1, True),
        *(
            pytest.param(*each, marks=pytest.mark.slow)  # each is compiled for itself
            for each in ((1, False), (4, False), (3, True), (4, True))
        ),
    ],
)
@pytest.mark.parametrize("fill", FILLS)
@settings(deadline=None, max_examples=60)
@given(size=st.tuples(sides, sides), matrix=anything, seed=st.integers(0, 99))
def test_moved_pixels_are_those_of_scipys_bilinear_transform(
    fill: Fill,
    channels: int,
    channels_first: bool,
    size: tuple[int, int],
    matrix: Floats,
    seed: int,
) -> None:
    assume(fill != "wrap" or min(size) > 1)  # until NARROW_WRAP is gone
    out = output(size, channels, fill=fill, channels_first=channels_first)
    source = pictures(1, out, seed=seed)
    (found,) = made(out, source, changed(1, matrices=[matrix]))
    found = found.transpose(1, 2, 0) if channels_first else found
    smooth = ~jumps(size, matrix, fill)
    expected = by_scipy(source[0], matrix, fill)
    np.testing.assert_allclose(found[smooth], expected[smooth], rtol=0, atol=1e-3)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("fill", FILLS)
def test_the_moves_of_augmentation_are_scipys_to_a_ten_thousandth(
    fill: Fill, channels: int
) -> None:
    out = output((41, 60), channels, fill=fill)
    source, matrices = pictures(30, out), random_moves(30, (41, 60))
    found = made(out, source, changed(30, matrices=matrices))
    expected = [by_scipy(*each, fill) for each in zip(source, matrices, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1)])
def test_a_picture_of_one_row_or_column_is_scipys_for_huge_shifts(
    size: tuple[int, int], fill: Fill
) -> None:
    out = output(size, 3, fill=fill)
    source = pictures(1, out)
    for distance in (-1e6, -3.25, 0.0, 0.5, 2.75, 1e6):
        matrix = np.array([[1.0, 0.0, distance], [0.0, 1.0, -distance]])
        (found,) = made(out, source, changed(1, matrices=[matrix]))
        expected = by_scipy(source[0], matrix, fill)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3)


# --- layout and type -------------------------------------------------------------------


@pytest.mark.parametrize("moves", [False, True])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_channels_first_is_the_transpose(channels: int, moves: bool) -> None:
    last = output(channels=channels)
    first = output(channels=channels, channels_first=True)
    source, rng = pictures(8, last), np.random.default_rng(1)
    changes = changed(
        8,
        matrices=random_moves(8) if moves else None,
        brightness=rng.uniform(0.5, 1.5, 8),
        shifts=[0, 20, -20, 0, 60, -60, 0, 1],
    )
    expected = made(last, source, changes).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(made(first, source, changes), expected)


@pytest.mark.parametrize("moves", [False, True])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_whole_numbers_are_the_rounded_floats(channels: int, moves: bool) -> None:
    floats = output(channels=channels)
    whole = output(channels=channels, dtype="uint8")
    source = pictures(8, floats)
    changes = changed(
        8,
        matrices=random_moves(8) if moves else None,
        brightness=np.random.default_rng(1).uniform(0.2, 1.9, 8),
        shifts=[0, 20, -20, 0, 200, -200, 0, 0.5],
    )
    rounded = np.floor(made(floats, source, changes) + np.float32(0.5))
    np.testing.assert_array_equal(made(whole, source, changes), rounded)


def test_a_half_is_rounded_up() -> None:
    out = output((1, 2), 1, dtype="uint8")
    source = np.array([[[[10], [11]]]], np.uint8)
    halfway = [[[1, 0, 0.5], [0, 1, 0]]]
    assert made(out, source, changed(1, matrices=halfway)).reshape(-1).tolist() == [11, 11]


def test_a_picture_that_does_not_move_keeps_every_byte() -> None:
    out = output((16, 16), 1, dtype="uint8")
    source = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    np.testing.assert_array_equal(made(out, source, no_changes(1)), source)


def test_an_identity_matrix_keeps_every_byte() -> None:
    out = output((16, 16), 1, dtype="uint8")
    source = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    same = changed(1, matrices=[np.eye(3)[:2]])
    np.testing.assert_array_equal(made(out, source, same), source)


# --- scaling, brightness, channel shift ------------------------------------------------


@pytest.mark.parametrize("channels_first", [False, True])
@pytest.mark.parametrize("moves", [False, True])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_scaling_is_float32_arithmetic_channel_by_channel(
    channels: int, moves: bool, channels_first: bool
) -> None:
    scale = (1 / 57.0, 1 / 53.0, 1 / 61.0, 1 / 255)[:channels]
    offset = (-2.1, -1.9, 0.3, 0.0)[:channels]
    raw = output(channels=channels)
    scaled = output(channels=channels, scale=scale, offset=offset, channels_first=channels_first)
    source = pictures(6, raw)
    changes = changed(6, matrices=random_moves(6) if moves else None)
    factors = np.asarray(scale, np.float32)
    expected = made(raw, source, changes) * factors + np.asarray(offset, np.float32)
    expected = expected.transpose(0, 3, 1, 2) if channels_first else expected
    np.testing.assert_array_equal(made(scaled, source, changes), expected)


def in_plain_numpy(raw: Values, shift: float, brightness: float) -> Values:
    """Return one moved picture (H, W, C), 0..255, as its levels should be."""
    colours, alpha = raw[..., :3], raw[..., 3:]
    if shift:
        colours = np.clip(colours + np.float32(shift), raw.min(), raw.max())
    colours = np.clip(colours * np.float32(brightness), 0, 255)
    return np.concatenate([colours, alpha], axis=-1)


@pytest.mark.parametrize("channels_first", [False, True])
@pytest.mark.parametrize("moves", [False, True])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_levels_are_shifted_within_the_pictures_range_and_then_brightened(
    channels: int, moves: bool, channels_first: bool
) -> None:
    shifts = [0, 0, 30.5, -30.5, 255, -255, 12.25, -0.5]
    brightness = [1, 1.75, 1, 1, 1, 0.5, 1.9, 0]
    raw = output(channels=channels)
    out = output(channels=channels, channels_first=channels_first)
    source = pictures(8, raw, low=40, high=215)
    matrices = random_moves(8) if moves else None
    plain = made(raw, source, changed(8, matrices=matrices))
    expected = np.stack(list(map(in_plain_numpy, plain, shifts, brightness)))
    expected = expected.transpose(0, 3, 1, 2) if channels_first else expected
    changes = changed(8, matrices=matrices, brightness=brightness, shifts=shifts)
    np.testing.assert_array_equal(made(out, source, changes), expected)


@pytest.mark.parametrize("moves", [False, True])
@pytest.mark.parametrize("shift", [0, 50])
def test_alpha_is_left_alone(shift: float, moves: bool) -> None:
    out = output(channels=4)
    source = pictures(1, out, low=40, high=215)
    matrices = random_moves(1) if moves else None
    plain = made(out, source, changed(1, matrices=matrices))
    found = made(out, source, changed(1, matrices=matrices, brightness=[1.8], shifts=[shift]))
    np.testing.assert_array_equal(found[..., 3], plain[..., 3])
    assert (found[..., :3] != plain[..., :3]).any()


def test_a_channel_shift_keeps_to_the_range_of_the_moved_picture() -> None:
    out = output((2, 4), 1, fill="nearest")
    source = np.array([[[10, 20, 30, 200]] * 2], np.uint8)[..., None]
    away = [[[1, 0, -1], [0, 1, 0]]]  # the 200 is moved out
    found = made(out, source, changed(1, matrices=away, shifts=[100]))
    assert found.reshape(2, 4).tolist() == [[30, 30, 30, 30]] * 2


@pytest.mark.parametrize("engine", ["numba", "opencv"])
@pytest.mark.parametrize("channels_first", [False, True])
@pytest.mark.parametrize("size", [(9, 14), (3, 5), (1, 2)])
def test_standardised_pictures_have_mean_0_and_deviation_1(
    size: tuple[int, int], channels_first: bool, engine: Engine
) -> None:
    out = output(size, per_image=True, channels_first=channels_first)
    found = made(out, pictures(5, out), no_changes(5), engine=engine).reshape(5, -1)
    np.testing.assert_allclose(found.mean(axis=1, dtype=np.float64), 0, atol=1e-5)
    np.testing.assert_allclose(found.std(axis=1, dtype=np.float64), 1, atol=1e-5)


@pytest.mark.parametrize("moves", [False, True])
def test_standardising_comes_last_and_is_numpys(moves: bool) -> None:
    changes = changed(
        6,
        matrices=random_moves(6) if moves else None,
        brightness=[1, 1.5, 0.5, 1, 1, 1.2],
        shifts=[0, 0, 0, 30, -30, 10],
    )
    source = pictures(6, output())
    raw = made(output(), source, changes).reshape(6, -1).astype(np.float64)
    expected = (raw - raw.mean(axis=1, keepdims=True)) / raw.std(axis=1, keepdims=True)
    found = made(output(per_image=True), source, changes).reshape(6, -1)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("level", [0, 77, 255])
def test_a_picture_of_one_colour_is_standardised_to_zero(level: int) -> None:
    out = output(per_image=True)
    source = np.full((1, *SIZE, 3), level, np.uint8)
    assert not made(out, source, no_changes(1)).any()


# --- which pictures, to which places ---------------------------------------------------


@pytest.mark.parametrize("engine", ["numba", "opencv"])
@pytest.mark.parametrize("moves", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_only_the_asked_places_are_written_with_their_own_changes(
    dtype: str, moves: bool, engine: Engine
) -> None:
    out = output(dtype=dtype)
    source = pictures(5, out)
    matrices = random_moves(7) if moves else None
    brightness = np.linspace(0.5, 1.5, 7)
    shifts = [0, 9, 0, -9, 0, 3, 4]
    picks, places = np.array([4, 0, 4]), np.array([2, 6, 3])
    written = np.full((7, *out.shape), 99, out.dtype)
    changes = changed(7, matrices=matrices, brightness=brightness, shifts=shifts)
    make_kernel(out, engine=engine)(source, picks, places, changes, written)
    expected = np.full((7, *out.shape), 99, out.dtype)
    for pick, place in zip(picks.tolist(), places.tolist(), strict=True):
        alone = changed(
            1,
            matrices=None if matrices is None else matrices[place : place + 1],
            brightness=brightness[place : place + 1],
            shifts=shifts[place : place + 1],
        )
        expected[place] = made(out, source[pick : pick + 1], alone, engine=engine)[0]
    np.testing.assert_array_equal(written, expected)


@pytest.mark.parametrize("engine", ["numba", "opencv"])
def test_no_picks_write_nothing(engine: Engine) -> None:
    out = output()
    written = np.full((2, *out.shape), 99, np.float32)
    none = np.empty(0, np.int64)
    make_kernel(out, engine=engine)(pictures(1, out), none, none, no_changes(2), written)
    assert (written == 99).all()


@pytest.mark.parametrize("engine", ["numba", "opencv"])
def test_a_source_that_cannot_be_written_is_read(engine: Engine) -> None:
    out = output()
    source = pictures(2, out)
    source.flags.writeable = False
    np.testing.assert_array_equal(made(out, source, no_changes(2), engine=engine), source)


def test_threads_that_fill_different_places_give_the_bytes_of_one() -> None:
    out = output((40, 50))
    source, rng = pictures(64, out), np.random.default_rng(2)
    changes = changed(
        64,
        matrices=random_moves(64, out.size),
        brightness=rng.uniform(0.5, 1.5, 64),
        shifts=rng.uniform(-30, 30, 64),
    )
    expected = made(out, source, changes)
    kernel, every = make_kernel(out), np.arange(64)
    for _ in range(5):
        written = np.zeros((64, *out.shape), np.float32)
        ready = threading.Barrier(4)

        def fill(part: int, written: Values = written, ready: threading.Barrier = ready) -> None:
            ready.wait(10)
            for place in every[part::4]:
                kernel(source, every[place:][:1], every[place:][:1], changes, written)

        threads = [threading.Thread(target=fill, args=(part,)) for part in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        np.testing.assert_array_equal(written, expected)


# --- memory ----------------------------------------------------------------------------


@pytest.mark.parametrize("moves", [False, True])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_what_lies_beside_a_picture_in_memory_does_not_show(channels: int, moves: bool) -> None:
    out = output((5, 7), channels)
    size = 5 * 7 * channels
    picture = pictures(1, out)
    changes = changed(1, matrices=random_moves(1, (5, 7)) if moves else None)
    expected = made(out, picture, changes)
    for beside in (0, 255):
        memory = np.full(size + 16, beside, np.uint8)
        memory[8 : 8 + size] = picture.reshape(-1)
        source = memory[8 : 8 + size].reshape(picture.shape)
        np.testing.assert_array_equal(made(out, source, changes), expected)


# The page behind the pictures may not be touched: whoever does so dies.
AT_THE_END = """
import ctypes, mmap, sys
import numpy as np
from sightline.data.stream.augment import Changes
from sightline.data.stream.kernels import Output, make_kernel

system = ctypes.CDLL(None, use_errno=True)
page, size, count = mmap.PAGESIZE, (6, 7), 3
pages = mmap.mmap(-1, 2 * page)
memory = np.frombuffer(pages, np.uint8)
assert system.mprotect(ctypes.c_void_p(memory.ctypes.data + page), ctypes.c_size_t(page), 0) == 0
turned = Changes(
    np.repeat([[[0.9, 0.3, 0.4], [-0.3, 0.9, 1.7]]], count, axis=0),
    np.ones(count, np.float32),
    np.zeros(count, np.float32),
)
still = Changes(np.empty((0, 2, 3)), turned.brightness, turned.shifts)
if "reach" in sys.argv:
    print(memory[page])
for channels in (1, 3, 4):
    plain = (1.0,) * channels, (0.0,) * channels
    kernel = make_kernel(
        Output(size=size, channels=channels, scale=plain[0], offset=plain[1]), engine="numba"
    )
    shape, every = (count, *size, channels), np.arange(count)
    length = int(np.prod(shape))
    for changes in (turned, still):
        for before in range(6):
            pixels = np.random.default_rng(before).integers(0, 256, shape, np.uint8)
            source = memory[page - before - length : page - before].reshape(shape)
            source[:] = pixels
            found, expected = np.empty((2, *shape), np.float32)
            kernel(source, every, every, changes, found)
            kernel(np.append(pixels, pixels[:1], axis=0), every, every, changes, expected)
            assert (found == expected).all(), (channels, before)
print("whole")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="memory is protected otherwise there")
def test_pictures_that_end_with_their_memory_page_are_read_and_no_byte_more() -> None:
    command = [sys.executable, "-c", AT_THE_END]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stdout) == (0, "whole\n"), done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="memory is protected otherwise there")
def test_the_page_behind_them_kills_who_reads_it() -> None:
    command = [sys.executable, "-c", AT_THE_END, "reach"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode < 0
    assert not done.stdout


# --- the engine of OpenCV --------------------------------------------------------------


@pytest.mark.parametrize("size", [(61, 75), (224, 200)])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("fill", FILLS)
def test_opencv_gives_nearly_the_same_pixels(
    fill: Fill, channels: int, size: tuple[int, int]
) -> None:
    count, rng = 12, np.random.default_rng(4)
    out = output(size, channels, fill=fill)
    source, matrices = pictures(count, out), random_moves(count, size)
    changes = changed(count, matrices=matrices, brightness=rng.uniform(0.6, 1.4, count))
    ours, opencvs = (made(out, source, changes, engine=each) for each in get_args(Engine))
    same = np.ones((count, *size), np.bool_)
    if fill in ("constant", "wrap"):  # OpenCV has another rule at the border
        same = np.stack([within(size, matrix) for matrix in matrices])
    assert same.mean() > 0.4
    # Its coordinates are float32, so what is far from the corner is less exact.
    assert np.abs(ours - opencvs)[same].max() < 1e-4 * max(size)


def test_opencv_puts_the_channels_first_as_asked() -> None:
    source, changes = pictures(4, output()), changed(4, matrices=random_moves(4))
    last = made(output(), source, changes, engine="opencv")
    first = made(output(channels_first=True), source, changes, engine="opencv")
    np.testing.assert_array_equal(first, last.transpose(0, 3, 1, 2))


def test_opencv_rounds_whole_numbers() -> None:
    source, changes = pictures(4, output()), changed(4, matrices=random_moves(4))
    floats = made(output(), source, changes, engine="opencv")
    whole = made(output(dtype="uint8"), source, changes, engine="opencv")
    np.testing.assert_array_equal(whole, np.floor(floats + np.float32(0.5)))


def test_opencv_gives_the_same_levels_where_nothing_moves() -> None:
    out = output(channels=4, scale=(1 / 57, 1 / 53, 1 / 61, 1 / 255), offset=(-2, -1, 0, 0.5))
    source = pictures(6, out, low=30, high=220)
    changes = changed(6, brightness=[1, 0.5, 1.5, 1, 1.2, 0], shifts=[0, 0, 0, 25, -25, 40])
    ours, opencvs = (made(out, source, changes, engine=each) for each in get_args(Engine))
    np.testing.assert_allclose(opencvs, ours, rtol=0, atol=1e-6)
