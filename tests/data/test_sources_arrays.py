from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from sightline.data.sources import index_arrays
from sightline.errors import DataError

IMAGES: npt.NDArray[np.uint8] = np.random.default_rng(0).integers(0, 256, (5, 6, 7, 3), np.uint8)
NUMBERS = [0, 1, 0, 2, 1]


def test_arrays_become_an_index_of_their_rows() -> None:
    index = index_arrays(IMAGES, NUMBERS)
    assert index.pixels is IMAGES
    assert [index.record_id(row) for row in (0, 4)] == ["array/00000000", "array/00000004"]
    assert index.labels.tolist() == NUMBERS
    assert index.class_names == ("0", "1", "2")
    assert index.rows_of(None).tolist() == [0, 1, 2, 3, 4]


def test_grey_images_get_a_channel_without_a_copy() -> None:
    grey = IMAGES[..., 0].copy()
    pixels = index_arrays(grey, NUMBERS).pixels
    assert pixels is not None
    assert pixels.shape == (5, 6, 7, 1)
    assert np.shares_memory(pixels, grey)


def test_a_mapped_file_stays_mapped(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", IMAGES)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    index = index_arrays(mapped, NUMBERS)
    assert index.pixels is mapped
    assert index.fingerprint() == index_arrays(IMAGES, NUMBERS).fingerprint()


def test_names_are_labels_and_sorted() -> None:
    index = index_arrays(IMAGES, ["dog", "cat", "dog", "bee", "cat"])
    assert index.class_names == ("bee", "cat", "dog")
    assert index.labels.tolist() == [2, 1, 2, 0, 1]


@pytest.mark.parametrize("labels", [NUMBERS, ["x", "b", "x", "a", "b"]])
def test_class_names_are_counted_in_the_order_given(labels: list[Any]) -> None:
    index = index_arrays(IMAGES, labels, class_names=["x", "b", "a", "never"])
    assert index.class_names == ("x", "b", "a", "never")
    assert index.labels.tolist() == NUMBERS


def test_the_names_of_many_numbers_sort_as_the_numbers() -> None:
    index = index_arrays(IMAGES, [0, 11, 3, 0, 1])
    assert list(index.class_names) == sorted(index.class_names)
    assert index.class_names[11] == "11"


def test_one_split_is_for_all() -> None:
    index = index_arrays(IMAGES, NUMBERS, split="train")
    assert index.rows_of("train").tolist() == [0, 1, 2, 3, 4]


def test_each_image_may_have_its_split() -> None:
    index = index_arrays(IMAGES, NUMBERS, split=["test", None, "train", "train", "validation"])
    assert index.splits.tolist() == [2, 255, 0, 0, 1]


def test_the_fingerprint_is_that_of_the_content() -> None:
    other = IMAGES.copy()
    other[4, 5, 6, 2] ^= 1
    assert index_arrays(other, NUMBERS).fingerprint() != index_arrays(IMAGES, NUMBERS).fingerprint()


def test_the_fingerprint_tells_shapes_apart() -> None:
    turned = IMAGES.reshape(5, 7, 6, 3)
    one, other = index_arrays(IMAGES, NUMBERS), index_arrays(turned, NUMBERS)
    assert one.fingerprint() != other.fingerprint()


def test_a_strided_view_has_the_fingerprint_of_its_copy() -> None:
    view = np.asfortranarray(IMAGES)
    assert index_arrays(view, NUMBERS).fingerprint() == index_arrays(IMAGES, NUMBERS).fingerprint()


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (IMAGES.tolist(), "images must be a numpy array, got list"),
        (IMAGES / 255, r"images must be uint8, 0\.\.255, got float64\. Convert them"),
        (IMAGES[0, 0], r"with 1, 3 or 4 channels .* got \(7, 3\)"),
        (IMAGES[..., :2], r"got \(5, 6, 7, 2\)"),
        (IMAGES[:0], r"at least one image, got \(0, 6, 7, 3\)"),
        (IMAGES[:, :0], r"got \(5, 0, 7, 3\)"),
    ],
)
def test_images_of_another_shape_or_type_are_refused(images: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        index_arrays(images, [0] * len(images))


@pytest.mark.parametrize(
    ("labels", "names", "message"),
    [
        ([0, 1], None, r"labels must be \(5,\), one an image, got \(2,\)"),
        ([[0]] * 5, None, r"labels must be \(5,\), one an image, got \(5, 1\)"),
        ([0, 1, 0, 2, 1.5], None, r"whole numbers or class names, got float64, such as \[0\.0"),
        ([True] * 5, None, "whole numbers or class names, got bool"),
        ([0, 1, -1, 2, 1], None, "image 2 has label -1, which is not one of the 3 classes"),
        (NUMBERS, ["a", "b"], r"image 3 has label 2, which is not one of the 2 classes \(a, b;"),
        (["a", "b", "c", "a", "a"], ["a", "b"], "image 2 has label 'c', which is not"),
        (NUMBERS, ["a", "a", "b"], r"class_names must be distinct texts, got \['a', 'a', 'b'\]"),
        (["a", None, "b", "a", "b"], None, "whole numbers or class names, got object"),
    ],
)
def test_labels_that_make_no_sense_are_refused(labels: Any, names: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        index_arrays(IMAGES, labels, class_names=names)


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ("val", r"split must be one of \['train', .*'external'\] or None, got 'val'"),
        (["train"], "split must be one word or 5 of them, got 1"),
    ],
)
def test_a_split_that_does_not_exist_is_refused(split: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        index_arrays(IMAGES, NUMBERS, split=split)
