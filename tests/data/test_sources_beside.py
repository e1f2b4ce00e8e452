"""Columns of a table beside the images of a manifest."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path

import pytest

from sightline.data.sources import columns_beside
from sightline.errors import DataError
from sightline.records import Manifest

IDS = ["a/one.jpg", "a/two.jpg", "b/three.png"]


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return Manifest.make(tmp_path, {"record_id": IDS, "label": ["x", "x", "y"], "width": [8, 9, 8]})


def table(folder: Path, text: str) -> Path:
    path = folder / "metadata.csv"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "names", [IDS, ["one.jpg", "two.jpg", "three.png"], ["one", "two", "three"]]
)
def test_a_row_is_found_by_path_by_name_and_by_name_without_extension(
    manifest: Manifest, tmp_path: Path, names: list[str]
) -> None:
    rows = "".join(f"{name},{sex}\n" for name, sex in zip(names, "fmf", strict=True))
    path = table(tmp_path, "image,sex\n" + rows)
    found = columns_beside(manifest, ["sex"], table=path)
    assert found.rows() == [("a/one.jpg", "f"), ("a/two.jpg", "m"), ("b/three.png", "f")]


def test_columns_of_numbers_become_numbers_and_what_is_not_known_null(
    manifest: Manifest, tmp_path: Path
) -> None:
    path = table(tmp_path, "image,age,site\none,40.5,back\ntwo,NA,unknown\nthree,7,\n")
    found = columns_beside(manifest, ["age", "site"], table=path)
    assert found["age"].to_list() == [40.5, None, 7.0]
    assert found["site"].to_list() == ["back", None, None]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["2024-05-17", "NA", "2023-12-01"], [date(2024, 5, 17), None, date(2023, 12, 1)]),
        (
            ["2024-05-17 09:30", "", "2023-12-01 23:00"],
            [datetime(2024, 5, 17, 9, 30), None, datetime(2023, 12, 1, 23)],
        ),
        (["2024-05-17", "spring", "NA"], ["2024-05-17", "spring", None]),
        (["17/05/2024", "NA", "NA"], ["17/05/2024", None, None]),
    ],
)
def test_columns_of_iso_dates_become_dates_and_others_stay_text(
    cells: list[str], expected: list[object], manifest: Manifest, tmp_path: Path
) -> None:
    rows = "".join(f"{n},{c}\n" for n, c in zip(["one", "two", "three"], cells, strict=True))
    found = columns_beside(manifest, ["when"], table=table(tmp_path, "image,when\n" + rows))
    assert found["when"].to_list() == expected


def test_rows_of_other_images_are_passed_over_and_images_without_a_row_are_null(
    manifest: Manifest, tmp_path: Path
) -> None:
    path = table(tmp_path, "image,sex\ntwo,m\nfour,f\n")
    found = columns_beside(manifest, ["sex"], table=path)
    assert found["sex"].to_list() == [None, "m", None]


def test_the_manifests_own_columns_need_no_table(manifest: Manifest) -> None:
    assert columns_beside(manifest, ["width"])["width"].to_list() == [8, 9, 8]


def test_the_tables_column_comes_before_the_manifests_own(
    manifest: Manifest, tmp_path: Path
) -> None:
    path = table(tmp_path, "image,width\none,1\ntwo,2\nthree,3\n")
    found = columns_beside(manifest, ["width"], table=path)
    assert found["width"].to_list() == [1, 2, 3]


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        ("image,sex\none,f\n", ["age"], r"there is no column 'age' in the table .*metadata\.csv"),
        (
            "image,sex\nnine,f\n",
            ["sex"],
            r"no column of .* names an image of .*\['image', 'sex'\], the images",
        ),
        ("image,sex\none,f\none.jpg,m\n", ["sex"], r"says different things of 'a/one\.jpg'"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(
    manifest: Manifest, tmp_path: Path, text: str, columns: list[str], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        columns_beside(manifest, columns, table=table(tmp_path, text))


def test_a_name_that_several_images_have_is_refused(tmp_path: Path) -> None:
    manifest = Manifest.make(tmp_path, {"record_id": ["a/1.jpg", "b/1.jpg"], "label": ["x", "y"]})
    path = table(tmp_path, "image,sex\n1,f\n")
    with pytest.raises(DataError, match=r"row 1, column 'image': '1' could be any of 2 images"):
        columns_beside(manifest, ["sex"], table=path)


def test_a_column_without_a_table_is_refused(manifest: Manifest) -> None:
    with pytest.raises(DataError, match=r"no column 'age' in the manifest, .*--metadata"):
        columns_beside(manifest, ["age"])
