"""evaluate, report and plot_history: what is said about a run, and where it is kept."""

from __future__ import annotations

import dataclasses
import html
import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from matplotlib.figure import Figure

import sightline as sl
from sightline.runs import write_sealed

MakePhotos = Callable[..., Path]
PutManifest = Callable[[sl.Run, sl.Manifest], sl.Run]
Settings = Mapping[str, Any]

QUIET = sl.Silent()


def kept(run: sl.Run) -> list[tuple[str, str]]:
    """Return which sources and weights have figures in evaluation.json."""
    return [(judged.source, judged.weights) for judged in run.evaluations]


@pytest.fixture
def other(make_photos: MakePhotos, tmp_path: Path) -> Path:
    """An external set of the same classes."""
    return make_photos(tmp_path / "other", {"dark": 4, "light": 6}, seed=9)


# --- evaluate --------------------------------------------------------------------------


def test_figures_are_of_the_test_split_unless_asked(run: sl.Run) -> None:
    assert sl.evaluate(run, progress=QUIET).source == "test"


@pytest.mark.parametrize(("split", "count"), [("train", 16), ("validation", 2), ("test", 2)])
def test_every_split_can_be_judged(split: str, count: int, run: sl.Run) -> None:
    assert sl.evaluate(run, split=split, progress=QUIET).count == count  # type: ignore[arg-type]


def test_evaluating_twice_gives_the_same_figures(run: sl.Run) -> None:
    first, second = (sl.evaluate(run, progress=QUIET) for _ in range(2))
    assert second.looks == first.looks + 1
    assert dataclasses.replace(second, looks=0).to_dict() == (
        dataclasses.replace(first, looks=0).to_dict()
    )


def test_figures_are_replaced_not_repeated(run: sl.Run) -> None:
    sl.evaluate(run, progress=QUIET)
    assert sorted(kept(run)) == [("test", "best"), ("validation", "best")]


def test_figures_name_the_weights_they_belong_to(run: sl.Run) -> None:
    best, last = (sl.evaluate(run, weights=w, progress=QUIET) for w in ("best", "last"))
    assert [(best.weights, best.epoch), (last.weights, last.epoch)] == [("best", 0), ("last", 1)]


def test_figures_of_both_weights_are_kept(run: sl.Run) -> None:
    sl.evaluate(run, weights="last", progress=QUIET)
    assert ("test", "best") in kept(run)
    assert ("test", "last") in kept(run)


def test_val_loss_of_the_best_weights_is_the_one_of_the_history(run: sl.Run) -> None:
    judged = sl.evaluate(run, split="validation", progress=QUIET)
    assert judged.metrics["log_loss"] == pytest.approx(run.history["val_loss"][0], rel=1e-6)


def test_the_predictions_judged_are_kept(run: sl.Run) -> None:
    judged = sl.evaluate(run, progress=QUIET)
    assert run.predictions("test", "best").content_hash() == judged.predictions_hash


def test_predict_says_what_evaluate_judges(run: sl.Run, other: Path) -> None:
    judged = sl.evaluate(run, data=other, progress=QUIET)
    predicted = sl.predict(run, other, progress=QUIET)
    of_evaluate = run.predictions(judged.source, "best")
    assert predicted.table["record_id"].equals(of_evaluate.table["record_id"])
    np.testing.assert_array_equal(predicted.probabilities, of_evaluate.probabilities)


def test_a_file_that_cannot_be_read_is_counted_apart(run: sl.Run, other: Path) -> None:
    (other / "dark" / "dark_00.png").write_text("not an image")
    judged = sl.evaluate(run, data=other, progress=QUIET)
    assert (judged.count, judged.unreadable) == (9, 1)


@pytest.mark.parametrize(("weights", "epoch"), [("best", 2), ("last", 2), ("average", 2)])
def test_each_kind_of_weights_can_be_judged(weights: Any, epoch: int, doubter: sl.Run) -> None:
    judged = sl.evaluate(doubter, weights=weights, progress=QUIET)
    assert (judged.weights, judged.epoch) == (weights, epoch)
    assert [(each.source, each.weights) for each in doubter.evaluations] == [("test", weights)]


def test_the_average_is_not_what_training_left(doubter: sl.Run) -> None:
    last, average = (
        sl.evaluate(doubter, weights=weights, progress=QUIET) for weights in ("last", "average")
    )
    assert last.metrics["log_loss"] != average.metrics["log_loss"]
    assert doubter.history["raw_val_loss"][-1] != doubter.history["val_loss"][-1]


def test_an_average_that_was_not_kept_is_told_plainly(run: sl.Run) -> None:
    with pytest.raises(sl.RunError, match=r"keeps no average .* train\.weight_average=0\.99"):
        sl.evaluate(run, weights="average", progress=QUIET)


# --- figures of an earlier Sightline ---------------------------------------------------


@pytest.fixture
def older(run: sl.Run) -> sl.Run:
    """A run whose figures were written before there were intervals."""
    path = run.path / "evaluation.json"
    entries = json.loads(path.read_text("utf-8"))["evaluations"]
    later = (
        "intervals", "baselines", "groups", "decision", "calibration", "sets", "points", "slices",
    )  # fmt: skip
    for entry in entries:
        for name in later:
            del entry[name]
        entry["classes"] = [
            {name: scores[name] for name in ("name", "count")}
            | {name: scores["metrics"][name] for name in ("precision", "recall", "f1", "roc_auc")}
            for scores in entry["classes"]
        ]
    write_sealed(path, {"evaluations": entries})
    return run


def test_older_figures_are_opened(older: sl.Run, trained: sl.Run) -> None:
    (judged, known) = (run.evaluations[-1] for run in (older, trained))
    assert judged.metrics == known.metrics
    assert judged.classes[0].metrics["recall"] == known.classes[0].metrics["recall"]
    assert judged.intervals == {}


def test_older_figures_are_reported(older: sl.Run) -> None:
    assert "Test accuracy" in sl.report(older, progress=QUIET).read_text("utf-8")


def test_older_figures_stand_beside_new_ones(older: sl.Run) -> None:
    sl.evaluate(older, weights="last", progress=QUIET)
    assert len(kept(older)) == 3


# --- external sets ---------------------------------------------------------------------


def test_all_images_of_an_external_set_are_judged(run: sl.Run, other: Path) -> None:
    assert sl.evaluate(run, data=other, progress=QUIET).count == 10


def test_an_external_set_may_be_a_manifest(run: sl.Run, other: Path) -> None:
    assert sl.evaluate(run, data=sl.scan(other), progress=QUIET).count == 10


def test_an_external_set_may_have_one_class(
    run: sl.Run, make_photos: MakePhotos, tmp_path: Path
) -> None:
    judged = sl.evaluate(run, data=make_photos(tmp_path / "o", {"light": 4}), progress=QUIET)
    assert (judged.count, judged.confusion.sum(axis=1).tolist()) == (4, [0, 4])
    assert judged.metrics["roc_auc"] is None


def test_the_splits_of_an_external_set_may_be_lopsided(
    run: sl.Run, make_photos: MakePhotos, tmp_path: Path
) -> None:
    make_photos(tmp_path / "o" / "train", {"dark": 4})
    make_photos(tmp_path / "o" / "test", {"light": 3})
    assert sl.evaluate(run, data=tmp_path / "o", progress=QUIET).count == 7


def test_an_external_table_may_have_one_class(run: sl.Run, other: Path, tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_text("file,is\ndark_00,dark\ndark_01,dark\n")
    columns = {"labels": table, "path_col": "file", "label_col": "is"}
    assert sl.evaluate(run, data=other, progress=QUIET, **columns).count == 2


def test_an_external_set_may_be_a_table(run: sl.Run, other: Path, tmp_path: Path) -> None:
    pl.DataFrame({"file": ["dark_00", "light_01"], "is": ["dark", "light"]}).write_csv(
        tmp_path / "labels.csv"
    )
    judged = sl.evaluate(
        run, data=tmp_path / "labels.csv", path_col="file", label_col="is", progress=QUIET
    )
    assert judged.count == 2


def test_an_external_set_may_be_a_table_with_a_folder(
    run: sl.Run, other: Path, tmp_path: Path
) -> None:
    table = tmp_path / "elsewhere" / "labels.csv"
    table.parent.mkdir()
    pl.DataFrame({"file": ["dark_00", "light_01"], "is": ["dark", "light"]}).write_csv(table)
    judged = sl.evaluate(
        run, data=other, labels=table, path_col="file", label_col="is", progress=QUIET
    )
    assert judged.source == str(table)


def test_a_folder_called_test_is_not_the_test_split(
    run: sl.Run, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(other, other.parent / "test")
    monkeypatch.chdir(other.parent)
    judged = sl.evaluate(run, data="test", progress=QUIET)
    assert judged.source == str(other.parent / "test")
    assert ("test", "best") in kept(run)


def test_an_external_set_has_one_entry_however_its_path_is_written(
    run: sl.Run, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(other.parent)
    for path in ("other", "./other/", other):
        sl.evaluate(run, data=path, progress=QUIET)
    assert len(kept(run)) == 3


def test_labels_that_the_model_does_not_know_are_refused(
    run: sl.Run, make_photos: MakePhotos, tmp_path: Path
) -> None:
    folder = make_photos(tmp_path / "foreign", {"dark": 2, "green": 2})
    with pytest.raises(sl.DataError, match=r"has labels \['green'\] that the model of .* does not"):
        sl.evaluate(run, data=folder, progress=QUIET)


def test_options_of_a_scan_beside_a_manifest_are_refused(run: sl.Run, other: Path) -> None:
    with pytest.raises(sl.DataError, match="is taken as it is, so group_regex would change noth"):
        sl.evaluate(run, data=sl.scan(other), group_regex="_(.)", progress=QUIET)


def test_images_of_an_external_set_that_were_learned_from_are_counted(
    run: sl.Run, photos: Path
) -> None:
    assert sl.evaluate(run, data=photos, progress=QUIET).seen_in_training == 16 + 2


def test_learned_images_are_counted_from_any_folder_above_and_through_links(
    run: sl.Run, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(photos / "dark")
    learned = run.manifest.table.filter(
        (pl.col("split") != "test") & pl.col("record_id").str.starts_with("dark/")
    )
    table = tmp_path / "labels.csv"
    pl.DataFrame({"file": learned["record_id"].str.slice(5), "is": "dark"}).write_csv(table)
    judged = sl.evaluate(
        run, data=tmp_path / "link", labels=table, path_col="file", label_col="is", progress=QUIET
    )
    assert judged.seen_in_training == len(learned)


def test_an_external_set_of_the_same_names_elsewhere_was_not_learned_from(
    run: sl.Run, make_photos: MakePhotos, tmp_path: Path
) -> None:
    others = make_photos(tmp_path / "others")
    assert sl.evaluate(run, data=others, progress=QUIET).seen_in_training == 0


def test_a_copy_of_the_learned_images_elsewhere_was_learned_from(
    run: sl.Run, photos: Path, tmp_path: Path
) -> None:
    copied = shutil.copytree(photos, tmp_path / "copied")
    assert sl.evaluate(run, data=copied, progress=QUIET).seen_in_training == 18


@pytest.mark.parametrize(("split", "seen"), [("train", 16), ("validation", 2), ("test", 0)])
def test_every_split_says_how_much_of_it_was_learned_from(
    split: str, seen: int, run: sl.Run
) -> None:
    judged = sl.evaluate(run, split=split, progress=QUIET)  # type: ignore[arg-type]
    assert judged.seen_in_training == seen


# --- what cannot be judged -------------------------------------------------------------


@pytest.fixture(scope="session")
def without_test(photos: Path, quick: Settings, tmp_path_factory: pytest.TempPathFactory) -> sl.Run:
    """A finished run whose data has no test split."""
    return sl.train(
        photos,
        recipe="basic",
        changes={**quick, "data.test": 0},
        out=tmp_path_factory.mktemp("runs") / "without-test",
        progress=QUIET,
    )


def test_an_empty_test_split_is_an_error_that_says_what_to_do(without_test: sl.Run) -> None:
    with pytest.raises(sl.DataError, match=r"has no test images\. Judge it on its validation spl"):
        sl.evaluate(without_test, progress=QUIET)


def test_training_without_a_test_split_judges_validation_alone(without_test: sl.Run) -> None:
    assert kept(without_test) == [("validation", "best")]


def test_a_report_without_a_test_split_calls_its_figure_optimistic(without_test: sl.Run) -> None:
    page = (without_test.path / "report.html").read_text("utf-8")
    assert "the split that chose the weights: optimistic" in page


def test_a_split_of_another_name_is_refused(run: sl.Run) -> None:
    with pytest.raises(ValueError, match=r"split must be one of .*, got 'holdout'"):
        sl.evaluate(run, split="holdout", progress=QUIET)  # type: ignore[arg-type]


def test_damaged_weights_are_refused(run: sl.Run) -> None:
    for path in run.path.rglob("best.safetensors"):
        with path.open("ab") as file:
            file.write(b"x")
    with pytest.raises(sl.RunError, match=r"best\.safetensors is damaged"):
        sl.evaluate(run, progress=QUIET)


def test_damaged_figures_are_refused(run: sl.Run) -> None:
    (run.path / "evaluation.json").write_text("{")
    with pytest.raises(sl.RunError, match=r"evaluation\.json is damaged .* evaluate again"):
        sl.evaluate(run, progress=QUIET)


@pytest.fixture
def moved(run: sl.Run, put_manifest: PutManifest, tmp_path: Path) -> sl.Run:
    """A finished run whose images are no longer at their place."""
    manifest = run.manifest
    where = tmp_path / "gone"
    run = put_manifest(run, sl.Manifest.make(where, manifest.table))
    path = run.path / "evaluation.json"
    figures = json.loads(path.read_text("utf-8").replace(str(manifest.root), str(where)))
    write_sealed(path, {"evaluations": figures["evaluations"]})
    return run


def test_images_that_are_gone_are_an_error_that_says_so(moved: sl.Run) -> None:
    with pytest.raises(sl.DataError, match=r"not one of 2 images of .*gone could be read, first"):
        sl.evaluate(moved, progress=QUIET)


def without_images(run: sl.Run, put_manifest: PutManifest, where: Path, split: str) -> sl.Run:
    """Copy the images of a run elsewhere, all but those of a split."""
    own = run.manifest
    shutil.copytree(own.root, where)
    for record_id in own.of_split(split)["record_id"]:  # type: ignore[arg-type]
        (where / record_id).unlink()
    return put_manifest(run, sl.Manifest.make(where, own.table))


def test_without_validation_images_the_test_split_is_judged_and_nothing_chosen(
    doubter: sl.Run, put_manifest: PutManifest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = without_images(doubter, put_manifest, tmp_path / "some", "validation")
    judged = sl.evaluate(run)
    assert (judged.count, judged.calibration, judged.sets) == (60, None, None)
    assert "No validation image" in capsys.readouterr().out
    assert not (run.path / "predictions" / "validation-best.parquet").exists()


def test_without_validation_images_no_threshold_can_be_chosen(
    doubter: sl.Run, put_manifest: PutManifest, tmp_path: Path
) -> None:
    run = without_images(doubter, put_manifest, tmp_path / "some", "validation")
    with pytest.raises(sl.DataError, match=r"none of the validation images .* choose 'f1' on"):
        sl.evaluate(run, threshold="f1", progress=QUIET)


def test_without_test_images_the_validation_split_is_judged(
    doubter: sl.Run, put_manifest: PutManifest, tmp_path: Path
) -> None:
    run = without_images(doubter, put_manifest, tmp_path / "some", "test")
    assert sl.evaluate(run, split="validation", progress=QUIET).count == 60
    with pytest.raises(sl.DataError, match=r"not one of 60 images of .*some could be read"):
        sl.evaluate(run, progress=QUIET)


# --- report ----------------------------------------------------------------------------


def test_a_report_is_written_anew(run: sl.Run) -> None:
    for name in ("report.html", "history.png"):
        (run.path / name).unlink()
    assert sl.report(run) == run.path / "report.html"
    assert (run.path / "history.png").exists()


def test_reporting_twice_gives_the_same_page(run: sl.Run) -> None:
    first, second = (sl.report(run.path).read_text("utf-8") for _ in range(2))
    assert first == second


def test_a_report_without_its_images_is_still_written(moved: sl.Run) -> None:
    page = sl.report(moved).read_text("utf-8")
    assert "Test accuracy" in page


def test_a_report_of_a_run_without_an_epoch_is_still_written(run: sl.Run) -> None:
    for name in ("history.jsonl", "model.json", "evaluation.json", "best.safetensors"):
        (run.path / name).unlink()
    assert "Nothing was evaluated yet" in sl.report(run).read_text("utf-8")


def test_the_headline_is_about_the_best_weights_whatever_was_judged_first(run: sl.Run) -> None:
    sl.evaluate(run, weights="last", progress=QUIET)
    sl.evaluate(run, weights="best", progress=QUIET)
    assert "with the weights as training left them" not in sl.report(run).read_text("utf-8")


def test_a_headline_about_the_last_weights_says_so(run: sl.Run) -> None:
    (run.path / "evaluation.json").unlink()
    sl.evaluate(run, weights="last", progress=QUIET)
    assert "images, last weights (epoch 2)" in sl.report(run).read_text("utf-8")


def test_a_report_tells_how_to_train_the_run_again(trained: sl.Run, tmp_path: Path) -> None:
    run = shutil.copytree(trained.path, tmp_path / "my run")
    words = re.sub("<[^>]*>", "", sl.report(run).read_text("utf-8"))
    command = f"sightline train '{run}/manifest.parquet' --recipe '{run}/recipe.toml'"
    assert command in html.unescape(words)


def test_a_damaged_history_is_refused(run: sl.Run) -> None:
    history = run.path / "history.jsonl"
    history.write_text("{}\n" + history.read_text("utf-8"))
    with pytest.raises(sl.RunError, match=r"history\.jsonl, line 1, is damaged"):
        sl.report(run)


def test_a_history_without_the_best_epoch_is_refused(run: sl.Run) -> None:
    (run.path / "history.jsonl").unlink()
    with pytest.raises(sl.RunError, match="has 0 epochs, and the best weights are of epoch 1"):
        sl.report(run)


# --- plot_history ----------------------------------------------------------------------


def test_plot_history_returns_a_figure(trained: sl.Run) -> None:
    assert isinstance(sl.plot_history(trained), Figure)


def test_plot_history_twice_returns_two_figures(trained: sl.Run) -> None:
    assert sl.plot_history(trained) is not sl.plot_history(trained.path)


def test_plot_history_saves_a_png(trained: sl.Run, tmp_path: Path) -> None:
    sl.plot_history(trained, out=tmp_path / "curves" / "history.png")
    assert (tmp_path / "curves" / "history.png").read_bytes().startswith(b"\x89PNG")


def test_plot_history_draws_what_another_program_recorded() -> None:
    recorded = {"loss": [0.9, 0.6, 0.4, 0.2], "val_loss": [0.8, 0.5, 0.6, 0.7]}
    counts = {"cat": 500, "dog": 500}
    found = sl.diagnose(recorded, num_validation=5000, class_counts=counts)
    figure = sl.plot_history(recorded, diagnosis=found)
    written = [text.get_text() for text in figure.axes[0].texts]
    assert "best: epoch 2" in written
    numbers = [str(n) for n, each in enumerate(found.standing, 1) if each.epoch is not None]
    assert numbers
    assert set(numbers) <= set(written)


def test_plot_history_refuses_another_extension(trained: sl.Run, tmp_path: Path) -> None:
    with pytest.raises(sl.DataError, match=r"history\.svg must end in \.png"):
        sl.plot_history(trained, out=tmp_path / "history.svg")


def test_plot_history_of_a_run_without_an_epoch_is_a_figure(run: sl.Run) -> None:
    for name in ("history.jsonl", "model.json"):
        (run.path / name).unlink()
    assert isinstance(sl.plot_history(run), Figure)


# --- doctor ----------------------------------------------------------------------------


def test_doctor_finds_this_machine_fit(tmp_path: Path) -> None:
    errors = [found for found in sl.doctor(tmp_path) if found.severity == "error"]
    assert errors == []


def test_doctor_twice_says_the_same_checks(tmp_path: Path) -> None:
    first, second = ([found.code for found in sl.doctor(tmp_path)] for _ in range(2))
    assert first == second


def test_doctor_looks_at_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    passed = [found.code for found in sl.doctor(tmp_path / "runs") if found.outcome == "passed"]
    assert "writing" in passed
    assert not (tmp_path / "runs").exists()


def test_doctor_leaves_nothing_behind(tmp_path: Path) -> None:
    sl.doctor(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_doctor_finds_where_nothing_can_be_written(tmp_path: Path) -> None:
    place = tmp_path / "file.txt"
    place.write_text("in the way")
    (found,) = [found for found in sl.doctor(place) if found.code == "writing"]
    assert (found.outcome, found.severity) == ("found", "error")
