"""Numbers, pixels and attributes, beside Keras' own class on the same pictures and seeds."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from both import MOVES, QUIET, SIZE, both, random_state, same, write_folders
from hypothesis import given, settings
from hypothesis import strategies as st

pytestmark = QUIET


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folders(tmp_path_factory.mktemp("folders") / "data")


def flow(module: Any, folder: Path, arguments: dict[str, Any], **how: Any) -> Any:
    settings = {"target_size": SIZE, "batch_size": 4, "seed": 5, **how}
    return module.ImageDataGenerator(**arguments).flow_from_directory(str(folder), **settings)


# --- parameters ------------------------------------------------------------------------


def arguments_of(rng: np.random.Generator) -> dict[str, Any]:
    """Return random arguments of every kind that the ranges take."""

    def any_of(*choices: Any) -> Any:
        return choices[rng.integers(len(choices))]

    def shift() -> Any:
        return any_of(0.0, 0.2, 0.9, 1.0, 3.5, 1, 7, [1, 2, 5], [-0.2, 0.1], (0.3,))

    return {
        "rotation_range": any_of(0, 20, 90.0),
        "width_shift_range": shift(),
        "height_shift_range": shift(),
        "brightness_range": any_of(None, (0.5, 1.5), [1, 1]),
        "shear_range": any_of(0.0, 0.2, 20),
        "zoom_range": any_of(0.0, 0.3, (0.5, 1.0), [1, 1], (1.2, 1.2)),
        "channel_shift_range": any_of(0.0, 12.5, 30),
        "horizontal_flip": any_of(False, True),
        "vertical_flip": any_of(False, True),
        "data_format": any_of("channels_last", "channels_first"),
    }


def test_parameters_of_500_random_settings_are_bit_equal() -> None:
    rng = np.random.default_rng(0)
    for number in range(500):
        arguments = arguments_of(rng)
        shape = tuple(int(side) for side in rng.integers(3, 300, 3))
        theirs, mine = both(
            lambda module, arguments=arguments, shape=shape, number=number: [
                module.ImageDataGenerator(**arguments).get_random_transform(shape, seed)
                for seed in (number, None, None)
            ]
        )
        assert theirs == mine, arguments
        assert [list(each) for each in theirs] == [list(each) for each in mine]


# --- pixels ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data_format", ["channels_last", pytest.param("channels_first", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("color_mode", ["rgb", "rgba", "grayscale"])
@pytest.mark.parametrize("fill_mode", ["nearest", "constant", "reflect", "wrap"])
@pytest.mark.parametrize("order", range(6))
def test_pixels_are_keras_for_every_fill_order_colour_and_layout(
    folders: Path, order: int, fill_mode: str, color_mode: str, data_format: str
) -> None:
    arguments = MOVES | {
        "fill_mode": fill_mode,
        "cval": 77.0,
        "interpolation_order": order,
        "data_format": data_format,
        "vertical_flip": True,
    }
    theirs, mine = both(
        lambda module: [
            next(iterator)
            for iterator in [flow(module, folders, arguments, color_mode=color_mode)]
            for _ in range(4)
        ]
    )
    same(theirs, mine, within=0.002 if order else 0)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"rescale": 1 / 255},
        {"rescale": 1 / 127.5, "samplewise_center": True},
        {"rescale": -2.0},
        {"samplewise_center": True, "samplewise_std_normalization": True},
        {"channel_shift_range": 40.0},
        {"channel_shift_range": 40.0, "rescale": 1 / 255, "horizontal_flip": True},
        {"brightness_range": (0.3, 1.7)},
        {"brightness_range": (0.3, 1.7), "rescale": 1 / 255, "rotation_range": 20},
        {"fill_mode": "constant", "cval": -20.0, "width_shift_range": 0.3},
        {"fill_mode": "mirror", "rotation_range": 30},
        {"width_shift_range": [1, 2, 3], "height_shift_range": 4, "zoom_range": (0.5, 0.9)},
        {"preprocessing_function": lambda x: 255 - x, "rotation_range": 10},
        {"dtype": "float64", "rotation_range": 10},
        {"dtype": "float16", "rescale": 1 / 255, "rotation_range": 10},
    ],
    ids=lambda arguments: "-".join(arguments) or "nothing",
)
def test_pixels_are_keras_for_every_setting(folders: Path, arguments: dict[str, Any]) -> None:
    theirs, mine = both(
        lambda module: [
            next(iterator) for iterator in [flow(module, folders, arguments)] for _ in range(5)
        ]
    )
    moves = any(name.endswith(("_range", "flip")) for name in arguments)
    same(theirs, mine, within=0.002 if moves else 1e-6)


@pytest.mark.parametrize(
    "interpolation", ["nearest", "bilinear", "bicubic", "hamming", "box", "lanczos"]
)
@pytest.mark.parametrize("keep", [False, True])
def test_files_become_the_same_pictures(folders: Path, interpolation: str, keep: bool) -> None:
    how = {"interpolation": interpolation, "keep_aspect_ratio": keep, "shuffle": False}
    theirs, mine = both(lambda module: [flow(module, folders, {}, **how)[i] for i in range(3)])
    same(theirs, mine, within=0)


# --- order, numbers and what they leave behind -----------------------------------------

STEPS = st.lists(
    st.sampled_from(["next", "0", "1", "2", "end", "reset", "draw"]), min_size=1, max_size=12
)


@settings(deadline=None, max_examples=60)
@given(
    steps=STEPS,
    seed=st.sampled_from([None, 0, 7]),
    shuffle=st.booleans(),
    batch_size=st.integers(1, 10),
)
def test_any_use_gives_keras_order_and_leaves_numpys_generator_as_keras_does(
    folders: Path, steps: list[str], seed: int | None, shuffle: bool, batch_size: int
) -> None:
    def use(module: Any) -> list[Any]:
        iterator = flow(
            module, folders, {"rotation_range": 30}, seed=seed, shuffle=shuffle,
            batch_size=batch_size,
        )  # fmt: skip
        found: list[Any] = []
        for step in steps:
            if step == "next":
                found.append(next(iterator))
            elif step == "end":
                iterator.on_epoch_end()
            elif step == "reset":
                iterator.reset()
            elif step == "draw":
                np.random.random()
            elif int(step) < len(iterator):
                found.append(iterator[int(step)])
            found.append((random_state(), iterator.batch_index, iterator.total_batches_seen))
            order = iterator.index_array
            found.append(None if order is None else order.tolist())
        return found

    theirs, mine = both(use)
    for one, other in zip(theirs, mine, strict=True):
        if isinstance(one, tuple) and isinstance(one[0], np.ndarray):
            same(one, other)
        else:
            assert one == other


def test_every_attribute_is_keras(folders: Path) -> None:
    arguments = {"validation_split": 0.4, "rescale": 1 / 255}
    for how in (
        {"class_mode": "binary", "subset": "training", "color_mode": "rgba"},
        {"class_mode": None, "classes": ["c1", "c0"], "follow_links": True},
        {"save_prefix": "a", "save_format": "jpeg", "interpolation": "bilinear"},
    ):
        theirs, mine = both(lambda module, how=how: flow(module, folders, arguments, **how))
        public = [name for name in dir(theirs) if not name.startswith("_")]
        skipped = {"image_data_generator", "index_generator", "lock"}
        for name in public:
            assert hasattr(mine, name), name
            value = getattr(theirs, name)
            if name in skipped or callable(value):
                continue
            found = getattr(mine, name)
            if isinstance(value, np.ndarray):
                np.testing.assert_array_equal(found, value)
                assert found.dtype == value.dtype
            else:
                assert found == value, name
        for name in vars(theirs.image_data_generator):
            if name != "preprocessing_function":
                assert getattr(mine.image_data_generator, name) == getattr(
                    theirs.image_data_generator, name
                ), name


# --- arrays ----------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1.0, 1 / 255])
@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_arrays_of_any_range_are_moved_as_keras_moves_them(
    channels: int, dtype: str, scale: float
) -> None:
    rng = np.random.default_rng(0)
    x = (rng.integers(0, 256, (7, 11, 8, channels)) * scale).astype(dtype)
    y = np.arange(7)
    arguments = MOVES | {"channel_shift_range": 0.2 if scale < 1 else 20.0, "rescale": 0.5}

    def use(module: Any) -> list[Any]:
        iterator = module.ImageDataGenerator(**arguments).flow(x, y, batch_size=3, seed=1)
        return [next(iterator) for _ in range(5)]

    if channels == 2:
        with pytest.warns(UserWarning, match="expected either 1, 3, or 4 channels"):
            theirs, mine = both(use)
    else:
        theirs, mine = both(use)
    same(theirs, mine, within=0.002 * scale)


def test_arrays_with_more_inputs_weights_and_subsets() -> None:
    x = np.random.default_rng(0).random((10, 6, 6, 3), np.float32)
    more = [np.arange(10), np.random.default_rng(1).random((10, 2))]
    y = np.tile([0, 1], 5)
    for how in (
        {"sample_weight": np.arange(10)},
        {"subset": "validation"},
        {"subset": "training", "shuffle": False},
    ):

        def use(module: Any, how: dict[str, Any] = how) -> list[Any]:
            generator = module.ImageDataGenerator(validation_split=0.4)
            iterator = generator.flow((x, more), y, batch_size=4, seed=2, **how)
            return [next(iterator) for _ in range(3)]

        theirs, mine = both(use)
        same(theirs, mine)


# --- what a user's own code sees -------------------------------------------------------


def test_a_function_that_draws_numbers_gets_keras_numbers(folders: Path) -> None:
    def noise(x: Any) -> Any:
        return x + np.random.uniform(0, 9)

    arguments = MOVES | {"preprocessing_function": noise}
    for seed in (None, 4):
        theirs, mine = both(
            lambda module, seed=seed: [
                *itertools.islice(flow(module, folders, arguments, seed=seed), 6),
                random_state(),
            ]
        )
        assert theirs.pop() == mine.pop()
        same(theirs, mine)


def test_a_generator_that_overrides_a_method_is_asked_picture_by_picture(folders: Path) -> None:
    def use(module: Any) -> Any:
        class Mine(module.ImageDataGenerator):
            def get_random_transform(self, img_shape: Any, seed: Any = None) -> Any:
                return super().get_random_transform(img_shape, seed) | {"theta": 45}

        settings = {"target_size": SIZE, "batch_size": 4, "seed": 5}
        return next(Mine(rotation_range=3).flow_from_directory(str(folders), **settings))

    theirs, mine = both(use)
    same(theirs, mine)


def test_saved_pictures_have_keras_names_and_pixels(folders: Path, tmp_path: Path) -> None:
    def use(module: Any) -> dict[str, bytes]:
        out = tmp_path / module.__name__
        out.mkdir()
        iterator = flow(module, folders, MOVES, save_to_dir=str(out), save_prefix="x")
        for _ in range(3):
            next(iterator)
        return {path.name: path.read_bytes() for path in sorted(out.iterdir())}

    theirs, mine = both(use)
    assert list(theirs) == list(mine)
    assert len(mine) == 9


def test_a_program_that_changes_its_generator_between_batches_gets_what_it_asks_for(
    folders: Path,
) -> None:
    def use(module: Any) -> list[Any]:
        iterator = flow(module, folders, {})
        found = [next(iterator)]
        iterator.image_data_generator.rescale = 0.5
        found.append(next(iterator))
        iterator.batch_size = 2
        found.append(next(iterator))
        iterator.total_batches_seen = 40
        return [*found, next(iterator)]

    theirs, mine = both(use)
    same(theirs, mine)
