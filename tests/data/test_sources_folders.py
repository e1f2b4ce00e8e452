from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sightline.data.sources import ScanOptions, check_classes, scan_folder, scan_splits
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
    with pytest.raises(DataError, match=rf"1 class folder holds no image: {root}/bird\. Put"):
        scan_folder(root)


def test_a_single_class_is_refused(make_images: Make) -> None:
    root = make_images("cat/a.png", "cat/b.png")
    message = rf"{root} has images of a single class, \['cat'\]; .* Add a second class"
    with pytest.raises(DataError, match=message):
        scan_folder(root)


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
    with pytest.raises(
        DataError,
        match=rf"{root}/set/bird leads out .* to {root}/far\. Copy .*\(follow_links=True, --follow",
    ):
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
    with pytest.raises(DataError, match=rf"holds no image: {root}/val/bird\."):
        scan_folder(root)


def test_an_empty_split_folder_is_refused_by_its_path(make_images: Make) -> None:
    root = make_images(*(f"train/{name}" for name in PETS))
    (root / "val").mkdir()
    with pytest.raises(DataError, match=rf"no image in {root}/val\."):
        scan_folder(root)


def test_a_label_in_only_one_split_is_refused(make_images: Make) -> None:
    root = make_images(*SPLIT_PETS, "train/bird/x.png")
    message = rf"'bird' is only in train \(1 images\) of {root}, .* or leave the splits out"
    with pytest.raises(DataError, match=message):
        scan_folder(root)


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


# --- checks ----------------------------------------------------------------------------


def test_a_manifest_without_records_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"no image in {tmp_path}"):
        check_classes(Manifest.make(tmp_path, {"record_id": [], "label": []}))


@pytest.mark.parametrize(
    "names", [("cat/a.png", "cat/b.png"), ("train/cat/a.png", "train/dog/b.png", "test/owl/c.png")]
)
def test_what_is_only_judged_may_have_one_class_or_lopsided_splits(
    make_images: Make, names: tuple[str, ...]
) -> None:
    assert ids(scan_folder(make_images(*names), ScanOptions(learnable=False))) == sorted(names)


def test_what_is_only_judged_may_not_be_empty(tmp_path: Path) -> None:
    empty = Manifest.make(tmp_path, {"record_id": [], "label": []})
    with pytest.raises(DataError, match=rf"there is no image in {tmp_path}"):
        check_classes(empty, learnable=False)


def test_a_label_may_be_missing_from_one_of_three_splits(tmp_path: Path) -> None:
    splits = ["train", "validation", "test", "train", "test"]
    labels = ["a", "a", "a", "b", "b"]
    manifest = Manifest.make(
        tmp_path, {"record_id": list("12345"), "label": labels, "split": splits}
    )
    check_classes(manifest)


def test_a_folder_called_external_is_a_class_as_any_other(make_images: Make) -> None:
    manifest = scan_folder(make_images("external/a.png", "internal/b.png"))
    assert manifest.class_names == ("external", "internal")
    assert manifest.table["split"].null_count() == 2
