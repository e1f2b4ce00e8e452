"""How a class is chosen: on the validation split alone, kept with the weights, used ever after."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import sightline as sl
from listening_lines import Lines
from sightline import runs
from sightline.judging import evaluation
from sightline.records import MOST_PROBABLE, Decision
from sightline.workflow import deciding, exporting

PutManifest = Callable[[sl.Run, sl.Manifest], sl.Run]
QUIET = sl.Silent()
COSTS = "true,benign,malignant\nbenign,0,1\nmalignant,20,0\n"


@dataclass(frozen=True)
class Chosen:
    """A run with a threshold that was chosen, the figures with it, and what was said."""

    run: sl.Run
    judged: sl.Evaluation
    said: list[str]


@pytest.fixture(scope="module")
def chosen(doubting: sl.Run, tmp_path_factory: pytest.TempPathFactory) -> Chosen:
    """Chosen by Youden's index; must not be changed."""
    path, lines = tmp_path_factory.mktemp("chosen") / "run", Lines()
    shutil.copytree(doubting.path, path)
    judged = sl.evaluate(path, threshold="youden", progress=lines)
    return Chosen(sl.open_run(path), judged, lines.said)


@pytest.fixture
def run(chosen: Chosen, tmp_path: Path) -> sl.Run:
    """A copy of it that a test may change."""
    return sl.open_run(shutil.copytree(chosen.run.path, tmp_path / "run"))


@pytest.fixture
def costs(tmp_path: Path) -> Path:
    path = tmp_path / "costs.csv"
    path.write_text(COSTS)
    return path


def with_labels_turned(run: sl.Run, split: str, put_manifest: PutManifest) -> sl.Run:
    """Give each image of a split the other label."""
    own = run.manifest
    other = pl.col("label").replace({"benign": "malignant", "malignant": "benign"})
    turned = pl.when(pl.col("split") == split).then(other).otherwise(pl.col("label"))
    return put_manifest(run, sl.Manifest.make(own.root, own.table.with_columns(label=turned)))


# --- what it is chosen on --------------------------------------------------------------


def test_no_other_threshold_does_better_on_validation(chosen: Chosen) -> None:
    found = chosen.run.predictions("validation", "best")
    labels, own = found.label_indices(), found.probabilities[:, 1]

    def youden(threshold: float) -> float:
        called = own >= np.float32(threshold)
        return float(called[labels == 1].mean() - called[labels == 0].mean())

    assert 0 < chosen.judged.decision.threshold < 1
    best = max(youden(threshold) for threshold in np.unique(own))
    assert youden(chosen.judged.decision.threshold) == pytest.approx(best)


def test_other_labels_of_the_test_split_do_not_move_it(
    chosen: Chosen, doubter: sl.Run, put_manifest: PutManifest
) -> None:
    other = with_labels_turned(doubter, "test", put_manifest)
    judged = sl.evaluate(other, threshold="youden", progress=QUIET)
    assert judged.metrics["accuracy"] != chosen.judged.metrics["accuracy"]
    assert judged.decision == chosen.judged.decision


def test_other_labels_of_the_validation_split_do(
    chosen: Chosen, doubter: sl.Run, put_manifest: PutManifest
) -> None:
    other = with_labels_turned(doubter, "validation", put_manifest)
    judged = sl.evaluate(other, threshold="youden", progress=QUIET)
    assert judged.decision.threshold != chosen.judged.decision.threshold


def test_it_says_what_it_was_chosen_on(chosen: Chosen) -> None:
    epoch = chosen.judged.epoch + 1
    on = f"60 records of validation, best weights, epoch {epoch}"
    assert chosen.judged.decision.chosen_on == on
    said = chosen.judged.decision.sentence(chosen.judged.class_names)
    assert f"From now on: {said}" in chosen.said


def test_the_temperature_is_that_of_the_validation_split(chosen: Chosen) -> None:
    found = evaluation.fit_temperature(chosen.run.predictions("validation", "best"))
    assert found != 1
    assert chosen.run.model["temperature"] == found


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_split_that_was_learned_from_is_not_said_to_be_calibrated(
    split: Any, run: sl.Run
) -> None:
    judged = sl.evaluate(run, split=split, progress=QUIET)
    assert (judged.calibration, judged.sets, judged.points) == (None, None, ())


# --- images that cannot be read for a while --------------------------------------------


@dataclass(frozen=True)
class Elsewhere:
    """A run whose images are copied, of which some can be taken away and put back."""

    run: sl.Run
    root: Path

    def hide(self, split: Any, count: int) -> list[str]:
        """Take the first so many images of a split away, and return their ids."""
        ids = self.run.manifest.of_split(split)["record_id"].to_list()[:count]
        for record_id in ids:
            (self.root / record_id).rename(self.root / f"{record_id}.away")
        return ids

    def put_back(self) -> None:
        for path in self.root.rglob("*.away"):
            path.rename(path.with_suffix(""))


@pytest.fixture
def lent(doubter: sl.Run, put_manifest: PutManifest, tmp_path: Path) -> Elsewhere:
    root = Path(shutil.copytree(doubter.manifest.root, tmp_path / "lent"))
    return Elsewhere(put_manifest(doubter, sl.Manifest.make(root, doubter.manifest.table)), root)


def test_validation_images_that_cannot_be_read_are_counted_and_tried_again(
    lent: Elsewhere, chosen: Chosen
) -> None:
    missing, lines = lent.hide("validation", 7), Lines()
    sl.evaluate(lent.run, progress=lines)
    told = f"7 of 60 validation images of {lent.run.path} cannot be read, first {missing[0]}: "
    assert [line for line in lines.said if line.startswith(told)]
    lent.put_back()
    again = Lines()
    sl.evaluate(lent.run, threshold="youden", progress=again)
    assert not [line for line in again.said if "cannot be read" in line]
    kept = lent.run.predictions("validation", "best")
    assert kept.content_hash() == chosen.run.predictions("validation", "best").content_hash()
    for key in ("threshold", "temperature"):
        assert lent.run.model[key] == chosen.run.model[key]


def test_what_was_said_of_all_images_stands_while_some_are_away(lent: Elsewhere) -> None:
    sl.evaluate(lent.run, progress=QUIET)
    path, lines = lent.run.predictions_path("validation", "best"), Lines()
    before = path.read_bytes()
    lent.hide("validation", 60)
    sl.evaluate(lent.run, threshold="youden", progress=lines)
    assert path.read_bytes() == before
    assert not [line for line in lines.said if "can be read" in line]


def test_fewer_images_than_before_take_the_place_of_none(lent: Elsewhere) -> None:
    lent.hide("validation", 3)
    sl.evaluate(lent.run, progress=QUIET)
    before = lent.run.predictions_path("validation", "best").read_bytes()
    lent.put_back()
    lent.hide("validation", 9)
    sl.evaluate(lent.run, progress=QUIET)
    assert lent.run.predictions_path("validation", "best").read_bytes() == before


def test_validation_is_judged_anew_with_the_images_that_are_back(lent: Elsewhere) -> None:
    lent.hide("validation", 7)
    lines = Lines()
    first = sl.evaluate(lent.run, split="validation", slice_by="width", progress=QUIET)
    assert (first.count, first.unreadable) == (53, 7)
    lent.put_back()
    sl.evaluate(lent.run, threshold="youden", progress=lines)
    found, _ = lent.run.evaluations[::-1]
    kept = lent.run.predictions("validation", "best")
    assert (found.source, found.count, found.predictions_hash) == (
        "validation", 60, kept.content_hash()
    )  # fmt: skip
    assert found.decision == kept.decision
    assert found.decision.rule == "youden"
    assert [line for line in lines.said if line.startswith("The validation split was judged anew")]


def test_training_images_that_could_not_be_embedded_are_tried_again(lent: Elsewhere) -> None:
    lent.hide("train", 5)
    sl.evaluate(lent.run, neighbours=True, progress=QUIET)
    assert lent.run.predictions("train", "best").unreadable == 5
    lent.put_back()
    sl.evaluate(lent.run, neighbours=True, progress=QUIET)
    assert lent.run.predictions("train", "best").unreadable == 0


# --- several classes -------------------------------------------------------------------


def of_three_classes(seed: int) -> sl.records.Predictions:
    rng, names = np.random.default_rng(seed), ("cat", "dog", "owl")
    labels = rng.integers(0, 3, 300)
    scores = rng.dirichlet((1, 1, 1), 300) + 0.8 * np.eye(3)[labels]
    return sl.records.Predictions.make(
        class_names=names,
        record_ids=[f"{number}.png" for number in range(300)],
        labels=[names[label] for label in labels],
        probabilities=(scores / scores.sum(axis=1, keepdims=True)).astype(np.float32),
    )


@pytest.mark.parametrize(
    ("decision", "rows"),
    [
        (MOST_PROBABLE, [("f1", "cat"), ("f1", "dog"), ("f1", "owl")]),
        (Decision(kind="threshold", class_index=2), [("0.5", "owl"), ("f1", "owl")]),
    ],
)
def test_of_several_classes_each_has_a_threshold_or_the_one_that_was_chosen_all(
    decision: Decision, rows: list[tuple[str, str]]
) -> None:
    chooser, judged = of_three_classes(1), replace(of_three_classes(2), decision=decision)
    figures = evaluation.evaluate(judged, source="test")
    points = deciding.told_by(chooser, judged, figures, 0.9)["points"]
    found = [(point.rule.partition(":")[0], point.class_name) for point in points]
    assert found[: len(rows)] == rows
    assert len(found) == (3 if decision == MOST_PROBABLE else 9)
    assert all(point.sensitivity is not None for point in points[:2])


# --- where it is kept and used ---------------------------------------------------------


def test_the_card_of_the_model_has_it(chosen: Chosen) -> None:
    card = json.loads((chosen.run.path / "model.json").read_text("utf-8"))
    assert card["threshold"] == chosen.judged.decision.threshold
    assert list(card["decisions"]) == [chosen.judged.model_fingerprint]
    kept = card["decisions"][chosen.judged.model_fingerprint]
    assert kept["decision"] == chosen.judged.decision.to_dict()


def test_a_later_evaluation_uses_it(run: sl.Run, chosen: Chosen) -> None:
    assert sl.evaluate(run.path, progress=QUIET).decision == chosen.judged.decision


def test_an_external_set_is_judged_by_it(run: sl.Run, chosen: Chosen) -> None:
    judged = sl.evaluate(run, data=run.manifest.root, progress=QUIET)
    assert judged.decision == chosen.judged.decision


def test_it_decides_what_predict_says(chosen: Chosen) -> None:
    found = sl.predict(chosen.run.path, chosen.run.manifest.root, progress=QUIET)
    expected = found.probabilities[:, 1] >= np.float32(chosen.judged.decision.threshold)
    assert (expected != (found.probabilities[:, 1] > 0.5)).any()
    assert found.predicted_indices().tolist() == expected.astype(int).tolist()


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_it_decides_what_a_table_of_predictions_says(
    suffix: str, chosen: Chosen, tmp_path: Path
) -> None:
    out, root = tmp_path / f"p{suffix}", chosen.run.manifest.root
    sl.predict(chosen.run, root, out=out, progress=QUIET)
    table = pl.read_csv(out) if suffix == ".csv" else pl.read_parquet(out)
    predicted = sl.predict(chosen.run, root, progress=QUIET).to_table()["predicted"]
    assert table["predicted"].to_list() == predicted.to_list()


def test_an_export_says_it(chosen: Chosen) -> None:
    said = exporting._description(chosen.run, chosen.run.kept("best"), "keras", True)
    assert said["threshold"] == chosen.judged.decision.threshold
    assert said["decision"] == chosen.judged.decision.to_dict()
    assert said["temperature"] == chosen.run.model["temperature"]


def test_other_weights_have_their_own(chosen: Chosen) -> None:
    root = chosen.run.manifest.root
    found = sl.predict(chosen.run, root, weights="last", progress=QUIET)
    assert found.decision == MOST_PROBABLE


def test_the_card_follows_weights_that_are_the_best_by_another_name(run: sl.Run) -> None:
    assert run.kept("average").fingerprint == run.kept("best").fingerprint
    sl.evaluate(run, weights="average", threshold="0.9", progress=QUIET)
    assert run.model["threshold"] == 0.9


def test_a_choice_for_the_last_weights_leaves_that_of_the_best(run: sl.Run, chosen: Chosen) -> None:
    sl.evaluate(run, weights="last", threshold="0.9", progress=QUIET)
    assert runs.settled(run, run.kept("last")).decision.threshold == 0.9
    assert run.model["threshold"] == chosen.judged.decision.threshold


def test_argmax_takes_the_most_probable_class_again(run: sl.Run) -> None:
    judged = sl.evaluate(run, threshold="argmax", progress=QUIET)
    assert judged.decision == MOST_PROBABLE
    assert run.model["threshold"] == 0.5


# --- a training that goes on -----------------------------------------------------------


def test_weights_that_change_lose_it_and_that_is_said(run: sl.Run) -> None:
    lines = Lines()
    worse = runs.settled(run, run.kept("best"))
    runs.settle(run, run.kept("last"), worse)
    sl.train(resume=run.path, changes={"train.epochs": 4}, only_train=True, progress=lines)
    told = [line for line in lines.said if line.startswith("How a class is chosen")]
    assert told
    assert f"sightline evaluate {run.path} --threshold RULE" in told[-1]
    assert runs.settled(run, sl.open_run(run.path).kept("last")).decision == MOST_PROBABLE


def test_weights_that_stay_the_same_keep_it(run: sl.Run, chosen: Chosen) -> None:
    lines = Lines()
    after = sl.train(resume=run.path, changes={"stop.patience": 9}, only_train=True, progress=lines)
    kept = after.kept("best")
    assert kept.fingerprint != chosen.judged.model_fingerprint  # which the recipe is part of
    found = runs.settled(after, kept).decision
    assert found.threshold == chosen.judged.decision.threshold
    assert found.model_fingerprint == kept.fingerprint
    assert not any(line.startswith("How a class is chosen") for line in lines.said)


KILLED = """
import os, signal, sys
import keras
import sightline as sl

class Killed(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        os.kill(os.getpid(), signal.SIGKILL)

more = {"train.epochs": 4}
sl.train(resume=sys.argv[1], changes=more, callbacks=[Killed()], progress=sl.Silent())
"""


@pytest.fixture(scope="module")
def killed(chosen: Chosen, tmp_path_factory: pytest.TempPathFactory) -> sl.Run:
    """The run with a threshold, killed in the middle of more epochs; must not be changed."""
    path = Path(shutil.copytree(chosen.run.path, tmp_path_factory.mktemp("killed") / "run"))
    ended = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert ended.returncode == -signal.SIGKILL
    return sl.open_run(path)


def test_a_training_that_is_killed_keeps_how_a_class_is_chosen(
    killed: sl.Run, chosen: Chosen
) -> None:
    assert killed.state == "interrupted"
    kept = killed.kept("best")
    assert kept.fingerprint != chosen.judged.model_fingerprint  # which the recipe is part of
    assert runs.settled(killed, kept).decision.threshold == chosen.judged.decision.threshold
    assert killed.model["threshold"] == chosen.judged.decision.threshold


def test_what_is_lost_with_other_weights_is_told_after_it_was_killed(
    killed: sl.Run, tmp_path: Path
) -> None:
    lines, path = Lines(), Path(shutil.copytree(killed.path, tmp_path / "run"))
    after = sl.train(resume=path, only_train=True, progress=lines)
    assert after.history.best_epoch != killed.history.best_epoch
    assert [line for line in lines.said if line.startswith("How a class is chosen (malignant")]
    assert after.model["threshold"] == 0.5
    assert after.model["decisions"] == {}


# --- costs -----------------------------------------------------------------------------


def test_costs_alone_choose_the_least_expected_cost(doubter: sl.Run, costs: Path) -> None:
    judged = sl.evaluate(doubter, costs=costs, progress=QUIET)
    assert judged.decision.kind == "costs"
    assert judged.classes[1].metrics["recall"] == 1  # to miss one costs twenty


def test_costs_of_toml_are_those_of_csv(doubter: sl.Run, costs: Path, tmp_path: Path) -> None:
    table = tmp_path / "costs.toml"
    table.write_text("malignant = {benign = 20, malignant = 0}\nbenign = {benign=0, malignant=1}\n")
    first, second = (
        sl.evaluate(doubter, threshold="costs", costs=path, progress=QUIET).decision
        for path in (costs, table)
    )
    assert first == second


# --- what is refused, before anything is predicted -------------------------------------


@pytest.mark.parametrize(
    ("rule", "error", "message"),
    [
        ("magic", sl.RecipeError, r"'magic' is not a rule for a threshold"),
        ("f1:cat", sl.RecipeError, r"'f1:cat' is about 'cat', which is not one of the classes"),
        ("1.5", sl.RecipeError, r"a threshold is a probability of 0 to 1, got '1\.5'"),
        ("costs", sl.RecipeError, r'the rule "costs" needs a table .* --costs FILE\.csv'),
    ],
)
def test_a_rule_that_cannot_be_followed_is_refused(
    rule: str, error: type[Exception], message: str, doubter: sl.Run
) -> None:
    with pytest.raises(error, match=message):
        sl.evaluate(doubter, threshold=rule, progress=QUIET)
    assert not (doubter.path / "predictions").exists()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("c.csv", "", r"c\.csv holds no costs: it is empty"),
        ("c.csv", "true,benign\nbenign,0\n", r"the header of .*c\.csv does not name 'malignant'"),
        ("c.csv", COSTS.replace("20", "much"), r"row 'malignant', column 'benign': got 'much'"),
        ("c.toml", "benign = ", r"the costs .*c\.toml cannot be read: "),
        ("c.toml", "benign = 1\nmalignant = 2\n", r"row 'benign': got 1, a table of costs"),
        ("c.csv", f'true,"{"x" * 200_000}"', r"the costs .*c\.csv cannot be read: field larger"),
    ],
)
def test_costs_that_cannot_be_used_are_refused(
    name: str, text: str, message: str, doubter: sl.Run, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(sl.DataError, match=message):
        sl.evaluate(doubter, costs=tmp_path / name, progress=QUIET)
    assert not (doubter.path / "predictions").exists()


def test_a_file_of_costs_that_is_not_there_is_refused(doubter: sl.Run, tmp_path: Path) -> None:
    with pytest.raises(sl.DataError, match=r"the costs .*none\.csv cannot be read: No such file"):
        sl.evaluate(doubter, costs=tmp_path / "none.csv", progress=QUIET)


def test_costs_beside_another_rule_are_refused(doubter: sl.Run, costs: Path) -> None:
    with pytest.raises(sl.DataError, match="and the rule 'f1' were both given"):
        sl.evaluate(doubter, threshold="f1", costs=costs, progress=QUIET)


def test_a_coverage_out_of_range_is_refused(doubter: sl.Run) -> None:
    with pytest.raises(ValueError, match=r"coverage must be over 0 and under 1, got 1"):
        sl.evaluate(doubter, coverage=1, progress=QUIET)


# --- a model from elsewhere, which has no validation split -----------------------------


@pytest.fixture(scope="module")
def imported(chosen: Chosen, tmp_path_factory: pytest.TempPathFactory) -> sl.Run:
    """The same network, imported; must not be changed."""
    return sl.import_model(
        chosen.run.path / "model.keras",
        classes=("benign", "malignant"),
        scaling="none",
        out=tmp_path_factory.mktemp("imported") / "run",
        progress=QUIET,
    )


@pytest.fixture
def elsewhere(imported: sl.Run, tmp_path: Path) -> sl.Run:
    """A copy of it that a test may change."""
    return sl.open_run(shutil.copytree(imported.path, tmp_path / "run"))


def test_a_threshold_in_numbers_needs_no_validation_images(
    elsewhere: sl.Run, chosen: Chosen
) -> None:
    root = chosen.run.manifest.root
    sl.evaluate(elsewhere, data=root, threshold="0.25", progress=QUIET)
    assert sl.predict(elsewhere, root, progress=QUIET).decision.threshold == 0.25


@pytest.mark.parametrize("rule", ["f1", "sensitivity=0.9"])
def test_a_rule_that_needs_validation_images_is_refused_without(
    rule: str, elsewhere: sl.Run, chosen: Chosen
) -> None:
    with pytest.raises(sl.DataError, match=r"has no validation images to choose .* --threshold"):
        sl.evaluate(elsewhere, data=chosen.run.manifest.root, threshold=rule, progress=QUIET)
    assert not (elsewhere.path / "predictions").exists()


def test_nothing_is_said_of_calibration_without_validation_images(
    elsewhere: sl.Run, chosen: Chosen
) -> None:
    judged = sl.evaluate(elsewhere, data=chosen.run.manifest.root, progress=QUIET)
    assert (judged.calibration, judged.sets, judged.points) == (None, None, ())


def test_a_model_without_validation_images_cannot_be_calibrated(
    elsewhere: sl.Run, chosen: Chosen, tmp_path: Path
) -> None:
    root, out = chosen.run.manifest.root, tmp_path / "p.csv"
    with pytest.raises(sl.DataError, match="has no validation images, on which calibrated"):
        sl.predict(elsewhere, root, out=out, calibrated=True, progress=QUIET)
