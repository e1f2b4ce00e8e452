from __future__ import annotations

import dataclasses
import itertools
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from reading_pages import HOSTILE, Page, picture

from sightline.judging.reports import (
    AuditContents,
    files_to_dump,
    records_to_show,
    render_audit,
)
from sightline.records import PAIRS_SCHEMA, QUARANTINE_SCHEMA, Audit, Finding, Manifest, Picture

ODD_NAMES = ("a\nb.png", HOSTILE, "x\u202egnp.exe", "\u200fabc.png", '=HYPERLINK("http://x")')


def pairs_of(*rows: tuple[str, str, str, str, float]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=PAIRS_SCHEMA, orient="row")


def quarantine_of(*rows: tuple[str, int | None, str | None, str, str, str]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=QUARANTINE_SCHEMA, orient="row")


def manifest_of(**columns: list[Any]) -> Manifest:
    columns.setdefault("bytes", [100] * len(columns["record_id"]))
    return Manifest.make(Path("/set"), columns)


def audit_of(manifest: Manifest, *findings: Finding, **parts: Any) -> Audit:
    given = {"pairs": pairs_of(), "quarantine": quarantine_of(), **parts}
    return Audit(
        manifest=manifest,
        findings=findings,
        num_read=len(manifest),
        num_reused=0,
        seconds=1.5,
        **given,
    )


def contents_of(audit: Audit, **changes: Any) -> AuditContents:
    """Return what is shown of an audit, with a picture and a header wherever one is asked for."""
    return AuditContents(
        **{
            "name": "my-set",
            "audit": audit,
            "pictures": {name: picture(name) for name in records_to_show(audit)},
            "headers": dict.fromkeys(files_to_dump(audit), b"\xff\xd8JFIF\x00\x01<b>"),
            **changes,
        }
    )


def shown(audit: Audit, **changes: Any) -> Page:
    return Page(render_audit(contents_of(audit, **changes)))


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    """Six images of two classes in two splits, and one that cannot be used."""
    return manifest_of(
        record_id=["a0", "a1", "a2", "b0", "b1", "b2", "broken"],
        label=["a", "a", "a", "b", "b", "b", "b"],
        split=["train", "train", "test", "train", "test", "test", "train"],
        status=[*["ok"] * 6, "quarantined"],
        reason=[None] * 6 + ["TRUNCATED"],
    )


@pytest.fixture(scope="module")
def audit(manifest: Manifest) -> Audit:
    return audit_of(
        manifest,
        Finding("class-imbalance", "info", "Calm.", recipe_change="balance.class_weights=balanced"),
        Finding("unreadable-files", "error", "Bad.", {"record_ids": ["broken"]}, "Mend it."),
        Finding("dark-images", "warning", "Too dark.", {"record_ids": ["a0"]}, muted=True),
        Finding("odd-files", "info", "No file is odd.", outcome="passed"),
        Finding("groups-across-splits", "error", "No groups.", outcome="not applicable"),
        pairs=pairs_of(
            ("a0", "a1", "near copy", "mirrored", 0.97),
            ("a0", "b0", "copy", "same", 1.0),
            ("a1", "a2", "near copy", "rotated 90", 0.93),
            ("b1", "b2", "copy", "same", 1.0),
        ),
        quarantine=quarantine_of(
            ("broken", 11, "0" * 64, "header", "TRUNCATED", "the file was cut off.")
        ),
    )


@pytest.fixture(scope="module")
def page(audit: Audit) -> Page:
    return shown(audit)


# --- the frame -------------------------------------------------------------------------


def test_a_page_loads_nothing_from_outside(page: Page) -> None:
    addresses = [
        value
        for _, attributes in page.elements
        for name, value in attributes.items()
        if name in ("src", "href", "srcset", "action", "poster")
    ]
    assert addresses
    assert all(str(address).startswith(("data:", "#")) for address in addresses)


def test_a_page_has_no_script_and_forbids_them_itself(page: Page) -> None:
    handlers = [name for _, attrs in page.elements for name in attrs if name.startswith("on")]
    (policy,) = [meta["content"] for meta in page.all("meta") if "http-equiv" in meta]
    assert (page.all("script"), handlers) == ([], [])
    assert str(policy).startswith("default-src 'none'; img-src data:;")


def test_every_element_is_closed_and_every_id_stands_once(page: Page) -> None:
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert page.faults == []
    assert len(ids) == len(set(ids))


def test_every_link_leads_somewhere(page: Page) -> None:
    ids = {attributes.get("id") for _, attributes in page.elements}
    assert {str(link["href"])[1:] for link in page.all("a")} <= ids


def test_headings_skip_no_level(page: Page) -> None:
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_every_picture_has_words_for_those_who_cannot_see_it(page: Page) -> None:
    alts = [str(image["alt"]) for image in page.all("img")]
    assert alts[0] == "First of a pair: a0"
    assert all(alts)


def test_equal_contents_make_an_equal_page(audit: Audit) -> None:
    assert render_audit(contents_of(audit)) == render_audit(contents_of(audit))


def test_a_picture_of_another_kind_is_refused(audit: Audit) -> None:
    odd = {"a0": Picture(b"<svg/>", "image/svg+xml", "x", 9, 9)}
    with pytest.raises(ValueError, match=r"image/jpeg.*got 'image/svg\+xml'"):
        render_audit(contents_of(audit, pictures=odd))


# --- headline and findings -------------------------------------------------------------


def test_the_headline_counts_images_quarantine_and_what_stands(page: Page) -> None:
    told = "7 images looked at, each decoded in full; 1 file quarantined. What stands: 1 error, "
    assert told + "1 note." in page.text


def test_the_worst_finding_comes_first_and_muted_ones_last(page: Page) -> None:
    text = page.text
    assert text.index("Bad.") < text.index("Calm.") < text.index("Too dark.")


def test_a_muted_finding_is_marked_and_does_not_count(page: Page) -> None:
    assert "Warning dark-images · muted, so it does not count Too dark." in page.text
    assert "1 error found. Mend this before you train." in page.text
    assert "Findings (2)" in page.text


def test_an_error_that_is_muted_raises_no_alarm(manifest: Manifest) -> None:
    page = shown(audit_of(manifest, Finding("x", "error", "Bad.", muted=True)))
    assert "Mend this" not in page.text
    assert "No check found anything that stands." in page.text


def test_a_finding_is_told_with_advice_recipe_change_and_evidence(page: Page) -> None:
    assert "Error unreadable-files Bad. Mend it. Evidence record ids broken" in page.text
    assert "In the recipe: --set balance.class_weights=balanced" in page.text


def test_checks_without_a_finding_are_folded(page: Page) -> None:
    told = "2 checks without a finding odd-files passed: No file is odd. groups-across-splits not "
    assert told + "applicable: No groups." in page.text


def test_long_evidence_is_cut_and_counted(manifest: Manifest) -> None:
    ids = [f"id{number}" for number in range(3000)]
    page = shown(audit_of(manifest, Finding("x", "info", "Many.", {"ids": ids})))
    assert "id19 … and 2,980 more" in page.text
    assert "id20" not in page.text


def test_lists_inside_of_evidence_stay_apart(manifest: Manifest) -> None:
    evidence = {"groups": [["a0", "b0"], ["a1", "b1"]], "sizes": {"small": [1, 2]}}
    text = shown(audit_of(manifest, Finding("x", "info", "Some.", evidence))).text
    assert "groups (a0, b0) , (a1, b1)" in text
    assert "sizes small: 1, 2" in text


def test_alike_pieces_of_evidence_stand_in_a_table(manifest: Manifest) -> None:
    features = [{"feature": f"f{n}", "auc": 0.5 + n / 1000, "by_file": n > 1} for n in range(30)]
    page = shown(audit_of(manifest, Finding("shortcut", "info", "Size.", {"features": features})))
    assert "features feature auc by file f0 0.5 no f1 0.501 no f2 0.502 yes" in page.text
    assert "f19 0.519 yes … and 10 more" in page.text


def test_commands_in_advice_are_set_apart(manifest: Manifest) -> None:
    advice = f"Run `sightline split`, or {HOSTILE} `<b>`."
    source = render_audit(
        contents_of(audit_of(manifest, Finding("x", "info", "Some.", {}, advice)))
    )
    assert "Run <code>sightline split</code>, or &lt;img" in source
    assert "<code>&lt;b&gt;</code>." in source


def test_a_backtick_alone_stays_what_it_is(manifest: Manifest) -> None:
    page = shown(audit_of(manifest, Finding("x", "info", "Some.", {}, "It's 5` long <b>.")))
    assert "It's 5` long <b>." in page.text


def test_lists_inside_of_a_table_are_cut_and_counted(manifest: Manifest) -> None:
    pairs = [{"first": "a", "second": "b"}] * 1200
    groups = [{"ids": [f"id{number}" for number in range(100)], "pairs": pairs}]
    page = shown(audit_of(manifest, Finding("x", "info", "Some.", {"groups": groups})))
    assert "id7 … and 92 more 1,200 (see audit.json)" in page.text


def test_evidence_without_values_says_so(manifest: Manifest) -> None:
    page = shown(audit_of(manifest, Finding("x", "info", "Some.", {"ids": [], "limit": None})))
    assert "ids none limit –" in page.text


# --- classes and splits ----------------------------------------------------------------


def test_splits_are_counted_with_how_sure_a_figure_can_be(page: Page) -> None:
    assert "a 2 1 ± 98 points 3 50.0%" in page.text
    assert "All 3 3 ± 57 points 6" in page.text


def test_only_what_is_judged_on_is_followed_by_how_sure_it_is(page: Page) -> None:
    assert page.text.count("±") == 3  # two classes and their sum, in the test split


def test_a_set_without_splits_shows_no_empty_columns() -> None:
    page = shown(audit_of(manifest_of(record_id=["a", "b"], label=["a", "b"])))
    assert "Class total share" in page.text
    assert "a 1 ± 98 points 50.0%" in page.text


def test_a_split_that_is_kept_aside_has_its_column() -> None:
    kept = manifest_of(record_id=["a", "b"], label=["a", "b"], split=["train", "external"])
    assert "train external total" in shown(audit_of(kept)).text


def test_what_the_scan_passed_over_is_told() -> None:
    passed = Manifest.make(
        Path("/set"), {"record_id": ["a"], "label": ["a"], "bytes": [1]}, ignored={"text file": 2}
    )
    assert "The scan passed over 2 × text file." in shown(audit_of(passed)).text


# --- pictures --------------------------------------------------------------------------


def test_a_pair_stands_under_the_worst_that_is_true_of_it(page: Page) -> None:
    text = page.text
    titles = [
        "One picture under different labels",
        "The same picture on two sides of the split",
        "Near copies",
        "Exact copies",
    ]
    places = [text.index(title) for title in titles]
    assert places == sorted(places)
    parts = [text[begin:end] for begin, end in itertools.pairwise([*places, len(text)])]
    assert "Equal bytes a train a0 b train b0" in parts[0]
    assert "93.0% alike, turned by 90° counter-clockwise a train a1 a test a2" in parts[1]
    assert "97.0% alike, mirrored left to right a train a0 a train a1" in parts[2]
    assert "Equal bytes b test b1 b test b2" in parts[3]


def test_pairs_without_labels_or_splits_are_no_conflict() -> None:
    plain = manifest_of(record_id=["a", "b"], label=["a", None])
    text = shown(audit_of(plain, pairs=pairs_of(("a", "b", "copy", "same", 1.0)))).text
    assert "Exact copies" in text
    assert "different labels" not in text
    assert "no label b" in text


def test_a_page_shows_a_bounded_number_of_pictures_and_counts_the_others() -> None:
    ids = [f"r{number:03d}" for number in range(300)]
    many = manifest_of(record_id=ids, label=["a"] * 300)
    found = audit_of(
        many,
        Finding("dark-images", "warning", "Dark.", {"record_ids": ids}),
        pairs=pairs_of(*[(a, b, "near copy", "same", 0.9) for a, b in itertools.pairwise(ids)]),
    )
    page = shown(found)
    assert len(page.all("img")) == 60
    assert "275 more pairs are not shown; audit.json names all of them." in page.text
    assert "288 more pictures are not shown" in page.text


def test_the_least_alike_near_copies_come_first() -> None:
    some = manifest_of(record_id=["a", "b", "c"], label=["x"] * 3)
    likeness = pairs_of(
        ("a", "b", "near copy", "same", 0.99), ("a", "c", "near copy", "same", 0.91)
    )
    text = shown(audit_of(some, pairs=likeness)).text
    assert text.index("91.0% alike") < text.index("99.0% alike")


def test_rounding_makes_no_near_copy_equal() -> None:
    some = manifest_of(record_id=["a", "b"], label=["x"] * 2)
    likeness = pairs_of(("a", "b", "near copy", "same", 0.99999))
    assert "> 99.9% alike" in shown(audit_of(some, pairs=likeness)).text


@pytest.mark.parametrize("code", ["constant-images", "dark-images", "blurred-images"])
def test_pictures_of_a_finding_about_pictures_are_shown(manifest: Manifest, code: str) -> None:
    finding = Finding(code, "warning", "Look.", {"record_ids": ["a1", "b0"], "limit": "a sentence"})
    assert records_to_show(audit_of(manifest, finding)) == ["a1", "b0"]


def test_pictures_of_a_check_that_passed_are_not_shown(manifest: Manifest) -> None:
    passed = Finding("dark-images", "warning", "x", {"record_ids": ["a1"]}, outcome="passed")
    assert records_to_show(audit_of(manifest, passed)) == []


def test_extremes_of_a_shortcut_stand_in_sheets_of_their_own(manifest: Manifest) -> None:
    evidence = {"auc": 0.93, "extremes": {"smallest": ["a0", "a1"], "largest": ["b2"]}}
    text = shown(audit_of(manifest, Finding("shortcut", "warning", "Size.", evidence))).text
    sheets = text.partition("Pictures to look at Size.")[2]
    assert "extremes: smallest a train a0 a train a1 extremes: largest b test b2" in sheets


def test_a_picture_that_cannot_be_read_now_is_told(audit: Audit) -> None:
    page = shown(audit, pictures={})
    assert page.all("img") == []
    assert "No picture: the file cannot be read now. a train a0" in page.text


# --- quarantine ------------------------------------------------------------------------


def test_quarantined_files_are_counted_by_reason(page: Page) -> None:
    assert "TRUNCATED the file ends before its picture does 1" in page.text


def test_a_quarantined_file_is_shown_with_its_message_size_and_first_bytes(page: Page) -> None:
    told = "TRUNCATED broken The file was cut off. 11 bytes; found in its header."
    assert f"{told} 00 ff d8 4a 46 49 46 00 01 ..JFIF.. 08 3c 62 3e <b>" in page.text


def test_a_file_that_cannot_be_opened_has_no_bytes_to_show(audit: Audit) -> None:
    gone = quarantine_of(("broken", None, None, "open", "MISSING", "there is no such file."))
    page = shown(dataclasses.replace(audit, quarantine=gone), headers={})
    assert page.all("pre") == []
    assert "Size not known; found when it was opened." in page.text


def test_some_files_of_every_reason_are_shown_whatever_their_number() -> None:
    ids = [f"r{number:03d}" for number in range(60)]
    codes = ["EMPTY" if number < 59 else "BAD_CRC" for number in range(60)]
    rows = [(name, 0, None, "decode", code, "x.") for name, code in zip(ids, codes, strict=True)]
    many = audit_of(manifest_of(record_id=ids, label=["a"] * 60), quarantine=quarantine_of(*rows))
    assert files_to_dump(many) == ["r000", "r001", "r002", "r003", "r059"]
    assert "55 more files are not shown; quarantine.jsonl names all of them." in shown(many).text


# --- names -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hostile() -> Audit:
    """Names of every kind, wherever the page shows one."""
    ids = sorted(ODD_NAMES)
    some = manifest_of(record_id=ids, label=[HOSTILE, *["=1+1"] * 4])
    return audit_of(
        some,
        Finding(
            HOSTILE, "error", HOSTILE, {HOSTILE: {HOSTILE: ids}}, HOSTILE, recipe_change=HOSTILE
        ),
        Finding("dark-images", "info", HOSTILE, {HOSTILE: ids, "more": {HOSTILE: ids}}),
        pairs=pairs_of(*[(a, b, HOSTILE, HOSTILE, 0.5) for a, b in itertools.pairwise(ids)]),
        quarantine=quarantine_of(*[(name, 1, HOSTILE, HOSTILE, HOSTILE, HOSTILE) for name in ids]),
    )


def test_a_hostile_name_is_shown_and_does_nothing(hostile: Audit) -> None:
    page = shown(hostile, name=HOSTILE)
    assert page.faults == []
    assert all(str(image["src"]).startswith("data:") for image in page.all("img"))
    assert not [name for _, attrs in page.elements for name in attrs if name.startswith("on")]
    assert page.text.count(HOSTILE) >= 15


def test_every_name_of_a_file_is_kept_apart_from_the_text_around_it(hostile: Audit) -> None:
    source = render_audit(contents_of(hostile))
    assert "<bdi>\u200fabc.png</bdi>" in source
    assert '<bdi class="name">\u200fabc.png</bdi>' in source


def test_a_name_that_turns_the_direction_of_text_is_made_plain(hostile: Audit) -> None:
    page = shown(hostile)
    assert "x\ufffdgnp.exe" in page.text
    assert "\u202e" not in page.text


def test_an_empty_audit_makes_a_page_that_says_so() -> None:
    text = shown(audit_of(manifest_of(record_id=[], label=[], bytes=[]))).text
    assert "No image is listed, so there is nothing to count." in text
    assert "No check found anything." in text


def test_no_value_is_shown_as_none(page: Page) -> None:
    assert not re.search(r"\b(None|nan|inf)\b", page.text)
