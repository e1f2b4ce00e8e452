from __future__ import annotations

import dataclasses
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.errors import RecipeError
from sightline.recipes import (
    BUILTIN_NAMES,
    Recipe,
    builtin_text,
    change_recipe,
    dump_recipe,
    load_recipe,
    resolve_length,
    resolve_shape,
    schema,
)
from sightline.records import DataFacts

# --- the built-in recipes --------------------------------------------------------------


@pytest.mark.parametrize("name", BUILTIN_NAMES)
def test_every_built_in_recipe_loads_under_its_name(name: str) -> None:
    assert load_recipe(name).name == name


@pytest.mark.parametrize("name", BUILTIN_NAMES)
def test_every_section_of_a_built_in_recipe_is_written_out(name: str) -> None:
    written = tomllib.loads(builtin_text(name))
    assert set(written) == set(Recipe.model_fields) - {"ensemble"}  # which no training has


def test_the_head_of_the_schema_names_every_section() -> None:
    values = load_recipe("basic").model_dump()
    sections = [name for name, value in values.items() if isinstance(value, dict)]
    assert re.findall(r"\[(\w+)\]", schema.__doc__ or "") == sections


@pytest.mark.parametrize("name", ["chest-xray", "ham10000", "skin-binary"])
def test_published_recipes_leave_nothing_to_be_planned(name: str) -> None:
    assert load_recipe(name).unresolved() == []


@pytest.mark.parametrize("name", ["chest-xray", "ham10000", "skin-binary", "basic"])
def test_published_recipes_compute_in_float32(name: str) -> None:
    assert load_recipe(name).precision == "float32"


def test_auto_names_what_is_still_to_be_planned() -> None:
    assert load_recipe("auto").unresolved() == [
        "data.image_size",
        "data.channels",
        "data.scaling",
        "model.width",
        "model.stages",
        "model.blocks",
        "train.epochs",
        "train.batch_size",
        "train.weight_average",
    ]


def test_an_unknown_recipe_is_refused_with_the_known_ones() -> None:
    with pytest.raises(
        RecipeError, match=r"no recipe 'ham'\. Built in are auto, .* ends in \.toml"
    ):
        load_recipe("ham")


# --- changes ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "section", "key", "value"),
    [
        ("train.epochs=3", "train", "epochs", 3),
        ("train.epochs = auto", "train", "epochs", "auto"),
        ("train.optimizer=sgd", "train", "optimizer", "sgd"),
        ('train.optimizer="sgd"', "train", "optimizer", "sgd"),
        ("train.learning_rate=1e-4", "train", "learning_rate", 1e-4),
        ("data.image_size=[64, 48]", "data", "image_size", (64, 48)),
        ("augment.horizontal_flip=true", "augment", "horizontal_flip", True),
        ("data.scaling=1/255", "data", "scaling", "1/255"),
        ("model.dropout=[]", "model", "dropout", ()),
    ],
)
def test_a_change_is_read_as_toml_or_as_plain_text(
    change: str, section: str, key: str, value: object
) -> None:
    assert getattr(getattr(load_recipe("basic", [change]), section), key) == value


def test_a_change_outside_the_sections_is_possible() -> None:
    assert load_recipe("basic", ["seed=7"]).seed == 7


def test_changes_may_be_a_dictionary() -> None:
    assert load_recipe("basic", {"train.epochs": 3}).train.epochs == 3


def test_the_last_of_two_changes_counts() -> None:
    assert load_recipe("basic", ["train.epochs=3", "train.epochs=5"]).train.epochs == 5


def test_a_change_leaves_everything_else_as_it_was() -> None:
    before, after = load_recipe("ham10000"), load_recipe("ham10000", ["train.epochs=3"])
    assert change_recipe(after, {"train.epochs": before.train.epochs}) == before


def test_a_recipe_itself_never_changes() -> None:
    before = load_recipe("basic")
    change_recipe(before, {"train.epochs": 3})
    assert before == load_recipe("basic")


@pytest.mark.parametrize("change", ["train.epochs", "=3", ""])
def test_a_change_without_key_or_value_is_told_the_form(change: str) -> None:
    with pytest.raises(RecipeError, match=rf"--set {change} is not of the form key=value, e\.g\."):
        load_recipe("basic", [change])


# --- what is refused -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("train.epoch=3", r"train\.epoch: is not a recipe key; did you mean train\.epochs\?"),
        ("trian.epochs=3", r"trian: is not a recipe key; did you mean train\?"),
        ("epochs=3", r"epochs: is not a recipe key; did you mean train\.epochs\?"),
        ("zzz=1", r"zzz: is not a recipe key; there are name, seed, .*, and sections audit, aug"),
        ("stop.zzz=1", r"\[stop\] has monitor, patience, min_delta, minutes \(`recipe\.toml` of"),
        ("train.epochs=x", r"train\.epochs: .* valid integer.* or input should be 'auto', got 'x'"),
        ("train.epochs=0", r"train\.epochs: .* greater than or equal to 1, .* got 0"),
        ("train.epochs=2.5", r"train\.epochs: .* fractional part, .* got 2\.5"),
        ("train.epochs=true", r"train\.epochs: must not be true or false, got true"),
        ("train.learning_rate=nan", r"train\.learning_rate: .* finite number, got nan"),
        ("train.learning_rate=inf", r"train\.learning_rate: .* finite number, got inf"),
        ("train.learning_rate=0", r"train\.learning_rate: .* greater than 0, got 0"),
        ("train.optimizer=adagrad", r"train\.optimizer: .* 'adam', .* or 'lion', got 'adagrad'"),
        ("train.best=auc", r"train\.best 'auc' is a figure of the training images .* 'val_auc'"),
        ("stop.monitor=recall", r"stop\.monitor 'recall' .* name it there as well, or follow"),
        ("train.metrics=['acc']", r"train\.metrics: .* 'accuracy', .*, got 'acc'"),
        (
            "model.network=resnet",
            r"model\.network 'resnet' is none of skin-binary, .*residual; give",
        ),
        ("data.image_size=3", r"data\.image_size: .* or input should be 'auto', got 3"),
        ("data.image_size=[5]", r"data\.image_size: has too few values, .* got \[5\]"),
        ("data.channels=4", r"data\.channels: input should be 1 or 3, .* got 4"),
        ("data.background=[0,0,256]", r"data\.background: .* less than or equal to 255, got 256"),
        ("augment.zoom=1", r"augment\.zoom: input should be less than 1, got 1"),
        ("augment.rotation=-1", r"augment\.rotation: .* greater than or equal to 0, got -1"),
        ("audit.mute=shortcut", r"audit\.mute: input should be a valid list, got 'shortcut'"),
        ("seed=4294967296", r"seed: input should be less than 4294967296, got 4294967296"),
        ("name=5", r"name: input should be a valid string, got 5"),
        ("train=3", r"train: is a section; set one of its keys, such as train\.epochs"),
        ("seed.x=3", r"recipe key 'seed\.x': 'seed' is a value, not a section"),
        ("data.test=0.9", r"data\.validation 0\.15 and data\.test 0\.9 leave nothing to train on"),
        ("train.weight_decay=0.1", r"weight_decay has no effect with optimizer 'adam'; use adamw"),
        (
            "train.momentum=0.5",
            r"momentum has no effect with optimizer 'adam'; use sgd, or .* 0\.9",
        ),
        (
            "model.stages=2",
            r"model\.stages has no effect with network 'basic'; use residual, or .* 3",
        ),
        ("model.padding=valid", r"model\.padding has no effect .* use ham10000, or set it to same"),
    ],
)
def test_a_wrong_change_is_refused_in_plain_words(change: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_recipe("basic", [change])


def test_a_width_that_a_published_network_does_not_use_is_refused() -> None:
    message = (
        r"model\.width has no effect with network 'skin-binary'; use basic or residual, or .* 32"
    )
    with pytest.raises(RecipeError, match=message):
        load_recipe("skin-binary", ["model.width=64"])


@pytest.mark.parametrize("width", [1, 8, 15])
def test_a_residual_network_that_crashes_tensorflow_is_refused(width: int) -> None:
    message = rf"model\.width {width} is too narrow for network 'residual': .* crash .* use 16 or"
    with pytest.raises(RecipeError, match=message):
        load_recipe("auto", [f"model.width={width}"])


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("auto", ["model.width=16", "model.stages=2"]),
        ("basic", ["model.width=4", "train.optimizer=sgd", "train.momentum=0.5"]),
        ("ham10000", ["model.padding=same", "model.width=32", "model.stages=auto"]),
    ],
)
def test_values_that_have_an_effect_or_are_the_default_are_taken(
    name: str, changes: list[str]
) -> None:
    assert load_recipe(name, changes)


def test_another_network_in_the_automatic_recipe_can_be_planned() -> None:
    recipe = load_recipe("auto", {"model.network": "basic", "model.dropout": []})
    tiny = dataclasses.replace(FACTS, height=8, width=8)
    left = ["train.epochs", "train.weight_average"]
    assert resolve_shape(recipe, tiny)[0].unresolved() == left


def test_every_fault_of_a_recipe_is_told_at_once() -> None:
    with pytest.raises(
        RecipeError, match=r"train\.epochs: .* got -1; train\.optimizer: .* 'adagrad'"
    ):
        load_recipe("basic", ["train.optimizer=adagrad", "train.epochs=-1"])


def test_messages_never_speak_of_the_validator() -> None:
    with pytest.raises(RecipeError, match="recipe basic: ") as caught:
        load_recipe("basic", ["train.epochs=x", "data=1", "model.nothing=1", "seed=[]"])
    assert not any(word in str(caught.value) for word in ("pydantic", "Section", "https", "type="))


# --- files -----------------------------------------------------------------------------


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


SMALL = '[data]\nimage_size = [8, 8]\n[model]\nnetwork = "basic"\n[train]\nepochs = 1\n'


def test_a_recipe_file_may_leave_out_what_has_a_default(tmp_path: Path) -> None:
    assert load_recipe(write(tmp_path / "mine.toml", SMALL)).train.batch_size == 32


def test_a_recipe_file_without_a_name_is_called_like_the_file(tmp_path: Path) -> None:
    assert load_recipe(write(tmp_path / "mine.toml", SMALL)).name == "mine"


def test_changes_apply_to_a_recipe_file_too(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.toml", SMALL)
    assert load_recipe(path, ["train.epochs=9"]).train.epochs == 9


def test_what_a_recipe_file_lacks_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.toml", "[data]\n[model]\nnetwork='basic'\n")
    with pytest.raises(RecipeError, match=r"data\.image_size: is missing; train: is missing"):
        load_recipe(path)


def test_a_recipe_file_that_is_no_toml_is_refused_by_its_place(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.toml", "seed = 1\nepochs 3")
    with pytest.raises(RecipeError, match=rf"{path} is not valid TOML: .*line 2"):
        load_recipe(path)


def test_a_recipe_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=rf"{tmp_path}/x\.toml cannot be read: No such"):
        load_recipe(tmp_path / "x.toml")


def test_a_recipe_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(RecipeError, match=r"x\.toml is not a text file"):
        load_recipe(tmp_path / "x.toml")


@pytest.mark.parametrize("name", BUILTIN_NAMES)
def test_a_dumped_recipe_loads_as_it_was(tmp_path: Path, name: str) -> None:
    recipe = load_recipe(name)
    assert load_recipe(write(tmp_path / "recipe.toml", dump_recipe(recipe))) == recipe


@settings(deadline=None, max_examples=50)
@given(
    seed=st.integers(0, 2**32 - 1),
    learning_rate=st.floats(1e-12, 1e6),
    dropout=st.lists(st.floats(0, 0.999), max_size=4),
    name=st.text(st.characters(codec="utf-8"), max_size=20),
)
def test_any_values_survive_the_file(
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    learning_rate: float,
    dropout: list[float],
    name: str,
) -> None:
    values = {"seed": seed, "train.learning_rate": learning_rate, "name": name}
    recipe = change_recipe(load_recipe("basic"), values | {"model.dropout": dropout})
    path = tmp_path_factory.mktemp("dumped") / "recipe.toml"
    assert load_recipe(write(path, dump_recipe(recipe))) == recipe


# --- planning --------------------------------------------------------------------------

FACTS = DataFacts(
    count=1000,
    class_counts={"a": 600, "b": 400},
    looked_at=200,
    unreadable=(),
    height=300,
    width=400,
    smallest=(300, 400),
    largest=(300, 400),
    all_grey=False,
    formats={"JPEG": 200},
    bytes=10**7,
    read_seconds=0.001,
)


def planned(**facts: Any) -> tuple[Recipe, str]:
    recipe, reasons = resolve_shape(load_recipe("auto"), dataclasses.replace(FACTS, **facts))
    return recipe, " ".join(reasons)


def test_planning_leaves_only_the_epochs_open() -> None:
    assert planned()[0].unresolved() == ["train.epochs", "train.weight_average"]


@pytest.mark.parametrize(
    ("grey", "network", "scaling"),
    [
        (True, "residual", "per-image"),
        (False, "residual", "1/255"),
        (True, "basic", "1/255"),
    ],
)
def test_grey_images_of_the_automatic_network_are_scaled_one_by_one(
    grey: bool, network: str, scaling: str
) -> None:
    changes = {"model.network": network, "model.dropout": [0.1] if network == "residual" else []}
    facts = dataclasses.replace(FACTS, all_grey=grey)
    recipe, reasons = resolve_shape(load_recipe("auto", changes), facts)
    assert recipe.data.scaling == scaling
    assert ("mean and contrast" in " ".join(reasons)) == (scaling == "per-image")


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (8, 8, (8, 8)),
        (28, 40, (28, 40)),
        (96, 96, (96, 96)),
        (300, 400, (80, 112)),
        (1000, 100, (136, 64)),
        (1, 5000, (48, 96)),
        (41, 30, (40, 32)),
    ],
)
def test_the_image_size_follows_the_median_image(
    height: int, width: int, expected: tuple[int, int]
) -> None:
    assert planned(height=height, width=width)[0].data.image_size == expected


def test_grey_images_go_in_larger_than_coloured_ones() -> None:
    sizes = [planned(all_grey=grey)[0].data.image_size for grey in (False, True)]
    assert sizes == [(80, 112), (112, 144)]


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 20_000), st.integers(1, 20_000))
def test_no_image_becomes_too_large_or_empty(height: int, width: int) -> None:
    size = planned(height=height, width=width)[0].data.image_size
    assert not isinstance(size, str)
    assert 1 <= size[0] * size[1] <= 1.2 * 96 * 96


def test_small_images_are_used_as_they_are_and_it_is_said() -> None:
    assert (
        "28x40 (height x width): the median image is 28x40, used as it is."
        in planned(height=28, width=40)[1]
    )


@pytest.mark.parametrize(
    ("all_grey", "channels", "reason"),
    [
        (True, 1, "One grey channel: all 200 images looked at are grey."),
        (False, 3, "Three colour channels: there are colour images."),
    ],
)
def test_the_channels_follow_the_images_and_it_is_said(
    all_grey: bool, channels: int, reason: str
) -> None:
    recipe, reasons = planned(all_grey=all_grey)
    assert recipe.data.channels == channels
    assert reason in reasons


def test_large_sets_have_larger_batches() -> None:
    sizes = [planned(count=count)[0].train.batch_size for count in (19_999, 20_000)]
    assert sizes == [32, 64]


def test_tiny_images_have_fewer_stages() -> None:
    assert [planned(height=h, width=h)[0].model.stages for h in (1, 2, 8, 300)] == [1, 1, 3, 4]


def test_no_flips_are_explained() -> None:
    assert "No flips: nothing in the data says" in planned()[1]


def test_planning_changes_no_value_that_is_given() -> None:
    recipe = load_recipe("skin-binary")
    assert resolve_shape(recipe, FACTS)[0] == recipe


@pytest.mark.parametrize(
    ("speed", "epochs", "reason"),
    [
        (1000, 46, "more seldom help with this many images"),
        (50, 30, "what fits into 10 minutes"),
        (2, 8, r"only 1.2 fit into 10 minutes"),
        (0, 8, r"only 0.0 fit into 10 minutes"),
    ],
)
def test_auto_epochs_fit_the_minutes_and_it_is_said(speed: float, epochs: int, reason: str) -> None:
    recipe, reasons = resolve_length(load_recipe("auto", ["train.batch_size=32"]), 1000, speed)
    assert recipe.train.epochs == epochs
    assert reason in reasons[0]


@pytest.mark.parametrize(("limit", "epochs"), [(0, 30), (5, 12), (0.5, 1), (0.1, 1), (60, 30)])
def test_auto_epochs_end_within_a_limit(limit: float, epochs: int) -> None:
    changes = ["train.batch_size=32", f"stop.minutes={limit}"]
    recipe, _ = resolve_length(load_recipe("auto", changes), 1000, 50)
    assert recipe.train.epochs == epochs


@pytest.mark.parametrize(
    ("epochs", "images", "decay", "span"),
    [
        (1, 1000, 0.0, ""),
        (20, 1000, 0.9219, "about 13 of 640 steps"),
        (2000, 1000, 0.9375, "about 16 of 64,000"),
        (20, 8000, 0.96, "about 25 of 5,000"),
        (20, 10**6, 0.999, "about 1000 of 625,000"),
    ],
)
def test_the_average_of_the_weights_spans_a_share_of_the_steps(
    epochs: int, images: int, decay: float, span: str
) -> None:
    changes = [f"train.epochs={epochs}", "train.batch_size=32"]
    recipe, reasons = resolve_length(load_recipe("auto", changes), images, 1.0)
    assert recipe.train.weight_average == decay
    assert span in " ".join(reasons)
    assert bool(reasons) == bool(decay)


def test_gradients_of_more_steps_than_there_are_are_refused() -> None:
    recipe = load_recipe("basic", ["train.epochs=2", "train.batch_size=32", "train.accumulate=7"])
    resolve_length(recipe, 97, 1.0)  # 8 steps
    with pytest.raises(RecipeError, match=r"train\.accumulate 7 is more than all 6 steps"):
        resolve_length(recipe, 96, 1.0)


def test_given_epochs_stay_and_nothing_is_said() -> None:
    recipe = load_recipe("basic")
    assert resolve_length(recipe, 1000, 1.0) == (recipe, [])
