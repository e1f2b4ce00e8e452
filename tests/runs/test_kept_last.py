"""The last weights of a run are those of its newest checkpoint that is intact."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sightline.errors import RunError
from sightline.recipes import dump_recipe, load_recipe
from sightline.runs import Run, open_run, save_checkpoint, write_json


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run with a checkpoint of each of two epochs; the weights are the epoch's number."""
    about = {"state": "finished", "started": "2026-01-01T12:00:00+00:00", "data": {}, "network": {}}
    write_json(tmp_path / "run.json", about)
    (tmp_path / "recipe.toml").write_text(dump_recipe(load_recipe("basic")), "utf-8")
    for epoch in (0, 1):
        tensors = {"model/w": np.full(2, epoch, np.float32), "optimizer/0": np.int64(7)}
        save_checkpoint(tmp_path, 4 * epoch + 4, tensors, {"epoch": epoch})
    return open_run(tmp_path)


def damage(run: Run, step: int, name: str = "state.safetensors") -> None:
    path = run.path / "checkpoints" / f"step-{step:08d}" / name
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_the_last_weights_are_those_of_the_newest_checkpoint(run: Run) -> None:
    kept = run.kept("last")
    assert (kept.epoch, kept.arrays["w"].tolist(), kept.told) == (1, [1, 1], ())


@pytest.mark.parametrize("name", ["state.safetensors", "meta.json", "SHA256"])
def test_with_a_damaged_newest_checkpoint_the_one_before_is_used_and_that_is_said(
    run: Run, name: str
) -> None:
    damage(run, 8, name)
    kept = run.kept("last")
    assert (kept.epoch, kept.arrays["w"].tolist()) == (0, [0, 0])
    (told,) = kept.told
    assert "step-00000008 is damaged" in told
    assert told.endswith("step-00000004 is used in its place: weights of epoch 1.")


def test_with_all_checkpoints_damaged_each_is_named_and_the_best_are_pointed_to(run: Run) -> None:
    for step in (4, 8):
        damage(run, step)
    named = r"can be used:\n.*step-00000008 is damaged.*\n.*step-00000004 is damaged.*\n"
    with pytest.raises(RunError, match=rf"{named}Copy the run .*--weights best"):
        run.kept("last")
