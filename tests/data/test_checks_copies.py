from __future__ import annotations

from typing import Any

import pytest
from audited_sets import Row, findings, rows


def record(record_id: str, label: str | None = "a", **columns: Any) -> Row:
    return {"record_id": record_id, "label": label, **columns}


def test_equal_pixels_under_two_labels_are_an_error_that_names_every_id() -> None:
    same = [record("a/1.png", pixels=7), record("b/1.png", "b", pixels=7), record("b/2.png", "b")]
    found = findings(same)["conflicting-labels"]
    assert (found.outcome, found.severity) == ("found", "error")
    assert found.evidence["groups"] == [
        {"group": "7", "by_label": {"a": ["a/1.png"], "b": ["b/1.png"]}, "kind": "same picture"}
    ]


def test_near_copies_under_two_labels_are_a_warning() -> None:
    chosen = [record("a/1.png"), record("b/1.png", "b"), record("b/2.png", "b")]
    found = findings(chosen, near=[["a/1.png", "b/1.png"]])["conflicting-labels"]
    assert (found.outcome, found.severity) == ("found", "warning")
    assert found.evidence["groups"][0]["by_label"] == {"a": ["a/1.png"], "b": ["b/1.png"]}


def test_a_conflict_of_equal_pixels_is_not_told_again_as_one_of_near_copies() -> None:
    same = [record("a/1.png", pixels=7), record("b/1.png", "b", pixels=7)]
    found = findings(same, near=[["a/1.png", "b/1.png"]])["conflicting-labels"]
    assert [group["kind"] for group in found.evidence["groups"]] == ["same picture"]


def test_copies_under_one_label_are_no_conflict() -> None:
    same = [record("a/1.png", pixels=7), record("a/2.png", pixels=7), record("b/1.png", "b")]
    assert findings(same)["conflicting-labels"].outcome == "passed"


def test_copies_across_splits_are_an_error_with_the_ids_by_split() -> None:
    chosen = [
        record("train/a/1.png", split="train", sha256="c" * 64),
        record("train/a/2.png", split="train", sha256="c" * 64),
        record("test/a/1.png", split="test", sha256="c" * 64),
        record("test/a/2.png", split="test"),
    ]
    found = findings(chosen)["copies-across-splits"]
    assert (found.outcome, found.severity) == ("found", "error")
    assert found.title == (
        "1 picture lies byte for byte on several sides of the split (3 images): 1 train and test."
    )
    assert found.evidence["groups"] == [
        {
            "group": "c" * 16,
            "by_split": {"test": ["test/a/1.png"], "train": ["train/a/1.png", "train/a/2.png"]},
        }
    ]


@pytest.mark.parametrize(
    ("sides", "severity"),
    [(("train", "external"), "warning"), (("train", "validation", "external"), "error")],
)
def test_only_the_border_of_external_images_is_a_mere_warning(
    sides: tuple[str, ...], severity: str
) -> None:
    chosen = [record(f"{side}.png", split=side, sha256="c" * 64) for side in sides]
    chosen += [record(f"other-{side}.png", split=side) for side in sides]
    assert findings(chosen)["copies-across-splits"].severity == severity


def test_near_copies_across_splits_are_an_error() -> None:
    chosen = [record("1.png", split="train"), record("2.png", split="validation")]
    found = findings(chosen, near=[["1.png", "2.png"]])["near-copies-across-splits"]
    assert (found.outcome, found.severity) == ("found", "error")


def test_quarantined_copies_do_not_count() -> None:
    lost = {"status": "quarantined", "reason": "EMPTY", "sha256": "e" * 64, "width": None}
    chosen = [record("1.png", split="train", **lost), record("2.png", split="test", **lost)]
    chosen += [record("3.png", split="train"), record("4.png", split="test")]
    found = findings(chosen)
    assert found["copies-across-splits"].outcome == "passed"
    assert found["exact-copies"].outcome == "passed"


def test_crossing_is_not_applicable_before_a_split() -> None:
    chosen = [record("1.png", sha256="c" * 64), record("2.png", sha256="c" * 64)]
    assert findings(chosen)["copies-across-splits"].outcome == "not applicable"


def test_exact_copies_are_listed_group_by_group() -> None:
    chosen = [record(f"{number}.png", sha256="c" * 64) for number in range(3)]
    found = findings([*chosen, record("x.png")])["exact-copies"]
    assert found.title == "3 files hold only 1 picture: 2 are byte-identical copies."
    assert found.evidence["groups"] == [{"group": "c" * 16, "ids": ["0.png", "1.png", "2.png"]}]


def test_near_copies_tell_how_they_differ_and_how_alike_they_are() -> None:
    chosen = [record("1.png"), record("2.png"), record("3.png")]
    found = findings(chosen, near=[["1.png", "2.png"]], how="mirrored")["near-copies"]
    assert found.evidence["pairs_by_how"] == {"mirrored": 1}
    (group,) = found.evidence["groups"]
    assert group["ids"] == ["1.png", "2.png"]
    assert group["pairs"] == [
        {"first": "1.png", "second": "2.png", "how": "mirrored", "similarity": 0.98}
    ]


@pytest.mark.parametrize("near", [[], [["1.png", "2.png"]]])
def test_a_search_that_was_narrowed_says_what_it_may_have_missed(near: list[list[str]]) -> None:
    chosen = [record("1.png"), record("2.png")]
    whole, narrow = (
        findings(chosen, near=near, radius=radius)["near-copies"] for radius in ((12, 8), (7, 7))
    )
    assert "cropped copies may be missing" not in whole.title
    assert "within 7 bits (7 for turned pictures) instead of 12 (8)" in narrow.title
    assert narrow.evidence["searched_within_bits"] == {"upright": 7, "turned": 7}


def test_copies_in_two_lesions_are_told_apart() -> None:
    chosen = [
        record("1.png", group="l1", sha256="c" * 64),
        record("2.png", group="l2", sha256="c" * 64),
        record("3.png", group="l2"),
    ]
    found = findings(chosen, near=[["1.png", "2.png", "3.png"]])
    for code in ("exact-copies", "near-copies"):
        (across,) = found[code].evidence["across_groups"]
        assert across["by_group"]["l1"] == ["1.png"]
        assert found[code].title.endswith("; 1 picture in more than one of the given groups.")


def test_byte_identical_files_alone_are_no_near_copies() -> None:
    chosen = [record("1.png", sha256="c" * 64), record("2.png", sha256="c" * 64)]
    assert findings(chosen, near=[["1.png", "2.png"]])["near-copies"].outcome == "passed"


def test_a_cluster_that_does_not_bind_is_a_warning_with_all_of_it() -> None:
    found = findings(rows(5), unbound=(("a/0001.jpg", "a/0000.jpg"),))["unbound-cluster"]
    assert (found.outcome, found.severity) == ("found", "warning")
    assert found.evidence["groups"] == [{"ids": ["a/0000.jpg", "a/0001.jpg"]}]


def test_a_cluster_that_does_not_bind_says_what_it_crosses_and_nothing_else_denies_it() -> None:
    chosen = [record("1.png", split="train"), record("2.png", "b", split="test"), record("3.png")]
    found = findings(chosen, unbound=(("1.png", "2.png"),))
    assert "1 of 1 cluster is on several sides" in found["unbound-cluster"].title
    assert "1 of 1 cluster is under several labels" in found["unbound-cluster"].title
    (across,) = found["unbound-cluster"].evidence["across_labels"]
    assert across["by_label"] == {"a": ["1.png"], "b": ["2.png"]}
    for code in ("near-copies", "near-copies-across-splits", "conflicting-labels"):
        assert found[code].title.endswith("; 2 images of unbound-cluster not counted."), code
