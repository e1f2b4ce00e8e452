"""The five networks against tables worked out by hand from the published descriptions."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from tiny import small_recipe

from sightline.errors import RecipeError
from sightline.learning.models import forward, networks
from sightline.recipes import load_recipe

Row = tuple[str, tuple[int, ...], int]
"""Kind of layer, what it puts out, and its parameters: kernel elements plus biases."""

SKIN_BINARY: list[Row] = [
    ("InputLayer", (122, 122, 3), 0),
    ("Conv2D", (122, 122, 16), 3 * 3 * 3 * 16 + 16),
    ("MaxPooling2D", (61, 61, 16), 0),
    ("Dropout", (61, 61, 16), 0),
    ("Conv2D", (61, 61, 32), 3 * 3 * 16 * 32 + 32),
    ("MaxPooling2D", (30, 30, 32), 0),
    ("Dropout", (30, 30, 32), 0),
    ("Flatten", (28800,), 0),
    ("Dense", (512,), 28800 * 512 + 512),
    ("Dropout", (512,), 0),
    ("Dense", (1,), 512 + 1),
]
HAM10000: list[Row] = [
    ("InputLayer", (90, 120, 3), 0),
    ("Conv2D", (86, 116, 30), 5 * 5 * 3 * 30 + 30),
    ("Conv2D", (84, 114, 30), 3 * 3 * 30 * 30 + 30),
    ("BatchNormalization", (84, 114, 30), 4 * 30),
    ("MaxPooling2D", (42, 57, 30), 0),
    ("Conv2D", (40, 55, 20), 3 * 3 * 30 * 20 + 20),
    ("Conv2D", (38, 53, 15), 3 * 3 * 20 * 15 + 15),
    ("GroupNormalization", (38, 53, 15), 2 * 15),
    ("MaxPooling2D", (19, 26, 15), 0),
    ("Conv2D", (17, 24, 10), 3 * 3 * 15 * 10 + 10),
    ("Flatten", (4080,), 0),
    ("LayerNormalization", (4080,), 2 * 4080),
    ("Dense", (256,), 4080 * 256 + 256),
    ("BatchNormalization", (256,), 4 * 256),
    ("Dropout", (256,), 0),
    ("Dense", (128,), 256 * 128 + 128),
    ("BatchNormalization", (128,), 4 * 128),
    ("Dropout", (128,), 0),
    ("Dense", (7,), 128 * 7 + 7),
]
# A separable convolution has one 3x3 kernel a channel, then a 1x1 convolution with a bias.
CHEST_XRAY: list[Row] = [
    ("InputLayer", (180, 180, 3), 0),
    ("Conv2D", (180, 180, 16), 3 * 3 * 3 * 16 + 16),
    ("Conv2D", (180, 180, 16), 3 * 3 * 16 * 16 + 16),
    ("MaxPooling2D", (90, 90, 16), 0),
    ("SeparableConv2D", (90, 90, 32), 9 * 16 + 16 * 32 + 32),
    ("SeparableConv2D", (90, 90, 32), 9 * 32 + 32 * 32 + 32),
    ("BatchNormalization", (90, 90, 32), 4 * 32),
    ("MaxPooling2D", (45, 45, 32), 0),
    ("SeparableConv2D", (45, 45, 64), 9 * 32 + 32 * 64 + 64),
    ("SeparableConv2D", (45, 45, 64), 9 * 64 + 64 * 64 + 64),
    ("BatchNormalization", (45, 45, 64), 4 * 64),
    ("MaxPooling2D", (22, 22, 64), 0),
    ("SeparableConv2D", (22, 22, 128), 9 * 64 + 64 * 128 + 128),
    ("SeparableConv2D", (22, 22, 128), 9 * 128 + 128 * 128 + 128),
    ("BatchNormalization", (22, 22, 128), 4 * 128),
    ("MaxPooling2D", (11, 11, 128), 0),
    ("Dropout", (11, 11, 128), 0),
    ("SeparableConv2D", (11, 11, 256), 9 * 128 + 128 * 256 + 256),
    ("SeparableConv2D", (11, 11, 256), 9 * 256 + 256 * 256 + 256),
    ("BatchNormalization", (11, 11, 256), 4 * 256),
    ("MaxPooling2D", (5, 5, 256), 0),
    ("Dropout", (5, 5, 256), 0),
    ("Flatten", (6400,), 0),
    ("Dense", (512,), 6400 * 512 + 512),
    ("BatchNormalization", (512,), 4 * 512),
    ("Dropout", (512,), 0),
    ("Dense", (128,), 512 * 128 + 128),
    ("BatchNormalization", (128,), 4 * 128),
    ("Dropout", (128,), 0),
    ("Dense", (64,), 128 * 64 + 64),
    ("BatchNormalization", (64,), 4 * 64),
    ("Dropout", (64,), 0),
    ("Dense", (1,), 64 + 1),
]
BASIC: list[Row] = [
    ("InputLayer", (24, 20, 1), 0),
    ("Conv2D", (24, 20, 32), 3 * 3 * 1 * 32 + 32),
    ("MaxPooling2D", (12, 10, 32), 0),
    ("Conv2D", (12, 10, 64), 3 * 3 * 32 * 64 + 64),
    ("MaxPooling2D", (6, 5, 64), 0),
    ("Flatten", (1920,), 0),
    ("Dense", (64,), 1920 * 64 + 64),
    ("Dense", (4,), 64 * 4 + 4),
]
# `auto` with two stages of 8 filters; no biases before batch normalisation.
RESIDUAL: list[Row] = [
    ("InputLayer", (24, 24, 3), 0),
    ("Conv2D", (24, 24, 16), 3 * 3 * 3 * 16),
    *[
        ("BatchNormalization", (24, 24, 16), 4 * 16),
        ("ReLU", (24, 24, 16), 0),
        ("Conv2D", (24, 24, 16), 3 * 3 * 16 * 16),
        ("BatchNormalization", (24, 24, 16), 4 * 16),
        ("ReLU", (24, 24, 16), 0),
        ("Conv2D", (24, 24, 16), 3 * 3 * 16 * 16),
        ("Add", (24, 24, 16), 0),
    ]
    * 2,
    ("BatchNormalization", (24, 24, 16), 4 * 16),
    ("ReLU", (24, 24, 16), 0),
    ("Conv2D", (12, 12, 32), 3 * 3 * 16 * 32),
    ("BatchNormalization", (12, 12, 32), 4 * 32),
    ("ReLU", (12, 12, 32), 0),
    ("Conv2D", (12, 12, 32), 16 * 32),  # 1x1: the way around, as the shape changes
    ("Conv2D", (12, 12, 32), 3 * 3 * 32 * 32),
    ("Add", (12, 12, 32), 0),
    ("BatchNormalization", (12, 12, 32), 4 * 32),
    ("ReLU", (12, 12, 32), 0),
    ("Conv2D", (12, 12, 32), 3 * 3 * 32 * 32),
    ("BatchNormalization", (12, 12, 32), 4 * 32),
    ("ReLU", (12, 12, 32), 0),
    ("Conv2D", (12, 12, 32), 3 * 3 * 32 * 32),
    ("Add", (12, 12, 32), 0),
    ("BatchNormalization", (12, 12, 32), 4 * 32),
    ("ReLU", (12, 12, 32), 0),
    ("GlobalAveragePooling2D", (32,), 0),
    ("Dropout", (32,), 0),
    ("Dense", (4,), 32 * 4 + 4),
]
# Two stages of one block, the first without normalisation, the second with one of groups.
MIXED: list[Row] = [
    ("InputLayer", (24, 24, 3), 0),
    ("Conv2D", (24, 24, 16), 3 * 3 * 3 * 16 + 16),
    ("ReLU", (24, 24, 16), 0),
    ("Conv2D", (24, 24, 16), 3 * 3 * 16 * 16 + 16),
    ("ReLU", (24, 24, 16), 0),
    ("Conv2D", (24, 24, 16), 3 * 3 * 16 * 16 + 16),
    ("Add", (24, 24, 16), 0),
    ("GroupNormalization", (24, 24, 16), 2 * 16),
    ("ReLU", (24, 24, 16), 0),
    ("Conv2D", (12, 12, 32), 3 * 3 * 16 * 32),
    ("GroupNormalization", (12, 12, 32), 2 * 32),
    ("ReLU", (12, 12, 32), 0),
    ("Conv2D", (12, 12, 32), 16 * 32),
    ("Conv2D", (12, 12, 32), 3 * 3 * 32 * 32),
    ("Add", (12, 12, 32), 0),
    ("GroupNormalization", (12, 12, 32), 2 * 32),
    ("ReLU", (12, 12, 32), 0),
    ("GlobalAveragePooling2D", (32,), 0),
    ("Dropout", (32,), 0),
    ("Dense", (4,), 32 * 4 + 4),
]
PUBLISHED: dict[str, tuple[list[Row], int]] = {  # with the total that design.md states
    "skin-binary": (SKIN_BINARY, 14_751_713),
    "ham10000": (HAM10000, 1_108_286),
    "chest-xray": (CHEST_XRAY, 3_496_801),
}
CLASSES = {"skin-binary": 2, "ham10000": 7, "chest-xray": 2}


@pytest.fixture(scope="module")
def published() -> dict[str, keras.Model]:
    """The three published networks, as their recipes are."""
    return {name: networks.build(load_recipe(name), CLASSES[name]) for name in PUBLISHED}


def rows(model: keras.Model) -> list[Row]:
    summary = forward.summarise(model)
    return [(layer.kind, layer.output_shape, layer.parameters) for layer in summary.layers]


def of_kind(model: keras.Model, *kinds: str) -> list[Any]:
    return [layer for layer in model.layers if type(layer).__name__ in kinds]


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_network_is_the_published_one_layer_for_layer(
    published: dict[str, keras.Model], name: str
) -> None:
    assert rows(published[name]) == PUBLISHED[name][0]


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_network_has_the_published_number_of_parameters(
    published: dict[str, keras.Model], name: str
) -> None:
    assert forward.summarise(published[name]).parameters == PUBLISHED[name][1]


def test_basic_is_two_convolution_blocks_and_a_dense_layer() -> None:
    recipe = load_recipe("basic", {"data.image_size": [24, 20], "data.channels": 1})
    assert rows(networks.build(recipe, 4)) == BASIC


def test_residual_is_the_network_worked_out_by_hand() -> None:
    recipe = small_recipe("auto", data__image_size=[24, 24])
    assert rows(networks.build(recipe, 4)) == RESIDUAL


def test_each_stage_of_residual_may_have_a_normalisation_of_its_own() -> None:
    changes = {"model__blocks": 1, "model__normalisation": ["none", "group"]}
    recipe = small_recipe("auto", data__image_size=[24, 24], **changes)
    assert rows(networks.build(recipe, 4)) == MIXED


@pytest.mark.parametrize("network", ["basic", "auto"])
def test_normalisations_for_another_number_of_places_are_refused(network: str) -> None:
    recipe = small_recipe(network, model__normalisation=["batch"] * 3)
    with pytest.raises(RecipeError, match=r"has 2 places .* and model.normalisation names 3"):
        networks.build(recipe, 4)


def test_residual_of_three_stages_has_697316_parameters() -> None:
    changes = {"data__image_size": [24, 24], "model__width": 32, "model__stages": 3}
    summary = forward.summarise(networks.build(small_recipe("auto", **changes), 4))
    first = 3 * 3 * 3 * 32 + 4 * (3 * 3 * 32 * 32 + 4 * 32)
    second = (3 * 3 * 32 * 64 + 4 * 32) + 32 * 64 + 3 * (3 * 3 * 64 * 64 + 4 * 64)
    third = (3 * 3 * 64 * 128 + 4 * 64) + 64 * 128 + 3 * (3 * 3 * 128 * 128 + 4 * 128)
    assert summary.parameters == first + second + third + 4 * 128 + (128 * 4 + 4) == 697_316


def test_batch_statistics_are_not_counted_as_trainable() -> None:
    summary = forward.summarise(networks.build(load_recipe("ham10000"), 7))
    assert summary.parameters - summary.trainable == 2 * (30 + 256 + 128)


@pytest.mark.parametrize("size", [(64, 64), (64, 80)])
def test_residual_halves_images_of_64_pixels_or_more_at_the_entrance(size: tuple[int, int]) -> None:
    model = networks.build(small_recipe("auto", data__image_size=size), 2)
    assert rows(model)[1][1][:2] == (size[0] // 2, size[1] // 2)


def test_residual_keeps_images_below_64_pixels_at_the_entrance() -> None:
    model = networks.build(small_recipe("auto", data__image_size=[63, 80]), 2)
    assert rows(model)[1][1][:2] == (63, 80)


@pytest.mark.parametrize(
    ("name", "kernels", "padding"),
    [
        ("skin-binary", [3, 3], "same"),
        ("ham10000", [5, 3, 3, 3, 3], "valid"),
        ("chest-xray", [3] * 10, "same"),
    ],
)
def test_convolutions_have_the_published_kernels_padding_and_relu(
    published: dict[str, keras.Model], name: str, kernels: list[int], padding: str
) -> None:
    found = [
        (layer.kernel_size, layer.padding, layer.strides, layer.activation.__name__)
        for layer in of_kind(published[name], "Conv2D", "SeparableConv2D")
    ]
    assert found == [((kernel, kernel), padding, (1, 1), "relu") for kernel in kernels]


@pytest.mark.parametrize("name", PUBLISHED)
def test_pooling_takes_the_largest_of_two_by_two(
    published: dict[str, keras.Model], name: str
) -> None:
    pools = of_kind(published[name], "MaxPooling2D")
    assert {(pool.pool_size, pool.strides, pool.padding) for pool in pools} == {
        ((2, 2), (2, 2), "valid")
    }


@pytest.mark.parametrize("name", PUBLISHED)
def test_dense_layers_are_relu_before_the_output(
    published: dict[str, keras.Model], name: str
) -> None:
    *hidden, output = of_kind(published[name], "Dense")
    words = [layer.activation.__name__ for layer in (*hidden, output)]
    last = "sigmoid" if CLASSES[name] == 2 else "softmax"
    assert words == ["relu"] * len(hidden) + [last]


@pytest.mark.parametrize(
    ("name", "rates"),
    [
        ("skin-binary", [0.2, 0.2, 0.5]),
        ("ham10000", [0.3, 0.3]),
        ("chest-xray", [0.2, 0.2, 0.7, 0.5, 0.3]),
    ],
)
def test_dropout_rates_are_the_published_ones(
    published: dict[str, keras.Model], name: str, rates: list[float]
) -> None:
    assert [layer.rate for layer in of_kind(published[name], "Dropout")] == rates


def test_ham10000_normalises_three_groups_of_channels(published: dict[str, keras.Model]) -> None:
    (layer,) = of_kind(published["ham10000"], "GroupNormalization")
    assert layer.groups == 3


def test_operations_are_kernel_elements_times_places(published: dict[str, keras.Model]) -> None:
    convolutions = 122 * 122 * (27 * 16) + 61 * 61 * (144 * 32)
    assert forward.summarise(published["skin-binary"]).operations == (
        convolutions + 28800 * 512 + 512
    )


@pytest.mark.parametrize("name", ["skin-binary", "chest-xray", "basic", "auto"])
def test_the_same_seed_gives_identical_initial_weights(name: str) -> None:
    recipe = small_recipe(name, data__image_size=[32, 32], seed=3)
    first, second = (forward.get_weights(networks.build(recipe, 2)) for _ in range(2))
    assert all(np.array_equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("name", ["skin-binary", "chest-xray", "basic", "auto"])
def test_another_seed_gives_other_kernels_everywhere(name: str) -> None:
    first, second = (
        forward.get_weights(
            networks.build(small_recipe(name, data__image_size=[32, 32], seed=seed), 2)
        )
        for seed in (3, 4)
    )
    kernels = [key for key in first if "kernel" in key]
    assert not any(np.array_equal(first[key], second[key]) for key in kernels)


def test_no_two_layers_of_one_network_start_alike() -> None:
    recipe = small_recipe("auto")
    weights = forward.get_weights(networks.build(recipe, 2))
    kernels = [array.ravel()[:20].tolist() for name, array in weights.items() if "kernel" in name]
    assert len({tuple(kernel) for kernel in kernels}) == len(kernels)


def test_the_same_seed_gives_the_same_dropout() -> None:
    recipe = small_recipe("skin-binary", seed=3)
    images = np.ones((2, 12, 16, 3), np.float32)
    first, second = (np.asarray(networks.build(recipe, 2)(images, training=True)) for _ in range(2))
    assert np.array_equal(first, second)


def test_the_largest_seed_builds_a_network() -> None:
    model = networks.build(small_recipe("skin-binary", seed=2**32 - 1), 2)
    output = model(np.ones((1, 12, 16, 3), np.float32), training=True)
    assert 0 < float(output[0, 0]) < 1


def test_the_output_layer_computes_in_float32_under_mixed_bfloat16() -> None:
    model = networks.build(small_recipe(), 3, policy="mixed_bfloat16")
    computed = [layer.compute_dtype for layer in of_kind(model, "Conv2D", "Dense")]
    assert computed == ["bfloat16", "bfloat16", "bfloat16", "float32"]


def test_probabilities_are_float32_under_mixed_bfloat16() -> None:
    model = networks.build(small_recipe(), 3, policy="mixed_bfloat16")
    assert model(np.ones((1, 12, 16, 3), np.float32)).dtype.name == "float32"


def test_the_global_policy_is_as_before_after_a_refused_network() -> None:
    before = keras.config.dtype_policy().name
    with pytest.raises(RecipeError, match="too small"):
        networks.build(small_recipe(data__image_size=[1, 1]), 2, policy="mixed_bfloat16")
    assert keras.config.dtype_policy().name == before


@pytest.mark.parametrize(
    ("name", "size"), [("skin-binary", 3), ("ham10000", 24), ("chest-xray", 31), ("basic", 3)]
)
def test_an_image_too_small_for_the_network_is_refused(name: str, size: int) -> None:
    recipe = load_recipe(name, {"data.image_size": [size, 40], "data.channels": 3})
    with pytest.raises(
        RecipeError, match=rf"data.image_size {size}x40 is too small for network '{name}'"
    ):
        networks.build(recipe, 2)


@pytest.mark.parametrize(
    ("name", "wanted", "given"),
    [("skin-binary", 3, 2), ("ham10000", 2, 3), ("chest-xray", 5, 0), ("basic", "0 or 3", 1)],
)
def test_a_wrong_number_of_dropout_rates_is_refused(name: str, wanted: object, given: int) -> None:
    recipe = small_recipe(name, model__dropout=[0.5] * given)
    message = rf"network '{name}' has {wanted} dropout layers, and model.dropout gives {given}"
    with pytest.raises(RecipeError, match=message):
        networks.build(recipe, 2)


def test_an_untrained_network_starts_at_the_share_of_the_second_class() -> None:
    model = networks.build(small_recipe(), 2, class_shares=np.asarray([0.26, 0.74]))
    output = model(np.zeros((1, 12, 16, 3), np.float32))
    assert float(output[0, 0]) == pytest.approx(0.74)


def test_an_untrained_network_starts_at_the_shares_of_several_classes() -> None:
    shares = np.asarray([0.7, 0.2, 0.1])
    output = networks.build(small_recipe(), 3, class_shares=shares)(
        np.zeros((1, 12, 16, 3), np.float32)
    )
    assert np.asarray(output)[0] == pytest.approx(shares)


def test_the_initial_bias_is_the_logarithm_of_positives_over_negatives() -> None:
    assert networks.initial_bias(np.asarray([0.26, 0.74])) == pytest.approx([1.04597], abs=1e-5)


def test_a_class_without_images_has_a_finite_initial_bias() -> None:
    assert np.isfinite(networks.initial_bias(np.asarray([0.6, 0.4, 0.0]))).all()
