"""What is kept of an audit, where it may lie, and what the verb takes."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import sightline as sl
from sightline.records import PAIRS_SCHEMA, QUARANTINE_SCHEMA
from sightline.workflow.auditing import save_audit

MakePhotos = Callable[..., Path]

QUIET = sl.Silent()
FILES = {
    "audit.html",
    "audit.json",
    "manifest.parquet",
    "manifest.parquet.npy",
    "quarantine.jsonl",
}
ODD_NAMES = (
    "a\nb.png",
    "<img src=x onerror=alert(1)>.png",
    "x\u202egnp.png",
    "é \u2028.png",
    "'.png",
)


def audit_of(manifest: sl.Manifest, quarantined: tuple[str, ...] = ()) -> sl.Audit:
    """Return an audit that found these files to be unusable, and nothing else."""
    rows = [
        (name, 3, "0" * 64, "decode", "NOT_AN_IMAGE", f"{name}: no image.") for name in quarantined
    ]
    return sl.Audit(
        manifest=manifest,
        findings=(
            sl.Finding("unreadable-files", "error", "Some.", {"record_ids": [*quarantined]}),
        ),
        pairs=pl.DataFrame(schema=PAIRS_SCHEMA),
        quarantine=pl.DataFrame(rows, schema=QUARANTINE_SCHEMA, orient="row"),
        num_read=len(manifest),
        num_reused=0,
        seconds=0.5,
    )


def audited(data: Path, **options: Any) -> sl.Audit:
    return sl.audit(data, progress=QUIET, **options)


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def contents_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def folder(make_photos: MakePhotos, tmp_path: Path) -> Path:
    """Twelve images of two classes that a test may damage."""
    return make_photos(tmp_path / "photos", {"dark": 6, "light": 6})


@pytest.fixture
def damaged(folder: Path) -> Path:
    """Twelve images, an empty file among them, and one of text."""
    (folder / "dark" / "dark_00.png").write_bytes(b"")
    (folder / "light" / "light_03.png").write_text("not an image")
    return folder


# --- what is written -------------------------------------------------------------------


def test_everything_is_written_and_the_page_comes_back(folder: Path, tmp_path: Path) -> None:
    page = save_audit(audit_of(sl.scan(folder)), tmp_path / "new" / "out")
    assert page == tmp_path / "new" / "out" / "audit.html"
    assert names_in(page.parent) == FILES
    assert "photos · Sightline audit" in page.read_text("utf-8")


def test_the_manifest_comes_back_as_it_was(folder: Path, tmp_path: Path) -> None:
    manifest = sl.scan(folder)
    save_audit(audit_of(manifest), tmp_path / "out")
    kept = sl.Manifest.load(tmp_path / "out" / "manifest.parquet")
    assert kept.table.equals(manifest.table)


def test_the_quarantine_is_one_object_a_line_whatever_the_names(tmp_path: Path) -> None:
    names = sorted(ODD_NAMES)
    for name in names:
        (tmp_path / name).write_text("no\n")
    manifest = sl.Manifest.make(tmp_path, {"record_id": names, "label": ["a"] * len(names)})
    save_audit(audit_of(manifest, tuple(names)), tmp_path / "out")
    lines = (tmp_path / "out" / "quarantine.jsonl").read_bytes().split(b"\n")
    assert lines.pop() == b""
    told = [json.loads(line) for line in lines]
    assert [one["path"] for one in told] == names
    assert set(told[0]) == {"path", "bytes", "sha256", "stage", "reason_code", "detail"}


def test_an_audit_without_quarantine_writes_an_empty_list(folder: Path, tmp_path: Path) -> None:
    save_audit(audit_of(sl.scan(folder)), tmp_path / "out")
    assert (tmp_path / "out" / "quarantine.jsonl").read_bytes() == b""


def test_the_page_shows_how_quarantined_files_begin(damaged: Path, tmp_path: Path) -> None:
    audit = audit_of(sl.scan(damaged), ("dark/dark_00.png", "light/light_03.png"))
    page = save_audit(audit, tmp_path / "out").read_text("utf-8")
    assert "00  6e 6f 74 20 61 6e 20 69  not an i" in page
    assert page.count("<pre") == 1  # the empty file has no bytes


def test_an_earlier_audit_is_replaced(folder: Path, tmp_path: Path) -> None:
    manifest, out = sl.scan(folder), tmp_path / "out"
    save_audit(audit_of(manifest, ("dark/dark_00.png",)), out)
    (out / ".audit.4242.html").write_text("half a page that a killed process left")
    save_audit(audit_of(manifest), out)
    assert json.loads((out / "audit.json").read_text("utf-8"))["quarantine"] == []
    assert (out / "quarantine.jsonl").read_bytes() == b""


# --- where it may lie ------------------------------------------------------------------


def test_a_folder_that_holds_something_else_is_refused_and_not_touched(folder: Path) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*.png")}
    with pytest.raises(sl.RunError, match=rf"{folder} holds 'dark', which is no part of an audit"):
        save_audit(audit_of(sl.scan(folder)), folder)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_saved_manifest_that_is_no_audit_is_not_replaced(folder: Path, tmp_path: Path) -> None:
    kept = tmp_path / "mine"
    kept.mkdir()
    sl.scan(folder).save(kept / "manifest.parquet")
    before = contents_of(kept)
    with pytest.raises(sl.RunError, match=r"mine holds 'manifest\.parquet', which is no part"):
        save_audit(audit_of(sl.scan(folder)), kept)
    assert contents_of(kept) == before


def test_a_file_in_the_place_of_the_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(sl.RunError, match=r"file already holds something"):
        save_audit(audit_of(sl.scan(folder)), tmp_path / "file")


def test_a_folder_is_refused_before_any_file_is_read(folder: Path) -> None:
    class Loud(sl.Silent):
        def step(self, title: str, total: int | None) -> Any:
            raise AssertionError(f"{title}: files are being read")

    with pytest.raises(sl.RunError, match="which is no part of an audit"):
        sl.audit(folder, out=folder, progress=Loud())


# --- the verb --------------------------------------------------------------------------


def test_a_folder_is_audited_and_nothing_in_it_changes(damaged: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in damaged.rglob("*") if path.is_file()}
    found = audited(damaged, out=tmp_path / "out")
    assert names_in(tmp_path / "out") == FILES
    assert found.quarantine["record_id"].to_list() == ["dark/dark_00.png", "light/light_03.png"]
    assert "unreadable-files" in [finding.code for finding in found.errors]
    assert {path: path.read_bytes() for path in damaged.rglob("*") if path.is_file()} == before


def test_an_audited_manifest_can_be_audited_again(folder: Path) -> None:
    first = audited(folder)
    again = sl.audit(first.manifest, progress=QUIET)
    assert again.manifest.table.equals(first.manifest.table)


def test_a_muted_finding_stands_no_more_and_is_still_told(damaged: Path) -> None:
    found = audited(damaged, mute=["unreadable-files"])
    (finding,) = [each for each in found.findings if each.code == "unreadable-files"]
    assert (finding.muted, finding.stands, finding.outcome) == (True, False, "found")
    assert finding not in found.errors


def test_a_recipe_mutes_as_well(damaged: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "mine.toml"
    sl_recipe = sl.load_recipe("basic", {"audit.mute": ["unreadable-files"]})
    from sightline.recipes import dump_recipe

    recipe.write_text(dump_recipe(sl_recipe))
    found = audited(damaged, recipe=recipe, mute=["small-classes"])
    muted = {finding.code for finding in found.findings if finding.muted}
    assert muted == {"unreadable-files", "small-classes"}


def test_a_code_that_no_finding_has_is_refused(folder: Path) -> None:
    with pytest.raises(sl.RecipeError, match="'tiny-files', which no finding is called"):
        audited(folder, mute=["tiny-files"])


@pytest.mark.parametrize("limit", [0.0, -1.0, float("nan"), float("inf"), 1e12])
def test_a_limit_that_nothing_can_meet_is_refused(folder: Path, limit: float) -> None:
    with pytest.raises(sl.RecipeError, match=r"above 0 and at most 10,000, got"):
        audited(folder, max_megapixels=limit)


def test_a_single_class_is_audited_although_nothing_could_be_learned(
    make_photos: MakePhotos, tmp_path: Path
) -> None:
    assert len(audited(make_photos(tmp_path / "one", {"only": 3})).manifest) == 3


def test_content_that_changed_since_an_earlier_audit_is_quarantined(
    folder: Path, tmp_path: Path
) -> None:
    audited(folder, out=tmp_path / "out")
    shutil.copy(folder / "light" / "light_00.png", folder / "dark" / "dark_00.png")
    found = audited(folder, against=tmp_path / "out" / "manifest.parquet")
    assert found.quarantine.select("record_id", "reason_code").rows() == [
        ("dark/dark_00.png", "CHANGED")
    ]


def test_a_bit_that_flipped_behind_an_unchanged_time_is_found(folder: Path, tmp_path: Path) -> None:
    audited(folder, out=tmp_path / "out")
    path = folder / "dark" / "dark_00.png"
    about, content = path.stat(), bytearray(path.read_bytes())
    content[-30] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert not audited(folder).quarantine.height, "length and time are the same: it is not read"
    found = audited(folder, against=tmp_path / "out" / "manifest.parquet")
    assert found.quarantine["record_id"].to_list() == ["dark/dark_00.png"]
    assert found.num_read == 12


def test_an_earlier_audit_of_other_images_is_refused(
    folder: Path, make_photos: MakePhotos, tmp_path: Path
) -> None:
    audited(make_photos(tmp_path / "x", {"p": 3, "q": 3}), out=tmp_path / "out")
    with pytest.raises(sl.DataError, match=r"not one of 6 images of the earlier manifest .* 12 of"):
        audited(folder, against=tmp_path / "out" / "manifest.parquet")


def test_an_unknown_code_is_refused_before_a_file_is_read(tmp_path: Path) -> None:
    with pytest.raises(sl.RecipeError, match="'nosuch', which no finding is called"):
        audited(tmp_path / "nowhere", mute=["nosuch"])


def test_an_unchanged_set_is_known_the_second_time(folder: Path) -> None:
    first, again, anew = audited(folder), audited(folder), audited(folder, reuse=False)
    assert (first.num_read, again.num_reused, anew.num_read) == (12, 12, 12)
    assert again.manifest.table.equals(anew.manifest.table)


def test_without_a_home_folder_nothing_is_kept_and_all_goes_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def homeless(_: object = None) -> Path:
        raise RuntimeError("could not determine home directory")

    for variable in ("SIGHTLINE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert [audited(folder).num_read for _ in range(2)] == [12, 12]
