"""Files that are whole or not there: written beside their name, flushed to disk, renamed."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from sightline.errors import RunError
from sightline.records import Manifest
from sightline.records.manifest import index_path

Tensors = Mapping[str, npt.NDArray[np.generic]]
SEAL = "sha256"  # the key of a JSON object that holds the sum of the others

# What is not yet whole, of the files of a run folder.
_BESIDE = re.compile(
    r"\.(run|recipe|manifest|audit|plan|history|best|model|network|evaluation|diagnosis|"
    r"report|model_card)"
    r"\.\d+(\.[a-z]+){1,2}"
)


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a file beside `path`, then move it there in one step.

    Whatever happens, `path` holds the old content or the new, never a part.
    """
    make_folder(path.parent)
    # The suffix stays last: some writers choose their format by it.
    name, dot, suffixes = path.name.partition(".")
    beside = path.with_name(f".{name}.{os.getpid()}{dot}{suffixes}")
    try:
        write(beside)
        flush_to_disk(beside)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    flush_to_disk(path.parent)


def write_content(path: Path, content: str | bytes) -> None:
    """Write a file atomically; text as UTF-8."""
    raw = content.encode() if isinstance(content, str) else content
    write_atomically(path, lambda beside: beside.write_bytes(raw))


def make_folder(path: Path) -> None:
    """Make a folder and those above it that are missing, so that they outlast a power cut."""
    missing = [each for each in (path, *path.parents) if not each.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for each in missing:
        flush_to_disk(each.parent)


def remove_file(path: Path) -> None:
    """Remove a file, if it is there, so that no power cut brings it back."""
    if path.exists():
        path.unlink()
        flush_to_disk(path.parent)


def remove_unfinished(folder: Path) -> None:
    """Remove what killed processes left beside the files of a run folder that is held.

    Only files with names that `write_atomically` gives; what cannot be removed stays.
    """
    for path in (*folder.glob(".*"), *folder.glob("checkpoints/.*")):
        if is_unfinished(path):
            with suppress(OSError):
                path.unlink()


def is_unfinished(path: Path) -> bool:
    """Say whether this is a file of a run that was not yet whole when its process ended."""
    return bool(_BESIDE.fullmatch(path.name)) and path.is_file()


def write_json(path: Path, value: object) -> None:
    """Write JSON atomically."""
    write_content(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_sealed(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object atomically, with the sha256 of all else in it under "sha256"."""
    write_json(path, {**value, SEAL: _seal(value)})


def read_json(path: Path) -> dict[str, Any]:
    """Return a JSON object; one that has a sha256 of its own has to match it.

    Raises:
        RunError: The file cannot be read, is not as it was written, or holds something else.
    """
    try:
        value = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path} is damaged or cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise RunError(f"{path} is damaged: it holds no JSON object")
    if SEAL in value and value[SEAL] != _seal(value):
        raise RunError(
            f"{path} is damaged, or was changed by hand: it does not have the sha256 written in "
            "it. Copy it again from where the run folder came from."
        )
    return value


def _seal(value: Mapping[str, Any]) -> str:
    """Return the sha256 of the values, however they are spelled; what seals them is left out."""
    plain = json.loads(json.dumps({key: value[key] for key in value if key != SEAL}))
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def save_manifest(manifest: Manifest, path: Path) -> None:
    """Write a manifest and its mapped index; each replaces its old file in one step."""

    def write(beside: Path) -> None:
        index = index_path(beside)
        try:
            manifest.save(beside)
            flush_to_disk(index)
            index.replace(index_path(path))
        finally:
            index.unlink(missing_ok=True)

    write_atomically(path, write)


def write_tensors(path: Path, tensors: Tensors, *, epoch: int) -> None:
    """Write weights as safetensors, with their epoch and checksum inside: one file, one rename.

    So no crash can leave weights beside a description of other weights.
    """
    contiguous = {name: np.asarray(array, order="C") for name, array in tensors.items()}
    digest = tensors_sha256(contiguous)
    about = {"epoch": str(epoch), "sha256": digest, "epoch_sha256": _of_epoch(epoch, digest)}
    content = save(contiguous, about)  # save_file would make the file private to this user
    write_content(path, content)


def read_tensors(path: Path) -> tuple[dict[str, npt.NDArray[np.generic]], int]:
    """Return the weights in a file of `write_tensors`, and the 0-based epoch they are from.

    Raises:
        RunError: The file is missing or damaged: its tensors have not the checksum inside it.
    """
    if not path.exists():
        raise RunError(f"{path} is missing: this run has no such weights")
    try:
        with safe_open(path, framework="numpy") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            about = file.metadata() or {}
        epoch, promised = int(about["epoch"]), about["sha256"]
        sealed = about.get("epoch_sha256", _of_epoch(epoch, promised))  # older files lack it
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise RunError(f"{path} is damaged or cannot be read: {error}") from error
    if tensors_sha256(tensors) != promised or sealed != _of_epoch(epoch, promised):
        raise RunError(
            f"{path} is damaged: its sha256 is not the one written with it. "
            "Copy the run folder again from where it came from."
        )
    return tensors, epoch


def tensors_sha256(tensors: Tensors) -> str:
    """Return the sha256 of names, types, shapes and values, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        array = np.asarray(tensors[name], order="C")
        digest.update(f"{name} {array.dtype} {array.shape} ".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _of_epoch(epoch: int, digest: str) -> str:
    """Return the sha256 of the epoch that weights are from, and of their own."""
    return hashlib.sha256(f"{epoch} {digest}".encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """Return the hex sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def flush_to_disk(path: Path) -> None:
    """Wait until a file or folder is on the disk itself."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
