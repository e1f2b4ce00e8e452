"""mode="fast": the stream's own order and numbers, a function of seed, pass and picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from both import MOVES, SIZE, write_folders

from sightline.preprocessing.image import ImageDataGenerator


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folders(tmp_path_factory.mktemp("folders") / "data", (9, 8))


def flow(folder: Path, seed: int | None = 3, **how: Any) -> Any:
    arguments = MOVES | {"brightness_range": (0.6, 1.4), "channel_shift_range": 20.0}
    generator = ImageDataGenerator(mode="fast", **arguments)
    settings = {"target_size": SIZE, "batch_size": 4, **how}
    return generator.flow_from_directory(str(folder), seed=seed, **settings)


def one_pass(iterator: Any) -> dict[str, bytes]:
    """Return the bytes of each picture of a pass, by its name."""
    found: dict[str, bytes] = {}
    for _ in range(len(iterator)):
        images, _ = next(iterator)
        found |= {
            name: image.tobytes()
            for name, image in zip(iterator.last_filenames, images, strict=True)
        }
    return found


def test_every_picture_comes_once_a_pass_and_differs_in_the_next(folders: Path) -> None:
    iterator = flow(folders)
    first, second = one_pass(iterator), one_pass(iterator)
    assert sorted(first) == sorted(second) == sorted(iterator.filenames)
    assert all(first[name] != second[name] for name in first)


def test_one_seed_gives_the_same_pictures_for_any_batch_size(folders: Path) -> None:
    passes = [one_pass(flow(folders, batch_size=size)) for size in (1, 4, 7, 32)]
    assert passes[1:] == passes[:-1]
    assert passes[0] != one_pass(flow(folders, seed=4))


def test_one_seed_gives_the_same_pictures_however_they_are_asked_for(folders: Path) -> None:
    iterator, asked = flow(folders), {}
    for number in reversed(range(len(iterator))):
        images, _ = iterator[number]
        asked |= {
            name: image.tobytes()
            for name, image in zip(iterator.last_filenames, images, strict=True)
        }
    assert asked == one_pass(flow(folders))


def test_numpys_global_generator_changes_nothing(folders: Path) -> None:
    iterator = flow(folders)
    np.random.seed(1)
    first = one_pass(iterator)
    np.random.seed(2)
    assert one_pass(flow(folders)) == first


def test_without_a_seed_each_iterator_has_its_own(folders: Path) -> None:
    assert one_pass(flow(folders, seed=None)) != one_pass(flow(folders, seed=None))


def test_without_shuffling_the_order_is_that_of_the_names(folders: Path) -> None:
    assert list(one_pass(flow(folders, shuffle=False))) == flow(folders).filenames


def test_a_height_shift_moves_up_and_down_where_keras_moves_sideways() -> None:
    x = np.zeros((1, 8, 40, 3), np.float32)
    x[:, :, 20:] = 1  # the same in every row
    moved = {
        mode: next(ImageDataGenerator(mode=mode, height_shift_range=[2]).flow(x, seed=1))
        for mode in ("fast", "exact")
    }
    np.testing.assert_array_equal(moved["fast"], x)
    assert (moved["exact"] != x).any()
