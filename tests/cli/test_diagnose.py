"""`sightline diagnose`, on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import sightline as sl
from sightline import runs
from sightline.cli.app import app

LOSSES = [0.7 * 0.85**epoch for epoch in range(8)]
FEW = "epoch,loss,val_loss\n" + "".join(
    f"{epoch},{loss},{loss + 0.01}\n" for epoch, loss in enumerate(LOSSES)
)


def run_cli(*words: object) -> Any:
    return CliRunner().invoke(app, ["diagnose", *map(str, words)])


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log.csv"
    path.write_text(FEW)
    return path


def test_findings_come_with_evidence_advice_and_the_next_experiment(log: Path) -> None:
    done = run_cli(log, "--num-validation", 5000, "--class-count", "a=500", "--class-count",
                   "b=500", "--patience", 0)  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "Warning not-finished: It ended too soon" in done.stdout
    assert "  Evidence: column val_loss" in done.stdout
    assert "  Try: --set train.epochs=16" in done.stdout


def test_json_has_every_rule(log: Path) -> None:
    plain = json.loads(run_cli(log, "--json").stdout)
    assert len(plain["findings"]) > 20


def test_an_error_level_finding_ends_with_1(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("epoch,loss\n0,0.7\n1,nan\n")
    done = run_cli(log)
    assert done.exit_code == 1
    assert "Error diverged: The loss" in done.stdout


def test_the_curves_of_a_file_are_drawn_with_the_numbers_of_what_was_found(
    log: Path, tmp_path: Path
) -> None:
    done = run_cli(log, "--num-validation", 5000, "--patience", 0, "--plot", tmp_path / "c.png")
    assert done.exit_code == 0, done.output
    assert "\n1. Warning not-finished: " in done.stdout
    assert (tmp_path / "c.png").read_bytes()[:4] == b"\x89PNG"


def test_a_plot_that_is_no_png_is_refused(log: Path, tmp_path: Path) -> None:
    done = run_cli(log, "--plot", tmp_path / "c.jpg")
    assert done.exit_code != 0
    assert "must end in .png" in done.output


def test_a_run_in_use_is_diagnosed_and_said_not_to_be_kept(run: sl.Run) -> None:
    with runs.locked(run.path):
        done = run_cli(run.path)
        spoken = run_cli(run.path, "--json")
    assert done.exit_code == 0, done.output
    assert "small-validation" in done.stdout
    (told,) = [line for line in done.output.splitlines() if "not kept" in line]
    assert told.startswith(f"The diagnosis is not kept: {run.path} is in use by process")
    assert json.loads(spoken.stdout)["findings"]


def test_a_run_folder_is_diagnosed(run: sl.Run) -> None:
    done = run_cli(run.path)
    assert "small-validation" in done.stdout
    assert (run.path / "diagnosis.json").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere.csv"], "there is no file nowhere.csv"),
        (["LOG", "--num-train", "-3"], "num_train must be a whole number of 0 or more, got -3"),
        (["LOG", "--class-count", "cat"], "--class-count cat is not of the form NAME=COUNT"),
        (
            ["LOG", "--class-count", "cat=1", "--class-count", "cat=2"],
            "--class-count names 'cat' twice",
        ),
    ],
)
def test_a_mistake_is_told_in_one_line(words: list[str], message: str, log: Path) -> None:
    done = run_cli(*[log if word == "LOG" else word for word in words])
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1)
    assert message in done.stderr
