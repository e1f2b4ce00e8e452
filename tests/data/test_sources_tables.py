from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from sightline.data.sources import ScanOptions, TableColumns, scan_files, scan_table
from sightline.errors import DataError
from sightline.records import Manifest

Make = Callable[..., Path]

PETS = ("cat/a.png", "cat/b.png", "dog/c.png")


def ids(manifest: Manifest) -> list[str]:
    return manifest.table["record_id"].to_list()


def column(manifest: Manifest, name: str) -> list[object]:
    return manifest.table[name].to_list()


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


def test_the_class_names_of_a_table_are_sorted(make_images: Make) -> None:
    table = pets_table(make_images, "image,dx\na,z\nb,B\nc,a\n")
    assert scan_table(table).class_names == ("B", "a", "z")


def test_a_list_in_place_of_a_label_is_refused(make_images: Make) -> None:
    root = make_images("1.png", "2.png")
    pl.DataFrame({"image": [1, 2], "dx": [["x"], ["y"]]}).write_parquet(root / "labels.parquet")
    with pytest.raises(DataError, match=r"labels\.parquet, column 'dx', holds List\(String\)"):
        scan_table(TableColumns(root / "labels.parquet", "image", "dx"))


def test_a_label_in_only_one_split_of_a_table_is_refused_by_the_table(make_images: Make) -> None:
    text = "image,dx,p\na,x,train\nb,x,test\nc,y,test\n"
    with pytest.raises(
        DataError,
        match=r"labels\.csv: label 'y' is only in test \(1 images\).*leave the splits out",
    ):
        scan_table(pets_table(make_images, text, split_col="p"))


def test_a_table_may_keep_images_aside_as_external(make_images: Make) -> None:
    text = "image,dx,p\na,x,train\nb,y,train\nc,x,external\n"  # of one class alone
    manifest = scan_table(pets_table(make_images, text, split_col="p"))
    assert column(manifest, "split") == ["train", "train", "external"]


def test_a_label_of_external_images_alone_cannot_be_learned(make_images: Make) -> None:
    text = "image,dx,p\na,x,train\nb,y,train\nc,z,external\n"
    with pytest.raises(DataError, match=r"label 'z' is in external \(1 images\) .* not in train"):
        scan_table(pets_table(make_images, text, split_col="p"))


def test_missing_files_of_a_table_are_told_what_to_do(make_images: Make) -> None:
    table = pets_table(make_images, "image,dx\na,x\nnone,y\n")
    with pytest.raises(
        DataError,
        match=r"labels\.csv are not below .*Correct the names, give the folder .* as the root",
    ):
        scan_table(table)


def test_hidden_files_are_not_found_by_name(make_images: Make) -> None:
    root = make_images("i/a.png", "i/.b.png", "c.png")
    with pytest.raises(DataError, match=r"1 of 2 files .* row 2 '\.b'"):
        scan_table(write_table(root, "image,dx\na,x\n.b,y\n"))


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
