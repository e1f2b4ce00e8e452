"""The traps that are mended, each beside what Keras does, and strict_keras that takes them back."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from both import QUIET, SIZE, legacy, write_folders
from PIL import Image, UnidentifiedImageError

from sightline.preprocessing import image as ours
from sightline.preprocessing.image import ImageDataGenerator, predict_generator

pytestmark = QUIET
BACKEND = keras.config.backend()


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    return write_folders(tmp_path / "data")


def flow(folder: Path, *, strict: bool = False, **how: Any) -> Any:
    generator = ImageDataGenerator(strict_keras=strict, **how.pop("arguments", {}))
    settings = {"target_size": SIZE, "batch_size": 4, **how}
    return generator.flow_from_directory(str(folder), **settings)


# --- files -----------------------------------------------------------------------------


def test_a_damaged_file_is_named_in_the_error(folders: Path) -> None:
    damaged = folders / "c0" / "p1.png"
    damaged.write_bytes(b"no picture")
    with pytest.raises(UnidentifiedImageError) as theirs:
        legacy.ImageDataGenerator().flow_from_directory(str(folders), shuffle=False)[0]
    assert str(damaged) not in str(theirs.value)
    with pytest.raises(UnidentifiedImageError, match="Repair the file") as mine:
        flow(folders, shuffle=False)[0]
    assert str(damaged) in str(mine.value)
    with pytest.raises(UnidentifiedImageError, match=r"cannot identify image file <_io\.BytesIO"):
        flow(folders, shuffle=False, strict=True)[0]


def test_a_file_that_is_gone_is_named_in_the_error(folders: Path) -> None:
    iterator = flow(folders, shuffle=False)
    (folders / "c0" / "p0.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"p0\.png"):
        iterator[0]


def test_hidden_and_empty_folders_are_no_classes(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in (".ipynb_checkpoints", "empty"):
        (folders / name).mkdir()
    assert legacy.ImageDataGenerator().flow_from_directory(str(folders)).num_classes == 4
    with pytest.warns(UserWarning, match=r"2 folders .* \['.ipynb_checkpoints', 'empty'\]"):
        mine = flow(folders)
    assert mine.class_indices == {"c0": 0, "c1": 1}
    capsys.readouterr()
    strict = flow(folders, strict=True)
    assert strict.class_indices == {".ipynb_checkpoints": 0, "c0": 1, "c1": 2, "empty": 3}
    assert capsys.readouterr().out == "Found 9 images belonging to 4 classes.\n"


def test_a_folder_that_is_asked_for_is_a_class_even_when_it_is_empty(folders: Path) -> None:
    (folders / "empty").mkdir()
    assert flow(folders, classes=["c1", "empty"]).class_indices == {"c1": 0, "empty": 1}


def test_gif_and_webp_files_are_told_of(folders: Path) -> None:
    for name in ("x.gif", "y.webp"):
        Image.new("RGB", (5, 5)).save(folders / "c0" / name)
    with pytest.warns(UserWarning, match=r"2 files .* such as c0/x.gif: .* Convert them to .png"):
        assert flow(folders).samples == 9
    assert flow(folders, strict=True).samples == 9  # warnings are errors here


# --- arguments -------------------------------------------------------------------------


def test_a_typing_error_in_flow_from_dataframe_is_refused(folders: Path) -> None:
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"filename": ["c0/p0.png"], "class": ["a"]})
    generator = ImageDataGenerator()
    with pytest.raises(TypeError, match="no argument 'targetsize', got targetsize=3"):
        generator.flow_from_dataframe(table, str(folders), targetsize=3)
    strict = ImageDataGenerator(strict_keras=True)
    strict.flow_from_dataframe(table, str(folders), targetsize=3)


def test_a_validation_subset_of_nothing_is_refused(folders: Path) -> None:
    theirs = legacy.ImageDataGenerator().flow_from_directory(str(folders), subset="validation")
    assert theirs.samples == 0
    with pytest.raises(ValueError, match=r'subset="validation" needs a share .*validation_split=0'):
        flow(folders, subset="validation")
    assert flow(folders, subset="validation", strict=True).samples == 0
    assert flow(folders, subset="training").samples == 9


def test_a_validation_subset_that_is_changed_at_random_is_told_of(folders: Path) -> None:
    arguments = {"validation_split": 0.3, "rotation_range": 10}
    with pytest.warns(UserWarning, match="validation subset is changed at random"):
        flow(folders, subset="validation", arguments=arguments)
    flow(folders, subset="validation", arguments=arguments, strict=True)
    flow(folders, subset="training", arguments=arguments)


@pytest.mark.parametrize("mode", ["exact", "fast"])
def test_brightness_is_right_for_pictures_of_0_to_1(mode: Any) -> None:
    x = np.linspace(0.1, 0.9, 300, dtype=np.float32).reshape(1, 10, 10, 3)
    settings = {"brightness_range": (0.5, 0.5)}
    assert not next(legacy.ImageDataGenerator(**settings).flow(x)).any()
    mine = next(ImageDataGenerator(**settings, mode=mode).flow(x))
    np.testing.assert_allclose(mine, 0.5 * x, atol=1.01 / 255)
    assert not next(ImageDataGenerator(**settings, strict_keras=True).flow(x)).any()


def test_weights_of_a_subset_are_those_of_its_pictures() -> None:
    x = np.arange(10, dtype=np.float32).reshape(10, 1, 1, 1) * np.ones((1, 4, 4, 1), np.float32)
    settings = {"sample_weight": np.arange(10), "subset": "training", "shuffle": False}

    def weights(module: Any, **how: Any) -> Any:
        generator = module.ImageDataGenerator(validation_split=0.4, **how)
        images, _, found = next(generator.flow(x, np.tile([0, 1], 5), **settings))
        return images[:, 0, 0, 0].tolist(), found.tolist()

    pictures = [4.0, 5.0, 6.0, 7.0, 8.0, 9.0]
    assert weights(legacy) == (pictures, [0, 1, 2, 3, 4, 5])
    assert weights(ours) == (pictures, [4, 5, 6, 7, 8, 9])
    assert weights(ours, strict_keras=True) == weights(legacy)


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(ValueError, match=r"mode must be one of \('exact', 'fast'\), got 'quick'"):
        ImageDataGenerator(mode="quick")  # type: ignore[arg-type]


# --- which rows were given -------------------------------------------------------------


@pytest.mark.parametrize("seed", [None, 3])
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("mode", ["exact", "fast"])
def test_the_names_of_the_last_batch_are_those_of_its_rows(
    folders: Path, mode: Any, shuffle: bool, seed: int | None
) -> None:
    generator = ImageDataGenerator(mode=mode)
    iterator = generator.flow_from_directory(
        str(folders), target_size=SIZE, batch_size=4, shuffle=shuffle, seed=seed
    )
    assert iterator.last_filenames == []
    for step in range(5):
        images, targets = next(iterator) if step != 2 else iterator[1]
        assert len(iterator.last_filenames) == len(images)
        for name, image, target in zip(iterator.last_filenames, images, targets, strict=True):
            loaded = keras.utils.load_img(folders / name, target_size=SIZE)
            np.testing.assert_array_equal(image, keras.utils.img_to_array(loaded))
            assert iterator.class_indices[name.partition("/")[0]] == target.argmax()


def test_predictions_of_a_shuffled_generator_come_in_the_order_of_its_files(
    folders: Path,
) -> None:
    inputs = keras.Input((*SIZE, 3))
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(inputs))
    iterator = flow(folders, shuffle=True, class_mode="categorical")
    expected = [
        keras.utils.img_to_array(keras.utils.load_img(path, target_size=SIZE)).mean(axis=(0, 1))
        for path in iterator.filepaths
    ]
    np.testing.assert_allclose(predict_generator(model, iterator), expected, rtol=1e-5)
    np.testing.assert_allclose(predict_generator(model, iterator, steps=2), expected[:8], rtol=1e-5)


# --- batches of an epoch ---------------------------------------------------------------


class Counter(keras.callbacks.Callback):
    """Counts the batches of each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: list[int] = []

    def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
        self.counts.append(0)

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        self.counts[-1] += 1


def a_model() -> keras.Model:
    model = keras.Sequential(
        [keras.Input((*SIZE, 3)), keras.layers.Flatten(), keras.layers.Dense(2)]
    )
    model.compile("sgd", "mse")
    return model


def counts_of(data: Any, **how: Any) -> list[int]:
    counter = Counter()
    a_model().fit(data, epochs=4, verbose=0, callbacks=[counter], **how)
    return counter.counts


def test_every_epoch_gets_its_steps(folders: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = legacy.ImageDataGenerator().flow_from_directory(
            str(folders), target_size=SIZE, batch_size=4
        )
        assert counts_of(theirs, steps_per_epoch=9 // 4) == [2, 1, 2, 1]
    for steps in (1, 2, 3, 5):
        assert counts_of(flow(folders).repeat(steps)) == [steps] * 4
    assert counts_of(flow(folders).repeat()) == [3] * 4
    assert counts_of(flow(folders)) == [3] * 4


def test_a_plain_fit_with_a_rest_warns_and_names_the_way_out(folders: Path) -> None:
    iterator = flow(folders)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert counts_of(iterator, steps_per_epoch=2) == [2, 1, 2, 1]
    ours = [str(each.message) for each in told if "generator.repeat" in str(each.message)]
    assert len(ours) == 2
    assert "left of 3 batches" in ours[0]


def test_repeated_epochs_go_through_every_picture_in_turn(folders: Path) -> None:
    iterator = flow(folders, shuffle=False, class_mode=None)
    plain = [next(flow(folders, shuffle=False, class_mode=None)) for _ in range(1)]
    repeated = iterator.repeat(2)
    repeated.on_epoch_begin()
    np.testing.assert_array_equal(repeated[1], plain[0])  # whatever number Keras asks for
    repeated[0]
    repeated.on_epoch_end()
    repeated.on_epoch_begin()
    assert len(repeated[0]) == 1  # the ninth picture, the rest of the first pass


def test_steps_of_a_repetition_are_at_least_one(folders: Path) -> None:
    with pytest.raises(ValueError, match="steps_per_epoch must be at least 1, got 0"):
        flow(folders).repeat(0)


# --- statistics of what does not fit in memory -----------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        {"featurewise_center": True, "featurewise_std_normalization": True},
        {"featurewise_center": True, "featurewise_std_normalization": True, "rescale": 1 / 255},
        {"featurewise_center": True, "zca_whitening": True, "zca_epsilon": 1e-1},
        {"featurewise_center": True, "data_format": "channels_first"},
    ],
)
def test_a_stream_is_measured_as_an_array_is(tmp_path: Path, arguments: dict[str, Any]) -> None:
    size = (4, 5)
    root = write_folders(tmp_path / "many", (70, 60))
    streamed, whole = ImageDataGenerator(**arguments), ImageDataGenerator(**arguments)
    iterator = streamed.flow_from_directory(str(root), target_size=size, batch_size=32, seed=1)
    layout = arguments.get("data_format", "channels_last")
    pictures = [
        keras.utils.img_to_array(keras.utils.load_img(path, target_size=size), data_format=layout)
        for path in iterator.filepaths
    ]
    whole.fit(np.stack(pictures))
    streamed.fit_stream(iterator)
    assert iterator.total_batches_seen == 0
    for name in ("mean", "std", "zca_whitening_matrix"):
        expected, found = getattr(whole, name), getattr(streamed, name)
        if expected is None:
            assert found is None
            continue
        assert found.shape == expected.shape
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def test_fit_takes_an_iterator_too(folders: Path) -> None:
    generator = ImageDataGenerator(featurewise_center=True)
    generator.fit(generator.flow_from_directory(str(folders), target_size=SIZE))
    assert generator.mean is not None
    assert generator.mean.shape == (1, 1, 3)


def test_what_is_no_iterator_of_ours_cannot_be_fitted_to() -> None:
    with pytest.raises(TypeError, match=r"fit_stream takes what flow.* got list_iterator"):
        ImageDataGenerator(featurewise_center=True).fit(iter([1]))


def test_a_picture_too_large_for_whitening_is_refused(folders: Path) -> None:
    generator = ImageDataGenerator(featurewise_center=True, zca_whitening=True)
    iterator = generator.flow_from_directory(str(folders), target_size=(80, 80))
    with pytest.raises(ValueError, match=r"19,200 values would need a matrix of 3 GB.* 12,000"):
        generator.fit_stream(iterator)


@pytest.mark.parametrize("backend", sorted({"jax", "tensorflow", "torch"} - {BACKEND}))
def test_every_other_backend_gives_every_epoch_its_steps(backend: str) -> None:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", __file__, "-k", "steps or plain_fit or repeated"],
        env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout
