"""What images are to several runs together: what one learned from, no other tests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl
import pytest

from sightline import runs
from sightline.errors import DataError, RunError
from sightline.recipes import load_recipe
from sightline.records import Manifest
from sightline.runs import Run
from sightline.workflow.members import Images, images_of, members_of

CLASSES = ["dark", "light"]


def manifest(
    root: Path, splits: Mapping[str, str | None], groups: Mapping[str, str] | None = None
) -> Manifest:
    """Return images by name with a split each; the last letter of a name is the content."""
    return Manifest.make(
        root,
        {
            "record_id": list(splits),
            "label": [CLASSES[ord(name[-1]) % 2] for name in splits],
            "split": list(splits.values()),
            "sha256": [name[-1] for name in splits],
            "group": [(groups or {}).get(name) for name in splits],
        },
    )


def run_of(path: Path, images: Manifest) -> Run:
    path.mkdir()
    runs.save_manifest(images, path / "manifest.parquet")
    runs.write_sealed(path / "model.json", {"class_names": CLASSES, "best_epoch": 0})
    return Run(path, {"state": "finished"}, load_recipe("basic"))


def splits_of(images: Images) -> dict[str, str | None]:
    return dict(images.whole.table.select("record_id", "split").iter_rows())


def judges_of(images: Images) -> list[str]:
    return images.judges.table["record_id"].to_list()


def opened(tmp_path: Path, *manifests: Manifest) -> Sequence[Run]:
    return [run_of(tmp_path / f"run-{place}", each) for place, each in enumerate(manifests)]


def test_what_a_fold_is_judged_on_is_no_test_split_of_all_folds(tmp_path: Path) -> None:
    deals = [
        {"a": "test", "b": "train", "c": "validation"},
        {"a": "validation", "b": "test", "c": "train"},
        {"a": "train", "b": "validation", "c": "test"},
    ]
    images = images_of(opened(tmp_path, *(manifest(tmp_path, deal) for deal in deals)), None)
    assert set(splits_of(images).values()) == {"train"}
    assert judges_of(images) == []


def test_only_what_all_validated_judges_and_what_none_learned_from_is_test(tmp_path: Path) -> None:
    one = manifest(tmp_path, {"a": "train", "b": "validation", "c": "validation", "d": "test"})
    two = manifest(tmp_path, {"a": "train", "b": "validation", "c": "train", "e": "test"})
    images = images_of(opened(tmp_path, one, two), None)
    expected = {"a": "train", "b": "validation", "c": "train", "d": "test", "e": "test"}
    assert splits_of(images) == expected
    assert judges_of(images) == ["b"]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_group_that_one_member_alone_knows_of_does_not_judge_what_it_learned_from(
    tmp_path: Path, order: tuple[int, int]
) -> None:
    deal = {"a": "train", "b": "validation", "c": "validation", "d": "test"}
    both = [manifest(tmp_path, deal), manifest(tmp_path, deal, {"a": "lesion", "b": "lesion"})]
    images = images_of(opened(tmp_path, *(both[place] for place in order)), None)
    assert judges_of(images) == ["c"]
    assert splits_of(images) == {"a": "train", "b": "train", "c": "validation", "d": "test"}
    assert "1 images that every run validated belong with images that one" in images.told[0]


def test_what_belongs_with_images_that_a_run_was_chosen_by_is_no_test(tmp_path: Path) -> None:
    one = manifest(tmp_path, {"a": "train", "b": "validation"}, {"b": "lesion"})
    two = manifest(tmp_path, {"a": "train", "d": "test", "e": "test"}, {"d": "lesion"})
    images = images_of(opened(tmp_path, one, two), None)
    assert splits_of(images) == {"a": "train", "b": "validation", "d": "validation", "e": "test"}
    assert judges_of(images) == []


def test_what_one_run_alone_validated_is_not_said_to_be_learned_from(tmp_path: Path) -> None:
    one = manifest(tmp_path, {"a": "train", "b": "validation", "c": "validation"})
    two = manifest(tmp_path, {"a": "train", "b": "validation", "c": None})
    images = images_of(opened(tmp_path, one, two), None)
    assert splits_of(images) == {"a": "train", "b": "validation", "c": "validation"}
    assert judges_of(images) == ["b"]


def test_images_of_unlike_labels_judge_nothing_and_are_counted(tmp_path: Path) -> None:
    one = manifest(tmp_path, {"a": "train", "b": "validation", "d": "validation"})
    other = one.table["label"].to_list()
    other[1] = next(each for each in CLASSES if each != other[1])
    two = Manifest.make(tmp_path, one.table.with_columns(label=pl.Series(other)))
    images = images_of(opened(tmp_path, one, two), None)
    assert judges_of(images) == ["d"]
    assert splits_of(images) == {"a": "train", "b": None, "d": "validation"}
    assert images.told == ("1 images have not the same label in all runs: they judge nothing.",)


def test_a_copy_in_another_folder_is_the_same_image(tmp_path: Path) -> None:
    deal = {"a": "train", "b": "validation", "c": "test"}
    one, two = manifest(tmp_path / "here", deal), manifest(tmp_path / "there", deal)
    images = images_of(opened(tmp_path, one, two), None)
    assert splits_of(images) == {f"here/{name}": split for name, split in deal.items()}
    assert judges_of(images) == ["here/b"]


def test_a_copy_elsewhere_of_what_was_learned_is_no_test_image(tmp_path: Path) -> None:
    one = manifest(tmp_path / "here", {"a": "train", "b": "train"})
    two = manifest(tmp_path / "there", {"1a": "test", "2a": "test", "c": "test"})
    images = images_of(opened(tmp_path, one, two), None)
    expected = {"here/a": "train", "here/b": "train", "there/2a": "train", "there/c": "test"}
    assert splits_of(images) == expected


def test_a_folder_under_two_names_is_one(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    deal = {"a": "train", "b": "validation"}
    both = [manifest(tmp_path / name, deal) for name in ("real", "link")]
    bare = [Manifest.make(each.root, each.table.drop("sha256")) for each in both]
    assert judges_of(images_of(opened(tmp_path, *bare), None)) == ["b"]


def test_of_given_images_those_that_a_member_has_are_left_out(tmp_path: Path) -> None:
    own = manifest(tmp_path, {"a": "train", "b": "validation", "c": "test"}, {"c": "lesion"})
    given = manifest(tmp_path, {"c": "external", "d": "external", "e": "external"}, {"e": "lesion"})
    images = images_of(opened(tmp_path, own, own), given)
    assert splits_of(images) == {"a": "train", "b": "validation", "c": "test", "d": "validation"}
    assert judges_of(images) == ["d"]


def test_labels_that_the_runs_do_not_know_are_named(tmp_path: Path) -> None:
    own = manifest(tmp_path, {"a": "train"})
    foreign = Manifest.make(tmp_path, {"record_id": ["z"], "label": ["red"]})
    with pytest.raises(DataError, match=r"has labels \['red'\] that the runs do not know"):
        images_of(opened(tmp_path, own, own), foreign)


def test_folds_that_are_missing_are_named(tmp_path: Path) -> None:
    pool = manifest(tmp_path, {"a": None, "b": None})
    runs.save_manifest(pool, tmp_path / "manifest.parquet")
    about = {"folds": 2, "repeats": 1, "cache": True, "allow_leak": False}
    runs.write_sealed(tmp_path / "cv.json", about)
    with pytest.raises(RunError, match=r"2 of its 2 folds \(r0-f0, r0-f1\).*sightline cv --resume"):
        members_of([tmp_path])
