"""The leakage gate at train and evaluate, and what the figures say when it is opened."""

from __future__ import annotations

import dataclasses
import html
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import sightline as sl

MakePhotos = Callable[..., Path]
PutManifest = Callable[[sl.Run, sl.Manifest], sl.Run]
Settings = Mapping[str, Any]

QUIET = sl.Silent()


def lay_out(make_photos: MakePhotos, root: Path) -> Path:
    """Write train, validation and test folders that share nothing."""
    for number, (side, count) in enumerate({"train": 10, "val": 4, "test": 30}.items()):
        make_photos(root / side, {"dark": count, "light": count}, seed=number, start=100 * number)
    return root


@pytest.fixture
def honest(make_photos: MakePhotos, tmp_path: Path) -> Path:
    """Three folders that share nothing."""
    return lay_out(make_photos, tmp_path / "honest")


@pytest.fixture(scope="session")
def leaking(make_photos: MakePhotos, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three folders; two test images are copies of training images."""
    root = lay_out(make_photos, tmp_path_factory.mktemp("leak") / "leaking")
    shutil.copy(root / "train/dark/dark_00.png", root / "test/dark/again.png")
    shutil.copy(root / "train/light/light_01.png", root / "test/light/twice.png")
    return root


@pytest.fixture(scope="session")
def allowed(leaking: Path, quick: Settings, tmp_path_factory: pytest.TempPathFactory) -> sl.Run:
    """A run on the leaking folders, trained all the same; it must not be changed."""
    return sl.train(
        leaking,
        recipe="basic",
        changes=quick,
        allow_leak=True,
        out=tmp_path_factory.mktemp("runs") / "allowed",
        progress=QUIET,
    )


@pytest.fixture
def leaky_run(allowed: sl.Run, tmp_path: Path) -> sl.Run:
    """A copy of `allowed` that a test may change."""
    return sl.open_run(shutil.copytree(allowed.path, tmp_path / "leaky"))


def train(data: Path, quick: Settings, out: Path, **more: Any) -> sl.Run:
    return sl.train(data, recipe="basic", changes=quick, out=out, progress=QUIET, **more)


# --- train -----------------------------------------------------------------------------


def test_folders_that_share_nothing_are_trained_on(
    honest: Path, quick: Settings, tmp_path: Path
) -> None:
    run = train(honest, quick, tmp_path / "run")
    assert [judged.leaked for judged in run.evaluations] == [0, 0]


def test_a_copy_on_two_sides_is_refused_by_name(
    leaking: Path, quick: Settings, tmp_path: Path
) -> None:
    with pytest.raises(sl.DataError, match=r"test/dark/again\.png.*--allow-leak"):
        train(leaking, quick, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_group_on_two_sides_is_refused_by_name(
    honest: Path, quick: Settings, tmp_path: Path
) -> None:
    """Image 3 of train and image 203 of test are called one patient."""
    with pytest.raises(sl.DataError, match=r"'3'.*--allow-leak"):
        train(honest, quick, tmp_path / "run", group_regex=r"(\d)\.png")


def test_a_leak_that_is_allowed_is_stated_in_plan_and_report(allowed: sl.Run) -> None:
    assert "LEAKS ALLOWED" in "\n".join(allowed.plan)
    page = html.unescape((allowed.path / "report.html").read_text("utf-8"))
    assert "LEAKS ALLOWED" in page
    assert "2 of 62 of these images have a copy" in page


def test_splits_of_our_own_keep_copies_together(
    leaking: Path, quick: Settings, tmp_path: Path
) -> None:
    pooled = sl.split(sl.audit(leaking, progress=QUIET).manifest, resplit="all", progress=QUIET)
    run = sl.train(pooled, recipe="basic", changes=quick, out=tmp_path / "run", progress=QUIET)
    copies = run.manifest.table.drop_nulls("copy_group").group_by("copy_group")
    assert copies.agg(pl.col("split").n_unique())["split"].to_list() == [1, 1]


def test_too_many_unreadable_files_are_refused_unless_muted(
    make_photos: MakePhotos, quick: Settings, tmp_path: Path
) -> None:
    photos = make_photos(tmp_path / "photos")
    (photos / "dark/dark_03.png").write_bytes(b"")
    with pytest.raises(sl.DataError, match="unreadable-files"):
        train(photos, quick, tmp_path / "refused")
    muting = {**quick, "audit.mute": ["unreadable-files"]}
    run = train(photos, muting, tmp_path / "run")
    assert sum(len(run.manifest.of_split(side)) for side in ("train", "validation", "test")) == 19
    assert "Muted by the recipe: unreadable-files." in run.plan


# --- evaluate --------------------------------------------------------------------------


def test_a_split_that_leaks_is_not_judged_unasked(leaky_run: sl.Run) -> None:
    with pytest.raises(sl.DataError, match=r"2 test images.*--leak-effect.*--allow-leak"):
        sl.evaluate(leaky_run, progress=QUIET)


def test_figures_of_a_leaking_split_carry_a_caution(leaky_run: sl.Run) -> None:
    judged = sl.evaluate(leaky_run, allow_leak=True, progress=QUIET)
    assert judged.leaked == 2
    assert "2 of 62 of these images have a copy" in judged.caution


def test_the_effect_of_a_leak_is_measured_with_intervals(leaky_run: sl.Run) -> None:
    effect = sl.evaluate(leaky_run, leak_effect=True, progress=QUIET).leak_effect
    assert effect is not None
    assert (effect.count, effect.leaked) == (62, 2)
    for metrics in (effect.whole, effect.clean):
        assert set(metrics) == {"accuracy", "balanced_accuracy", "macro_f1", "log_loss"}
        sure = [metrics[name] for name in ("accuracy", "log_loss")]  # both rest on all images
        assert all(each.low <= each.value <= each.high for each in sure)
    assert effect.whole["log_loss"] != effect.clean["log_loss"]


def test_the_effect_is_kept_and_shown_in_the_report(leaky_run: sl.Run) -> None:
    judged = sl.evaluate(leaky_run, leak_effect=True, progress=QUIET)
    kept = [each for each in leaky_run.evaluations if each.source == "test"]
    assert kept[0].leak_effect == judged.leak_effect
    page = sl.report(leaky_run).read_text("utf-8")
    assert "Without them" in page


def test_there_is_no_effect_to_measure_without_a_leak(run: sl.Run) -> None:
    with pytest.raises(sl.DataError, match="no effect to measure"):
        sl.evaluate(run, leak_effect=True, progress=QUIET)


# --- looks -----------------------------------------------------------------------------


def test_looks_at_a_test_split_are_counted_over_all_runs(run: sl.Run, tmp_path: Path) -> None:
    twin = sl.open_run(shutil.copytree(run.path, tmp_path / "twin"))
    before = sl.evaluate(run, progress=QUIET).looks
    assert sl.evaluate(twin, progress=QUIET).looks == before + 1
    assert sl.evaluate(run, progress=QUIET).looks == before + 2
    assert sl.evaluate(run, split="validation", progress=QUIET).looks == 0


def test_the_test_images_under_another_name_are_looked_at_as_well(
    run: sl.Run, photos: Path, tmp_path: Path
) -> None:
    before = sl.evaluate(run, progress=QUIET).looks
    tested = run.manifest.of_split("test")["record_id"][0]
    (tmp_path / "o" / "dark").mkdir(parents=True)
    shutil.copy(photos / tested, tmp_path / "o" / "dark" / "renamed.png")
    assert sl.evaluate(run, data=tmp_path / "o", progress=QUIET).looks == before + 1
    assert f"looked at {before + 1} times" in sl.report(run).read_text("utf-8")


def test_splitting_says_how_often_the_test_split_it_makes_was_looked_at(
    run: sl.Run, capsys: pytest.CaptureFixture[str]
) -> None:
    looks = sl.evaluate(run, progress=QUIET).looks
    sl.split(run.manifest)
    assert f"looked at {looks} times already" in capsys.readouterr().out


def test_the_report_says_how_often_the_test_split_was_looked_at(run: sl.Run) -> None:
    looks = sl.evaluate(run, progress=QUIET).looks
    assert f"looked at {looks} time" in sl.report(run).read_text("utf-8")


# --- images that were learned from -----------------------------------------------------


def test_learned_images_are_known_by_content_in_another_folder(
    run: sl.Run, photos: Path, tmp_path: Path
) -> None:
    learned = run.manifest.of_split("train")["record_id"][0]
    label = learned.partition("/")[0]
    (tmp_path / "o" / label).mkdir(parents=True)
    shutil.copy(photos / learned, tmp_path / "o" / label / "renamed.png")
    assert sl.evaluate(run, data=tmp_path / "o", progress=QUIET).seen_in_training == 1


def test_the_effect_of_learned_images_in_an_external_set_is_measured(
    run: sl.Run, photos: Path, make_photos: MakePhotos, tmp_path: Path
) -> None:
    external = make_photos(tmp_path / "o", seed=77)
    learned = run.manifest.of_split("train")["record_id"][0]
    shutil.copy(photos / learned, external / learned.partition("/")[0] / "renamed.png")
    judged = sl.evaluate(run, data=external, leak_effect=True, progress=QUIET)
    assert judged.leak_effect is not None
    assert judged.leak_effect.leaked == judged.seen_in_training == 1


def test_images_of_groups_that_were_learned_from_carry_a_caution(
    run: sl.Run, make_photos: MakePhotos, put_manifest: PutManifest, tmp_path: Path
) -> None:
    table = run.manifest.table.with_columns(group=pl.lit("p-") + pl.col("record_id"))
    groups = put_manifest(run, dataclasses.replace(run.manifest, table=table)).manifest
    external = sl.scan(make_photos(tmp_path / "o", {"dark": 2, "light": 2}, seed=77))
    names = [groups.of_split(split)["group"][0] for split in ("train", "validation", "test")]
    grouped = external.table.with_columns(group=pl.Series([*names, None], dtype=pl.String))
    judged = sl.evaluate(
        run.path, data=dataclasses.replace(external, table=grouped), progress=QUIET
    )
    assert judged.leaked == 2, "one of train, one of validation"
    assert "2 of 4 of these images have a copy, or an image of the same group" in judged.caution


def test_what_was_learned_from_has_nothing_to_be_compared_with(run: sl.Run) -> None:
    with pytest.raises(sl.DataError, match="is what it learned from"):
        sl.evaluate(run, split="train", leak_effect=True, progress=QUIET)
