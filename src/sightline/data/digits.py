"""scikit-learn's handwritten digits as PNG folders: real images that need no download."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np

from sightline.data.images import encode_png
from sightline.data.sources.walk import absolute
from sightline.errors import DataError

_COUNTS = (178, 182, 177, 183, 181, 182, 181, 179, 174, 180)  # of 0..9
_BRIGHTEST = 16  # load_digits counts 0..16 dark pixels in each 4x4 block of the scan


def write_digits(folder: Path | str) -> Path:
    """Return the absolute `folder`, holding 1,797 grey 8x8 PNG in class folders `0` to `9`.

    A folder that already holds them is left as it is. They are written beside it and renamed, so
    the folder is never there half filled.

    Raises:
        DataError: The folder holds something else, or cannot be written.
    """
    place = Path(absolute(folder))
    if _is_written(place):
        return place
    if place.exists() and not (place.is_dir() and not any(place.iterdir())):
        raise DataError(
            f"{place} already exists and is not the digits; nothing was written. "
            "Name a folder that does not exist yet."
        )
    temporary = place.with_name(f".{place.name}.{os.getpid()}.partial")
    try:
        _write(temporary)
        temporary.rename(place)
    except OSError as error:
        if not _is_written(place):  # else another process was faster
            raise DataError(
                f"cannot write the digits to {place}: {error.strerror}. Name another folder."
            ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return place


def _write(folder: Path) -> None:
    from sklearn.datasets import load_digits  # slow to import, needed for the demo alone

    digits = load_digits()
    images = np.round(digits.images * (255 / _BRIGHTEST)).astype(np.uint8)
    for name in range(len(_COUNTS)):
        (folder / str(name)).mkdir(parents=True)
    for number, (image, digit) in enumerate(zip(images, digits.target, strict=True)):
        path = folder / str(digit) / _file_name(number)
        path.write_bytes(encode_png(image[:, :, np.newaxis]))


def _is_written(folder: Path) -> bool:
    """Return whether the folder holds the set and nothing else but hidden files."""
    if not folder.is_dir():
        return False
    visible = [name for name in folder.iterdir() if not name.name.startswith(".")]
    if sorted(path.name for path in visible) != [str(digit) for digit in range(len(_COUNTS))]:
        return False
    numbers = []
    for path in visible:
        files = [file for file in path.glob("*") if not file.name.startswith(".")]
        if len(files) != _COUNTS[int(path.name)] or any(file.stat().st_size == 0 for file in files):
            return False
        numbers += [file.name for file in files]
    return sorted(numbers) == [_file_name(number) for number in range(sum(_COUNTS))]


def _file_name(number: int) -> str:
    return f"digit_{number:04d}.png"
