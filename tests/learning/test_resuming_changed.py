"""A training that goes on where something is not as it was: said, kept, and never passed over."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from test_resuming import StopAt
from tiny import train, write_splits

import sightline as sl
from listening_lines import Lines
from sightline.data.images import read_file

SAME = "will not be the same to the last bit"


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> sl.Run:
    folder = tmp_path_factory.mktemp("changed")
    images = write_splits(folder / "images", {"cat": 12, "dog": 12}, {"cat": 4, "dog": 4})
    return train(images, folder / "run", callbacks=[StopAt(2)], train__epochs=2)


@pytest.fixture
def run(stopped: sl.Run, tmp_path: Path) -> sl.Run:
    """The stopped run, and its images in a state of their own, put back afterwards."""
    return sl.open_run(shutil.copytree(stopped.path, tmp_path / "run"))


def resumed(run: sl.Run) -> tuple[sl.Run, list[str]]:
    lines = Lines()
    after = sl.train(resume=run.path, only_train=True, progress=lines)
    return after, [line for line in lines.said if line.startswith("Not as when this")]


def test_an_image_with_other_content_is_named_and_the_run_keeps_that(run: sl.Run) -> None:
    path = run.manifest.root / "train" / "cat" / "000.png"
    before, about = path.read_bytes(), path.stat()
    changed = bytearray(before)
    changed[-20] ^= 1
    try:
        path.write_bytes(changed)
        after, (line,) = resumed(run)
    finally:
        path.write_bytes(before)
        os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert "1 of its 32 images were written anew with other content, first train/cat/0" in line
    assert SAME in line
    assert after.info["not_as_before"] == [line]


def test_an_image_that_is_gone_is_named(run: sl.Run, tmp_path: Path) -> None:
    path = run.manifest.root / "val" / "dog" / "001.png"
    shutil.move(path, tmp_path / "kept.png")
    try:
        _, (line,) = resumed(run)
    finally:
        shutil.move(tmp_path / "kept.png", path)
    assert "1 of its 32 images cannot be read any more, first val/dog/001.png" in line


def test_an_image_that_was_only_copied_anew_is_the_same_image(run: sl.Run) -> None:
    path = run.manifest.root / "train" / "dog" / "003.png"
    about = path.stat()
    try:
        path.write_bytes(read_file(path))
        _, said = resumed(run)
    finally:
        os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert said == []


def test_without_any_of_its_images_it_is_refused_and_nothing_is_lost(run: sl.Run) -> None:
    root = run.manifest.root
    hidden = root.with_name("elsewhere")
    root.rename(hidden)
    try:
        with pytest.raises(sl.SightlineError, match=r"not one of the 32 images of .*mounted"):
            sl.train(resume=run.path, only_train=True, progress=sl.Silent())
    finally:
        hidden.rename(root)
    assert resumed(run)[0].state == "finished"


def test_other_threads_are_said_and_said_again_when_it_goes_on_once_more(
    run: sl.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    (line,) = resumed(run)[1]
    assert "OMP_NUM_THREADS None, now 7" in line
    monkeypatch.delenv("OMP_NUM_THREADS")
    lines = Lines()
    sl.train(resume=run.path, changes={"train.epochs": 3}, only_train=True, progress=lines)
    assert line in lines.said


def test_a_recipe_beside_resume_is_refused(run: sl.Run) -> None:
    with pytest.raises(sl.RunError, match="so recipe cannot be given as well"):
        sl.train(resume=run.path, recipe="ham10000", progress=sl.Silent())
