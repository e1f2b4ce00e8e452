"""`inspect`: one full look at one file, as a row of the inspected table."""

from __future__ import annotations

import hashlib
import struct

import cv2
import numpy as np
import numpy.typing as npt
import xxhash

from sightline.data import images
from sightline.data.auditing.copies.fingerprints import fingerprint
from sightline.data.auditing.inspected import INSPECTED_SCHEMA, NOTED, OK
from sightline.errors import DataError
from sightline.records import Location
from sightline.records.manifest import QUARANTINED

INSPECT_VERSION = 1  # raise it when any row comes out differently: rows are kept between audits

Pixels = npt.NDArray[np.uint8]
Row = dict[str, object]

_SMALL_SIDE = 256  # px: everything but `grey` and `pixels` is measured at this size
_BORDER_SHARE = 0.04
_GREY_TOLERANCE = 2  # of 255: JPEG stores colour apart, so grey survives it almost exactly
_TINY_SIDE = 8
_EXTREME_ASPECT = 32
_BRIGHTEST_SHARE = 0.99
_BAND = 1 << 16  # pixels looked at at once
_COLOURLESS = frozenset({"1", "L", "LA", "I;16", "I;16B"})
# Four uncompressed samples of 16 bits: no longer file can be a picture within the limit.
_PIXEL_BYTES, _LEAST_LIMIT = 8, 512 << 20
_NO_MEMORY = -4  # cv2.Error.StsNoMem


def inspect(location: Location, record_id: str, *, max_megapixels: float) -> Row:
    """Return the row of INSPECTED_SCHEMA for one file; a bad one gets a row that says so.

    Pure but for reading: the same bytes give the same row on every machine with the same
    libraries, whatever was looked at before.

    Args:
        location: Where the bytes are. What it knows is insisted on, as `images.read_file` does.
        record_id: Its name, which is compared with what the file holds.
        max_megapixels: Larger pictures are quarantined before anything is allocated.
    """
    row = inspect_within(location, record_id, max_megapixels=max_megapixels, max_bytes=None)
    assert row is not None  # without a limit nothing is put off
    return row


def inspect_within(
    location: Location, record_id: str, *, max_megapixels: float, max_bytes: int | None
) -> Row | None:
    """Return what `inspect` does; None for a file that might take more than `max_bytes` bytes."""
    row: Row = dict.fromkeys(INSPECTED_SCHEMA)
    row["record_id"] = record_id
    stage = "open"
    try:
        content = _read(location, row, max_megapixels, max_bytes)
        if content is None:
            return None
        stage = "header"
        header = images.read_header(content, max_megapixels=max_megapixels)
        if max_bytes is not None and images.decoding_bytes(header, len(content)) > max_bytes:
            return None
        _describe(row, header)
        stage = "decode"
        pixels, alpha = _decode(content, header)
        row["alpha"] = alpha
        row["quality"] = images.jpeg_quantisation(content, header)
        _measure(row, pixels)
        noted = ", ".join(_notes(row, content, header))
        row["status"], row["reason"] = (NOTED, noted) if noted else (OK, None)
    except DataError as error:
        _quarantine(row, stage, error.reason, _without_path(str(error), location))
    except MemoryError:
        _quarantine(row, stage, "TOO_LARGE", _needs_memory())
    except cv2.error as error:
        if error.code != _NO_MEMORY:
            raise
        _quarantine(row, stage, "TOO_LARGE", _needs_memory())
    return row


def hash_alone(location: Location, record_id: str, *, reason: str, detail: str) -> Row:
    """Return the row of a file that must not be decoded, quarantined for the reason given.

    Its bytes, time and sha256 are there if they can be read.
    """
    row: Row = dict.fromkeys(INSPECTED_SCHEMA)
    row["record_id"] = record_id
    try:
        _read(location, row, 0.0, None)
    except (DataError, MemoryError):
        row["bytes"] = row["mtime_ns"] = None  # what matters is why it is quarantined
    _quarantine(row, "decode", reason, detail)
    return row


def _read(
    location: Location, row: Row, max_megapixels: float, max_bytes: int | None
) -> bytes | None:
    """Return the content, its length, time and sha256 put into the row; None if it is put off.

    Raises:
        DataError: as `images.read_file`.
    """
    limit = max(_LEAST_LIMIT, int(_PIXEL_BYTES * max_megapixels * 1e6))
    now = limit if max_bytes is None else min(limit, max_bytes // 2)  # it is copied once
    try:
        content, mtime_ns = images.read_file_and_time(location, max_bytes=now)
    except DataError as error:
        if error.reason == "TOO_LARGE" and now < limit:
            return None
        raise
    row["bytes"], row["mtime_ns"] = len(content), mtime_ns
    row["sha256"] = hashlib.sha256(content).hexdigest()
    return content


def _describe(row: Row, header: images.Header) -> None:
    for name in ("format", "width", "height", "mode", "bits", "orientation", "frames"):
        row[name] = getattr(header, name)


def _decode(content: bytes, header: images.Header) -> tuple[Pixels, bool]:
    """Return the upright picture, and whether some pixel of it is not opaque.

    (H, W, 3) RGB as a stream decodes it; (H, W, 1) where the file knows no colours, which is the
    same with its three channels written once.
    """
    if images.may_be_transparent(content, header):
        cover = images.decode_as_read(content, header, 4)
        if cover[..., 3].min() < 255:
            del cover
            return images.decode_as_read(content, header), True
        return np.ascontiguousarray(cover[..., :3]), False
    return images.decode_as_read(content, header, 1 if header.mode in _COLOURLESS else 3), False


def _measure(row: Row, pixels: Pixels) -> None:
    """Put what the pixels say into the row."""
    luma, row["grey"], row["pixels"] = _luma(pixels)
    small = _reduced(luma)
    mean, spread = cv2.meanStdDev(small)
    row["brightness"], row["contrast"] = float(mean[0, 0]), float(spread[0, 0])
    row["border_brightness"], row["border_contrast"] = _border(small)
    row["phash"], row["thumb"] = fingerprint(small)
    row["sharpness"] = _sharpness(small)
    row["brightest"] = _brightest(small)


def _luma(pixels: Pixels) -> tuple[Pixels, bool, int]:
    """Return (H, W) luma, whether the picture is grey, and the number of size and RGB pixels.

    Grey is red, green and blue within 2 of 255 of each other everywhere. In bands that stay in
    the processor's cache: a film of 2 megapixels takes half as long so.
    """
    height, width, channels = pixels.shape
    digest = xxhash.xxh3_64(struct.pack("<II", height, width))
    luma = pixels[..., 0] if channels == 1 else np.empty((height, width), np.uint8)
    grey, rows = True, max(1, _BAND // width)
    for top in range(0, height, rows):
        band, part = pixels[top : top + rows], luma[top : top + rows]
        if channels == 3:
            cv2.cvtColor(band, cv2.COLOR_RGB2GRAY, dst=part)
        if channels == 1 or grey:
            rgb = cv2.cvtColor(part, cv2.COLOR_GRAY2RGB)
        digest.update((rgb if channels == 1 else band).data)
        grey = grey and (channels == 1 or _is_grey(band, rgb))
    return luma, grey, digest.intdigest()


def _is_grey(band: Pixels, grey: Pixels) -> bool:
    apart = cv2.norm(band, grey, cv2.NORM_INF)  # luma lies between the three
    if apart > _GREY_TOLERANCE:
        return False
    return 2 * apart <= _GREY_TOLERANCE or _widest(band) <= _GREY_TOLERANCE


def _widest(band: Pixels) -> float:
    """Return the largest difference between two channels of one pixel."""
    red, green, blue = cv2.split(band)
    pairs = ((red, green), (green, blue), (blue, red))
    return max(float(cv2.norm(one, other, cv2.NORM_INF)) for one, other in pairs)


def _border(small: Pixels) -> tuple[float, float]:
    """Return mean and standard deviation of the outer ring, 4 % of each side and at least 1 px."""
    height, width = small.shape
    down, across = max(1, round(_BORDER_SHARE * height)), max(1, round(_BORDER_SHARE * width))
    if height <= 2 * down or width <= 2 * across:
        strips = [small]
    else:
        sides = small[down:-down]
        strips = [small[:down], small[-down:], sides[:, :across], sides[:, -across:]]
    mean, spread = cv2.meanStdDev(np.concatenate([strip.ravel() for strip in strips]))
    return float(mean[0, 0]), float(spread[0, 0])


def _reduced(luma: Pixels) -> Pixels:
    """Return the picture with a longer side of 256 px; never enlarged.

    Averages of 2 x 2 pixels until less than half is missing, which leave out an odd last row or
    column, then between four neighbours: ten times as fast as averages of areas in one step.
    """
    height, width = luma.shape
    while max(height, width) >= 2 * _SMALL_SIDE and min(height, width) >= 2:
        height, width = height // 2, width // 2
        luma = cv2.resize(
            luma[: 2 * height, : 2 * width], (width, height), interpolation=cv2.INTER_AREA
        )
    scale = _SMALL_SIDE / max(height, width)
    if scale >= 1:
        return luma
    size = max(1, round(scale * width)), max(1, round(scale * height))
    small: Pixels = cv2.resize(luma, size, interpolation=cv2.INTER_LINEAR)
    return small


def _sharpness(small: Pixels) -> float:
    """Return the variance of the Laplacian; blurred pictures have little.

    The focus measure of J. L. Pech-Pacheco and others, Diatom autofocusing in brightfield
    microscopy, 2000, at one size so that pictures of all sizes compare.
    """
    if min(small.shape) < 3:
        edges = cv2.Laplacian(small, cv2.CV_16S)
    else:  # of every second row inside: a third of the time, and an even sample
        wide = small.astype(np.int16)
        middle = wide[1:-1:2]
        beside = cv2.add(middle[:, :-2], middle[:, 2:])
        around = cv2.add(cv2.add(wide[:-2:2, 1:-1], wide[2::2, 1:-1]), beside)
        edges = cv2.scaleAdd(middle[:, 1:-1], -4, around)
    mean = cv2.sumElems(edges)[0] / edges.size
    return float(max(0.0, cv2.norm(edges, cv2.NORM_L2SQR) / edges.size - mean * mean))


def _brightest(small: Pixels) -> float:
    """Return the 99th percentile of every fourth row."""
    below = cv2.calcHist([small[::4]], [0], None, [256], [0, 256]).cumsum()
    return float(below.searchsorted(_BRIGHTEST_SHARE * below[-1]))


def _notes(row: Row, content: bytes, header: images.Header) -> list[str]:
    """Return the codes of what is odd about a usable picture, in a fixed order."""
    shorter, longer = sorted((header.width, header.height))
    seen = {
        "EXT_MISMATCH": images.extension_disagrees(str(row["record_id"]), header),
        "TRAILING_BYTES": images.trailing_bytes(content, header) > 0,
        "CMYK": header.mode == "CMYK",
        "MULTIFRAME": header.frames > 1,
        "TINY": shorter < _TINY_SIDE,
        "EXTREME_ASPECT": longer > _EXTREME_ASPECT * shorter,
        "EXIF_ROTATED": header.orientation != 1,
        "ALPHA": bool(row["alpha"]),
        "SIXTEEN_BIT": header.bits > 8,
    }
    return [code for code, is_so in seen.items() if is_so]


def _quarantine(row: Row, stage: str, reason: str, detail: str) -> None:
    row.update(status=QUARANTINED, reason=reason, stage=stage, detail=detail)


def _without_path(message: str, location: Location) -> str:
    """Return a message without the path before it; a name that is no text becomes escapes."""
    for path in (location.path, repr(location.path)):
        message = message.removeprefix(f"{path}: ")
    return message.encode("utf-8", "backslashreplace").decode()


def _needs_memory() -> str:
    return (
        "the picture takes more memory to decode than a decoding program may use. "
        "Shrink the picture."
    )
