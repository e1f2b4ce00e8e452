"""One look at one file: the row says what the file is and what its pixels measure."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import xxhash
from image_bytes import NOISE, PICTURE, samples, save
from PIL import Image

from sightline.data import images
from sightline.data.auditing.copies.fingerprints import fingerprint
from sightline.data.auditing.inspected import INSPECTED_SCHEMA
from sightline.data.auditing.inspecting import Row, inspect, inspect_within
from sightline.records import Location

SAMPLES = samples()


def look(folder: Path, content: bytes, name: str = "picture") -> Row:
    path = folder / name
    path.write_bytes(content)
    return inspect(Location(str(path), -1, -1, -1), name, max_megapixels=64)


def png(pixels: npt.NDArray[np.uint8]) -> bytes:
    return save(Image.fromarray(pixels), "PNG")


def test_a_row_has_every_column(tmp_path: Path) -> None:
    row = look(tmp_path, SAMPLES["jpeg"])
    assert list(row) == INSPECTED_SCHEMA.names()
    assert (row["status"], row["reason"], row["stage"], row["detail"]) == ("ok", None, None, None)
    assert row["sha256"] == hashlib.sha256(SAMPLES["jpeg"]).hexdigest()
    assert row["bytes"] == len(SAMPLES["jpeg"])
    assert row["mtime_ns"] == (tmp_path / "picture").stat().st_mtime_ns
    assert (row["format"], row["width"], row["height"]) == ("JPEG", 17, 13)


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_pixels_are_numbered_by_what_a_stream_decodes(name: str, tmp_path: Path) -> None:
    pixels = images.decode(SAMPLES[name])
    size = struct.pack("<II", *pixels.shape[:2])
    row = look(tmp_path, SAMPLES[name])
    assert row["pixels"] == xxhash.xxh3_64_intdigest(size + pixels.tobytes())
    luma = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    assert row["brightness"] == pytest.approx(luma.mean())
    assert row["contrast"] == pytest.approx(luma.std())
    assert (row["phash"], row["thumb"]) == fingerprint(luma)


def test_pixels_of_a_large_picture_are_numbered_as_a_whole(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (700, 301, 3), np.uint8)
    for kept in (pixels, np.repeat(pixels[..., :1], 3, 2)):
        size = struct.pack("<II", 700, 301)
        whole = xxhash.xxh3_64_intdigest(size + kept.tobytes())
        assert look(tmp_path, png(kept))["pixels"] == whole
    grey = look(tmp_path, png(pixels[..., 0]))
    assert (grey["pixels"], grey["mode"], grey["grey"]) == (whole, "L", True)


@pytest.mark.parametrize(("apart", "grey"), [(0, True), (2, True), (3, False)])
def test_grey_is_two_of_255(apart: int, grey: bool, tmp_path: Path) -> None:
    pixels = np.full((400, 300, 3), 100, np.uint8)
    pixels[-1, -1, 2] += apart
    assert look(tmp_path, png(pixels))["grey"] is grey


def test_channels_on_both_sides_of_the_luma_are_further_apart_than_each_from_it(
    tmp_path: Path,
) -> None:
    pixels = np.full((40, 30, 3), 100, np.uint8)
    pixels[3, 3] = (102, 100, 98)
    assert look(tmp_path, png(pixels))["grey"] is False


def test_alpha_is_some_pixel_that_is_not_opaque(tmp_path: Path) -> None:
    opaque = np.full((9, 9, 4), 255, np.uint8)
    assert look(tmp_path, png(opaque))["alpha"] is False
    opaque[5, 5, 3] = 254
    row = look(tmp_path, png(opaque))
    assert (row["alpha"], row["reason"]) == (True, "ALPHA")


def test_a_blurred_picture_is_less_sharp_at_every_size(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    for side in (2, 64, 256, 1000):
        sharp = cv2.resize(noise, (side, side), interpolation=cv2.INTER_NEAREST)
        blurred = cv2.GaussianBlur(sharp, (0, 0), max(1, side / 60))
        found = [look(tmp_path, png(one))["sharpness"] for one in (sharp, blurred)]
        assert found[0] > found[1]


def test_the_border_is_measured_apart(tmp_path: Path) -> None:
    pixels = np.full((100, 200), 200, np.uint8)
    pixels[4:-4, 8:-8] = 10
    row = look(tmp_path, png(pixels))
    assert (row["border_brightness"], row["border_contrast"]) == (200, 0)
    pixels[4, 8] = pixels[3, 7] = 0
    assert look(tmp_path, png(pixels))["border_contrast"] > 0


def test_the_brightest_is_the_99th_percentile(tmp_path: Path) -> None:
    pixels = np.zeros((200, 200), np.uint8)
    pixels[:, :3] = 240
    assert look(tmp_path, png(pixels))["brightest"] == 240
    pixels[:, 1:3] = 0
    assert look(tmp_path, png(pixels))["brightest"] == 0


def test_quality_grows_as_a_jpeg_is_compressed_more(tmp_path: Path) -> None:
    found = [look(tmp_path, save(PICTURE, "JPEG", quality=q))["quality"] for q in (95, 50, 5)]
    assert found == sorted(found)
    assert look(tmp_path, SAMPLES["png RGB"])["quality"] is None


def test_a_bad_file_has_what_could_be_read_and_a_message_without_its_path(tmp_path: Path) -> None:
    row = look(tmp_path, SAMPLES["jpeg"][:-40])
    assert (row["status"], row["reason"], row["stage"]) == ("quarantined", "TRUNCATED", "decode")
    assert (row["width"], row["pixels"]) == (17, None)
    assert len(str(row["sha256"])) == 64
    assert str(tmp_path) not in str(row["detail"])
    gone = inspect(Location(str(tmp_path / "gone"), -1, -1, -1), "gone", max_megapixels=64)
    assert (gone["reason"], gone["stage"], gone["bytes"]) == ("MISSING", "open", None)
    assert str(gone["detail"]).startswith("there is no such file")


def test_a_picture_over_the_limit_is_refused_by_its_header(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(png(np.zeros((1001, 1000), np.uint8)))
    row = inspect(Location(str(tmp_path / "x"), -1, -1, -1), "x", max_megapixels=1)
    assert (row["reason"], row["stage"]) == ("TOO_LARGE", "header")
    assert row["sha256"] is not None


def test_a_file_that_takes_more_than_is_allowed_now_is_put_off(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(png(NOISE))
    place = Location(str(tmp_path / "x"), -1, -1, -1)
    for max_bytes, put_off in ((100, True), (1000, True), (1_000_000, False)):
        row = inspect_within(place, "x", max_megapixels=64, max_bytes=max_bytes)
        assert (row is None) is put_off


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_picture_decoded_in_bands_is_the_one_decoded_whole(
    mode: str, channels: images.Channels, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (37, 23, 4), np.uint8), "RGBA").convert(mode)
    formats = ("TIFF", "JPEG") if mode == "CMYK" else ("TIFF",) if mode == "LA" else ("PNG", "TIFF")
    for format_name in formats:
        content = save(image, format_name)
        whole = images.decode(content, channels=channels)
        with monkeypatch.context() as patch:
            patch.setattr("sightline.data.images.decoding._BAND", 50)
            patch.setattr("sightline.data.images.jpeg._BAND", 50)
            assert np.array_equal(images.decode(content, channels=channels), whole)
