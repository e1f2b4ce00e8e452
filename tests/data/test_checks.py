from __future__ import annotations

import dataclasses

import polars as pl
import pytest
from audited_sets import audited, findings, rows

from sightline.data.auditing.checks import CODES, run_checks


def test_codes_are_those_of_the_findings_in_their_order() -> None:
    found = run_checks(*audited(rows(3, "a") + rows(3, "b")))
    assert tuple(finding.code for finding in found) == CODES
    assert len(set(CODES)) == len(CODES) == 24


def test_a_sound_set_has_no_finding_that_stands() -> None:
    sound = [
        row
        for split, count in (("train", 500), ("validation", 400), ("test", 400))
        for label in "ab"
        for row in rows(count, label, split=split)
    ]
    assert [finding.title for finding in findings(sound).values() if finding.stands] == []


@pytest.mark.parametrize(
    "chosen",
    [
        [],
        rows(1, None),
        rows(3, "a"),
        rows(4, "a", status="quarantined", reason="EMPTY", width=None),
    ],
    ids=["empty", "one without a label", "one class", "nothing readable"],
)
def test_every_check_returns_a_finding_for_the_smallest_sets(
    chosen: list[dict[str, object]],
) -> None:
    assert list(findings(chosen)) == list(CODES)


def test_a_finding_that_is_not_applicable_says_why() -> None:
    found = findings(rows(3, None))
    reasons = [finding.title for finding in found.values() if finding.outcome == "not applicable"]
    assert len(reasons) > 5
    assert "No image is usable." not in reasons
    assert all(reason.endswith(".") and len(reason) > 20 for reason in reasons)


def test_where_no_image_is_usable_nothing_is_said_of_images() -> None:
    broken = rows(4, "a", status="quarantined", reason="EMPTY") + rows(
        2, "b", status="quarantined", reason="EXT_MISMATCH"
    )
    found = findings(broken, ignored={"hidden or system": 1})
    of_files = {code: found.pop(code) for code in ("unreadable-files", "ignored-files")}
    assert [finding.outcome for finding in of_files.values()] == ["found", "found"]
    del found["changed-files"]
    assert {(one.outcome, one.title, bool(one.evidence)) for one in found.values()} == {
        ("not applicable", "No image is usable.", False)
    }


def test_every_finding_that_was_found_has_advice() -> None:
    chosen = rows(20, "a", status="noted", reason="EXT_MISMATCH, CMYK") + rows(1, "b", bits=16)
    found = [f for f in findings(chosen, ignored={"hidden or system": 1}).values() if f.stands]
    assert len(found) >= 5
    assert all(finding.advice for finding in found)


def test_rows_of_other_records_are_refused() -> None:
    manifest, inspected, copies = audited(rows(3))
    with pytest.raises(ValueError, match="3 record ids in their order, got 2 rows"):
        run_checks(manifest, inspected.head(2), copies)


def test_copies_of_another_set_are_refused() -> None:
    manifest, inspected, copies = audited(rows(3))
    short = dataclasses.replace(copies, near_group=pl.Series([None], dtype=pl.String))
    with pytest.raises(ValueError, match=r"copies\.near_group must have 3 values, got 1"):
        run_checks(manifest, inspected, short)
