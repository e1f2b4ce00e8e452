"""Which values of a recipe have an effect beside the others, and what changes along with them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sightline.recipes.schema import APPLICATIONS, ONLY_FOR, Recipe

_ALSO_ONLY_FOR = {  # accepted with the others, but read by nobody
    "schedule.rate": ("kind", ("exponential",)),
    "schedule.epochs": ("kind", ("exponential", "step")),
    "schedule.factor": ("kind", ("plateau", "step")),
    "schedule.patience": ("kind", ("plateau",)),
    "schedule.warmup": ("kind", ("cosine", "one-cycle")),
    "balance.class_weights": ("sampling", ("all",)),
}
_DECIDED_BY = {**ONLY_FOR, **_ALSO_ONLY_FOR}
_RATES = {"skin-binary": 3, "ham10000": 2, "chest-xray": 5, "residual": 1}
DECIDED = frozenset(_DECIDED_BY)  # keys that are read beside some values of others alone
PLACED = ("model.dropout", "model.normalisation")  # one value for each place in the network

Scalar = bool | int | float | str


def has_effect(key: str, values: Mapping[str, Any]) -> bool:
    """Say whether a value is read at all, given the others.

    Args:
        key: Dotted, e.g. "train.momentum", which is read with optimizer "sgd" alone.
        values: All of a recipe, by dotted key.
    """
    if key not in _DECIDED_BY:
        return True
    decides, serves = _DECIDED_BY[key]
    return values[f"{key.partition('.')[0]}.{decides}"] in serves


def deciders() -> frozenset[str]:
    """Return the keys whose values decide which others have an effect, or how many there are."""
    named = {f"{key.partition('.')[0]}.{decides}" for key, (decides, _) in _DECIDED_BY.items()}
    return frozenset(named | {"model.blocks", "model.stages", "model.dense"})


def places(key: str, values: Mapping[str, Any]) -> int | None:
    """Return how many places of the network have a value of their own; None where none knows.

    Args:
        key: One of PLACED.
        values: All of a recipe, by dotted key; resolved.
    """
    network = values["model.network"]
    if key == "model.dropout":
        if network == "basic":
            return int(values["model.blocks"]) + len(values["model.dense"])
        return 1 if network.startswith(APPLICATIONS) else _RATES.get(network)
    counted = {"basic": "model.blocks", "residual": "model.stages"}.get(network)
    return int(values[counted]) if counted else None


def completed(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return changes without those that change nothing, and with those that must go along.

    What has no effect beside the others is left out, or goes back to its default where the recipe
    had set it; lists of one value for each place become as long as there are places.

    Args:
        base: The recipe that is changed, by dotted key; resolved.
        changes: Of it.
    """
    whole = {**base, **changes}
    for key in (key for key in _DECIDED_BY if not has_effect(key, whole)):
        section, _, name = key.partition(".")
        whole[key] = _default(section, name) if key not in _ALSO_ONLY_FOR else base[key]
    if not has_effect("balance.class_weights", whole):
        whole["balance.class_weights"] = "none"
    for key in PLACED:
        count, given = places(key, whole), whole[key]
        if count is not None and not isinstance(given, str):
            whole[key] = _as_long(list(given), count, key)
    kinds = whole["model.normalisation"]
    if not isinstance(kinds, str) and len(set(kinds)) == 1:
        whole["model.normalisation"] = kinds[0]  # the same, said shortly
    if whole["model.network"] == "basic" and not any(whole["model.dropout"]):
        whole["model.dropout"] = []  # the same, said shortly
    return {key: value for key, value in whole.items() if value != base[key]}


def varied(
    base: Mapping[str, Any], changes: Sequence[Mapping[str, Any]]
) -> list[dict[str, Scalar]]:
    """Return what differs between changed recipes, as plain numbers and words, a row each.

    A list becomes a column for each of its places, `model.dropout[0]` and so on; `data.image_size`
    is its height. What has no effect in a recipe, or no place, is missing from its row.

    Args:
        base: The recipe that was changed, by dotted key; resolved.
        changes: Of it, for each row.
    """
    wholes = [{**base, **each} for each in changes]
    keys = [key for key in base if any(whole[key] != base[key] for whole in wholes)]
    rows = [_row(whole, [key for key in keys if has_effect(key, whole)]) for whole in wholes]
    columns = dict.fromkeys(name for row in rows for name in row)
    differing = [
        name for name in columns if len({str(row[name]) for row in rows if name in row}) > 1
    ]
    return [{name: row[name] for name in differing if name in row} for row in rows]


def _row(whole: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Scalar]:
    row: dict[str, Scalar] = {}
    for key in keys:
        value = whole[key]
        if key == "data.image_size" and not isinstance(value, str):
            row[key] = value[0]
        elif key in PLACED and (count := places(key, whole)) is not None:
            spread = [value] * count if isinstance(value, str) else _as_long(value, count, key)
            row |= {f"{key}[{place}]": each for place, each in enumerate(spread)}
        elif key == "model.dense":
            row["model.dense.length"] = len(value)
            row |= {f"{key}[{place}]": each for place, each in enumerate(value)}
        else:
            row[key] = value if isinstance(value, Scalar) else json.dumps(value)
    return row


def _as_long(values: Sequence[Any], count: int, key: str) -> list[Any]:
    """Return a value for each place: the last one again where there are too few."""
    none: Any = 0.0 if key == "model.dropout" else "none"
    last = values[-1] if values else none
    return [*values, *[last] * (count - len(values))][:count]


def _default(section: str, name: str) -> Any:
    inner: Any = Recipe.model_fields[section].annotation
    default = inner.model_fields[name].default
    return list(default) if isinstance(default, tuple) else default
