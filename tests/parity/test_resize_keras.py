"""quality="compat" against what `keras.utils.load_img` shows: not one value may differ."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from sightline.data.images import Interpolation, load, resize

INTERPOLATIONS = get_args(Interpolation)
COLOURS = {"grayscale": 1, "rgb": 3, "rgba": 4}
SIZES = [(122, 122), (60, 41), (200, 61), (97, 131), (300, 350), (1, 1)]

Shown = Callable[..., npt.NDArray[Any]]


@pytest.fixture(scope="module")
def shown() -> Shown:
    """Return a function that gives Keras' array of a file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the frameworks' own, while they are imported
        utils = pytest.importorskip("keras.utils")

    def show(path: Path, **how: Any) -> npt.NDArray[Any]:
        array: npt.NDArray[Any] = utils.img_to_array(utils.load_img(path, **how))
        return array

    return show


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One picture, 97x131, in the formats and modes that people train on."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (97, 131, 4)).astype(np.uint8)
    pixels = np.asarray(cv2.GaussianBlur(noise, (0, 0), 1.2), np.uint8)
    picture = Image.fromarray(pixels)
    folder = tmp_path_factory.mktemp("files")
    saved = {
        "jpeg rgb": (picture.convert("RGB"), "a.jpg", {"quality": 90}),
        "jpeg progressive": (picture.convert("RGB"), "b.jpg", {"progressive": True}),
        "jpeg grey": (picture.convert("L"), "c.jpg", {"quality": 90}),
        "png rgb": (picture.convert("RGB"), "d.png", {}),
        "png grey": (picture.convert("L"), "e.png", {}),
        "png rgba": (picture, "f.png", {}),
        "png palette": (picture.convert("RGB").convert("P"), "g.png", {}),
    }
    for image, name, options in saved.values():
        image.save(folder / name, **options)
    return {kind: folder / name for kind, (_, name, _) in saved.items()}


KINDS = [
    "jpeg rgb", "jpeg progressive", "jpeg grey", "png rgb", "png grey", "png rgba", "png palette",
]  # fmt: skip


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("colour", sorted(COLOURS))
@pytest.mark.parametrize("kind", KINDS)
def test_compat_has_every_value_of_load_img(
    shown: Shown, files: dict[str, Path], kind: str, colour: str, interpolation: Any
) -> None:
    decoded = load(files[kind], channels=COLOURS[colour], rule_set="keras")  # type: ignore[arg-type]
    for size in SIZES:
        found = resize(decoded, size, quality="compat", interpolation=interpolation)
        how = {"target_size": size, "interpolation": interpolation, "color_mode": colour}
        np.testing.assert_array_equal(found, shown(files[kind], **how), err_msg=str(size))


@pytest.mark.parametrize("stored", [(640, 480), (101, 700), (33, 12)])
def test_compat_has_every_value_of_load_img_at_other_stored_sizes(
    shown: Shown, stored: tuple[int, int], tmp_path: Path
) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (*stored, 3)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    decoded = load(tmp_path / "a.png", rule_set="keras")
    for interpolation in INTERPOLATIONS:
        found = resize(decoded, (122, 90), quality="compat", interpolation=interpolation)
        expected = shown(tmp_path / "a.png", target_size=(122, 90), interpolation=interpolation)
        np.testing.assert_array_equal(found, expected, err_msg=interpolation)
