"""What was changed in a run folder by a hand or by a disk is noticed before it is used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sightline.errors import RunError
from sightline.recipes import dump_recipe, load_recipe
from sightline.runs import Journal, open_run, replace_file, write_sealed


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder before its first step."""
    (tmp_path / "recipe.toml").write_text(dump_recipe(load_recipe("basic")), "utf-8")
    (tmp_path / "plan.txt").write_text("Train.\nThen judge.\n", "utf-8")
    (tmp_path / "audit.json").write_text('{"findings": []}', "utf-8")
    Journal(tmp_path, {"format_version": 1, "data": {}, "network": {}, "seed": 3})
    return tmp_path


def changed(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


def about(run: Path) -> dict[str, Any]:
    return dict(json.loads((run / "run.json").read_text("utf-8")))


def test_a_run_that_nobody_touched_opens(run: Path) -> None:
    opened = open_run(run)
    assert (opened.plan, opened.findings) == (["Train.", "Then judge."], ())


def test_a_recipe_that_was_edited_is_refused_with_what_to_do(run: Path) -> None:
    changed(run / "recipe.toml", "learning_rate = 0.001", "learning_rate = 0.01")
    what_to_do = rf"sightline train --resume {run} --set train\.epochs=N"
    with pytest.raises(RunError, match=rf"recipe\.toml is not as Sightline wrote it.*{what_to_do}"):
        open_run(run)


def test_a_manifest_that_is_gone_is_said_to_be_missing(run: Path) -> None:
    (run / "manifest.parquet").write_bytes(b"one")
    Journal(run, {"format_version": 1, "data": {}, "network": {}})
    (run / "manifest.parquet").unlink()
    with pytest.raises(RunError, match=r"manifest\.parquet is missing\. Put it back as it was, or"):
        _ = open_run(run).manifest


def test_a_recipe_that_sightline_replaced_is_taken(run: Path) -> None:
    text = dump_recipe(load_recipe("basic", {"train.epochs": 7}))
    replace_file(run, "recipe.toml", text.encode())
    assert open_run(run).recipe.train.epochs == 7


def test_between_the_two_writes_of_a_replaced_recipe_the_old_one_is_taken(run: Path) -> None:
    old = (run / "recipe.toml").read_bytes()
    replace_file(run, "recipe.toml", dump_recipe(load_recipe("ham10000")).encode())
    (run / "recipe.toml").write_bytes(old)  # as if the process had died before the second
    assert open_run(run).recipe == load_recipe("basic")


@pytest.mark.parametrize(("old", "new"), [('"seed": 3', '"seed": 2'), ('"training"', '"trainind"')])
def test_a_run_file_with_another_value_is_refused(run: Path, old: str, new: str) -> None:
    changed(run / "run.json", old, new)
    with pytest.raises(RunError, match=r"run\.json is damaged, or was changed by hand"):
        open_run(run)


def test_a_run_file_without_its_sum_is_refused(run: Path) -> None:
    changed(run / "run.json", '"sha256"', '"sha257"')
    with pytest.raises(RunError, match=r"run\.json is damaged: it does not say sha256"):
        open_run(run)


def test_a_model_file_with_another_value_is_refused(run: Path) -> None:
    write_sealed(run / "model.json", {"class_names": ["a", "b"], "best_epoch": 0})
    changed(run / "model.json", '"a"', '"e"')
    with pytest.raises(RunError, match=r"model\.json is damaged, or was changed by hand"):
        _ = open_run(run).model


def test_a_model_file_without_its_sum_is_refused(run: Path) -> None:
    (run / "model.json").write_text('{"class_names": ["a", "b"], "best_epoch": 0}', "utf-8")
    with pytest.raises(RunError, match=r"model\.json is damaged: it does not say sha256"):
        _ = open_run(run).model


def test_the_spelling_of_a_sealed_file_does_not_matter(run: Path) -> None:
    (run / "run.json").write_text(json.dumps(about(run), separators=(",", ":")), "utf-8")
    assert open_run(run).info["seed"] == 3


def test_a_run_of_before_there_were_sums_opens(run: Path) -> None:
    kept = {key: value for key, value in about(run).items() if key not in ("files", "sha256")}
    (run / "run.json").write_text(json.dumps(kept), "utf-8")
    assert open_run(run).info == kept


def test_a_plan_that_was_changed_says_so_and_stops_nothing(run: Path) -> None:
    (run / "plan.txt").write_bytes(b"Train.\nThen \xffjudge.\n")
    assert (
        open_run(run).plan[-1].endswith("is not as it was written: it is damaged, or was changed.)")
    )


def test_findings_that_were_changed_are_refused(run: Path) -> None:
    (run / "audit.json").write_text('{"findings":  []}', "utf-8")
    with pytest.raises(
        RunError, match=r"audit\.json is damaged: it is not as it was written\. Rem"
    ):
        _ = open_run(run).findings


def test_a_manifest_that_was_changed_is_refused(run: Path) -> None:
    (run / "manifest.parquet").write_bytes(b"one")
    Journal(run, {"format_version": 1, "data": {}, "network": {}})
    (run / "manifest.parquet").write_bytes(b"two")
    with pytest.raises(RunError, match=r"manifest\.parquet is not as Sightline wrote it"):
        _ = open_run(run).manifest
