from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from sightline.data.facts import measure
from sightline.errors import DataError
from sightline.records import Manifest


def write(path: Path, height: int, width: int, *, grey: bool = True) -> None:
    pixels = np.full((height, width, 3), 90, np.uint8)
    if not grey:
        pixels[0, 0] = (200, 10, 10)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    for number in range(10):
        write(tmp_path / f"{number}.png", 10 + number, 20)
    ids = [f"{number}.png" for number in range(10)]
    return Manifest.make(tmp_path, {"record_id": ids, "label": ["b", "a"] * 5, "bytes": [100] * 10})


def test_sizes_are_medians_and_extremes_as_height_and_width(manifest: Manifest) -> None:
    facts = measure(manifest)
    assert (facts.height, facts.width) == (14, 20)
    assert (facts.smallest, facts.largest) == ((10, 20), (19, 20))


def test_counts_are_of_all_usable_images_in_class_order(manifest: Manifest) -> None:
    facts = measure(manifest, sample=3)
    assert (facts.count, facts.looked_at, facts.bytes) == (10, 3, 1000)
    assert list(facts.class_counts.items()) == [("a", 5), ("b", 5)]


def test_a_sample_reaches_from_the_first_to_the_last_image(manifest: Manifest) -> None:
    facts = measure(manifest, sample=2)
    assert (facts.smallest, facts.largest) == ((10, 20), (19, 20))


def test_grey_images_are_known_even_when_stored_as_colour(manifest: Manifest) -> None:
    assert measure(manifest).all_grey


def test_one_colour_image_is_enough_for_colour(manifest: Manifest) -> None:
    write(manifest.root / "5.png", 10, 10, grey=False)
    assert not measure(manifest).all_grey


def test_files_that_cannot_be_read_are_named_and_not_fatal(manifest: Manifest) -> None:
    (manifest.root / "3.png").write_bytes(b"")
    facts = measure(manifest)
    assert (facts.looked_at, [name for name, _ in facts.unreadable]) == (9, ["3.png"])


def test_formats_are_what_the_files_hold_whatever_their_names(manifest: Manifest) -> None:
    Image.new("L", (4, 4)).save(manifest.root / "0.png", "JPEG")
    assert measure(manifest).formats == {"PNG": 9, "JPEG": 1}


def test_no_readable_file_is_an_error_with_the_first_reason(manifest: Manifest) -> None:
    for path in manifest.root.iterdir():
        path.write_bytes(b"")
    with pytest.raises(
        DataError, match=rf"none of 10 files looked at under {manifest.root}.*empty"
    ):
        measure(manifest)


def test_a_manifest_without_usable_images_is_an_error(tmp_path: Path) -> None:
    manifest = Manifest.make(tmp_path, {"record_id": ["a.png"], "status": ["quarantined"]})
    with pytest.raises(DataError, match=rf"{tmp_path} has no usable image to look at"):
        measure(manifest)


def test_the_test_split_is_counted_and_never_looked_at(manifest: Manifest) -> None:
    held_out = [f"{number}.png" for number in range(5, 10)]
    splits = ["test" if name in held_out else "train" for name in manifest.table["record_id"]]
    for name in held_out:
        (manifest.root / name).unlink()
    facts = measure(manifest.with_splits(pl.Series("split", splits)))
    assert (facts.count, facts.looked_at, facts.unreadable) == (10, 5, ())
