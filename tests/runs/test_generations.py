"""Two checkpoints are kept, and neither of them is one that was found damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sightline.runs import load_checkpoint, save_checkpoint, set_aside_damaged


def save(run: Path, step: int) -> None:
    save_checkpoint(run, step, {"weight": np.full(3, step, np.float32)}, {"epoch": 0, "step": step})


def damage(run: Path, step: int) -> None:
    path = run / "checkpoints" / f"step-{step:08d}" / "state.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run whose newest checkpoint, of step 20, was damaged, and from whose step 10 it goes on."""
    for step in (10, 20):
        save(tmp_path, step)
    damage(tmp_path, 20)
    intact, damaged = load_checkpoint(tmp_path)
    assert intact is not None
    assert damaged
    set_aside_damaged(tmp_path, intact)
    return tmp_path


def test_the_one_that_it_went_on_from_is_the_older_generation(run: Path) -> None:
    save(run, 30)
    damage(run, 30)
    found, _ = load_checkpoint(run)
    assert found is not None
    assert found.meta["step"] == 10


def test_the_same_step_may_be_saved_again(run: Path) -> None:
    save(run, 20)
    found, damaged = load_checkpoint(run)
    assert found is not None
    assert (found.meta["step"], damaged) == (20, [])


def test_what_was_damaged_is_gone_once_a_newer_one_is_complete(run: Path) -> None:
    save(run, 30)
    names = {path.name for path in (run / "checkpoints").iterdir()}
    assert names == {"step-00000010", "step-00000030"}
