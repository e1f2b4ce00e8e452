"""Iterators that programs disturb: between batches, by subclasses, threads and processes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from both import MOVES, QUIET, SIZE, both, legacy, same, write_folders
from PIL import Image

from sightline.preprocessing import image as ours
from sightline.preprocessing.image import (
    DirectoryIterator,
    ImageDataGenerator,
    evaluate_generator,
    fit_generator,
    predict_generator,
)

pytestmark = QUIET


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    return write_folders(tmp_path / "data")


def flow(module: Any, folder: Path, arguments: dict[str, Any], **how: Any) -> Any:
    settings = {"target_size": SIZE, "batch_size": 4, "seed": 5, **how}
    return module.ImageDataGenerator(**arguments).flow_from_directory(str(folder), **settings)


def test_a_batch_may_become_larger(folders: Path) -> None:
    def use(module: Any) -> list[Any]:
        iterator = flow(module, folders, MOVES)
        found = [next(iterator)]
        iterator.batch_size = 9
        found += [next(iterator), iterator._get_batches_of_transformed_samples(np.arange(9))]
        return found

    theirs, mine = both(use)
    same(theirs, mine)


def test_a_batch_size_of_everything_takes_memory_for_the_pictures_alone(folders: Path) -> None:
    images, _ = next(flow(ours, folders, {}, batch_size=10**8))
    assert len(images) == 9


def test_a_subclass_is_asked_for_every_batch(folders: Path) -> None:
    class Mine(DirectoryIterator):
        def _get_batches_of_transformed_samples(self, index_array: Any) -> Any:
            return -index_array

    iterator = Mine(str(folders), ImageDataGenerator(), target_size=SIZE, batch_size=4, seed=5)
    order = np.random.RandomState(5).permutation(9)
    np.testing.assert_array_equal(next(iterator), -order[:4])
    np.testing.assert_array_equal(next(iterator), -order[4:8])


def test_a_method_set_on_a_generator_is_used(folders: Path) -> None:
    def use(module: Any) -> list[Any]:
        iterator = flow(module, folders, MOVES)
        iterator.image_data_generator.standardize = lambda x: x * 0 - 1
        return [next(iterator), iterator[1]]

    theirs, mine = both(use)
    same(theirs, mine)
    assert (mine[0][0] == -1).all()


def test_measuring_between_two_batches_changes_neither(folders: Path) -> None:
    def use(module: Any) -> list[Any]:
        iterator = flow(module, folders, MOVES | {"rescale": 1 / 255})
        found = [next(iterator)]
        if module is not legacy:
            ImageDataGenerator(featurewise_center=True).fit_stream(iterator)
        return [*found, next(iterator), next(iterator)]

    theirs, mine = both(use)
    same(theirs, mine)


def test_numbers_that_a_program_changes_in_place_count_at_once(folders: Path) -> None:
    def use(module: Any) -> list[Any]:
        generator = module.ImageDataGenerator(featurewise_center=True)
        generator.fit(np.ones((2, *SIZE, 3)))
        iterator = generator.flow_from_directory(
            str(folders), target_size=SIZE, batch_size=3, seed=5
        )
        found = [next(iterator)]
        generator.mean[:] = 100
        found.append(next(iterator))
        iterator.index_array.sort()
        return [*found, next(iterator)]

    theirs, mine = both(use)
    same(theirs, mine)


def test_other_files_under_an_iterator_are_read(folders: Path) -> None:
    def use(module: Any) -> list[Any]:
        iterator = flow(module, folders, {}, shuffle=False)
        found = [next(iterator)]
        iterator._filepaths = iterator._filepaths[::-1]
        return [*found, iterator[0], iterator[1]]

    theirs, mine = both(use)
    same(theirs, mine)


def test_a_file_that_is_written_anew_is_read_anew_in_the_next_pass(folders: Path) -> None:
    iterator = flow(ours, folders, {}, shuffle=False)
    assert iterator[0][0][0].any()
    Image.new("RGB", (20, 20)).save(folders / "c0" / "p0.png")
    iterator.on_epoch_end()
    assert not iterator[0][0][0].any()
    (folders / "c0" / "p0.png").unlink()
    iterator.on_epoch_end()
    with pytest.raises(FileNotFoundError, match=r"p0\.png"):
        iterator[0]


def test_one_picture_several_times_in_a_batch_may_need_keras_own_way(folders: Path) -> None:
    deep = np.arange(SIZE[0] * SIZE[1], dtype=np.uint16).reshape(SIZE) * 500
    Image.fromarray(deep).save(folders / "c0" / "p1.png")

    def use(module: Any) -> Any:
        iterator = flow(module, folders, MOVES, color_mode="grayscale")
        return iterator._get_batches_of_transformed_samples(np.array([0, 1, 1, 2]))

    theirs, mine = both(use)
    same(theirs, mine, within=0.2)  # of 53,500


@pytest.mark.parametrize("arguments", [{"fill_mode": "nearest", "cval": -1.0, "rotation_range": 9}])
def test_a_ground_that_is_not_used_may_be_anything(
    folders: Path, arguments: dict[str, Any]
) -> None:
    theirs, mine = both(lambda module: next(flow(module, folders, arguments)))
    same(theirs, mine)


def test_a_file_name_that_is_no_text_is_read(folders: Path) -> None:
    strange = folders / "c0" / os.fsdecode(b"x\xff.png")
    (folders / "c0" / "p4.png").rename(strange)
    theirs, mine = both(lambda module: next(flow(module, folders, MOVES, batch_size=9)))
    same(theirs, mine)


def test_a_function_that_draws_for_some_pictures_gets_keras_numbers(folders: Path) -> None:
    for number in range(4):  # dark ones first, so that it draws only later
        Image.new("RGB", (9, 9), (number,) * 3).save(folders / "c0" / f"a{number}.png")

    def noise(x: Any) -> Any:
        return x + np.random.uniform(0, 9) if x.mean() > 60 else x

    arguments = MOVES | {"preprocessing_function": noise}
    theirs, mine = both(
        lambda module: [
            next(iterator)
            for iterator in [flow(module, folders, arguments, shuffle=False)]
            for _ in range(4)
        ]
    )
    same(theirs, mine)


# --- threads and processes -------------------------------------------------------------


def test_threads_that_ask_at_once_get_whole_batches(folders: Path) -> None:
    iterator = flow(ours, folders, {}, seed=None, batch_size=1)
    plain = {iterator[number][0].tobytes() for number in range(9)}
    kept, wrong = sys.getswitchinterval(), []
    sys.setswitchinterval(1e-6)

    def ask() -> None:
        wrong.extend(1 for _ in range(60) if next(iterator)[0].tobytes() not in plain)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.setswitchinterval(kept)
    assert not wrong


FORK = """
import os, sys
import numpy as np
from sightline.preprocessing.image import ImageDataGenerator

def flow():
    return ImageDataGenerator(rotation_range=20).flow_from_directory(
        sys.argv[1], target_size=(9, 12), batch_size=4, seed=5
    )

expected = flow()
wanted = [next(expected)[0] for _ in range(3)]
iterator = flow()
np.testing.assert_array_equal(next(iterator)[0], wanted[0])
if os.fork():
    sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
np.testing.assert_array_equal(next(iterator)[0], wanted[1])
iterator.on_epoch_end()
os._exit(0)
"""


def test_a_forked_process_goes_on_with_the_same_pictures(folders: Path) -> None:
    command = [sys.executable, "-c", FORK, str(folders)]
    environment = os.environ | {"KERAS_BACKEND": keras.config.backend()}
    ended = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, env=environment
    )
    assert ended.returncode == 0, ended.stderr


CORES = """
import hashlib, os, sys
from sightline.preprocessing.image import ImageDataGenerator

os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[: int(sys.argv[2])]))
flow = ImageDataGenerator(rotation_range=20, samplewise_center=True).flow_from_directory(
    sys.argv[1], target_size=(9, 12), batch_size=4, seed=5
)
found = hashlib.sha256()
for _ in range(7):
    found.update(next(flow)[0].tobytes())
print(found.hexdigest())
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores cannot be chosen here")
def test_any_number_of_threads_gives_the_same_bytes(folders: Path) -> None:
    told = [
        subprocess.run(
            [sys.executable, "-c", CORES, str(folders), str(cores)],
            capture_output=True, text=True, timeout=120, check=True,
        ).stdout.split()[-1]
        for cores in (1, len(os.sched_getaffinity(0)))
    ]  # fmt: skip
    assert told[0] == told[1]


# --- what the calls take ---------------------------------------------------------------


def a_model(units: int = 2) -> keras.Model:
    flat = keras.layers.Flatten()
    model = keras.Sequential([keras.Input((*SIZE, 3)), flat, keras.layers.Dense(units)])
    model.compile("sgd", "mse")
    return model


def test_keras_own_iterators_are_taken(folders: Path) -> None:
    theirs = flow(legacy, folders, {"rotation_range": 5})
    model = a_model()
    fit_generator(model, theirs, 2, validation_data=theirs, verbose=0)
    assert evaluate_generator(model, theirs) > 0
    assert predict_generator(model, theirs, steps=1).shape == (4, 2)


def test_a_finite_generator_that_ends_early_says_how_far_it_came() -> None:
    batches = ((np.ones((2, *SIZE, 3)), np.ones((2, 2))) for _ in range(3))
    kinds: Any = (ValueError, RuntimeError)
    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        kinds = tf.errors.InvalidArgumentError
    with pytest.raises(kinds, match="ended after 3 batches, before all epochs of 2"):
        fit_generator(a_model(), batches, 2, epochs=3, verbose=0)


def test_pictures_with_other_inputs_are_trained_on() -> None:
    inputs = [keras.Input((*SIZE, 3)), keras.Input((2,))]
    joined = keras.layers.Concatenate()([keras.layers.Flatten()(inputs[0]), inputs[1]])
    model = keras.Model(inputs, keras.layers.Dense(1)(joined))
    model.compile("sgd", "mse")
    x, others = np.ones((10, *SIZE, 3), np.float32), np.ones((10, 2), np.float32)
    iterator = ImageDataGenerator().flow((x, others), np.zeros(10), batch_size=4)
    fit_generator(model, iterator, epochs=2, verbose=0)
    assert predict_generator(model, iterator).shape == (10, 1)


# --- brightness ------------------------------------------------------------------------


@pytest.mark.parametrize("picture", ["white", "mask", "a little more"])
def test_every_picture_of_a_set_of_0_to_1_is_brightened_alike(picture: str) -> None:
    x = np.random.default_rng(0).random((3, 8, 8, 3)).astype(np.float32)
    x[0] = {"white": 1.0, "mask": np.eye(8)[..., None], "a little more": 1.001}[picture]
    mine = next(ImageDataGenerator(brightness_range=(0.5, 0.5)).flow(x, shuffle=False))
    np.testing.assert_allclose(mine, 0.5 * x, atol=1.01 / 255)


def test_a_dark_file_is_brightened_as_keras_does(folders: Path) -> None:
    dark = np.random.default_rng(0).integers(0, 2, (9, 12, 3)).astype(np.uint8)
    Image.fromarray(dark).save(folders / "c0" / "p0.png")
    arguments = {"brightness_range": (2.0, 3.0), "rotation_range": 30}
    theirs, mine = both(lambda module: flow(module, folders, arguments, shuffle=False)[0])
    same(theirs, mine)
