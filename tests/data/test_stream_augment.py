from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from sightline.data.stream import augment, kernels
from sightline.recipes import AugmentSection

SIZE = (9, 14)
ROWS = np.arange(4000)
Floats = npt.NDArray[np.float64]


def picture(height: int = SIZE[0], width: int = SIZE[1], channels: int = 3) -> kernels.Image:
    """Return a smooth picture without any symmetry, 0..255."""
    noise = np.random.default_rng(3).integers(0, 256, (height, width, channels)).astype(np.uint8)
    return np.asarray(cv2.GaussianBlur(noise, (3, 3), 0), np.uint8).reshape(noise.shape)


def matrix(size: tuple[int, int] = SIZE, **parameters: float) -> Floats:
    """Return the (2, 3) matrix of these parameters; the others change nothing."""
    values: dict[str, Any] = {
        "theta": 0.0, "shift_y": 0.0, "shift_x": 0.0, "shear": 0.0,
        "zoom_y": 1.0, "zoom_x": 1.0, "flip_x": False, "flip_y": False, **parameters,
    }  # fmt: skip
    return augment.matrices(
        size=size, **{name: np.array([value]) for name, value in values.items()}
    )[0]


def warped(
    image: kernels.Image, how: Floats, fill: str = "nearest", dtype: str = "float32"
) -> npt.NDArray[Any]:
    out = np.empty(image.shape, dtype)
    kernels.write_warped(image, out, 1.0, matrix=how, fill=fill, fill_value=7)
    return out


def drawn(section: AugmentSection, epoch: int = 0) -> Floats:
    return augment.draw_matrices(section, size=SIZE, seed=0, epoch=epoch, rows=ROWS)


def by_keras_rules(size: tuple[int, int], **parameters: float) -> Floats:
    """Return Keras' 3x3 product about the true centre, with x = column and y = row."""
    cos, sin = np.cos(parameters["theta"]), np.sin(parameters["theta"])
    across, down = np.sin(parameters["shear"]), np.cos(parameters["shear"])
    rotation = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    shift = np.array([[1, 0, parameters["shift_x"]], [0, 1, parameters["shift_y"]], [0, 0, 1]])
    shear = np.array([[1, -across, 0], [0, down, 0], [0, 0, 1]])
    zoom = np.diag([parameters["zoom_x"], parameters["zoom_y"], 1])
    to, back = np.eye(3), np.eye(3)
    to[:2, 2] = (size[1] - 1) / 2, (size[0] - 1) / 2
    back[:2, 2] = -to[:2, 2]
    product: Floats = to @ rotation @ shift @ shear @ zoom @ back
    return product


moves = st.fixed_dictionaries(
    {
        "theta": st.floats(-np.pi, np.pi),
        "shift_y": st.floats(-5, 5),
        "shift_x": st.floats(-5, 5),
        "shear": st.floats(-0.7, 0.7),
        "zoom_y": st.floats(0.5, 1.5),
        "zoom_x": st.floats(0.5, 1.5),
    }
)
image_sizes = st.tuples(st.integers(1, 40), st.integers(1, 40))


# --- the geometry ----------------------------------------------------------------------


@given(image_sizes, moves)
def test_a_matrix_is_keras_product_about_the_centre(
    size: tuple[int, int], parameters: dict[str, float]
) -> None:
    expected = by_keras_rules(size, **parameters)[:2]
    np.testing.assert_allclose(matrix(size, **parameters), expected, atol=1e-9)


@pytest.mark.parametrize("fill", ["nearest", "reflect"])
@given(parameters=moves)
def test_pixels_are_those_of_scipys_bilinear_transform(
    fill: str, parameters: dict[str, float]
) -> None:
    image = picture(channels=1)
    how = by_keras_rules(SIZE, **parameters)
    swapped = how[[1, 0]][:, [1, 0, 2]]  # SciPy counts (row, column)
    expected = ndimage.affine_transform(
        image[..., 0].astype(np.float32), swapped[:, :2], swapped[:, 2], order=1, mode=fill
    )
    np.testing.assert_allclose(warped(image, how[:2], fill)[..., 0], expected, atol=0.01)


@given(image_sizes)
def test_parameters_that_change_nothing_give_the_identity(size: tuple[int, int]) -> None:
    np.testing.assert_allclose(matrix(size), [[1, 0, 0], [0, 1, 0]], atol=1e-12)


def test_a_horizontal_flip_mirrors_left_and_right_and_nothing_else() -> None:
    image = picture()
    np.testing.assert_array_equal(warped(image, matrix(flip_x=True)), image[:, ::-1])


def test_a_vertical_flip_mirrors_up_and_down_and_nothing_else() -> None:
    image = picture()
    np.testing.assert_array_equal(warped(image, matrix(flip_y=True)), image[::-1])


def test_a_flip_comes_after_every_other_move() -> None:
    image, moved = picture(), {"theta": 0.4, "shift_x": 2.0, "shear": 0.1, "zoom_y": 1.2}
    np.testing.assert_allclose(
        warped(image, matrix(flip_x=True, **moved)),
        warped(image, matrix(**moved))[:, ::-1],
        atol=0.01,
    )


def test_a_shift_along_x_moves_whole_columns() -> None:
    image = picture()
    np.testing.assert_array_equal(warped(image, matrix(shift_x=3.0))[:, :-3], image[:, 3:])


def test_a_shift_along_y_moves_whole_rows() -> None:
    image = picture()
    np.testing.assert_array_equal(warped(image, matrix(shift_y=2.0))[:-2], image[2:])


def test_a_half_turn_turns_an_image_that_is_not_square_about_its_centre() -> None:
    image = picture()
    turned = warped(image, matrix(theta=np.pi))
    np.testing.assert_allclose(turned, image[::-1, ::-1], atol=0.01)


def test_a_zoom_below_one_shows_less_of_the_image() -> None:
    left, right = (matrix(zoom_x=0.5) @ [x, 0, 1] for x in (0, SIZE[1] - 1))
    assert right[0] - left[0] == pytest.approx((SIZE[1] - 1) / 2)


# --- the fill --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fill", "columns"),
    [
        ("nearest", [0, 0, 0, 0, 1]),
        ("reflect", [2, 1, 0, 0, 1]),
        ("wrap", [11, 12, 13, 0, 1]),
    ],
)
def test_what_comes_in_from_outside(fill: str, columns: list[int]) -> None:
    image = picture()
    moved = warped(image, matrix(shift_x=-3.0), fill)
    np.testing.assert_array_equal(moved[:, :5], image[:, columns])


def test_a_constant_fill_has_its_value() -> None:
    assert (warped(picture(), matrix(shift_x=-3.0), "constant")[:, :3] == 7).all()


def test_a_constant_fill_is_scaled_like_the_image() -> None:
    image = picture()
    out = np.empty(image.shape, np.float32)
    kernels.write_warped(
        image, out, 1 / 255, matrix=matrix(shift_x=-3.0), fill="constant", fill_value=51
    )
    np.testing.assert_allclose(out[:, :3], 51 / 255, rtol=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_whole_numbers_are_the_rounded_floats(channels: int) -> None:
    image, how = picture(channels=channels), matrix(theta=0.3, zoom_x=1.1)
    floats, whole = warped(image, how), warped(image, how, dtype="uint8")
    assert np.abs(floats - whole.astype(np.float32)).max() <= 1


# --- the draws -------------------------------------------------------------------------


def test_a_section_without_moves_moves_nothing() -> None:
    assert not augment.moves(AugmentSection())


@pytest.mark.parametrize(
    "name",
    [
        "rotation",
        "width_shift",
        "height_shift",
        "shear",
        "zoom",
        "horizontal_flip",
        "vertical_flip",
    ],
)
def test_every_move_of_a_section_counts(name: str) -> None:
    assert augment.moves(AugmentSection.model_validate({name: name.endswith("flip") or 0.5}))


def test_without_moves_every_draw_is_the_identity() -> None:
    identity = np.broadcast_to([[1, 0, 0], [0, 1, 0]], (len(ROWS), 2, 3))
    np.testing.assert_allclose(drawn(AugmentSection()), identity, atol=1e-12)


@pytest.mark.parametrize(("name", "axis"), [("horizontal_flip", 0), ("vertical_flip", 1)])
def test_half_of_the_images_are_flipped_and_the_rest_are_untouched(name: str, axis: int) -> None:
    found = drawn(AugmentSection.model_validate({name: True}))
    flip = np.array([[1.0, 0, 0], [0, 1, 0]])
    flip[axis] *= -1
    flip[axis, 2] = SIZE[1 - axis] - 1
    flipped = np.isclose(found, flip, atol=1e-12).all(axis=(1, 2))
    untouched = np.isclose(found, np.eye(3)[:2], atol=1e-12).all(axis=(1, 2))
    assert (flipped | untouched).all()
    assert 0.46 < flipped.mean() < 0.54  # five deviations of 4000 draws


@pytest.mark.parametrize(
    ("name", "axis", "most"),
    [("width_shift", 0, 0.25 * SIZE[1]), ("height_shift", 1, 0.25 * SIZE[0])],
)
def test_a_shift_is_a_share_of_its_own_side(name: str, axis: int, most: float) -> None:
    moved = drawn(AugmentSection.model_validate({name: 0.25}))[:, :, 2]
    assert np.abs(moved[:, axis]).max() <= most
    assert (moved[:, axis].min(), moved[:, axis].max()) == pytest.approx((-most, most), rel=0.01)
    np.testing.assert_allclose(moved[:, 1 - axis], 0, atol=1e-12)


def test_a_rotation_stays_within_its_degrees_on_both_sides() -> None:
    found = drawn(AugmentSection(rotation=20))
    degrees = np.rad2deg(np.arctan2(found[:, 1, 0], found[:, 0, 0]))
    assert np.abs(degrees).max() <= 20
    assert (degrees.min(), degrees.max()) == pytest.approx((-20, 20), rel=0.01)


def test_shear_is_in_degrees() -> None:
    found = drawn(AugmentSection(shear=10))
    degrees = np.rad2deg(np.arcsin(-found[:, 0, 1]))
    assert (degrees.min(), degrees.max()) == pytest.approx((-10, 10), rel=0.01)


def test_each_axis_has_a_zoom_of_its_own_around_one() -> None:
    found = drawn(AugmentSection(zoom=0.2))
    zoom_x, zoom_y = found[:, 0, 0], found[:, 1, 1]
    for zoom in (zoom_x, zoom_y):
        assert (zoom.min(), zoom.max()) == pytest.approx((0.8, 1.2), rel=0.01)
    assert abs(np.corrcoef(zoom_x, zoom_y)[0, 1]) < 0.08


def test_switching_one_move_on_leaves_the_other_draws_as_they_were() -> None:
    only = drawn(AugmentSection(width_shift=0.2))[:, 0, 2]
    both = drawn(AugmentSection(width_shift=0.2, height_shift=0.2))[:, 0, 2]
    np.testing.assert_allclose(only, both)


def test_every_epoch_draws_anew() -> None:
    section = AugmentSection(rotation=20)
    assert not np.isclose(drawn(section, 0), drawn(section, 1)).all(axis=(1, 2)).any()


def test_the_matrix_of_a_record_does_not_depend_on_its_batch() -> None:
    section = AugmentSection(rotation=20, zoom=0.2, shear=3, width_shift=0.1)
    alone = augment.draw_matrices(section, size=SIZE, seed=0, epoch=0, rows=np.array([77]))
    np.testing.assert_array_equal(alone[0], drawn(section)[77])


def test_the_draws_of_a_record_stay_the_same_for_ever() -> None:
    # A saved run resumes by drawing again: change these numbers only with the run format version.
    section = AugmentSection(
        rotation=20, width_shift=0.2, height_shift=0.1, shear=5, zoom=0.3, horizontal_flip=True
    )
    found = augment.draw_matrices(section, size=(10, 20), seed=7, epoch=3, rows=np.array([0, 1]))
    np.testing.assert_allclose(found, GOLDEN, atol=1e-12)


GOLDEN = [
    [
        [-1.1463200748076492, -0.17747227238624133, 21.675215884256918],
        [-0.08167371287732048, 1.149307119956826, -0.03568554718568606],
    ],
    [
        [-0.9165254387704048, -0.07816451979642541, 15.036239033285241],
        [-0.06752483472765143, 1.0271185727425238, -0.018951129256462806],
    ],
]
