"""Images that grow while a network learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from test_resuming import StopAt, differing
from tiny import small_recipe, train, train_alike

import sightline as sl
from sightline.errors import RecipeError
from sightline.learning.training.standing import Standing
from sightline.learning.training.telling import end_in_words
from sightline.recipes import load_recipe

GROWING: dict[str, Any] = {
    "recipe": "auto",
    "train__epochs": 3,
    "data__image_size": [24, 32],
    "data__grow": [0.5, 1.0],
    "checkpoint__steps": 1,
}
STEPS = 5


class Sizes(keras.callbacks.Callback):
    """Notes how large the images of each step are."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, ...]] = []

    def on_train_begin(self, logs: object = None) -> None:
        step = self.model.train_on_batch

        def noting(images: np.ndarray, *rest: Any, **more: Any) -> Any:
            self.seen.append(images.shape[1:3])
            return step(images, *rest, **more)

        self.model.train_on_batch = noting


class Compiled(Sizes):
    """Notes the sizes of the steps that a resume compiles, too."""

    def __init__(self, seen: list[tuple[int, ...]]) -> None:
        super().__init__()
        self.seen = seen


@pytest.fixture(scope="module")
def grown(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[sl.Run, Sizes]:
    sizes = Sizes()
    path = tmp_path_factory.mktemp("grown") / "run"
    return train_alike(pictures, path, callbacks=[sizes], **GROWING), sizes


def test_the_images_grow_over_equal_parts_of_the_epochs(grown: tuple[sl.Run, Sizes]) -> None:
    assert grown[1].seen == [(12, 16)] * 2 * STEPS + [(24, 32)] * STEPS


def test_the_plan_tells_the_sizes(grown: tuple[sl.Run, Sizes]) -> None:
    assert "Training images grow, in equal parts of the epochs: 12x16, 24x32." in grown[0].plan


def test_where_there_are_fewer_epochs_than_sizes_the_last_one_is_whole(
    pictures: Path, tmp_path: Path
) -> None:
    sizes, three = Sizes(), {"train__epochs": 1, "data__grow": [0.25, 0.5, 1.0]}
    run = train(pictures, tmp_path / "run", callbacks=[sizes], **(GROWING | three))
    assert set(sizes.seen) == {(24, 32)}
    assert any("(the last 1 of these: there are no more epochs)" in line for line in run.plan)


@pytest.mark.slow
def test_stopped_with_fewer_epochs_than_sizes_it_ends_as_if_it_had_not(
    pictures: Path, tmp_path: Path
) -> None:
    # Nothing may be compiled that is left out: other code would compute what comes after it.
    few = GROWING | {"train__epochs": 2, "data__grow": [0.25, 0.5, 1.0]}
    whole = train(pictures, tmp_path / "whole", **few)
    stopped = train(pictures, tmp_path / "run", callbacks=[StopAt(STEPS + 2)], **few)
    compiled: list[tuple[int, ...]] = []
    resumed = sl.train(
        resume=stopped.path,
        only_train=True,
        callbacks=[Compiled(compiled)],
        progress=sl.Silent(),
    )
    assert differing(resumed, whole) == []
    assert set(compiled) == {(12, 16), (24, 32)}


def test_what_is_kept_takes_whole_images(grown: tuple[sl.Run, Sizes]) -> None:
    model = keras.saving.load_model(grown[0].path / "model.keras", compile=False)
    assert model.input_shape == (None, 24, 32, 3)


@pytest.mark.parametrize("step", [2 * STEPS, 2 * STEPS - 1, 2 * STEPS + 2])
@pytest.mark.slow
def test_stopped_where_they_grow_it_ends_as_if_it_had_not(
    step: int, pictures: Path, grown: tuple[sl.Run, Sizes], tmp_path: Path
) -> None:
    stopped = train_alike(pictures, tmp_path / "run", callbacks=[StopAt(step)], **GROWING)
    resumed = sl.train(resume=stopped.path, only_train=True, progress=sl.Silent())
    assert differing(resumed, grown[0]) == []


@pytest.mark.slow
def test_with_more_epochs_they_grow_as_they_began_to(pictures: Path, tmp_path: Path) -> None:
    stopped = train(
        pictures, tmp_path / "run", callbacks=[StopAt(STEPS + 2)], **GROWING | {"train__epochs": 2}
    )
    sizes = Sizes()
    run = sl.train(
        resume=stopped.path,
        changes={"train.epochs": 4},
        only_train=True,
        callbacks=[sizes],
        progress=sl.Silent(),
    )
    assert len(run.history) == 4
    assert sizes.seen[-3 * STEPS + 2 :] == [(24, 32)] * (3 * STEPS - 2)


def test_they_may_not_end_before_they_are_whole(pictures: Path, tmp_path: Path) -> None:
    stopped = train(pictures, tmp_path / "run", callbacks=[StopAt(2)], **GROWING)
    message = r"train\.epochs 2 would end .* laid out over 3 epochs .* Set it to 3 or more"
    with pytest.raises(RecipeError, match=message):
        sl.train(resume=stopped.path, changes={"train.epochs": 2}, progress=sl.Silent())


def test_patience_begins_where_they_are_whole(pictures: Path, tmp_path: Path) -> None:
    # By so much no epoch is better than another: it stops as soon as it may.
    never = {"stop__patience": 1, "stop__min_delta": 99.0, "train__epochs": 6}
    quick = {"train__batch_size": 33, "checkpoint__steps": 99}
    run = train(pictures, tmp_path / "run", **GROWING | never | quick)
    assert run.info["reason"] == "Stopped early after 5 epochs: no better val_loss for 1."


def test_a_plateau_begins_where_they_are_whole(pictures: Path, tmp_path: Path) -> None:
    # Such steps change nothing: no epoch is better than the one before.
    still = {"train__learning_rate": 1e-30, "model__normalisation": "none", "train__epochs": 6}
    plateau = {"schedule__kind": "plateau", "schedule__patience": 1, "schedule__factor": 0.5}
    quick = {"train__batch_size": 33, "checkpoint__steps": 99}
    run = train(pictures, tmp_path / "run", **GROWING | still | plateau | quick)
    rates = run.history["learning_rate"]
    assert (rates / rates[0]).to_list() == [1, 1, 1, 1, 1, 0.5]


@pytest.mark.parametrize(
    ("done", "said"),
    [
        (2, " Its images had not grown to their whole size yet: those of the last epoch were at "),
        (3, ""),
    ],
)
@pytest.mark.parametrize("why", ["time", "callback"])
def test_an_end_before_they_are_whole_is_told(done: int, said: str, why: str) -> None:
    minutes = {"stop__minutes": 1.0} if why == "time" else {}
    sizes = {"data__image_size": [24, 32], "data__grow": [0.5, 1.0], "schedule__kind": "constant"}
    recipe = small_recipe("auto", train__epochs=4, **sizes, **minutes)
    standing = Standing.of(recipe, STEPS, 2)
    for _ in range(done):
        standing.epoch_done(40.0)
    words = "within 1 minutes." if why == "time" else "as a callback asked."
    assert end_in_words(done, recipe, standing).endswith(words + said + "0.5 of it." * bool(said))


def test_the_last_size_must_be_the_whole_one() -> None:
    with pytest.raises(RecipeError, match=r"must end in 1, the whole size .*, not in 0\.75$"):
        load_recipe("auto", {"data.grow": [0.5, 0.75]})


def test_a_network_of_one_size_cannot_grow() -> None:
    with pytest.raises(RecipeError, match=r"takes images of any size: 'residual', not 'basic'"):
        load_recipe("basic", {"data.grow": [0.5, 1.0]})
