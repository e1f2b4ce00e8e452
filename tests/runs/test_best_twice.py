"""The best weights are in two files; where one is damaged, the other one serves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from sightline.errors import RunError
from sightline.runs import read_best, read_tensors, restore_best, write_best, write_tensors

FIRST, SECOND = "best.safetensors", "checkpoints/best.safetensors"


def weights(value: float) -> dict[str, np.ndarray]:
    return {"w": np.full((2, 3), value, np.float32)}


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def held(run: Path) -> list[tuple[float, int]]:
    """Return the value and the epoch in each file."""
    found = [read_tensors(run / place) for place in (FIRST, SECOND)]
    return [(float(arrays["w"][0, 0]), epoch) for arrays, epoch in found]


def test_whole_files_are_read_without_a_word(tmp_path: Path) -> None:
    write_best(tmp_path, weights(0.5), epoch=3)
    arrays, epoch, told = read_best(tmp_path)
    assert (arrays["w"].tolist(), epoch, told) == (weights(0.5)["w"].tolist(), 3, "")


@pytest.mark.parametrize("gone", [False, True])
def test_without_the_first_file_the_second_is_read_and_that_is_said(
    tmp_path: Path, gone: bool
) -> None:
    write_best(tmp_path, weights(0.5), epoch=3)
    (tmp_path / FIRST).unlink() if gone else damage(tmp_path / FIRST)
    arrays, epoch, told = read_best(tmp_path)
    assert (arrays["w"].tolist(), epoch) == (weights(0.5)["w"].tolist(), 3)
    said = f"{tmp_path / FIRST} is missing or damaged, so its copy {tmp_path / SECOND} is used."
    assert told == said


def test_with_both_files_damaged_each_is_named(tmp_path: Path) -> None:
    write_best(tmp_path, weights(0.5), epoch=3)
    for place in (FIRST, SECOND):
        damage(tmp_path / place)
    with pytest.raises(
        RunError, match=rf"{FIRST} is damaged.*Nor can its copy be used: .*{SECOND}"
    ):
        read_best(tmp_path)
    with pytest.raises(
        RunError, match=rf"{FIRST} is damaged.*Nor can its copy be used: .*{SECOND}"
    ):
        restore_best(tmp_path, epoch=3)


@pytest.mark.parametrize("place", [FIRST, SECOND])
def test_going_on_mends_the_damaged_file_and_says_which(tmp_path: Path, place: str) -> None:
    write_best(tmp_path, weights(0.5), epoch=3)
    damage(tmp_path / place)
    _, told = restore_best(tmp_path, epoch=3)
    assert told == [f"{tmp_path / place} was damaged, and is written anew from its copy."]
    assert held(tmp_path) == [(0.5, 3)] * 2


def test_going_on_takes_the_epoch_that_the_checkpoint_knows(tmp_path: Path) -> None:
    write_best(tmp_path, weights(0.5), epoch=3)
    write_tensors(tmp_path / FIRST, weights(0.7), epoch=4)  # and then the process died
    _, told = restore_best(tmp_path, epoch=3)
    assert (held(tmp_path), told) == ([(0.5, 3)] * 2, [])


def test_a_run_with_one_file_gets_its_second_one(tmp_path: Path) -> None:
    write_tensors(tmp_path / FIRST, weights(0.5), epoch=3)
    _, told = restore_best(tmp_path, epoch=3)
    assert (held(tmp_path), told) == ([(0.5, 3)] * 2, [])


def test_whole_files_are_left_as_they_are(tmp_path: Path) -> None:
    write_best(tmp_path, weights(0.5), epoch=3)
    before = [(tmp_path / place).stat().st_ino for place in (FIRST, SECOND)]
    restore_best(tmp_path, epoch=3)
    assert [(tmp_path / place).stat().st_ino for place in (FIRST, SECOND)] == before


def test_another_epoch_than_the_one_written_is_found(tmp_path: Path) -> None:
    path = tmp_path / FIRST
    write_tensors(path, weights(0.5), epoch=3)
    path.write_bytes(path.read_bytes().replace(b'"epoch":"3"', b'"epoch":"2"'))
    with safe_open(path, framework="numpy") as file:
        assert file.metadata()["epoch"] == "2"
    with pytest.raises(RunError, match=r"best\.safetensors is damaged: its sha256"):
        read_tensors(path)
