"""`sightline explain`, through typer's own runner."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import sightline as sl
from sightline.cli.app import app


def run_cli(*words: object) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words])


def test_it_shows_maps_check_and_border(trained: sl.Run, tmp_path: Path) -> None:
    done = run_cli("explain", trained.path, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.stderr
    assert "Grad-CAM, layer conv2d_1; best weights, epoch 1" in done.stdout
    assert "Sanity check" in done.stdout
    assert "Average map: " in done.stdout
    assert f"pictures: {tmp_path / 'out'}" in " ".join(done.stdout.split())


def test_it_speaks_json(trained: sl.Run, tmp_path: Path) -> None:
    words = ("--out", tmp_path / "out", "--method", "occlusion", "--class", "light", "--json")
    told = json.loads(run_cli("explain", trained.path, *words).stdout)
    assert told["method"] == "occlusion"
    assert {each["class"] for each in told["explanations"]} == {"light"}
    assert told["attention"]["split"] == "validation"


def test_an_unreadable_image_is_told_and_the_others_are_drawn(
    trained: sl.Run, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken.png").write_text("not an image")
    images = (tmp_path / "broken.png", photos / "dark" / "dark_00.png")
    done = run_cli("explain", trained.path, *images, "--out", tmp_path / "out")
    assert done.exit_code == 0
    assert "broken.png (NOT_AN_IMAGE)" in done.stdout
    assert len(list((tmp_path / "out").iterdir())) == 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--class", "grey"], "'grey' is none of the model's 2 classes: dark, light"),
        (["--layer", "conv9"], "no layer 'conv9' with a spatial output"),
        (["nowhere.png"], "nowhere.png"),
    ],
)
def test_a_mistake_ends_in_one_plain_message(
    trained: sl.Run, tmp_path: Path, words: list[str], told: str
) -> None:
    done = run_cli("explain", trained.path, *words, "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert done.stderr.startswith("Error: ")
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_a_method_that_there_is_not_is_wrong_use(trained: sl.Run) -> None:
    assert run_cli("explain", trained.path, "--method", "saliency").exit_code == 2
