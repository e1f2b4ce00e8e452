"""The best weights are in two files; where one is damaged, the other one serves.

What the checkpoint before calls the best is in a third one, so that training may go on from there.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from sightline.errors import RunError
from sightline.runs import (
    keep_best,
    read_best,
    read_tensors,
    restore_best,
    write_best,
    write_tensors,
)

FIRST, SECOND = "best.safetensors", "checkpoints/best.safetensors"
THIRD = "checkpoints/best-before.safetensors"


def weights(value: float) -> dict[str, np.ndarray]:
    return {"w": np.full((2, 3), value, np.float32)}


def write_both(run: Path, tensors: dict[str, np.ndarray], *, epoch: int) -> None:
    write_best(run, tensors, epoch=epoch)
    keep_best(run, tensors, epoch=epoch)


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def held(run: Path) -> list[tuple[float, int]]:
    """Return the value and the epoch in each file."""
    found = [read_tensors(run / place) for place in (FIRST, SECOND)]
    return [(float(arrays["w"][0, 0]), epoch) for arrays, epoch in found]


def test_whole_files_are_read_without_a_word(tmp_path: Path) -> None:
    write_both(tmp_path, weights(0.5), epoch=3)
    arrays, epoch, told = read_best(tmp_path)
    assert (arrays["w"].tolist(), epoch, told) == (weights(0.5)["w"].tolist(), 3, "")


@pytest.mark.parametrize("gone", [False, True])
def test_without_the_first_file_the_second_is_read_and_that_is_said(
    tmp_path: Path, gone: bool
) -> None:
    write_both(tmp_path, weights(0.5), epoch=3)
    (tmp_path / FIRST).unlink() if gone else damage(tmp_path / FIRST)
    arrays, epoch, told = read_best(tmp_path)
    assert (arrays["w"].tolist(), epoch) == (weights(0.5)["w"].tolist(), 3)
    said = f"{tmp_path / FIRST} is missing or damaged, so its copy {tmp_path / SECOND} is used"
    assert told == f"{said}: weights of epoch 4."


def test_with_both_files_damaged_each_is_named(tmp_path: Path) -> None:
    write_both(tmp_path, weights(0.5), epoch=3)
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
    write_both(tmp_path, weights(0.5), epoch=3)
    damage(tmp_path / place)
    _, told = restore_best(tmp_path, epoch=3)
    assert told == [f"{tmp_path / place} was damaged, and is written anew from its copy."]
    assert held(tmp_path) == [(0.5, 3)] * 2


def test_going_on_takes_the_epoch_that_the_checkpoint_knows(tmp_path: Path) -> None:
    write_both(tmp_path, weights(0.5), epoch=3)
    write_tensors(tmp_path / FIRST, weights(0.7), epoch=4)  # and then the process died
    _, told = restore_best(tmp_path, epoch=3)
    assert (held(tmp_path), told) == ([(0.5, 3)] * 2, [])


def written(run: Path) -> Iterator[tuple[int, ...]]:
    """Write one best after the other; yield, after each change, what the checkpoints know."""
    known: tuple[int, ...] = ()
    for epoch, half_way in ((2, False), (5, True), (7, False), (9, True)):
        write_best(run, weights(epoch), epoch=epoch)
        yield known
        known = (epoch, *known[:1])  # the checkpoint is complete, and the one before it is kept
        yield known
        if half_way:
            (run / SECOND).replace(run / THIRD)  # as `keep_best` begins
            yield known
        keep_best(run, weights(epoch), epoch=epoch)
        yield known


def test_wherever_a_process_dies_both_checkpoints_have_their_best_weights(tmp_path: Path) -> None:
    run, trials = tmp_path / "run", 0
    for known in written(run):
        for order in (known, known[1:]):  # the newest may be damaged at once, or later on
            dead = Path(shutil.copytree(run, tmp_path / str(trials)))
            for epoch in order:
                arrays, told = restore_best(dead, epoch=epoch)
                assert (float(arrays["w"][0, 0]), told) == (epoch, [])
                assert held(dead) == [(epoch, epoch)] * 2
            trials += 1
    assert trials == 2 * 14


def test_weights_of_another_epoch_are_not_taken_for_the_best(tmp_path: Path) -> None:
    write_both(tmp_path, weights(0.5), epoch=3)
    write_best(tmp_path, weights(0.7), epoch=4)
    damage(tmp_path / SECOND)
    with pytest.raises(RunError, match=r"of epoch 4, are nowhere .* those of epoch 5; .* damaged"):
        restore_best(tmp_path, epoch=3)


def test_a_run_with_one_file_gets_its_second_one(tmp_path: Path) -> None:
    write_tensors(tmp_path / FIRST, weights(0.5), epoch=3)
    _, told = restore_best(tmp_path, epoch=3)
    assert (held(tmp_path), told) == ([(0.5, 3)] * 2, [])


def test_whole_files_are_left_as_they_are(tmp_path: Path) -> None:
    write_both(tmp_path, weights(0.5), epoch=3)
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
