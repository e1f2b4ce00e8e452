from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from sightline.data.sources import (
    ScanOptions,
    TableColumns,
    check_classes,
    scan_files,
    scan_folder,
    scan_splits,
    scan_table,
)
from sightline.errors import DataError
from sightline.records import Manifest

Make = Callable[..., Path]

PETS = ("cat/a.png", "cat/b.png", "dog/c.png")
SPLIT_PETS = tuple(f"{split}/{name}" for split in ("train", "val", "test") for name in PETS)


def ids(manifest: Manifest) -> list[str]:
    return manifest.table["record_id"].to_list()


def column(manifest: Manifest, name: str) -> list[object]:
    return manifest.table[name].to_list()


# --- class folders ---------------------------------------------------------------------


def test_a_folder_of_class_folders_gives_one_record_an_image(make_images: Make) -> None:
    assert ids(scan_folder(make_images(*PETS))) == list(PETS)


def test_the_label_is_the_class_folder(make_images: Make) -> None:
    assert column(scan_folder(make_images(*PETS)), "label") == ["cat", "cat", "dog"]


def test_class_names_are_sorted_whatever_the_order_of_creation(make_images: Make) -> None:
    manifest = scan_folder(make_images("b/1.png", "C/1.png", "a/1.png"))
    assert manifest.class_names == ("C", "a", "b")


def test_a_class_folder_is_read_at_every_depth(make_images: Make) -> None:
    manifest = scan_folder(make_images("cat/2020/may/a.png", "cat/b.png", "dog/c.png"))
    assert column(manifest, "label") == ["cat", "cat", "dog"]


def test_sizes_and_times_are_those_of_the_files(make_images: Make) -> None:
    root = make_images(*PETS)
    about = [(root / name).stat() for name in PETS]
    manifest = scan_folder(root)
    assert column(manifest, "bytes") == [one.st_size for one in about]
    assert column(manifest, "mtime_ns") == [one.st_mtime_ns for one in about]


def test_without_split_folders_no_record_has_a_split(make_images: Make) -> None:
    assert column(scan_folder(make_images(*PETS)), "split") == [None] * 3


def test_the_root_is_absolute_even_when_given_relative(
    make_images: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_images(*PETS)
    monkeypatch.chdir(root)
    assert scan_folder(Path("cat/..")).root == root


def test_a_root_that_is_a_link_keeps_its_own_name(make_images: Make) -> None:
    root = make_images(*(f"real/{name}" for name in PETS))
    (root / "alias").symlink_to(root / "real")
    assert scan_folder(root / "alias").root == root / "alias"


def test_extensions_count_in_capitals_too(make_images: Make) -> None:
    manifest = scan_folder(make_images("cat/a.PNG", "cat/b.JpG", "dog/c.JPEG"))
    assert ids(manifest) == ["cat/a.PNG", "cat/b.JpG", "dog/c.JPEG"]


def test_hidden_and_system_names_are_passed_over_and_counted(make_images: Make) -> None:
    root = make_images(
        *PETS, "cat/._a.png", "cat/.hidden.png", ".ipynb_checkpoints/x.png", "__MACOSX/cat/a.png"
    )
    for name in (".DS_Store", "cat/.DS_Store", "cat/Thumbs.db", "dog/desktop.ini"):
        (root / name).write_bytes(b"x")
    manifest = scan_folder(root)
    assert ids(manifest) == list(PETS)
    assert manifest.ignored == {"hidden or system": 8}


def test_other_extensions_are_passed_over_and_counted(make_images: Make) -> None:
    root = make_images(*PETS)
    for name in ("notes.txt", "cat/a.xml", "cat/noextension"):
        (root / name).write_text("x")
    assert scan_folder(root).ignored == {"not an image": 3}


def test_pipes_sockets_and_dangling_links_are_passed_over_and_counted(make_images: Make) -> None:
    root = make_images(*PETS)
    os.mkfifo(root / "cat/pipe.png")
    (root / "cat/gone.png").symlink_to(root / "nowhere.png")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(root / "cat/s.png"))
    assert scan_folder(root).ignored == {"not a regular file": 3}


def test_names_that_are_not_utf8_are_passed_over_and_counted(make_images: Make) -> None:
    root = make_images(*PETS)
    try:
        (root / os.fsdecode(b"cat/\xff.png")).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system refuses such names")
    manifest = scan_folder(root)
    assert ids(manifest) == list(PETS)
    assert manifest.ignored == {"name is not UTF-8": 1}


@pytest.mark.parametrize("name", ["a\nb", 'quo"te', "ünï", "日本", "=1+1", "a b", "x" * 200])
def test_odd_names_come_back_unchanged(make_images: Make, name: str) -> None:
    assert f"{name}/{name}.png" in ids(scan_folder(make_images(f"{name}/{name}.png", "z~/1.png")))


def test_two_classes_may_differ_in_case_alone(make_images: Make) -> None:
    root = make_images("cat/a.png")
    if (root / "CAT").exists():
        pytest.skip("this file system does not tell case apart")
    assert scan_folder(make_images("CAT/b.png")).class_names == ("CAT", "cat")


def test_two_classes_may_not_differ_in_unicode_normalisation_alone(make_images: Make) -> None:
    root = make_images("caf\u00e9/a.png", "cafe\u0301/b.png")
    if len(list(root.iterdir())) == 1:
        pytest.skip("this file system normalises names")
    with pytest.raises(DataError, match=r"2 classes that all read 'café'.*'caf\\xe9'"):
        scan_folder(root)


def test_scanning_twice_gives_the_same_manifest(make_images: Make) -> None:
    root = make_images(*SPLIT_PETS)
    assert scan_folder(root).fingerprint() == scan_folder(root).fingerprint()


def test_an_empty_class_folder_is_refused_by_its_path(make_images: Make) -> None:
    root = make_images(*PETS)
    (root / "bird" / "old").mkdir(parents=True)
    with pytest.raises(DataError, match=rf"1 class folders hold no image: {root}/bird\. Put"):
        scan_folder(root)


def test_a_single_class_is_refused(make_images: Make) -> None:
    with pytest.raises(DataError, match=r"images of a single class, \['cat'\]; .* at least two"):
        scan_folder(make_images("cat/a.png", "cat/b.png"))


def test_images_outside_class_folders_are_refused_by_name(make_images: Make) -> None:
    root = make_images(*PETS, "stray.png")
    with pytest.raises(DataError, match=rf"1 images lie directly in {root} .*: stray.png\. Move"):
        scan_folder(root)


def test_images_without_class_folders_are_told_the_expected_tree(make_images: Make) -> None:
    with pytest.raises(
        DataError, match=r"no class folders\. Expected one folder a class:\n.*\n +cat/"
    ):
        scan_folder(make_images("a.png", "b.png"))


def test_a_folder_without_images_is_told_the_expected_tree(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(
        DataError, match=r"no image in .* \(passed over: 1 not an image\).*Expected"
    ):
        scan_folder(tmp_path)


@pytest.mark.parametrize("inner", [PETS, SPLIT_PETS])
def test_a_data_set_one_folder_down_is_suggested(make_images: Make, inner: tuple[str]) -> None:
    root = make_images(*(f"archive/{name}" for name in inner))
    with pytest.raises(DataError, match=rf"itself a data set\. Did you mean {root}/archive\?"):
        scan_folder(root)


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"data folder does not exist: {tmp_path}/nowhere"):
        scan_folder(tmp_path / "nowhere")


def test_a_file_in_place_of_a_folder_is_named(make_images: Make) -> None:
    root = make_images("a.png")
    with pytest.raises(DataError, match=rf"must be a folder, got the file {root}/a.png"):
        scan_folder(root / "a.png")


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser can read every folder")
def test_a_folder_without_permission_is_named(make_images: Make) -> None:
    root = make_images(*PETS)
    (root / "cat").chmod(0)
    try:
        with pytest.raises(DataError, match=rf"cannot read .*{root}/cat.*Check its permissions"):
            scan_folder(root)
    finally:
        (root / "cat").chmod(0o755)


# --- links -----------------------------------------------------------------------------


def test_a_file_link_out_of_the_folder_is_refused_with_its_target(make_images: Make) -> None:
    root = make_images("far/x.png", *(f"set/{name}" for name in PETS))
    (root / "set/cat/link.png").symlink_to(root / "far/x.png")
    message = rf"the link {root}/set/cat/link.png leads out of {root}/set, to {root}/far/x.png"
    with pytest.raises(DataError, match=message):
        scan_folder(root / "set")


def test_a_folder_link_out_of_the_folder_is_refused_with_its_target(make_images: Make) -> None:
    root = make_images("far/x.png", *(f"set/{name}" for name in PETS))
    (root / "set/bird").symlink_to(root / "far")
    with pytest.raises(DataError, match=rf"{root}/set/bird leads out .* to {root}/far\. Copy"):
        scan_folder(root / "set")


def test_links_out_of_the_folder_are_followed_when_asked(make_images: Make) -> None:
    root = make_images("far/x.png", *(f"set/{name}" for name in PETS))
    (root / "set/bird").symlink_to(root / "far")
    manifest = scan_folder(root / "set", ScanOptions(follow_links=True))
    assert ids(manifest) == ["bird/x.png", *PETS]


def test_links_inside_the_folder_are_followed(make_images: Make) -> None:
    root = make_images(*PETS)
    (root / "dog/d.png").symlink_to("../cat/a.png")
    assert ids(scan_folder(root)) == [*PETS, "dog/d.png"]


def test_a_folder_with_the_root_as_prefix_of_its_name_is_outside(make_images: Make) -> None:
    root = make_images("set2/x.png", *(f"set/{name}" for name in PETS))
    (root / "set/bird").symlink_to(root / "set2")
    with pytest.raises(DataError, match="leads out"):
        scan_folder(root / "set")


@pytest.mark.parametrize("target", ["..", ".", "../dog"])
def test_loops_of_links_end(make_images: Make, target: str) -> None:
    root = make_images(*PETS)
    (root / "cat/again").symlink_to(target)
    (root / "dog/again").symlink_to("../cat")
    begin = time.perf_counter()
    manifest = scan_folder(root)
    assert manifest.ignored["symlink loop"] > 0
    assert time.perf_counter() - begin < 5


def test_a_link_to_itself_is_a_loop(make_images: Make) -> None:
    root = make_images(*PETS)
    (root / "cat/self.png").symlink_to("self.png")
    assert scan_folder(root).ignored == {"symlink loop": 1}


def test_folders_that_all_link_to_each_other_are_read_quickly(make_images: Make) -> None:
    names = [f"c{number}" for number in range(12)]
    root = make_images(*(f"{name}/x.png" for name in names))
    for name in names:
        for other in names:
            (root / name / f"to_{other}").symlink_to(root / other)
    begin = time.perf_counter()
    scan_folder(root)
    assert time.perf_counter() - begin < 5


# --- split folders ---------------------------------------------------------------------


def test_split_folders_fill_the_split(make_images: Make) -> None:
    manifest = scan_folder(make_images(*SPLIT_PETS))
    assert column(manifest, "split") == ["test"] * 3 + ["train"] * 3 + ["validation"] * 3


def test_in_split_folders_the_label_is_the_folder_below_the_split(make_images: Make) -> None:
    assert scan_folder(make_images(*SPLIT_PETS)).class_names == ("cat", "dog")


@pytest.mark.parametrize("word", ["validation", "val", "valid", "validate", "VAL", "Valid"])
def test_every_word_for_validation_is_understood(make_images: Make, word: str) -> None:
    names = [f"{split}/{name}" for split in ("Training", word, "TESTING") for name in PETS]
    manifest = scan_folder(make_images(*names))
    assert {*column(manifest, "split")} == {"train", "validation", "test"}


def test_train_and_test_are_enough(make_images: Make) -> None:
    names = [f"{split}/{name}" for split in ("train", "test") for name in PETS]
    assert {*column(scan_folder(make_images(*names)), "split")} == {"train", "test"}


def test_a_folder_without_images_may_lie_beside_split_folders(make_images: Make) -> None:
    root = make_images(*SPLIT_PETS)
    (root / "docs").mkdir()
    (root / "docs/readme.txt").write_text("x")
    assert len(scan_folder(root)) == len(SPLIT_PETS)


def test_split_folders_beside_class_folders_are_refused(make_images: Make) -> None:
    with pytest.raises(DataError, match=r"mixes split folders \['test', 'train', 'val'\].*'bird'"):
        scan_folder(make_images(*SPLIT_PETS, "bird/x.png"))


def test_a_test_folder_beside_class_folders_is_refused(make_images: Make) -> None:
    with pytest.raises(DataError, match=r"mixes split folders \['test'\] .* \['cat', 'dog'\]"):
        scan_folder(make_images(*PETS, "test/x.png"))


def test_a_class_may_be_called_train(make_images: Make) -> None:
    manifest = scan_folder(make_images("bus/a.png", "car/b.png", "train/c.png"))
    assert manifest.class_names == ("bus", "car", "train")


def test_two_folders_for_one_split_are_refused(make_images: Make) -> None:
    names = [f"{split}/{name}" for split in ("train", "val", "valid") for name in PETS]
    with pytest.raises(DataError, match=r"2 folders for validation: \['val', 'valid'\]"):
        scan_folder(make_images(*names))


def test_split_folders_without_train_are_refused(make_images: Make) -> None:
    root = make_images(*(f"test/{name}" for name in PETS))
    with pytest.raises(DataError, match=rf"no train folder.*{root}/test"):
        scan_folder(root)


def test_unlabelled_test_images_are_refused_by_their_folder(make_images: Make) -> None:
    root = make_images(*(f"train/{name}" for name in PETS), "test/1.png", "test/2.png")
    with pytest.raises(DataError, match=rf"2 images lie directly in {root}/test"):
        scan_folder(root)


def test_a_stray_image_beside_split_folders_is_refused(make_images: Make) -> None:
    with pytest.raises(DataError, match=r"1 images lie directly in .*: stray\.png"):
        scan_folder(make_images(*SPLIT_PETS, "stray.png"))


def test_an_empty_class_folder_in_a_split_is_refused_by_its_path(make_images: Make) -> None:
    root = make_images(*SPLIT_PETS)
    (root / "val/bird").mkdir()
    with pytest.raises(DataError, match=rf"hold no image: {root}/val/bird\."):
        scan_folder(root)


def test_an_empty_split_folder_is_refused_by_its_path(make_images: Make) -> None:
    root = make_images(*(f"train/{name}" for name in PETS))
    (root / "val").mkdir()
    with pytest.raises(DataError, match=rf"no image in {root}/val\."):
        scan_folder(root)


def test_a_label_in_only_one_split_is_refused(make_images: Make) -> None:
    with pytest.raises(DataError, match=r"label 'bird' is only in train \(1 images\) of"):
        scan_folder(make_images(*SPLIT_PETS, "train/bird/x.png"))


def test_a_label_that_train_lacks_is_refused(make_images: Make) -> None:
    with pytest.raises(DataError, match=r"'bird' is in validation and test .* but not in train"):
        scan_folder(make_images(*SPLIT_PETS, "val/bird/x.png", "test/bird/y.png"))


# --- three unrelated folders -----------------------------------------------------------


def test_three_folders_have_their_common_parent_as_root(make_images: Make) -> None:
    root = make_images(*(f"{place}/{name}" for place in ("a/one", "b", "c/x/y") for name in PETS))
    manifest = scan_splits(root / "a/one", root / "b", root / "c/x/y")
    assert manifest.root == root
    assert ids(manifest)[0] == "a/one/cat/a.png"


def test_three_folders_are_the_three_splits(make_images: Make) -> None:
    root = make_images(*(f"{place}/{name}" for place in ("a", "b", "c") for name in PETS))
    manifest = scan_splits(root / "c", root / "a", root / "b")
    assert column(manifest, "split") == ["validation"] * 3 + ["test"] * 3 + ["train"] * 3


def test_validation_and_test_may_be_left_out(make_images: Make) -> None:
    root = make_images(*(f"a/{name}" for name in PETS))
    manifest = scan_splits(root / "a", None, None)
    assert (manifest.root, ids(manifest)) == (root / "a", list(PETS))


def test_the_same_folder_twice_is_refused(make_images: Make) -> None:
    root = make_images(*PETS)
    with pytest.raises(DataError, match=r"the train folder .* is inside the test folder"):
        scan_splits(root, None, root)


def test_a_folder_inside_another_is_refused(make_images: Make) -> None:
    root = make_images(*PETS)
    with pytest.raises(DataError, match=r"the validation folder .* is inside the train folder"):
        scan_splits(root, root / "cat", None)


def test_a_split_folder_that_holds_split_folders_is_refused(make_images: Make) -> None:
    root = make_images(*(f"a/{name}" for name in SPLIT_PETS), *(f"b/{name}" for name in PETS))
    with pytest.raises(DataError, match=r"the train folder .*/a holds split folders itself"):
        scan_splits(root / "a", None, root / "b")


def test_a_missing_validation_folder_is_named(make_images: Make) -> None:
    root = make_images(*PETS)
    with pytest.raises(DataError, match=r"the validation folder does not exist: .*nowhere"):
        scan_splits(root, root / "nowhere", None)


# --- groups ----------------------------------------------------------------------------

PATIENTS = ("cat/p1_1.png", "cat/p1_2.png", "dog/p2_1.png", "dog/odd.png")


def test_the_group_is_the_first_capture_group(make_images: Make) -> None:
    manifest = scan_folder(make_images(*PATIENTS), ScanOptions(group_regex=r"p(\d+)_"))
    assert column(manifest, "group")[:2] == ["1", "1"]


def test_the_group_is_the_whole_match_without_a_capture_group(make_images: Make) -> None:
    manifest = scan_folder(make_images(*PATIENTS), ScanOptions(group_regex=r"p\d+"))
    assert column(manifest, "group")[:2] == ["p1", "p1"]


def test_a_record_that_does_not_match_is_its_own_group(make_images: Make) -> None:
    manifest = scan_folder(make_images(*PATIENTS), ScanOptions(group_regex=r"p\d+"))
    assert column(manifest, "group")[2] == "dog/odd.png"


def test_without_a_pattern_there_are_no_groups(make_images: Make) -> None:
    assert column(scan_folder(make_images(*PATIENTS)), "group") == [None] * 4


def test_an_invalid_group_pattern_is_shown_with_two_ids(make_images: Make) -> None:
    with pytest.raises(DataError, match=r"'\(' is not a regular .*'cat/p1_1.png' and 'cat/p1_2"):
        scan_folder(make_images(*PATIENTS), ScanOptions(group_regex="("))


def test_a_group_pattern_that_matches_nothing_is_shown_with_two_ids(make_images: Make) -> None:
    with pytest.raises(DataError, match=r"'q\+' matches none of the 4 .*'cat/p1_1.png' and"):
        scan_folder(make_images(*PATIENTS), ScanOptions(group_regex="q+"))


# --- tables ----------------------------------------------------------------------------


def write_table(root: Path, text: str, name: str = "labels.csv") -> TableColumns:
    (root / name).write_text(text, encoding="utf-8")
    return TableColumns(root / name, "image", "dx")


def pets_table(make_images: Make, text: str, **columns: str) -> TableColumns:
    root = make_images("images/a.jpg", "images/b.png", "images/more/c.JPG")
    (root / "labels.csv").write_text(text, encoding="utf-8")
    return TableColumns(root / "labels.csv", "image", "dx", **columns)


FOUND = ["images/a.jpg", "images/b.png", "images/more/c.JPG"]


def test_a_table_names_paths_relative_to_its_own_folder(make_images: Make) -> None:
    text = "image,dx\nimages/a.jpg,x\nimages/b.png,y\nimages/more/c.JPG,x\n"
    manifest = scan_table(pets_table(make_images, text))
    assert (ids(manifest), column(manifest, "label")) == (FOUND, ["x", "y", "x"])


def test_a_table_may_leave_out_extensions_and_folders(make_images: Make) -> None:
    manifest = scan_table(pets_table(make_images, "image,dx\nc,x\nb,y\na,x\n"))
    assert (ids(manifest), column(manifest, "label")) == (FOUND, ["x", "y", "x"])


def test_a_table_may_name_files_without_their_folder(make_images: Make) -> None:
    manifest = scan_table(pets_table(make_images, "image,dx\nc.jpg,x\nb.PNG,y\n"))
    assert ids(manifest) == FOUND[1:]


def test_a_table_may_be_written_on_windows(make_images: Make) -> None:
    text = "\ufeffimage,dx\r\nimages\\a,x\r\nmore\\c.jpg,y\r\n"
    assert ids(scan_table(pets_table(make_images, text))) == [FOUND[0], FOUND[2]]


def test_a_dot_in_a_name_is_not_taken_for_an_extension(make_images: Make) -> None:
    root = make_images("i/x.1.png", "i/x.2.png")
    manifest = scan_table(write_table(root, "image,dx\nx.1,p\nx.2,q\n"))
    assert ids(manifest) == ["i/x.1.png", "i/x.2.png"]


def test_a_table_may_name_absolute_paths_below_the_root(make_images: Make) -> None:
    root = make_images("a.png", "b.png")
    manifest = scan_table(write_table(root, f"image,dx\n{root}/a.png,p\n{root}/b.png,q\n"))
    assert ids(manifest) == ["a.png", "b.png"]


def test_a_table_may_lie_elsewhere_than_the_images(make_images: Make) -> None:
    root = make_images("pictures/a.png", "pictures/b.png")
    (root / "tables").mkdir()
    table = write_table(root / "tables", "image,dx\na.png,p\nb.png,q\n")
    assert scan_table(table, root / "pictures").root == root / "pictures"


def test_tab_separated_tables_are_read(make_images: Make) -> None:
    root = make_images("a.png", "b.png")
    manifest = scan_table(write_table(root, "image\tdx\na\tp, q\nb\tr\n", "labels.TSV"))
    assert manifest.class_names == ("p, q", "r")


def test_parquet_tables_are_read_with_numbers_as_text(make_images: Make) -> None:
    root = make_images("1.png", "2.png")
    pl.DataFrame({"image": [1, 2], "dx": [0, 7]}).write_parquet(root / "labels.parquet")
    manifest = scan_table(TableColumns(root / "labels.parquet", "image", "dx"))
    assert (ids(manifest), manifest.class_names) == (["1.png", "2.png"], ("0", "7"))


def test_labels_of_a_table_stay_text(make_images: Make) -> None:
    assert scan_table(pets_table(make_images, "image,dx\na, 007 \nb,7\nc,true\n")).class_names == (
        "007",
        "7",
        "true",
    )


def test_groups_splits_and_folds_of_a_table_are_kept(make_images: Make) -> None:
    text = "image,dx,lesion,part,fold\na,x,L1,Train,0\nb,y,,training,\nc,x,L2,train,2.0\n"
    table = pets_table(make_images, text, group_col="lesion", split_col="part", fold_col="fold")
    manifest = scan_table(table)
    assert column(manifest, "group") == ["L1", None, "L2"]
    assert column(manifest, "split") == ["train"] * 3
    assert column(manifest, "fold") == [0, None, 2]


def test_a_group_pattern_works_on_a_table(make_images: Make) -> None:
    table = pets_table(make_images, "image,dx\na,x\nb,y\n")
    manifest = scan_table(table, options=ScanOptions(group_regex=r"[ab]\."))
    assert column(manifest, "group") == ["a.", "b."]


def test_groups_from_a_column_and_a_pattern_at_once_are_refused(make_images: Make) -> None:
    table = pets_table(make_images, "image,dx\na,x\nb,y\n", group_col="dx")
    with pytest.raises(DataError, match=r"given twice: by column 'dx' and by the pattern 'a'"):
        scan_table(table, options=ScanOptions(group_regex="a"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("picture,dx\na,x\n", r"no column 'image'\. Its columns are \['picture', 'dx'\]"),
        ("image,dx\n", r"labels\.csv has no rows below its header"),
        ("", r"cannot read the table .*labels\.csv: .*header row"),
        ("image,dx\na,x,1,2\nb,y\n", r"cannot read the table .*labels\.csv"),
        ("image,dx\na,x\nb,\nc, \n", r"2 of 3 .*labels\.csv, row 2, column 'dx' \(also rows 3\)"),
        ("image,dx\na,x\n,y\n", r"1 of 2 cells are empty: .*labels\.csv, row 2, column 'image'"),
        ("image,dx\na,x\nnone,y\nnil.png,y\n", r"2 of 3 files .* row 2 'none', row 3 'nil\.png'"),
        ("image,dx\na,x\n../out.png,y\n", r"row 2, column 'image': '\.\./out\.png' lies outside"),
        ("image,dx\na,x\n/etc/x.png,y\n", r"row 2, column 'image': '/etc/x\.png' lies outside"),
        ("image,dx\na,x\nb,y\na.jpg,x\n", r"row 3, .*'images/a\.jpg' was already named in row 1"),
        ("image,dx\na,x\nb,x\n", r"labels\.csv: .* images of a single class, \['x'\]"),
        ("image,dx\na,x\n\0,y\n", r"1 of 2 files .* row 2 '\\x00'"),
    ],
)
def test_a_faulty_table_is_refused_with_its_place(
    make_images: Make, text: str, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        scan_table(pets_table(make_images, text))


def test_an_ambiguous_name_is_refused_with_its_candidates(make_images: Make) -> None:
    root = make_images("i/a.png", "j/a.png", "b.png")
    with pytest.raises(
        DataError, match=r"row 1, .*'a' could be any of 2 files: i/a\.png, j/a\.png"
    ):
        scan_table(write_table(root, "image,dx\na,x\nb,y\n"))


def test_an_exact_path_is_not_ambiguous(make_images: Make) -> None:
    root = make_images("i/a.png", "a.png", "b.png")
    assert ids(scan_table(write_table(root, "image,dx\na.png,x\nb,y\n"))) == ["a.png", "b.png"]


def test_an_unknown_split_word_is_refused_with_its_place(make_images: Make) -> None:
    table = pets_table(make_images, "image,dx,p\na,x,train\nb,y,dev\n", split_col="p")
    with pytest.raises(DataError, match=r"row 2, column 'p': 'dev' is not a split\. Write one of"):
        scan_table(table)


def test_an_empty_split_cell_is_refused_with_its_place(make_images: Make) -> None:
    table = pets_table(make_images, "image,dx,p\na,x,train\nb,y,\n", split_col="p")
    with pytest.raises(DataError, match=r"row 2, column 'p': '' is not a split"):
        scan_table(table)


@pytest.mark.parametrize("fold", ["one", "1.5", "-1", "9" * 12])
def test_a_fold_that_is_no_number_is_refused_with_its_place(make_images: Make, fold: str) -> None:
    table = pets_table(make_images, f"image,dx,f\na,x,0\nb,y,{fold}\n", fold_col="f")
    with pytest.raises(DataError, match=rf"row 2, column 'f': '{fold}' is not a fold number"):
        scan_table(table)


def test_a_table_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"there is no table {tmp_path}/labels\.csv"):
        scan_table(TableColumns(tmp_path / "labels.csv", "image", "dx"))


def test_a_table_of_another_kind_is_named(make_images: Make) -> None:
    root = make_images("a.png")
    with pytest.raises(DataError, match=r"extension '\.xlsx'; known are \.csv, \.tsv"):
        scan_table(write_table(root, "x", "labels.xlsx"))


@pytest.mark.parametrize("cell", ["set/link.png", "set/far/x.png", "link"])
def test_a_table_cell_that_leads_out_by_a_link_is_refused(make_images: Make, cell: str) -> None:
    root = make_images("far/x.png", "top/set/a.png")
    (root / "top/set/link.png").symlink_to(root / "far/x.png")
    (root / "top/set/far").symlink_to(root / "far")
    table = write_table(root / "top", f"image,dx\nset/a.png,p\n{cell},q\n")
    with pytest.raises(DataError, match=r"leads out of .*top, to .*far"):
        scan_table(table)


def test_a_table_cell_that_leads_out_by_a_link_is_followed_when_asked(make_images: Make) -> None:
    root = make_images("far/x.png", "top/a.png")
    (root / "top/link.png").symlink_to(root / "far/x.png")
    table = write_table(root / "top", "image,dx\na.png,p\nlink,q\n")
    assert ids(scan_table(table, options=ScanOptions(follow_links=True))) == ["a.png", "link.png"]


def test_six_thousand_rows_are_found_without_comparing_each_with_each(tmp_path: Path) -> None:
    (tmp_path / "i").mkdir()
    for number in range(6000):
        (tmp_path / f"i/{number}.jpg").touch()
    rows = "\n".join(f"{number},{number % 2}" for number in range(6000))
    table = write_table(tmp_path, f"image,dx\n{rows}\n")
    begin = time.perf_counter()
    assert len(scan_table(table)) == 6000
    assert time.perf_counter() - begin < 5  # 0.1 s on an idle machine


# --- unlabelled files ------------------------------------------------------------------


def test_files_and_folders_are_mixed_in_any_order(make_images: Make) -> None:
    root = make_images("a/1.png", "a/deep/2.png", "b/3.png", "c/4.png")
    manifest = scan_files([root / "b/3.png", root / "a"])
    assert (manifest.root, ids(manifest)) == (root, ["a/1.png", "a/deep/2.png", "b/3.png"])


def test_the_order_of_paths_changes_nothing(make_images: Make) -> None:
    root = make_images("a/1.png", "b/3.png")
    paths = [root / "a", root / "b/3.png"]
    assert scan_files(paths).fingerprint() == scan_files(paths[::-1]).fingerprint()


def test_a_file_that_is_reached_twice_is_there_once(make_images: Make) -> None:
    root = make_images("a/1.png", "a/2.png")
    paths = [root / "a", root / "a/1.png", root / "a/../a/1.png", root / "a"]
    assert ids(scan_files(paths)) == ["1.png", "2.png"]


def test_unlabelled_files_have_no_label(make_images: Make) -> None:
    manifest = scan_files([make_images(*PETS)])
    assert (manifest.class_names, column(manifest, "label")) == ((), [None] * 3)


def test_one_file_has_its_folder_as_root(make_images: Make) -> None:
    root = make_images("a/1.png")
    assert (scan_files([root / "a/1.png"]).root, ids(scan_files([root / "a/1.png"]))) == (
        root / "a",
        ["1.png"],
    )


def test_a_named_file_is_taken_whatever_its_extension(make_images: Make) -> None:
    root = make_images("a/scan", "a/.hidden")
    assert ids(scan_files([root / "a/scan", root / "a/.hidden"])) == [".hidden", "scan"]


def test_in_a_folder_only_images_are_taken(make_images: Make) -> None:
    root = make_images("a/scan", "a/1.png")
    manifest = scan_files([root / "a"])
    assert (ids(manifest), manifest.ignored) == (["1.png"], {"not an image": 1})


def test_a_path_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"no file or folder {tmp_path}/x\.png"):
        scan_files([tmp_path / "x.png"])


def test_a_pipe_is_refused_without_being_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.png")
    with pytest.raises(DataError, match=r"x\.png is neither a file nor a folder"):
        scan_files([tmp_path / "x.png"])


def test_a_folder_without_any_image_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"no image in {tmp_path}"):
        scan_files([tmp_path])


def test_no_path_at_all_is_refused() -> None:
    with pytest.raises(DataError, match="no path was given"):
        scan_files([])


def test_a_named_file_whose_name_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"\xff.png")
    try:
        path.write_bytes(b"x")
    except OSError:
        pytest.skip("this file system refuses such names")
    with pytest.raises(DataError, match=re.escape(r"'\udcff.png' is not valid UTF-8")):
        scan_files([path])


# --- checks ----------------------------------------------------------------------------


def test_a_manifest_without_records_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"no image in {tmp_path}"):
        check_classes(Manifest.make(tmp_path, {"record_id": [], "label": []}))


def test_a_label_may_be_missing_from_one_of_three_splits(tmp_path: Path) -> None:
    splits = ["train", "validation", "test", "train", "test"]
    labels = ["a", "a", "a", "b", "b"]
    manifest = Manifest.make(
        tmp_path, {"record_id": list("12345"), "label": labels, "split": splits}
    )
    check_classes(manifest)
