from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sightline.data.stream import StreamConfig
from sightline.recipes import AugmentSection, load_recipe


def config(**changes: Any) -> StreamConfig:
    return StreamConfig(**{"image_size": (8, 10), **changes})


# --- what is refused -------------------------------------------------------------------


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
        {"channels": 2},
        {"scaling": "1/256"},
        {"dtype": "float64"},
        {"layout": "NCHW"},
        {"quality": "torch"},
        {"interpolation": "linear"},
        {"sampling": "balanced"},
        {"max_fault_share": -0.1},
        {"max_fault_share": float("nan")},
        {"background": (0, 0, 256)},
    ],
)
def test_a_bad_setting_is_refused_by_name_and_value(bad: dict[str, Any]) -> None:
    name, value = next(iter(bad.items()))
    with pytest.raises(ValueError, match=rf"{name} must be .* got '?{re.escape(str(value))}"):
        config(**bad)


def test_a_setting_never_changes() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'seed'"):
        config().seed = 1  # type: ignore[misc]


def test_only_compat_crops_to_the_shape() -> None:
    with pytest.raises(ValueError, match='crop_to_aspect_ratio needs quality="compat", got \'fast'):
        config(crop_to_aspect_ratio=True)
    assert config(crop_to_aspect_ratio=True, quality="compat").crop_to_aspect_ratio


def test_sampling_at_random_without_shuffling_is_refused() -> None:
    with pytest.raises(ValueError, match=r"sampling='weighted' draws at random.* shuffle=True"):
        config(sampling="weighted")


THREE = (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"mean": (0.5,), "std": THREE}, r"takes 3 finite values of mean, got \(0\.5,\)"),
        ({"mean": THREE, "std": ()}, r"takes 3 finite values of std, got \(\)"),
        ({"mean": (0.5, 0.5, float("nan")), "std": THREE}, r"3 finite values of mean, got"),
        ({"mean": THREE, "std": (0.5, 0, 0.5)}, r"std must be above 0, got \(0\.5, 0, 0\.5\)"),
        ({"mean": THREE, "std": THREE, "channels": 1}, r"1 channels takes 1 finite values of mean"),
        ({"mean": THREE, "std": THREE, "scaling": "1/255"}, r"takes 0 finite values of mean, got"),
    ],
)
def test_a_mean_that_does_not_fit_the_scaling_is_refused(bad: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config(**{"scaling": "mean-std", **bad})


# --- what follows from the settings ----------------------------------------------------


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
def test_the_fault_budget_is_a_share_with_a_ceiling_and_lets_one_pass(
    settings: dict[str, Any], total: int, allowed: int
) -> None:
    assert config(**settings).fault_budget(total) == allowed


@pytest.mark.parametrize(
    ("quality", "rule_set"), [("fast", "sightline"), ("best", "sightline"), ("compat", "keras")]
)
def test_only_compat_decodes_odd_files_by_keras_rules(quality: Any, rule_set: str) -> None:
    assert config(quality=quality).rule_set == rule_set


def test_bytes_count_channels_batch_and_type() -> None:
    floats, whole = (config(channels=4, batch_size=5, dtype=each) for each in ("float32", "uint8"))
    assert (floats.picture_bytes, floats.batch_bytes) == (320, 6400)
    assert (whole.picture_bytes, whole.batch_bytes) == (320, 1600)


@pytest.mark.parametrize(
    ("layout", "shape"), [("channels-last", (8, 10, 3)), ("channels-first", (3, 8, 10))]
)
def test_the_output_has_the_shape_of_the_layout(layout: Any, shape: tuple[int, ...]) -> None:
    assert config(layout=layout).output().shape == shape


@pytest.mark.parametrize("scaling", ["1/255", "none", "per-image"])
def test_whole_numbers_are_never_scaled(scaling: Any) -> None:
    output = config(dtype="uint8", scaling=scaling).output()
    assert (output.scale, output.offset, output.per_image) == ((1.0,) * 3, (0.0,) * 3, False)


def test_whole_numbers_are_not_scaled_by_a_mean_either() -> None:
    output = config(dtype="uint8", scaling="mean-std", mean=THREE, std=THREE).output()
    assert (output.scale, output.offset) == ((1.0,) * 3, (0.0,) * 3)


def test_a_mean_and_deviation_become_a_factor_and_a_term() -> None:
    mean, std = (0.2, 0.5, 0.7), (0.1, 0.25, 0.5)
    output = config(scaling="mean-std", mean=mean, std=std).output()
    levels = np.array([0.0, 100, 255])[:, None]
    expected = (levels / 255 - mean) / std
    np.testing.assert_allclose(levels * output.scale + output.offset, expected, atol=1e-12)


def test_the_fill_of_the_augmentation_reaches_the_output() -> None:
    output = config(augment=AugmentSection(fill="constant", fill_value=9)).output()
    assert (output.fill, output.fill_value) == ("constant", 9)


# --- from a recipe ---------------------------------------------------------------------


CHANGES = {
    "data.image_size": [8, 10],
    "data.channels": 1,
    "data.quality": "best",
    "data.scaling": "per-image",
    "data.background": [1, 2, 3],
    "train.batch_size": 4,
    "seed": 9,
    "augment.rotation": 20,
    "augment.brightness": 0.25,
    "augment.channel_shift": 30,
}


def of_recipe(*, training: bool) -> StreamConfig:
    recipe = load_recipe("basic", CHANGES)
    return StreamConfig.of(recipe, training=training, cache=Path("kept"))


@pytest.mark.parametrize("training", [True, False])
def test_a_recipe_says_how_images_are_streamed(training: bool) -> None:
    found = of_recipe(training=training)
    assert (found.image_size, found.channels, found.batch_size) == ((8, 10), 1, 4)
    assert (found.quality, found.scaling, found.background) == ("best", "per-image", (1, 2, 3))
    assert (found.seed, found.cache) == (9, Path("kept"))


def test_training_is_shuffled_and_changed() -> None:
    found = of_recipe(training=True)
    assert found.shuffle
    assert found.augment is not None
    assert (found.augment.rotation, found.augment.brightness) == (20, 0.25)
    assert found.augment.channel_shift == 30


def test_judging_is_neither_shuffled_nor_changed() -> None:
    found = of_recipe(training=False)
    assert (found.shuffle, found.augment) == (False, None)
