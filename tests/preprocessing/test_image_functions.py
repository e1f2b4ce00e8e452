"""The functions beside the class: the affine ones by Keras' own, the rest by files and numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from both import QUIET, both, random_state
from PIL import Image

from sightline.preprocessing import image as ours

pytestmark = QUIET

LAST = {"row_axis": 0, "col_axis": 1, "channel_axis": 2}


def noise(*shape: int, dtype: str = "float32") -> Any:
    return np.random.default_rng(0).integers(0, 256, shape).astype(dtype)


def refusal(module: Any, name: str, *arguments: Any, match: str, **how: Any) -> str:
    """Return the words in which a function refuses its arguments."""
    with pytest.raises(ValueError, match=match) as told:
        getattr(module, name)(*arguments, **how)
    return str(told.value)


# --- one random change -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("random_rotation", (45,)),
        ("random_shift", (0.3, 0.6)),
        ("random_shear", (25,)),
        ("random_zoom", ((0.5, 1.6),)),
        ("random_zoom", ((1, 1),)),
        ("random_zoom", ((5, 5),)),
    ],
)
@pytest.mark.parametrize("fill", ["nearest", "constant", "reflect", "wrap"])
@pytest.mark.parametrize("order", [0, 1, 3])
@pytest.mark.parametrize("axes", [{}, LAST, {"row_axis": 2, "col_axis": 1}])
def test_random_changes_are_bit_equal_and_leave_the_generator_where_keras_does(
    name: str, arguments: tuple[Any, ...], fill: str, order: int, axes: dict[str, int]
) -> None:
    x = noise(6, 9, 5) if axes is LAST else noise(3, 9, 6)
    how = {"fill_mode": fill, "cval": 7.0, "interpolation_order": order, **axes}
    theirs, mine = both(
        lambda module: (getattr(module, name)(x, *arguments, **how), random_state())
    )
    np.testing.assert_array_equal(mine[0], theirs[0])
    assert mine[0].dtype == theirs[0].dtype
    assert mine[1] == theirs[1]


def test_colour_changes_are_keras() -> None:
    x = noise(7, 5, 3)
    for name, arguments in (
        ("random_channel_shift", (40.0,)),
        ("apply_channel_shift", (-33.0,)),
        ("random_brightness", ((0.2, 1.9),)),
        ("random_brightness", ((0.2, 1.9), False)),
        ("apply_brightness_shift", (1.3,)),
        ("apply_brightness_shift", (0.4, False)),
    ):
        for values in (x, x / 255, x * 8 - 500):
            theirs, mine = both(
                lambda module, name=name, values=values, arguments=arguments: getattr(module, name)(
                    values, *arguments
                )
            )
            np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("value", [128, 1024, -1024])
def test_one_colour_keeps_its_value_unless_its_own_range_is_spread(value: int) -> None:
    x = np.full((1, 1, 3), float(value))
    np.testing.assert_array_equal(ours.random_brightness(x, [1, 1], scale=False), x)
    np.testing.assert_array_equal(ours.random_brightness(x, [1, 1], scale=True), 0 * x)


# --- one given change ------------------------------------------------------------------


def test_a_shift_takes_a_point_to_its_neighbour() -> None:
    x = np.zeros((3, 4), np.int64)
    x[1, 1] = 1
    moved = {"left": (1, 0), "right": (1, 2), "up": (0, 1), "down": (2, 1)}
    shifts = {"left": ("tx", 1), "right": ("tx", -1), "up": ("ty", 1), "down": ("ty", -1)}
    for way, place in moved.items():
        expected = np.zeros_like(x)
        expected[place] = 1
        name, step = shifts[way]
        other = "ty" if name == "tx" else "tx"
        for picture, axes, shift in (
            (x[None], {}, {name: step}),
            (x[None], {"row_axis": 2, "col_axis": 1}, {other: step}),
            (x[..., None], LAST, {name: step}),
            (x[..., None], LAST | {"row_axis": 1, "col_axis": 0}, {other: step}),
        ):
            found = ours.apply_affine_transform(picture, **shift, **axes)
            np.testing.assert_array_equal(np.squeeze(found), expected)


def test_a_turn_is_about_the_middle() -> None:
    x = np.array([[0.0, 1.0], [0.0, 0.0]])[..., None]
    turned = ours.apply_affine_transform(x, theta=90, **LAST)
    np.testing.assert_allclose(turned[..., 0], [[1, 0], [0, 0]], atol=1e-12)
    square = ours.apply_affine_transform(np.ones((3, 3, 3)), theta=45, fill_mode="constant", **LAST)
    np.testing.assert_allclose(square[..., 0], [[0, 1, 0], [1, 1, 1], [0, 1, 0]])


def test_a_change_by_given_numbers_is_keras_and_no_change_is_the_same_array() -> None:
    x = noise(8, 11, 3)
    change = {"theta": 12, "tx": 1.5, "ty": -2, "shear": 9, "zx": 0.8, "zy": 1.3}
    theirs, mine = both(lambda module: module.apply_affine_transform(x, **change, **LAST))
    np.testing.assert_array_equal(mine, theirs)
    assert ours.apply_affine_transform(x, **LAST) is x
    matrix = np.arange(9.0).reshape(3, 3)
    theirs, mine = both(lambda module: module.transform_matrix_offset_center(matrix, 7, 4))
    np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_mirrored_picture_is_backwards_along_one_axis(axis: int) -> None:
    x = noise(4, 5, 3)
    theirs, mine = both(lambda module: module.flip_axis(x, axis))
    np.testing.assert_array_equal(mine, theirs)
    np.testing.assert_array_equal(ours.flip_axis(mine, axis), x)


def test_parts_of_a_change_can_be_left_out() -> None:
    x = noise(5, 7, 3)
    generator = ours.ImageDataGenerator(fill_mode="constant")
    np.testing.assert_array_equal(generator.apply_transform(x, {}), x)
    upside_down = generator.apply_transform(x, {"flip_vertical": True})
    np.testing.assert_array_equal(upside_down, x[::-1])
    mirrored = generator.apply_transform(x, {"flip_horizontal": 1})
    np.testing.assert_array_equal(mirrored, x[:, ::-1])


# --- what is refused -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "arguments", "how", "match"),
    [
        ("random_zoom", (0, [0]), {}, "`zoom_range` should be a tuple"),
        ("random_zoom", (0, (0, 0, 0)), {}, "`zoom_range` should be a tuple"),
        ("random_brightness", (0, [0]), {}, "`brightness_range should be tuple"),
        ("apply_affine_transform", (noise(3, 3, 3),), {"row_axis": 0}, "must be distinct"),
        ("apply_affine_transform", (noise(3, 3, 3),), {"row_axis": 3}, "Invalid axis' indices"),
        ("apply_affine_transform", (noise(3, 3),), {}, "must be multi-channel 2D"),
        (
            "apply_affine_transform",
            (noise(3, 3, 3),),
            {"row_axis": 0, "channel_axis": 1},
            "Channels are allowed",
        ),
    ],
)
def test_what_is_refused_is_refused_in_keras_words(
    name: str, arguments: tuple[Any, ...], how: dict[str, int], match: str
) -> None:
    theirs, mine = both(lambda module: refusal(module, name, *arguments, match=match, **how))
    assert mine == theirs


# --- files and arrays ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("suffix", "dtype", "channels", "mode"),
    [
        ("png", "uint8", 3, "rgb"),
        ("png", "uint8", 4, "rgba"),
        ("png", "uint8", 1, "grayscale"),
        ("tiff", "int16", 1, "grayscale"),
        ("tiff", "int32", 1, "grayscale"),
    ],
)
def test_what_is_written_is_read_again(
    tmp_path: Path, suffix: str, dtype: str, channels: int, mode: str
) -> None:
    most = min(np.iinfo(dtype).max, 30_000)
    x = np.random.default_rng(1).integers(0, most, (20, 30, channels)).astype(dtype)
    path = tmp_path / f"x.{suffix}"
    ours.array_to_img(x, scale=False, dtype=dtype).save(path)
    for size in (None, (20, 30)):
        image = ours.load_img(path, color_mode=mode, target_size=size)
        np.testing.assert_array_equal(ours.img_to_array(image, dtype=dtype), x)
        np.testing.assert_array_equal(ours.img_to_array(image), x.astype(np.float32))
    for interpolation in ("nearest", "bilinear"):
        smaller = ours.load_img(path, mode, (5, 6), interpolation)
        assert ours.img_to_array(smaller, dtype=dtype).shape == (5, 6, channels)


def test_a_colour_file_is_read_in_grey_by_either_word(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    ours.save_img(path, noise(6, 8, 3), scale=False)
    by_mode = ours.load_img(path, color_mode="grayscale")
    assert by_mode.mode == "L"
    np.testing.assert_array_equal(ours.load_img(path, grayscale=True), by_mode)
    np.testing.assert_array_equal(ours.load_img(path), keras.utils.load_img(path))


def test_an_interpolation_is_looked_at_only_where_a_size_changes(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    ours.save_img(path, noise(6, 8, 3))
    ours.load_img(path, interpolation="guess")
    with pytest.raises(ValueError, match="Invalid interpolation method guess"):
        ours.load_img(path, target_size=(3, 3), interpolation="guess")


@pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_arrays_become_images_and_arrays_again(data_format: str, channels: int) -> None:
    last = data_format == "channels_last"
    x = noise(*((10, 8, channels) if last else (channels, 10, 8)))
    image = ours.array_to_img(x, data_format=data_format, scale=False)
    assert isinstance(image, Image.Image)
    assert image.size == (8, 10)
    np.testing.assert_array_equal(ours.img_to_array(image, data_format=data_format), x)


@pytest.mark.parametrize(
    ("shape", "data_format", "match"),
    [
        ((10, 8), "channels_first", "rank 3"),
        ((10, 8, 3), "channels", "`data_format` argument must be one of"),
        ((10, 8, 5), "channels_last", "Unsupported channel number"),
    ],
)
def test_arrays_that_are_no_picture_are_refused(
    shape: tuple[int, ...], data_format: str, match: str
) -> None:
    with pytest.raises(ValueError, match=match):
        ours.array_to_img(noise(*shape), data_format=data_format)


def test_many_files_are_read_without_being_left_open(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    path = tmp_path / "x.png"
    ours.save_img(path, noise(1, 1, 3))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
    try:
        images = [ours.load_img(path) for _ in range(300)]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(images) == 300


# --- names -----------------------------------------------------------------------------


def test_pictures_are_listed_at_every_depth_by_their_extensions(tmp_path: Path) -> None:
    names = ["a.png", "b.JPG", "c-1.jpeg", "d.bmp", "e.ppm", "f.tif", "g.tiff"]
    others = ["h.txt", "i.gif", "png", "j.png.txt"]
    for folder in ("", "one", "one/two"):
        (tmp_path / folder).mkdir(exist_ok=True)
        for name in names + others:
            (tmp_path / folder / name).touch()
    found = ours.list_pictures(tmp_path)
    assert len(found) == 3 * len(names)
    assert {Path(path).name for path in found} == set(names)
    assert len(ours.list_pictures(str(tmp_path), ext="png")) == 3
    assert len(ours.list_pictures(tmp_path, ext=("jpg", "bmp"))) == 6


def test_a_valid_name_has_a_known_extension_and_is_a_file(tmp_path: Path) -> None:
    for name in ("x.png", "x.PnG", "x.other", "no_dot_png"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    for name, expected in (
        ("x.png", True),
        ("x.PnG", True),
        ("x.other", False),
        ("missing.png", False),
        ("folder.png", False),
        ("no_dot_png", True),  # Keras asks for the letters alone
    ):
        path = str(tmp_path / name)
        theirs, mine = both(
            lambda module, path=path: module.validate_filename(path, ("png", "jpg"))
        )
        assert bool(mine) is bool(theirs) is expected, name
