"""An audit as a noun, and how sure a count can be."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from sightline.errors import RecipeError
from sightline.records import (
    PAIRS_SCHEMA,
    QUARANTINE_SCHEMA,
    Audit,
    Finding,
    Manifest,
    half_width,
    in_points,
)


@pytest.fixture
def audit() -> Audit:
    """Two images, an error and a warning."""
    return Audit(
        Manifest.make(Path("/photos"), {"record_id": ["a.png", "b.png"], "label": ["x", "y"]}),
        (
            Finding("conflicting-labels", "error", "One picture has two labels."),
            Finding("near-copies", "warning", "Two are alike."),
            Finding("shortcut", "error", "Nothing.", outcome="passed"),
        ),
        pl.DataFrame(schema=PAIRS_SCHEMA),
        pl.DataFrame(schema=QUARANTINE_SCHEMA),
        num_read=2,
        num_reused=0,
        seconds=0.1,
    )


def test_errors_are_what_was_found_and_not_what_was_looked_for(audit: Audit) -> None:
    assert [finding.code for finding in audit.errors] == ["conflicting-labels"]


def test_a_muted_error_does_not_stand_and_says_that_it_was_muted(audit: Audit) -> None:
    muted = audit.muting(["conflicting-labels"])
    assert muted.errors == ()
    assert [finding.muted for finding in muted.findings] == [True, False, False]


def test_muting_anew_replaces_what_was_muted(audit: Audit) -> None:
    assert audit.muting(["conflicting-labels"]).muting([]).errors == audit.errors


def test_an_unknown_code_is_refused_with_the_known_ones(audit: Audit) -> None:
    with pytest.raises(RecipeError, match=r"'near-copy'.*There are: conflicting-labels, near-cop"):
        audit.muting(["near-copy"])


def test_an_audit_becomes_json_and_its_findings_come_back(audit: Audit) -> None:
    plain = json.loads(json.dumps(audit.to_dict()))
    assert plain["errors"] == ["conflicting-labels"]
    assert tuple(Finding.from_dict(each) for each in plain["findings"]) == audit.findings


def test_other_columns_are_refused(audit: Audit) -> None:
    with pytest.raises(ValueError, match="pairs must have the columns"):
        Audit(audit.manifest, (), pl.DataFrame({"first": ["a"]}), audit.quarantine, 0, 0, 0.0)


def test_16_images_are_sure_to_24_points() -> None:
    assert in_points(16) == "± 24 points"


def test_many_images_are_sure_to_less_than_a_point() -> None:
    assert in_points(100_000) == "± 0.3 points"


def test_four_times_the_images_are_twice_as_sure() -> None:
    assert half_width(400) == pytest.approx(2 * half_width(1600))


def test_no_image_says_nothing() -> None:
    assert half_width(0) == 1


def test_a_negative_count_is_refused() -> None:
    with pytest.raises(ValueError, match="0 or more, got -1"):
        half_width(-1)
