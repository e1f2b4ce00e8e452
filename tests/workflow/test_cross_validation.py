"""`cv` on tiny real images: every image judged by a network that never saw it."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

import sightline as sl
from sightline.cli.app import app
from sightline.data.stream import filling
from sightline.judging import reports
from sightline.progress import Step
from sightline.workflow import folds

MakePhotos = Callable[..., Path]
Settings = Mapping[str, Any]


@pytest.fixture(scope="module")
def table(make_photos: MakePhotos, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 images, two a patient; 8 of them are test."""
    folder = make_photos(tmp_path_factory.mktemp("images") / "folded", {"dark": 24, "light": 24})
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.png"))
    pl.DataFrame(
        {
            "file": names,
            "is": [name.partition("/")[0] for name in names],
            "who": [f"p{number // 2}" for number in range(48)],
            "side": ["test" if number % 24 < 4 else "train" for number in range(48)],
            "one": [3] * 48,
            "torn": [number % 2 for number in range(48)],
            "whole": [number // 4 % 2 for number in range(48)],
            "apart": [number // 24 for number in range(48)],
        }
    ).write_csv(folder / "labels.csv")
    return folder / "labels.csv"


@pytest.fixture(scope="module")
def source(table: Path) -> dict[str, Any]:
    return {"labels": table, "path_col": "file", "label_col": "is", "group_col": "who"}


class Decoded(sl.Silent):
    """Knows how many images were decoded to train and to judge when each fold ended."""

    def __init__(self) -> None:
        self.images, self.after_folds, self.title = 0, list[int](), ""

    @contextmanager
    def step(self, title: str, total: int | None) -> Iterator[Step]:
        self.title = title
        with super().step(title, total) as step:
            yield step

    def say(self, line: str) -> None:
        if line.startswith("r0-f"):
            self.after_folds.append(self.images)


@pytest.fixture(scope="module")
def both(
    source: dict[str, Any], quick: Settings, tmp_path_factory: pytest.TempPathFactory
) -> tuple[sl.CrossValidation, Decoded]:
    decoded, decode = Decoded(), filling.Filler._decode

    def counting(self: filling.Filler, rows: Any, *more: Any) -> Any:
        if "epoch" in decoded.title or "predicting" in decoded.title:  # not the pictures of maps
            decoded.images += len(rows)
        return decode(self, rows, *more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(filling.Filler, "_decode", counting)
        judged = sl.cv(
            recipe="basic", changes=quick, folds=2, out=tmp_path_factory.mktemp("cv") / "whole",
            split_col="side", progress=decoded, **source,
        )  # fmt: skip
    return judged, decoded


@pytest.fixture(scope="module")
def judged(both: tuple[sl.CrossValidation, Decoded]) -> sl.CrossValidation:
    return both[0]


def test_the_second_fold_decodes_nothing(both: tuple[sl.CrossValidation, Decoded]) -> None:
    assert both[1].after_folds == [40, 40]


def runs_of(judged: sl.CrossValidation) -> list[sl.Run]:
    return [sl.open_run(Path(judged.folder) / "folds" / fold.name) for fold in judged.folds]


def test_every_image_outside_of_test_is_predicted_once(judged: sl.CrossValidation) -> None:
    found = pl.read_parquet(Path(judged.folder) / "predictions.parquet")
    assert len(found) == found["record_id"].n_unique() == judged.count == 40
    assert found["p_dark"].null_count() == 0


def test_no_image_or_group_mate_has_a_part_in_the_network_that_judges_it(
    judged: sl.CrossValidation,
) -> None:
    found = pl.read_parquet(Path(judged.folder) / "predictions.parquet")
    for run, fold in zip(runs_of(judged), judged.folds, strict=True):
        held_out = set(found.filter(pl.col("fold") == fold.fold)["record_id"])
        table = run.manifest.table
        assert held_out == set(table.filter(pl.col("split") == "test")["record_id"])
        assert set(table["split"]) == {"train", "validation", "test"}
        assert (table.group_by("group").agg(pl.col("split").n_unique())["split"] == 1).all()


def test_the_given_test_split_is_in_no_run_and_no_look_is_counted(
    judged: sl.CrossValidation, source: dict[str, Any]
) -> None:
    test = set(sl.scan(split_col="side", **source).of_split("test")["record_id"])
    assert len(test) == 8
    for run in runs_of(judged):
        assert test.isdisjoint(run.manifest.table["record_id"])
        assert [each.looks for each in run.evaluations if each.source == "test"] == [0]


def test_the_figures_of_a_fold_are_those_of_its_run(judged: sl.CrossValidation) -> None:
    for run, fold in zip(runs_of(judged), judged.folds, strict=True):
        (own,) = (each for each in run.evaluations if each.source == "test")
        assert fold.metrics == own.metrics
    values = [fold.metrics["log_loss"] for fold in judged.folds]
    assert judged.metrics["log_loss"].values == tuple(values)


def test_the_folder_holds_the_whole_and_a_page_that_links_to_each_fold(
    judged: sl.CrossValidation,
) -> None:
    folder = Path(judged.folder)
    kept = json.loads((folder / "crossvalidation.json").read_text())
    assert sl.CrossValidation.from_dict(kept) == judged
    page = (folder / "cv.html").read_text()
    for fold in judged.folds:
        assert f"folds/{fold.name}/report.html" in page
        assert (folder / "folds" / fold.name / "report.html").exists()


def test_all_folds_share_one_cache(judged: sl.CrossValidation) -> None:
    caches = {
        path.parent
        for path in (sl.cache_root() / "decoded").rglob("*.json")
        if str(Path(judged.root)) in path.read_text(errors="replace")
    }
    sizes = {run.recipe.data.image_size for run in runs_of(judged)}
    ids = {tuple(run.manifest.table["record_id"]) for run in runs_of(judged)}
    assert len(sizes) == len(ids) == 1
    assert len(caches) == 1


def test_going_on_with_a_finished_one_trains_nothing(judged: sl.CrossValidation) -> None:
    before = [(run.path / "run.json").read_bytes() for run in runs_of(judged)]
    assert sl.cv(resume=judged.folder, progress=sl.Silent()) == judged
    assert [(run.path / "run.json").read_bytes() for run in runs_of(judged)] == before


@pytest.mark.parametrize(
    ("wrong", "error", "said"),
    [
        ({"folds": 1}, sl.RecipeError, "folds must be 2 or more, got 1"),
        ({"repeats": 0}, sl.RecipeError, "repeats must be 1 or more"),
        ({"workers": 0}, sl.RecipeError, "workers must be 1 or more"),
        ({"folds": 30}, sl.DataError, "largest number of folds that is possible is 12"),
        ({"fold_col": "one"}, sl.DataError, "are in fold 3, so none is left"),
        ({"fold_col": "torn"}, sl.DataError, "the folds of .* leak"),
        ({"fold_col": "torn", "repeats": 2}, sl.RecipeError, "came with folds"),
        ({"fold_col": "apart"}, sl.DataError, "class 'dark' of .* is in fold 0 alone"),
        ({"recipe": "magic"}, sl.RecipeError, "there is no recipe 'magic'"),
        ({"changes": ["data.validation=0"]}, sl.DataError, "Set data.validation above 0"),
    ],
)
def test_wrong_use_is_refused_before_anything_is_trained(
    wrong: dict[str, Any],
    error: type[Exception],
    said: str,
    source: dict[str, Any],
    tmp_path: Path,
) -> None:
    with pytest.raises(error, match=said):
        sl.cv(**{"recipe": "basic", **source, **wrong}, out=tmp_path / "x", progress=sl.Silent())
    assert not (tmp_path / "x").exists()


def test_what_is_no_cross_validation_cannot_be_gone_on_with(
    judged: sl.CrossValidation, tmp_path: Path
) -> None:
    for words, said in (
        (["--resume", str(tmp_path)], "holds no cross-validation"),
        (["--resume", judged.folder, "--folds", "3"], "folds cannot be given as well"),
        (["--resume", judged.folder, "--allow-leak"], "allow_leak cannot be given as well"),
        (["--resume", judged.folder, "--no-cache"], "cache cannot be given as well"),
    ):
        done = CliRunner().invoke(app, ["cv", *words])
        assert done.exit_code == 2
        assert said in done.stderr


@pytest.mark.slow
def test_killed_in_a_fold_it_goes_on_and_ends_as_if_it_had_not_been(
    judged: sl.CrossValidation, source: dict[str, Any], quick: Settings, tmp_path: Path
) -> None:
    words = ["--labels", str(source["labels"]), "--path-col", "file", "--label-col", "is",
             "--group-col", "who", "--split-col", "side", "--folds", "2", "--recipe", "basic",
             "--out", str(tmp_path / "cv")]  # fmt: skip
    words += [word for key, value in quick.items() for word in ("--set", f"{key}={value}")]
    process = subprocess.Popen([sys.executable, "-m", "sightline", "cv", *words])
    folds = tmp_path / "cv" / "folds"
    while not (folds / "r0-f1" / "run.json").exists():
        assert process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    kept = (folds / "r0-f0" / "run.json").stat().st_mtime_ns
    assert not (folds / "r0-f1.json").exists()
    again = [sys.executable, "-m", "sightline", "cv", "--resume", str(tmp_path / "cv")]
    assert subprocess.run(again, check=False).returncode == 0
    assert (folds / "r0-f0" / "run.json").stat().st_mtime_ns == kept
    one, other = (pl.read_parquet(Path(folder) / "predictions.parquet")
                  for folder in (judged.folder, tmp_path / "cv"))  # fmt: skip
    assert one.equals(other)


def test_a_fold_that_fails_is_told_and_tried_again(
    judged: sl.CrossValidation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = without_the_second(judged, tmp_path / "cv")

    def fails(*_: object, **__: object) -> None:
        raise sl.RunError("the objective became nan")

    again = ["cv", "--resume", str(folder)]
    with monkeypatch.context() as patch:
        patch.setattr(folds, "carry_out", fails)
        ended = CliRunner().invoke(app, again)
    assert ended.exit_code == 2
    assert "r0-f1 failed: the objective became nan" in ended.stdout
    assert "figures of 1 of 2 trainings" in ended.stdout
    found = json.loads((folder / "crossvalidation.json").read_text())
    assert [fold["state"] for fold in found["folds"]] == ["finished", "failed"]
    ended = CliRunner().invoke(app, [*again, "--json"])
    assert ended.exit_code == 0
    shown = json.loads(ended.stdout)
    assert [fold["state"] for fold in shown["folds"]] == ["finished", "finished"]
    assert shown["metrics"] == json.loads(json.dumps(judged.to_dict()["metrics"]))


def without_the_second(judged: sl.CrossValidation, folder: Path) -> Path:
    shutil.copytree(judged.folder, folder)
    shutil.rmtree(folder / "folds" / "r0-f1")
    (folder / "folds" / "r0-f1.json").unlink()
    return folder


def test_an_error_of_the_framework_fails_one_fold_and_a_full_disk_none(
    judged: sl.CrossValidation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = without_the_second(judged, tmp_path / "cv")

    def raises(error: Exception, cause: Exception | None = None) -> Callable[..., None]:
        def fails(*_: object, **__: object) -> None:
            raise error from cause

        return fails

    full = raises(sl.RunError("the disk is full"), OSError(28, "No space left on device"))
    monkeypatch.setattr(folds, "carry_out", full)
    with pytest.raises(sl.RunError, match="the disk is full"):
        sl.cv(resume=folder, progress=sl.Silent())
    assert not (folder / "folds" / "r0-f1.json").exists()
    monkeypatch.setattr(folds, "carry_out", raises(ValueError("out of memory\nmuch more")))
    assert (
        sl.cv(resume=folder, progress=sl.Silent()).failed[0].reason == "ValueError: out of memory"
    )


def test_killed_before_a_fold_was_told_it_is_not_trained_again(
    judged: sl.CrossValidation, tmp_path: Path
) -> None:
    folder = shutil.copytree(judged.folder, tmp_path / "cv")
    (folder / "folds" / "r0-f1.json").unlink()
    run = folder / "folds" / "r0-f1"
    (run / "evaluation.json").unlink()
    before = (run / "history.jsonl").read_bytes(), (run / "run.json").read_bytes()
    again = sl.cv(resume=folder, progress=sl.Silent())
    assert again.metrics == judged.metrics
    assert ((run / "history.jsonl").read_bytes(), (run / "run.json").read_bytes()) == before


def test_a_fold_of_another_recipe_is_not_counted(
    judged: sl.CrossValidation, tmp_path: Path
) -> None:
    folder = shutil.copytree(judged.folder, tmp_path / "cv")
    (folder / "folds" / "r0-f1.json").unlink()
    sl.train(
        resume=folder / "folds" / "r0-f1", changes={"train.epochs": 3}, only_train=True,
        progress=sl.Silent(),
    )  # fmt: skip
    (fold,) = sl.cv(resume=folder, progress=sl.Silent()).failed
    assert "is of train.epochs=3, and the cross-validation is of train.epochs=2" in fold.reason


def test_given_folds_are_taken_and_nothing_is_chosen_where_nothing_is_asked(
    source: dict[str, Any], quick: Settings, tmp_path: Path
) -> None:
    plain = {"train.epochs": 1, "train.best": "epoch", "stop.patience": 0, "data.validation": 0}
    result = sl.cv(
        recipe="basic", changes={**quick, **plain}, fold_col="whole", out=tmp_path / "cv",
        progress=sl.Silent(), **source,
    )  # fmt: skip
    assert result.given
    assert [(fold.fold, fold.count, fold.num_validation) for fold in result.folds] == [
        (0, 24, 0), (1, 24, 0),
    ]  # fmt: skip
    assert "chose a fold's weights" not in (tmp_path / "cv" / "cv.html").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("killed", ["worker", "parent", "interrupted"])
def test_workers_train_each_fold_once_whoever_ends(
    killed: str, source: dict[str, Any], quick: Settings, tmp_path: Path
) -> None:
    folder = tmp_path / "cv"
    words = ["--labels", str(source["labels"]), "--path-col", "file", "--label-col", "is",
             "--group-col", "who", "--folds", "3", "--recipe", "basic", "--workers", "2",
             "--out", str(folder)]  # fmt: skip
    words += [word for key, value in quick.items() for word in ("--set", f"{key}={value}")]
    command = [sys.executable, "-m", "sightline", "cv"]
    with (tmp_path / "said").open("wb") as said:
        process = subprocess.Popen([*command, *words], stderr=said, stdout=said)
    while not list(folder.glob("folds/*/run.json")):
        assert process.poll() is None
        time.sleep(0.02)
    listed = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    workers = [int(child) for child in listed
               if str(folder).encode() in Path(f"/proc/{child}/cmdline").read_bytes()]  # fmt: skip
    assert len(workers) == 2
    if killed == "worker":
        os.kill(workers[0], signal.SIGKILL)
        assert process.wait(300) == 0
        assert "worker 1 ended with -9" in (tmp_path / "said").read_text().replace("\n", " ")
    else:
        os.kill(process.pid, signal.SIGKILL if killed == "parent" else signal.SIGINT)
        assert process.wait(300) == (-signal.SIGKILL if killed == "parent" else 130)
        until = time.monotonic() + 120
        while any(Path(f"/proc/{worker}").exists() for worker in workers):
            assert time.monotonic() < until
            time.sleep(0.1)
        assert subprocess.run([*command, "--resume", str(folder)], check=False).returncode == 0
    found = pl.read_parquet(folder / "predictions.parquet")
    assert len(found) == found["record_id"].n_unique() == 48
    for history in folder.glob("folds/*/history.jsonl"):
        assert len(history.read_text().splitlines()) == 2


@pytest.mark.slow
def test_each_repeat_predicts_every_image_once_more(
    source: dict[str, Any], quick: Settings, tmp_path: Path
) -> None:
    result = sl.cv(
        recipe="basic", changes={**quick, "train.epochs": 1}, folds=2, repeats=2,
        out=tmp_path / "cv", split_col="side", progress=sl.Silent(), **source,
    )  # fmt: skip
    found = pl.read_parquet(tmp_path / "cv" / "predictions.parquet")
    assert found.group_by("repeat").agg(pl.col("record_id").n_unique())["record_id"].to_list() == [
        40, 40,
    ]  # fmt: skip
    assert len(found) == 80
    one, other = (found.filter(pl.col("repeat") == number) for number in (0, 1))
    assert one["fold"].to_list() != other["fold"].to_list()
    assert [fold.name for fold in result.folds] == ["r0-f0", "r0-f1", "r1-f0", "r1-f1"]


@pytest.mark.parametrize("leaks", [False, True])
def test_the_page_says_of_group_mates_what_is_so(judged: sl.CrossValidation, leaks: bool) -> None:
    page = reports.render_cross_validation(dataclasses.replace(judged, leak_allowed=leaks))
    assert ("nor any image of its group" in page) is not leaks
    assert ("may have been among what it saw" in page) is leaks
