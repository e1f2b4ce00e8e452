"""What is kept between audits: reused while it holds, forgotten when anything has changed."""

from __future__ import annotations

import os
import stat
import threading
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from sightline.data.auditing import known as known_module
from sightline.data.auditing.children import inspect_all
from sightline.data.auditing.inspected import INSPECTED_SCHEMA
from sightline.data.auditing.known import NOW_SCHEMA, Known, files_now, outcome_key
from sightline.data.images import encode_png
from sightline.records import Manifest
from sightline.records.audit import PAIRS_SCHEMA, QUARANTINE_SCHEMA, Audit
from sightline.records.finding import Finding

VERDICTS = pl.Schema({"sha256_a": pl.String, "similarity": pl.Float32})


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    """Four files of one class, one of them empty."""
    root = tmp_path / "images"
    root.mkdir()
    for number in range(4):
        content = encode_png(np.full((8, 8, 3), number, np.uint8)) if number else b""
        (root / f"{number}.png").write_bytes(content)
    names = [f"{number}.png" for number in range(4)]
    return Manifest.make(root, {"record_id": names, "label": ["a"] * 4})


@pytest.fixture
def inspected(manifest: Manifest) -> pl.DataFrame:
    return inspect_all(manifest, range(4), workers=1)


@pytest.fixture
def kept(manifest: Manifest, inspected: pl.DataFrame, tmp_path: Path) -> Known:
    """A place where the rows of all four files are kept."""
    known = Known(tmp_path / "keep", manifest.root)
    known.save_rows(inspected, max_megapixels=64)
    return known


def reused(known: Known, manifest: Manifest, *, max_megapixels: float = 64) -> list[str]:
    rows = known.load_rows(manifest, files_now(manifest), max_megapixels=max_megapixels)
    return rows["record_id"].to_list()


def outcome(manifest: Manifest, *reasons: str) -> Audit:
    quarantine = pl.DataFrame(
        {"record_id": list(map(str, range(len(reasons)))), "reason_code": list(reasons)}
    )
    missing = [
        pl.lit(None, dtype).alias(name)
        for name, dtype in QUARANTINE_SCHEMA.items()
        if name not in quarantine.columns
    ]
    quarantine = quarantine.with_columns(missing).select(QUARANTINE_SCHEMA.names())
    finding = Finding("dark-images", "info", "2 are dark", {"record_ids": ["1.png"]})
    pairs = PAIRS_SCHEMA.to_frame()
    return Audit(manifest, (finding,), pairs, quarantine.cast(dict(QUARANTINE_SCHEMA)), 4, 0, 1.5)


def test_rows_of_unchanged_files_are_reused_as_they_were(
    kept: Known, manifest: Manifest, inspected: pl.DataFrame
) -> None:
    rows = kept.load_rows(manifest, files_now(manifest), max_megapixels=64)
    assert rows.equals(inspected)
    assert rows.schema == INSPECTED_SCHEMA


def test_a_changed_file_is_not_reused(kept: Known, manifest: Manifest) -> None:
    (manifest.root / "1.png").write_bytes(b"longer than it was")
    about = (manifest.root / "2.png").stat()
    os.utime(manifest.root / "2.png", ns=(0, about.st_mtime_ns + 1))
    (manifest.root / "3.png").unlink()
    assert reused(kept, manifest) == ["0.png"]


def test_what_the_manifest_says_of_a_file_does_not_count(kept: Known, manifest: Manifest) -> None:
    stale = Manifest.make(manifest.root, manifest.table.with_columns(bytes=5, mtime_ns=5))
    assert len(reused(kept, stale)) == 4


@pytest.mark.parametrize("version", ["DECODER_VERSION", "FINGERPRINT_VERSION", "INSPECT_VERSION"])
def test_rows_of_another_version_or_limit_are_not_reused(
    version: str, kept: Known, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert reused(kept, manifest, max_megapixels=63) == []
    monkeypatch.setattr(known_module, version, 1_000)
    assert reused(kept, manifest) == []


@pytest.mark.parametrize("reason", ["UNREADABLE", "MISSING", "CRASHED_DECODER"])
def test_files_that_could_not_be_read_are_tried_again(
    reason: str, kept: Known, manifest: Manifest, inspected: pl.DataFrame
) -> None:
    assert "0.png" in reused(kept, manifest)  # EMPTY stays so
    first = pl.col("record_id") == "0.png"
    again = inspected.with_columns(reason=pl.when(first).then(pl.lit(reason)).otherwise("reason"))
    kept.save_rows(again, max_megapixels=64)
    assert reused(kept, manifest) == ["1.png", "2.png", "3.png"]


def test_rows_of_other_records_stay(
    kept: Known, manifest: Manifest, inspected: pl.DataFrame
) -> None:
    kept.save_rows(inspected.head(1), max_megapixels=64)
    assert len(reused(kept, manifest)) == 4


def test_a_record_of_an_archive_that_was_written_since_the_scan_is_not_reused(
    tmp_path: Path,
) -> None:
    archive = tmp_path / "a.tar"
    archive.write_bytes(bytes(100))
    now = archive.stat().st_mtime_ns
    columns = {"record_id": ["a.tar/x.png"], "begin": [5], "bytes": [7], "mtime_ns": [now]}
    fresh = Manifest.make(tmp_path, columns)
    stale = Manifest.make(tmp_path, {**columns, "mtime_ns": [now - 1]})
    assert files_now(fresh).rows() == [(7, now)]
    row = pl.DataFrame({"record_id": ["a.tar/x.png"], "bytes": [7], "mtime_ns": [now], "status": ["ok"]})  # fmt: skip  # noqa: E501
    missing = [
        pl.lit(None, t).alias(n) for n, t in INSPECTED_SCHEMA.items() if n not in row.columns
    ]
    known = Known(tmp_path / "keep", tmp_path)
    rows = row.with_columns(missing).select(INSPECTED_SCHEMA.names())
    known.save_rows(rows, max_megapixels=64)
    assert reused(known, fresh) == ["a.tar/x.png"]
    assert reused(known, stale) == []


def test_without_a_folder_nothing_is_kept(manifest: Manifest, inspected: pl.DataFrame) -> None:
    known = Known(None, manifest.root)
    known.save_rows(inspected, max_megapixels=64)
    known.save_verdicts(VERDICTS.to_frame(), version=1)
    known.save_outcome("key", outcome(manifest))
    assert reused(known, manifest) == []
    assert known.load_outcome("key") is None
    assert known.load_verdicts(VERDICTS, version=1).equals(VERDICTS.to_frame())


def test_verdicts_are_kept_for_their_version(kept: Known) -> None:
    verdicts = pl.DataFrame({"sha256_a": ["ab"], "similarity": [0.5]}, schema=VERDICTS)
    kept.save_verdicts(verdicts, version=3)
    assert kept.load_verdicts(VERDICTS, version=3).equals(verdicts)
    assert not len(kept.load_verdicts(VERDICTS, version=4))
    assert not len(kept.load_verdicts(pl.Schema({"other": pl.Int64}), version=3))


def test_an_outcome_comes_back_with_what_was_passed_over(kept: Known, manifest: Manifest) -> None:
    scanned = Manifest.make(
        manifest.root, manifest.table, ignored={"hidden": 2}, passed_over={"hidden": (".a", ".b")}
    )
    kept.save_outcome("key", outcome(scanned))
    again = kept.load_outcome("key")
    assert again is not None
    assert again.manifest.ignored == {"hidden": 2}
    assert again.manifest.passed_over == {"hidden": (".a", ".b")}


def test_an_outcome_comes_back_as_it_was(kept: Known, manifest: Manifest) -> None:
    audit = outcome(manifest, "EMPTY")
    kept.save_outcome("key", audit)
    again = kept.load_outcome("key")
    assert again is not None
    assert again.manifest.table.equals(manifest.table)
    assert (again.manifest.root, again.manifest.class_names) == (manifest.root, ("a",))
    assert again.findings == audit.findings
    assert again.quarantine.equals(audit.quarantine)
    assert (again.num_read, again.num_reused) == (0, 4)
    assert kept.load_outcome("another key") is None


@pytest.mark.parametrize("reason", ["UNREADABLE", "MISSING", "CRASHED_DECODER"])
def test_an_outcome_with_a_file_to_try_again_is_not_kept(
    reason: str, kept: Known, manifest: Manifest
) -> None:
    kept.save_outcome("key", outcome(manifest, "EMPTY", reason))
    assert kept.load_outcome("key") is None


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("label", "b"), ("group", "g"), ("split", "train"), ("fold", 1), ("weight", 2.0),
        ("sha256", "0" * 64), ("status", "ok"), ("record_id", "9.png"),
    ],
)  # fmt: skip
def test_the_key_of_an_outcome_depends_on_every_column(
    column: str, value: object, manifest: Manifest
) -> None:
    last = pl.arange(pl.len()) == 3
    changed = pl.when(last).then(pl.lit(value)).otherwise(column).alias(column)
    other = Manifest.make(manifest.root, manifest.table.with_columns(changed))
    now = files_now(manifest)
    assert outcome_key(other, now, {}) != outcome_key(manifest, now, {})


def test_the_key_of_an_outcome_depends_on_files_settings_and_what_was_ignored(
    manifest: Manifest,
) -> None:
    now = files_now(manifest)
    ignoring, another = (
        Manifest.make(
            manifest.root, manifest.table, ignored={"hidden": 1}, passed_over={"hidden": (name,)}
        )
        for name in (".a", ".b")
    )
    longer, later, gone = (
        now.with_columns(**{name: change})
        for name, change in (
            ("bytes", pl.col("bytes") + 1),
            ("mtime_ns", pl.col("mtime_ns") + 1),
            ("bytes", pl.lit(None, pl.Int64)),
        )
    )
    keys = [
        outcome_key(manifest, now, {}),
        outcome_key(manifest, now, {"limit": 1}),
        outcome_key(ignoring, now, {}),
        outcome_key(another, now, {}),
        *(outcome_key(manifest, other, {}) for other in (longer, later, gone)),
    ]
    assert len(set(keys)) == len(keys)
    assert outcome_key(manifest, files_now(manifest), {}) == keys[0]


def test_a_missing_file_has_no_size_now(manifest: Manifest) -> None:
    (manifest.root / "0.png").unlink()
    now = files_now(manifest)
    assert now.schema == NOW_SCHEMA
    assert now.row(0) == (None, None)


def test_the_folder_is_for_this_user_alone(kept: Known, tmp_path: Path) -> None:
    folders = [tmp_path / "keep", *(tmp_path / "keep").iterdir()]
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in folders] == [0o700] * 2


@pytest.mark.parametrize("place", [0, 7, -9, -1])
@pytest.mark.parametrize("suffix", [".json", ".parquet"])
def test_a_damaged_file_is_as_if_it_had_never_been_kept(
    place: int, suffix: str, kept: Known, manifest: Manifest, tmp_path: Path
) -> None:
    (path,) = (tmp_path / "keep").glob(f"*/rows*{suffix}")
    content = bytearray(path.read_bytes())
    content[place] ^= 8
    path.write_bytes(content)
    assert len(reused(kept, manifest)) in ((0, 4) if suffix == ".json" else (0,))
    path.write_bytes(content[: len(content) // 2])
    assert reused(kept, manifest) == []


def test_what_cannot_be_written_is_not_kept(
    manifest: Manifest, inspected: pl.DataFrame, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"")
    known = Known(tmp_path / "file", manifest.root)
    known.save_rows(inspected, max_megapixels=64)
    assert reused(known, manifest) == []


def test_two_that_keep_at_once_leave_one_whole(
    manifest: Manifest, inspected: pl.DataFrame, tmp_path: Path
) -> None:
    def save() -> None:
        for _ in range(10):
            Known(tmp_path / "keep", manifest.root).save_rows(inspected, max_megapixels=64)

    threads = [threading.Thread(target=save) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(reused(Known(tmp_path / "keep", manifest.root), manifest)) == 4
    assert len(list((tmp_path / "keep").rglob("*"))) == 3  # a folder with a JSON and a parquet


def test_an_unchanged_set_of_5000_is_known_in_a_fraction_of_a_second(tmp_path: Path) -> None:
    root = tmp_path / "many"
    root.mkdir()
    names = [f"{number:04d}.png" for number in range(5000)]
    for name in names:
        (root / name).touch()
    manifest = Manifest.make(root, {"record_id": names, "label": ["a"] * 5000})
    known = Known(tmp_path / "keep", root)
    key = outcome_key(manifest, files_now(manifest), {})
    known.save_outcome(key, outcome(manifest))
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        assert known.load_outcome(outcome_key(manifest, files_now(manifest), {})) is not None
        seconds.append(time.perf_counter() - began)
    assert min(seconds) < 0.5  # 0.02 on an idle machine
