"""A declared space: every form of it, what is drawn from it, and what is refused of it."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

import sightline as sl
from sightline.recipes import Recipe, change_recipe, flat, load_recipe
from sightline.search import Space, default_space, load_space
from sightline.search.space import Choices, Range, Simple

EVERY_FORM = """
"model.network" = ["basic", "residual"]
"model.blocks" = {low = 1, high = 3}
"model.width" = [16, 32]
"model.dense" = {each = [32, 64], length = [0, 1, 2]}
"model.dropout" = {each = {low = 0.0, high = 0.5, step = 0.1}}
"model.normalisation" = {each = ["none", "batch"]}
"data.image_size" = {share = [0.5, 1.0]}

[train]
learning_rate = {low = 1e-4, high = 1e-2, log = true}
optimizer = ["adam", "sgd"]
momentum = {low = 0.0, high = 0.9}

[balance]
class_weights = ["none", "balanced"]
sampling = ["all", "oversample"]
"""


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return load_recipe("basic", {"data.image_size": [64, 48], "model.dense": [128]})


def _thrown(throw: random.Random) -> Any:
    def draw(name: str, declared: Simple, present: Any) -> Any:
        if isinstance(declared, Choices):
            return throw.choice(declared.values)
        if declared.whole:
            return throw.randrange(int(declared.low), int(declared.high) + 1)
        if declared.step:
            steps = round((declared.high - declared.low) / declared.step)
            return declared.low + declared.step * throw.randint(0, steps)
        return throw.uniform(declared.low, declared.high)

    return draw


def _declared(text: str, recipe: Recipe, tmp_path: Path) -> Space:
    path = tmp_path / "space.toml"
    path.write_text(text)
    return load_space(path, recipe)


def test_whatever_is_drawn_is_a_recipe_with_nothing_that_has_no_effect(
    recipe: Recipe, tmp_path: Path
) -> None:
    space, throw = _declared(EVERY_FORM, recipe, tmp_path), random.Random(2)
    seen: set[str] = set()
    for _ in range(300):
        changes = space.draw(flat(recipe), _thrown(throw))
        drawn = change_recipe(recipe, changes)  # refuses what has no effect
        model = drawn.model
        if model.network == "basic":
            assert len(model.dropout) in (0, model.blocks + len(model.dense))
        else:
            assert len(model.dropout) == 1
            assert "model.dense" not in changes or model.dense == (64,)
        assert ("train.momentum" in changes) <= (drawn.train.optimizer == "sgd")
        assert drawn.data.image_size in ((64, 48), (32, 24))
        seen |= changes.keys()
    assert seen == {
        "model.network", "model.blocks", "model.width", "model.dense", "model.dropout",
        "model.normalisation", "data.image_size", "train.learning_rate", "train.optimizer",
        "train.momentum", "balance.class_weights", "balance.sampling",
    }  # fmt: skip


def test_dense_layers_are_drawn_where_the_drawn_network_has_them() -> None:
    residual = {"model.network": "residual", "model.stages": 2, "model.dropout": [0.1]}
    recipe = load_recipe("basic", {"data.image_size": [64, 64], **residual})
    space, throw = default_space(recipe), random.Random(4)
    seen = set()
    for _ in range(80):
        drawn: set[str] = set()

        def draw(name: str, declared: Any, present: Any, drawn: set[str] = drawn) -> Any:
            drawn.add(name)
            return _thrown(throw)(name, declared, present)

        changes = space.draw(flat(recipe), draw)
        network = changes.get("model.network", "residual")
        assert any(name.startswith("model.dense") for name in drawn) == (network == "basic")
        seen.add(network)
    assert seen >= {"basic", "residual"}


@pytest.mark.parametrize("name", ["basic", "skin-binary", "chest-xray", "ham10000"])
def test_the_usual_space_holds_the_recipe_and_draws_only_what_it_takes(name: str) -> None:
    recipe = load_recipe(name, {"data.image_size": [64, 64], "train.epochs": 12})
    space, throw = default_space(recipe), random.Random(3)
    assert space.own(flat(recipe)) is not None
    for _ in range(100):
        change_recipe(recipe, space.draw(flat(recipe), _thrown(throw)))


def test_the_usual_space_covers_what_people_change() -> None:
    space = default_space(load_recipe("basic", {"data.image_size": [64, 64]}))
    wanted = """
    model.network model.blocks model.width model.kernel model.activation model.dense model.dropout
    model.normalisation model.l1 model.l2 train.optimizer train.learning_rate train.batch_size
    train.epochs schedule.kind stop.patience balance.class_weights balance.sampling
    balance.initial_bias augment.rotation augment.zoom data.image_size
    """
    assert set(wanted.split()) <= space.declared.keys()


def test_a_space_that_is_written_reads_the_same(recipe: Recipe, tmp_path: Path) -> None:
    usual = default_space(recipe)
    assert _declared(usual.to_toml(), recipe, tmp_path) == usual
    every = _declared(EVERY_FORM, recipe, tmp_path)
    assert _declared(every.to_toml(), recipe, tmp_path) == every


def test_a_recipe_outside_the_space_is_not_one_of_its_draws(recipe: Recipe) -> None:
    inside = Space({"train.learning_rate": Range(1e-4, 1e-2, log=True)})
    assert inside.own(flat(recipe)) == {
        "train.learning_rate": (inside.declared["train.learning_rate"], 0.001)
    }
    assert Space({"train.learning_rate": Range(0.01, 0.1)}).own(flat(recipe)) is None
    assert Space({"model.width": Choices((8, 16))}).own(flat(recipe)) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('"train.rate" = [1, 2]', "train.rate' is not a recipe key"),
        ('"train.learning_rate" = {low = -1.0, high = 1.0}', "learning_rate: .* got -1"),
        ('"train.optimizer" = ["adam", "magic"]', "train.optimizer: .*got 'magic'"),
        ('"model.network" = ["basic", "vgg"]', "there is no network 'vgg'"),
        ('"model.width" = 32', "is one value; give a list"),
        ('"model.width" = []', "has no value to draw"),
        ('"model.width" = {low = 64, high = 16}', "low 64 must be below high 16"),
        ('"model.l2" = {low = 0.0, high = 0.1, log = true}', "log needs a low above 0"),
        ('"model.width" = {low = 16, high = 64, pace = 8}', "needs low and high"),
        ('"model.dense" = {each = [32, 64]}', "give length"),
        ('"model.width" = {share = [1]}', "is not understood"),
        ('"data.image_size" = {share = [0.0, 1.0]}', "numbers above 0"),
        ("seed = [1, 2]", "seed is not searched over: another seed"),
        ('"stop.monitor" = ["val_loss", "val_auc"]', "stop.monitor is not searched over"),
        ("[checkpoint]\nsteps = [1, 2]", "checkpoint.steps is not searched over"),
        ('"train.epochs" = ["auto", 10]', '"auto" is planned before a search'),
        ('"model.dense" = {each = [32], length = ["two"]}', "length .* whole numbers"),
        ('"model.dense" = {each = [32], length = {low = 0.0, high = 2.0}}', "whole numbers"),
        ('"train.batch_size" = {low = 16.0, high = 64.0}', "train.batch_size"),
        ("", "declares nothing"),
        ("model = ", "is not valid TOML"),
    ],
)
def test_what_is_wrong_in_a_file_is_said_with_its_name_and_key(
    text: str, said: str, recipe: Recipe, tmp_path: Path
) -> None:
    with pytest.raises(sl.RecipeError, match=said) as caught:
        _declared(text, recipe, tmp_path)
    assert str(caught.value).startswith(f"space {tmp_path / 'space.toml'}")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_said(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(sl.RecipeError, match=r"space .* cannot be read: No such file"):
        load_space(tmp_path / "none.toml", recipe)
