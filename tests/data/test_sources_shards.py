from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_bytes import NOISE, PICTURE, save
from PIL import Image

from sightline.data import facts
from sightline.data.images import load, read_file
from sightline.data.sources import (
    ScanOptions,
    index_folder,
    read_source,
    scan_files,
    scan_folder,
    scan_shards,
    scan_splits,
)
from sightline.data.stream import Stream, StreamConfig
from sightline.errors import DataError
from sightline.records import Location, Manifest

PNG = save(PICTURE, "PNG")
Members = Mapping[str, bytes | str]
PETS: Members = {"0.png": PNG, "0.cls": "cat", "1.png": PNG, "1.cls": "dog"}


def write_shard(path: Path, members: Members, *, mode: str = "w") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            blob = content.encode() if isinstance(content, str) else content
            entry.size = len(blob)
            archive.addfile(entry, io.BytesIO(blob))
    return path


def rows(manifest: Manifest) -> list[tuple[Any, ...]]:
    return manifest.table.select("record_id", "label", "split").rows()


# --- what is read ----------------------------------------------------------------------


def test_a_folder_of_shards_gives_one_record_an_image(tmp_path: Path) -> None:
    write_shard(tmp_path / "b.tar", {"x/7.jpg": b"seven", "x/7.cls": "dog"})
    write_shard(tmp_path / "a.tar", PETS)
    assert rows(scan_folder(tmp_path)) == [
        ("a.tar/0.png", "cat", None),
        ("a.tar/1.png", "dog", None),
        ("b.tar/x/7.jpg", "dog", None),
    ]


def test_a_record_is_a_part_of_its_shard(tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "a.tar", PETS)
    manifest = scan_folder(tmp_path)
    index = manifest.index()
    for row in range(2):
        place = index.location(row)
        assert place == manifest.locate(f"a.tar/{row}.png")
        assert place.path == str(shard)
        assert place.mtime_ns == shard.stat().st_mtime_ns
        assert read_file(place) == PNG
    assert index.fingerprint() is not None


def test_a_picture_in_a_shard_is_decoded_where_it_is(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", PETS)
    place = scan_folder(tmp_path).index().location(1)
    np.testing.assert_array_equal(load(place), NOISE)


def test_a_look_at_the_data_looks_into_shards(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", PETS)
    found = facts.measure(scan_folder(tmp_path))
    assert (found.looked_at, found.height, found.formats) == (2, 13, {"PNG": 2})


@settings(deadline=None, max_examples=30)
@given(
    contents=st.dictionaries(
        st.from_regex(r"[a-z0-9_]{1,9}(/[a-z0-9é日]{1,150})?", fullmatch=True),
        st.tuples(st.binary(max_size=1500), st.sampled_from(["cat", "dog"])),
        min_size=1,
    )
)
def test_every_image_of_any_shard_is_found_where_it_is(
    tmp_path_factory: pytest.TempPathFactory, contents: dict[str, tuple[bytes, str]]
) -> None:
    folder = tmp_path_factory.mktemp("shards")
    members: dict[str, bytes | str] = {f"{key}.cls": label for key, (_, label) in contents.items()}
    members |= {f"{key}.jpg": blob for key, (blob, _) in contents.items()}
    write_shard(folder / "a.tar", members)
    manifest = scan_shards(folder, ScanOptions(learnable=False))
    index = manifest.index()
    assert len(index) == len(contents)
    for row, label in enumerate(manifest.table["label"]):
        place = index.location(row)
        key = index.record_id(row).removeprefix("a.tar/").removesuffix(".jpg")
        assert (read_file(place), label) == contents[key]


@pytest.mark.parametrize(
    ("extension", "content", "label"),
    [
        ("cls", "3\n", "3"),
        ("cls", "007", "7"),
        ("cls", " light \n", "light"),
        ("json", '{"label": 5}', "5"),
        ("json", '{"other": [1], "cls": "ünï"}', "ünï"),
        ("json", '{"class": "light", "size": 9}', "light"),
        ("json", '{"class": "no", "label": "yes"}', "yes"),
        ("txt", "light\n", "light"),
        ("CLS", "light", "light"),
    ],
)
def test_a_label_is_read_from_each_of_its_forms(
    tmp_path: Path, extension: str, content: str, label: str
) -> None:
    write_shard(tmp_path / "a.tar", {"k.png": PNG, f"k.{extension}": content})
    manifest = scan_shards(tmp_path, ScanOptions(learnable=False))
    assert manifest.table["label"].to_list() == [label]


def test_the_first_form_of_a_label_counts(tmp_path: Path) -> None:
    members = {"k.txt": "a caption", "k.json": '{"label": "json"}', "k.cls": "cls", "k.png": PNG}
    write_shard(tmp_path / "a.tar", members)
    manifest = scan_shards(tmp_path, ScanOptions(learnable=False))
    assert manifest.class_names == ("cls",)


def test_numbers_count_class_names_where_those_are_given(tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "a.tar", {**PETS, "0.cls": "1", "1.cls": "dog"})
    manifest = scan_shards(shard, class_names=["dog", "cat"])
    assert manifest.table["label"].to_list() == ["cat", "dog"]


@pytest.mark.parametrize("label", ["2", "-1", "bird"])
def test_a_label_outside_the_class_names_is_refused_by_its_member(
    tmp_path: Path, label: str
) -> None:
    shard = write_shard(tmp_path / "a.tar", {**PETS, "1.cls": label})
    with pytest.raises(DataError, match=rf"a\.tar, member '1\.cls': label '?{label}'? is not one"):
        scan_shards(shard, class_names=["dog", "cat"])


def test_a_key_ends_at_the_first_dot_behind_the_last_slash(tmp_path: Path) -> None:
    members = {"v1.0/a.png": PNG, "v1.0/a.seg.png": PNG, "v1.0/a.cls": "cat", "v1.0/a.meta.x": "-"}
    write_shard(tmp_path / "a.tar", members)
    manifest = scan_shards(tmp_path, ScanOptions(learnable=False))
    assert manifest.table["record_id"].to_list() == ["a.tar/v1.0/a.png"]


def test_an_image_with_a_longer_extension_is_taken_where_it_is_the_only_one(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", {"k.input.PNG": PNG, "k.cls": "cat"})
    manifest = scan_shards(tmp_path, ScanOptions(learnable=False))
    assert manifest.table["record_id"].to_list() == ["a.tar/k.input.PNG"]


def test_folders_hidden_names_and_links_inside_a_shard_are_passed_over(tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "a.tar", {f"./{name}": blob for name, blob in PETS.items()})
    with tarfile.open(shard, "a") as archive:
        for name, kind in (("d", tarfile.DIRTYPE), ("2.png", tarfile.SYMTYPE)):
            entry = tarfile.TarInfo(name)
            entry.type = kind
            archive.addfile(entry)
        for name in ("._0.png", "__MACOSX/0.png"):
            archive.addfile(tarfile.TarInfo(name))
    manifest = scan_folder(tmp_path)
    assert manifest.table["record_id"].to_list() == ["a.tar/0.png", "a.tar/1.png"]
    assert manifest.ignored == {
        "hidden or system": 2,
        "not a regular file": 1,
    }


def test_shards_may_lie_in_folders(tmp_path: Path) -> None:
    write_shard(tmp_path / "2023/a.tar", PETS)
    write_shard(tmp_path / "2024/a.TAR", PETS)
    ids = scan_folder(tmp_path).table["record_id"].to_list()
    assert ids == [f"{name}/{key}.png" for name in ("2023/a.tar", "2024/a.TAR") for key in "01"]


def test_shards_may_be_named_one_by_one(tmp_path: Path) -> None:
    paths = [write_shard(tmp_path / f"{name}.tar", PETS) for name in ("x/b", "a", "c")]
    manifest = scan_shards([paths[0], str(paths[1]), paths[1]])
    assert manifest.root == tmp_path
    assert manifest.table["record_id"].to_list()[0] == "a.tar/0.png"
    assert len(manifest) == 4


def test_groups_are_found_in_the_ids_of_shards(tmp_path: Path) -> None:
    write_shard(
        tmp_path / "a.tar", {"p1_x.png": PNG, "p1_x.cls": "a", "p2.png": PNG, "p2.cls": "b"}
    )
    manifest = scan_folder(tmp_path, ScanOptions(group_regex=r"/(p\d)"))
    assert manifest.table["group"].to_list() == ["p1", "p2"]


# --- splits ----------------------------------------------------------------------------


def test_split_folders_of_shards_fill_the_split(tmp_path: Path) -> None:
    for split in ("train", "VAL", "test"):
        write_shard(tmp_path / split / "0.tar", PETS)
    manifest = read_source(tmp_path, {})
    assert manifest.table["split"].to_list() == ["validation"] * 2 + ["test"] * 2 + ["train"] * 2


def test_three_folders_may_be_shards_or_class_folders(tmp_path: Path) -> None:
    write_shard(tmp_path / "x/0.tar", PETS)
    for name in ("cat", "dog"):
        (tmp_path / "y" / name).mkdir(parents=True)
        (tmp_path / "y" / name / "a.png").write_bytes(PNG)
    assert rows(scan_splits(tmp_path / "x", tmp_path / "y", None)) == [
        ("x/0.tar/0.png", "cat", "train"),
        ("x/0.tar/1.png", "dog", "train"),
        ("y/cat/a.png", "cat", "validation"),
        ("y/dog/a.png", "dog", "validation"),
    ]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["train/0.tar", "val/0.tar", "1.tar"], r"has shards beside its split .*: 1\.tar\. Move"),
        (["train/0.tar", "more/0.tar"], r"mixes split folders \['train'\] .*\['more'\]"),
        (["val/0.tar"], "no train folder"),
        (["val/0.tar", "valid/0.tar", "train/0.tar"], "2 folders for validation"),
    ],
)
def test_split_folders_that_are_not_clear_are_refused(
    tmp_path: Path, names: list[str], message: str
) -> None:
    for name in names:
        write_shard(tmp_path / name, PETS)
    with pytest.raises(DataError, match=message):
        scan_folder(tmp_path)


def test_a_split_folder_without_shards_is_refused(tmp_path: Path) -> None:
    write_shard(tmp_path / "train/0.tar", PETS)
    (tmp_path / "val").mkdir()
    with pytest.raises(DataError, match=rf"there is no \.tar file in {tmp_path}/val"):
        scan_folder(tmp_path)


# --- mixtures --------------------------------------------------------------------------


def test_an_archive_beside_class_folders_is_passed_over(tmp_path: Path) -> None:
    write_shard(tmp_path / "download.tar", PETS)
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_bytes(PNG)
    assert scan_folder(tmp_path).table["record_id"].to_list() == ["cat/a.png", "dog/a.png"]


def test_images_beside_shards_are_refused_where_shards_were_asked_for(tmp_path: Path) -> None:
    write_shard(tmp_path / "0.tar", PETS)
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat/a.png").write_bytes(PNG)
    with pytest.raises(DataError, match=r"mixes shards with 1 image files, such as cat/a\.png"):
        scan_shards(tmp_path)


def test_shards_in_one_split_and_images_in_another_are_refused(tmp_path: Path) -> None:
    write_shard(tmp_path / "train/0.tar", PETS)
    for name in ("cat", "dog"):
        (tmp_path / "test" / name).mkdir(parents=True)
        (tmp_path / "test" / name / "a.png").write_bytes(PNG)
    with pytest.raises(DataError, match=r"mixes image files with 1 archives .* train/0\.tar"):
        scan_folder(tmp_path)


def test_a_folder_of_shards_has_no_listing(tmp_path: Path) -> None:
    write_shard(tmp_path / "0.tar", PETS)
    with pytest.raises(DataError, match=r"holds shards, 0\.tar"):
        index_folder(tmp_path)


# --- shards that cannot be used --------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"k.cls": "cat"}, r"member 'k\.cls': key 'k' has no image, only \['k\.cls'\]"),
        ({"k.png": PNG}, r"member 'k\.png': key 'k' has no label\. Put k\.cls"),
        ({"k.png": PNG, "k.jpg": PNG, "k.cls": "a"}, r"member 'k\.jpg': key 'k' has 2 images"),
        ({"k.png": PNG, "k.cls": ""}, r"member 'k\.cls': the label is ''; it must be a name"),
        ({"k.png": PNG, "k.json": "[1]"}, r"the label is None; .* under one of \['label'"),
        ({"k.png": PNG, "k.json": '{"label": 1.5}'}, r"the label is 1\.5; it must be"),
        ({"k.png": PNG, "k.json": '{"label": true}'}, "the label is True; it must be"),
        ({"k.png": PNG, "k.json": "{"}, r"member 'k\.json': it holds no label that can be read"),
        ({"k.png": PNG, "k.cls": b"\xff"}, r"member 'k\.cls': it holds no label .*utf-8"),
        ({"k.png": PNG, "./k.png": PNG, "k.cls": "a"}, r"member 'k\.png': it is there twice"),
        ({}, "holds no samples"),
    ],
)
def test_a_sample_that_is_not_whole_is_refused_by_shard_and_member(
    tmp_path: Path, members: Members, message: str
) -> None:
    write_shard(tmp_path / "a.tar", members)
    with pytest.raises(DataError, match=rf"{tmp_path}/a\.tar.*{message}"):
        scan_folder(tmp_path)


def test_a_shard_that_is_cut_short_anywhere_is_refused(tmp_path: Path) -> None:
    content = write_shard(tmp_path / "whole.tar", PETS).read_bytes()
    (tmp_path / "whole.tar").unlink()
    end = len(content.rstrip(b"\0"))
    for kept in range(0, end + 1, 100):
        (tmp_path / "a.tar").write_bytes(content[:kept])
        with pytest.raises(DataError, match=r"a\.tar"):
            scan_folder(tmp_path)


def test_a_shard_that_ends_inside_an_image_says_where(tmp_path: Path) -> None:
    content = write_shard(tmp_path / "a.tar", {"0.cls": "cat", "0.png": bytes(5000)}).read_bytes()
    (tmp_path / "a.tar").write_bytes(content[:3000])
    with pytest.raises(
        DataError, match=r"member '0\.png': the shard ends inside it, at byte 3,000"
    ):
        scan_folder(tmp_path)


def test_a_shard_without_its_end_mark_is_refused(tmp_path: Path) -> None:
    content = write_shard(tmp_path / "a.tar", {"0.cls": "cat", "0.png": bytes(512)}).read_bytes()
    (tmp_path / "a.tar").write_bytes(content[: 4 * 512])
    with pytest.raises(DataError, match=r"a\.tar ends at byte 2,048 without the end mark"):
        scan_folder(tmp_path)


def test_two_tar_files_in_one_are_refused(tmp_path: Path) -> None:
    content = write_shard(tmp_path / "a.tar", PETS).read_bytes()
    (tmp_path / "a.tar").write_bytes(content + content)
    with pytest.raises(DataError, match=r"a\.tar goes on behind its end mark at byte"):
        scan_folder(tmp_path)


@pytest.mark.parametrize(
    ("mode", "name", "kind"),
    [("w:gz", "a.tar", "gzip"), ("w:bz2", "a.tar", "bzip2"), ("w:xz", "a.tar.xz", "xz")],
)
def test_a_compressed_shard_is_refused_by_its_content(
    tmp_path: Path, mode: str, name: str, kind: str
) -> None:
    write_shard(tmp_path / name, PETS, mode=mode)
    with pytest.raises(DataError, match=rf"{name} is compressed with {kind}, .*Unpack it"):
        scan_folder(tmp_path)


def test_what_is_no_tar_file_at_all_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"no archive" * 200)
    with pytest.raises(DataError, match=r"a\.tar cannot be read as a tar file"):
        scan_folder(tmp_path)


def test_a_sparse_member_is_refused(tmp_path: Path) -> None:
    headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "0.png",
               "GNU.sparse.realsize": "4096"}  # fmt: skip
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        entry = tarfile.TarInfo("0.png")
        entry.pax_headers = headers
        entry.size = 512
        archive.addfile(entry, io.BytesIO(b"0\n".ljust(512, b"\0")))
    with pytest.raises(DataError, match=r"member '0\.png': it is stored with holes"):
        scan_folder(tmp_path)


def test_a_folder_called_like_a_shard_is_refused(tmp_path: Path) -> None:
    write_shard(tmp_path / "old.tar/a.tar", PETS)
    with pytest.raises(DataError, match=r"lies in a folder called 'old\.tar'"):
        scan_folder(tmp_path)


def test_a_link_out_of_the_folder_is_refused_for_shards_too(tmp_path: Path) -> None:
    write_shard(tmp_path / "far/a.tar", PETS)
    (tmp_path / "set").mkdir()
    (tmp_path / "set/a.tar").symlink_to(tmp_path / "far/a.tar")
    with pytest.raises(DataError, match="leads out of"):
        scan_folder(tmp_path / "set")
    assert len(scan_folder(tmp_path / "set", ScanOptions(follow_links=True))) == 2


def test_labels_of_shards_are_checked_as_those_of_folders(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", {"k.png": PNG, "k.cls": "cat"})
    with pytest.raises(DataError, match=r"images of a single class, \['cat'\]"):
        scan_folder(tmp_path)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "no shard was given"),
        (["none.tar"], r"there is no shard .*none\.tar"),
        ("empty", r"there is no \.tar file in .*empty"),
    ],
)
def test_shards_that_are_not_there_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: Any, message: str
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=message):
        scan_shards(given)


# --- without labels --------------------------------------------------------------------


def test_images_of_shards_are_found_without_labels(tmp_path: Path) -> None:
    (tmp_path / "shards").mkdir()
    first = write_shard(tmp_path / "shards/a.tar", {"1.png": PNG, "1.txt": "words", "x/2.png": PNG})
    second = write_shard(tmp_path / "b.TAR", {"0.jpg": save(PICTURE, "JPEG")})
    (tmp_path / "plain.png").write_bytes(PNG)
    manifest = scan_files([tmp_path / "shards", first, second, tmp_path / "plain.png"])
    assert manifest.table["record_id"].to_list() == [
        "b.TAR/0.jpg", "plain.png", "shards/a.tar/1.png", "shards/a.tar/x/2.png",
    ]  # fmt: skip
    assert manifest.table["label"].null_count() == 4
    config = StreamConfig(image_size=NOISE.shape[:2])
    with Stream(manifest, split=None, config=config) as stream:
        batch = next(stream.epoch(0))
    assert batch.weights.tolist() == [1, 1, 1, 1]
    for image in batch.images[1:]:
        np.testing.assert_array_equal(image, NOISE * np.float32(1 / 255))


def test_a_shard_without_an_image_is_refused(tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "a.tar", {"1.txt": "words"})
    with pytest.raises(DataError, match=r"a\.tar holds no images\. Remove it"):
        scan_files([shard])


# --- a part of a file ------------------------------------------------------------------


def test_a_part_of_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(bytes(range(100)))
    assert read_file(Location(str(tmp_path / "x"), 10, 5, -1)) == bytes(range(10, 15))
    assert read_file(Location(str(tmp_path / "x"), 95, -1, -1)) == bytes(range(95, 100))
    assert read_file(Location(str(tmp_path / "x"), 0, 0, -1)) == b""


@pytest.mark.parametrize("begin", [96, 100, 5000])
def test_a_part_behind_the_end_is_truncated(tmp_path: Path, begin: int) -> None:
    (tmp_path / "x").write_bytes(bytes(100))
    with pytest.raises(DataError, match=rf"x: .*100 bytes.* at byte {begin:,}") as caught:
        read_file(Location(str(tmp_path / "x"), begin, 5, -1))
    assert caught.value.reason == "TRUNCATED"


def test_a_damaged_picture_in_a_shard_says_where_it_is(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", {**PETS, "1.png": PNG[:100]})
    place = scan_folder(tmp_path).index().location(1)
    with pytest.raises(DataError, match=rf"a\.tar, the image at byte {place.begin:,}: "):
        load(place)


def test_a_shard_packed_anew_never_gives_images_under_the_labels_of_others(tmp_path: Path) -> None:
    contents = {
        f"{key}.bmp": save(Image.new("RGB", (8, 6), (30 * key, 0, 0)), "BMP") for key in range(4)
    }
    labels = {f"{key}.cls": str(key % 2) for key in range(4)}
    shard = write_shard(tmp_path / "a.tar", labels | contents)
    manifest = scan_shards(shard)
    before = shard.stat()
    write_shard(shard, labels | dict(zip(contents, reversed(contents.values()), strict=True)))
    assert shard.stat().st_size == before.st_size
    config = StreamConfig(image_size=(6, 8), max_fault_share=1.0)
    with Stream(manifest, split=None, config=config) as stream:
        batch = next(stream.epoch(0))
        assert batch.weights.tolist() == [0, 0, 0, 0]
        messages = [fault.message for fault in stream.faults.values()]
    assert {fault.reason for fault in stream.faults.values()} == {"CHANGED"}
    assert all("a.tar: the archive was written after it was scanned" in each for each in messages)


def test_an_id_that_is_not_in_the_manifest_has_no_place(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", PETS)
    manifest = scan_folder(tmp_path)
    for record_id in ("a.tar/00.png", "z", "A"):
        with pytest.raises(KeyError, match=record_id):
            manifest.locate(record_id)
