"""Pictures with a map laid over them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sightline.data import images
from sightline.data.pictures import heat_colours, overlaid, overlaid_thumbnail


def grey(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), 120, np.uint8)


def test_a_picture_stays_as_it_is_where_the_map_is_0() -> None:
    heat = np.zeros((4, 6), np.float32)
    np.testing.assert_array_equal(overlaid(grey(40, 60), heat), grey(40, 60))


def test_a_map_is_stretched_over_the_picture() -> None:
    heat = np.zeros((4, 6), np.float32)
    heat[1, 4] = 1
    changed = (overlaid(grey(40, 60), heat) != 120).any(axis=2)
    np.testing.assert_allclose(np.argwhere(changed).mean(axis=0), [14.5, 44.5], atol=1)


def test_the_colour_grows_with_the_map() -> None:
    found = overlaid(grey(1, 2), np.array([[0.2, 1.0]], np.float32)).astype(int)
    distance = np.abs(found - 120).sum(axis=2)[0]
    assert distance[1] > distance[0]


def test_a_grey_picture_becomes_colour() -> None:
    assert overlaid(grey(8, 8)[..., :1], np.ones((2, 2), np.float32)).shape == (8, 8, 3)


def test_there_is_a_colour_for_each_of_256_values() -> None:
    assert heat_colours().shape == (256, 3)
    assert len(np.unique(heat_colours(), axis=0)) > 200


def test_a_thumbnail_is_small_and_of_the_same_shape(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(images.encode_png(grey(400, 800)))
    picture = overlaid_thumbnail(path, np.ones((2, 2), np.float32), "a", max_side=160)
    assert picture is not None
    assert (picture.height, picture.width, picture.caption) == (80, 160, "a")


def test_what_cannot_be_read_has_no_thumbnail(tmp_path: Path) -> None:
    assert overlaid_thumbnail(tmp_path / "no.png", np.ones((2, 2), np.float32), "a") is None
