"""export: what leaves a run is opened without Sightline and agrees with it, or is not left."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import sightline as sl
from sightline.cli.app import app
from sightline.errors import DataError, RunError
from sightline.learning.models import backend
from sightline.runs import Run, files
from sightline.workflow import exporting
from sightline.workflow.predicting import rebuild

backend.choose()

import keras  # noqa: E402

from sightline.learning.models import exported  # noqa: E402

PutManifest = Callable[[sl.Run, sl.Manifest], sl.Run]
FORMATS = {"keras": ".keras", "h5": ".h5", "savedmodel": ""}


def export(run: sl.Run, out: Path, **more: Any) -> Any:
    """Export, and return what is said beside it."""
    path = sl.export(run, out=out, progress=sl.Silent(), **more)
    assert path == out
    return json.loads(path.with_name(f"{path.name}.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def one(trained: sl.Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A .keras file with the preprocessing inside, and what is said beside it."""
    path = tmp_path_factory.mktemp("export") / "one.keras"
    return path, export(trained, path)


@pytest.fixture(scope="module")
def network(trained: sl.Run) -> keras.Model:
    """The trained run's own network."""
    return rebuild(trained, trained.kept("best"), sl.Silent())


def sample_of(run: sl.Run, network: keras.Model) -> exported.Sample:
    return exporting._sample(network, run.recipe, exporting._tried(run), True)


# --- what is written -------------------------------------------------------------------


def test_an_export_agrees_with_the_run_in_a_process_without_sightline(
    one: tuple[Path, Any],
) -> None:
    assert one[1]["checked"]["greatest_difference"] <= 1e-5
    assert one[1]["checked"]["of"] == "validation images of the run"


def test_plain_keras_predicts_from_pixels_what_the_run_does(
    one: tuple[Path, Any], trained: sl.Run, photos: Path
) -> None:
    import cv2

    files = sorted(photos.rglob("*.png"))
    size = trained.recipe.data.image_size
    assert size != "auto"
    assert size == cv2.imread(str(files[0])).shape[:2]  # nothing is resized on the way
    pixels = np.stack([cv2.imread(str(path))[..., ::-1] for path in files]).astype(np.float32)
    answers = keras.models.load_model(one[0]).predict(pixels, verbose=0)
    own = sl.predict(trained, photos, progress=sl.Silent()).probabilities
    np.testing.assert_allclose(answers[:, 0], own[:, 1], atol=1e-5)


def test_it_is_said_what_goes_in_and_what_comes_out(one: tuple[Path, Any]) -> None:
    about = one[1]
    assert about["classes"] == ["dark", "light"]
    assert about["input"]["range"] == [0, 255]
    assert about["input"]["colour"] == "RGB"
    assert about["output"]["meaning"].startswith("sigmoid: the probability of 'light'")


def test_an_export_names_the_model_that_it_is_of(one: tuple[Path, Any], trained: sl.Run) -> None:
    assert one[1]["fingerprint"] == trained.kept("best").fingerprint


def test_nothing_else_is_left_beside_an_export(one: tuple[Path, Any]) -> None:
    assert sorted(path.name for path in one[0].parent.iterdir()) == ["one.keras", "one.keras.json"]


def test_the_range_without_preprocessing_is_that_of_each_channel(trained: sl.Run) -> None:
    data = {"scaling": "mean-std", "mean": (0.5, 0.25, 0.5), "std": (0.5, 0.25, 0.25)}
    recipe = trained.recipe.model_copy(update={"data": trained.recipe.data.model_copy(update=data)})
    described = exporting._input(recipe, preprocessing=False)
    assert described["range"] == [[-1.0, 1.0], [-1.0, 3.0], [-2.0, 2.0]]


@pytest.mark.parametrize("scaling", ["1/255", "none", "mean-std", "per-image"])
@pytest.mark.parametrize("channels", [1, 3])
def test_generated_images_are_scaled_as_the_stream_scales(
    trained: sl.Run, scaling: str, channels: int
) -> None:
    given = ((0.4,) * channels, (0.2,) * channels) if scaling == "mean-std" else ((), ())
    data = {"scaling": scaling, "channels": channels, "mean": given[0], "std": given[1]}
    recipe = trained.recipe.model_copy(update={"data": trained.recipe.data.model_copy(update=data)})
    tried = exporting._tried(Run(trained.path, trained.info, recipe))
    np.testing.assert_allclose(exported.scaled(tried.pixels, recipe), tried.scaled, atol=2e-6)


def test_an_h5_file_of_more_than_layers_is_not_written(tmp_path: Path) -> None:
    inputs = keras.Input((8, 8, 3))
    inner = keras.Model(inputs, inputs[..., :1] * 2)
    model = keras.Sequential([inner, keras.layers.Flatten()])
    with pytest.raises(
        RunError, match=r"it has GetItem, Multiply among them\. Export it with --keras"
    ):
        exported.save(model, tmp_path / "x.h5", "h5")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("preprocessing", [True, False])
@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_agrees_with_the_run(
    trained: sl.Run, tmp_path: Path, kind: str, preprocessing: bool
) -> None:
    about = export(
        trained, tmp_path / f"x{FORMATS[kind]}", format=kind, preprocessing=preprocessing
    )
    assert about["checked"]["greatest_difference"] <= 1e-5
    assert (about["input"]["range"] == [0, 255]) == preprocessing


@pytest.mark.slow
@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(
    "changes",
    [
        {"data.channels": 1, "data.scaling": "per-image"},
        {"data.channels": 1, "data.scaling": "per-image", "precision": "mixed_bfloat16"},
        {"data.channels": 1, "data.scaling": "mean-std", "precision": "mixed_bfloat16"},
    ],
)
def test_grey_and_bfloat16_networks_agree_as_well(
    photos: Path, quick: dict[str, Any], tmp_path: Path, kind: str, changes: dict[str, Any]
) -> None:
    run = sl.train(
        photos,
        recipe="basic",
        changes={**quick, **changes, "train.epochs": 1},
        out=tmp_path / "run",
        only_train=True,
        progress=sl.Silent(),
    )
    about = export(run, tmp_path / f"x{FORMATS[kind]}", format=kind)
    assert about["checked"]["greatest_difference"] <= 1e-5
    assert about["precision"]["computes_in"] == run.recipe.precision


@pytest.mark.slow
def test_without_the_images_generated_ones_are_used_and_named(
    run: sl.Run, put_manifest: PutManifest, tmp_path: Path
) -> None:
    moved = put_manifest(run, sl.Manifest.make(tmp_path / "gone", run.manifest.table))
    about = export(moved, tmp_path / "x.keras")
    assert "generated images" in about["checked"]["of"]


@pytest.mark.slow
def test_the_last_weights_can_be_exported(trained: sl.Run, tmp_path: Path) -> None:
    about = export(trained, tmp_path / "x.keras", weights="last")
    assert (about["weights"], about["epoch"]) == ("last", 2)


# --- what does not agree ---------------------------------------------------------------


@pytest.mark.slow
def test_the_new_process_knows_nothing_of_sightline(
    trained: sl.Run, network: keras.Model, one: tuple[Path, Any]
) -> None:
    agreement = exported.compared(one[0], sample_of(trained, network))
    assert "keras" in agreement.packages
    assert "sightline" not in agreement.packages


def _unscaled(network: keras.Model) -> Callable[[Path], object]:
    """Return a way to export that forgets the scaling."""
    inputs = keras.Input(network.input_shape[1:])
    return keras.Model(inputs, network(inputs)).save


def _untrained(network: keras.Model) -> Callable[[Path], object]:
    """Return a way to export that loses the weights, with the right scaling."""
    inputs = keras.Input(network.input_shape[1:])
    other = keras.models.clone_model(network)
    return keras.Model(inputs, other(keras.layers.Rescaling(1 / 255)(inputs))).save


@pytest.mark.slow
@pytest.mark.parametrize("wrong", [_unscaled, _untrained])
def test_an_export_that_disagrees_is_removed(
    trained: sl.Run,
    network: keras.Model,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    wrong: Callable[[keras.Model], Callable[[Path], object]],
) -> None:
    monkeypatch.setattr(exported, "save", lambda model, path, kind: wrong(network)(path))
    with pytest.raises(RunError, match=r"differs from the run's own predictions by [0-9.e-]+ "):
        sl.export(trained, out=tmp_path / "wrong.keras", progress=sl.Silent())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_an_export_damaged_on_its_way_to_the_disk_is_removed(
    trained: sl.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def torn(model: keras.Model, path: Path, kind: str) -> None:
        model.save(path)
        path.write_bytes(path.read_bytes()[:-500])

    monkeypatch.setattr(exported, "save", torn)
    with pytest.raises(RunError, match="a new process without Sightline cannot open the export"):
        sl.export(trained, out=tmp_path / "torn.keras", progress=sl.Silent())
    assert list(tmp_path.iterdir()) == []


def test_an_export_that_takes_too_long_to_open_is_removed(
    trained: sl.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exported, "_PATIENCE", 0.1)
    with pytest.raises(RunError, match=r"images with it after 0\.1 seconds, so it was removed"):
        sl.export(trained, out=tmp_path / "slow.keras", progress=sl.Silent())
    assert list(tmp_path.iterdir()) == []


# --- where it goes ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "name", "told"),
    [
        ("keras", "x.h5", "an export as keras must end in .keras"),
        ("h5", "x.keras", "an export as h5 must end in .h5"),
        ("savedmodel", "x.h5", "a SavedModel is a folder"),
    ],
)
def test_a_wrong_extension_is_refused(
    trained: sl.Run, tmp_path: Path, kind: Any, name: str, told: str
) -> None:
    with pytest.raises(DataError, match=told):
        sl.export(trained, format=kind, out=tmp_path / name, progress=sl.Silent())


@pytest.mark.parametrize("name", ["x.keras", "x.keras.json"])
def test_a_file_of_someone_else_is_not_touched(trained: sl.Run, tmp_path: Path, name: str) -> None:
    theirs = tmp_path / name
    theirs.write_text("{}")
    with pytest.raises(DataError, match="exists and is no export"):
        sl.export(trained, out=tmp_path / "x.keras", progress=sl.Silent())
    assert theirs.read_text() == "{}"


def test_an_export_that_was_changed_is_not_replaced(
    trained: sl.Run, one: tuple[Path, Any], tmp_path: Path
) -> None:
    for path in one[0].parent.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    with (tmp_path / "one.keras").open("ab") as file:
        file.write(b"more")
    with pytest.raises(DataError, match="or was changed since"):
        sl.export(trained, out=tmp_path / "one.keras", progress=sl.Silent())


@pytest.mark.slow
@pytest.mark.parametrize("kind", FORMATS)
def test_an_earlier_export_is_replaced(trained: sl.Run, tmp_path: Path, kind: str) -> None:
    out = tmp_path / f"x{FORMATS[kind]}"
    export(trained, out, format=kind)
    again = export(trained, out, format=kind, preprocessing=False)
    assert again["input"]["range"] == [0, 1]


def test_an_earlier_export_stays_where_the_new_one_cannot_be_written(
    trained: sl.Run, one: tuple[Path, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in one[0].parent.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(files, "flush_to_disk", full)
    with pytest.raises(OSError, match="No space left"):
        sl.export(trained, out=tmp_path / "one.keras", weights="last", progress=sl.Silent())
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_format_that_does_not_exist_is_refused(trained: sl.Run) -> None:
    with pytest.raises(ValueError, match="format must be one of"):
        sl.export(trained, format="onnx")  # type: ignore[arg-type]


def test_two_formats_at_once_are_refused(trained: sl.Run) -> None:
    done = CliRunner().invoke(app, ["export", str(trained.path), "--keras", "--h5"])
    assert done.exit_code == 2
    assert "give one of --keras, --h5 and --savedmodel" in done.stderr


@pytest.mark.slow
def test_the_command_prints_what_goes_in(trained: sl.Run, tmp_path: Path) -> None:
    out = tmp_path / "x.h5"
    done = CliRunner().invoke(app, ["export", str(trained.path), "--h5", "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "range [0, 255]; sigmoid: the probability of 'light'" in done.stdout
