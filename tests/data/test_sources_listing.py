from __future__ import annotations

import os
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.data.sources import index_folder, kept, scan_folder, walk
from sightline.errors import DataError
from sightline.records import SPLITS, RecordIndex

Make = Callable[..., Path]

PETS = ("cat/a.png", "cat/b.png", "dog/c.png")


def touch(root: Path, *names: str) -> Path:
    """Make empty files: nobody opens them."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def ids(index: RecordIndex) -> list[str]:
    return [index.record_id(row) for row in range(len(index))]


def listing_equals_scan(root: Path) -> bool:
    index, scanned = index_folder(root), scan_folder(root).index()
    return (
        ids(index) == ids(scanned)
        and (index.root, index.class_names) == (scanned.root, scanned.class_names)
        and all(
            getattr(index, name).dtype == getattr(scanned, name).dtype
            and getattr(index, name).tolist() == getattr(scanned, name).tolist()
            for name in ("names", "offsets", "labels", "weights", "splits", "by_split")
        )
    )


# Names that sort differently with and without the slash behind them, and beyond ASCII.
parts = st.sampled_from(["a", "a b", "a-b", "a.b", "ab", "b", "B", "é", "日本", "z", "_"])
files = st.builds("/".join, st.lists(parts, min_size=1, max_size=3)).map(lambda name: f"{name}.jpg")


@settings(deadline=None, max_examples=60)
@given(first=st.sets(files, min_size=1, max_size=12), second=st.sets(files, max_size=12))
def test_the_listing_is_that_of_a_scan(
    tmp_path_factory: pytest.TempPathFactory, first: set[str], second: set[str]
) -> None:
    root = tmp_path_factory.mktemp("listed")
    touch(root, *(f"a b/{name}" for name in first), *(f"a/{name}" for name in second), "c/x.jpg")
    if not second:
        (root / "a").mkdir(exist_ok=True)
        (root / "a").rmdir()
    assert listing_equals_scan(root)


def test_the_listing_of_split_folders_is_that_of_a_scan(tmp_path: Path) -> None:
    names = [f"{split}/{name}" for split in ("Test", "train", "val") for name in PETS]
    index = index_folder(touch(tmp_path, *names, "train/cat/2020/z.png"))
    assert listing_equals_scan(tmp_path)
    assert [len(index.rows_of(split)) for split in SPLITS] == [4, 3, 3, 0]


def test_hidden_files_and_other_extensions_are_passed_over_as_in_a_scan(tmp_path: Path) -> None:
    touch(tmp_path, *PETS, "cat/.a.png", "cat/a.xml", "cat/Thumbs.db", "__MACOSX/x.png", "r.tar")
    os.mkfifo(tmp_path / "cat/pipe.png")
    (tmp_path / "dog/link.png").symlink_to("c.png")
    assert ids(index_folder(tmp_path)) == [*PETS, "dog/link.png"]
    assert listing_equals_scan(tmp_path)


def test_a_listing_knows_neither_sizes_nor_times(tmp_path: Path) -> None:
    index = index_folder(touch(tmp_path, *PETS))
    assert (index.sizes, index.mtimes, index.begins, index.fingerprint()) == (None,) * 4


def test_a_listing_is_written_and_mapped(tmp_path: Path) -> None:
    touch(tmp_path / "set", *PETS)
    mapped = index_folder(tmp_path / "set", out=tmp_path / "index.npy")
    assert not mapped.names.flags.writeable
    assert ids(mapped) == ids(RecordIndex.open(tmp_path / "index.npy")) == list(PETS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index.npy", "set"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("cat/a.png",), r"images of a single class, \['cat'\]"),
        (("a.png", "cat/b.png", "dog/c.png"), r"1 images lie directly in .*: a\.png"),
        (("cat/a.txt",), r"there is no image in .* \(passed over: 1 not an image\)"),
        (("train/cat/a.png", "train/dog/b.png", "test/cat/c.png"), "'dog' is only in train"),
        (("café/a.png", "cafe\u0301/a.png"), "differ only in Unicode normalisation"),
        (("0.tar",), r"holds shards, 0\.tar \.\.\.,.*Use scan"),
    ],
)
def test_a_folder_that_cannot_be_scanned_cannot_be_listed(
    tmp_path: Path, names: tuple[str, ...], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        index_folder(touch(tmp_path, *names))


def test_links_out_of_the_folder_are_listed_when_asked(tmp_path: Path) -> None:
    touch(tmp_path, "far/x.png", *(f"set/{name}" for name in PETS))
    (tmp_path / "set/bird").symlink_to(tmp_path / "far")
    with pytest.raises(DataError, match="leads out of"):
        index_folder(tmp_path / "set")
    assert ids(index_folder(tmp_path / "set", follow_links=True)) == ["bird/x.png", *PETS]


# --- what a walk keeps -----------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(names=st.sets(files, max_size=30))
def test_names_and_files_are_kept_in_the_order_of_their_ids(
    tmp_path_factory: pytest.TempPathFactory, names: set[str]
) -> None:
    root = touch(tmp_path_factory.mktemp("walked"), *names)
    named, found = kept.KeptNames(), kept.KeptFiles()
    tree = walk.walk(str(root), named, follow_links=False)
    walk.walk(str(root), found, follow_links=False)
    blob, offsets = named.names()
    listed = [blob[b:e].tobytes().decode() for b, e in pairwise(offsets)]
    assert listed == found.table()["record_id"].to_list() == sorted(names)
    assert tree.num_images == len(names)


def test_folders_of_more_files_than_are_read_at_once_are_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walk, "_NAMES_AT_ONCE", 4)
    monkeypatch.setattr(kept, "_IDS_AT_ONCE", 3)
    names = sorted(f"{folder}/{n:02d}.png" for folder in ("a", "a/b", "a b", "c") for n in range(9))
    for number, name in enumerate(names):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(bytes(number))
    manifest = scan_folder(tmp_path)
    assert manifest.table["record_id"].to_list() == names
    assert manifest.table["bytes"].to_list() == list(range(len(names)))
    assert listing_equals_scan(tmp_path)


def test_of_several_links_to_one_folder_the_first_is_followed(tmp_path: Path) -> None:
    touch(tmp_path, "z/old/x.png", *PETS)
    for name in ("cat", "dog"):
        (tmp_path / name / "more").symlink_to(tmp_path / "z/old")
    tree = walk.walk(str(tmp_path), kept.KeptNames(), follow_links=False)
    assert "cat/more" in tree.folders
    assert tree.passed_over.counts == {"repeated link to a folder": 1}
    assert tree.passed_over.names == {"repeated link to a folder": ("dog/more",)}


def test_the_first_names_of_a_folder_are_remembered_in_order(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{letter}.png" for letter in "gfedcba"))
    tree = walk.walk(str(tmp_path), kept.KeptNames(), follow_links=False)
    assert tree.loose == walk.Own(7, ("a.png", "b.png", "c.png", "d.png", "e.png"))


def test_long_listings_have_the_labels_of_their_folders(tmp_path: Path) -> None:
    touch(tmp_path, *(f"c{n % 3}/{n % 7}/{n:04d}.jpg" for n in range(500)))
    index = index_folder(tmp_path)
    expected = [int(record_id[1]) for record_id in ids(index)]
    np.testing.assert_array_equal(index.labels, expected)
