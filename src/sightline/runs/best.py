"""The best weights, twice: where one of the two files is damaged, the other one is used.

A third file has those that the checkpoint before the newest knows, where they are others. So at
any moment there is a file of what either checkpoint calls the best, and training may go on from it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from sightline.errors import RunError
from sightline.runs.files import Tensors, flush_to_disk, read_tensors, write_tensors

BEST = "best.safetensors"
_COPY, _BEFORE = f"checkpoints/{BEST}", "checkpoints/best-before.safetensors"
_PLACES = (BEST, _COPY)  # in this order

Arrays = dict[str, npt.NDArray[np.generic]]


def write_best(run: Path, tensors: Tensors, *, epoch: int) -> None:
    """Write the best weights into the first file, ahead of the checkpoint that will know them.

    The others stay as they are until `keep_best`, with what the checkpoints that are there know:
    if the process dies now, training goes on from one of those.

    Raises:
        OSError: It could not be written; it holds what it held before, or the new weights.
    """
    write_tensors(run / BEST, tensors, epoch=epoch)


def keep_best(run: Path, tensors: Tensors, *, epoch: int) -> None:
    """Write the best weights into the second file, now that a complete checkpoint knows them.

    What it held goes into the third: the checkpoint before knows that.

    Raises:
        OSError: It could not be written; what was there is in one file or the other.
    """
    _move_on(run)
    write_tensors(run / _COPY, tensors, epoch=epoch)


def _move_on(run: Path) -> None:
    if (run / _COPY).exists():  # not where an earlier try got no further
        (run / _COPY).replace(run / _BEFORE)
        flush_to_disk((run / _BEFORE).parent)


def read_best(run: Path) -> tuple[Arrays, int, str]:
    """Return the best weights, their 0-based epoch, and what is to be said about them.

    That is "", or that the first file cannot be used and the second one was.

    Raises:
        RunError: Neither can be used.
    """
    first, second = (run / place for place in _PLACES)
    try:
        return *read_tensors(first), ""
    except RunError as error:
        if not second.exists():  # a run of an earlier Sightline, or imported
            raise
        why = str(error)
    try:
        arrays, epoch = read_tensors(second)
    except RunError as error:
        raise RunError(f"{why} Nor can its copy be used: {error}") from error
    # Of an earlier epoch where the process died, or failed, before the next checkpoint.
    instead = f"so its copy {second} is used: weights of epoch {epoch + 1}."
    return arrays, epoch, f"{first} is missing or damaged, {instead}"


def restore_best(run: Path, *, epoch: int) -> tuple[Arrays, list[str]]:
    """Return the best weights of a training that goes on, and put them into both files.

    Those of `epoch` are taken, which the checkpoint knows as the best, and no newer ones: what
    came after the checkpoint comes again, and perhaps otherwise.

    Returns:
        The weights, and which files were damaged: a sentence each.

    Raises:
        RunError: No file has them.
        OSError: They could not be written; each holds what it held before, or the weights.
    """
    found: dict[str, tuple[Arrays, int]] = {}
    told = []
    for place in _PLACES:
        try:
            found[place] = read_tensors(run / place)
        except RunError:
            if (run / place).exists():
                told.append(f"{run / place} was damaged, and is written anew from its copy.")
    if not found and not (run / _BEFORE).exists():
        read_best(run)  # raises, saying what is wrong with each
    wanted = next((each for each in found.values() if each[1] == epoch), None)
    arrays = (wanted or _from_before(run, epoch, found))[0]
    for place in _PLACES:
        if place in found and _same(found[place], (arrays, epoch)):
            continue
        if place == _COPY and place in found and found[place][1] < epoch:
            _move_on(run)  # the process died before it did
        write_tensors(run / place, arrays, epoch=epoch)
    return arrays, told


def _from_before(run: Path, epoch: int, found: dict[str, tuple[Arrays, int]]) -> tuple[Arrays, int]:
    """Return the weights of an epoch from the third file.

    Raises:
        RunError: It has others, or cannot be used.
    """
    try:
        third = read_tensors(run / _BEFORE)
        if third[1] == epoch:
            return third
        found = {**found, _BEFORE: third}
    except RunError:
        pass
    held = [f"{run / place} has those of epoch {each[1] + 1}" for place, each in found.items()]
    held += [f"{run / place} is missing or damaged" for place in _PLACES if place not in found]
    raise RunError(
        f"the best weights that the checkpoint knows, of epoch {epoch + 1}, are nowhere any more: "
        f"{'; '.join(held)}. Copy the run folder again from where it came from, or train anew in "
        "a folder of its own."
    )


def _same(one: tuple[Arrays, int], other: tuple[Arrays, int]) -> bool:
    return one[1] == other[1] and all(
        np.array_equal(one[0][name], other[0][name]) for name in one[0]
    )
