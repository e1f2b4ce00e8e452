"""Tiny real image files for the tests of this wing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image


def write_image(path: Path, colour: int = 0) -> Path:
    """Write a 2x2 image in the format its extension names, PNG where it names none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    known = Image.registered_extensions()
    image = Image.new("L", (2, 2), colour % 256)
    image.save(path, known.get(path.suffix.lower(), "PNG"))
    return path


@pytest.fixture
def make_images(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes images below `tmp_path` and returns `tmp_path`."""

    def make(*names: str) -> Path:
        for number, name in enumerate(names):
            write_image(tmp_path / name, number)
        return tmp_path

    return make
