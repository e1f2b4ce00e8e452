from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.errors import DataError
from sightline.records import MANIFEST_SCHEMA, Manifest

IDS = ["a/1.png", "a/2.png", "b/ünï 日本.png", "c.png"]
LABELS = ["cat", "cat", "dog", None]


def manifest(**columns: Any) -> Manifest:
    values = {"record_id": IDS, "label": LABELS, "split": ["train", "test", "train", None]}
    return Manifest.make(Path("/root of it"), values | columns, ignored={"hidden or system": 2})


names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)


# --- what a manifest is ----------------------------------------------------------------


def test_rows_become_sorted_by_record_id() -> None:
    made = Manifest.make(Path("/r"), {"record_id": ["b", "a", "C"], "label": ["1", "2", "3"]})
    assert made.table.select("record_id", "label").rows() == [("C", "3"), ("a", "2"), ("b", "1")]


def test_class_names_are_the_sorted_labels() -> None:
    assert manifest(label=["b", "a", "C", "a"]).class_names == ("C", "a", "b")


def test_columns_that_are_left_out_are_null() -> None:
    assert manifest().table["sha256"].null_count() == 4


def test_every_record_weighs_one_unless_told() -> None:
    assert manifest().table["weight"].to_list() == [1.0] * 4


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"record_id": ["a", "a", "b", "c"]}, "record_id must be sorted, distinct and never null"),
        ({"record_id": ["a", None, "b", "c"]}, "record_id must be sorted, distinct and never null"),
        ({"split": ["val", None, None, None]}, r"split must be one of .*, got \['val'\]"),
    ],
)
def test_a_column_that_makes_no_sense_is_refused(columns: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        manifest(**columns)


def test_class_names_that_are_not_sorted_are_refused() -> None:
    with pytest.raises(ValueError, match=r"class_names must be sorted and distinct, got \('dog'"):
        Manifest(Path("/r"), ("dog", "cat"), manifest().table)


def test_a_label_outside_the_class_names_is_refused() -> None:
    with pytest.raises(ValueError, match=r"labels \['dog'\] are not in class_names \('cat',\)"):
        Manifest(Path("/r"), ("cat",), manifest().table)


def test_a_table_with_other_columns_is_refused() -> None:
    with pytest.raises(ValueError, match=r"must have the columns \['record_id', 'label'"):
        Manifest(Path("/r"), (), pl.DataFrame({"record_id": ["a"]}))


def test_a_split_leaves_out_what_is_quarantined() -> None:
    made = manifest(status=["quarantined", None, "ok", None])
    assert made.of_split("train")["record_id"].to_list() == ["b/ünï 日本.png"]


def test_counts_are_of_usable_images_in_class_order() -> None:
    made = manifest(label=["b", "b", "a", "a"], status=["quarantined", None, "ok", None])
    assert made.counts().rows() == [("a", 1, 0, 0, 2), ("b", 0, 0, 1, 1)]


def test_external_images_are_counted_only_where_there_are_any() -> None:
    rows = {"record_id": ["x", "y"], "label": ["a", "b"]}
    without = Manifest.make(Path("/r"), {**rows, "split": ["train", "test"]})
    assert "external" not in without.counts().columns
    made = Manifest.make(Path("/r"), {**rows, "split": ["train", "external"]})
    assert made.counts().columns == ["label", "train", "validation", "test", "external", "total"]
    assert made.counts().rows() == [("a", 1, 0, 0, 0, 1), ("b", 0, 0, 0, 1, 1)]


def test_new_splits_replace_the_old_ones_and_nothing_else() -> None:
    before = manifest()
    after = before.with_splits(pl.Series(["test"] * 4))
    assert after.table["split"].to_list() == ["test"] * 4
    assert after.table.drop("split").equals(before.table.drop("split"))


# --- the fingerprint -------------------------------------------------------------------


@pytest.mark.parametrize(
    "columns",
    [
        {"record_id": [*IDS[:3], "d.png"]},
        {"label": ["cat", "dog", "dog", None]},
        {"label": ["cat", "cat", "dog", "dog"]},
        {"split": ["train", "test", "validation", None]},
        {"group": ["g", None, None, None]},
        {"weight": [1, 1, 1, 2]},
        {"bytes": [1, 2, 3, 4]},
        {"status": ["quarantined", None, None, None]},
    ],
)
def test_the_fingerprint_changes_with_what_training_depends_on(columns: dict[str, Any]) -> None:
    assert manifest(**columns).fingerprint() != manifest().fingerprint()


@pytest.mark.parametrize("columns", [{"mtime_ns": [1, 2, 3, 4]}, {"width": [9, 9, 9, 9]}])
def test_the_fingerprint_does_not_depend_on_times_or_an_audit(columns: dict[str, Any]) -> None:
    assert manifest(**columns).fingerprint() == manifest().fingerprint()


def test_the_fingerprint_does_not_depend_on_where_the_images_lie() -> None:
    here, there = (Manifest.make(Path(root), {"record_id": ["a"]}) for root in ("/x", "/y"))
    assert here.fingerprint() == there.fingerprint()


def test_text_that_moves_from_one_column_to_the_next_changes_the_fingerprint() -> None:
    one = Manifest.make(Path("/r"), {"record_id": ["ab"], "label": ["x"], "group": ["y"]})
    two = Manifest.make(Path("/r"), {"record_id": ["ab"], "label": ["x"], "split": [None]})
    assert one.fingerprint() != two.fingerprint()


def test_a_separator_inside_a_name_cannot_imitate_two_records() -> None:
    one = Manifest.make(Path("/r"), {"record_id": ["a", "b\x1fc"], "group": ["d", "e"]})
    two = Manifest.make(Path("/r"), {"record_id": ["a\x1fb", "c"], "group": ["d", "e"]})
    assert one.fingerprint() != two.fingerprint()


# --- saved and loaded ------------------------------------------------------------------


def test_a_saved_manifest_comes_back_as_it_was(tmp_path: Path) -> None:
    before = manifest(phash=[2**64 - 1, None, 0, 1], fold=[0, 1, None, 2])
    before.save(tmp_path / "m.parquet")
    after = Manifest.load(tmp_path / "m.parquet")
    assert (after.root, after.class_names) == (before.root, before.class_names)
    assert dict(after.ignored) == {"hidden or system": 2}
    assert after.table.equals(before.table)


def test_the_names_of_what_was_passed_over_are_saved(tmp_path: Path) -> None:
    names = {"hidden or system": (".a", "ünï/.b"), "not an image": ("x.txt",)}
    before = Manifest.make(Path("/r"), {"record_id": IDS, "label": LABELS}, passed_over=names)
    before.save(tmp_path / "m.parquet")
    assert Manifest.load(tmp_path / "m.parquet").passed_over == names


def test_a_manifest_of_before_there_were_such_names_has_none(tmp_path: Path) -> None:
    manifest().save(tmp_path / "m.parquet")
    about = json.loads(pl.read_parquet_metadata(tmp_path / "m.parquet")["sightline"])
    del about["passed_over"]
    manifest().table.write_parquet(
        tmp_path / "m.parquet", metadata={"sightline": json.dumps(about)}
    )
    assert Manifest.load(tmp_path / "m.parquet").passed_over == {}


@settings(deadline=None, max_examples=30)
@given(records=st.dictionaries(names, st.one_of(st.none(), names), min_size=1, max_size=20))
def test_any_names_come_back_with_the_same_fingerprint(
    tmp_path_factory: pytest.TempPathFactory, records: dict[str, str | None]
) -> None:
    path = tmp_path_factory.mktemp("saved") / "m.parquet"
    before = Manifest.make(Path("/r"), {"record_id": [*records], "label": [*records.values()]})
    before.save(path)
    assert Manifest.load(path).fingerprint() == before.fingerprint()


def test_a_manifest_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"no manifest at {tmp_path}/m\.parquet\. Make one"):
        Manifest.load(tmp_path / "m.parquet")


def test_a_file_that_is_no_parquet_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.parquet").write_text("not a table")
    with pytest.raises(DataError, match=r"m\.parquet is not a Sightline manifest"):
        Manifest.load(tmp_path / "m.parquet")


def test_a_parquet_file_of_someone_else_is_refused(tmp_path: Path) -> None:
    pl.DataFrame(schema=MANIFEST_SCHEMA).write_parquet(tmp_path / "m.parquet")
    with pytest.raises(DataError, match=r"m\.parquet is not a Sightline manifest"):
        Manifest.load(tmp_path / "m.parquet")


def test_a_manifest_of_a_later_version_is_refused(tmp_path: Path) -> None:
    manifest().table.write_parquet(
        tmp_path / "m.parquet",
        metadata={"sightline": '{"schema_version": 99, "root": "/r", "class_names": []}'},
    )
    with pytest.raises(DataError, match=r"manifest version 99; this Sightline knows 2\. Update"):
        Manifest.load(tmp_path / "m.parquet")


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ("{", r"m\.parquet is not a Sightline manifest: Expecting"),
        ("[]", r"m\.parquet is not a Sightline manifest"),
        ("{}", r"m\.parquet is not a Sightline manifest: it lacks 'schema_version'"),
        (
            '{"schema_version": 1}',
            r"m\.parquet is damaged: it lacks 'root'\. Scan the images again",
        ),
        (
            '{"schema_version": 1, "root": "/r", "class_names": ["a", "b"]}',
            r"m\.parquet is damaged: it lacks 'ignored'",
        ),
        (
            '{"schema_version": 1, "root": "/r", "class_names": [], "ignored": {}}',
            r"m\.parquet is damaged: labels \['cat', 'dog'\] are not in class_names",
        ),
        (
            '{"schema_version": 2, "root": "/r", "class_names": ["cat", "dog"], "ignored": {}, '
            '"passed_over": 3}',
            r"m\.parquet is damaged: 'int' object is not iterable",
        ),
    ],
)
def test_a_manifest_whose_description_is_damaged_is_refused(
    tmp_path: Path, about: str, message: str
) -> None:
    manifest().table.write_parquet(tmp_path / "m.parquet", metadata={"sightline": about})
    with pytest.raises(DataError, match=message):
        Manifest.load(tmp_path / "m.parquet")


def test_a_manifest_without_one_of_its_columns_is_refused(tmp_path: Path) -> None:
    manifest().save(tmp_path / "m.parquet")
    about = pl.read_parquet_metadata(tmp_path / "m.parquet")["sightline"]
    table = pl.read_parquet(tmp_path / "m.parquet").drop("phash")
    table.write_parquet(tmp_path / "m.parquet", metadata={"sightline": about})
    with pytest.raises(DataError, match=r"m\.parquet is damaged: the table must have the columns"):
        Manifest.load(tmp_path / "m.parquet")


def test_a_manifest_of_the_first_version_is_read_as_files_of_their_own(tmp_path: Path) -> None:
    manifest().save(tmp_path / "m.parquet")
    about = pl.read_parquet_metadata(tmp_path / "m.parquet")["sightline"]
    table = pl.read_parquet(tmp_path / "m.parquet").drop("begin")
    first = about.replace('"schema_version": 2', '"schema_version": 1')
    assert first != about
    table.write_parquet(tmp_path / "m.parquet", metadata={"sightline": first})
    assert Manifest.load(tmp_path / "m.parquet").table.equals(manifest().table)
