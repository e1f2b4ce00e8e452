"""The pictures in a folder that a program names, counted by their names alone."""

from __future__ import annotations

import os
from pathlib import Path

# What ImageDataGenerator takes for a picture.
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".tif", ".tiff")
_MOST_FILES = 200_000  # about a second of listing; a larger folder is not counted


def count_images(base: Path, folder: str) -> int | None:
    """Return how many pictures lie in the class folders of a folder.

    Args:
        base: Where relative paths begin.
        folder: As the program writes it.

    Returns:
        None where there is no such folder, or it cannot be counted soon.
    """
    try:
        root = base / folder
        if not root.is_dir():
            return None
        classes = [each for each in root.iterdir() if each.is_dir()]
        return _count(classes)
    except (OSError, ValueError):  # a path that this system does not know
        return None


def _count(classes: list[Path]) -> int | None:
    seen = images = 0
    for each in classes:
        for _, _, names in os.walk(each):
            seen += len(names)
            images += sum(name.lower().endswith(PICTURES) for name in names)
            if seen > _MOST_FILES:
                return None
    return images
