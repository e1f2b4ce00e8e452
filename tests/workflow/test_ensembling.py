"""Runs put together: two networks that each see one half of an image, and what is refused."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from typer.testing import CliRunner

import sightline as sl
from sightline import runs
from sightline.cli.app import app
from sightline.data.images import encode_png
from sightline.workflow import describing

SIDE = 8  # px
MIDDLE = SIDE // 2


def half(left: bool) -> keras.Model:
    """Return a network that sees one half of an image."""
    cut = (0, MIDDLE) if left else (MIDDLE, 0)
    return keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 3)),
            keras.layers.Conv2D(2, 1, kernel_initializer="ones"),
            keras.layers.BatchNormalization(momentum=0.5),
            keras.layers.Cropping2D(((0, 0), cut)),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )


def picture(number: int, image: int, rng: np.random.Generator) -> bytes:
    """Return an image that shows its class in one half alone, by turns."""
    tones = np.array([128.0, 128.0])
    tones[image % 2] += 80 * (2 * number - 1)
    pixels = np.repeat(tones, MIDDLE)[None, :, None] + rng.integers(-3, 4, (SIDE, SIDE, 3))
    return encode_png(np.clip(pixels, 0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs, `left` and `right`, of images that show their class in one half alone."""
    folder = tmp_path_factory.mktemp("halves")
    rng = np.random.default_rng(3)
    for number, name in enumerate(("dark", "light")):
        (folder / "images" / name).mkdir(parents=True)
        for image in range(500):
            content = picture(number, image, rng)
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


def test_a_greedy_choice_gives_both_halves_about_the_same_weight(
    halves: Path, tmp_path: Path
) -> None:
    found = sl.ensemble(
        [halves / "left", halves / "right"], method="greedy", out=tmp_path / "new",
        progress=sl.Silent(),
    )  # fmt: skip
    assert found.run
    assert [each.weight for each in found.members] == pytest.approx([0.5, 0.5], abs=0.2)


def test_a_run_that_sees_one_half_is_kept_with_its_flips(halves: Path, tmp_path: Path) -> None:
    quiet = sl.Silent()
    words = ["ensemble", halves / "left", "--tta", "--out", tmp_path / "new"]
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.stderr
    shown = done.stdout.replace("\n", " ")
    assert "One run, with flips: left" in shown
    assert "It helps: log loss -" in shown
    assert "against the run as it is, on 400 images" in shown
    said = sl.predict(tmp_path / "new", halves / "images", progress=quiet)
    alone = sl.predict(halves / "left", halves / "images", progress=quiet)
    right = [np.mean(each.predicted_indices() == labels_of(each)) for each in (said, alone)]
    assert right[0] > right[1] + 0.2


def labels_of(said: sl.Predictions) -> np.ndarray:
    return np.array([int(name.startswith("light/")) for name in said.table["record_id"]])


def shaken(run: Path, copy: Path, way: int) -> Path:
    """Return a copy of a run with weights that are all off by the same, in one of two ways."""
    shutil.copytree(run, copy)
    kept = sl.open_run(copy).kept("best")
    rng = np.random.default_rng(5)
    arrays = {
        name: (array * (1 + way * 0.3 * rng.random(array.shape)) + way * 0.4).astype(array.dtype)
        if array.dtype.kind == "f" and "variance" not in name
        else array
        for name, array in kept.arrays.items()
    }
    runs.write_best(copy, arrays, epoch=kept.epoch)
    (copy / "checkpoints" / "best.safetensors").unlink()
    card = {**runs.read_json(copy / "model.json"), "fingerprint": runs.fingerprint(copy, arrays)}
    runs.write_sealed(copy / "model.json", card)
    return copy


def test_a_soup_of_two_that_are_off_to_either_side_is_kept(halves: Path, tmp_path: Path) -> None:
    quiet = sl.Silent()
    two = [shaken(halves / "left", tmp_path / name, way) for name, way in (("a", 1), ("b", -1))]
    found = sl.ensemble(two, method="soup", out=tmp_path / "soup", progress=quiet)
    assert found.run
    assert found.told[0].startswith("A soup of 2 runs, one network with the mean of their weights")
    said = sl.predict(found.run, halves / "images", progress=quiet).probabilities
    whole = sl.predict(halves / "left", halves / "images", progress=quiet).probabilities
    np.testing.assert_allclose(said, whole, atol=0.25)


def test_a_soup_of_unlike_networks_is_refused(halves: Path) -> None:
    with pytest.raises(sl.RecipeError, match=r"left and .*right do not have the same network"):
        sl.ensemble([halves / "left", halves / "right"], method="soup", progress=sl.Silent())


@pytest.mark.parametrize(
    "more", [{"method": "soup"}, {"method": "weighted"}, {"method": "mean", "flips": True}]
)
def test_only_a_mean_is_kept_unjudged(halves: Path, tmp_path: Path, more: dict[str, Any]) -> None:
    other = Path(shutil.copytree(halves / "right", tmp_path / "other"))
    _of_other_images(other)
    with pytest.raises(sl.DataError, match=r"^0 images .* unjudged: --method mean, without --tta"):
        sl.ensemble([halves / "left", other], out=tmp_path / "new", progress=sl.Silent(), **more)


@pytest.fixture(scope="module")
def more(halves: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty images that no run has."""
    folder = tmp_path_factory.mktemp("more")
    rng = np.random.default_rng(4)
    for number, name in enumerate(("dark", "light")):
        (folder / name).mkdir()
        for image in range(20):
            (folder / name / f"{image:03d}.png").write_bytes(picture(number, image, rng))
    return folder


def test_given_images_judge_and_nothing_is_said_of_epochs(
    halves: Path, more: Path, tmp_path: Path
) -> None:
    found = sl.ensemble(
        [halves / "left", halves / "right"], data=more, out=tmp_path / "new", progress=sl.Silent()
    )
    assert found.images == 40
    assert found.run
    assert "epochs" not in " ".join(found.told)
    kept = sl.open_run(found.run).manifest
    assert len(kept.of_split("validation")) == 440
    assert len(kept) == 1040


def test_too_few_given_images_are_refused(halves: Path, more: Path, tmp_path: Path) -> None:
    few = tmp_path / "few"
    shutil.copytree(more, few, ignore=shutil.ignore_patterns("01*", "00[5-9]*"))
    with pytest.raises(sl.DataError, match=r"^10 images of --data are left, and 30 are needed"):
        sl.ensemble([halves / "left", halves / "right"], data=few, progress=sl.Silent())
    with pytest.raises(sl.DataError, match=r"^40 images of 2 groups of --data .* 10 groups are"):
        sl.ensemble(
            [halves / "left", halves / "right"],
            data=more,
            group_regex=r"\w+/",
            progress=sl.Silent(),
        )


def test_a_folder_of_cross_validation_stands_for_its_folds(halves: Path, tmp_path: Path) -> None:
    for name, run in (("r0-f0", "left"), ("r0-f1", "right")):
        shutil.copytree(halves / run, tmp_path / "cv" / "folds" / name)
    runs.save_manifest(sl.open_run(halves / "left").manifest, tmp_path / "cv" / "manifest.parquet")
    about = {"folds": 2, "repeats": 1, "cache": True, "allow_leak": False}
    runs.write_sealed(tmp_path / "cv" / "cv.json", about)
    found = sl.ensemble(
        [tmp_path / "cv"], method="mean", out=tmp_path / "new", progress=sl.Silent()
    )
    assert [Path(each.run).name for each in found.members] == ["r0-f0", "r0-f1"]


@pytest.mark.slow
def test_of_an_imported_member_only_its_maker_knows(halves: Path, tmp_path: Path) -> None:
    quiet = sl.Silent()
    half(left=False).save(tmp_path / "model.keras")
    imported = sl.import_model(
        tmp_path / "model.keras", classes=["dark", "light"], scaling="1/255",
        out=tmp_path / "imported", progress=quiet,
    )  # fmt: skip
    found = sl.ensemble(
        [imported, halves / "left"], method="mean", out=tmp_path / "new", progress=quiet
    )
    assert "imported was trained elsewhere: whether it has seen" in found.told[-1]
    told = dict(describing.data_facts(sl.open_run(found.run)))
    size = sum(file.stat().st_size for file in (halves / "images").rglob("*.png"))
    assert told["Images"] == f"1,000, {size / 1e6:.1f} MB"
    assert told["Smallest"] == f"{SIDE} x {SIDE} pixels (height x width)"


def test_pictures_do_not_go_among_the_images_of_a_member(
    halves: Path, together: sl.Ensemble
) -> None:
    with pytest.raises(sl.DataError, match="lies among the images"):
        sl.explain(together.run, out=halves / "images" / "patient7", progress=sl.Silent())


def test_a_look_at_the_test_split_of_a_member_is_one_at_that_of_the_ensemble(
    halves: Path, together: sl.Ensemble, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(together.run, tmp_path / "copy"))
    about = runs.read_json(copy / "run.json")
    about["ensemble"]["looks"] = 40
    runs.write_sealed(copy / "run.json", about)
    assert sl.evaluate(copy, progress=sl.Silent()).looks == 41


def test_the_command_refuses_in_one_line(halves: Path) -> None:
    done = CliRunner().invoke(app, ["ensemble", str(halves / "left"), "--json"])
    assert done.exit_code == 2
    assert "two runs or more, got 1" in done.stderr


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
    assert "Its gain is not measured: 0 images were validated by every run" in found.told[-1]
    with pytest.raises(
        sl.DataError, match=r"has no test images\. Judge it on its validation split"
    ):
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


_OWN = """
import keras

@keras.saving.register_keras_serializable()
class Doubled(keras.layers.Layer):
    def call(self, inputs):
        return 2 * inputs

def net(recipe, classes):
    return keras.Sequential([keras.Input((8, 8, 3)), Doubled(), keras.layers.Flatten(),
                             keras.layers.Dense(1, activation="sigmoid")])
"""


@pytest.mark.slow
def test_layers_of_ones_own_are_found_again_in_a_new_process(halves: Path, tmp_path: Path) -> None:
    (tmp_path / "layers_here.py").write_text(_OWN)

    def sightline(*words: object) -> str:
        command = [sys.executable, "-m", "sightline", *(str(word) for word in words)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    manifest = halves / "left" / "manifest.parquet"
    for name, seed in (("one", 1), ("two", 2)):
        sightline(
            "train", manifest, "--recipe", "basic", "--set", "model.network=layers_here:net",
            "--set", "data.image_size=[8,8]", "--set", "train.epochs=1", "--set", f"seed={seed}",
            "--out", name, "--only-train",
        )  # fmt: skip
    _of_other_images(tmp_path / "two")  # so that it is kept unjudged
    sightline("ensemble", "one", "two", "--method", "mean", "--out", "new")
    assert "1,000" in sightline("predict", "new", halves / "images", "--out", "said.csv")
