"""What training recorded, one row an epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl


@dataclass(frozen=True, slots=True, repr=False)
class History:
    """The table of a training: one row an epoch, columns named as Keras users expect.

    `loss` and `val_loss` are the plain cross-entropy; `objective` is what was optimised (class
    weights and label smoothing included), so losses of different recipes can be compared.

    Attributes:
        table: One row an epoch, sorted by the 0-based column `epoch`.
        monitor: The column that chose the best epoch, e.g. "val_loss"; "" when none did.
        best_epoch: 0-based epoch of the best weights; None before one exists.
    """

    table: pl.DataFrame
    monitor: str = ""
    best_epoch: int | None = None

    def __post_init__(self) -> None:
        if len(self.table) and "epoch" not in self.table.columns:
            raise ValueError(f"the table must have a column 'epoch', got {self.table.columns}")
        if len(self.table) and self.table["epoch"].to_list() != list(range(len(self.table))):
            raise ValueError(
                f"epochs must count 0, 1, 2 ..., got {self.table['epoch'].to_list()[:20]}"
            )

    @classmethod
    def from_rows(
        cls, rows: Sequence[dict[str, Any]], *, monitor: str = "", best_epoch: int | None = None
    ) -> History:
        """Return the history of `rows`, one dictionary an epoch."""
        table = pl.DataFrame(rows, infer_schema_length=None) if rows else pl.DataFrame()
        return cls(table, monitor=monitor, best_epoch=best_epoch)

    def __len__(self) -> int:
        return len(self.table)

    def __contains__(self, column: str) -> bool:
        return column in self.table.columns

    def __getitem__(self, column: str) -> pl.Series:
        return self.table[column]

    def __repr__(self) -> str:
        best = "" if self.best_epoch is None else f", best epoch {self.best_epoch + 1}"
        return f"History of {len(self)} epochs{best}\n{self.table}"

    def _repr_html_(self) -> str:
        return self.table._repr_html_()
