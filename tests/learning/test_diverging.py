"""A training that came to no number: what is kept of it, and how it goes on."""

from __future__ import annotations

import math
import re
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from tiny import AfterSteps, Spoiler, Witness, train

import sightline as sl
from listening_lines import Lines
from sightline.data.stream import Stream, StreamConfig
from sightline.runs import load_checkpoint

SETTINGS = {"train__optimizer": "sgd", "train__epochs": 3, "checkpoint__steps": 5}  # once an epoch


class Poison(AfterSteps):
    """Leaves a NaN in the weights after so many steps, as a gradient that overflows does."""

    def __init__(self, steps: int, value: float = math.nan, *, trained: bool = True) -> None:
        super().__init__(steps)
        self._value, self._trained = value, trained

    def act(self) -> None:
        of_both = self.model.trainable_weights, self.model.non_trainable_weights
        first = of_both[0 if self._trained else 1][0]
        first.assign(keras.ops.full(first.shape, self._value))


@pytest.fixture(scope="module")
def diverged(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run whose objective became NaN in its second epoch, and what was said."""
    out = tmp_path_factory.mktemp("runs") / "diverged"
    with pytest.raises(sl.RunError, match="the objective became nan in epoch 2") as caught:
        train(pictures, out, callbacks=[Spoiler(epoch=1, rate=1e18)], **SETTINGS)
    return out, str(caught.value)


def test_the_end_says_how_to_go_on_at_a_lower_rate(diverged: tuple[Path, str]) -> None:
    out, said = diverged
    assert said.endswith(f"sightline train --resume {out} --set train.learning_rate=0.0001")


def batches(run: sl.Run, epoch: int) -> list[list[str]]:
    """Return the ids of the records of each batch."""
    config = StreamConfig.of(run.recipe, training=True)
    with Stream(run.manifest, split="train", config=config) as stream:
        return [[stream.record_id(int(row)) for row in batch.rows] for batch in stream.epoch(epoch)]


def test_five_images_are_shown_and_the_log_names_all_and_those_of_the_step_before(
    diverged: tuple[Path, str],
) -> None:
    out, said = diverged
    found = re.search(r"in epoch 2, step (\d+) \((records .*) and (\d+) more\)", said)
    assert found is not None
    step = int(found[1])
    before, latest = batches(sl.open_run(out), 1)[step - 2 : step]
    assert (found[2], int(found[3])) == (f"records {', '.join(latest[:5])}", len(latest) - 5)
    assert "look at these images and those of the step before, whose gradient may be" in said
    log = (out / "run.log").read_text("utf-8")
    assert f"step {step}, where it was noticed: records {', '.join(latest)}\n" in log
    cause = f"step {step - 1}, whose gradient may be the cause: records {', '.join(before)}\n"
    assert cause in log


def test_it_goes_on_from_before_at_a_lower_rate(diverged: tuple[Path, str], tmp_path: Path) -> None:
    out = shutil.copytree(diverged[0], tmp_path / "run")
    first, lines = sl.open_run(out).history.table, Lines()
    lower = {"train.learning_rate": 0.0001}
    run = sl.train(resume=out, changes=lower, only_train=True, progress=lines)
    assert (run.state, run.recipe.train.learning_rate) == ("finished", 0.0001)
    assert run.history["learning_rate"].to_list() == pytest.approx([0.001, 0.0001, 0.0001])
    assert run.history["val_loss"][0] == first["val_loss"][0]
    assert any(
        line.startswith("This training failed before: RunError: the obj") for line in lines.said
    )
    assert "From here on train.learning_rate is 0.0001; it was 0.001." in lines.said


def test_gone_on_at_a_lower_rate_it_may_be_stopped_again(
    diverged: tuple[Path, str], tmp_path: Path
) -> None:
    out = shutil.copytree(diverged[0], tmp_path / "run")
    before = load_checkpoint(out)[0]
    lower = {"train.learning_rate": 0.0001}
    with pytest.raises(sl.RunError, match=r"became (nan|NaN)"):  # nothing saved
        sl.train(resume=out, changes=lower, callbacks=[Poison(1)], progress=sl.Silent())
    after = load_checkpoint(out)[0]
    assert before is not None
    assert after is not None
    assert after.path == before.path
    run = sl.train(resume=out, only_train=True, progress=sl.Silent())
    assert (run.state, run.recipe.train.learning_rate) == ("finished", 0.0001)


def test_without_a_checkpoint_it_begins_again_with_an_empty_history(
    pictures: Path, tmp_path: Path
) -> None:
    settings = {"train__optimizer": "sgd", "train__epochs": 2, "checkpoint__seconds": 3600}
    with pytest.raises(sl.RunError, match="the objective became nan in epoch 2"):
        train(pictures, tmp_path / "run", callbacks=[Spoiler(epoch=1, rate=1e18)], **settings)
    assert len(sl.open_run(tmp_path / "run").history) == 1
    lower = {"train.learning_rate": 0.0001}
    run = sl.train(resume=tmp_path / "run", changes=lower, only_train=True, progress=sl.Silent())
    assert run.history["epoch"].to_list() == [0, 1]


def test_the_rate_of_a_training_that_did_not_fail_cannot_be_changed(
    pictures: Path, tmp_path: Path
) -> None:
    run = train(pictures, tmp_path / "run", train__epochs=1)
    message = r"train\.learning_rate cannot be changed in .* once it has failed; train anew"
    with pytest.raises(sl.RecipeError, match=message):
        sl.train(resume=run.path, changes={"train.learning_rate": 0.1}, progress=sl.Silent())


def test_weights_that_became_nan_are_in_no_checkpoint(pictures: Path, tmp_path: Path) -> None:
    settings = {**SETTINGS, "checkpoint__steps": 1}
    with pytest.raises(sl.RunError, match=r"became NaN after 7 steps.*--set train\.learning_rate="):
        train(pictures, tmp_path / "run", callbacks=[Poison(7)], **settings)
    saved, damaged = load_checkpoint(tmp_path / "run")
    assert saved is not None
    assert (saved.meta["step"], damaged) == (6, [])
    spoiling = ", ".join(batches(sl.open_run(tmp_path / "run"), 1)[1])
    log = (tmp_path / "run" / "run.log").read_text("utf-8")
    assert f"epoch 2, step 2, where it was noticed: records {spoiling}\n" in log
    floats = [each for each in saved.tensors.values() if each.dtype.kind == "f"]
    assert all(np.isfinite(each).all() for each in floats)


@pytest.mark.parametrize("trained", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_weights_that_became_infinite_are_in_no_checkpoint(
    trained: bool, pictures: Path, tmp_path: Path
) -> None:
    settings = {**SETTINGS, "checkpoint__steps": 1, "model__normalisation": "batch"}
    message = r"became infinite after 7 steps.*--set train\.learning_rate="
    poison = Poison(7, math.inf, trained=trained)
    with pytest.raises(sl.RunError, match=message):
        train(pictures, tmp_path / "run", callbacks=[poison], **settings)
    saved, _ = load_checkpoint(tmp_path / "run")
    assert saved is not None
    assert saved.meta["step"] == 6
    lower = {"train.learning_rate": 0.0001}
    run = sl.train(resume=tmp_path / "run", changes=lower, only_train=True, progress=sl.Silent())
    assert run.state == "finished"


class Overflow(AfterSteps):
    """Leaves an infinity in what the optimizer keeps, as a gradient that overflows does."""

    def __init__(self, steps: int, kept: str) -> None:
        super().__init__(steps)
        self._kept = kept

    def act(self) -> None:
        first = getattr(self.model.optimizer, self._kept)[0]
        first.assign(keras.ops.full(first.shape, math.inf))


@pytest.mark.parametrize("kept", ["_accumulated_gradients", "momentums"])
def test_moments_and_waiting_gradients_that_became_infinite_are_in_no_checkpoint(
    kept: str, pictures: Path, tmp_path: Path
) -> None:
    settings = {**SETTINGS, "checkpoint__steps": 1, "train__accumulate": 2}
    message = r"optimizer/\d+ became infinite after 7 steps.*--set train\.learning_rate="
    with pytest.raises(sl.RunError, match=message):
        train(pictures, tmp_path / "run", callbacks=[Overflow(7, kept)], **settings)
    saved, _ = load_checkpoint(tmp_path / "run")
    assert saved is not None
    assert saved.meta["step"] == 6
    lower = {"train.learning_rate": 0.0001}
    run = sl.train(resume=tmp_path / "run", changes=lower, only_train=True, progress=sl.Silent())
    assert run.state == "finished"


class Negative(Witness):
    """Leaves a network in the last step of an epoch that takes the root of a negative variance."""

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        if batch == 4:
            for each in self.model.non_trainable_weights:
                each.assign(keras.ops.full(each.shape, -1.0))


@pytest.mark.parametrize("metrics", [["accuracy"], ["accuracy", "auc"]])
def test_weights_that_became_nan_are_not_validated(
    metrics: list[str], pictures: Path, tmp_path: Path
) -> None:
    with pytest.raises(sl.RunError, match=r"became NaN after 5 steps.*--set train\.learning_rate="):
        train(pictures, tmp_path / "run", callbacks=[Poison(5)], train__metrics=metrics)
    assert not (tmp_path / "run" / "history.jsonl").exists()
    assert not (tmp_path / "run" / "best.safetensors").exists()


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_outputs_that_are_no_numbers_end_training_before_anybody_is_told_of_them(
    average: float, pictures: Path, tmp_path: Path
) -> None:
    negative = Negative()
    settings = {"train__weight_average": average, "model__normalisation": "batch"}
    message = r"validation images became nan in epoch 1 \(records val.*--set train\.learning_rate="
    with pytest.raises(sl.RunError, match=message):
        train(pictures, tmp_path / "run", callbacks=[negative], **settings)
    assert negative.logs == []
    assert not (tmp_path / "run" / "history.jsonl").exists()
    assert not (tmp_path / "run" / "best.safetensors").exists()


def test_the_last_step_may_not_leave_a_nan_behind(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(sl.RunError, match="became NaN after 5 steps"):
        train(pictures, tmp_path / "run", callbacks=[Poison(5)], train__epochs=1)
    assert sl.open_run(tmp_path / "run").state == "failed"
