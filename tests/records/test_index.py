from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.errors import DataError
from sightline.records import SPLITS, Location, Manifest, RecordIndex
from sightline.records.columns import join_names

IDS = ["a/1.png", "a/2.png", "b/ünï 日本.png", "c.png"]
LABELS = ["cat", "cat", "dog", None]
KNOWN = {"bytes": [5, 6, 7, 8], "mtime_ns": [50, 60, 70, 80]}
SECTIONS = ("names", "offsets", "labels", "weights", "splits", "by_split")
OPTIONAL = ("sizes", "mtimes", "begins")


def manifest(**columns: Any) -> Manifest:
    values = {"record_id": IDS, "label": LABELS, "split": ["train", "test", "train", None]}
    return Manifest.make(Path("/root of it"), values | columns)


def saved_index(tmp_path: Path, **columns: Any) -> Path:
    manifest(**columns).save(tmp_path / "m.parquet")
    return tmp_path / "m.parquet.npy"


def ids(index: RecordIndex) -> list[str]:
    return [index.record_id(row) for row in range(len(index))]


def same(one: RecordIndex, other: RecordIndex) -> bool:
    """Return whether two indexes hold the same, wherever their arrays are."""
    for name in (*SECTIONS, *OPTIONAL):
        mine, theirs = getattr(one, name), getattr(other, name)
        if (mine is None) != (theirs is None):
            return False
        if mine is not None and (mine.dtype != theirs.dtype or mine.tolist() != theirs.tolist()):
            return False
    return all(
        getattr(one, name) == getattr(other, name)
        for name in ("root", "class_names", "bounds", "content_digest")
    )


names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)
whole = st.one_of(st.none(), st.integers(0, 2**60))
rows = st.fixed_dictionaries(
    {
        "label": st.one_of(st.none(), names),
        "split": st.sampled_from([None, *SPLITS]),
        "weight": st.floats(0, 9, width=32),
        "bytes": whole,
        "mtime_ns": whole,
        "begin": whole,
        "sha256": st.one_of(st.none(), st.just("0" * 64)),
        "status": st.sampled_from([None, "quarantined"]),
    }
)


# --- written and mapped ----------------------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(records=st.dictionaries(names, rows, max_size=20))
def test_any_index_comes_back_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, records: dict[str, dict[str, Any]]
) -> None:
    path = tmp_path_factory.mktemp("index") / "x.npy"
    table = pl.DataFrame(
        [{"record_id": name, **row} for name, row in records.items()],
        schema={"record_id": pl.String, "label": pl.String, "split": pl.String,
                "weight": pl.Float32, "bytes": pl.Int64, "mtime_ns": pl.Int64,
                "begin": pl.Int64, "sha256": pl.String, "status": pl.String},
    )  # fmt: skip
    made = Manifest.make(Path("/r"), table).index()
    made.write(path)
    mapped = RecordIndex.open(path)
    assert same(mapped, made)
    assert ids(mapped) == sorted(records)
    assert mapped.fingerprint() == made.fingerprint()


def test_the_mapped_index_is_the_index_of_the_manifest(tmp_path: Path) -> None:
    assert same(RecordIndex.open(saved_index(tmp_path, **KNOWN)), manifest(**KNOWN).index())


def test_the_mapped_index_knows_every_record_id(tmp_path: Path) -> None:
    assert ids(RecordIndex.open(saved_index(tmp_path))) == IDS


@pytest.mark.parametrize("name", SECTIONS)
def test_the_mapped_index_is_mapped_and_cannot_be_written(tmp_path: Path, name: str) -> None:
    mapped = RecordIndex.open(saved_index(tmp_path))
    with pytest.raises(ValueError, match="read-only"):
        getattr(mapped, name)[0] = 5


def test_every_section_of_the_file_lies_where_its_numbers_are_aligned(tmp_path: Path) -> None:
    mapped = RecordIndex.open(saved_index(tmp_path, **KNOWN))
    assert all(getattr(mapped, name).flags.aligned for name in (*SECTIONS, "sizes", "mtimes"))


def test_the_file_of_an_index_is_an_array_that_numpy_reads(tmp_path: Path) -> None:
    flat = np.load(saved_index(tmp_path))
    assert (flat.dtype, flat.ndim) == (np.uint8, 1)
    assert flat[:8].tobytes() == b"SLINDEX2"


def test_an_empty_manifest_has_an_empty_index(tmp_path: Path) -> None:
    Manifest.make(Path("/r"), {"record_id": [], "label": []}).save(tmp_path / "m.parquet")
    mapped = RecordIndex.open(tmp_path / "m.parquet.npy")
    assert (len(mapped), len(mapped.rows_of("train")), len(mapped.rows_of(None))) == (0, 0, 0)


def test_pixels_are_not_written(tmp_path: Path) -> None:
    pixels = np.zeros((4, 100, 100, 3), np.uint8)
    made = manifest().index()
    index = RecordIndex.make(
        made.root, made.class_names, made.names, made.offsets, made.labels, pixels=pixels
    )
    index.write(tmp_path / "x.npy")
    assert (tmp_path / "x.npy").stat().st_size < 1000
    assert RecordIndex.open(tmp_path / "x.npy").pixels is None


def test_names_of_many_parts_are_joined_in_order() -> None:
    many = [f"{number:06d}/ü{'x' * (number % 3)}.png" for number in range(150_000)]
    blob, offsets = join_names(pl.Series(many))
    assert blob.tobytes().decode() == "".join(many)
    assert (np.diff(offsets) == [len(name.encode()) for name in many]).all()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="counts resident pages of Linux")
def test_opening_a_large_index_takes_no_memory(tmp_path: Path) -> None:
    rows = 500_000
    index = RecordIndex.make(
        Path("/r"), ("a",), np.zeros(20 * rows, np.uint8),
        np.arange(rows + 1, dtype=np.uint32) * 20, np.zeros(rows, np.int32),
    )  # fmt: skip
    index.write(tmp_path / "x.npy")
    program = f"""
from pathlib import Path
from sightline.records import RecordIndex
def resident():
    (line,) = (line for line in open("/proc/self/status") if line.startswith("VmRSS"))
    return int(line.split()[1])
before = resident()
index = RecordIndex.open(Path({str(tmp_path / "x.npy")!r}))
print(len(index), len(index.rows_of(None)), resident() - before)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    opened, listed, kilobytes = (int(word) for word in done.stdout.split())
    assert (opened, listed) == (rows, rows)
    assert kilobytes < 1000
    assert (tmp_path / "x.npy").stat().st_size > 18_000_000


# --- what a row is ---------------------------------------------------------------------


def test_the_path_of_a_row_is_below_the_root() -> None:
    assert manifest().index().path(2) == "/root of it/b/ünï 日本.png"


def test_a_path_below_the_root_of_all_has_one_slash() -> None:
    assert Manifest.make(Path("/"), {"record_id": ["a.png"]}).index().path(0) == "/a.png"


def test_the_path_of_a_record_in_an_archive_is_that_of_the_archive() -> None:
    names = ["in.tar.d/x.png", "s/1.tar/a.png", "s/2.TAR/b/c.tar/d.png", "s/3.tar"]
    index = Manifest.make(Path("/r"), {"record_id": names, "begin": [None, 512, 9, None]}).index()
    paths = [index.path(row) for row in range(4)]
    assert paths == ["/r/in.tar.d/x.png", "/r/s/1.tar", "/r/s/2.TAR", "/r/s/3.tar"]


def test_a_location_has_the_place_size_and_time() -> None:
    index = manifest(**KNOWN, begin=[None, 512, None, None], record_id=["a", "b.tar/c", "d", "e"])
    found = index.index().location(1)
    assert found == Location("/root of it/b.tar", 512, 6, 60)
    assert index.index().location(0) == Location("/root of it/a", -1, 5, 50)


def test_what_is_not_known_of_a_location_is_minus_one() -> None:
    index = manifest(bytes=[None, 6, None, None]).index()
    assert index.location(0) == Location("/root of it/a/1.png", -1, -1, -1)
    assert (index.location(1).size, index.mtimes, index.begins) == (6, None, None)


def test_labels_of_the_index_point_into_the_class_names() -> None:
    assert manifest().index().labels.tolist() == [0, 0, 1, -1]


def test_every_record_weighs_one_and_has_no_split_unless_told() -> None:
    made = manifest().index()
    index = RecordIndex.make(made.root, made.class_names, made.names, made.offsets, made.labels)
    assert index.weights.tolist() == [1.0] * 4
    assert index.bounds == (0, 0, 0, 0, 4)


# --- the rows of a split ---------------------------------------------------------------


@settings(deadline=None)
@given(splits=st.lists(st.sampled_from([0, 1, 2, 3, 255]), max_size=60))
def test_the_splits_share_out_the_rows_in_order(splits: list[int]) -> None:
    index = RecordIndex.make(
        Path("/r"), (), np.zeros(0, np.uint8), np.zeros(len(splits) + 1, np.uint32),
        np.zeros(len(splits), np.int32), splits=np.asarray(splits, np.uint8),
    )  # fmt: skip
    for number, split in enumerate(SPLITS):
        expected = [row for row, given in enumerate(splits) if given == number]
        assert index.rows_of(split).tolist() == expected
    assert index.rows_of(None).tolist() == list(range(len(splits)))


def test_the_rows_are_grouped_alike_beyond_one_part() -> None:
    splits = np.random.default_rng(0).choice(np.asarray([0, 1, 2, 255], np.uint8), 200_000)
    none, offsets = np.zeros(0, np.uint8), np.zeros(len(splits) + 1, np.uint32)
    index = RecordIndex.make(Path("/r"), (), none, offsets, np.zeros(200_000), splits=splits)
    for number, split in enumerate(SPLITS):
        np.testing.assert_array_equal(index.rows_of(split), np.flatnonzero(splits == number))


def test_rows_of_a_split_leave_out_what_is_quarantined() -> None:
    index = manifest(status=["quarantined", None, "ok", None]).index()
    assert index.rows_of("train").tolist() == [2]


def test_without_a_split_the_index_gives_every_row() -> None:
    assert manifest().index().rows_of(None).tolist() == [0, 1, 2, 3]


def test_rows_are_a_view_of_the_map_that_cannot_be_written(tmp_path: Path) -> None:
    mapped = RecordIndex.open(saved_index(tmp_path))
    found = mapped.rows_of("train")
    assert np.shares_memory(found, mapped.by_split)
    assert found.dtype == np.uint32
    with pytest.raises(ValueError, match="read-only"):
        found[0] = 5


@pytest.mark.parametrize("split", [None, "train"])
def test_every_row_of_one_group_is_a_view_too(split: str | None) -> None:
    index = manifest(split=[split] * 4).index()
    assert np.shares_memory(index.rows_of(None), index.by_split)


def test_asking_for_rows_leaves_the_index_as_it_was() -> None:
    index = manifest().index()
    with pytest.raises(ValueError, match="read-only"):
        index.rows_of("train")[0] = 1
    assert index.by_split.flags.writeable


def test_an_unknown_split_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"one of \('train', .*'external'\) or None, got 'val'"):
        manifest().index().rows_of("val")  # type: ignore[arg-type]


def test_external_rows_add_a_bound_and_come_last(tmp_path: Path) -> None:
    splits = ["external", "train", None, "external"]
    index = manifest().with_splits(pl.Series(splits)).index()
    assert index.bounds == (0, 1, 1, 1, 2, 4)
    index.write(tmp_path / "index.npy")
    mapped = RecordIndex.open(tmp_path / "index.npy")
    assert mapped.rows_of("external").tolist() == [0, 3]
    assert mapped.rows_of("train").tolist() == [1]


# --- the fingerprint -------------------------------------------------------------------


@pytest.mark.parametrize(
    "columns",
    [
        {"record_id": [*IDS[:3], "d.png"]},
        {"bytes": [5, 6, 7, 9]},
        {"mtime_ns": [50, 60, 70, 81]},
        {"begin": [None, None, None, 0]},
    ],
)
def test_the_fingerprint_changes_with_the_files(columns: dict[str, Any]) -> None:
    changed = manifest(**{**KNOWN, **columns}).index().fingerprint()
    assert changed != manifest(**KNOWN).index().fingerprint()


@pytest.mark.parametrize("columns", [{"label": ["cat"] * 4}, {"split": [None] * 4}, {"weight": 2}])
def test_the_fingerprint_does_not_depend_on_what_pixels_do_not(columns: dict[str, Any]) -> None:
    changed = manifest(**{**KNOWN, **columns}).index().fingerprint()
    assert changed == manifest(**KNOWN).index().fingerprint()


def test_the_fingerprint_depends_on_the_root_without_contents() -> None:
    one, other = (Manifest.make(Path(r), {"record_id": ["a"], "bytes": [1], "mtime_ns": [1]})
                  for r in ("/x", "/y"))  # fmt: skip
    assert one.index().fingerprint() != other.index().fingerprint()


def test_the_fingerprint_of_known_contents_depends_on_nothing_else() -> None:
    sums = [f"{number:064x}" for number in range(4)]
    known, moved = manifest(**KNOWN, sha256=sums), manifest(sha256=sums)
    assert known.index().fingerprint() == moved.index().fingerprint()
    assert manifest(sha256=sums[::-1]).index().fingerprint() != known.index().fingerprint()


@pytest.mark.parametrize(
    "columns",
    [
        {"bytes": [None] * 4},
        {"mtime_ns": [None] * 4},
        {"bytes": [5, 6, None, 8]},
        {"mtime_ns": [50, 60, 70, None]},
    ],
)
def test_without_every_size_and_time_there_is_no_fingerprint(columns: dict[str, Any]) -> None:
    assert manifest(**{**KNOWN, **columns}).index().fingerprint() is None


def test_one_content_that_is_not_known_leaves_the_digest_out() -> None:
    index = manifest(sha256=["0" * 64, None, "1" * 64, "2" * 64]).index()
    assert index.content_digest is None


# --- files that are no index -----------------------------------------------------------


@pytest.mark.parametrize("kept", [0, 10, 90, 150, -1])
def test_an_index_that_is_cut_short_is_refused(tmp_path: Path, kept: int) -> None:
    path = saved_index(tmp_path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"m\.parquet\.npy .*Scan the images again"):
        RecordIndex.open(path)


@pytest.mark.parametrize(
    "array", [np.zeros(100, np.uint8), np.zeros((4, 8)), np.float64(1.5), np.zeros(3, np.uint8)]
)
def test_another_array_is_no_index(tmp_path: Path, array: Any) -> None:
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(DataError, match=r"x\.npy .*Scan the images again"):
        RecordIndex.open(tmp_path / "x.npy")


def test_an_index_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"x\.npy cannot be read as an index"):
        RecordIndex.open(tmp_path / "x.npy")


def test_an_index_of_the_first_form_is_refused_as_such(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.frombuffer(b"SLINDEX1" + bytes(100), np.uint8))
    with pytest.raises(DataError, match=r"x\.npy is an index of an earlier Sightline\. Scan"):
        RecordIndex.open(tmp_path / "x.npy")


def described_anew(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the description of an index and leave its sections."""
    flat = np.load(path).tobytes()
    size = int.from_bytes(flat[8:16], "little")
    about = json.loads(flat[16 : 16 + size])
    change(about)
    blob = json.dumps(about).encode()
    begin = 16 + size + -size % 8
    parts = (flat[:8], len(blob).to_bytes(8, "little"), blob, bytes(-len(blob) % 8), flat[begin:])
    np.save(path, np.frombuffer(b"".join(parts), np.uint8))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda about: about["sections"]["names"].__setitem__(2, 99), "its header promises"),
        (lambda about: about["sections"]["labels"].__setitem__(0, "<f4"), "its section 'labels'"),
        (lambda about: about["sections"]["by_split"].__setitem__(2, 3), "its section 'by_split'"),
        (lambda about: about["sections"]["splits"].__setitem__(1, 3), "its section 'splits'"),
        (lambda about: about["bounds"].pop(), r"it has the bounds \(0, 2, 2, 3\) for 4 rows"),
        (lambda about: about.pop("bounds"), "bounds"),
        (lambda about: about.pop("root"), "root"),
    ],
)
def test_an_index_whose_inside_lies_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    path = saved_index(tmp_path)
    described_anew(path, change)
    with pytest.raises(DataError, match=rf"is damaged: .*{message}.*Scan the images again"):
        RecordIndex.open(path)


def test_a_description_that_changes_nothing_is_still_read(tmp_path: Path) -> None:
    path = saved_index(tmp_path)
    described_anew(path, lambda about: about.update(class_names=["x", "y"]))
    assert RecordIndex.open(path).class_names == ("x", "y")
