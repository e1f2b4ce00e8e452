from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sightline.data.pictures import first_bytes, thumbnail, thumbnails, training_pictures
from sightline.data.stream import Stream, StreamConfig
from sightline.errors import DataError
from sightline.records import Manifest, Picture


def decoded(picture: Picture) -> Image.Image:
    return Image.open(io.BytesIO(picture.content))


@pytest.mark.parametrize(
    ("size", "expected"),
    [((640, 320), (160, 80)), ((3, 900), (1, 160)), ((100, 80), (100, 80)), ((20, 8), (20, 8))],
)
def test_a_thumbnail_keeps_its_shape_and_is_never_enlarged(
    tmp_path: Path, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    Image.new("RGB", size).save(tmp_path / "a.png")
    picture = thumbnail(tmp_path / "a.png", "words")
    assert decoded(picture).size == (picture.width, picture.height) == expected


@pytest.mark.parametrize(("side", "kind"), [(63, "image/png"), (64, "image/jpeg")])
def test_small_pictures_are_kept_without_loss(tmp_path: Path, side: int, kind: str) -> None:
    Image.new("RGB", (side, side)).save(tmp_path / "a.png")
    picture = thumbnail(tmp_path / "a.png", "words")
    assert (picture.media_type, picture.caption) == (kind, "words")


def test_a_thumbnail_of_a_damaged_file_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(DataError, match=rf"{tmp_path}/a\.png: "):
        thumbnail(tmp_path / "a.png", "words")


def small_set(root: Path) -> Manifest:
    rng = np.random.default_rng(0)
    for number in range(6):
        pixels = rng.integers(0, 256, (8, 8, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(root / f"{number}.png")
    ids = [f"{number}.png" for number in range(6)]
    return Manifest.make(root, {"record_id": ids, "label": ["a", "b"] * 3, "split": ["train"] * 6})


def test_training_pictures_are_the_first_images_the_network_sees(tmp_path: Path) -> None:
    manifest = small_set(tmp_path)
    config = StreamConfig(image_size=(8, 8), shuffle=True, seed=4)
    pictures = training_pictures(manifest, config, count=3)
    with Stream(manifest, split="train", config=config) as stream:
        seen = np.rint(next(stream.epoch(0)).images[:3] * 255)
    np.testing.assert_array_equal([np.asarray(decoded(one)) for one in pictures], seen)


def test_training_pictures_say_their_class(tmp_path: Path) -> None:
    pictures = training_pictures(small_set(tmp_path), StreamConfig(image_size=(8, 8)), count=4)
    assert [picture.caption for picture in pictures] == ["a", "b", "a", "b"]


def test_training_pictures_leave_out_what_cannot_be_read(tmp_path: Path) -> None:
    manifest = small_set(tmp_path)
    (tmp_path / "1.png").write_bytes(b"")
    config = StreamConfig(image_size=(8, 8), max_fault_share=1.0)
    assert len(training_pictures(manifest, config, count=4)) == 3


def test_thumbnails_are_by_record_id_and_leave_out_what_cannot_be_read(tmp_path: Path) -> None:
    manifest = small_set(tmp_path)
    (tmp_path / "1.png").write_bytes(b"")
    (tmp_path / "2.png").unlink()
    found = thumbnails(manifest, ["3.png", "1.png", "2.png", "0.png"], max_side=4)
    assert {name: (one.caption, one.width, one.height) for name, one in found.items()} == {
        "3.png": ("3.png", 4, 4),
        "0.png": ("0.png", 4, 4),
    }


def test_thumbnails_stand_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    Image.new("RGB", (80, 40)).save(tmp_path / "a.jpg", exif=exif)
    manifest = Manifest.make(tmp_path, {"record_id": ["a.jpg"], "label": ["a"]})
    (found,) = thumbnails(manifest, ["a.jpg"]).values()
    assert (found.width, found.height) == (40, 80)


def test_only_the_first_bytes_of_a_file_are_read(tmp_path: Path) -> None:
    contents = {"a": b"0123456789", "b": b"01", "c": b"", "gone": b"0123"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    sizes = [len(content) for content in contents.values()]
    manifest = Manifest.make(tmp_path, {"record_id": list(contents), "bytes": sizes})
    (tmp_path / "gone").unlink()
    assert first_bytes(manifest, contents, count=4) == {"a": b"0123", "b": b"01"}


def test_the_first_bytes_of_an_image_in_an_archive_are_its_own(tmp_path: Path) -> None:
    (tmp_path / "set.tar").write_bytes(b"....0123456789....")
    columns = {"record_id": ["set.tar/a.png"], "begin": [4], "bytes": [10]}
    manifest = Manifest.make(tmp_path, columns)
    assert first_bytes(manifest, ["set.tar/a.png"], count=4) == {"set.tar/a.png": b"0123"}
