"""predict: one row a file, whatever the files are called, hold and lie in."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import sightline as sl
from listening_lines import Lines

MakePhotos = Callable[..., Path]


@pytest.fixture
def unlabelled(make_photos: MakePhotos, tmp_path: Path) -> Path:
    """Seven images at several depths, and one file that is no image."""
    source = make_photos(tmp_path / "source", {"dark": 4, "light": 3}, seed=5)
    folder = tmp_path / "new"
    for number, path in enumerate(sorted(source.rglob("*.png"))):
        place = folder / "/".join(["deep"] * (number % 3)) / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)
    (folder / "broken.png").write_text("not an image")
    return folder


@pytest.fixture
def read_only(run: sl.Run) -> Iterator[sl.Run]:
    """A run that nobody may write into, not even its owner."""
    for path in [run.path, *run.path.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    if os.access(run.path, os.W_OK):
        pytest.skip("this user may write anywhere")
    yield run
    for path in [run.path, *run.path.rglob("*")]:
        path.chmod(0o755)


def predict(run: sl.Run, *paths: Path) -> sl.Predictions:
    return sl.predict(run, paths, progress=sl.Silent())


def table(run: sl.Run, out: Path, *paths: Path) -> pl.DataFrame:
    """Return the rows of the file that a prediction writes."""
    written = sl.predict(run, paths, out=out, progress=sl.Silent())
    assert written == out
    return pl.read_csv(out) if out.suffix == ".csv" else pl.read_parquet(out)


# --- rows ------------------------------------------------------------------------------


def test_every_file_has_one_row_at_any_depth(trained: sl.Run, unlabelled: Path) -> None:
    expected = [str(path.relative_to(unlabelled)) for path in unlabelled.rglob("*.png")]
    assert predict(trained, unlabelled).table["record_id"].to_list() == sorted(expected)


def test_the_order_of_the_paths_changes_nothing(trained: sl.Run, unlabelled: Path) -> None:
    files = sorted(unlabelled.rglob("*.png"))
    assert predict(trained, *files).content_hash() == predict(trained, *files[::-1]).content_hash()


def test_a_file_named_twice_has_one_row(trained: sl.Run, unlabelled: Path) -> None:
    assert len(predict(trained, unlabelled, unlabelled / "0.png", unlabelled / "deep")) == 8


def test_a_shard_is_predicted_as_its_images_are(
    trained: sl.Run, unlabelled: Path, tmp_path: Path
) -> None:
    shard = tmp_path / "images.tar"
    with tarfile.open(shard, "w") as archive:
        archive.add(unlabelled, arcname=".")
    plain, packed = predict(trained, unlabelled), predict(trained, shard)
    names = [f"images.tar/{name}" for name in plain.table["record_id"]]
    assert packed.table["record_id"].to_list() == names
    np.testing.assert_array_equal(packed.probabilities, plain.probabilities)


def test_predicting_twice_gives_the_same(trained: sl.Run, unlabelled: Path) -> None:
    first, second = (predict(trained, unlabelled).content_hash() for _ in range(2))
    assert first == second


def test_a_single_path_needs_no_list(trained: sl.Run, unlabelled: Path) -> None:
    alone = sl.predict(trained.path, str(unlabelled / "0.png"), progress=sl.Silent())
    assert alone.table["record_id"].to_list() == ["0.png"]


def test_probabilities_of_a_file_do_not_depend_on_its_neighbours(
    trained: sl.Run, unlabelled: Path
) -> None:
    alone = predict(trained, unlabelled / "0.png").probabilities
    among = predict(trained, unlabelled)
    row = among.table["record_id"].to_list().index("0.png")
    np.testing.assert_array_equal(alone[0], among.probabilities[row])


def test_a_run_of_another_backend_is_used_on_the_one_that_is_loaded(
    trained: sl.Run, unlabelled: Path
) -> None:
    recipe = trained.recipe.model_copy(update={"backend": "jax"})
    other, lines = sl.Run(trained.path, {**trained.info, "backend": "jax"}, recipe), Lines()
    found = sl.predict(other, unlabelled, progress=lines)
    np.testing.assert_array_equal(found.probabilities, predict(trained, unlabelled).probabilities)
    assert lines.said == [
        f"{trained.path} was made on jax and is used on tensorflow here: probabilities may differ "
        "in their last digits, of a network in bfloat16 by up to about 0.01."
    ]


def test_a_run_on_its_own_backend_says_nothing(trained: sl.Run, unlabelled: Path) -> None:
    lines = Lines()
    sl.predict(trained, unlabelled, progress=lines)
    assert lines.said == []


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_another_backend_predicts_the_same_but_for_the_last_digits(
    trained: sl.Run, unlabelled: Path, tmp_path: Path, backend: str
) -> None:
    if not find_spec(backend):  # not imported here, which would take seconds
        pytest.skip(f"{backend} is not installed")
    out = tmp_path / "p.parquet"
    code = f"import sightline as sl; sl.predict({str(trained.path)!r}, {str(unlabelled)!r}, "
    ended = subprocess.run(
        [sys.executable, "-c", f"{code} out={str(out)!r})"],
        env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
    )
    said = " ".join((ended.stdout + ended.stderr).split())
    assert f"was made on tensorflow and is used on {backend} here" in said
    own = predict(trained, unlabelled).to_table()["p_light"]
    found = pl.read_parquet(out)["p_light"]
    np.testing.assert_allclose(found.to_numpy(), own.to_numpy(), atol=1e-5)


def test_labels_change_no_probability(
    trained: sl.Run, make_photos: MakePhotos, tmp_path: Path
) -> None:
    labelled = make_photos(tmp_path / "labelled", seed=6)
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in labelled.rglob("*.png"):
        shutil.copy(path, flat)
    np.testing.assert_array_equal(
        predict(trained, labelled).probabilities, predict(trained, flat).probabilities
    )


def test_a_file_that_cannot_be_read_has_a_reason(trained: sl.Run, unlabelled: Path) -> None:
    found = predict(trained, unlabelled).table.filter(pl.col("record_id") == "broken.png")
    assert found["reason"].to_list() == ["NOT_AN_IMAGE"]


def test_a_file_that_cannot_be_read_has_no_probabilities(trained: sl.Run, unlabelled: Path) -> None:
    found = predict(trained, unlabelled)
    unread = found.table["reason"].is_not_null().to_numpy()
    assert np.array_equal(np.isnan(found.probabilities).all(axis=1), unread)


def test_a_folder_of_files_that_cannot_be_read_still_has_a_row_each(
    trained: sl.Run, tmp_path: Path
) -> None:
    for name in ("a.png", "b.jpg"):
        (tmp_path / name).write_text("not an image")
    assert predict(trained, tmp_path).table["reason"].null_count() == 0


def test_predictions_carry_the_identity_of_the_model(trained: sl.Run, unlabelled: Path) -> None:
    found = predict(trained, unlabelled)
    assert found.model_fingerprint == trained.model["fingerprint"]


def test_predictions_of_the_last_weights_are_of_the_last_epoch(
    trained: sl.Run, unlabelled: Path
) -> None:
    last = sl.predict(trained, unlabelled, weights="last", progress=sl.Silent())
    assert (last.weights, last.epoch) == ("last", 1)


# --- the file that is written ----------------------------------------------------------


def test_the_columns_are_file_prediction_probabilities_reason(
    trained: sl.Run, unlabelled: Path, tmp_path: Path
) -> None:
    columns = table(trained, tmp_path / "p.csv", unlabelled).columns
    assert columns == ["file", "predicted", "p_dark", "p_light", "reason"]


def test_rows_are_keyed_by_a_file_name_that_can_be_opened(
    trained: sl.Run, unlabelled: Path, tmp_path: Path
) -> None:
    files = table(trained, tmp_path / "p.csv", unlabelled)["file"]
    assert all(Path(file).is_file() for file in files)


def test_file_names_are_relative_to_the_current_folder(
    trained: sl.Run, unlabelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(unlabelled.parent)
    files = table(trained, tmp_path / "p.csv", Path("new/0.png"), Path("new/broken.png"))["file"]
    assert files.to_list() == ["new/0.png", "new/broken.png"]


def test_csv_and_parquet_agree(trained: sl.Run, unlabelled: Path, tmp_path: Path) -> None:
    parquet = table(trained, tmp_path / "p.parquet", unlabelled)
    csv = table(trained, tmp_path / "p.csv", unlabelled)
    assert csv.cast(dict(parquet.schema)).equals(parquet)


def test_the_file_says_what_the_predictions_say(
    trained: sl.Run, unlabelled: Path, tmp_path: Path
) -> None:
    written = table(trained, tmp_path / "p.parquet", unlabelled)
    found = predict(trained, unlabelled).to_table()
    columns = ["predicted", "p_dark", "p_light", "reason"]
    assert written.select(columns).equals(found.select(columns))


def test_a_file_that_cannot_be_read_is_written_with_empty_probabilities(
    trained: sl.Run, unlabelled: Path, tmp_path: Path
) -> None:
    written = table(trained, tmp_path / "p.csv", unlabelled)
    unread = written.filter(pl.col("file").str.ends_with("broken.png")).row(0)[1:]
    assert unread == (None, None, None, "NOT_AN_IMAGE")


def test_an_earlier_output_is_replaced(trained: sl.Run, unlabelled: Path, tmp_path: Path) -> None:
    table(trained, tmp_path / "p.csv", unlabelled)
    assert len(table(trained, tmp_path / "p.csv", unlabelled / "0.png")) == 1


def test_folders_of_the_output_are_made(trained: sl.Run, unlabelled: Path, tmp_path: Path) -> None:
    assert len(table(trained, tmp_path / "a" / "b" / "p.csv", unlabelled)) == 8


def test_a_file_that_is_not_an_earlier_output_is_left_alone(
    trained: sl.Run, unlabelled: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "patients.csv"
    mine.write_text("name,age\nx,1\n")
    with pytest.raises(sl.DataError, match="exists and is not a table of predictions; it was not"):
        table(trained, mine, unlabelled)
    assert mine.read_text() == "name,age\nx,1\n"


def test_another_extension_is_refused(trained: sl.Run, unlabelled: Path, tmp_path: Path) -> None:
    with pytest.raises(sl.DataError, match=r"p\.txt must end in \.csv or \.parquet"):
        table(trained, tmp_path / "p.txt", unlabelled)


def test_an_output_that_is_a_folder_is_refused(
    trained: sl.Run, unlabelled: Path, tmp_path: Path
) -> None:
    (tmp_path / "p.csv").mkdir()
    with pytest.raises(sl.DataError, match=r"p\.csv is a folder\. Name a file in it"):
        table(trained, tmp_path / "p.csv", unlabelled)


# --- what cannot be predicted, and on what ---------------------------------------------


def test_a_path_that_is_not_there_is_refused(trained: sl.Run, tmp_path: Path) -> None:
    with pytest.raises(sl.DataError, match=r"there is no file or folder .*nowhere"):
        predict(trained, tmp_path / "nowhere")


def test_a_folder_without_images_is_refused(trained: sl.Run, tmp_path: Path) -> None:
    with pytest.raises(sl.DataError, match="there is no image in"):
        predict(trained, tmp_path)


def test_no_path_at_all_is_refused(trained: sl.Run) -> None:
    with pytest.raises(sl.DataError, match="no path was given"):
        predict(trained)


def test_weights_of_another_name_are_refused(trained: sl.Run, unlabelled: Path) -> None:
    with pytest.raises(ValueError, match=r"one of \('best', 'last', 'average'\), got 'final'"):
        sl.predict(trained, unlabelled, weights="final", progress=sl.Silent())  # type: ignore[call-overload]


def test_a_folder_that_is_no_run_is_refused(unlabelled: Path) -> None:
    with pytest.raises(sl.RunError, match=r"there is no run at .* it has no run\.json"):
        sl.predict(unlabelled, unlabelled)


def test_damaged_weights_are_refused(run: sl.Run, unlabelled: Path) -> None:
    for path in run.path.rglob("best.safetensors"):
        with path.open("ab") as file:
            file.write(b"x")
    with pytest.raises(sl.RunError, match=r"best\.safetensors is damaged.* Nor can its copy"):
        predict(run, unlabelled)


def test_missing_weights_are_refused(run: sl.Run, unlabelled: Path) -> None:
    for path in run.path.rglob("best.safetensors"):
        path.unlink()
    with pytest.raises(sl.RunError, match=r"best\.safetensors is missing"):
        predict(run, unlabelled)


def test_a_run_without_a_finished_epoch_is_refused(run: sl.Run, unlabelled: Path) -> None:
    (run.path / "model.json").unlink()
    with pytest.raises(sl.RunError, match=r"holds no model: .* no epoch was finished"):
        predict(run, unlabelled)


def test_predicting_changes_nothing_in_the_run(run: sl.Run, unlabelled: Path) -> None:
    def states() -> dict[str, int]:
        return {str(path): path.stat().st_mtime_ns for path in [run.path, *run.path.rglob("*")]}

    before = states()
    predict(run, unlabelled)
    assert states() == before


def test_a_read_only_run_predicts(read_only: sl.Run, unlabelled: Path) -> None:
    assert len(predict(read_only, unlabelled)) == 8


def test_a_run_that_was_moved_predicts_the_same(
    trained: sl.Run, run: sl.Run, unlabelled: Path
) -> None:
    assert predict(run, unlabelled).content_hash() == predict(trained, unlabelled).content_hash()
