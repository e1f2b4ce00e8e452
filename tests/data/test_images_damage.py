"""Damaged files: each is refused with its reason, and nothing else is ever raised."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from image_bytes import NOISE, PICTURE, PNG_START, chunk, grey_tiff, png, samples, save
from PIL import Image

from sightline.data.images import decode, read_header
from sightline.errors import DataError

SAMPLES = samples()
JPEGS = sorted(name for name in SAMPLES if name.startswith("jpeg"))
PNGS = sorted(name for name in SAMPLES if name.startswith("png"))
REASONS = {
    "EMPTY",
    "NOT_AN_IMAGE",
    "TRUNCATED",
    "TOO_LARGE",
    "UNSUPPORTED_DEPTH",
    "CORRUPT_SCAN",
    "BAD_CRC",
}
many = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
)


def reason_of(content: bytes, **options: Any) -> str:
    with pytest.raises(DataError, match=r"\w") as caught:
        decode(content, **options)
    return caught.value.reason


def overwritten(content: bytes, start: int, replacement: bytes) -> bytes:
    return content[:start] + replacement + content[start + len(replacement) :]


def with_right_checksums(content: bytes) -> bytes:
    """Return the PNG with each chunk's checksum made to fit, so that Pillow sees the damage."""
    parts, position = [content[:8]], 8
    while position + 12 <= len(content):
        length, name = struct.unpack_from(">I4s", content, position)
        if position + 12 + length > len(content):
            break
        parts.append(chunk(name, content[position + 8 : position + 8 + length]))
        position += 12 + length
    return b"".join([*parts, content[position:]])


# --- JPEG ------------------------------------------------------------------------------


@pytest.mark.parametrize("rule_set", ["sightline", "keras"])
@pytest.mark.parametrize("name", JPEGS)
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_a_truncated_jpeg_is_refused_with_its_reason(
    name: str, share: float, rule_set: Any
) -> None:
    content = SAMPLES[name][: int(len(SAMPLES[name]) * share)]
    assert reason_of(content, rule_set=rule_set) == "TRUNCATED"


@pytest.mark.parametrize("name", JPEGS)
def test_a_jpeg_without_its_last_two_bytes_is_truncated(name: str) -> None:
    assert reason_of(SAMPLES[name][:-2]) == "TRUNCATED"


@pytest.mark.parametrize("rule_set", ["sightline", "keras"])
def test_a_jpeg_with_an_overwritten_scan_is_corrupt(rule_set: Any) -> None:
    content = save(PICTURE.resize((200, 150)), "JPEG")
    damaged = overwritten(content, len(content) // 2, bytes(40))
    assert reason_of(damaged, rule_set=rule_set) == "CORRUPT_SCAN"


def test_a_corrupt_jpeg_is_refused_at_a_smaller_size_too() -> None:
    content = save(PICTURE.resize((200, 150)), "JPEG")
    damaged = overwritten(content, len(content) // 2, bytes(40))
    assert reason_of(damaged, min_size=(10, 10)) == "CORRUPT_SCAN"


def test_bytes_after_the_end_of_a_jpeg_are_accepted() -> None:
    assert (decode(SAMPLES["jpeg"] + b"garbage" * 99) == decode(SAMPLES["jpeg"])).all()


def test_an_unusual_subsampling_is_refused_in_plain_words() -> None:
    content = save(PICTURE, "JPEG", subsampling=0)
    frame = content.index(b"\xff\xc0")
    with pytest.raises(DataError, match="unusual subsampling"):
        decode(overwritten(content, frame + 11, b"\x31"))


# --- PNG -------------------------------------------------------------------------------


@pytest.mark.parametrize("rule_set", ["sightline", "keras"])
@pytest.mark.parametrize("name", PNGS)
def test_a_png_with_a_wrong_checksum_is_refused_with_its_reason(name: str, rule_set: Any) -> None:
    content = SAMPLES[name]
    checksum = content.index(b"IDAT") - 5  # the last byte of the chunk before
    damaged = overwritten(content, checksum, bytes([content[checksum] ^ 1]))
    assert reason_of(damaged, rule_set=rule_set) == "BAD_CRC"


@pytest.mark.parametrize("name", PNGS)
def test_a_png_with_a_changed_pixel_byte_is_refused(name: str) -> None:
    place = SAMPLES[name].index(b"IDAT") + 10
    damaged = overwritten(SAMPLES[name], place, bytes([SAMPLES[name][place] ^ 255]))
    assert reason_of(damaged) == "BAD_CRC"


@pytest.mark.parametrize("name", PNGS)
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_truncated_png_is_refused_with_its_reason(name: str, share: float) -> None:
    assert reason_of(SAMPLES[name][: int(len(SAMPLES[name]) * share)]) in {
        "TRUNCATED",
        "NOT_AN_IMAGE",  # the palette is gone
    }


def test_a_png_without_its_end_chunk_is_truncated() -> None:
    assert reason_of(SAMPLES["png RGB"][:-12]) == "TRUNCATED"


def test_a_png_without_pixels_is_refused() -> None:
    assert reason_of(png((2, 1), 8, 0, b"")) == "CORRUPT_SCAN"


@pytest.mark.parametrize("present", [0, 1, 3])
def test_a_png_that_lacks_rows_is_truncated_not_black(present: int) -> None:
    content = png((4, 4), 8, 0, b"\0\xc8\xc8\xc8\xc8" * present + b"\0")
    assert reason_of(content) == "TRUNCATED"


def test_an_interlaced_png_that_lacks_rows_is_truncated() -> None:
    header = struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 1)
    rows = zlib.compress(b"\0\xc8" * 2)
    content = PNG_START + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    assert reason_of(content) == "TRUNCATED"


def test_a_png_whose_last_row_is_black_is_accepted() -> None:
    content = save(Image.new("RGB", (300, 200)), "PNG")
    assert decode(content).shape == (200, 300, 3)


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (8, 8), (5, 13)])
@pytest.mark.parametrize(("bits", "colour", "samples_of"), [(1, 0, 1), (8, 2, 3), (16, 6, 4)])
def test_a_complete_interlaced_png_is_accepted(
    size: tuple[int, int], bits: int, colour: int, samples_of: int
) -> None:
    starts = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2)]
    rows = b""
    for left, top, across, down in [*starts, (0, 1, 1, 2)]:
        columns = len(range(left, size[0], across))
        if columns:
            row = b"\0" + bytes((columns * bits * samples_of + 7) // 8)
            rows += row * len(range(top, size[1], down))
    header = struct.pack(">IIBBBBB", *size, bits, colour, 0, 0, 1)
    pixels = chunk(b"IDAT", zlib.compress(rows))
    content = PNG_START + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")
    assert decode(content).shape == (size[1], size[0], 3)


# --- the other formats -----------------------------------------------------------------


@pytest.mark.parametrize("name", ["gif", "bmp RGB", "bmp P", "tiff RGB", "tiff lzw", "webp"])
def test_half_a_file_of_every_other_format_is_truncated(name: str) -> None:
    assert reason_of(SAMPLES[name][: len(SAMPLES[name]) // 2]) == "TRUNCATED"


def test_a_short_tiff_strip_is_truncated_not_black() -> None:
    assert reason_of(grey_tiff((4, 8), 8, bytes([200] * 8))) == "TRUNCATED"


def test_a_run_length_coded_bmp_that_is_cut_off_is_truncated_not_black() -> None:
    runs = b"\x08\x01\0\0" * 8 + b"\0\1"
    palette = bytes([0, 0, 0, 0, 200, 200, 200, 0])
    info = struct.pack("<IiiHHIIiiII", 40, 8, 8, 1, 8, 1, len(runs), 0, 0, 2, 2)
    start = 14 + 40 + len(palette)
    content = struct.pack("<2sIII", b"BM", start + len(runs), 0, start) + info + palette + runs
    assert decode(content, channels=1).tolist() == [[[200]] * 8] * 8
    assert reason_of(content[:-17]) == "TRUNCATED"


def test_a_damaged_webp_is_corrupt() -> None:
    content = SAMPLES["webp lossless"]
    assert reason_of(overwritten(content, 40, bytes(20))) == "CORRUPT_SCAN"


# --- whatever the bytes ----------------------------------------------------------------


def only_pixels_or_a_reason(content: bytes, rule_set: Any = "sightline") -> None:
    """Fail unless the bytes decode, or are refused with one of the reasons."""
    try:
        image = decode(content, rule_set=rule_set, max_megapixels=1.0)
    except DataError as error:
        assert error.reason in REASONS  # noqa: PT017
    else:
        assert image.dtype == NOISE.dtype


starts = st.sampled_from(
    [b"\xff\xd8\xff", PNG_START, b"GIF89a", b"BM", b"II*\0", b"MM\0+", b"RIFF\0\0\0\0WEBPVP8X", b""]
)
rules = st.sampled_from(["sightline", "keras"])


@many
@given(start=starts, rest=st.binary(max_size=200), rule_set=rules)
def test_random_bytes_raise_nothing_but_a_data_error(
    start: bytes, rest: bytes, rule_set: str
) -> None:
    only_pixels_or_a_reason(start + rest, rule_set)


@many
@given(name=st.sampled_from(sorted(SAMPLES)), share=st.floats(0, 1), rule_set=rules)
def test_a_file_cut_anywhere_raises_nothing_but_a_data_error(
    name: str, share: float, rule_set: str
) -> None:
    content = SAMPLES[name]
    only_pixels_or_a_reason(content[: int(share * len(content))], rule_set)


@many
@given(
    name=st.sampled_from(sorted(SAMPLES)),
    changes=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=8),
    rule_set=rules,
)
@example(name="png P", changes=[(40, 0)], rule_set="sightline")
def test_overwritten_bytes_raise_nothing_but_a_data_error(
    name: str, changes: list[tuple[int, int]], rule_set: str
) -> None:
    content = bytearray(SAMPLES[name])
    for place, value in changes:
        content[place % len(content)] = value
    only_pixels_or_a_reason(bytes(content), rule_set)


@many
@given(
    name=st.sampled_from(PNGS),
    changes=st.lists(st.tuples(st.integers(8, 2000), st.integers(0, 255)), min_size=1, max_size=8),
)
def test_a_png_damaged_before_its_checksums_raises_nothing_but_a_data_error(
    name: str, changes: list[tuple[int, int]]
) -> None:
    content = bytearray(SAMPLES[name])
    for place, value in changes:
        content[place % len(content)] = value
    only_pixels_or_a_reason(with_right_checksums(bytes(content)))


@many
@given(name=st.sampled_from(sorted(set(SAMPLES) - {"gif animated"})), missing=st.integers(1, 400))
def test_a_file_cut_within_its_pixels_never_gives_other_pixels(name: str, missing: int) -> None:
    content = SAMPLES[name]
    try:
        image = decode(content[:-missing])
    except DataError as error:
        assert error.reason in REASONS  # noqa: PT017
    else:
        assert (image == decode(content)).all()


@given(share=st.floats(0, 1))
@settings(max_examples=50, deadline=None, database=None)
def test_a_header_is_read_from_any_start_of_a_jpeg_or_refused(share: float) -> None:
    content = SAMPLES["jpeg turned"]
    try:
        header = read_header(content[: int(share * len(content))])
    except DataError as error:
        assert error.reason in REASONS  # noqa: PT017
    else:
        assert header == read_header(content)
