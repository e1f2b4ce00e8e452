"""`read_file` and `load`: the same from a path, with the path in every message."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Literal

from sightline.data.images.decoding import Pixels, RuleSet, decode
from sightline.data.images.header import DEFAULT_MAX_MEGAPIXELS
from sightline.errors import DataError

IMAGE_EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff"})


def read_file(path: str | Path) -> bytes:
    """Return the bytes of a regular file; symbolic links are followed.

    Never waits on a pipe or device, and never changes anything.

    Raises:
        DataError: reason MISSING, NOT_A_FILE (a folder, pipe, socket or device) or UNREADABLE.
    """
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
        pieces = []
        size = status.st_size + 1  # one more byte, so that the first read also sees the end
        while piece := os.read(descriptor, size):
            pieces.append(piece)
            size = 1 << 20
            if len(piece) == status.st_size:
                break
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)
    except OSError as error:
        raise _open_error(path, error) from error
    finally:
        os.close(descriptor)


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
    path: str | Path,
    *,
    channels: Literal[1, 3] = 3,
    rule_set: RuleSet = "sightline",
    background: tuple[int, int, int] = (255, 255, 255),
    min_size: tuple[int, int] | None = None,
    max_megapixels: float = DEFAULT_MAX_MEGAPIXELS,
) -> Pixels:
    """Return the picture at `path`: `read_file`, then `decode` with the same keywords.

    Returns (H, W, channels) uint8, 0..255, RGB or grey; see `decode`.

    Raises:
        DataError: as `read_file` and `decode`, with the path before the message.
    """
    content = read_file(path)
    try:
        return decode(
            content,
            channels=channels,
            rule_set=rule_set,
            background=background,
            min_size=min_size,
            max_megapixels=max_megapixels,
        )
    except DataError as error:
        raise DataError(f"{path}: {error}", reason=error.reason) from error
