"""The facts of a training that another program did: Keras' History, its dictionary, a CSV file."""

from __future__ import annotations

import csv
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sightline.errors import DataError
from sightline.judging.diagnosis.facts import Ended, Floats, TrainingFacts
from sightline.judging.diagnosis.stopping import ends_with

# Other names of the same columns, by version and by the metric that was asked for.
_ALIASES = {
    "lr": "learning_rate",
    "acc": "accuracy",
    "binary_accuracy": "accuracy",
    "categorical_accuracy": "accuracy",
    "sparse_categorical_accuracy": "accuracy",
}
_NOTHING = ("", "na", "none", "null")  # CSVLogger writes NA where an epoch had no value
_LARGEST = 64 * 2**20  # bytes of a file that can still be a history


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a bare history does not say of its training; None: not known.

    Attributes:
        num_train: Training images.
        num_validation: Validation images; without them noise cannot be told from signal.
        num_test: Test images.
        class_counts: Training images of each class.
        batch_size: Images a step.
        patience: Of early stopping on val_loss, in epochs; 0 for none.
    """

    num_train: int | None = None
    num_validation: int | None = None
    num_test: int | None = None
    class_counts: Mapping[str, int] = field(default_factory=dict)
    batch_size: int | None = None
    patience: int | None = None

    def __post_init__(self) -> None:
        for name in ("num_train", "num_validation", "num_test", "batch_size", "patience"):
            _refuse_no_count(name, getattr(self, name), least=1 if name == "batch_size" else 0)
        for label, count in self.class_counts.items():
            _refuse_no_count(f"class_counts[{label!r}]", count, least=0)
        total = sum(self.class_counts.values())
        if self.class_counts and self.num_train is not None and total != self.num_train:
            raise DataError(
                f"class_counts add up to {total:,} images, and num_train is {self.num_train:,}. "
                "Give the training images of each class, or leave num_train out."
            )


def facts_of_history(history: Any, known: Known | None = None) -> TrainingFacts:
    """Return the facts of a Keras `History`, or of its dictionary.

    Nothing of Keras is imported: whatever has a dictionary `history` will do. A column with fewer
    values, as of `validation_freq`, belongs to every second (third ...) epoch. "acc" and its like
    are taken for the accuracy where no column is called "accuracy".

    Args:
        history: With `.history`, `.params`; or a mapping of columns to a value an epoch.
        known: What it does not say.

    Raises:
        DataError: It is neither, is empty, a column is no list of numbers, or two that differ
            could be the accuracy.
    """
    known = known or Known()
    table = getattr(history, "history", history)
    if not isinstance(table, Mapping):
        raise DataError(
            f"a history must be a run, Keras' History, its dictionary, or a CSV file, got "
            f"{type(history).__name__}"
        )
    own = {str(name): _numbers(str(name), table[name]) for name in table if name != "epoch"}
    columns = _aligned(_renamed(own))
    if not any(len(values) for values in columns.values()):
        raise DataError(
            "the history is empty: it has no epoch. `fit` fills it at the end of each epoch; give "
            "what `fit` returned."
        )
    if "loss" not in columns and "val_loss" not in columns:
        raise DataError(
            f"the history has neither loss nor val_loss, got {', '.join(columns)}. Give the "
            "columns by Keras' names."
        )
    _refuse_impossible(columns)
    planned = (getattr(history, "params", None) or {}).get("epochs")
    total = sum(known.class_counts.values()) or None
    return TrainingFacts(
        columns=columns,
        num_train=known.num_train if known.num_train is not None else total,
        num_validation=known.num_validation,
        num_test=known.num_test,
        class_counts=known.class_counts,
        batch_size=known.batch_size,
        patience=known.patience,
        ended=_ended(columns, planned, known.patience),
    )


def read_csv(path: Path) -> dict[str, list[float]]:
    """Return the columns of a file that Keras' CSVLogger wrote, with "," or ";" between cells.

    Raises:
        DataError: It is not there, is no such table, has a cell that is no number, or holds
            several trainings, one appended to another.
    """
    rows = _rows(path)
    header = [cell.strip() for cell in rows[0]]
    if "epoch" not in header or not ({"loss", "val_loss"} & set(header)):
        raise DataError(
            f"{path} is no history: its first line has {', '.join(header[:8])!r}, and 'epoch' and "
            "'loss' are needed. Give a file that Keras' CSVLogger wrote."
        )
    if len(set(header)) < len(header):
        raise DataError(f"{path} has a column twice: {', '.join(header)}. Remove one.")
    columns: dict[str, list[float]] = {name: [] for name in header}
    for line, row in enumerate(rows[1:], 2):
        if [cell.strip() for cell in row] == header:
            raise DataError(
                f"{path}, line {line}, is a header again: a second training was appended. Cut the "
                "file there, and diagnose each training by itself."
            )
        if len(row) != len(header):
            raise DataError(
                f"{path}, line {line}, has {len(row)} cells, and the header has {len(header)}"
            )
        for name, cell in zip(header, row, strict=True):
            columns[name].append(_number(cell, f"{path}, line {line}, column {name!r}"))
    _refuse_repeated_epochs(columns["epoch"], path)
    return columns


def _rows(path: Path) -> list[list[str]]:
    """Return the lines of a CSV file that are not empty, as cells."""
    if not path.is_file():
        raise DataError(
            f"there is no file {path}. Give a run folder, or a .csv file of Keras' CSVLogger."
        )
    if path.stat().st_size > _LARGEST:
        raise DataError(f"{path} is too large to be a history. Give a file of Keras' CSVLogger.")
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not a text file: {error}") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) < 2:
        raise DataError(f"{path} is empty: it has no epoch under its header.")
    separator = max(",;\t", key=lines[0].count)
    try:
        return list(csv.reader(lines, delimiter=separator))
    except csv.Error as error:
        raise DataError(f"{path} is no table: {error}") from error


def _refuse_repeated_epochs(epochs: Sequence[float], path: Path) -> None:
    for line, (before, after) in enumerate(itertools.pairwise(epochs), 3):
        if not after > before:
            raise DataError(
                f"{path}, line {line}, has epoch {after:g} after epoch {before:g}: a second "
                "training was appended, or lines are missing. Cut the file there, and diagnose "
                "each training by itself; one that went on is to count its epochs on."
            )


def _number(cell: str, where: str) -> float:
    text = cell.strip()
    if text.lower() in _NOTHING:
        return math.nan
    try:
        return float(text)
    except ValueError:
        raise DataError(f"{where}, is no number: {text[:40]!r}. Remove the column.") from None


def _numbers(name: str, values: Any) -> Floats:
    """Return a column as (E,) float64; what is None in it is NaN."""
    try:
        plain = [math.nan if value is None else float(value) for value in values]
    except (TypeError, ValueError):
        raise DataError(
            f"the column {name!r} of the history must be a list of numbers, one an epoch"
        ) from None
    return np.asarray(plain, np.float64)


def _named(name: str) -> str:
    """Return the name that rules know a column by."""
    bare = name.removeprefix("val_")
    return name.removesuffix(bare) + _ALIASES.get(bare, bare)


def _renamed(columns: Mapping[str, Floats]) -> dict[str, Floats]:
    """Return columns by the names that rules know; beside one of such a name, others keep theirs.

    Raises:
        DataError: Two would have one name, and differ.
    """
    renamed: dict[str, Floats] = {}
    taken: dict[str, str] = {}
    for name, values in columns.items():
        known = _named(name)
        if known != name and known in columns:
            known = name
        if known in renamed and not np.array_equal(values, renamed[known], equal_nan=True):
            raise DataError(
                f"the history has {taken[known]!r} and {name!r}, which differ, and both would be "
                f"the {known}. Leave out the one that the loss was not trained with."
            )
        renamed[known], taken[known] = values, name
    return renamed


def _aligned(columns: Mapping[str, Floats]) -> dict[str, Floats]:
    """Return all columns with as many epochs; one with fewer values has one every few epochs.

    Raises:
        DataError: Their lengths do not go with each other.
    """
    epochs = max((len(values) for values in columns.values()), default=0)
    aligned = {}
    for name, values in columns.items():
        every = epochs // len(values) if len(values) else 0
        if every and epochs // every != len(values):
            raise DataError(
                f"the column {name!r} has {len(values)} values for {epochs} epochs. Give one an "
                "epoch, or None where there is none."
            )
        spread = np.full(epochs, np.nan)
        if every:
            spread[np.arange(1, len(values) + 1) * every - 1] = values
        aligned[name] = spread
    return aligned


def _refuse_impossible(columns: Mapping[str, Floats]) -> None:
    """Refuse what is no cross-entropy and no share, which every rule takes them for."""
    for name, values in columns.items():
        known = values[np.isfinite(values)]
        if name.endswith("loss") and (known < 0).any():
            raise DataError(
                f"the column {name!r} of the history has {known.min():g}, and a cross-entropy is "
                "never negative. Only trainings of classifiers with such a loss can be diagnosed."
            )
        if name.endswith("accuracy") and ((known < 0) | (known > 1)).any():
            wrong = known[(known < 0) | (known > 1)][0]
            raise DataError(
                f"the column {name!r} of the history has {wrong:g}, and an accuracy is a share, 0 "
                "to 1. Divide percentages by 100."
            )


def _ended(columns: Mapping[str, Floats], planned: Any, patience: int | None) -> Ended:
    """Return why there are no more epochs, as far as the curve and the plan say."""
    epochs = len(next(iter(columns.values())))
    if "loss" in columns and not np.isfinite(columns["loss"][-1]):
        return "no number"
    watched = columns.get("val_loss")
    if patience and watched is not None:
        waits = (
            np.inf if not np.isfinite(watched).any() else epochs - 1 - int(np.nanargmin(watched))
        )
        stopped = ends_with(watched, patience) == epochs and waits >= patience
        return "stopped early" if stopped else "all epochs"
    return "all epochs" if planned == epochs or patience == 0 else "not known"


def _refuse_no_count(name: str, value: object, *, least: int) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise DataError(f"{name} must be a whole number of {least} or more, got {value!r}")
