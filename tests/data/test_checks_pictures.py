from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from audited_sets import Row, findings, rows


def odd(**columns: Any) -> Row:
    return {"record_id": "a/odd.png", "label": "a", **columns}


def varied(count: int, spread: float, **centres: float) -> list[Row]:
    """Return rows with columns drawn around these values, within a factor of exp(spread)."""
    rng = np.random.default_rng(0)
    made = rows(count, "a")
    for name, centre in centres.items():
        for row, factor in zip(made, np.exp(rng.normal(0, spread, count)), strict=True):
            row[name] = float(centre * factor)
    return made


def test_odd_sizes_are_named_where_one_size_is_the_rule() -> None:
    found = findings([*rows(9), odd(width=100, height=50)])["mixed-sizes"]
    assert found.title == (
        "10 images have 2 sizes, 9 of them 256x256 pixels; sides go from 50 to 256 pixels."
    )
    assert found.evidence["ids_of_odd_sizes"] == ["a/odd.png"]


def test_no_size_is_odd_where_none_is_the_rule() -> None:
    chosen = [{**row, "width": 100 + number} for number, row in enumerate(rows(10))]
    found = findings(chosen)["mixed-sizes"]
    assert (found.outcome, found.evidence["ids_of_odd_sizes"]) == ("found", [])


def test_a_picture_stored_turned_is_of_the_size_it_is_shown_in() -> None:
    chosen = [*rows(5, width=40, height=30), odd(width=30, height=40, orientation=6)]
    assert findings(chosen)["mixed-sizes"].outcome == "passed"


def test_8_and_16_bits_in_one_class_are_a_warning() -> None:
    found = findings([*rows(5), *rows(5, "b"), odd(bits=16)])["mixed-depths"]
    assert (found.outcome, found.severity) == ("found", "warning")
    assert found.evidence["classes_with_both"] == ["a"]
    assert found.evidence["ids_by_bits"] == {"16": ["a/odd.png"]}


def test_classes_of_different_depth_are_left_to_the_shortcut() -> None:
    assert findings([*rows(5), *rows(5, "b", bits=16)])["mixed-depths"].severity == "info"


def test_coloured_images_among_grey_ones_are_named() -> None:
    found = findings([*rows(5, grey=True), odd(grey=False)])["mixed-colours"]
    assert found.title == "Images differ in colour: 5 grey and 1 coloured."
    assert found.evidence["ids_by_colour"] == {"coloured": ["a/odd.png"]}


def test_grey_images_stored_in_two_ways_are_told_by_mode() -> None:
    found = findings([*rows(5, grey=True, mode="L"), odd(grey=True)])["mixed-colours"]
    assert found.evidence["ids_by_mode"] == {"RGB": ["a/odd.png"]}


def test_exif_rotations_are_named_by_orientation() -> None:
    found = findings([*rows(5), odd(orientation=6)])["exif-rotations"]
    assert (found.outcome, found.severity) == ("found", "info")
    assert found.evidence["ids_by_orientation"] == {"6": ["a/odd.png"]}


def test_an_image_of_one_colour_is_found_and_neither_dark_nor_blurred() -> None:
    blank = odd(contrast=0.0, brightest=0.0, sharpness=0.0, brightness=0.0)
    found = findings([*rows(50), blank])
    assert found["constant-images"].evidence["ids"] == ["a/odd.png"]
    assert found["dark-images"].outcome == found["blurred-images"].outcome == "passed"


def test_what_is_dark_or_blurred_is_so_of_all_usable_images() -> None:
    chosen = [*rows(50), *rows(5, "b", contrast=0.0, brightest=0.0, sharpness=0.0)]
    found = findings([*chosen, odd(brightest=30.0, sharpness=1.0)])
    assert found["dark-images"].title.startswith("1 of 56 images is very dark")
    assert found["blurred-images"].title.startswith("1 of 56 images looks blurred")


def test_the_last_of_many_kinds_is_named_and_several_are_counted() -> None:
    modes = ("RGB", "L", "P", "RGBA", "CMYK")
    five = [row for mode in modes for row in rows(3, mode, mode=mode)]
    six = [*five, *rows(3, "1", mode="1")]
    assert "stored as RGB" in (title := findings(five)["mixed-colours"].title)
    assert "other kind" not in title
    assert "6 of 2 other kinds" in findings(six)["mixed-colours"].title


def test_a_dark_image_among_bright_ones_is_found() -> None:
    chosen = varied(200, 0.1, brightest=200.0)
    found = findings([*chosen, odd(brightest=30.0)])["dark-images"]
    assert found.evidence["ids"] == ["a/odd.png"]


def test_a_blurred_image_among_sharp_ones_is_found() -> None:
    chosen = varied(200, 0.4, sharpness=150.0)
    found = findings([*chosen, odd(sharpness=4.0)])["blurred-images"]
    assert found.evidence["ids"] == ["a/odd.png"]


@pytest.mark.parametrize("brightest", [60.0, 30.0, 12.0])
def test_a_set_that_is_dark_throughout_has_no_dark_images(brightest: float) -> None:
    chosen = varied(300, 0.4, brightest=brightest)
    assert findings(chosen)["dark-images"].outcome == "passed"


def test_a_set_that_is_soft_throughout_has_no_blurred_images() -> None:
    chosen = varied(300, 0.4, sharpness=5.0)
    assert findings(chosen)["blurred-images"].outcome == "passed"


def test_the_darkest_of_a_bright_set_is_not_dark() -> None:
    assert findings([*rows(100), odd(brightest=110.0)])["dark-images"].outcome == "passed"


def test_low_contrast_is_not_mistaken_for_blur() -> None:
    chosen = [*varied(200, 0.3, sharpness=400.0), odd(sharpness=4.0, contrast=5.0)]
    assert findings(chosen)["blurred-images"].outcome == "passed"


def test_small_pictures_have_no_sharpness_to_judge() -> None:
    chosen = rows(50, width=8, height=8)
    assert findings(chosen)["blurred-images"].outcome == "not applicable"
