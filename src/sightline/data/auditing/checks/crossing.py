"""What belongs together and lies apart: groups that a column divides."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import polars as pl

from sightline.data.auditing.checks.audited import AuditedSet
from sightline.data.auditing.checks.outcomes import Outcomes, counted, joined
from sightline.records import Finding

# Images kept aside as a check of their own: nothing is trained or chosen by them, so a copy
# there flatters that one figure and no other.
EXTERNAL = "external"


def divided(rows: pl.DataFrame, key: str, column: str) -> pl.DataFrame:
    """Return the rows whose group under `key` has several values in `column`; nulls are none."""
    rows = rows.drop_nulls([key, column])
    values = rows.group_by(key).agg(pl.col(column).n_unique())
    return rows.join(values.filter(pl.col(column) > 1), on=key, how="semi", maintain_order="left")


def spread(rows: pl.DataFrame, key: str, column: str) -> list[dict[str, Any]]:
    """Return [{"group": ..., "by_<column>": {value: [record ids]}}], by group."""
    lists = rows.group_by(key, column, maintain_order=True).agg("record_id").sort(key, column)
    groups: dict[str, dict[str, list[str]]] = {}
    for group, value, ids in lists.iter_rows():
        groups.setdefault(str(group), {})[str(value)] = ids
    return [{"group": group, f"by_{column}": by_value} for group, by_value in groups.items()]


def crossing(
    outcomes: Outcomes,
    audited: AuditedSet,
    rows: pl.DataFrame,
    key: str,
    *,
    what: tuple[str, str],
    passed: str,
) -> Finding:
    """Return which groups under `key` lie on several sides of the split.

    A warning where all that is crossed is the border of the external images. `what` is the group
    in words with its verb, for one and for several.
    """
    if len(audited.sides) < 2:
        return outcomes.not_applicable("The images are not split into two sides yet.")
    apart = divided(rows, key, "split")
    if not len(apart):
        return outcomes.passed(passed)
    groups = spread(apart, key, "split")
    borders = _borders(groups)
    inner = any(EXTERNAL not in border.split(" and ") for border in borders)
    words = [f"{count:,} {border}" for border, count in borders.items()]
    return outcomes.found(
        f"{counted(len(groups), *what)} on several sides of the split "
        f"({counted(len(apart), 'image')}): {joined(words)}.",
        {"groups": groups, "groups_by_border": borders},
        "Figures measured on these sides look better than they are. Split anew with `sightline "
        "split --resplit all`, which keeps copies and groups on one side.",
        severity="error" if inner else "warning",
    )


def _borders(groups: list[dict[str, Any]]) -> dict[str, int]:
    """Return how many groups lie on both of each two sides, the most first."""
    counts: dict[str, int] = {}
    for group in groups:
        for one, other in combinations(sorted(group["by_split"], reverse=True), 2):
            border = f"{one} and {other}"
            counts[border] = counts.get(border, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
