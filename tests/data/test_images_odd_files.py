"""What each of 121 odd files gets; skipped where the folder is absent."""

from __future__ import annotations

from pathlib import Path

import pytest
from odd_outcomes import OUTCOMES, odd_folder

from sightline.data.images import load, read_header
from sightline.data.images.reading import read_file
from sightline.errors import DataError


@pytest.fixture(scope="module")
def folder() -> Path:
    return odd_folder()


def outcome(path: Path) -> str:
    try:
        height, width, _ = load(path).shape
    except DataError as error:
        return error.reason
    header = read_header(read_file(path))
    frames = f" of {header.frames}" if header.frames > 1 else ""
    return f"{header.format} {header.mode} {height}x{width}{frames}"


@pytest.mark.parametrize("name", OUTCOMES)
def test_an_odd_file_gets_its_outcome(name: str, folder: Path) -> None:
    assert outcome(folder / name) == OUTCOMES[name].partition(" (")[0]


def test_every_odd_file_has_an_outcome_here(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == set(OUTCOMES)


@pytest.mark.parametrize("number", [3, 4, 6, 7])
def test_the_orientation_of_an_odd_file_is_found(number: int, folder: Path) -> None:
    assert read_header(read_file(folder / f"syn_orient_{number}.jpg")).orientation == number
