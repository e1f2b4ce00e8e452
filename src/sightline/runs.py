"""The run folder: atomic files, the lock, and reading it all back.

    runs/NAME/  run.json  recipe.toml  manifest.parquet (+ .npy index)  plan.txt  run.log
                history.jsonl  checkpoints/step-*/  best.safetensors  model.json  model.keras
                predictions/  evaluation.json  report.html

Every file but the two logs is written beside its final name, fsynced and renamed, so a reader
never meets half a file; every line of `history.jsonl` carries its own CRC.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import socket
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from sightline.errors import RunError
from sightline.recipes import Recipe, load_recipe
from sightline.records import Evaluation, History, Manifest, Weights

FORMAT_VERSION = 1
Tensors = Mapping[str, npt.NDArray[np.generic]]


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a file beside `path`, then move it there in one step.

    Whatever happens, `path` holds the old content or the new, never a part.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays last: some writers choose their format by it.
    beside = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        write(beside)
        _flush_to_disk(beside)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    _flush_to_disk(path.parent)


def write_json(path: Path, value: object) -> None:
    """Write JSON atomically."""
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    write_atomically(path, lambda beside: beside.write_text(text, "utf-8"))


def save_manifest(manifest: Manifest, path: Path) -> None:
    """Write a manifest and its mapped index; each replaces its old file in one step."""

    def write(beside: Path) -> None:
        manifest.save(beside)
        index = beside.with_name(beside.name + ".npy")
        _flush_to_disk(index)
        index.replace(path.with_name(path.name + ".npy"))

    write_atomically(path, write)


def write_tensors(path: Path, tensors: Tensors) -> str:
    """Write weights as safetensors and return the sha256 of the file."""
    contiguous = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    write_atomically(path, lambda beside: save_file(contiguous, beside))
    return file_sha256(path)


def read_tensors(path: Path, *, sha256: str | None = None) -> dict[str, npt.NDArray[np.generic]]:
    """Return the weights in a safetensors file.

    Raises:
        RunError: The file is missing or damaged, or its sha256 is not the one promised.
    """
    if not path.exists():
        raise RunError(f"{path} is missing: this run has no such weights")
    if sha256 is not None and file_sha256(path) != sha256:
        raise RunError(
            f"{path} is damaged: its sha256 is not the one written with it. "
            "Copy the run folder again from where it came from."
        )
    try:
        with safe_open(path, framework="numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise RunError(f"{path} cannot be read: {error}") from error


def file_sha256(path: Path) -> str:
    """Return the hex sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def append_history(path: Path, row: Mapping[str, Any]) -> None:
    """Append one epoch to `history.jsonl`, with the CRC of its own text, and flush it to disk."""
    text = json.dumps(row)
    line = json.dumps({**row, "crc": zlib.crc32(text.encode())})
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
        file.flush()
        os.fsync(file.fileno())


def read_history(path: Path) -> list[dict[str, Any]]:
    """Return the epochs of `history.jsonl`; a torn last line (a crash in mid-write) is dropped.

    Raises:
        RunError: A line before the last is damaged.
    """
    if not path.exists():
        return []
    lines = path.read_text("utf-8", errors="replace").splitlines()
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            crc = row.pop("crc")
            intact = zlib.crc32(json.dumps(row).encode()) == crc
        except (ValueError, KeyError, AttributeError):
            intact = False
        if intact:
            rows.append(row)
        elif number < len(lines):
            raise RunError(f"{path}, line {number}, is damaged: its CRC does not match")
    return rows


def create_run(path: Path) -> Path:
    """Make a new run folder.

    Raises:
        RunError: The folder already holds something; nothing of it is touched.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise RunError(
            f"{path} already holds something, and Sightline overwrites no run. "
            "Give another folder with --out, or remove this one yourself."
        )
    path.mkdir(parents=True, exist_ok=True)
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
        RunError: Another process holds it; the message names it.
    """
    with (path / "run.lock").open("a+", encoding="utf-8") as file:
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
        """One of "training", "finished", "interrupted", "failed"."""
        return str(self.info["state"])

    @property
    def manifest(self) -> Manifest:
        """The images it was trained on, with their splits."""
        return Manifest.load(self.path / "manifest.parquet")

    @property
    def history(self) -> History:
        """One row an epoch."""
        best = self.model.get("best_epoch") if (self.path / "model.json").exists() else None
        return History.from_rows(
            read_history(self.path / "history.jsonl"),
            monitor=self.recipe.train.best,
            best_epoch=best,
        )

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
        return _read_json(path)

    @property
    def evaluations(self) -> list[Evaluation]:
        """Everything that was evaluated so far, one entry a data set and weights."""
        return Evaluation.load_all(self.path / "evaluation.json")

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
    info = _read_json(folder / "run.json")
    if info.get("format_version", 0) > FORMAT_VERSION:
        raise RunError(
            f"{folder} has run format {info['format_version']}; this Sightline knows "
            f"{FORMAT_VERSION}. Update Sightline to open it."
        )
    return Run(folder, info, load_recipe(folder / "recipe.toml"))


def list_runs(parent: Path) -> list[Run]:
    """Return the runs in a folder, by name; other folders are passed over."""
    if not parent.is_dir():
        return []
    return [open_run(path.parent) for path in sorted(parent.glob("*/run.json"))]


def save_checkpoint(run: Path, step: int, tensors: Tensors, meta: Mapping[str, Any]) -> None:
    """Write `checkpoints/step-N/` in one step and drop the one before.

    A checkpoint is {state.safetensors, meta.json, SHA256}; the folder appears complete.
    """
    final = run / "checkpoints" / f"step-{step:08d}"
    beside = final.with_name(f".{final.name}.{os.getpid()}")
    previous = latest_checkpoint(run)
    beside.mkdir(parents=True)
    try:
        sha256 = write_tensors(beside / "state.safetensors", tensors)
        write_json(beside / "meta.json", meta)
        sums = f"{sha256}  state.safetensors\n{file_sha256(beside / 'meta.json')}  meta.json\n"
        write_atomically(beside / "SHA256", lambda path: path.write_text(sums, "utf-8"))
        if final.exists():  # the same step again
            shutil.rmtree(final)
        beside.rename(final)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    _flush_to_disk(final.parent)
    if previous is not None and previous != final:
        shutil.rmtree(previous)


def latest_checkpoint(run: Path) -> Path | None:
    """Return the folder of the newest complete checkpoint."""
    found = sorted((run / "checkpoints").glob("step-*/SHA256"))
    return found[-1].parent if found else None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path} is damaged or cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise RunError(f"{path} is damaged: it holds no JSON object")
    return value


def _flush_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
