"""explain: overlays of images, a summary of the validation split, and thumbnails for a report."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import polars as pl
import pytest

import sightline as sl
from sightline import runs
from sightline.data import images
from sightline.errors import DataError, RunError
from sightline.records import Decision
from sightline.workflow.explaining import Explained, kept, overlays

MakePhotos = Callable[..., Path]
PutManifest = Callable[[sl.Run, sl.Manifest], sl.Run]


@pytest.fixture(scope="module")
def summed_up(trained: sl.Run, tmp_path_factory: pytest.TempPathFactory) -> Explained:
    """What is found on the validation split of a run that must not be changed."""
    out = tmp_path_factory.mktemp("explained")
    return sl.explain(trained, out=out, progress=sl.Silent())


def explain(run: sl.Run, *paths: Path, **more: Any) -> Explained:
    return sl.explain(run, paths, progress=sl.Silent(), **more)


# --- a split ---------------------------------------------------------------------------


def test_without_paths_the_validation_split_is_explained(
    trained: sl.Run, summed_up: Explained
) -> None:
    expected = trained.manifest.of_split("validation")["record_id"].to_list()
    assert [each.record_id for each in summed_up.explanations] == expected


def test_the_summary_has_a_map_for_all_and_for_each_class(summed_up: Explained) -> None:
    assert summed_up.attention is not None
    assert summed_up.attention.whole.average.shape == (8, 8)
    explained = {each.class_name for each in summed_up.explanations}
    assert {part.class_name for part in summed_up.attention.classes} == explained


def test_the_summary_is_written_with_its_pictures(summed_up: Explained) -> None:
    (card,) = summed_up.folder.glob("*.json")
    assert json.loads(card.read_text("utf-8")) == json.loads(json.dumps(summed_up.to_dict()))
    assert all(path.parent == summed_up.folder for path in summed_up.pictures.values())
    assert all(images.load(path).size for path in summed_up.pictures.values())


def test_the_sanity_check_is_a_part_of_it(summed_up: Explained) -> None:
    assert summed_up.sanity is not None
    codes = [finding.code for finding in summed_up.findings]
    assert codes == ["maps-ignore-weights", "border-attention"]


def test_probabilities_are_those_of_predict(trained: sl.Run, summed_up: Explained) -> None:
    paths = [trained.manifest.root / each.record_id for each in summed_up.explanations]
    table = sl.predict(trained, paths, progress=sl.Silent()).to_table()
    for each, row in zip(summed_up.explanations, table.iter_rows(named=True), strict=True):
        assert each.class_name == row["predicted"]
        assert each.probability == pytest.approx(row[f"p_{each.class_name}"], abs=1e-5)


def test_the_class_is_that_of_the_decision_that_was_settled(run: sl.Run, tmp_path: Path) -> None:
    always_light = Decision("threshold", class_index=1, threshold=0.0)
    runs.settle(run, run.kept("best"), runs.Settled(always_light))
    found = explain(sl.open_run(run.path), out=tmp_path / "out")
    assert {each.class_name for each in found.explanations} == {"light"}


def test_the_same_again_is_the_same(trained: sl.Run, summed_up: Explained, tmp_path: Path) -> None:
    again = explain(trained, out=tmp_path / "again")
    for one, other in zip(summed_up.explanations, again.explanations, strict=True):
        np.testing.assert_array_equal(one.map, other.map)
    names = sorted(path.name for path in again.folder.iterdir())
    assert names == sorted(path.name for path in summed_up.folder.iterdir())


def test_by_default_pictures_go_into_the_run(run: sl.Run) -> None:
    assert explain(run).folder == run.path / "explain"
    assert list((run.path / "explain").glob("gradcam-*.png"))


def test_a_run_without_validation_images_asks_for_some(
    run: sl.Run, put_manifest: PutManifest
) -> None:
    manifest = run.manifest
    splits = manifest.table["split"].replace("validation", "train")
    with pytest.raises(DataError, match="has no validation images of its own to explain"):
        explain(put_manifest(run, manifest.with_splits(splits)))


def test_images_that_have_gone_are_told(run: sl.Run, put_manifest: PutManifest) -> None:
    table = run.manifest.table.with_columns(record_id=pl.lit("gone/") + pl.col("record_id"))
    gone = put_manifest(run, sl.Manifest(run.manifest.root, run.manifest.class_names, table))
    with pytest.raises(DataError, match=r"not one of \d+ images .* could be read, .*MISSING"):
        explain(gone)


# --- images that are named -------------------------------------------------------------


@pytest.fixture
def named(make_photos: MakePhotos, tmp_path: Path) -> Path:
    """Four images, and one file that is none."""
    folder = make_photos(tmp_path / "named", {"dark": 2, "light": 2}, seed=5)
    (folder / "broken.png").write_text("not an image")
    return folder


def test_named_images_have_an_overlay_each_and_no_summary(
    trained: sl.Run, named: Path, tmp_path: Path
) -> None:
    found = explain(trained, named, out=tmp_path / "out")
    assert found.attention is None
    assert len(found.pictures) == len(found.explanations) == 4


def test_an_image_that_cannot_be_read_is_named_and_others_go_on(
    trained: sl.Run, named: Path, tmp_path: Path
) -> None:
    found = explain(trained, named, out=tmp_path / "out")
    assert found.unreadable == {"broken.png": "NOT_AN_IMAGE"}


def test_no_image_that_can_be_read_is_an_error(
    trained: sl.Run, named: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"not one of 1 images .* first broken.png: NOT_AN_IMAGE"):
        explain(trained, named / "broken.png", out=tmp_path / "out")


def test_more_images_than_can_be_drawn_are_refused(
    trained: sl.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sightline.workflow.explaining._MOST", 3)
    with pytest.raises(DataError, match=r"20 images were named, .* 3 at most"):
        explain(trained, trained.manifest.root, out=tmp_path / "out")


@pytest.mark.parametrize("method", ["gradcam++", "occlusion", "integrated-gradients"])
def test_every_method_has_its_own_pictures(
    trained: sl.Run, named: Path, tmp_path: Path, method: Any
) -> None:
    found = explain(trained, named, out=tmp_path / "out", method=method)
    names = {
        path.name.partition("-dark")[0] for path in found.pictures.values() if "dark" in path.name
    }
    assert names == {method}
    assert found.sanity is not None
    assert found.sanity.correlations


def test_integrated_gradients_report_how_well_they_add_up(
    trained: sl.Run, named: Path, tmp_path: Path
) -> None:
    found = explain(trained, named, out=tmp_path / "out", method="integrated-gradients")
    assert all(each.measured["gap"] < 0.01 for each in found.explanations)


def test_feature_maps_are_drawn_of_every_image(
    trained: sl.Run, named: Path, tmp_path: Path
) -> None:
    found = explain(trained, named, out=tmp_path / "out", method="features", layer="conv2d")
    assert sorted(found.pictures) == [
        f"{n}/{n}_{i:02d}.png" for n in ("dark", "light") for i in (0, 1)
    ]


def test_filters_are_one_picture(trained: sl.Run, tmp_path: Path) -> None:
    found = explain(trained, out=tmp_path / "out", method="filters")
    assert list(found.pictures) == ["filters"]


def test_pictures_of_different_classes_do_not_overwrite_each_other(
    trained: sl.Run, named: Path, tmp_path: Path
) -> None:
    for name in ("dark", "light"):
        found = explain(trained, named / "dark", out=tmp_path / "out", class_name=name)
        assert {each.class_name for each in found.explanations} == {name}
    assert len(list((tmp_path / "out").iterdir())) == 4


def test_images_of_one_name_in_two_folders_do_not_overwrite_each_other(
    trained: sl.Run, named: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(named / "dark", tmp_path / "other")
    explain(trained, named / "dark", out=tmp_path / "out")
    explain(trained, other, out=tmp_path / "out")
    assert len(list((tmp_path / "out").iterdir())) == 4


@pytest.mark.parametrize(
    "name", ["a b/../c", "$x$ <b>&amp;", "日本\u202egnp", "%00;rm -rf", "." * 40]
)
def test_hostile_names_make_safe_files(
    trained: sl.Run, named: Path, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "hostile" / name.replace("..", "dots")
    folder.mkdir(parents=True)
    path = shutil.copy(named / "dark" / "dark_00.png", folder / f"{name.rpartition('/')[2]}.png")
    found = explain(trained, Path(path), out=tmp_path / "out")
    (written,) = found.pictures.values()
    assert written.parent == tmp_path / "out"
    assert written.name.isascii()
    assert not set(written.name) & set(" $<>&;%")


# --- what an overlay shows -------------------------------------------------------------


def large_photo(path: Path, height: int, width: int, *, orientation: int = 1) -> Path:
    """Write a JPEG with an EXIF orientation."""
    pixels = np.random.default_rng(0).integers(0, 255, (height, width, 3)).astype(np.uint8)
    content = images.encode_jpeg(cv2.GaussianBlur(pixels, (0, 0), 5), 95)
    exif = b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01"
    exif += bytes([0, orientation, 0, 0, 0, 0, 0, 0])
    segment = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    path.write_bytes(content[:2] + segment + content[2:])
    return path


def test_an_overlay_is_of_the_images_own_size_with_a_legend_below(
    trained: sl.Run, tmp_path: Path
) -> None:
    path = large_photo(tmp_path / "large.jpg", 500, 700)
    found = explain(trained, path, out=tmp_path / "out")
    height, width = images.load(found.pictures["large.jpg"]).shape[:2]
    assert width == 700
    assert 550 < height < 750


def test_an_overlay_is_upright(trained: sl.Run, tmp_path: Path) -> None:
    path = large_photo(tmp_path / "turned.jpg", 500, 700, orientation=6)
    found = explain(trained, path, out=tmp_path / "out")
    assert images.load(found.pictures["turned.jpg"]).shape[1] == 500


def test_a_tiny_image_is_drawn_larger(trained: sl.Run, named: Path, tmp_path: Path) -> None:
    found = explain(trained, named, out=tmp_path / "out")
    assert images.load(found.pictures["dark/dark_00.png"]).shape[1] >= 320


# --- networks from elsewhere -----------------------------------------------------------


def keras_model() -> Any:
    """Return a network with another inside, as those with a backbone are."""
    from sightline.learning.models import backend

    backend.choose()
    import keras
    from keras import layers

    inner = keras.Sequential(
        [keras.Input((8, 8, 3)), layers.Conv2D(4, 3, name="my_layer"), layers.ReLU(name="my_relu")],
        name="backbone",
    )
    start = keras.Input((8, 8, 3))
    pooled = layers.GlobalAveragePooling2D()(inner(start))
    return keras.Model(start, layers.Dense(2, activation="softmax")(pooled))


def test_an_imported_model_is_explained_by_the_names_of_its_layers(
    named: Path, tmp_path: Path
) -> None:
    keras_model().save(tmp_path / "mine.keras")
    run = sl.import_model(
        tmp_path / "mine.keras", classes=("dark", "light"), scaling="1/255",
        out=tmp_path / "imported", progress=sl.Silent(),
    )  # fmt: skip
    assert explain(run, named).layer == "my_relu"
    assert explain(run, named, layer="my_layer").layer == "my_layer"


def test_an_imported_model_without_images_asks_for_some(tmp_path: Path) -> None:
    keras_model().save(tmp_path / "mine.keras")
    run = sl.import_model(
        tmp_path / "mine.keras", classes=("dark", "light"), scaling="1/255",
        out=tmp_path / "imported", progress=sl.Silent(),
    )  # fmt: skip
    with pytest.raises(DataError, match="has no validation images of its own to explain"):
        explain(run)


@pytest.fixture(scope="module")
def flat(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> sl.Run:
    """A run whose network has no convolution."""
    from sightline.learning.models import backend

    backend.choose()
    import keras
    from keras import layers

    model = keras.Sequential(
        [keras.Input((8, 8, 3)), layers.Flatten(), layers.Dense(1, activation="sigmoid")]
    )
    changes = {"train.epochs": 1, "train.batch_size": 8}
    out = tmp_path_factory.mktemp("flat") / "run"
    return sl.train(
        photos, recipe="basic", changes=changes, model=model, out=out, only_train=True,
        progress=sl.Silent(),
    )  # fmt: skip


def test_a_network_without_convolution_has_no_gradcam(flat: sl.Run, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no convolution .* --method occlusion and"):
        explain(flat, out=tmp_path / "out")


def test_a_network_without_convolution_has_occlusion(flat: sl.Run, tmp_path: Path) -> None:
    assert explain(flat, out=tmp_path / "out", method="occlusion").explanations


def test_a_network_without_convolution_has_no_filters(flat: sl.Run, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no convolution, so it has no filters to show"):
        explain(flat, out=tmp_path / "out", method="filters")


def test_a_network_without_convolution_has_no_overlays_in_a_report(flat: sl.Run) -> None:
    assert overlays(flat, flat.manifest, flat.manifest.table["record_id"].to_list()) == {}


# --- mistakes --------------------------------------------------------------------------


def test_an_unknown_class_is_refused_with_those_there_are(trained: sl.Run, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'grey' is none of the model's 2 classes: dark, light"):
        explain(trained, out=tmp_path, class_name="grey")


def test_an_unknown_layer_is_refused_with_those_there_are(trained: sl.Run, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no layer 'conv9' .*: conv2d, max_pooling2d, conv2d_1"):
        explain(trained, out=tmp_path, layer="conv9")


def test_a_layer_is_refused_for_a_method_that_asks_the_whole_network(
    trained: sl.Run, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="--method occlusion asks the whole network, so --layer"):
        explain(trained, out=tmp_path, method="occlusion", layer="conv2d")


def test_an_unknown_method_is_refused(trained: sl.Run, tmp_path: Path) -> None:
    wrong: Any = "saliency"
    with pytest.raises(ValueError, match=r"method must be one of .*, got 'saliency'"):
        explain(trained, out=tmp_path, method=wrong)


def test_pictures_are_not_put_among_the_images(trained: sl.Run) -> None:
    with pytest.raises(DataError, match=r"lies among the images, .* Name another folder"):
        explain(trained, out=trained.manifest.root / "explained")
    assert not (trained.manifest.root / "explained").exists()


def test_a_folder_that_cannot_be_written_to_is_told(trained: sl.Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match=r"cannot write into .*\(--out\)"):
        explain(trained, out=tmp_path / "file" / "explained")


def test_a_read_only_run_is_explained_elsewhere(run: sl.Run, tmp_path: Path) -> None:
    run.path.chmod(0o555)
    try:
        if os.access(run.path, os.W_OK):
            pytest.skip("this user may write anywhere")
        with pytest.raises(RunError, match=r"cannot write into .*explain: Permission denied"):
            explain(run)
        assert explain(run, out=tmp_path / "out").pictures
    finally:
        run.path.chmod(0o755)


# --- thumbnails for a report -----------------------------------------------------------


def test_overlays_are_small_pictures_by_record_id(trained: sl.Run) -> None:
    manifest = trained.manifest
    wanted = manifest.table["record_id"].to_list()[::3]
    found = overlays(trained, manifest, wanted)
    assert sorted(found) == wanted
    assert all(len(picture.content) < 10_000 for picture in found.values())


def test_overlays_are_of_the_classes_that_are_asked_for(trained: sl.Run) -> None:
    first, second = trained.manifest.table["record_id"].to_list()[:2]
    found = overlays(
        trained, trained.manifest, [first, second], classes={first: "light", second: "dark"}
    )
    assert (found[first].caption, found[second].caption) == ("light", "dark")


def test_overlays_of_a_class_that_there_is_not_are_a_slip(trained: sl.Run) -> None:
    first = trained.manifest.table["record_id"][0]
    with pytest.raises(ValueError, match=r"classes must be of .*, got \['grey'\]"):
        overlays(trained, trained.manifest, [first], classes={first: "grey"})


def test_an_overlay_of_what_cannot_be_read_is_left_out(trained: sl.Run, named: Path) -> None:
    manifest = sl.Manifest.make(named, {"record_id": ["broken.png", "dark/dark_00.png"]})
    assert list(overlays(trained, manifest, ["broken.png", "dark/dark_00.png"])) == [
        "dark/dark_00.png"
    ]


def test_a_report_finds_what_was_kept_also_after_the_run_was_moved(
    run: sl.Run, tmp_path: Path
) -> None:
    explain(run)
    moved = sl.open_run(shutil.move(run.path, tmp_path / "moved"))
    told = kept(moved)
    assert told is not None
    assert told["attention"]["split"] == "validation"
    assert Path(told["pictures"]["average"]).parent == moved.path / "explain"
    assert Path(told["pictures"]["average"]).exists()


def test_a_report_is_not_given_what_was_asked_about_one_class(run: sl.Run) -> None:
    explain(run)
    before = kept(run)
    explain(run, class_name="dark")
    assert before is not None
    assert kept(run) == before


def test_a_report_is_not_given_what_is_of_other_weights_of_the_same_epoch(run: sl.Run) -> None:
    (card,) = (run.path / "explain").glob("*.json")
    told = json.loads(card.read_text("utf-8"))
    assert kept(run) is not None
    card.write_text(json.dumps({**told, "fingerprint": "0" * 64}))
    assert kept(run) is None
    del told["fingerprint"], told["class_name"]  # as an earlier Sightline wrote it
    card.write_text(json.dumps(told))
    assert kept(run) is not None


def test_nothing_is_kept_of_named_images(run: sl.Run, named: Path) -> None:
    shutil.rmtree(run.path / "explain", ignore_errors=True)  # of the training
    explain(run, named)
    assert kept(run) is None
