"""What images are to several runs together: what one learned from, no other tests on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from sightline import runs
from sightline.errors import DataError
from sightline.recipes import load_recipe
from sightline.records import Manifest
from sightline.runs import Run
from sightline.workflow.members import images_of

CLASSES = ["dark", "light"]


def manifest(root: Path, splits: Mapping[str, str]) -> Manifest:
    """Return images by name with a split each; those of one name have the same content."""
    return Manifest.make(
        root,
        {
            "record_id": list(splits),
            "label": [CLASSES[place % 2] for place in range(len(splits))],
            "split": list(splits.values()),
            "sha256": list(splits),
        },
    )


def run_of(path: Path, images: Manifest) -> Run:
    path.mkdir()
    runs.save_manifest(images, path / "manifest.parquet")
    runs.write_sealed(path / "model.json", {"class_names": CLASSES, "best_epoch": 0})
    return Run(path, {"state": "finished"}, load_recipe("basic"))


def splits_of(images: Manifest) -> dict[str, str]:
    return dict(images.table.select("record_id", "split").iter_rows())


def test_what_a_fold_is_judged_on_is_no_test_split_of_all_folds(tmp_path: Path) -> None:
    deals = [
        {"a": "test", "b": "train", "c": "validation"},
        {"a": "validation", "b": "test", "c": "train"},
        {"a": "train", "b": "validation", "c": "test"},
    ]
    opened = [
        run_of(tmp_path / f"r0-f{number}", manifest(tmp_path, deal))
        for number, deal in enumerate(deals)
    ]
    assert set(splits_of(images_of(opened, None)).values()) == {"train"}


def test_only_what_all_validated_judges_and_what_none_learned_from_is_test(tmp_path: Path) -> None:
    one = manifest(tmp_path, {"a": "train", "b": "validation", "c": "validation", "d": "test"})
    two = manifest(tmp_path, {"a": "train", "b": "validation", "c": "train", "e": "test"})
    opened = [run_of(tmp_path / "one", one), run_of(tmp_path / "two", two)]
    expected = {"a": "train", "b": "validation", "c": "train", "d": "test", "e": "test"}
    assert splits_of(images_of(opened, None)) == expected


def test_a_copy_in_another_folder_of_what_was_learned_is_no_test_image(tmp_path: Path) -> None:
    one = manifest(tmp_path / "here", {"a": "train", "b": "train"})
    two = manifest(tmp_path / "there", {"a": "test", "c": "test"})
    opened = [run_of(tmp_path / "one", one), run_of(tmp_path / "two", two)]
    expected = {"here/a": "train", "here/b": "train", "there/a": "train", "there/c": "test"}
    assert splits_of(images_of(opened, None)) == expected


def test_of_given_images_those_that_a_member_has_are_left_out(tmp_path: Path) -> None:
    own = manifest(tmp_path, {"a": "train", "b": "validation", "c": "test"})
    opened = [run_of(tmp_path / "one", own), run_of(tmp_path / "two", own)]
    given = manifest(tmp_path, {"c": "external", "d": "external"})
    expected = {"a": "train", "b": "train", "c": "test", "d": "validation"}
    assert splits_of(images_of(opened, given)) == expected


def test_labels_that_the_runs_do_not_know_are_named(tmp_path: Path) -> None:
    own = manifest(tmp_path, {"a": "train"})
    opened = [run_of(tmp_path / "one", own), run_of(tmp_path / "two", own)]
    foreign = Manifest.make(tmp_path, {"record_id": ["z"], "label": ["red"]})
    with pytest.raises(DataError, match=r"has labels \['red'\] that the runs do not know"):
        images_of(opened, foreign)
