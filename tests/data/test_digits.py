from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from sightline.data.digits import write_digits
from sightline.data.sources import scan_folder
from sightline.errors import DataError


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_digits(tmp_path_factory.mktemp("demo") / "digits")


@pytest.fixture
def digits(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "digits"))


def times(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_the_digits_are_a_data_set_of_ten_classes(written: Path) -> None:
    manifest = scan_folder(written)
    assert (len(manifest), manifest.class_names) == (1797, tuple("0123456789"))


def test_nothing_is_left_but_the_digits(written: Path) -> None:
    assert scan_folder(written).ignored == {}


def test_pixels_are_scaled_to_the_full_range(written: Path) -> None:
    image = np.asarray(Image.open(written / "0" / "digit_0000.png"))
    assert image.dtype == np.uint8
    assert np.array_equal(image, np.round(load_digits().images[0] * 255 / 16))


def test_only_the_named_folder_is_made(written: Path) -> None:
    assert [path.name for path in written.parent.iterdir()] == ["digits"]


def test_a_folder_of_digits_is_reused(digits: Path) -> None:
    before = times(digits)
    assert write_digits(digits) == digits
    assert times(digits) == before


def test_hidden_files_do_not_matter(digits: Path) -> None:
    (digits / ".DS_Store").touch()
    (digits / "3" / ".DS_Store").touch()
    assert write_digits(digits) == digits


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    assert len(scan_folder(write_digits(tmp_path / "new"))) == 1797


def test_missing_parents_are_made(tmp_path: Path) -> None:
    assert write_digits(tmp_path / "a" / "b" / "digits").is_dir()


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(DataError, match=rf"{tmp_path} already exists and is not the digits"):
        write_digits(tmp_path)


def test_a_folder_with_other_files_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("x")
    before = times(tmp_path)
    with pytest.raises(DataError, match="nothing was written"):
        write_digits(tmp_path)
    assert times(tmp_path) == before


@pytest.mark.parametrize("change", ["missing", "emptied", "added"])
def test_a_changed_set_of_digits_is_refused(digits: Path, change: str) -> None:
    first = digits / "0" / "digit_0000.png"
    if change == "missing":
        first.unlink()
    elif change == "emptied":
        first.write_bytes(b"")
    else:
        (digits / "0" / "mine.png").write_bytes(b"x")
    with pytest.raises(DataError, match="is not the digits; nothing was written"):
        write_digits(digits)


def test_a_file_of_that_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "digits").write_text("x")
    with pytest.raises(DataError, match=r"digits already exists and is not the digits"):
        write_digits(tmp_path / "digits")


def test_a_parent_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match=r"cannot write the digits to .*: Not a directory"):
        write_digits(tmp_path / "file" / "digits")
