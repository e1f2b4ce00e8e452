"""What each mistake costs, as a table that a person wrote."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence

from sightline.errors import DataError

Costs = tuple[tuple[float, ...], ...]


def costs_from_csv(text: str, class_names: Sequence[str], *, where: str) -> Costs:
    """Return (K, K) costs in the order of the classes, from a table with names on two sides.

    The header names the classes that a record may be called, the first column those that it may
    be; both in any order. The corner cell may hold anything. An example for two classes:

        true,benign,malignant
        benign,0,1
        malignant,20,0

    Args:
        text: The table, separated by commas.
        class_names: The K classes.
        where: What a message calls the table, e.g. the path of its file.

    Raises:
        DataError: A class is missing, unknown or named twice, a row is not as wide as the header,
            or a value is not a number of 0 or more.
    """
    lines = [
        (number, [cell.strip() for cell in row])
        for number, row in enumerate(csv.reader(io.StringIO(text)), start=1)
        if any(cell.strip() for cell in row)
    ]
    if not lines:
        raise DataError(f"{where} holds no costs: it is empty")
    header = lines[0][1][1:]
    _check_names(header, class_names, f"the header of {where}")
    _check_names([row[0] for _, row in lines[1:]], class_names, f"the first column of {where}")
    table = {}
    for number, row in lines[1:]:
        if len(row) != len(header) + 1:
            raise DataError(
                f"{where}, line {number}: got {len(row)} cells, the header has {len(header) + 1}"
            )
        table[row[0]] = dict(zip(header, row[1:], strict=True))
    return _matrix(table, class_names, where)


def costs_from_table(
    table: Mapping[str, object], class_names: Sequence[str], *, where: str
) -> Costs:
    """Return (K, K) costs in the order of the classes, from a table of tables, as TOML gives it.

    `{"malignant": {"benign": 20, "malignant": 0}, ...}`: what it costs to call a malignant record
    benign. The order of the names does not matter.

    Args:
        table: True class to called class to cost.
        class_names: The K classes.
        where: What a message calls the table, e.g. the path of its file.

    Raises:
        DataError: As `costs_from_csv`.
    """
    _check_names(list(table), class_names, f"the rows of {where}")
    rows: dict[str, Mapping[str, object]] = {}
    for name, row in table.items():
        if not isinstance(row, Mapping):
            raise DataError(f"{where}, row {name!r}: got {row!r}, a table of costs is needed")
        _check_names(list(row), class_names, f"row {name!r} of {where}")
        rows[name] = row
    return _matrix(rows, class_names, where)


def _check_names(names: Sequence[str], class_names: Sequence[str], where: str) -> None:
    """Refuse names that are not each class once."""
    for name in names:
        if name not in class_names:
            raise DataError(
                f"{where} names {name!r}, which is not one of the classes {list(class_names)}"
            )
        if names.count(name) > 1:
            raise DataError(f"{where} names {name!r} {names.count(name)} times; name it once")
    missing = [name for name in class_names if name not in names]
    if missing:
        raise DataError(f"{where} does not name {missing[0]!r}; give a cost for every class")


def _matrix(
    table: Mapping[str, Mapping[str, object]], class_names: Sequence[str], where: str
) -> Costs:
    return tuple(
        tuple(
            _cost(table[true][called], f"{where}, row {true!r}, column {called!r}")
            for called in class_names
        )
        for true in class_names
    )


def _cost(value: object, where: str) -> float:
    """Return a cost, or refuse it with its place."""
    try:
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise ValueError
        cost = float(value)
    except ValueError:
        raise DataError(f"{where}: got {value!r}, a number is needed") from None
    if not 0 <= cost < math.inf:
        raise DataError(f"{where}: got {value!r}, a cost must be 0 or more")
    return cost
