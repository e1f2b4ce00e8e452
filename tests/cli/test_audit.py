"""`sightline audit`: what it prints, where it writes, and which exit code it ends with."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import sightline as sl
from sightline.cli.app import app

MakePhotos = Callable[..., Path]


def run_cli(*words: object) -> Any:
    return CliRunner().invoke(app, ["audit", *map(str, words)])


def told(done: Any) -> Any:
    """Return the JSON of a command."""
    return json.loads(done.stdout)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, and nothing known of any file."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("SIGHTLINE_CACHE", str(tmp_path / "kept"))
    return folder


@pytest.fixture
def folder(make_photos: MakePhotos, tmp_path: Path) -> Path:
    return make_photos(tmp_path / "photos", {"dark": 6, "light": 6})


@pytest.fixture
def damaged(folder: Path) -> Path:
    """Twelve images of which one cannot be read."""
    (folder / "light" / "light_03.png").write_text("not an image")
    return folder


def errors_of(folder: Path) -> list[str]:
    return [finding.code for finding in sl.audit(folder, progress=sl.Silent()).errors]


# --- exit codes ------------------------------------------------------------------------


def test_an_error_that_stands_ends_with_1(damaged: Path, here: Path) -> None:
    assert run_cli(damaged).exit_code == 1


def test_without_an_error_that_stands_it_ends_with_0(damaged: Path, here: Path) -> None:
    muted = [word for code in errors_of(damaged) for word in ("--mute", code)]
    assert muted
    assert run_cli(damaged, *muted).exit_code == 0


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["nowhere"], "nowhere"),
        (["photos", "--mute", "odd"], "'odd', which no finding is called"),
        (["photos", "--max-megapixels", "0"], "above 0 and at most 10,000, got 0.0"),
        (["photos", "--against", "gone.parquet"], "there is no manifest at gone.parquet"),
        (["photos", "--recipe", "gone.toml"], "recipe gone.toml cannot be read"),
        (["photos", "--out", "photos"], "photos holds 'dark', which is no part of an audit"),
    ],
)
def test_wrong_use_ends_with_2_and_one_plain_message(
    folder: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], expected: str
) -> None:
    monkeypatch.chdir(folder.parent)
    done = run_cli(*words)
    assert done.exit_code == 2
    assert done.stderr.splitlines()[-1].startswith("Error: ")
    assert expected in done.stderr


# --- what is printed -------------------------------------------------------------------


def test_what_stands_is_printed_with_the_quarantine_and_where_the_page_is(
    damaged: Path, here: Path
) -> None:
    lines = run_cli(damaged, "--out", "mine").stdout.splitlines()
    assert lines[0] == f"12 files in {damaged}"
    assert [line for line in lines if line.split()[:2] == ["error", "unreadable-files"]]
    assert "quarantined: 1 NOT_AN_IMAGE" in lines
    assert lines[-2:] == ["Page: mine/audit.html", "Manifest: mine/manifest.parquet"]


def test_errors_are_printed_first(damaged: Path, here: Path) -> None:
    rows = [line.split()[0] for line in run_cli(damaged).stdout.splitlines()[2:] if line]
    severities = [word for word in rows if word in ("error", "warning", "info")]
    assert severities == sorted(severities, key=["error", "warning", "info"].index)
    assert len(severities) > 1


def test_muted_findings_are_named(damaged: Path, here: Path) -> None:
    text = run_cli(damaged, "--mute", "unreadable-files").stdout
    assert "Muted: unreadable-files." in text


def test_with_json_nothing_but_json_is_printed(damaged: Path, here: Path) -> None:
    done = run_cli(damaged, "--json", "--out", "mine")
    assert done.exit_code == 1
    assert told(done)["images"] == 12
    assert told(done)["folder"] == "mine"
    assert "unreadable-files" in told(done)["errors"]


def test_a_name_of_any_kind_is_printed_and_written(here: Path, tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    for label in ("[red]a", "=1+1"):
        (folder / label).mkdir(parents=True)
        for name in ("x\ny.png", "<img src=x onerror=alert(1)>.png"):
            (folder / label / name).write_bytes(b"no")
    done = run_cli(folder, "--out", "mine")
    assert done.exit_code == 1
    assert len((here / "mine" / "quarantine.jsonl").read_text("ascii").splitlines()) == 4
    assert "<img src=x" not in (here / "mine" / "audit.html").read_text("utf-8")


# --- where it writes -------------------------------------------------------------------


def test_the_folder_is_called_after_what_is_audited(folder: Path, here: Path) -> None:
    run_cli(folder)
    (made,) = (here / "audits").iterdir()
    assert made.name.startswith("photos-2")
    assert (made / "audit.html").exists()


def test_a_manifest_is_audited_again_from_its_file(folder: Path, here: Path) -> None:
    run_cli(folder, "--out", "first")
    again = run_cli("first/manifest.parquet", "--json", "--out", "second")
    assert told(again)["images"] == 12


def test_an_audited_manifest_can_be_split_and_scanned(folder: Path, here: Path) -> None:
    run_cli(folder, "--out", "first")
    assert sl.scan("first/manifest.parquet").table["sha256"].null_count() == 0


# --- options ---------------------------------------------------------------------------


def test_what_is_known_is_read_anew_when_asked(folder: Path, here: Path) -> None:
    counts = [
        told(run_cli(folder, "--json", *words))["num_read"] for words in ([], [], ["--reread"])
    ]
    assert counts == [12, 0, 12]


def test_changed_content_is_found_against_an_earlier_audit(folder: Path, here: Path) -> None:
    run_cli(folder, "--out", "first")
    changed = folder / "dark" / "dark_00.png"
    changed.write_bytes((folder / "dark" / "dark_01.png").read_bytes())
    found = told(run_cli(folder, "--json", "--against", "first/manifest.parquet"))
    assert [row["reason_code"] for row in found["quarantine"]] == ["CHANGED"]


def test_pictures_over_the_limit_are_quarantined(folder: Path, here: Path) -> None:
    found = told(run_cli(folder, "--json", "--max-megapixels", "0.00001"))
    assert {row["reason_code"] for row in found["quarantine"]} == {"TOO_LARGE"}
    assert len(found["quarantine"]) == 12


def test_separate_folders_and_groups_are_taken(make_photos: MakePhotos, here: Path) -> None:
    train = make_photos(here / "a", seed=1)
    test = make_photos(here / "b", {"dark": 2, "light": 2}, seed=2)
    words = ["--train", train, "--test", test, "--group-regex", r"_(\d\d)"]
    found = told(run_cli(*words, "--json"))
    assert [row["test"] for row in found["classes"]] == [2, 2]
    assert "groups-across-splits" in found["errors"]


@pytest.mark.parametrize("command", ["audit", "train"])
@pytest.mark.parametrize("below", [".", "dark"])
def test_nothing_is_written_among_the_images_unasked(
    command: str, below: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder / below)
    before = sorted(folder.rglob("*"))
    done = CliRunner().invoke(app, [command, str(folder)])
    assert done.exit_code == 2
    assert "among the images" in done.stderr
    assert sorted(folder.rglob("*")) == before
