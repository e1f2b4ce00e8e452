"""Real processes that train and are told to stop: by Ctrl-C, and as a cluster does it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tiny import SIZE, write_splits

import sightline as sl
from sightline.runs import Run

SIGNALS = [signal.SIGINT, signal.SIGTERM]


@dataclass(frozen=True)
class Stopped:
    """A training process after its signal."""

    exit_code: int
    seconds: float
    errors: str
    run: Run


@contextmanager
def training(folder: Path, out: Path) -> Iterator[subprocess.Popen[str]]:
    """Start a training of very many epochs, each of 300 steps, and never leave it behind."""
    changes = [f"data.image_size={list(SIZE)}", "data.channels=3", "data.test=0", "model.width=4"]
    changes += ["train.epochs=10000", "train.batch_size=1", "stop.patience=0"]
    command = [sys.executable, "-m", "sightline", "train", str(folder), "--recipe", "basic"]
    for change in changes:
        command += ["--set", change]
    process = subprocess.Popen(
        [*command, "--out", str(out)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=out.parent,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    """Wait until a file holds something."""
    deadline = time.monotonic() + 90
    while not (path.exists() and path.stat().st_size):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.05)


def stop(process: subprocess.Popen[str], number: signal.Signals, out: Path) -> Stopped:
    wait_for(out / "history.jsonl", process)
    time.sleep(0.2)  # into the next epoch, which takes longer than that
    began = time.monotonic()
    process.send_signal(number)
    _, errors = process.communicate(timeout=90)
    return Stopped(process.returncode, time.monotonic() - began, errors, sl.open_run(out))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_splits(
        tmp_path_factory.mktemp("images"), {"cat": 150, "dog": 150}, {"cat": 5, "dog": 5}
    )


@pytest.fixture(scope="module")
def stopped(
    images: Path, tmp_path_factory: pytest.TempPathFactory
) -> Mapping[signal.Signals, Stopped]:
    """Two processes side by side, each stopped in its second epoch or a later one."""
    runs = tmp_path_factory.mktemp("stopped")
    outs = {number: runs / number.name for number in SIGNALS}
    with (
        training(images, outs[signal.SIGINT]) as first,
        training(images, outs[signal.SIGTERM]) as second,
    ):
        return {
            number: stop(process, number, outs[number])
            for number, process in zip(SIGNALS, (first, second), strict=True)
        }


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_process_ends_with_the_code_of_its_signal(
    stopped: Mapping[signal.Signals, Stopped], number: signal.Signals, code: int
) -> None:
    assert stopped[number].exit_code == code, stopped[number].errors


@pytest.mark.parametrize("number", SIGNALS)
def test_a_stopped_process_ends_within_ten_seconds(
    stopped: Mapping[signal.Signals, Stopped], number: signal.Signals
) -> None:
    assert stopped[number].seconds < 10


@pytest.mark.parametrize("number", SIGNALS)
def test_a_stopped_process_spends_no_time_on_what_is_for_keras(
    stopped: Mapping[signal.Signals, Stopped], number: signal.Signals
) -> None:
    run = stopped[number].run
    assert (run.path / "best.safetensors").exists()
    assert not (run.path / "model.keras").exists()


@pytest.mark.parametrize("number", SIGNALS)
def test_a_stopped_run_says_interrupted_and_by_which_signal(
    stopped: Mapping[signal.Signals, Stopped], number: signal.Signals
) -> None:
    run = stopped[number].run
    assert (run.state, run.info["signal"]) == ("interrupted", number)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_stopped_run_keeps_its_finished_epochs(
    stopped: Mapping[signal.Signals, Stopped], number: signal.Signals
) -> None:
    run = stopped[number].run
    assert len(run.history) == run.model["last_epoch"] + 1 >= 1


@pytest.mark.parametrize("number", SIGNALS)
def test_the_best_weights_of_a_stopped_run_predict(
    stopped: Mapping[signal.Signals, Stopped], number: signal.Signals, images: Path
) -> None:
    found = sl.predict(stopped[number].run, images / "val", progress=sl.Silent())
    assert (len(found), found.table["reason"].null_count()) == (10, 10)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_stopped_process_shows_no_traceback(
    stopped: Mapping[signal.Signals, Stopped], number: signal.Signals
) -> None:
    assert "Traceback" not in stopped[number].errors
