from __future__ import annotations

from dataclasses import replace

import pytest
from audited_sets import audited, findings, rows

from sightline.data.auditing.checks import Earlier, run_checks


def broken(count: int, label: str, reason: str = "TRUNCATED") -> list[dict[str, object]]:
    made = rows(count, label, status="quarantined", reason=reason, width=None, pixels=None)
    return [{**row, "record_id": f"{label}/broken{i:03d}.jpg"} for i, row in enumerate(made)]


def test_unreadable_files_are_named_by_reason_and_counted_by_class() -> None:
    chosen = rows(600, "a") + broken(2, "a") + broken(1, "b", "EMPTY") + rows(600, "b")
    found = findings(chosen)["unreadable-files"]
    assert (found.outcome, found.severity) == ("found", "warning")
    assert found.title == "3 of 1,203 files cannot be read (0.2 %): 2 TRUNCATED and 1 EMPTY."
    assert found.evidence["ids_by_reason"] == {
        "TRUNCATED": ["a/broken000.jpg", "a/broken001.jpg"],
        "EMPTY": ["b/broken000.jpg"],
    }
    assert found.evidence["counts_by_class"] == {"a": 2, "b": 1}


@pytest.mark.parametrize(
    ("sound", "of_class", "lost", "severity"),
    [(1000, 1000, 20, "warning"), (1000, 1000, 21, "error"), (11_000, 1000, 101, "error"),
     (3000, 19, 1, "warning"), (3000, 18, 1, "error")],
    ids=["1 %", "over 1 %", "over 100 files", "5 % of a class", "over 5 % of a class"],
)  # fmt: skip
def test_unreadable_files_are_an_error_past_the_budget(
    sound: int, of_class: int, lost: int, severity: str
) -> None:
    chosen = rows(sound, "a") + rows(of_class - lost * (of_class == 1000), "b") + broken(lost, "b")
    assert findings(chosen)["unreadable-files"].severity == severity


def test_a_class_that_loses_much_is_named() -> None:
    found = findings(rows(3000, "a") + rows(9, "b") + broken(1, "b"))["unreadable-files"]
    assert "class 'b' loses 1 of 10" in found.title


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ("ab", "classes 'a' (1 of 10) and 'b' (1 of 10) lose more than 5 %."),
        ("abcd", "classes 'a' (1 of 10), 'b' (1 of 10), 'c' (1 of 10) and 1 other lose more than"),
    ],
)
def test_of_several_classes_that_lose_much_three_are_named(labels: str, expected: str) -> None:
    lost = [row for label in labels for row in rows(9, label) + broken(1, label)]
    found = findings(rows(3000, "z") + lost)["unreadable-files"]
    assert expected in found.title
    assert len(found.evidence["classes_over_budget"]) == len(labels)


def test_changed_files_are_an_error_and_not_counted_as_unreadable() -> None:
    found = findings(rows(50, "a") + broken(1, "a", "CHANGED"), earlier=Earlier(50))
    assert found["changed-files"].severity == "error"
    assert found["changed-files"].evidence["ids"] == ["a/broken000.jpg"]
    assert found["unreadable-files"].outcome == "passed"


def test_whether_files_changed_is_not_known_without_an_earlier_audit() -> None:
    assert findings(rows(3), earlier=None)["changed-files"].outcome == "not applicable"
    assert findings(rows(3), earlier=Earlier(50))["changed-files"].outcome == "passed"


def test_files_that_are_gone_since_the_earlier_audit_are_named() -> None:
    found = findings(rows(3), earlier=Earlier(3, ("b/1.jpg",)))["changed-files"]
    assert (found.outcome, found.severity) == ("found", "warning")
    assert found.evidence == {"gone": ["b/1.jpg"]}
    assert "1 file that it saw is gone" in found.title


def test_a_file_of_another_format_is_named_by_its_format() -> None:
    odd = {"record_id": "a/x.jpg", "label": "a", "format": "PNG", "status": "noted",
           "reason": "EXT_MISMATCH, TRAILING_BYTES"}  # fmt: skip
    found = findings([*rows(5), odd])
    assert found["extension-mismatch"].evidence == {"ids_by_format": {"PNG": ["a/x.jpg"]}}
    assert found["odd-files"].evidence == {"ids_by_note": {"TRAILING_BYTES": ["a/x.jpg"]}}


@pytest.mark.parametrize(("note", "severity"), [("MULTIFRAME", "warning"), ("CMYK", "info")])
def test_odd_files_warn_where_something_of_the_file_is_not_seen(note: str, severity: str) -> None:
    found = findings(rows(2, "a", status="noted", reason=note))["odd-files"]
    assert (found.outcome, found.severity) == ("found", severity)


def test_a_turned_picture_alone_is_no_odd_file() -> None:
    chosen = rows(2, "a", status="noted", reason="EXIF_ROTATED", orientation=6)
    assert findings(chosen)["odd-files"].outcome == "passed"


def test_what_the_scan_passed_over_is_counted_by_kind() -> None:
    found = findings(rows(2), ignored={"hidden or system": 3, "not an image": 1})["ignored-files"]
    assert found.title == (
        "4 entries of the folder passed over: 3 hidden or system and 1 not an image."
    )
    assert found.severity == "info"


def test_what_the_scan_passed_over_is_named_by_kind() -> None:
    manifest, inspected, copies = audited(rows(2), ignored={"not a regular file": 2})
    scanned = replace(manifest, passed_over={"not a regular file": ("a/gone.jpg", "a/pipe.jpg")})
    (found,) = (
        finding
        for finding in run_checks(scanned, inspected, copies)
        if finding.code == "ignored-files"
    )
    assert found.evidence["names_by_kind"] == {"not a regular file": ["a/gone.jpg", "a/pipe.jpg"]}


def test_names_that_are_not_text_are_a_warning_as_images_are_lost() -> None:
    found = findings(rows(2), ignored={"name is not UTF-8": 2})["ignored-files"]
    assert found.severity == "warning"
