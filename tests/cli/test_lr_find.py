"""`sightline lr-find` and the folder it writes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import sightline as sl
from sightline.cli.app import app

Settings = Mapping[str, Any]


def run_cli(*words: object) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def small(quick: Settings) -> list[str]:
    changes = {**quick, "schedule.kind": "constant"}
    asked = [f"--set={key}={value}" for key, value in changes.items() if "schedule.r" not in key]
    return ["--recipe", "basic", *asked, "--steps", "20"]


@pytest.fixture(scope="module")
def found(
    photos: Path, small: list[str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Any, Any]:
    """The folder, what the command printed as text, and what with --json."""
    folder = tmp_path_factory.mktemp("found") / "rates"
    words = ["lr-find", photos, *small, "--compare-steps", 2, "--out", folder]
    as_json = run_cli(*words, "--compare", "0.1", "0.01", "1e-3", "--json")
    text = run_cli(*words, "--compare", "0.1", "--compare", "0.01")
    return folder, text, as_json


def test_several_rates_follow_one_compare(found: tuple[Path, Any, Any]) -> None:
    told = json.loads(found[2].stdout)
    assert sorted({row["rate"] for row in told["comparison"]}) == [0.001, 0.01, 0.1]


def test_compare_may_be_said_again_and_again(found: tuple[Path, Any, Any]) -> None:
    kept = json.loads((found[0] / "rates.json").read_text())
    assert sorted({row["rate"] for row in kept["comparison"]}) == [0.01, 0.1]


def test_the_text_ends_with_the_page(found: tuple[Path, Any, Any]) -> None:
    assert found[1].exit_code == 0
    assert found[1].stdout.splitlines()[-1] == f"Page: {found[0] / 'rates.html'}"


def test_the_text_has_the_words_to_type_or_says_that_there_are_none(
    found: tuple[Path, Any, Any],
) -> None:
    change = json.loads((found[0] / "rates.json").read_text())["change"]
    expected = f"--set {change}" if change else "no learning rate to suggest"
    assert expected in found[1].stdout


def test_the_folder_holds_page_pictures_and_numbers(found: tuple[Path, Any, Any]) -> None:
    names = {path.name for path in found[0].iterdir()}
    assert names == {"comparison.png", "rates.html", "rates.json", "rates.png"}


def test_a_picture_of_an_earlier_comparison_does_not_stay(
    found: tuple[Path, Any, Any], photos: Path, small: list[str], tmp_path: Path
) -> None:
    again = shutil.copytree(found[0], tmp_path / "again")
    assert run_cli("lr-find", photos, *small, "--out", again).exit_code == 0
    assert not (again / "comparison.png").exists()


def test_no_run_is_made(photos: Path, small: list[str], here: Path) -> None:
    assert run_cli("lr-find", photos, *small).exit_code == 0
    assert [path.parent.name for path in here.rglob("*.html")] == [
        next((here / "lr-find").iterdir()).name
    ]
    assert not (here / "runs").exists()


def test_a_folder_that_holds_something_else_is_left_alone(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    done = run_cli("lr-find", photos, "--out", tmp_path)
    assert done.exit_code == 2
    assert "holds 'mine.txt', which is no part of a range test" in done.stderr


def test_a_run_folder_is_never_written_into(photos: Path, run: sl.Run) -> None:
    before = sorted(run.path.rglob("*"))
    done = run_cli("lr-find", photos, "--out", run.path)
    assert (done.exit_code, sorted(run.path.rglob("*"))) == (2, before)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--steps", "5"], "takes 20 to 100,000 steps, got 5"),
        (["--lowest", "1", "--highest", "0.1"], "must rise from above 0"),
        (["--compare", "0.1", "0"], "must be above 0, got 0 to compare"),
        (["--compare", "0.1", "nowhere"], "unexpected extra argument"),
    ],
)
def test_what_makes_no_sense_is_refused(words: list[str], expected: str, photos: Path) -> None:
    done = run_cli("lr-find", photos, *words)
    assert done.exit_code == 2
    assert expected in " ".join(done.stderr.replace("│", " ").split())


def test_no_images_are_refused() -> None:
    done = run_cli("lr-find")
    assert done.exit_code == 2
    assert done.stderr.startswith("Error: no images were given")
