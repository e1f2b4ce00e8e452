from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest

from sightline.data.stream import StreamConfig


@pytest.mark.parametrize(
    "bad",
    [
        {"image_size": (0, 8)},
        {"image_size": (8,)},
        {"batch_size": 0},
        {"prefetch": 0},
        {"max_faults": -1},
        {"seed": -1},
        {"seed": 2**32},
        {"num_threads": -1},
        {"channels": 4},
        {"scaling": "1/256"},
        {"dtype": "float64"},
        {"rule_set": "torch"},
        {"max_fault_share": -0.1},
        {"max_fault_share": float("nan")},
        {"background": (0, 0, 256)},
    ],
)
def test_a_bad_setting_is_refused_by_name_and_value(bad: dict[str, Any]) -> None:
    name, value = next(iter(bad.items()))
    with pytest.raises(ValueError, match=rf"{name} must be .* got '?{re.escape(str(value))}"):
        StreamConfig(**{"image_size": (8, 8), **bad})


def test_a_setting_never_changes() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'seed'"):
        StreamConfig(image_size=(8, 8)).seed = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("settings", "total", "allowed"),
    [
        ({}, 40, 1),
        ({}, 1000, 10),
        ({}, 50_000, 100),
        ({"max_fault_share": 2 / 23}, 23, 2),
        ({"max_fault_share": 0}, 1000, 0),
        ({"max_faults": 0}, 1000, 0),
    ],
)
def test_the_fault_budget_is_a_share_with_a_ceiling_and_lets_one_pass(settings, total, allowed):
    assert StreamConfig(image_size=(8, 8), **settings).fault_budget(total) == allowed
