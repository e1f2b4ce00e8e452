"""import: models trained elsewhere become runs; files that ask for too much do not."""

from __future__ import annotations

import json
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

import sightline as sl
from sightline.cli.app import app
from sightline.errors import DataError, RecipeError, RunError
from sightline.learning.models import backend, foreign
from sightline.workflow import importing

backend.choose()

import keras  # noqa: E402
from keras import layers  # noqa: E402

from sightline.learning.models import loading  # noqa: E402

MakePhotos = Callable[..., Path]
NAMES = ("light", "dark")  # in the order of the outputs, which is not that of the alphabet
SIZE = (8, 8)


def stacked(units: int = 1, activation: str | None = "sigmoid", size: Any = SIZE) -> keras.Model:
    keras.utils.set_random_seed(3)
    return keras.Sequential(
        [
            keras.Input((*size, 3)),
            layers.Conv2D(4, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.GlobalAveragePooling2D(),
            layers.Dropout(0.3),
            layers.Dense(units, activation=activation),
        ]
    )


@pytest.fixture(scope="module")
def model() -> keras.Model:
    """A model of someone else, compiled with a metric of their own."""
    made = stacked()
    made.compile("adam", "binary_crossentropy", metrics=[keras.metrics.AUC(name="theirs")])
    return made


@pytest.fixture(scope="module")
def saved(model: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """It as a .keras file; must not be changed."""
    path = tmp_path_factory.mktemp("theirs") / "model.keras"
    model.save(path)
    return path


@pytest.fixture(scope="module")
def imported(saved: Path, tmp_path_factory: pytest.TempPathFactory) -> sl.Run:
    """The run that is made of it."""
    return imported_as(saved, tmp_path_factory.mktemp("imported") / "run")


@pytest.fixture
def judged(imported: sl.Run, tmp_path: Path) -> sl.Run:
    """A copy of it that a test may change."""
    return sl.open_run(shutil.copytree(imported.path, tmp_path / "run"))


def imported_as(path: Path, out: Path, **more: Any) -> sl.Run:
    settings: dict[str, Any] = {"classes": NAMES, "scaling": "1/255", **more}
    return sl.import_model(path, out=out, progress=sl.Silent(), **settings)


def pixels_of(folder: Path) -> Any:
    files = sorted(folder.rglob("*.png"))
    return np.stack([cv2.imread(str(path))[..., ::-1] for path in files]).astype(np.float32)


def rezipped(source: Path, target: Path, **changed: bytes) -> Path:
    """Write a .keras file again, with other members; "__" stands for the dot in their names."""
    new = {name.replace("__", "."): content for name, content in changed.items()}
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as out:
        for name in dict.fromkeys((*old.namelist(), *new)):
            out.writestr(name, new[name] if name in new else old.read(name))
    return target


def config_of(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read("config.json"))


# --- a run like any other --------------------------------------------------------------


def test_an_imported_model_predicts_what_keras_does(
    imported: sl.Run, model: keras.Model, photos: Path
) -> None:
    answers = model.predict(pixels_of(photos) / 255, verbose=0)
    own = sl.predict(imported, photos, progress=sl.Silent()).probabilities
    np.testing.assert_allclose(own[:, 1], answers[:, 0], atol=1e-6)


def test_classes_keep_the_order_of_the_outputs(imported: sl.Run, photos: Path) -> None:
    assert sl.predict(imported, photos, progress=sl.Silent()).class_names == NAMES


def test_an_imported_run_says_where_it_comes_from(imported: sl.Run) -> None:
    assert imported.state == "imported"
    assert imported.info["reason"] == "Imported from model.keras."
    assert "model.keras, which was trained elsewhere" in imported.plan[0]


def test_it_has_no_history_and_no_images(imported: sl.Run) -> None:
    assert (len(imported.history), len(imported.manifest), imported.facts.count) == (0, 0, 0)


def test_it_is_judged_on_an_external_set(judged: sl.Run, photos: Path) -> None:
    evaluation = sl.evaluate(judged, data=photos, progress=sl.Silent())
    assert evaluation.count == 20
    assert evaluation.class_names == NAMES


def test_it_has_no_split_to_be_judged_on(judged: sl.Run) -> None:
    with pytest.raises(DataError, match="was trained elsewhere, so there is no test split"):
        sl.evaluate(judged, progress=sl.Silent())


def test_its_report_says_that_it_was_trained_elsewhere(judged: sl.Run, photos: Path) -> None:
    sl.evaluate(judged, data=photos, progress=sl.Silent())
    page = sl.report(judged).read_text("utf-8")
    assert "2 classes, trained elsewhere" in page


def test_it_cannot_be_resumed(judged: sl.Run) -> None:
    with pytest.raises(RunError, match="trained elsewhere: nothing can be resumed"):
        sl.train(resume=judged.path, progress=sl.Silent())


def test_it_has_no_last_weights(imported: sl.Run, photos: Path) -> None:
    with pytest.raises(RunError, match="there are no last weights"):
        sl.predict(imported, photos, weights="last", progress=sl.Silent())


def test_it_is_listed_among_the_runs(imported: sl.Run) -> None:
    done = CliRunner().invoke(app, ["runs", str(imported.path.parent), "--json"])
    (row,) = json.loads(done.stdout)["runs"]
    assert (row["state"], row["images"], row["epochs"]) == ("imported", None, 0)


@pytest.mark.slow
def test_it_can_be_exported(imported: sl.Run, tmp_path: Path) -> None:
    path = sl.export(imported, out=tmp_path / "again.keras", progress=sl.Silent())
    about = json.loads(path.with_name("again.keras.json").read_text("utf-8"))
    assert about["classes"] == list(NAMES)


@pytest.mark.slow
def test_an_h5_file_is_imported_as_well(model: keras.Model, photos: Path, tmp_path: Path) -> None:
    model.save(tmp_path / "model.h5")
    run = imported_as(tmp_path / "model.h5", tmp_path / "run", scaling="-1..1")
    answers = model.predict(pixels_of(photos) / 127.5 - 1, verbose=0)
    own = sl.predict(run, photos, progress=sl.Silent()).probabilities
    np.testing.assert_allclose(own[:, 1], answers[:, 0], atol=1e-5)


@pytest.mark.slow
def test_the_command_takes_classes_one_after_another(saved: Path, tmp_path: Path) -> None:
    words = ["import", str(saved), "--classes", *NAMES, "--scaling", "1/255"]
    done = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "run"), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["class_names"] == list(NAMES)


@pytest.mark.slow
def test_an_operation_on_an_input_is_a_layer_like_others(tmp_path: Path) -> None:
    inputs = keras.Input((*SIZE, 3))
    features = keras.ops.mean(inputs[..., :1] * 0.5 + 0.1, axis=(1, 2))
    keras.Model(inputs, layers.Dense(2, activation="softmax")(features)).save(
        tmp_path / "operations.keras"
    )
    run = imported_as(tmp_path / "operations.keras", tmp_path / "run")
    assert run.model["class_names"] == list(NAMES)


# --- what does not fit -----------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("units", "activation", "told"),
    [
        (1, None, "2 classes need Dense"),  # logits
        (3, "softmax", "got 3 units"),
        (1, "softmax", "which is always 1"),
    ],
)
def test_an_output_that_does_not_fit_is_refused(
    tmp_path: Path, units: int, activation: str | None, told: str
) -> None:
    stacked(units, activation).save(tmp_path / "model.keras")
    with pytest.raises(RecipeError, match=told):
        imported_as(tmp_path / "model.keras", tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_size_left_open_has_to_be_given(tmp_path: Path) -> None:
    stacked(size=(None, None)).save(tmp_path / "model.keras")
    with pytest.raises(DataError, match="images of any size: say which"):
        imported_as(tmp_path / "model.keras", tmp_path / "run")
    run = imported_as(tmp_path / "model.keras", tmp_path / "run", image_size=(9, 7))
    assert run.recipe.data.image_size == (9, 7)


@pytest.mark.slow
def test_scaling_twice_is_refused(tmp_path: Path) -> None:
    inputs = keras.Input((*SIZE, 3))
    keras.Model(inputs, stacked()(layers.Rescaling(1 / 255)(inputs))).save(tmp_path / "m.keras")
    with pytest.raises(RecipeError, match=r"expects 0\.\.255 and would scale them once"):
        imported_as(tmp_path / "m.keras", tmp_path / "run")


@pytest.mark.slow
def test_means_of_other_channels_than_the_model_takes_are_refused(tmp_path: Path) -> None:
    inputs = keras.Input((*SIZE, 1))
    outputs = layers.Dense(1, activation="sigmoid")(layers.Flatten()(inputs))
    keras.Model(inputs, outputs).save(tmp_path / "m.keras")
    means = {"scaling": "mean-std", "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.1]}
    with pytest.raises(RecipeError, match=r"--mean has 3 values, .* images of 1 channel: give one"):
        imported_as(tmp_path / "m.keras", tmp_path / "run", **means)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"scaling": None}, "say how the pixels were scaled"),
        ({"scaling": "1/256"}, "got '1/256'"),
        ({"scaling": "mean-std"}, "mean-std needs both"),
        ({"mean": [0.5], "std": [0.5]}, "the others take neither"),
        ({"classes": ["a"]}, "at least two, all different"),
        ({"classes": ["a", "a"]}, "at least two, all different"),
        ({"image_size": (0, 5)}, "image_size"),
    ],
)
def test_what_is_not_said_or_makes_no_sense_is_refused(
    saved: Path, tmp_path: Path, more: dict[str, Any], told: str
) -> None:
    with pytest.raises(RecipeError, match=told):
        imported_as(saved, tmp_path / "run", **more)


def test_the_command_takes_one_number_a_channel(saved: Path, tmp_path: Path) -> None:
    words = ["import", str(saved), "--scaling", "1/255", "--mean", "0.5", "0.4", "0.3"]
    words += ["--std", "0.2", "0.2", "0.1", "--classes", *NAMES, "--out", str(tmp_path / "run")]
    done = CliRunner().invoke(app, words)
    assert "with mean [0.5, 0.4, 0.3] and std [0.2, 0.2, 0.1]" in done.stderr


def test_a_folder_that_holds_something_is_refused(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "theirs").write_text("")
    with pytest.raises(RunError, match="already holds something"):
        imported_as(saved, tmp_path)


# --- files that are not models ---------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("m.pkl", pickle.dumps([1]), "is a pickle format"),
        ("m.pt", b"PK\3\4", "is torch's format"),
        ("m.txt", b"text", "must end in .keras or .h5"),
        ("m.keras", b"", "is neither"),
        ("m.keras", pickle.dumps([1]), "is neither"),
        ("m.keras", b"\x89HDF\r\n\x1a\n" + bytes(64), "is HDF5, as .h5 is"),
        ("m.h5", b"PK\3\4" + bytes(64), "is a zip, as .keras is"),
    ],
)
def test_another_kind_of_file_is_refused(
    tmp_path: Path, name: str, content: bytes, told: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=told):
        imported_as(tmp_path / name, tmp_path / "run")


def test_a_saved_model_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "saved_model.pb").write_bytes(b"")
    with pytest.raises(DataError, match="a SavedModel folder, which runs any graph"):
        imported_as(tmp_path / "model", tmp_path / "run")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no model file"):
        imported_as(tmp_path / "m.keras", tmp_path / "run")


# --- crafted .keras files --------------------------------------------------------------


def unpack(path: Path, tmp_path: Path) -> Any:
    folder = tmp_path / "unpacked"
    folder.mkdir()
    return foreign.unpack(path, folder)


def test_a_whole_file_is_unpacked_without_what_it_was_compiled_with(
    saved: Path, tmp_path: Path
) -> None:
    config, weights = unpack(saved, tmp_path)
    assert "compile_config" not in config
    assert foreign.check_weights(weights) > 0


def test_a_bomb_among_the_members_is_refused(saved: Path, tmp_path: Path) -> None:
    bomb = rezipped(saved, tmp_path / "m.keras", model__weights__h5=bytes(30 << 20))
    with pytest.raises(DataError, match="it is a bomb, or damaged"):
        unpack(bomb, tmp_path)


def test_a_member_that_declares_less_than_it_holds_is_refused(saved: Path, tmp_path: Path) -> None:
    bomb = rezipped(saved, tmp_path / "m.keras", config__json=b" " * (1 << 20))
    content = bomb.read_bytes().replace((1 << 20).to_bytes(4, "little"), (9).to_bytes(4, "little"))
    bomb.write_bytes(content)
    with pytest.raises(DataError, match="is damaged"):
        unpack(bomb, tmp_path)


def test_a_configuration_that_is_too_large_is_refused(saved: Path, tmp_path: Path) -> None:
    large = rezipped(saved, tmp_path / "m.keras", config__json=b" " * (9 << 20))
    with pytest.raises(DataError, match=r"config\.json in the file declares"):
        unpack(large, tmp_path)


@pytest.mark.parametrize("name", ["../../outside", "assets/words.txt", "/etc/passwd"])
def test_other_members_are_refused(saved: Path, tmp_path: Path, name: str) -> None:
    other = rezipped(saved, tmp_path / "m.keras", **{name: b"text"})
    with pytest.raises(DataError, match=r"a \.keras file of an image classifier has"):
        unpack(other, tmp_path)


def test_a_name_that_is_there_twice_is_refused(saved: Path, tmp_path: Path) -> None:
    twice = shutil.copy(saved, tmp_path / "m.keras")
    with (
        pytest.warns(UserWarning, match="Duplicate name"),
        zipfile.ZipFile(twice, "a") as archive,
    ):
        archive.writestr("config.json", "{}")
    with pytest.raises(DataError, match="once each"):
        unpack(twice, tmp_path)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.98])
def test_a_file_that_was_cut_off_is_refused(saved: Path, tmp_path: Path, share: float) -> None:
    content = saved.read_bytes()
    (tmp_path / "m.keras").write_bytes(content[: int(share * len(content))])
    with pytest.raises(DataError, match="is damaged"):
        unpack(tmp_path / "m.keras", tmp_path)


# --- crafted configurations ------------------------------------------------------------


def test_a_file_that_names_a_place_before_its_beginning_is_refused(
    saved: Path, tmp_path: Path
) -> None:
    content = bytearray(saved.read_bytes())
    end = content.rindex(b"PK\x05\x06")
    first = content.index(b"PK\x01\x02")
    content[end + 16 : end + 20] = (first + 5000).to_bytes(4, "little")  # where its list begins
    (tmp_path / "m.keras").write_bytes(content)
    with pytest.raises(DataError, match=r"m\.keras is damaged"):
        foreign.unpack(tmp_path / "m.keras", tmp_path)


@pytest.mark.slow
def test_layers_of_keras_own_applications_are_imported(tmp_path: Path) -> None:
    from keras.src.applications.convnext import LayerScale, StochasticDepth

    inputs = keras.Input((*SIZE, 3))
    x = StochasticDepth(0.1)(LayerScale(0.1, 4)(layers.Conv2D(4, 3)(inputs)))
    x = layers.Dense(1, activation="sigmoid")(layers.GlobalAveragePooling2D()(x))
    keras.Model(inputs, x).save(tmp_path / "scaled.keras")
    assert imported_as(tmp_path / "scaled.keras", tmp_path / "run").model["class_names"]


def test_a_configuration_that_is_too_deep_is_refused() -> None:
    with pytest.raises(DataError, match="nested deeper than 64"):
        foreign.read_config(b"[" * 100_000 + b"]" * 100_000)


@pytest.mark.parametrize("text", [b"", b"[]", b'{"a": ', b"\xff\xfe"])
def test_a_configuration_that_is_no_json_object_is_refused(text: bytes) -> None:
    with pytest.raises(DataError, match="configuration is damaged"):
        foreign.read_config(text)


@pytest.mark.parametrize(
    ("layer", "told"),
    [
        ({"class_name": "Lambda", "module": "keras.layers"}, "has a Lambda layer"),
        ({"class_name": "__lambda__", "config": {"value": "x"}}, "has a Lambda layer"),
        ({"class_name": "TFSMLayer", "module": "keras.layers"}, "'TFSMLayer', which is no layer"),
        ({"class_name": "StringLookup", "module": "keras.layers"}, "'StringLookup'"),
        ({"class_name": "Dense", "module": "os"}, "'Dense', which is no layer"),
        ({"class_name": "Dense", "module": "kerasx"}, "'Dense', which is no layer"),
        ({"class_name": "Dense", "registered_name": "theirs>Dense"}, "'theirs>Dense'"),
        ({"class_name": "function", "config": "system", "module": "os"}, "'system'"),
        ({"class_name": "function", "config": "relu", "module": "os"}, "'relu'"),
        ({"class_name": ["Dense"]}, "which is no layer"),
    ],
)
def test_a_class_that_is_not_on_the_list_is_refused(
    saved: Path, layer: dict[str, Any], told: str
) -> None:
    config = config_of(saved)
    config["config"]["layers"].append(layer)
    with pytest.raises(DataError, match=told):
        foreign.read_config(json.dumps(config).encode())


@pytest.mark.parametrize(
    ("key", "value"),
    [("units", 2_000_000_000), ("target_shape", [40_000, 40_000]), ("rate", 1e30)],
)
def test_sizes_that_no_image_needs_are_refused(saved: Path, key: str, value: Any) -> None:
    config = config_of(saved)
    config["config"]["layers"][-1]["config"][key] = value
    with pytest.raises(DataError, match=f"the model declares {key}"):
        foreign.read_config(json.dumps(config).encode())


def test_more_weights_than_are_stored_are_refused_before_they_are_allocated(
    saved: Path, tmp_path: Path
) -> None:
    config, weights = unpack(saved, tmp_path)
    config["config"]["layers"][-1]["config"]["units"] = 90_000_000
    with pytest.raises(DataError, match=r"need 450,000,13\d weights, and the file stores"):
        loading.load(config, weights, "keras", foreign.check_weights(weights))


def test_a_layer_that_puts_out_too_much_is_refused(saved: Path, tmp_path: Path) -> None:
    config, weights = unpack(saved, tmp_path)
    larger = {
        "module": "keras.layers",
        "class_name": "UpSampling2D",
        "config": {"size": [9999, 99999]},
    }
    config["config"]["layers"].insert(1, larger)
    with pytest.raises(DataError, match="for one image, which is too much"):
        loading.load(config, weights, "keras", foreign.check_weights(weights))


# --- crafted HDF5 ----------------------------------------------------------------------


@pytest.fixture
def crafted(tmp_path: Path) -> Callable[[Callable[[h5py.File], object]], Path]:
    """Return a function that writes an HDF5 file."""

    def write(fill: Callable[[h5py.File], object]) -> Path:
        path = tmp_path / "crafted.h5"
        with h5py.File(path, "w") as file:
            file["vars/0"] = np.zeros(8, np.float32)
            fill(file)
        return path

    return write


def _external(file: h5py.File) -> None:
    file["elsewhere"] = h5py.ExternalLink("other.h5", "/")


def _soft(file: h5py.File) -> None:
    file["elsewhere"] = h5py.SoftLink("/vars")


def _circle(file: h5py.File) -> None:
    file["vars/again"] = file["vars"]


def _stored_elsewhere(file: h5py.File) -> None:
    file.create_dataset("1", (80,), np.uint8, external=[("/etc/hostname", 0, 80)])


def _virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((8,), np.float32)
    layout[:] = h5py.VirtualSource("other.h5", "x", (8,))
    file.create_virtual_dataset("1", layout)


def _declared(file: h5py.File) -> None:
    file.create_dataset("1", (1 << 30,), np.float32)  # never written: 4 GiB of nothing


def _packed(file: h5py.File) -> None:
    file.create_dataset("1", data=np.zeros(1 << 22, np.float32), compression="gzip")


def _words(file: h5py.File) -> None:
    file["1"] = "text"


@pytest.mark.parametrize(
    ("fill", "told"),
    [
        (_external, "a link to another place or file"),
        (_soft, "a link to another place or file"),
        (_circle, "linked in a circle"),
        (_stored_elsewhere, "lie in another file"),
        (_virtual, "lie in another file"),
        (_declared, "declare 4,294,967,328 bytes and store 32: it is a bomb"),
        (_packed, "are compressed"),
        (_words, "in place of numbers"),
    ],
)
def test_weights_that_hold_more_than_numbers_are_refused(
    crafted: Callable[..., Path], fill: Callable[[h5py.File], object], told: str
) -> None:
    with pytest.raises(DataError, match=told):
        foreign.check_weights(crafted(fill))


def test_weights_that_were_cut_off_are_refused(crafted: Callable[..., Path]) -> None:
    path = crafted(lambda file: file.create_dataset("1", data=np.zeros(9999, np.float32)))
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(DataError, match="weights are damaged"):
        foreign.check_weights(path)


def test_weights_without_layers_are_refused(crafted: Callable[..., Path]) -> None:
    path = crafted(lambda file: None)
    with pytest.raises(DataError, match="holds weights and no layers"):
        foreign.stored_config(path)


def test_a_configuration_in_an_h5_file_that_is_no_text_is_refused(
    crafted: Callable[..., Path],
) -> None:
    def fill(file: h5py.File) -> None:
        text = h5py.string_dtype("utf-8")
        file.attrs.create("model_config", b'{"class_name": "\xee"}', dtype=text)

    with pytest.raises(DataError, match="configuration is damaged"):
        foreign.read_config(foreign.stored_config(crafted(fill)))


# --- the limited program ---------------------------------------------------------------


def test_what_the_limited_program_refuses_is_told(saved: Path, tmp_path: Path) -> None:
    config = config_of(saved)
    config["config"]["layers"][1]["class_name"] = "Lambda"
    path = rezipped(saved, tmp_path / "m.keras", config__json=json.dumps(config).encode())
    with pytest.raises(
        DataError, match=r"m\.keras cannot be imported: the model has a Lambda layer"
    ):
        imported_as(path, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_it_says_cannot_command_a_terminal(saved: Path, tmp_path: Path) -> None:
    config = config_of(saved)
    config["config"]["layers"][1]["class_name"] = "\x1b[2Jgone"
    path = rezipped(saved, tmp_path / "m.keras", config__json=json.dumps(config).encode())
    with pytest.raises(DataError, match="cannot be imported") as told:
        imported_as(path, tmp_path / "run")
    assert str(told.value).isprintable()


@pytest.mark.slow
def test_a_program_that_gets_too_little_memory_is_told_of(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "_MEMORY", 1 << 27)
    with pytest.raises(DataError, match=r"did not survive|needs more memory"):
        imported_as(saved, tmp_path / "run")


@pytest.mark.slow
def test_a_program_that_takes_too_long_is_given_up(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "_SECONDS", 1)
    with pytest.raises(DataError, match="took more than 1 seconds"):
        imported_as(saved, tmp_path / "run")
