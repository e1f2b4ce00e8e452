"""A bit that flips in a file of a run is found, or does no harm; nothing ends in a traceback."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tiny import train

import sightline as sl
from sightline.runs import load_checkpoint

SETTINGS = {"train__epochs": 2, "checkpoint__steps": 1}


@pytest.fixture(scope="module")
def whole(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> sl.Run:
    return train(pictures, tmp_path_factory.mktemp("runs") / "whole", **SETTINGS)


@pytest.fixture
def run(whole: sl.Run, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole.path, tmp_path / "run"))


def flip(path: Path, chance: np.random.Generator) -> Callable[[], None]:
    """Flip a bit somewhere in a file, and return what puts it back."""
    content = path.read_bytes()
    damaged = bytearray(content)
    damaged[chance.integers(len(content))] ^= 1 << int(chance.integers(8))
    path.write_bytes(damaged)
    return lambda: path.write_bytes(content) and None


def test_with_every_checkpoint_damaged_nothing_is_begun_again(run: Path) -> None:
    saved = sorted(run.glob("checkpoints/step-*/state.safetensors"))
    assert len(saved) == 2
    for path in saved:
        flip(path, np.random.default_rng(0))
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(sl.RunError, match=r"no checkpoint of .* can be used:\n.*\n.*\nNothing was"):
        sl.train(resume=run, changes={"train.epochs": 3}, progress=sl.Silent())
    after = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert {path for path in before if after[path] != before[path]} <= {run / "run.lock"}


def test_a_thousand_bits_of_all_files_of_a_checkpoint_are_found(run: Path) -> None:
    older, newer = sorted((run / "checkpoints").iterdir())
    chance, files = np.random.default_rng(1), sorted(newer.iterdir())
    sizes = np.asarray([path.stat().st_size for path in files])
    for number in range(1000):  # half of them as large as the files are, half in each file
        share = sizes / sizes.sum() if number % 2 else None
        mend = flip(files[chance.choice(len(files), p=share)], chance)
        found, damaged = load_checkpoint(run)
        assert found is not None
        assert (found.path, len(damaged)) == (older, 1)
        mend()


@pytest.mark.parametrize(
    "name",
    [
        *("recipe.toml", "run.json", "model.json", "history.jsonl", "best.safetensors"),
        *("manifest.parquet", "manifest.parquet.npy", "plan.txt", "audit.json"),
    ],
)
@pytest.mark.parametrize("flips", [6, pytest.param(60, marks=pytest.mark.slow)])
def test_a_flipped_bit_beside_the_checkpoints_ends_in_no_traceback(
    name: str, flips: int, run: Path, pictures: Path
) -> None:
    chance = np.random.default_rng(len(name))
    for _ in range(flips):
        mend = flip(run / name, chance)
        for use in (
            lambda: sl.open_run(run).history,
            lambda: sl.predict(run, pictures / "val" / "cat" / "000.png", progress=sl.Silent()),
            lambda: sl.train(resume=run, only_train=True, progress=sl.Silent()),
        ):
            try:
                use()
            except sl.SightlineError:
                continue  # found, and said in a sentence
        mend()
