"""Runs put together: two networks that each see one half of an image, and what is refused."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest

import sightline as sl
from sightline.data.images import encode_png

SIDE = 8  # px
MIDDLE = SIDE // 2


def half(left: bool) -> keras.Model:
    """Return a network that sees one half of an image."""
    cut = (0, MIDDLE) if left else (MIDDLE, 0)
    return keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 3)),
            keras.layers.Conv2D(2, 1, kernel_initializer="ones"),
            keras.layers.Cropping2D(((0, 0), cut)),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs, `left` and `right`, of images that show their class in one half alone."""
    folder = tmp_path_factory.mktemp("halves")
    rng = np.random.default_rng(3)
    for number, name in enumerate(("dark", "light")):
        (folder / "images" / name).mkdir(parents=True)
        for image in range(500):
            tones = np.array([128.0, 128.0])
            tones[image % 2] += 80 * (2 * number - 1)
            pixels = np.repeat(tones, MIDDLE)[None, :, None] + rng.integers(-3, 4, (SIDE, SIDE, 3))
            content = encode_png(np.clip(pixels, 0, 255).astype(np.uint8))
            (folder / "images" / name / f"{image:03d}.png").write_bytes(content)
    shares = {"train": 0.5, "validation": 0.4, "test": 0.1}
    manifest = _split(sl.scan(folder / "images"), shares)
    for name in ("left", "right"):
        sl.train(
            manifest, recipe="basic", model=half(name == "left"), out=folder / name,
            changes={"train.epochs": 12, "train.learning_rate": 0.2,
                     "data.image_size": [SIDE, SIDE], "augment.horizontal_flip": name == "left"},
            only_train=True, progress=sl.Silent(),
        )  # fmt: skip
    return folder


def _split(manifest: sl.Manifest, shares: dict[str, float]) -> sl.Manifest:
    import polars as pl

    ends = np.cumsum(list(shares.values()))
    names = list(shares)
    sides = [
        names[int(np.searchsorted(ends, (row % 20 + 0.5) / 20))] for row in range(len(manifest))
    ]
    return manifest.with_splits(pl.Series(sides))


@pytest.fixture(scope="module")
def together(halves: Path) -> sl.Ensemble:
    """Both halves, judged and kept."""
    return sl.ensemble(
        [halves / "left", halves / "right"], out=halves / "both", progress=sl.Silent()
    )


def test_two_halves_are_better_than_one_and_kept(together: sl.Ensemble) -> None:
    assert together.run
    assert together.difference is not None
    assert together.difference.high is not None
    assert together.difference.high < 0
    assert together.images == 400
    recipe = sl.open_run(together.run).recipe
    assert recipe.ensemble is not None
    assert [each.fingerprint for each in recipe.ensemble.members] == [
        sl.open_run(each.run).model["fingerprint"] for each in together.members
    ]


def test_it_says_the_weighted_mean_of_its_members(halves: Path, together: sl.Ensemble) -> None:
    quiet = sl.Silent()
    said = sl.predict(together.run, halves / "images", progress=quiet).probabilities
    alone = [
        each.weight * sl.predict(each.run, halves / "images", progress=quiet).probabilities
        for each in together.members
    ]
    np.testing.assert_allclose(said, np.sum(alone, axis=0), atol=1e-5)


def test_it_is_judged_explained_and_reported_like_any_run(together: sl.Ensemble) -> None:
    quiet = sl.Silent()
    judged = sl.evaluate(together.run, progress=quiet)
    assert (judged.source, judged.count) == ("test", 100)
    sl.explain(together.run, progress=quiet)
    page = Path(sl.report(together.run, progress=quiet)).read_text("utf-8")
    assert "An ensemble of 2 runs" in page
    assert "It helps: log loss" in page


def test_a_soup_of_other_networks_is_refused(halves: Path) -> None:
    with pytest.raises(sl.RecipeError, match="do not have the same network"):
        sl.ensemble([halves / "left", halves / "right"], method="soup", progress=sl.Silent())


def test_one_run_alone_is_refused(halves: Path) -> None:
    with pytest.raises(sl.DataError, match="two runs or more, got 1"):
        sl.ensemble([halves / "left"])


def test_one_run_twice_is_refused(halves: Path) -> None:
    with pytest.raises(sl.DataError, match="named twice"):
        sl.ensemble([halves / "left", halves / "left"])


def test_an_ensemble_is_no_member_and_is_not_trained(halves: Path, together: sl.Ensemble) -> None:
    with pytest.raises(sl.DataError, match=r"name its members \(left, right\) instead"):
        sl.ensemble([together.run, halves / "left"])
    with pytest.raises(sl.RecipeError, match="put together from trained runs"):
        sl.train(halves / "images", recipe=Path(together.run) / "recipe.toml")
    with pytest.raises(sl.RunError, match="nothing can be resumed"):
        sl.train(resume=together.run)


def test_an_unknown_method_is_refused(halves: Path) -> None:
    with pytest.raises(sl.RecipeError, match="method must be one of best, mean"):
        sl.ensemble([halves / "left", halves / "right"], method="vote")  # type: ignore[arg-type]


def test_a_folder_that_holds_something_is_left_alone(halves: Path) -> None:
    with pytest.raises(sl.RunError, match="already holds something"):
        sl.ensemble([halves / "left", halves / "right"], out=halves / "images")


def test_images_that_the_runs_have_cannot_judge(halves: Path) -> None:
    with pytest.raises(sl.DataError, match="learned from or keeps for its test"):
        sl.ensemble([halves / "left", halves / "right"], data=halves / "images")


def test_a_damaged_member_is_named(halves: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(halves / "left", tmp_path / "torn")
    (copy / "network.keras").write_bytes(b"torn")
    with pytest.raises(sl.RunError, match="torn"):
        sl.ensemble([copy, halves / "right"], progress=sl.Silent())


@pytest.mark.slow
def test_killed_while_it_writes_no_half_run_is_left(halves: Path, tmp_path: Path) -> None:
    program = [
        sys.executable, "-m", "sightline", "ensemble", str(halves / "left"),
        str(halves / "right"), "--out", str(tmp_path / "new"),
    ]  # fmt: skip
    process = subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not list(tmp_path.glob(".new-*/run/*")):
        time.sleep(0.001)
    process.kill()
    assert process.wait() == -9
    assert not (tmp_path / "new").exists()
    assert not list(tmp_path.glob("*/run.json"))
