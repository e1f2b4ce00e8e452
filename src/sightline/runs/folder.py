"""The run folder: made, locked, opened, listed."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sightline.errors import RunError, SightlineError
from sightline.recipes import Recipe, load_recipe
from sightline.records import (
    SPLITS,
    DataFacts,
    Evaluation,
    History,
    Manifest,
    ModelSummary,
    Predictions,
    Weights,
)
from sightline.runs.checkpoints import latest_checkpoint
from sightline.runs.epochs import read_history
from sightline.runs.files import read_json, read_tensors

FORMAT_VERSION = 1


def check_new(path: Path) -> None:
    """Refuse a folder that holds something already, before work has gone into it.

    Raises:
        RunError: The folder is not empty (nothing of it is touched), is a file, or lies where
            nothing may be written.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise RunError(
            f"{path} already holds something, and Sightline overwrites no run. "
            "Give another folder with --out, or remove this one yourself."
        )
    place = path.absolute()
    while not place.exists():
        place = place.parent
    if not os.access(place, os.W_OK):
        raise RunError(f"cannot write into {place}. Give another run folder with --out.")


def create_run(path: Path) -> Path:
    """Make a new run folder and return it.

    Raises:
        RunError: As `check_new`, or it cannot be made.
    """
    check_new(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"cannot make the run folder {path}: {error.strerror}. Give another one with --out."
        ) from error
    return path


def new_run_path(name: str, *, parent: Path = Path("runs")) -> Path:
    """Return a folder for a new run that does not exist yet: runs/NAME-DATE-TIME."""
    stem = f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
    path, number = parent / stem, 2
    while path.exists():
        path, number = parent / f"{stem}-{number}", number + 1
    return path


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the run folder: a second process that wants to write into it is refused.

    The lock goes with the process, so a dead holder blocks nobody.

    Raises:
        RunError: Another process holds it (the message names it), or it is read-only.
    """
    try:
        opened = (path / "run.lock").open("a+", encoding="utf-8")
    except OSError as error:
        raise RunError(
            f"cannot write into {path}: {error.strerror}. Copy the run folder to where you may."
        ) from error
    with opened as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise RunError(f"{path} is in use by {holder}. Wait for it, or stop it.") from error
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield


def _is_held(path: Path) -> bool:
    """Say whether a process is working in the run folder."""
    try:
        with (path / "run.lock").open(encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no lock file, or a file system without locks
        return False
    return False


@dataclass(frozen=True, slots=True)
class Run:
    """An opened run folder; reading it changes nothing, so a read-only copy works as well.

    Attributes:
        path: The folder.
        info: `run.json`: state, recipe name, seed, packages, device, timings ...
        recipe: As used, complete.
    """

    path: Path
    info: Mapping[str, Any]
    recipe: Recipe

    @property
    def name(self) -> str:
        """The name of the folder."""
        return self.path.name

    @property
    def state(self) -> str:
        """One of "training", "finished", "interrupted", "failed".

        A training whose process is gone (killed, or the machine was switched off) is interrupted.
        """
        state = str(self.info["state"])
        return "interrupted" if state == "training" and not _is_held(self.path) else state

    @property
    def manifest(self) -> Manifest:
        """The images it was trained on, with their splits."""
        return Manifest.load(self.path / "manifest.parquet")

    @property
    def facts(self) -> DataFacts:
        """What a look at the images said before training."""
        return DataFacts(**self.info["data"])

    @property
    def summary(self) -> ModelSummary:
        """The network, layer by layer."""
        return ModelSummary.from_dict(self.info["network"])

    @property
    def plan(self) -> list[str]:
        """What was going to be done and why, a sentence each."""
        return (self.path / "plan.txt").read_text("utf-8").splitlines()

    @property
    def history(self) -> History:
        """One row an epoch.

        Raises:
            RunError: It is damaged, or lacks the epoch of the best weights.
        """
        best = self.model.get("best_epoch") if (self.path / "model.json").exists() else None
        path = self.path / "history.jsonl"
        rows = read_history(path)
        if best is not None and best >= len(rows):
            raise RunError(
                f"{path} is damaged: it has {len(rows)} epochs, and the best weights are of "
                f"epoch {best + 1}. Copy the run folder again from where it came from."
            )
        return History.from_rows(rows, monitor=self.recipe.train.best, best_epoch=best)

    @property
    def model(self) -> Mapping[str, Any]:
        """`model.json`: classes, input, threshold, temperature, best epoch, fingerprint.

        Raises:
            RunError: No epoch was finished, so there is no model.
        """
        path = self.path / "model.json"
        if not path.exists():
            raise RunError(
                f"{self.path} holds no model: the run is {self.state!r} and no epoch was "
                "finished. Train it again."
            )
        return read_json(path)

    @property
    def evaluations(self) -> list[Evaluation]:
        """Everything that was evaluated so far, one entry a data set and weights."""
        return Evaluation.load_all(self.path / "evaluation.json")

    def predictions_path(self, source: str, weights: Weights) -> Path:
        """Return where the predictions of a split or of an external set are kept."""
        slug = source
        if source not in SPLITS:  # a path: keep it readable, and different for different paths
            words = re.sub(r"[^A-Za-z0-9]+", "-", source).strip("-")[-60:]
            slug = f"{words}-{hashlib.sha256(source.encode()).hexdigest()[:8]}"
        return self.path / "predictions" / f"{slug}-{weights}.parquet"

    def predictions(self, source: str, weights: Weights) -> Predictions:
        """Return the predictions that an evaluation was made from.

        Raises:
            DataError: There are none, or the file is damaged.
        """
        return Predictions.load(self.predictions_path(source, weights))

    def weights(self, which: Weights) -> dict[str, npt.NDArray[np.generic]]:
        """Return the named arrays of the best or the last epoch.

        Raises:
            RunError: They are missing or damaged.
        """
        if which == "best":
            return read_tensors(self.path / "best.safetensors", sha256=self.model["best_sha256"])
        newest = latest_checkpoint(self.path)
        if newest is None:
            raise RunError(f"{self.path} has no checkpoint, so there are no last weights")
        sums = (newest / "SHA256").read_text("utf-8").split()
        tensors = read_tensors(newest / "state.safetensors", sha256=sums[0])
        prefix = "model/"
        return {
            name.removeprefix(prefix): array
            for name, array in tensors.items()
            if name.startswith(prefix)
        }

    def epoch_of(self, which: Weights) -> int:
        """Return the 0-based epoch that the best or the last weights are from."""
        return int(self.model["best_epoch" if which == "best" else "last_epoch"])


def open_run(path: str | Path) -> Run:
    """Return the run in a folder; nothing is deserialised and nothing is written.

    Raises:
        RunError: There is no run there, or it was written by a newer Sightline.
    """
    folder = Path(path)
    if not (folder / "run.json").is_file():
        raise RunError(
            f"there is no run at {folder}: it has no run.json. `sightline runs` lists yours."
        )
    info = read_json(folder / "run.json")
    if "state" not in info:
        raise RunError(f"{folder / 'run.json'} is damaged: it does not say the run's state")
    if info.get("format_version", 0) > FORMAT_VERSION:
        raise RunError(
            f"{folder} has run format {info['format_version']}; this Sightline knows "
            f"{FORMAT_VERSION}. Update Sightline to open it."
        )
    return Run(folder, info, load_recipe(folder / "recipe.toml"))


def list_runs(parent: Path) -> tuple[list[Run], list[str]]:
    """Return the runs in a folder, by name, and what is wrong with those that cannot be opened.

    Other folders are passed over.
    """
    opened, complaints = [], []
    for path in sorted(parent.glob("*/run.json")):
        try:
            opened.append(open_run(path.parent))
        except SightlineError as error:
            complaints.append(str(error))
    return opened, complaints
