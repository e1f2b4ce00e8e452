from __future__ import annotations

import os
import re
import resource
import socket
import struct
from pathlib import Path

import pytest
from image_bytes import (
    NOISE,
    ORIENTATION,
    PICTURE,
    PNG_START,
    chunk,
    exif,
    grey_tiff,
    png,
    samples,
    save,
    tiff,
    transparent,
)
from PIL import Image

import sightline.data.images as images
from sightline.data.images import (
    DECODER_VERSION,
    IMAGE_EXTENSIONS,
    decode,
    load,
    read_file,
    read_header,
)
from sightline.errors import DataError

SAMPLES = samples()
GREY_ROW = b"\0" + bytes([9, 9])


def reason_of(content: bytes) -> str:
    with pytest.raises(DataError, match=r"\w") as caught:
        read_header(content)
    return caught.value.reason


def with_jpeg_frame(content: bytes, *, offset: int, replacement: bytes) -> bytes:
    """Return the JPEG with bytes of its frame header changed, `offset` from its marker."""
    start = content.index(b"\xff\xc0") + offset
    return content[:start] + replacement + content[start + len(replacement) :]


# --- the room --------------------------------------------------------------------------


def test_the_room_exports_what_it_lists() -> None:
    assert all(hasattr(images, name) for name in images.__all__)


def test_the_decoder_version_is_a_positive_number() -> None:
    assert DECODER_VERSION >= 1


def test_pillow_is_imported_in_this_room_alone_but_for_its_brightness() -> None:
    room = Path(images.__file__).parent
    package = room.parents[1]
    importers = {
        path
        for path in package.rglob("*.py")
        if re.search(
            r"^\s*(from|import) PIL\b(?! import ImageEnhance$)",
            path.read_text("utf-8"),
            re.MULTILINE,
        )
    }
    assert {path for path in importers if room not in path.parents} == set()


def test_extensions_are_lower_case_with_their_dot() -> None:
    assert all(re.fullmatch(r"\.[a-z]+", extension) for extension in IMAGE_EXTENSIONS)


# --- what a header says ----------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_a_header_gives_the_size_that_pillow_sees(name: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(SAMPLES[name])
    header = read_header(SAMPLES[name])
    with Image.open(path) as image:
        assert sorted((header.width, header.height)) == sorted(image.size)


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_a_header_gives_format_and_mode_as_pillow_does(name: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(SAMPLES[name])
    header = read_header(SAMPLES[name])
    with Image.open(path) as image:
        assert (header.format, header.mode) == (image.format, image.mode)


@pytest.mark.parametrize("name", ["gif animated", "webp animated"])
def test_the_frames_of_an_animation_are_counted(name: str) -> None:
    assert read_header(SAMPLES[name]).frames == 2


def test_the_frames_of_an_animated_png_are_counted() -> None:
    content = save(PICTURE, "PNG", save_all=True, append_images=[Image.new("RGB", (17, 13))])
    assert read_header(content).frames == 2


def test_a_picture_before_the_animation_of_a_png_counts_as_a_frame() -> None:
    other = Image.new("RGB", (17, 13))
    content = save(
        PICTURE, "PNG", save_all=True, append_images=[other, PICTURE], default_image=True
    )
    assert read_header(content).frames == 3


def test_the_pictures_of_a_multi_picture_jpeg_are_counted() -> None:
    content = save(PICTURE, "MPO", save_all=True, append_images=[PICTURE])
    assert read_header(content).frames == 2


def test_the_pages_of_a_tiff_are_counted() -> None:
    content = save(PICTURE, "TIFF", save_all=True, append_images=[PICTURE])
    assert read_header(content).frames == 2


def test_a_tiff_whose_pages_form_a_circle_is_read() -> None:
    content = bytearray(grey_tiff((2, 1), 8, bytes([1, 2])))
    content[8 + 2 + 12 * 9 : 8 + 2 + 12 * 9 + 4] = struct.pack("<I", 8)
    assert read_header(bytes(content)).frames == 1


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_exif_orientation_is_found(format_name: str, orientation: int) -> None:
    content = save(PICTURE, format_name, exif=exif(orientation))
    assert read_header(content).orientation == orientation


def test_a_nonsense_orientation_counts_as_upright() -> None:
    assert read_header(save(PICTURE, "JPEG", exif=exif(77))).orientation == 1


def test_a_broken_exif_block_does_not_spoil_a_picture() -> None:
    content = save(PICTURE, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert read_header(content).orientation == 1


def test_the_bits_of_a_sample_are_those_stored() -> None:
    assert read_header(SAMPLES["png 16"]).bits == 16


def test_the_format_is_told_by_content_not_by_name(tmp_path: Path) -> None:
    path = tmp_path / "picture.jpg"
    path.write_bytes(SAMPLES["png RGB"])
    assert read_header(read_file(path)).format == "PNG"


def test_a_tiff_with_text_tags_is_read() -> None:
    content = save(PICTURE, "TIFF", software="some program", description="a long description")
    assert read_header(content).mode == "RGB"


# --- too large, before any memory is taken ---------------------------------------------


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_more_megapixels_than_allowed_are_refused_in_every_format(name: str) -> None:
    with pytest.raises(DataError, match=r"megapixels; at most 0.0001 are decoded"):
        read_header(SAMPLES[name], max_megapixels=0.0001)


def test_a_png_that_claims_a_huge_size_is_refused_before_memory_is_taken() -> None:
    content = png((65500, 65500), 8, 2, b"\0")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert reason_of(content) == "TOO_LARGE"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


def test_a_jpeg_that_claims_a_huge_size_is_refused() -> None:
    content = with_jpeg_frame(SAMPLES["jpeg"], offset=5, replacement=b"\xff\xdc\xff\xdc")
    assert reason_of(content) == "TOO_LARGE"


def test_a_small_tiff_picture_in_a_huge_tile_is_refused() -> None:
    entries = [(256, "H", [2]), (257, "H", [1]), (258, "H", [8]), (262, "H", [1])]
    tiles = [(322, "H", [60000]), (323, "H", [60000]), (324, "I", [8]), (325, "I", [2])]
    assert reason_of(tiff([*entries, *tiles])) == "TOO_LARGE"


def test_a_gif_frame_larger_than_the_screen_counts() -> None:
    content = bytearray(SAMPLES["gif"])
    position = content.index(b",\0\0\0\0\x11\0\x0d\0")
    content[position + 5 : position + 9] = b"\xff\xff\xff\xff"
    assert reason_of(bytes(content)) == "TOO_LARGE"


# --- refused by their header -----------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "reason", "hint"),
    [
        (b"", "EMPTY", "0 bytes"),
        (b"<!DOCTYPE html><html>", "NOT_AN_IMAGE", "web page"),
        (b"\n <html>", "NOT_AN_IMAGE", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "NOT_AN_IMAGE", "git lfs pull"),
        (bytes(64), "NOT_AN_IMAGE", "begins with zeros"),
        (b"\0\5\x16\7\0\2\0\0", "NOT_AN_IMAGE", "companion"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "NOT_AN_IMAGE", "Convert it"),
        (b"P6\n1 1\n255\n\0\0\0", "NOT_AN_IMAGE", "Convert it"),
        (b"\n\n" + SAMPLES["jpeg"], "NOT_AN_IMAGE", "Convert it"),
        (png((0, 0), 8, 0, b"\0"), "NOT_AN_IMAGE", "0 x 0 pixels"),
        (png((2, 1), 8, 1, GREY_ROW), "NOT_AN_IMAGE", "colour type 1"),
        (png((2, 1), 8, 3, GREY_ROW), "NOT_AN_IMAGE", "palette that is not there"),
        (tiff([(256, "H", [2]), (256, "H", [3])]), "NOT_AN_IMAGE", "stands in it twice"),
        (tiff([(256, "H", [2, 2])]), "NOT_AN_IMAGE", "2 values instead of one"),
        (b"RIFF\x20\0\0\0WEBPABCD" + bytes(24), "NOT_AN_IMAGE", "first chunk"),
        (SAMPLES["png RGB"][:20], "TRUNCATED", "cut off"),
        (SAMPLES["jpeg"][:40], "TRUNCATED", "cut off"),
        (SAMPLES["gif"][:20], "TRUNCATED", "cut off"),
        (SAMPLES["bmp RGB"][:20], "TRUNCATED", "cut off"),
        (SAMPLES["tiff RGB"][:6], "TRUNCATED", "cut off"),
        (SAMPLES["webp"][:-20], "TRUNCATED", "cut off"),
    ],
)
def test_a_file_is_refused_by_its_header(content: bytes, reason: str, hint: str) -> None:
    with pytest.raises(DataError, match=hint) as caught:
        read_header(content)
    assert caught.value.reason == reason


def test_a_jpeg_of_twelve_bits_is_refused_as_unsupported_depth() -> None:
    content = with_jpeg_frame(SAMPLES["jpeg"], offset=4, replacement=b"\x0c")
    assert reason_of(content) == "UNSUPPORTED_DEPTH"


def test_a_tiff_tag_past_the_end_is_refused_as_truncated() -> None:
    content = bytearray(save(PICTURE, "TIFF", software="a program with a name"))
    (directory,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, directory)
    places = range(directory + 2, directory + 2 + 12 * count, 12)
    software = next(at for at in places if struct.unpack_from("<H", content, at) == (305,))
    struct.pack_into("<I", content, software + 8, 1 << 30)
    assert reason_of(bytes(content)) == "TRUNCATED"


def test_a_tiff_with_fewer_strips_than_rows_is_refused_as_truncated() -> None:
    content = grey_tiff((4, 8), 8, bytes([200] * 8), rows_per_strip=2)
    with pytest.raises(DataError, match="1 of the 4 strips"):
        read_header(content)


def test_a_bigtiff_that_points_past_every_memory_is_refused() -> None:
    assert reason_of(b"II+\0\x08\0\0\0" + b"\xff" * 8) == "TRUNCATED"


# --- files -----------------------------------------------------------------------------


def test_read_file_gives_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"some bytes" * 1000)
    assert read_file(path) == b"some bytes" * 1000


def test_read_file_follows_a_link(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    assert read_file(tmp_path / "link") == b"content"


def test_an_empty_file_reads_as_no_bytes(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert read_file(tmp_path / "file") == b""


def test_load_is_decode_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "noise.png"
    path.write_bytes(SAMPLES["png RGB"])
    assert (load(path) == NOISE).all()


def test_load_hands_its_keywords_on(tmp_path: Path) -> None:
    path = tmp_path / "clear.png"
    path.write_bytes(png((2, 1), 8, 0, GREY_ROW, before=transparent(9)))
    assert load(path, channels=1, background=(7, 7, 7)).tolist() == [[[7], [7]]]


def test_an_error_of_load_names_the_file_first(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(DataError, match=r"^/.*empty\.jpg: the file is empty"):
        load(tmp_path / "empty.jpg")


def test_an_error_of_load_keeps_the_reason(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(DataError, match="empty") as caught:
        load(tmp_path / "empty.jpg")
    assert caught.value.reason == "EMPTY"


def test_a_missing_file_is_refused_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such file") as caught:
        read_file(tmp_path / "none.jpg")
    assert caught.value.reason == "MISSING"


def test_a_dangling_link_is_missing(tmp_path: Path) -> None:
    (tmp_path / "link.jpg").symlink_to("nowhere")
    with pytest.raises(DataError, match="there is no such file"):
        read_file(tmp_path / "link.jpg")


def test_a_link_to_itself_is_unreadable(tmp_path: Path) -> None:
    (tmp_path / "link.jpg").symlink_to("link.jpg")
    with pytest.raises(DataError, match="cannot be read") as caught:
        read_file(tmp_path / "link.jpg")
    assert caught.value.reason == "UNREADABLE"


def test_a_name_with_a_zero_byte_is_missing() -> None:
    with pytest.raises(DataError, match="no file can have this name"):
        read_file("a\0b.jpg")


def test_a_folder_named_like_a_picture_is_not_a_file(tmp_path: Path) -> None:
    (tmp_path / "folder.jpg").mkdir()
    with pytest.raises(DataError, match="a folder, pipe, socket or device") as caught:
        read_file(tmp_path / "folder.jpg")
    assert caught.value.reason == "NOT_A_FILE"


def test_a_pipe_named_like_a_picture_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(DataError, match="a folder, pipe, socket or device"):
        read_file(tmp_path / "pipe.jpg")


def test_a_socket_named_like_a_picture_is_not_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket is short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("s.jpg")
        with pytest.raises(DataError, match="a folder, pipe, socket or device"):
            read_file("s.jpg")


def test_a_png_chunk_that_is_not_known_changes_nothing() -> None:
    plain = png((2, 1), 8, 0, GREY_ROW)
    noted = png((2, 1), 8, 0, GREY_ROW, before=chunk(b"noTe", b"anything"))
    assert plain.startswith(PNG_START)
    assert (decode(plain) == decode(noted)).all()


def test_an_orientation_stored_as_a_long_is_found() -> None:
    content = grey_tiff((2, 1), 8, bytes([1, 2]), extra=[(ORIENTATION, "I", [3])])
    assert read_header(content).orientation == 3
