"""The list of images that everything else is about."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import polars as pl

from sightline.errors import DataError
from sightline.records.columns import digest_of, join_names, known, numbers
from sightline.records.index import NO_SPLIT, Location, RecordIndex, archive_of
from sightline.records.parquet import read_parquet, write_parquet
from sightline.records.splitnames import SPLITS, Split

SCHEMA_VERSION = 2  # 2: the column `begin`
MANIFEST_SCHEMA = pl.Schema(
    {
        "record_id": pl.String,
        "label": pl.String,
        "group": pl.String,
        "copy_group": pl.String,
        "near_group": pl.String,
        "split": pl.String,
        "fold": pl.Int32,
        "weight": pl.Float32,
        "bytes": pl.Int64,
        "mtime_ns": pl.Int64,
        "begin": pl.Int64,
        "sha256": pl.String,
        "width": pl.Int32,
        "height": pl.Int32,
        "mode": pl.String,
        "bits": pl.Int32,
        "orientation": pl.Int32,
        "frames": pl.Int32,
        "phash": pl.UInt64,
        "status": pl.String,
        "reason": pl.String,
    }
)
QUARANTINED = "quarantined"
_ROWS_AT_ONCE = 1 << 16
_SPLIT_NUMBERS: dict[str, int] = {name: number for number, name in enumerate(SPLITS)}


@dataclass(frozen=True, slots=True)
class Manifest:
    """Every image of a data set, one row each, sorted by `record_id`.

    Attributes:
        root: Absolute folder that record ids are relative to.
        class_names: Sorted, at least one; () for images without labels.
        table: Columns of MANIFEST_SCHEMA. `record_id` is a posix path, unique and never null;
            columns that only an audit fills may be null. `bytes` at `begin` of its archive are a
            record's data; without a `begin` it is a file of its own.
        ignored: What the scan passed over, by kind, e.g. {"hidden or system": 3}.
        passed_over: Its first paths, by kind: relative to `root`, sorted, at most 100 of each;
            a name that is not UTF-8 in ASCII, with a backslash before its bytes.
    """

    root: Path
    class_names: tuple[str, ...]
    table: pl.DataFrame
    ignored: Mapping[str, int] = field(default_factory=dict)
    passed_over: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.table.schema != MANIFEST_SCHEMA:
            raise ValueError(
                f"the table must have the columns {MANIFEST_SCHEMA.names()}, got "
                f"{self.table.columns} with {self.table.dtypes}"
            )
        if list(self.class_names) != sorted(set(self.class_names)):
            raise ValueError(f"class_names must be sorted and distinct, got {self.class_names}")
        ids = self.table["record_id"]
        repeated = (ids.slice(1) == ids.head(-1)).any()  # of sorted ids, equal ones are neighbours
        if ids.null_count() or not ids.is_sorted() or repeated:
            raise ValueError("record_id must be sorted, distinct and never null")
        unknown = set(self.table["label"].drop_nulls().unique()) - set(self.class_names)
        if unknown:
            raise ValueError(f"labels {sorted(unknown)} are not in class_names {self.class_names}")
        wrong = set(self.table["split"].drop_nulls().unique()) - set(SPLITS)
        if wrong:
            raise ValueError(f"split must be one of {SPLITS}, got {sorted(wrong)}")
        weight = pl.col("weight")
        odd = self.table.filter(weight.is_nan() | weight.is_infinite() | (weight < 0)).head(1)
        if len(odd):
            raise ValueError(
                f"weights must be finite and not negative, got {odd['weight'][0]} for record "
                f"{odd['record_id'][0]!r}"
            )

    @classmethod
    def make(
        cls,
        root: Path,
        columns: Mapping[str, object] | pl.DataFrame,
        *,
        ignored: Mapping[str, int] | None = None,
        passed_over: Mapping[str, tuple[str, ...]] | None = None,
    ) -> Manifest:
        """Return the manifest of these columns: missing ones are null, rows become sorted.

        The class names are the sorted distinct labels. `weight` defaults to 1.
        """
        table = pl.DataFrame(columns)
        if "weight" not in table.columns:
            table = table.with_columns(weight=pl.lit(1.0))
        table = table.select(
            [
                (pl.col(name) if name in table.columns else pl.lit(None)).cast(dtype).alias(name)
                for name, dtype in MANIFEST_SCHEMA.items()
            ]
        )
        if not table["record_id"].is_sorted():  # a million rows are not sorted for nothing
            table = table.sort("record_id")
        class_names = tuple(sorted(table["label"].drop_nulls().unique().to_list()))
        return cls(root, class_names, table, dict(ignored or {}), dict(passed_over or {}))

    def __len__(self) -> int:
        return len(self.table)

    def with_splits(self, splits: pl.Series) -> Manifest:
        """Return the same manifest with its `split` column replaced."""
        return replace(self, table=self.table.with_columns(splits.alias("split")))

    def of_split(self, split: Split) -> pl.DataFrame:
        """Return the usable rows of one split."""
        return self.table.filter(
            (pl.col("split") == split) & pl.col("status").ne_missing(QUARANTINED)
        )

    def counts(self) -> pl.DataFrame:
        """Return one row a class with the number of usable images in each split.

        Columns: label, train, validation, test, total (Int64); classes in class order. Where a
        record is in the split external, it has a column before the total.
        """
        usable = self.table.filter(pl.col("status").ne_missing(QUARANTINED))
        given = usable["split"].unique()
        names = [name for name in SPLITS if name != "external" or name in given]
        return usable.group_by("label").agg(
            *[(pl.col("split") == name).sum().cast(pl.Int64).alias(name) for name in names],
            pl.len().cast(pl.Int64).alias("total"),
        ).sort("label")  # fmt: skip

    def locate(self, record_id: str) -> Location:
        """Return where the bytes of one record are.

        Raises:
            KeyError: There is no record of that id.
        """
        row = int(self.table["record_id"].search_sorted(record_id))
        if row == len(self) or self.table["record_id"][row] != record_id:
            raise KeyError(record_id)
        begin, size, mtime_ns = (
            -1 if value is None else int(value)
            for value in self.table.select("begin", "bytes", "mtime_ns").row(row)
        )
        file = record_id if begin < 0 else archive_of(record_id)
        return Location(f"{str(self.root).rstrip('/')}/{file}", begin, size, mtime_ns)

    def groups_in_words(self) -> str:
        """Return how many groups there are, and whether the splits keep them together."""
        grouped = self.table.drop_nulls("group")
        sides = grouped.drop_nulls("split").group_by("group").agg(pl.col("split").n_unique())
        divided = sides.filter(pl.col("split") > 1)["group"].sort()
        count = grouped["group"].n_unique()
        if not len(divided):
            return f"{count:,} groups; none is on two sides of the split."
        return (
            f"{count:,} groups, and {len(divided):,} of them are on two sides of the given split, "
            f"such as {divided[0]!r}: figures will look better than they are. Leave the splits "
            "out and Sightline keeps groups together."
        )

    def index(self) -> RecordIndex:
        """Return the flat arrays that a stream needs; quarantined rows belong to no split."""
        table = self.table
        classes = {name: number for number, name in enumerate(self.class_names)}
        usable = table["split"].set(table["status"].eq_missing(QUARANTINED), None)
        names, offsets = join_names(table["record_id"])
        return RecordIndex.make(
            self.root,
            self.class_names,
            names,
            offsets,
            numbers(table["label"], classes, otherwise=-1, dtype=pl.Int32),
            weights=table["weight"].fill_null(1.0).to_numpy(),
            splits=numbers(usable, _SPLIT_NUMBERS, otherwise=NO_SPLIT, dtype=pl.UInt8),
            sizes=known(table["bytes"]),
            mtimes=known(table["mtime_ns"]),
            begins=known(table["begin"]),
            content_digest=digest_of(table["sha256"]),
        )

    def fingerprint(self) -> str:
        """Return the sha256 of what training depends on: ids, labels, groups, splits, sizes."""
        digest = hashlib.sha256(json.dumps(self.class_names).encode())
        columns = ("record_id", "label", "group", "split", "weight", "bytes", "status")
        for column in columns:  # as JSON, so that no two tables give the same bytes
            for text in _as_json(self.table[column]):
                digest.update(text.encode())
        return digest.hexdigest()

    def save(self, path: Path) -> None:
        """Write the table as parquet to `path` and the mapped index to `path` + ".npy".

        Two files, written in place: `runs.save_manifest` replaces each of them in one step, the
        index first.
        """
        about = {
            "schema_version": SCHEMA_VERSION,
            "root": str(self.root),
            "class_names": self.class_names,
            "ignored": dict(self.ignored),
            "passed_over": dict(self.passed_over),
        }
        write_parquet(self.table, path, {"sightline": json.dumps(about)})
        self.index().write(index_path(path))

    @classmethod
    def load(cls, path: Path) -> Manifest:
        """Return the manifest saved at `path`.

        Raises:
            DataError: The file is missing, damaged, not a manifest, or of a newer version.
        """
        if not path.exists():
            raise DataError(f"there is no manifest at {path}. Make one: sightline scan DIR")
        try:
            table, written = read_parquet(path)
            about = json.loads(written["sightline"])
            version = int(about["schema_version"])
        except KeyError as error:
            raise DataError(f"{path} is not a Sightline manifest: it lacks {error}") from error
        except (TypeError, ValueError, pl.exceptions.PolarsError) as error:
            raise DataError(f"{path} is not a Sightline manifest: {error}") from error
        if version > SCHEMA_VERSION:
            raise DataError(
                f"{path} has manifest version {version}; this Sightline knows "
                f"{SCHEMA_VERSION}. Update Sightline, or scan the images again."
            )
        again = "Scan the images again."
        try:
            if version < SCHEMA_VERSION:
                table = _brought_up(table)
            root, class_names = Path(about["root"]), tuple(about["class_names"])
            passed_over = about.get("passed_over", {})  # which older manifests lack
            names = {kind: tuple(paths) for kind, paths in dict(passed_over).items()}
            return cls(root, class_names, table, dict(about["ignored"]), names)
        except KeyError as error:
            raise DataError(f"{path} is damaged: it lacks {error}. {again}") from error
        except (TypeError, ValueError) as error:
            raise DataError(f"{path} is damaged: {error}. {again}") from error


def _brought_up(table: pl.DataFrame) -> pl.DataFrame:
    """Return a table of version 1 with the column `begin`: every record was its own file."""
    if "begin" in table.columns:
        return table
    place = min(MANIFEST_SCHEMA.names().index("begin"), table.width)
    begin = pl.repeat(None, len(table), dtype=pl.Int64, eager=True).alias("begin")
    return table.insert_column(place, begin)


def _as_json(column: pl.Series) -> Iterator[str]:
    """Yield the JSON list of a column's values as text, in parts."""
    yield "["
    for begin in range(0, len(column), _ROWS_AT_ONCE):
        part = column.slice(begin, _ROWS_AT_ONCE).cast(pl.String).to_list()
        yield (", " if begin else "") + json.dumps(part)[1:-1]
    yield "]"


def index_path(manifest_path: Path) -> Path:
    """Return where the mapped index of a saved manifest is."""
    return manifest_path.with_name(manifest_path.name + ".npy")
