"""The mean and deviation of a split's colours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from small_sets import CHANGES, LENIENT, NUM_TRAIN, config, path_of, read, write_pictures

from sightline.data.stream import Stream, measure_scaling
from sightline.errors import DataError
from sightline.records import Manifest


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return write_pictures(tmp_path)


def levels(manifest: Manifest, **how: Any) -> npt.NDArray[np.float64]:
    """Return the images of a split as the stream delivers them, 0..1."""
    plain = Stream(manifest, split="train", config=config(dtype="uint8", **how))
    return np.concatenate([batch.images for batch in read(plain)]) / 255


@pytest.mark.parametrize("channels", [1, 3])
def test_mean_and_deviation_are_those_of_all_pixels_of_the_split(
    manifest: Manifest, channels: int
) -> None:
    found = measure_scaling(manifest, config=config(channels=channels))
    expected = levels(manifest, channels=channels)
    np.testing.assert_allclose(found.mean, expected.mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(found.std, expected.std(axis=(0, 1, 2)), rtol=1e-12)


def test_streaming_with_them_gives_mean_0_and_deviation_1(manifest: Manifest) -> None:
    scaled = measure_scaling(manifest, config=config())
    images = np.concatenate(
        [batch.images for batch in read(Stream(manifest, split="train", config=scaled))]
    )
    np.testing.assert_allclose(images.mean(axis=(0, 1, 2), dtype=np.float64), 0, atol=1e-5)
    np.testing.assert_allclose(images.std(axis=(0, 1, 2), dtype=np.float64), 1, atol=1e-5)


def test_other_splits_and_random_changes_have_no_part_in_it(manifest: Manifest) -> None:
    training = config(augment=CHANGES, shuffle=True, dtype="float32")
    found = measure_scaling(manifest, config=training)
    plain = measure_scaling(manifest, config=config())
    assert (found.mean, found.std) == (plain.mean, plain.std)
    assert found.augment == CHANGES
    assert found.mean != measure_scaling(manifest, split="validation", config=config()).mean


@pytest.mark.parametrize("threads", [0, 1, 4])
def test_threads_and_batches_do_not_change_a_bit_of_it(manifest: Manifest, threads: int) -> None:
    found = measure_scaling(manifest, config=config(num_threads=threads, batch_size=7))
    assert found.mean == measure_scaling(manifest, config=config()).mean


def test_alpha_is_left_as_it_is(manifest: Manifest) -> None:
    found = measure_scaling(manifest, config=config(channels=4))
    assert (found.mean[3], found.std[3]) == (0, 1)
    assert found.mean[:3] == measure_scaling(manifest, config=config()).mean


def test_a_colour_that_never_varies_is_not_divided_by_nothing(tmp_path: Path) -> None:
    for number in range(3):
        Image.new("RGB", (8, 6), (10, 199, 255)).save(tmp_path / f"{number}.png")
    names = [f"{number}.png" for number in range(3)]
    manifest = Manifest.make(
        tmp_path, {"record_id": names, "label": list("aba"), "split": ["train"] * 3}
    )
    found = measure_scaling(manifest, config=config())
    np.testing.assert_allclose(found.mean, np.array([10, 199, 255]) / 255)
    assert found.std == (1 / 255, 1 / 255, 1 / 255)


def test_files_that_cannot_be_read_do_not_count(manifest: Manifest) -> None:
    path_of(manifest, 0).unlink()
    found = measure_scaling(manifest, config=config(**LENIENT))
    kept = levels(manifest, **LENIENT)[1:]
    assert len(kept) == NUM_TRAIN - 1
    np.testing.assert_allclose(found.mean, kept.mean(axis=(0, 1, 2)), rtol=1e-12)


def test_a_split_without_a_readable_image_is_refused(manifest: Manifest) -> None:
    for row, split in enumerate(manifest.table["split"]):
        if split == "validation":
            path_of(manifest, row).unlink()
    with pytest.raises(DataError, match="no image of split 'validation' could be read"):
        measure_scaling(manifest, split="validation", config=config(**LENIENT))
