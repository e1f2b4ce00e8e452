"""Runs put together: two networks that each see one half of an image, and what is refused."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

import sightline as sl
from sightline import runs
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
    assert "An ensemble of 2 runs: 2 classes, 1,000 images. Test accuracy" in page
    assert "whose own reports have theirs, so there are no curves" in page
    card = (Path(together.run) / "model_card.md").read_text("utf-8")
    for text in (page, card):
        assert "left (0." in text
        assert "It helps: log loss" in text
        assert "did not come to its end" not in text


def test_a_soup_of_networks_of_no_recipe_is_refused(halves: Path) -> None:
    with pytest.raises(sl.RecipeError, match="left has a network of its own, not one of a recipe"):
        sl.ensemble([halves / "left", halves / "right"], method="soup", progress=sl.Silent())


def test_one_run_alone_is_refused(halves: Path) -> None:
    with pytest.raises(sl.DataError, match="two runs or more, got 1"):
        sl.ensemble([halves / "left"])


def test_one_run_twice_is_refused(halves: Path) -> None:
    with pytest.raises(sl.DataError, match="named twice"):
        sl.ensemble([halves / "left", halves / "left"])


def test_a_copy_of_a_run_is_refused(halves: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(halves / "left", tmp_path / "copy")
    with pytest.raises(sl.DataError, match=r"left and .*copy are the same network"):
        sl.ensemble([halves / "left", copy])


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


def _of_other_classes(run: Path) -> None:
    card = runs.read_json(run / "model.json")
    runs.write_sealed(run / "model.json", {**card, "class_names": ["dark", "red"]})


def _still_training(run: Path) -> None:
    about = runs.read_json(run / "run.json")
    runs.write_sealed(run / "run.json", {**about, "state": "training"})


def _torn(run: Path) -> None:
    (run / "network.keras").write_bytes(b"torn")


def _without_weights(run: Path) -> None:
    for file in run.rglob("*.safetensors"):
        file.unlink()


def _of_other_images(run: Path) -> None:
    """Let what the run validated be what it is tested on."""
    sides = {"validation": "test", "test": "train"}
    manifest = sl.open_run(run).manifest
    splits = manifest.table["split"].replace(sides)
    runs.save_manifest(manifest.with_splits(splits), run / "manifest.parquet")
    about = runs.read_json(run / "run.json")
    del about["files"]["manifest.parquet"]
    runs.write_sealed(run / "run.json", about)


@pytest.mark.parametrize(
    ("damage", "error", "told"),
    [
        (_of_other_classes, sl.DataError, r"other \['dark', 'red'\]; only runs of the same"),
        (_still_training, sl.RunError, r"other is interrupted.* sightline train --resume"),
        (_torn, sl.RunError, r"network\.keras"),
        (_without_weights, sl.RunError, r"other"),
        (_of_other_images, sl.DataError, r"^0 images were validated by every run .* --method mean"),
    ],
)
def test_what_cannot_be_a_member_is_refused_in_one_line(
    halves: Path, tmp_path: Path, damage: Callable[[Path], None], error: type[Exception], told: str
) -> None:
    other = Path(shutil.copytree(halves / "right", tmp_path / "other"))
    damage(other)
    with pytest.raises(error, match=told) as caught:
        sl.ensemble([halves / "left", other], out=tmp_path / "new", progress=sl.Silent())
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "new").exists()


def test_unjudged_it_says_so_and_no_image_of_a_member_is_a_test_of_it(
    halves: Path, tmp_path: Path
) -> None:
    quiet = sl.Silent()
    other = Path(shutil.copytree(halves / "right", tmp_path / "other"))
    _of_other_images(other)
    found = sl.ensemble(
        [halves / "left", other], method="mean", out=tmp_path / "new", progress=quiet
    )
    assert found.difference is None
    assert "Its gain is not measured" in found.told[-1]
    with pytest.raises(sl.DataError, match=r"has no test images\. Judge it on an external set"):
        sl.evaluate(found.run, progress=quiet)
    judged = sl.evaluate(found.run, data=halves / "images", progress=quiet)
    assert judged.caution.startswith("1,000 of 1,000 of these images were trained on")


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
