"""What children answer, gathered to the inspected table."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence

import polars as pl

from sightline.data.auditing.child import THUMB, VALUES
from sightline.data.auditing.inspected import INSPECTED_SCHEMA
from sightline.data.auditing.process import Task

_AT_ONCE = 4096  # rows of Python objects take ten times the room of the table
_PLACE = "place"
_SCHEMA = pl.Schema({_PLACE: pl.Int64} | {name: INSPECTED_SCHEMA[name] for name in VALUES})


class Answers:
    """Rows in the order they come in, a table in the order they were asked for.

    Args:
        count: How many will come.
        on_done: Told how many more have come, where it is there.
    """

    def __init__(self, count: int, on_done: Callable[[int], None] | None) -> None:
        self._count, self._on_done = count, on_done
        self._rows: list[list[object]] = []
        self._parts: list[pl.DataFrame] = []

    def add(self, done: Sequence[tuple[Task, list[object]]]) -> None:
        """Take in answers."""
        for task, values in done:
            thumb = values[THUMB]
            if isinstance(thumb, str):
                values[THUMB] = base64.b64decode(thumb)
            self._rows.append([task.place, *values])
        if len(self._rows) >= _AT_ONCE:
            self._pack()
        if self._on_done is not None:
            self._on_done(len(done))

    def table(self, record_ids: pl.Series) -> pl.DataFrame:
        """Return INSPECTED_SCHEMA by place, with the record id of each."""
        self._pack()
        table = pl.concat([_SCHEMA.to_frame(), *self._parts]).sort(_PLACE)
        assert len(table) == len(record_ids) == self._count
        return table.with_columns(record_ids.alias("record_id")).select(INSPECTED_SCHEMA.names())

    def _pack(self) -> None:
        self._parts.append(pl.DataFrame(self._rows, schema=_SCHEMA, orient="row"))
        self._rows = []
