"""Real trainings whose files may suddenly not grow any more, as on a disk that is full."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import sightline as sl
from sightline.runs import load_checkpoint

MakePhotos = Callable[..., Path]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="limits of others: Linux alone"),
]

_FULL = 1024  # bytes of a file: less than any checkpoint has
_SETTINGS = (
    *("train.batch_size=4", "data.image_size=[8, 8]", "data.test=0", "model.width=4"),
    *("train.epochs=10000", "stop.patience=0"),
)
_STANDS = "The one before stands; it will be tried again."


@contextmanager
def training(folder: Path, run: Path, *changes: str) -> Iterator[subprocess.Popen[str]]:
    """Start a training that goes on for very long, wait for its first checkpoint, end it."""
    words = [sys.executable, "-m", "sightline", "train", str(folder), "--recipe", "basic"]
    words += ["--out", str(run)]
    for change in (*_SETTINGS, *changes):
        words += ["--set", change]
    with subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    ) as process:
        try:
            wait_for_checkpoint(run, process)
            yield process
        finally:
            process.kill()


def wait_for_checkpoint(run: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 90
    while not newest_step(run):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def newest_step(run: Path) -> str:
    found = sorted((run / "checkpoints").glob("step-*/SHA256"))
    return found[-1].parent.name if found else ""


def limit(process: subprocess.Popen[str], size: int) -> None:
    """Let no file of a process grow above so many bytes."""
    _, most = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size, most))


@pytest.fixture
def folder(make_photos: MakePhotos, tmp_path: Path) -> Path:
    return make_photos(tmp_path / "photos", {"dark": 50, "light": 50})


def test_on_a_full_disk_it_tries_three_times_and_ends_in_a_sentence(
    folder: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    with training(folder, run, "checkpoint.steps=20") as process:
        limit(process, _FULL)
        said, errors = process.communicate(timeout=120)  # it waits between its tries
    assert process.returncode == 2
    assert said.count(f"no checkpoint could be written in {run}") == said.count(_STANDS) == 2
    assert "Traceback" not in errors
    assert "3 times in a row. Free some space or mend the disk; what was saved" in errors
    assert f"sightline train --resume {run}" in errors
    assert load_checkpoint(run)[1] == []
    before = load_checkpoint(run)[0]
    assert before is not None
    again = sl.train(
        resume=run,
        changes={"train.epochs": before.meta["standing"]["epoch"] + 1},
        only_train=True,
        progress=sl.Silent(),
    )
    assert again.state == "finished"


def test_on_a_disk_that_has_space_again_it_goes_on_as_if_nothing_had_been(
    folder: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    with training(folder, run, "checkpoint.seconds=2") as process:
        before = newest_step(run)
        limit(process, _FULL)
        assert process.stdout is not None
        assert any(_STANDS in line for line in process.stdout)
        assert newest_step(run) == before
        limit(process, resource.RLIM_INFINITY)
        # Read on, or the pipe fills up and the training waits for its reader.
        later = next((new for _ in process.stdout if (new := newest_step(run)) != before), before)
        process.terminate()
        process.communicate(timeout=60)
    assert process.returncode == 143
    assert later > before
    assert load_checkpoint(run)[1] == []
    opened = sl.open_run(run)
    assert opened.state == "interrupted"
    assert opened.history["epoch"].to_list() == list(range(len(opened.history)))


# A disk of 4 MB in a namespace of its own, filled up as soon as there is a checkpoint.
_ON_A_SMALL_DISK = """
mount -t tmpfs -o size=4m tmpfs "$DISK" || exit 77
(
    until ls "$DISK"/run/checkpoints/step-*/SHA256 > "$DISK/found" 2>&1; do sleep 0.01; done
    cat /dev/zero > "$DISK/filler"
) 2>/dev/null &
"$@"
code=$?
cp -r "$DISK/run" "$LEFT"
exit $code
"""


# One on which there is no room for the plan, until it is made larger.
_ON_A_TINY_DISK = """
mount -t tmpfs -o size=8k tmpfs "$DISK" || exit 77
"$@" && exit 99
mount -o remount,size=64m "$DISK" || exit 77
exec "$@"
"""

# One that fills up before the first checkpoint, and is emptied afterwards.
_ON_A_DISK_SOON_FULL = """
mount -t tmpfs -o size=64m tmpfs "$DISK" || exit 77
(
    until [ -e "$DISK/run/run.json" ]; do sleep 0.01; done
    cat /dev/zero > "$DISK/filler"
) 2>/dev/null &
"$@" && exit 99
rm "$DISK/filler"
exec "$1" -m sightline train --resume "$DISK/run"
"""


def on_a_disk_of_its_own(
    script: str, folder: Path, disk: Path, *changes: str
) -> subprocess.CompletedProcess[str]:
    """Return what became of a training in `run` on a disk that a script mounts and treats badly."""
    if shutil.which("unshare") is None:
        pytest.skip("a disk of its own needs unshare")
    disk.mkdir()
    words = [sys.executable, "-m", "sightline", "train", str(folder), "--recipe", "basic"]
    words += ["--out", str(disk / "run")]
    for change in (*_SETTINGS, *changes):
        words += ["--set", change]
    done = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", script, "sh", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
        env=os.environ | {"DISK": str(disk), "LEFT": str(disk.with_name("left"))},
    )
    if done.returncode == 77 or done.stderr.startswith("unshare:"):
        pytest.skip(f"no disk can be mounted here: {done.stderr[:200]}")
    assert "Traceback" not in done.stderr
    return done


def test_where_there_is_no_room_for_the_plan_the_same_command_is_right_later(
    folder: Path, tmp_path: Path
) -> None:
    done = on_a_disk_of_its_own(_ON_A_TINY_DISK, folder, tmp_path / "disk", "train.epochs=1")
    assert "No space left on device" in done.stderr
    assert "then start it again as before: there is nothing to resume yet." in done.stderr
    assert done.returncode == 0, done.stderr


def test_where_there_is_no_room_for_the_first_checkpoint_it_begins_again_later(
    folder: Path, tmp_path: Path
) -> None:
    done = on_a_disk_of_its_own(_ON_A_DISK_SOON_FULL, folder, tmp_path / "disk", "train.epochs=1")
    assert "no checkpoint was saved before. Begin again from the first step" in done.stderr
    assert "There is no checkpoint yet, so the training begins again." in done.stdout
    assert done.returncode == 0, done.stderr


def test_a_disk_without_a_byte_left_costs_no_checkpoint(folder: Path, tmp_path: Path) -> None:
    left = tmp_path / "left"
    done = on_a_disk_of_its_own(_ON_A_SMALL_DISK, folder, tmp_path / "disk", "checkpoint.steps=20")
    assert done.returncode == 2
    assert done.stdout.count(_STANDS) == 2
    assert "No space left on device, 3 times in a row. Free some space" in done.stderr
    saved, damaged = load_checkpoint(left)
    assert saved is not None
    assert damaged == []
    more = {"train.epochs": saved.meta["standing"]["epoch"] + 1}
    again = sl.train(resume=left, changes=more, only_train=True, progress=sl.Silent())
    assert again.state == "finished"
