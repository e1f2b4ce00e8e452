"""Explanations as nouns: what a map may be, where its peak is, what a check says."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from sightline.records import Explanation, SanityCheck


def explanation(found: Any, **changes: Any) -> Explanation:
    values: dict[str, Any] = {
        "record_id": "a/1.png",
        "method": "gradcam",
        "class_name": "a",
        "probability": 0.75,
        "map": np.asarray(found, np.float32),
        "layer": "conv2d",
    }
    return Explanation(**{**values, **changes})


def check(*correlations: float) -> SanityCheck:
    names = tuple(f"layer_{number}" for number in range(len(correlations)))
    return SanityCheck("gradcam", names, correlations, count=4)


def test_a_map_has_a_height_and_a_width() -> None:
    with pytest.raises(ValueError, match=r"\(height, width\) float32, got \(2,\) float32"):
        explanation([0, 1])


@pytest.mark.parametrize("worst", [1.5, -0.5])
def test_a_map_is_in_0_to_1(worst: float) -> None:
    with pytest.raises(ValueError, match=r"a map must be in 0..1, got"):
        explanation([[0.5, worst]])


def test_a_map_has_no_nan() -> None:
    with pytest.raises(ValueError, match=r"a map must be in 0..1, got"):
        explanation([[0.5, np.nan]])


def test_the_peak_is_the_largest_value() -> None:
    assert explanation([[0, 0.2, 0], [0, 0.1, 1]]).peak() == (1, 2)


def test_the_peak_of_a_plateau_is_its_middle() -> None:
    plateau = np.zeros((9, 9))
    plateau[2:7, 3:8] = 1
    assert explanation(plateau).peak() == (4, 5)


def test_an_empty_map_has_no_peak_in_json() -> None:
    assert explanation(np.zeros((4, 4))).to_dict()["peak"] is None


def test_a_peak_in_json_is_a_share_of_each_side() -> None:
    assert explanation([[0, 0, 0, 1], [0, 0, 0, 0]]).to_dict()["peak"] == [0.25, 0.875]


def test_an_explanation_becomes_json() -> None:
    plain = explanation([[0, 1]], measured={"gap": 0.01}, label="b").to_dict()
    assert json.loads(json.dumps(plain))["measured"] == {"gap": 0.01}


def test_maps_that_stay_alike_fail_the_check() -> None:
    assert not check(0.1, 0.9).passed


def test_maps_that_become_others_pass_the_check() -> None:
    assert check(0.9, 0.1).passed


def test_a_failed_check_says_not_to_trust_the_maps() -> None:
    assert "still have a rank correlation of 0.90" in check(0.9).in_words()


def test_a_check_without_a_map_is_not_applicable() -> None:
    assert "not applicable" in check().in_words()
