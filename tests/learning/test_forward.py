"""One forward step, weights by name, and the model that Keras users get."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
import pytest
from tiny import Trained, small_recipe, train, write_splits

import sightline as sl
from sightline.data import images
from sightline.data.stream import StreamConfig
from sightline.errors import RunError
from sightline.learning.models import forward, networks
from sightline.recipes import change_recipe
from sightline.runs import Run

IMAGES = np.random.default_rng(0).random((3, 12, 16, 3), np.float32)


def a_network(num_classes: int = 3, *, seed: int = 0) -> keras.Model:
    """Return a residual network whose batch normalisation is not at its start."""
    model = networks.build(small_recipe("auto", seed=seed), num_classes)
    rng = np.random.default_rng(seed)
    moved = {
        name: array + rng.random(array.shape).astype(np.float32) / 10
        for name, array in forward.get_weights(model).items()
    }
    forward.set_weights(model, moved)
    return model


@pytest.mark.parametrize("num_classes", [2, 3])
def test_a_padded_batch_has_the_probabilities_of_the_unpadded(num_classes: int) -> None:
    model = a_network(num_classes)
    padded = forward.forward(model, IMAGES, batch_size=8)
    plain = forward.forward(model, IMAGES, batch_size=3)
    np.testing.assert_allclose(padded, plain, atol=1e-6)


@pytest.mark.parametrize("num_classes", [2, 3])
def test_the_rows_of_a_forward_step_are_probabilities(num_classes: int) -> None:
    output = forward.forward(a_network(num_classes), IMAGES, batch_size=8)
    assert (output.shape, output.dtype) == ((3, num_classes), np.float32)
    np.testing.assert_allclose(output.sum(axis=1), 1, atol=1e-6)


def test_of_two_classes_the_sigmoid_is_the_second() -> None:
    model = a_network(2)
    output = forward.forward(model, IMAGES, batch_size=3)
    np.testing.assert_array_equal(output[:, 1:], model.predict_on_batch(IMAGES))


class Failing(keras.Sequential):
    """A network whose step ends as torch's does without memory."""

    def predict_on_batch(self, x: object) -> object:
        raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB.")


def test_a_forward_step_that_does_not_fit_into_memory_says_how_many_images_it_has() -> None:
    model = Failing([keras.Input((12, 16, 3)), keras.layers.Flatten(), keras.layers.Dense(1)])
    message = r"memory to predict 8 images of 12x16 at a time .*Tried to allocate 2 GiB\. End"
    with pytest.raises(RunError, match=message):
        forward.forward(model, IMAGES, batch_size=8)


def test_weights_make_the_round_trip_to_an_equal_network() -> None:
    first, second = a_network(seed=1), a_network(seed=2)
    forward.set_weights(second, forward.get_weights(first))
    np.testing.assert_array_equal(
        forward.forward(first, IMAGES, batch_size=3), forward.forward(second, IMAGES, batch_size=3)
    )


def test_weights_include_the_statistics_of_batch_normalisation() -> None:
    names = [name.partition("/")[2] for name in forward.get_weights(a_network())]
    assert names.count("moving_mean") == names.count("moving_variance") == 9


def test_the_names_of_weights_do_not_depend_on_networks_built_before() -> None:
    first, second = (list(forward.get_weights(a_network())) for _ in range(2))
    assert first == second
    assert first[:2] == ["000/kernel", "001/gamma"]


def test_weights_with_a_missing_name_are_refused() -> None:
    model = a_network()
    arrays = forward.get_weights(model)
    del arrays["000/kernel"]
    with pytest.raises(RunError, match=r"1 names differ, first \['000/kernel'\]"):
        forward.set_weights(model, arrays)


def test_weights_with_a_foreign_name_are_refused() -> None:
    model = a_network()
    arrays = forward.get_weights(model) | {"999/kernel": np.zeros(3, np.float32)}
    with pytest.raises(RunError, match=r"1 names differ, first \['999/kernel'\]"):
        forward.set_weights(model, arrays)


def test_a_weight_of_another_shape_is_refused() -> None:
    model = a_network()
    arrays = forward.get_weights(model) | {"000/kernel": np.zeros((3, 3, 3, 5), np.float32)}
    message = r"weight 000/kernel is \(3, 3, 3, 5\) float32 in the run and \(3, 3, 3, 16\) float32"
    with pytest.raises(RunError, match=message):
        forward.set_weights(model, arrays)


def test_a_weight_of_another_dtype_is_refused() -> None:
    model = a_network()
    arrays = forward.get_weights(model)
    arrays["000/kernel"] = arrays["000/kernel"].astype(np.float64)
    with pytest.raises(RunError, match=r"000/kernel is \(3, 3, 3, 16\) float64 in the run"):
        forward.set_weights(model, arrays)


def test_nothing_is_assigned_when_one_weight_does_not_fit() -> None:
    model = a_network()
    before = forward.get_weights(model)
    last = list(before)[-1]
    arrays = {name: array + 1 for name, array in before.items()} | {last: np.zeros((9, 9))}
    with pytest.raises(RunError, match=f"weight {last} is"):
        forward.set_weights(model, arrays)
    after = forward.get_weights(model)
    assert all(np.array_equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize(("scaling", "factor"), [("1/255", 1 / 255), ("none", 1.0)])
def test_the_scaling_of_the_recipe_goes_into_the_model(scaling: str, factor: float) -> None:
    recipe = small_recipe(data__scaling=scaling)
    model = networks.build(recipe, 3)
    whole = forward.with_own_scaling(model, recipe)
    pixels = np.round(IMAGES * 255).astype(np.float32)
    np.testing.assert_allclose(
        whole.predict_on_batch(pixels), model.predict_on_batch(pixels * factor), atol=1e-6
    )


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("scaling", ["mean-std", "per-image"])
def test_keras_alone_scales_as_the_stream_does(scaling: str, channels: int) -> None:
    pixels = np.random.default_rng(0).integers(40, 200, (5, 12, 16, 1)).astype(np.uint8)
    pixels = np.repeat(pixels, 3, axis=3)  # grey, so that no rounding of grey is in the way
    index = sl.index_arrays(pixels[..., :channels], np.arange(5) % 2)
    recipe = small_recipe(data__channels=channels)
    found = {"data.scaling": scaling}
    if scaling == "mean-std":
        plain = StreamConfig.of(recipe, training=False)
        measured = sl.measure_scaling(index, split=None, config=plain)
        found |= {"data.mean": list(measured.mean), "data.std": list(measured.std)}
    recipe = change_recipe(recipe, found)
    config = StreamConfig.of(recipe, training=False)
    model = networks.build(recipe, 2)
    whole = forward.with_own_scaling(model, recipe)
    with sl.Stream(index, split=None, config=config) as stream:
        streamed = next(iter(stream.epoch(0))).images
    np.testing.assert_allclose(
        whole.predict_on_batch(pixels.astype(np.float32)),
        model.predict_on_batch(streamed),
        atol=1e-5,
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_for_bfloat16_keras_alone_scales_each_image_to_the_same_float32_as_the_stream(
    channels: int,
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 60, 52, channels)).astype(np.uint8)
    pixels[0] = 127  # of one grey, which its weights do not sum up to
    pixels[1, 1:, 1:] = 0  # nearly black
    size = [60, 52]  # their product has no whole root
    data = {"data__channels": channels, "data__image_size": size, "data__scaling": "per-image"}
    recipe = small_recipe(precision="mixed_bfloat16", **data)
    config = StreamConfig.of(recipe, training=False)
    with sl.Stream(sl.index_arrays(pixels, np.arange(8) % 2), split=None, config=config) as stream:
        streamed = next(iter(stream.epoch(0))).images
    inputs = keras.Input((60, 52, channels))
    whole = forward.with_own_scaling(keras.Model(inputs, keras.layers.Identity()(inputs)), recipe)
    coloured = np.broadcast_to(pixels, (8, 60, 52, 3)).astype(np.float32)
    scaled = np.asarray(whole.predict_on_batch(coloured))
    if keras.config.backend() == "tensorflow":
        assert (scaled != streamed).mean() < 1e-3
    else:
        np.testing.assert_allclose(scaled, streamed, atol=3e-6)


@pytest.fixture(scope="module")
def three_grey(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    """An `auto` run on three classes, seen in grey, with averaged weights and a cosine."""
    counts = {"cat": 9, "dog": 9, "owl": 9}
    folder = write_splits(tmp_path_factory.mktemp("three"), counts, dict.fromkeys(counts, 3))
    out = tmp_path_factory.mktemp("runs") / "three"
    return train(folder, out, recipe="auto", data__channels=1), folder


def by_keras(run: Run, record_ids: Sequence[str], root: Path) -> npt.NDArray[np.float32]:
    """Return what Keras alone says about the raw 0..255 RGB pixels, one column a class."""
    model = keras.models.load_model(run.path / "model.keras", compile=False, safe_mode=True)
    pixels = [images.load(str(root / name)) for name in record_ids]
    output = model.predict(np.stack(pixels).astype(np.float32), verbose=0)
    return np.concatenate([1 - output, output], axis=1) if output.shape[1] == 1 else output


def test_keras_alone_gives_the_probabilities_of_predict_for_two_classes(spoiled: Trained) -> None:
    folder = spoiled.folder / "val"
    ours = sl.predict(spoiled.run, folder, progress=sl.Silent())
    theirs = by_keras(spoiled.run, ours.table["record_id"].to_list(), folder)
    np.testing.assert_allclose(theirs, ours.probabilities, atol=1e-5)


def test_keras_alone_gives_the_probabilities_of_predict_for_three_classes(
    three_grey: tuple[Run, Path],
) -> None:
    run, folder = three_grey
    ours = sl.predict(run, folder / "val", progress=sl.Silent())
    theirs = by_keras(run, ours.table["record_id"].to_list(), folder / "val")
    # Colour pictures of a grey network: the decoder rounds grey to whole numbers, Keras does not.
    np.testing.assert_allclose(theirs, ours.probabilities, atol=5e-3)
