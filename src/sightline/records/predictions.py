"""What a model said about each record."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import numpy as np
import numpy.typing as npt
import polars as pl

from sightline.errors import DataError
from sightline.records.decision import MOST_PROBABLE, Decision
from sightline.records.parquet import read_parquet, write_parquet
from sightline.records.splitnames import Weights

_TABLE_SCHEMA = pl.Schema(
    {"record_id": pl.String, "label": pl.String, "group": pl.String, "reason": pl.String}
)
_PROBABILITY_PREFIX = "p_"
_EMBEDDING = "embedding"
_WEIGHTS: dict[str, Weights] = {name: name for name in get_args(Weights)}


@dataclass(frozen=True, slots=True)
class Predictions:
    """One row a record: who it is, and one probability a class.

    Attributes:
        class_names: The K classes, in the order of the probability columns.
        table: `record_id`, `label` (null when unknown), `group` (null when there is none),
            `reason` (null, or why the file could not be read). N rows.
        probabilities: (N, K) float32, rows summing to 1; NaN where `reason` is set.
        model_fingerprint: Which weights, network and preprocessing produced them.
        weights: "best", "last" or "average".
        epoch: 0-based epoch those weights are from.
        decision: How the probabilities become one class.
        embeddings: (N, E) float16, what the network's last layer saw of each record; NaN where
            `reason` is set. None where they were not asked for.
    """

    class_names: tuple[str, ...]
    table: pl.DataFrame
    probabilities: npt.NDArray[np.float32]
    model_fingerprint: str
    weights: Weights
    epoch: int
    decision: Decision = MOST_PROBABLE
    embeddings: npt.NDArray[np.float16] | None = None

    def __post_init__(self) -> None:
        if self.table.schema != _TABLE_SCHEMA:
            raise ValueError(
                f"table must have {dict(_TABLE_SCHEMA)}, got {dict(self.table.schema)}"
            )
        expected = (len(self.table), len(self.class_names))
        if self.probabilities.shape != expected or self.probabilities.dtype != np.float32:
            raise ValueError(
                f"probabilities must be {expected} float32, got "
                f"{self.probabilities.shape} {self.probabilities.dtype}"
            )
        if self.embeddings is not None and (
            self.embeddings.ndim != 2
            or len(self.embeddings) != len(self.table)
            or self.embeddings.dtype != np.float16
        ):
            raise ValueError(
                f"embeddings must be ({len(self.table)}, E) float16, got "
                f"{self.embeddings.shape} {self.embeddings.dtype}"
            )
        readable = self.table["reason"].is_null().to_numpy()
        sums = self.probabilities[readable].sum(axis=1)
        if (self.probabilities[readable] < 0).any():
            lowest = float(self.probabilities[readable].min())
            raise ValueError(f"probabilities must not be negative, got {lowest}")
        if not np.allclose(sums, 1, atol=1e-3):
            worst = float(sums[np.abs(sums - 1).argmax()])
            raise ValueError(f"the probabilities of a record must sum to 1, got {worst}")

    @classmethod
    def make(
        cls,
        *,
        class_names: Sequence[str],
        record_ids: Sequence[str],
        probabilities: npt.NDArray[np.float32],
        labels: Sequence[str | None] | None = None,
        groups: Sequence[str | None] | None = None,
        reasons: Sequence[str | None] | None = None,
        model_fingerprint: str = "",
        weights: Weights = "best",
        epoch: int = 0,
        decision: Decision = MOST_PROBABLE,
        embeddings: npt.NDArray[np.float16] | None = None,
    ) -> Predictions:
        """Return predictions from columns; a column left out is all null."""
        nothing: list[str | None] = [None] * len(record_ids)
        table = pl.DataFrame(
            {
                "record_id": list(record_ids),
                "label": nothing if labels is None else list(labels),
                "group": nothing if groups is None else list(groups),
                "reason": nothing if reasons is None else list(reasons),
            },
            schema=_TABLE_SCHEMA,
        )
        return cls(
            tuple(class_names), table, probabilities, model_fingerprint, weights, epoch,
            decision, embeddings,
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.table)

    @property
    def unreadable(self) -> int:
        """How many of the records have a reason in place of probabilities."""
        return len(self) - self.table["reason"].null_count()

    @classmethod
    def together(cls, parts: Sequence[Predictions]) -> Predictions:
        """Return the rows of several predictions of one model, in order.

        Raises:
            ValueError: There is no part, or the parts are of different models.
        """
        if len({(part.class_names, part.model_fingerprint, part.epoch) for part in parts}) != 1:
            raise ValueError(f"predictions of one model are needed, got {len(parts)} parts")
        embedded = [part.embeddings for part in parts if part.embeddings is not None]
        return replace(
            parts[0],
            table=pl.concat([part.table for part in parts]),
            probabilities=np.concatenate([part.probabilities for part in parts]),
            embeddings=np.concatenate(embedded) if len(embedded) == len(parts) else None,
        )

    @classmethod
    def load(cls, path: Path) -> Predictions:
        """Return the predictions that `save` wrote.

        Raises:
            DataError: The file is missing, is not such a file, or is damaged.
        """
        try:
            table, about = read_parquet(path)
            columns = [name for name in table.columns if name.startswith(_PROBABILITY_PREFIX)]
            found = cls(
                tuple(name.removeprefix(_PROBABILITY_PREFIX) for name in columns),
                table.select(_TABLE_SCHEMA.names()),
                table.select(pl.col(columns).fill_null(np.nan)).to_numpy().astype(np.float32),
                about["model_fingerprint"],
                _WEIGHTS[about["weights"]],
                int(about["epoch"]),
                Decision.from_dict(json.loads(about["decision"])) if "decision" in about
                else MOST_PROBABLE,
                table[_EMBEDDING].to_numpy().astype(np.float16) if _EMBEDDING in table.columns
                else None,
            )  # fmt: skip
            promised = about["sha256"]
        except (OSError, LookupError, TypeError, ValueError, pl.exceptions.PolarsError) as error:
            raise DataError(f"{path} holds no predictions that can be read: {error}") from error
        if found._seal() != promised:
            raise DataError(f"{path} is damaged: its predictions are not those written there")
        return found

    def scored(self) -> Predictions:
        """Return the rows that were read and have a label: those that can be judged.

        Raises:
            DataError: No row can be judged.
        """
        keep = (self.table["reason"].is_null() & self.table["label"].is_not_null()).to_numpy()
        if not keep.any():
            raise DataError(
                f"none of the {len(self)} records has both a label and a readable image, so "
                "there is nothing to judge. Point at class folders or give a labels column."
            )
        return self.chosen(keep)

    def chosen(self, keep: npt.NDArray[np.bool_] | npt.NDArray[np.integer]) -> Predictions:
        """Return some rows.

        Args:
            keep: (N,) bool, or the positions of the rows in the order wanted.
        """
        rows = np.arange(len(self))[keep]
        return replace(
            self,
            table=self.table[rows],
            probabilities=self.probabilities[rows],
            embeddings=None if self.embeddings is None else self.embeddings[rows],
        )

    def label_indices(self) -> npt.NDArray[np.int64]:
        """Return (N,) class indices of the labels.

        Raises:
            DataError: A record has no label, or one that the model does not know.
        """
        positions = {name: index for index, name in enumerate(self.class_names)}
        labels = self.table["label"].to_list()
        for row, label in enumerate(labels):
            if label not in positions:
                raise DataError(
                    f"record {self.table['record_id'][row]!r} has label {label!r}, which is not "
                    f"one of the model's {len(positions)} classes {list(self.class_names)}"
                )
        return np.asarray([positions[label] for label in labels], np.int64)

    def predicted_indices(self) -> npt.NDArray[np.int64]:
        """Return (N,) indices of the classes that `decision` chooses; -1 for an unreadable one."""
        readable = self.table["reason"].is_null().to_numpy()
        result = np.full(len(self), -1, np.int64)
        result[readable] = self.decision.choose(self.probabilities[readable])
        return result

    @staticmethod
    def probability_columns(class_names: Sequence[str]) -> list[str]:
        """Return what the columns of probabilities are called in a table."""
        return [f"{_PROBABILITY_PREFIX}{name}" for name in class_names]

    def to_table(self) -> pl.DataFrame:
        """Return one row a record: ids, prediction, and a column `p_CLASS` for each class."""
        predicted = self.predicted_indices()
        names = [None if index < 0 else self.class_names[index] for index in predicted]
        columns = enumerate(self.probability_columns(self.class_names))
        probabilities = {name: self.probabilities[:, column] for column, name in columns}
        return pl.DataFrame(
            {
                "record_id": self.table["record_id"],
                "label": self.table["label"],
                "predicted": pl.Series(names, dtype=pl.String),
                **probabilities,
                "group": self.table["group"],
                "reason": self.table["reason"],
            }
        ).with_columns(pl.col(pl.Float32).fill_nan(None))

    def save(self, path: Path) -> None:
        """Write the table, with the model's identity in the parquet metadata."""
        table, about = self.to_table(), {
            "model_fingerprint": self.model_fingerprint,
            "weights": self.weights,
            "epoch": str(self.epoch),
            "content_hash": self.content_hash(),
            "sha256": self._seal(),
        }  # fmt: skip
        if self.decision != MOST_PROBABLE:
            about["decision"] = json.dumps(self.decision.to_dict())
        if self.embeddings is not None:  # polars has no columns of float16
            width = self.embeddings.shape[1]
            wide = pl.Series(self.embeddings.astype(np.float32), dtype=pl.Array(pl.Float32, width))
            table = table.with_columns(wide.alias(_EMBEDDING))
        write_parquet(table, path, about)

    def _seal(self) -> str:
        about: list[object] = [
            self.content_hash(), self.model_fingerprint, self.weights, self.epoch
        ]  # fmt: skip
        if self.decision != MOST_PROBABLE:
            about.append(self.decision.to_dict())
        if self.embeddings is not None:
            about.append(
                hashlib.sha256(np.ascontiguousarray(self.embeddings).tobytes()).hexdigest()
            )
        return hashlib.sha256(json.dumps(about).encode()).hexdigest()

    def content_hash(self) -> str:
        """Return the sha256 of classes, ids, labels, groups, reasons and probabilities.

        Equal predictions have equal hashes, whichever weights made them.
        """
        digest = hashlib.sha256(json.dumps(self.class_names).encode())
        for column in self.table:  # as JSON, so that no two tables give the same bytes
            digest.update(json.dumps(column.to_list()).encode())
        digest.update(np.ascontiguousarray(self.probabilities).tobytes())
        return digest.hexdigest()
