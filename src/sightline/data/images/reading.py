"""`read_file` and `load`: the same from a path, with the path in every message."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from sightline.data.images.decoding import Channels, Pixels, RuleSet, decode
from sightline.data.images.header import DEFAULT_MAX_MEGAPIXELS
from sightline.errors import DataError
from sightline.records import Location

IMAGE_EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff"})


def read_file(where: str | Path | Location, *, max_bytes: int | None = None) -> bytes:
    """Return the bytes of a regular file, or of a record; symbolic links are followed.

    Never waits on a pipe or device, and never changes anything.

    Args:
        where: A file, which is read whole; or the place of a record, which is read as it was
            scanned: its file must have as many bytes as then, an archive must not have been
            written since. What the place does not know is not asked.
        max_bytes: Longer files are refused unread; None for no limit.

    Raises:
        DataError: reason MISSING, NOT_A_FILE (a folder, pipe, socket or device), UNREADABLE,
            TOO_LARGE, CHANGED where it is not what was scanned, or TRUNCATED where the archive
            ends before the record does.
    """
    return read_file_and_time(where, max_bytes=max_bytes)[0]


def read_file_and_time(
    where: str | Path | Location, *, max_bytes: int | None = None
) -> tuple[bytes, int]:
    """Return what `read_file` does, and when the file or archive was last written, nanoseconds.

    The time is asked before the bytes: who writes meanwhile leaves a later one.

    Raises:
        DataError: as `read_file`.
    """
    path, begin, size, mtime_ns = where if isinstance(where, Location) else (where, -1, -1, -1)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _open_error(path, error) from error
    except ValueError as error:
        raise DataError(
            f"{str(path)!r}: no file can have this name ({error}). Correct it in the table.",
            reason="MISSING",
        ) from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _not_a_file(path)
        length = status.st_size if begin < 0 else size
        if max_bytes is not None and length > max_bytes:
            raise DataError(
                f"{path}: the file has {length:,} bytes, and {max_bytes:,} may be used. "
                "Shrink the picture, or allow more memory (max_memory).",
                reason="TOO_LARGE",
            )
        if begin < 0:
            content = _of_size(_read_whole(descriptor, status.st_size), path, size)
            return content, status.st_mtime_ns
        content = _read_part(descriptor, begin, status.st_size - begin if size < 0 else size)
    except OSError as error:
        raise _open_error(path, error) from error
    finally:
        os.close(descriptor)
    if len(content) < size:
        raise DataError(
            f"{path}: the archive has {status.st_size:,} bytes, but the image at byte {begin:,} "
            f"ends at byte {begin + size:,}. Copy the archive again, or scan it again.",
            reason="TRUNCATED",
        )
    # Other images may stand at the same bytes now, and would come under wrong labels.
    if mtime_ns not in (-1, status.st_mtime_ns):
        raise DataError(
            f"{path}: the archive was written after it was scanned, so the image at byte {begin:,} "
            "may be another one. Scan it again.",
            reason="CHANGED",
        )
    return content, status.st_mtime_ns


def _of_size(content: bytes, path: str | Path, size: int) -> bytes:
    if size in (-1, len(content)):
        return content
    raise DataError(
        f"{path}: the file has {len(content):,} bytes, and had {size:,} when it was scanned: its "
        "content was changed. Scan the images again.",
        reason="CHANGED",
    )


def _read_whole(descriptor: int, expected: int) -> bytes:
    pieces = []
    size = expected + 1  # one more byte, so that the first read also sees the end
    while piece := os.read(descriptor, size):
        pieces.append(piece)
        size = 1 << 20
        if len(piece) == expected:
            break
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _read_part(descriptor: int, begin: int, size: int) -> bytes:
    """Return up to `size` bytes from `begin` on; fewer where the file ends before."""
    pieces: list[bytes] = []
    end = begin + size
    while begin < end and (piece := os.pread(descriptor, end - begin, begin)):
        pieces.append(piece)
        begin += len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _open_error(path: str | Path, error: OSError) -> DataError:
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return DataError(
            f"{path}: there is no such file. Was it moved or deleted? Scan the folder again.",
            reason="MISSING",
        )
    if error.errno in (errno.ENXIO, errno.EISDIR, errno.EOPNOTSUPP):
        return _not_a_file(path)
    return DataError(
        f"{path}: the file cannot be read ({error.strerror}). Check its permissions and its disk.",
        reason="UNREADABLE",
    )


def _not_a_file(path: str | Path) -> DataError:
    return DataError(
        f"{path}: this is a folder, pipe, socket or device, not a file. Leave it out.",
        reason="NOT_A_FILE",
    )


def load(
    where: str | Path | Location,
    *,
    channels: Channels = 3,
    rule_set: RuleSet = "sightline",
    background: tuple[int, int, int] = (255, 255, 255),
    min_size: tuple[int, int] | None = None,
    max_megapixels: float = DEFAULT_MAX_MEGAPIXELS,
    max_bytes: int | None = None,
) -> Pixels:
    """Return the picture of a file or record: `read_file`, then `decode` with the same keywords.

    Returns (H, W, channels) uint8, 0..255: grey, RGB or RGBA; see `decode`.

    Raises:
        DataError: as `read_file` and `decode`, with the path before the message.
    """
    content = read_file(where, max_bytes=max_bytes)
    try:
        return decode(
            content,
            channels=channels,
            rule_set=rule_set,
            background=background,
            min_size=min_size,
            max_megapixels=max_megapixels,
            max_bytes=max_bytes,
        )
    except DataError as error:
        raise DataError(f"{_in_words(where)}: {error}", reason=error.reason) from error


def _in_words(where: str | Path | Location) -> str:
    if not isinstance(where, Location):
        return str(where)
    return where.path if where.begin < 0 else f"{where.path}, the image at byte {where.begin:,}"
