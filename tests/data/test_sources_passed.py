"""What a scan passes over is counted by kind, and named so that it can be found."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.data.sources import scan_files, scan_folder, scan_splits
from sightline.data.sources.passed import PassedOver, printable

Make = Callable[..., Path]

PETS = ("cat/a.png", "cat/b.png", "dog/c.png")


def passed_over(*names: str, kind: str = "odd") -> PassedOver:
    made = PassedOver()
    for name in names:
        made.add(kind, name)
    return made


# --- counts and names ------------------------------------------------------------------


def test_entries_are_counted_and_named_by_kind() -> None:
    made = passed_over("b", "a")
    made.add("hidden", ".x")
    assert made.counts == {"hidden": 1, "odd": 2}
    assert made.names == {"hidden": (".x",), "odd": ("a", "b")}


def test_nothing_has_no_kinds() -> None:
    assert (PassedOver().counts, PassedOver().names) == ({}, {})


@given(st.permutations(range(450)))
def test_the_first_100_names_are_kept_in_whatever_order_they_come(order: list[int]) -> None:
    made = passed_over(*(f"{number:04d}" for number in order))
    assert made.counts == {"odd": 450}
    assert made.names == {"odd": tuple(f"{number:04d}" for number in range(100))}


def test_a_name_that_comes_often_is_kept_once_and_counted_each_time() -> None:
    made = passed_over(*["b"] * 500, "c", "a", *["b"] * 500)
    assert made.counts == {"odd": 1002}
    assert made.names == {"odd": ("a", "b", "c")}


def test_memory_does_not_grow_with_the_names() -> None:
    made = passed_over(*(f"{number:06d}" for number in reversed(range(20_000))))
    assert max(map(len, made._first.values())) <= 200


def test_one_is_merged_into_another_with_a_folder_before_its_names() -> None:
    made = passed_over(*(f"m{number:03d}" for number in range(300)))
    made.merge(passed_over(*(f"{number:03d}" for number in range(300))), "a/")
    made.merge(passed_over("x", kind="hidden"), "z/")
    assert made.counts == {"hidden": 1, "odd": 600}
    assert made.names == {
        "hidden": ("z/x",),
        "odd": tuple(f"a/{number:03d}" for number in range(100)),
    }


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"a b.png", "a b.png"),
        ("ünï.png".encode(), "ünï.png"),
        (b"caf\xe9.png", r"caf\xe9.png"),
        ("ü".encode() + b"\xff", r"\xc3\xbc\xff"),
    ],
)
def test_a_name_that_is_not_utf8_is_written_in_ascii(raw: bytes, expected: str) -> None:
    assert printable(os.fsdecode(raw)) == expected
    assert passed_over(os.fsdecode(raw)).names == {"odd": (expected,)}


# --- what a scan says ------------------------------------------------------------------


def test_dangling_links_pipes_and_other_files_are_named(make_images: Make) -> None:
    root = make_images(*PETS, "cat/.hidden.png", "__MACOSX/a.png")
    (root / "dog/gone.png").symlink_to("nowhere.png")
    (root / "dog/self.png").symlink_to("self.png")
    os.mkfifo(root / "cat/pipe.jpg")
    (root / "notes.txt").touch()
    (root / "dog/old.tar").touch()
    manifest = scan_folder(root)
    assert manifest.passed_over == {
        "hidden or system": ("__MACOSX", "cat/.hidden.png"),
        "not a regular file": ("cat/pipe.jpg", "dog/gone.png"),
        "not an image": ("dog/old.tar", "notes.txt"),
        "symlink loop": ("dog/self.png",),
    }
    assert manifest.ignored == {kind: len(names) for kind, names in manifest.passed_over.items()}


def test_a_name_that_is_not_utf8_can_be_found(make_images: Make) -> None:
    root = make_images(*PETS)
    try:
        (root / os.fsdecode(b"cat/\xff.png")).touch()
        (root / os.fsdecode(b"dog/caf\xe9")).mkdir()
    except OSError:
        pytest.skip("this file system refuses such names")
    names = scan_folder(root).passed_over["name is not UTF-8"]
    assert names == (r"cat/\xff.png", r"dog/caf\xe9")


def test_the_order_in_which_the_system_lists_names_does_not_matter(
    make_images: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_images(*PETS)
    for number in range(250):
        (root / f"cat/{number:03d}.txt").touch()
        (root / f"dog/.{number:03d}").touch()
    straight = scan_folder(root)
    listing = os.scandir

    class Backwards:
        def __init__(self, folder: str) -> None:
            with listing(folder) as entries:
                self.entries = list(entries)[::-1]

        def __enter__(self) -> list[os.DirEntry[str]]:
            return self.entries

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(os, "scandir", Backwards)
    turned = scan_folder(root)
    assert (turned.ignored, turned.passed_over) == (straight.ignored, straight.passed_over)
    assert list(turned.ignored) == list(straight.ignored)
    assert [len(names) for names in turned.passed_over.values()] == [100, 100]


def test_names_are_relative_to_the_root_of_several_folders(make_images: Make) -> None:
    root = make_images(*(f"{folder}/{name}" for folder in ("x/one", "x/two") for name in PETS))
    for name in ("x/one/a.txt", "x/two/dog/b.txt"):
        (root / name).touch()
    manifest = scan_splits(root / "x/one", None, root / "x/two")
    assert manifest.root == root / "x"
    assert manifest.passed_over == {"not an image": ("one/a.txt", "two/dog/b.txt")}


def test_images_without_labels_have_such_names_too(make_images: Make) -> None:
    root = make_images("x/a.png", "y/b.png")
    (root / "x/a.txt").touch()
    assert scan_files([root / "x", root / "y"]).passed_over == {"not an image": ("x/a.txt",)}


@pytest.fixture
def shards(make_images: Make, tmp_path: Path) -> Path:
    """A shard with odd members, and beside it a file that is none."""
    picture = (make_images("x/a.png") / "x/a.png").read_bytes()
    folder = tmp_path / "shards"
    (folder / "in").mkdir(parents=True)
    with tarfile.open(folder / "in/a.tar", "w") as archive:
        for name, content in {
            "0.png": picture, "0.cls": b"cat", "1.png": picture, "1.cls": b"dog",
            "._0.png": b"", os.fsdecode(b"caf\xe9.png"): b"",
        }.items():  # fmt: skip
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        link = tarfile.TarInfo("link.png")
        link.type = tarfile.SYMTYPE
        archive.addfile(link)
    (folder / "notes.txt").touch()
    return folder


def test_members_of_shards_are_named_behind_their_shard(shards: Path) -> None:
    assert scan_folder(shards).passed_over == {
        "hidden or system": ("in/a.tar/._0.png",),
        "name is not UTF-8": (r"in/a.tar/caf\xe9.png",),
        "not a regular file": ("in/a.tar/link.png",),
        "not an image": ("notes.txt",),  # the shard itself is read
    }


def test_members_of_a_named_shard_are_named_too(shards: Path) -> None:
    names = scan_files([shards / "in/a.tar"]).passed_over
    assert names["not a regular file"] == ("a.tar/link.png",)
