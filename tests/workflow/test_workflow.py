"""The verbs in the order of the job, on tiny real folders: scan, split, train, and what is kept."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import polars as pl
import pytest

import sightline as sl

MakePhotos = Callable[..., Path]
Settings = Mapping[str, Any]
Train = Callable[..., sl.Run]

RUN_FOLDER = {
    "audit.json",
    "best.safetensors",
    "checkpoints",
    "diagnosis.json",
    "evaluation.json",
    "events",
    "explain",
    "history.jsonl",
    "history.png",
    "manifest.parquet",
    "manifest.parquet.npy",
    "model.json",
    "model_card.md",
    "model.keras",
    "plan.txt",
    "predictions",
    "recipe.toml",
    "report.html",
    "run.json",
    "run.lock",
    "run.log",
}


@pytest.fixture
def train(quick: Settings, tmp_path: Path) -> Train:
    """Return a function that trains one epoch of `basic` and nothing else."""
    numbers = itertools.count()

    def train_quickly(data: object = None, **more: Any) -> sl.Run:
        changes = {**quick, "train.epochs": 1, **more.pop("changes", {})}
        out = more.pop("out", tmp_path / "runs" / str(next(numbers)))
        settings = {"recipe": "basic", "only_train": True, "progress": sl.Silent(), **more}
        return sl.train(data, changes=changes, out=out, **settings)

    return train_quickly


def sides(manifest: sl.Manifest) -> dict[str, int]:
    """Return how many images each split has; splits without any are left out."""
    counts = {name: len(manifest.of_split(name)) for name in ("train", "validation", "test")}
    return {name: count for name, count in counts.items() if count}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def write_table(path: Path, photos: Path) -> Path:
    """Write a table of `photos`: names without extension, two images a patient, a split each."""
    files = sorted(photos.rglob("*.png"))
    pl.DataFrame(
        {
            "image": [file.stem for file in files],
            "diagnosis": [file.parent.name for file in files],
            "patient": [f"{file.parent.name}-{n // 2}" for n, file in enumerate(files)],
            "part": [
                "test" if int(file.stem[-2:]) > 7 else "val" if int(file.stem[-2:]) > 5 else "train"
                for file in files
            ],
        }
    ).write_csv(path)
    return path


TABLE = {"path_col": "image", "label_col": "diagnosis"}


# --- the run folder --------------------------------------------------------------------


def test_a_finished_run_folder_is_complete(trained: sl.Run) -> None:
    assert names(trained.path) == RUN_FOLDER


def test_the_last_checkpoint_is_complete(trained: sl.Run) -> None:
    (checkpoint,) = (trained.path / "checkpoints").glob("step-*")
    assert names(checkpoint) == {"state.safetensors", "meta.json", "SHA256"}


def test_a_finished_run_has_predictions_of_validation_and_test(trained: sl.Run) -> None:
    found = names(trained.path / "predictions")
    assert found == {
        f"{split}-best{what}"
        for split in ("validation", "test")
        for what in (".parquet", "-review.csv")
    }


def test_a_finished_run_was_evaluated_on_validation_and_test(trained: sl.Run) -> None:
    assert [judged.source for judged in trained.evaluations] == ["validation", "test"]


def test_a_finished_run_says_so(trained: sl.Run) -> None:
    assert trained.state == "finished"


def test_a_run_says_what_its_result_depends_on(trained: sl.Run) -> None:
    needed = {
        "format_version", "recipe", "seed", "precision", "backend", "device", "accelerators",
        "threads", "python", "system", "packages", "git", "manifest_fingerprint", "data",
        "network", "state", "reason", "started", "seconds", "peak_memory_mb",
    }  # fmt: skip
    assert needed <= trained.info.keys()


def test_a_run_names_the_versions_that_decide_its_numbers(trained: sl.Run) -> None:
    assert {"sightline", "numpy", "keras"} <= trained.info["packages"].keys()


def test_the_manifest_of_a_run_is_the_one_its_fingerprint_is_of(trained: sl.Run) -> None:
    assert trained.manifest.fingerprint() == trained.info["manifest_fingerprint"]


def test_the_recipe_of_a_run_has_no_automatic_value_left_but_the_backend(trained: sl.Run) -> None:
    # It stays open, so that the run opens on any backend; run.json says which one it was. And how
    # often it is saved follows from what saving takes.
    dumped = trained.recipe.model_dump(mode="json")
    values = {
        f"{name}.{key}": value
        for name, section in dumped.items()
        if isinstance(section, dict)
        for key, value in section.items()
    } | dumped
    assert [name for name, value in values.items() if value == "auto"] == [
        "checkpoint.seconds",
        "backend",
    ]
    assert trained.info["backend"] in ("tensorflow", "jax", "torch")


def test_the_log_holds_the_plan_and_every_epoch(trained: sl.Run) -> None:
    log = (trained.path / "run.log").read_text("utf-8")
    told = [*trained.plan, "epoch   1/2", "epoch   2/2", str(trained.info["reason"])]
    assert [line for line in told if line not in log] == []


def test_training_writes_nothing_beside_the_images(photos: Path, trained: sl.Run) -> None:
    files = [path.name for path in photos.rglob("*") if path.is_file()]
    assert len(files) == 20
    assert all(name.endswith(".png") for name in files)


def test_the_history_is_a_table_with_a_row_an_epoch(trained: sl.Run) -> None:
    assert trained.history["epoch"].to_list() == [0, 1]


def test_the_history_has_the_columns_that_keras_users_expect(trained: sl.Run) -> None:
    expected = {"epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"}
    assert expected <= set(trained.history.table.columns)


def test_the_best_epoch_is_the_one_with_the_smallest_val_loss(trained: sl.Run) -> None:
    assert trained.history.best_epoch == trained.history["val_loss"].arg_min()


# --- once more -------------------------------------------------------------------------


def test_a_run_is_reproduced_bit_for_bit_from_its_own_folder(
    trained: sl.Run, tmp_path: Path
) -> None:
    again = sl.train(
        trained.path / "manifest.parquet",
        recipe=trained.path / "recipe.toml",
        out=tmp_path / "again",
        only_train=True,
        progress=sl.Silent(),
    )
    for which in ("best", "last"):
        first, second = trained.weights(which), again.weights(which)
        assert first.keys() == second.keys()
        assert all(np.array_equal(first[name], second[name]) for name in first)


def test_training_twice_gives_two_runs_below_runs(
    photos: Path, train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        train(photos, out=None)
    found = names(tmp_path / "runs")
    assert len(found) == 2
    assert all(name.startswith("basic-2") for name in found)


def test_training_into_a_run_is_refused(photos: Path, train: Train, trained: sl.Run) -> None:
    with pytest.raises(sl.RunError, match="already holds something, and Sightline overwrites no"):
        train(photos, out=trained.path)


def test_a_run_is_not_made_where_a_file_is(photos: Path, train: Train, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(sl.RunError, match=r"notes\.txt already holds something"):
        train(photos, out=tmp_path / "notes.txt")


def test_a_run_folder_that_cannot_be_made_is_an_error_that_says_so(
    photos: Path, train: Train, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(sl.RunError, match=r"cannot make the run folder .* Give another one"):
        train(photos, out=tmp_path / "notes.txt" / "run")


def test_data_that_cannot_be_used_leaves_no_run_behind(train: Train, tmp_path: Path) -> None:
    with pytest.raises(sl.DataError, match="does not exist"):
        train(tmp_path / "nowhere", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_wrong_recipe_leaves_no_run_behind(photos: Path, train: Train, tmp_path: Path) -> None:
    with pytest.raises(sl.RecipeError, match=r"train\.epochs: input should be greater"):
        train(photos, out=tmp_path / "run", changes={"train.epochs": 0})
    assert not (tmp_path / "run").exists()


def test_training_needs_validation_images(photos: Path, train: Train, tmp_path: Path) -> None:
    with pytest.raises(sl.DataError, match="no validation images, which choose the best weights"):
        train(photos, out=tmp_path / "run", changes={"data.validation": 0})
    assert not (tmp_path / "run").exists()


def test_a_training_that_fails_is_noted_as_failed(
    make_photos: MakePhotos, train: Train, tmp_path: Path
) -> None:
    folder = make_photos(tmp_path / "photos")

    class DiskFails(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
            for path in folder.rglob("*[5-9].png"):
                path.write_bytes(bytes(path.stat().st_size))

    with pytest.raises(sl.DataError, match="could not be read"):
        train(folder, out=tmp_path / "run", cache=False, callbacks=[DiskFails()])
    failed = sl.open_run(tmp_path / "run")
    assert failed.state == "failed"
    assert failed.info["reason"].startswith("DataError: ")


def test_only_train_neither_evaluates_nor_reports(photos: Path, train: Train) -> None:
    left_out = {
        "diagnosis.json", "evaluation.json", "explain", "history.png", "model_card.md",
        "predictions", "report.html",
    }  # fmt: skip
    assert names(train(photos).path) == RUN_FOLDER - left_out


# --- every form of input ---------------------------------------------------------------


def test_class_folders_are_split_as_the_recipe_says(trained: sl.Run) -> None:
    assert sides(trained.manifest) == {"train": 16, "validation": 2, "test": 2}


@pytest.mark.parametrize("name", ["val", "valid", "validate"])
def test_split_folders_are_kept_whatever_validation_is_called(
    name: str, make_photos: MakePhotos, tmp_path: Path
) -> None:
    make_photos(tmp_path / "train", {"dark": 4, "light": 3})
    make_photos(tmp_path / name, {"dark": 2, "light": 2})
    make_photos(tmp_path / "test", {"dark": 1, "light": 2})
    assert sides(sl.scan(tmp_path)) == {"train": 7, "validation": 4, "test": 3}


def test_training_keeps_the_splits_it_is_given(
    make_photos: MakePhotos, train: Train, tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    make_photos(folder / "train", {"dark": 4, "light": 3})
    make_photos(folder / "validate", {"dark": 2, "light": 2})
    make_photos(folder / "test", {"dark": 1, "light": 2})
    assert sides(train(folder).manifest) == {"train": 7, "validation": 4, "test": 3}


def test_training_takes_three_unrelated_folders(
    make_photos: MakePhotos, train: Train, tmp_path: Path
) -> None:
    manifest = train(
        train=make_photos(tmp_path / "a" / "x", {"dark": 4, "light": 3}),
        validation=make_photos(tmp_path / "b", {"dark": 2, "light": 2}),
        test=make_photos(tmp_path / "c", {"dark": 1, "light": 2}),
    ).manifest
    assert sides(manifest) == {"train": 7, "validation": 4, "test": 3}


def test_a_missing_validation_split_is_taken_out_of_train(
    make_photos: MakePhotos, train: Train, tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    make_photos(folder / "train")
    make_photos(folder / "test", {"dark": 2, "light": 2})
    manifest = train(folder).manifest
    assert sides(manifest) == {"train": 18, "validation": 2, "test": 4}
    assert manifest.of_split("validation")["record_id"].str.starts_with("train/").all()


def test_a_missing_test_split_is_taken_out_of_train(
    make_photos: MakePhotos, train: Train, tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    make_photos(folder / "train")
    make_photos(folder / "val", {"dark": 2, "light": 2})
    manifest = train(folder).manifest
    assert sides(manifest) == {"train": 18, "validation": 4, "test": 2}


def test_training_takes_a_table_with_groups(photos: Path, train: Train, tmp_path: Path) -> None:
    table = write_table(tmp_path / "labels.csv", photos)
    manifest = train(photos, labels=table, group_col="patient", **TABLE).manifest
    assert sides(manifest).keys() == {"train", "validation", "test"}
    assert manifest.table.group_by("group").agg(pl.col("split").n_unique())["split"].max() == 1


def test_training_takes_a_table_with_splits(photos: Path, train: Train, tmp_path: Path) -> None:
    table = write_table(tmp_path / "labels.csv", photos)
    manifest = train(photos, labels=table, split_col="part", **TABLE).manifest
    assert sides(manifest) == {"train": 12, "validation": 4, "test": 4}


def test_a_table_may_come_as_parquet_in_the_place_of_a_folder(
    make_photos: MakePhotos, tmp_path: Path
) -> None:
    table = write_table(tmp_path / "labels.csv", make_photos(tmp_path / "photos"))
    pl.read_csv(table).write_parquet(table.with_suffix(".parquet"))
    assert len(sl.scan(table.with_suffix(".parquet"), **TABLE)) == 20


def test_training_on_folds_chooses_by_the_lowest_and_says_so(
    photos: Path, train: Train, tmp_path: Path
) -> None:
    table = write_table(tmp_path / "labels.csv", photos)
    folds = pl.Series("fold", [n % 5 + 1 for n in range(20)])
    pl.read_csv(table).with_columns(folds).write_csv(table)
    run = train(photos, labels=table, fold_col="fold", **TABLE)
    assert set(run.manifest.of_split("validation")["fold"]) == {1}
    assert any(line.startswith("Folds were given and no splits: fold 1") for line in run.plan)


def test_training_takes_a_manifest_as_it_is(photos: Path, train: Train) -> None:
    manifest = sl.split(sl.scan(photos), validation=0.3, test=0.3, seed=7)
    assert train(manifest).manifest.table.equals(manifest.table)


def test_options_of_a_scan_beside_a_manifest_are_refused(photos: Path, train: Train) -> None:
    with pytest.raises(sl.DataError, match="is taken as it is, so group_regex would change noth"):
        train(sl.scan(photos), group_regex="_(.)")


def test_a_validation_folder_alone_is_refused(photos: Path) -> None:
    with pytest.raises(sl.DataError, match="a validation folder alone cannot be used"):
        sl.scan(validation=photos)


def test_nothing_at_all_is_refused() -> None:
    with pytest.raises(sl.DataError, match=r"no images were given\. Give a folder of class folder"):
        sl.scan()


def test_a_folder_and_separate_folders_together_are_refused(photos: Path) -> None:
    with pytest.raises(sl.DataError, match="and separate folders for train were both given"):
        sl.scan(photos, train=photos)


def test_columns_without_a_table_are_refused(photos: Path) -> None:
    with pytest.raises(sl.DataError, match=r"columns of a table were named \(label_col\)"):
        sl.scan(photos, label_col="diagnosis")


def test_a_table_without_the_names_of_its_columns_is_refused(photos: Path, tmp_path: Path) -> None:
    table = write_table(tmp_path / "labels.csv", photos)
    with pytest.raises(sl.DataError, match="needs label_col: which columns hold"):
        sl.scan(photos, labels=table, path_col="image")


def test_a_table_that_is_not_there_is_refused_as_such(tmp_path: Path) -> None:
    with pytest.raises(sl.DataError, match=r"there is no table .*labels\.csv"):
        sl.scan(tmp_path / "labels.csv")


def test_options_of_a_scan_beside_a_saved_manifest_are_refused(trained: sl.Run) -> None:
    with pytest.raises(sl.DataError, match="is a manifest: its groups and files stand already"):
        sl.scan(trained.path / "manifest.parquet", group_regex="_(.)")


def test_a_folder_whose_name_ends_like_a_manifest_is_read_as_a_folder(
    make_photos: MakePhotos, tmp_path: Path
) -> None:
    assert len(sl.scan(make_photos(tmp_path / "photos.parquet"))) == 20


def test_scanning_twice_gives_the_same_manifest(photos: Path) -> None:
    assert sl.scan(photos).fingerprint() == sl.scan(str(photos)).fingerprint()


# --- split -----------------------------------------------------------------------------


def test_splitting_twice_gives_the_same_splits(photos: Path) -> None:
    manifest = sl.scan(photos)
    assert sl.split(manifest).table.equals(sl.split(manifest).table)


def test_another_seed_gives_other_splits(photos: Path) -> None:
    manifest = sl.scan(photos)
    assert not sl.split(manifest, seed=1).table.equals(sl.split(manifest, seed=2).table)


def test_splitting_keeps_the_splits_there_were(trained: sl.Run) -> None:
    assert sl.split(trained.manifest).table.equals(trained.manifest.table)


def test_splitting_anew_replaces_the_splits_there_were(trained: sl.Run) -> None:
    anew = sl.split(trained.manifest, resplit="all", test=0)
    assert sides(anew) == {"train": 18, "validation": 2}


def test_a_group_is_never_on_two_sides(photos: Path) -> None:
    manifest = sl.split(sl.scan(photos, group_regex=r"_\d(\d)"), validation=0.5, test=0)
    of_group = manifest.table.group_by("group").agg(pl.col("split").n_unique())
    assert of_group["split"].max() == 1


def test_a_share_out_of_range_is_refused(photos: Path) -> None:
    with pytest.raises(sl.RecipeError, match="the test share must be 0 <= share < 1, got 1"):
        sl.split(sl.scan(photos), test=1)


# --- what is read back -----------------------------------------------------------------


def test_the_keras_model_of_a_run_has_its_best_weights(trained: sl.Run) -> None:
    import keras

    from sightline.learning.models import forward

    (network,) = (
        layer
        for layer in keras.saving.load_model(trained.path / "model.keras", compile=False).layers
        if isinstance(layer, keras.Model)
    )
    found, best, last = forward.get_weights(network), *map(trained.weights, ("best", "last"))
    assert {name: array.tolist() for name, array in found.items()} == {
        name: array.tolist() for name, array in best.items()
    }
    assert not any(np.array_equal(best[name], last[name]) for name in best)


def test_run_json_is_plain_json(trained: sl.Run) -> None:
    assert json.loads((trained.path / "run.json").read_text("utf-8")) == trained.info
