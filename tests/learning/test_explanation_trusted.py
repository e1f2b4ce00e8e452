"""Whether maps can be trusted, and what many of them say together."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tiny  # noqa: F401  (chooses a backend before Keras is imported)

# isort: split
import keras
from keras import layers

from sightline.learning.explanation import (
    Probe,
    attention_of,
    border_finding,
    check_sanity,
    rank_correlation,
    sanity_finding,
)
from sightline.learning.models import forward
from sightline.records import Explanation

SHAPE = (16, 16, 3)


def probe() -> Probe:
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input(SHAPE),
            layers.Conv2D(8, 3, activation="relu", name="first"),
            layers.BatchNormalization(name="normalised"),
            layers.Conv2D(8, 3, activation="relu", name="second"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3, activation="softmax", name="last"),
        ]
    )
    return Probe.of(model, SHAPE)


def images(count: int = 4) -> npt.NDArray[np.float32]:
    return np.random.default_rng(1).random((count, *SHAPE), np.float32)


def explanations(maps: Any, *, class_name: str = "a") -> list[Explanation]:
    return [
        Explanation(f"{number}.png", "gradcam", class_name, 0.9, np.asarray(each, np.float32))
        for number, each in enumerate(maps)
    ]


def spots(count: int, *, border: bool) -> npt.NDArray[np.float32]:
    """Return maps of 20x20 with one spot each, on the outer ring or inside of it."""
    rng = np.random.default_rng(4)
    maps = np.zeros((count, 20, 20), np.float32)
    for each in maps:
        across = rng.integers(2, 18)
        each[0 if border else rng.integers(2, 18), across] = 1
    return maps


# --- the sanity check ------------------------------------------------------------------


def test_weights_are_made_random_from_the_output_downwards() -> None:
    targets = np.array([0, 1, 2, 0])
    check = check_sanity(probe(), images(), targets, "gradcam", None)
    assert check.layers == ("last", "second", "normalised", "first")
    assert all(-1 <= value <= 1 for value in check.correlations)


def test_the_weights_are_put_back() -> None:
    asked = probe()
    before = forward.get_weights(asked.model)
    check_sanity(asked, images(), np.array([0, 1, 2, 0]), "gradcam", None)
    after = forward.get_weights(asked.model)
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_the_check_is_repeatable() -> None:
    one, other = (
        check_sanity(probe(), images(), np.array([0, 1, 2, 0]), "gradcam++", None) for _ in range(2)
    )
    assert one == other


def test_a_deep_network_is_made_random_in_nine_stages() -> None:
    stack = [layers.Conv2D(2, 1) for _ in range(20)]
    last = [layers.GlobalAveragePooling2D(), layers.Dense(1, activation="sigmoid")]
    deep = Probe.of(keras.Sequential([keras.Input(SHAPE), *stack, *last]), SHAPE)
    check = check_sanity(deep, images(), np.array([0, 1, 0, 1]), "gradcam", None)
    assert len(check.layers) == 9
    assert (check.layers[0], check.layers[-1]) == (deep.weighted[-1][0], deep.weighted[0][0])


def test_maps_that_no_weight_changes_fail_the_check() -> None:
    """The score is |w c| times the mean of the pixels, so the map is the image for any w and c."""
    start = keras.Input((16, 16, 1))
    seen = layers.DepthwiseConv2D(1, use_bias=False)(start)
    logit = layers.Dense(1, use_bias=False)(layers.GlobalAveragePooling2D()(seen))
    model = keras.Model(start, keras.ops.sigmoid(keras.ops.abs(logit)))
    grey = images(4)[..., :1]
    check = check_sanity(Probe.of(model, (16, 16, 1)), grey, np.ones(4, int), "gradcam", None)
    assert check.correlations == pytest.approx([1, 1])
    found = sanity_finding(check)
    assert (found.outcome, found.severity) == ("found", "warning")


def test_a_check_without_any_map_is_not_applicable() -> None:
    black = np.zeros((2, *SHAPE), np.float32)
    check = check_sanity(probe(), black, np.array([0, 1]), "integrated-gradients", None)
    assert sanity_finding(check).outcome == "not applicable"


@pytest.mark.parametrize(
    ("other", "expected"), [([1, 2, 3, 9], 1), ([9, 3, 2, 1], -1), ([5, 5, 5, 5], 0)]
)
def test_rank_correlation_is_that_of_ranks(other: list[int], expected: float) -> None:
    assert rank_correlation(np.array([1, 2, 3, 4]), np.array(other)) == pytest.approx(expected)


def test_rank_correlation_with_ties_is_that_of_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, 5, 200), rng.integers(0, 5, 200)
    assert rank_correlation(one, other) == pytest.approx(stats.spearmanr(one, other).statistic)


# --- a whole split ---------------------------------------------------------------------


def test_attention_spread_evenly_has_the_share_of_the_ring() -> None:
    attention = attention_of(explanations(np.ones((12, 20, 20))), "validation")
    assert attention.expected == pytest.approx(1 - 0.8 * 0.8)
    assert attention.whole.border.value == pytest.approx(attention.expected)


def test_attention_on_the_border_is_found() -> None:
    found = border_finding(attention_of(explanations(spots(12, border=True)), "validation"))
    assert (found.outcome, found.severity) == ("found", "warning")
    assert "100% of the attention" in found.title


def test_attention_inside_passes() -> None:
    found = border_finding(attention_of(explanations(spots(12, border=False)), "validation"))
    assert found.outcome == "passed"


def test_a_border_that_tells_one_class_is_found() -> None:
    both = explanations(spots(40, border=False), class_name="a")
    both += explanations(spots(12, border=True), class_name="b")
    found = border_finding(attention_of(both, "validation"))
    assert "taken for 'b'" in found.title


def test_few_images_are_too_few_to_say() -> None:
    found = border_finding(attention_of(explanations(spots(9, border=True)), "validation"))
    assert found.outcome == "not applicable"


def test_every_image_counts_alike_in_the_average() -> None:
    maps = np.zeros((2, 10, 10), np.float32)
    maps[0, 4, 4] = 1
    maps[1, 5:7, 5:7] = 1  # a larger spot is fainter
    average = attention_of(explanations(maps), "validation").whole.average
    assert (average[4, 4], average[5, 5]) == (1, 0.25)


def test_empty_maps_are_counted_and_left_out() -> None:
    maps = np.concatenate([spots(11, border=True), np.zeros((3, 20, 20), np.float32)])
    whole = attention_of(explanations(maps), "validation").whole
    assert (whole.count, whole.empty, whole.border.value) == (11, 3, 1)


def test_the_interval_of_the_share_is_that_of_a_mean() -> None:
    maps = np.concatenate([spots(50, border=True), spots(50, border=False)])
    border = attention_of(explanations(maps), "validation").whole.border
    half = 1.96 * 0.5 / np.sqrt(100)
    assert border.low == pytest.approx(0.5 - half, abs=0.02)
    assert border.high == pytest.approx(0.5 + half, abs=0.02)
