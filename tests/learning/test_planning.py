"""The plan: "auto" replaced, what it costs, and every decision in words."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from tiny import NARROW, SMALL, dotted, small_recipe, train, write_splits

import sightline as sl
from sightline.data import facts as data_facts
from sightline.data.images import encode_png
from sightline.data.splits import with_rare_weights
from sightline.errors import DataError, RecipeError
from sightline.learning import planning
from sightline.learning.models import forward, networks
from sightline.learning.planning import Plan
from sightline.learning.training import speed as speeds
from sightline.recipes import load_recipe
from sightline.records import DataFacts, Manifest


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """50 training images, 74 % of them of the second class, and 12 to validate on."""
    folder = tmp_path_factory.mktemp("chests")
    return sl.scan(
        write_splits(folder, {"normal": 13, "pneumonia": 37}, {"normal": 4, "pneumonia": 8})
    )


@pytest.fixture(scope="module")
def facts(manifest: Manifest) -> DataFacts:
    return data_facts.measure(manifest)


def test_the_plan_says_what_it_means_that_no_groups_are_known(plan: Plan) -> None:
    told = sentence(plan, "No groups are known")
    assert "figures will look better than they are (--group-col, --group-regex)" in told


def test_the_plan_of_a_set_with_groups_counts_them(manifest: Manifest, facts: DataFacts) -> None:
    grouped = Manifest.make(
        manifest.root, manifest.table.with_columns(group=pl.col("record_id").str.slice(-6))
    )
    told = " ".join(plan_of(grouped, facts).sentences)
    assert " groups" in told
    assert "No groups are known" not in told


def plan_of(manifest: Manifest, facts: DataFacts, recipe: str = "basic", **changes: Any) -> Plan:
    chosen = load_recipe(recipe, {**SMALL, **NARROW.get(recipe, {}), **dotted(changes)})
    return planning.make_plan(manifest, chosen, facts, "tensorflow")


@pytest.fixture(scope="module")
def plan(manifest: Manifest, facts: DataFacts) -> Plan:
    changes = {"balance__class_weights": "balanced", "balance__initial_bias": True}
    return plan_of(manifest, facts, **changes)


@pytest.fixture(scope="module")
def auto(manifest: Manifest, facts: DataFacts) -> Plan:
    return planning.make_plan(manifest, load_recipe("auto"), facts, "tensorflow")


def sentence(plan: Plan, start: str) -> str:
    found = [line for line in plan.sentences if line.startswith(start)]
    assert len(found) == 1, plan.sentences
    return found[0]


def test_the_plan_counts_images_and_classes(plan: Plan) -> None:
    assert sentence(plan, "Found") == "Found 62 images of 2 classes: normal (17), pneumonia (45)."


def test_the_plan_counts_the_splits(plan: Plan) -> None:
    assert sentence(plan, "Splits") == "Splits: train 50, validation 12, test 0."


def test_the_plan_tells_formats_and_sizes(plan: Plan) -> None:
    assert sentence(plan, "PNG") == "PNG files, 12x16 to 12x16 pixels in a sample of 62."


def test_the_plan_tells_network_and_parameters(plan: Plan) -> None:
    parameters = 3 * 9 * 4 + 4 + 4 * 9 * 8 + 8 + 3 * 4 * 8 * 64 + 64 + 64 + 1
    assert sentence(plan, "Network").startswith(f"Network basic: {parameters:,} parameters, ")


def test_the_plan_tells_class_weights(plan: Plan) -> None:
    assert sentence(plan, "Class weights") == (
        "Class weights total/(2*count): normal 1.923, pneumonia 0.676; every class weighs the same."
    )


def test_the_plan_tells_the_share_that_two_classes_start_at(plan: Plan) -> None:
    assert sentence(plan, "Initial bias") == (
        "Initial bias log(positives/negatives) = 1.046: it starts at 74% pneumonia."
    )


def test_the_untrained_network_starts_at_the_share_that_the_plan_tells(plan: Plan) -> None:
    black = np.zeros((1, 12, 16, 3), np.float32)
    output = forward.forward(plan.build(), black, batch_size=1)
    assert output[0] == pytest.approx([0.26, 0.74])


def test_the_plan_tells_the_share_that_several_classes_start_at(tmp_path: Path) -> None:
    counts = {"a": 5, "b": 3, "c": 2}
    manifest = sl.scan(write_splits(tmp_path, counts, dict.fromkeys(counts, 1)))
    plan = plan_of(manifest, data_facts.measure(manifest), balance__initial_bias=True)
    assert sentence(plan, "Initial bias").endswith("at the classes' own shares, 50% for 'a'.")


@pytest.mark.parametrize("sampling", ["oversample", "undersample"])
def test_classes_that_are_sampled_evenly_are_started_at_evenly(
    manifest: Manifest, facts: DataFacts, sampling: str
) -> None:
    plan = plan_of(manifest, facts, balance__initial_bias=True, balance__sampling=sampling)
    assert sentence(plan, "Initial bias") == (
        "Initial bias log(positives/negatives) = 0.000: it starts at 50% pneumonia, as every class "
        "comes equally often in an epoch."
    )
    black = np.zeros((1, 12, 16, 3), np.float32)
    assert forward.forward(plan.build(), black, batch_size=1)[0] == pytest.approx([0.5, 0.5])


def test_several_classes_that_are_sampled_evenly_are_started_at_evenly(tmp_path: Path) -> None:
    counts = {"a": 5, "b": 3, "c": 2}
    manifest = sl.scan(write_splits(tmp_path, counts, dict.fromkeys(counts, 1)))
    changes = {"balance__initial_bias": True, "balance__sampling": "oversample"}
    plan = plan_of(manifest, data_facts.measure(manifest), **changes)
    assert sentence(plan, "Initial bias") == (
        "Initial bias log(share of each class): it starts at 33% each, as every class comes "
        "equally often in an epoch."
    )


@pytest.mark.parametrize(
    ("change", "start", "expected"),
    [
        (
            {"balance__sampling": "oversample"},
            "Oversampling",
            "Oversampling shows each class as often as the largest (37): an epoch of 74 images, "
            "those of 'normal' come up to 3 times.",
        ),
        (
            {"balance__sampling": "undersample"},
            "Undersampling",
            "Undersampling shows each class as often as the smallest (13): an epoch of 26 of the "
            "50 images, other images of the larger classes in each epoch.",
        ),
        (
            {"balance__focal_gamma": 2},
            "Focal loss",
            "Focal loss: an image weighs (1 - probability of its true class)^2, so one given 0.9 "
            "counts 0.01 and one given 0.1 counts 0.81: training goes where it is still wrong.",
        ),
        (
            {"train__label_smoothing": 0.1},
            "Label smoothing",
            "Label smoothing 0.1: the target of the true class is 0.95, of every other 0.05. It "
            "is in the objective alone; loss and val_loss stay plain.",
        ),
    ],
)
def test_the_plan_says_what_is_done_about_classes_and_targets(
    manifest: Manifest, facts: DataFacts, change: dict[str, Any], start: str, expected: str
) -> None:
    assert sentence(plan_of(manifest, facts, **change), start) == expected


def test_without_balance_nothing_is_said_of_it(manifest: Manifest, facts: DataFacts) -> None:
    said = "\n".join(plan_of(manifest, facts).sentences)
    for word in ("Class weights", "Initial bias", "sampling", "Focal", "smoothing"):
        assert word not in said


def test_the_plan_estimates_time_and_disk(plan: Plan) -> None:
    assert re.fullmatch(
        r"At most 2 epochs, about \d+ s \(speed from its arithmetic; (reading|computing) "
        r"decides\), up to 2 MB of disk, and 1 MB more while a checkpoint is written\.",
        sentence(plan, "At most"),
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"train__optimizer": "adam", "train__weight_average": 0.0},
        {"train__optimizer": "lion", "train__weight_average": 0.9, "train__accumulate": 2},
    ],
)
def test_a_run_takes_about_the_disk_that_its_plan_names(
    pictures: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    # With all there can be: two checkpoints, and best weights in each epoch.
    epochs = {"train__epochs": 3, "train__best": "loss", "checkpoint__steps": 3}
    run = train(pictures, tmp_path / "run", model__width=128, **epochs, **changes)
    found = re.search(r"up to ([\d,]+) MB of disk", " ".join(run.plan))
    assert found is not None
    taken = sum(path.stat().st_size for path in run.path.rglob("*") if path.is_file())
    assert float(found[1].replace(",", "")) == pytest.approx(taken / 1e6, rel=0.25)


def test_slow_reading_decides_the_time(manifest: Manifest, facts: DataFacts) -> None:
    slow = dataclasses.replace(facts, read_seconds=60.0)
    assert "reading decides" in sentence(plan_of(manifest, slow), "At most")


def test_what_the_scan_passed_over_is_told(manifest: Manifest, facts: DataFacts) -> None:
    ignored = dataclasses.replace(manifest, ignored={"hidden or system file": 3})
    assert "Passed over: 3 hidden or system file." in plan_of(ignored, facts).sentences


def test_an_unreadable_image_of_the_sample_is_named(manifest: Manifest, facts: DataFacts) -> None:
    broken = dataclasses.replace(facts, unreadable=(("cat/7.png", "the file is empty."),))
    assert (
        "1 of the sample cannot be read, first cat/7.png: the file is empty."
        in plan_of(manifest, broken).sentences
    )


def test_counts_are_the_training_images_in_class_order(plan: Plan) -> None:
    assert plan.counts.tolist() == [13, 37]


def test_an_unlabelled_record_shifts_no_class(manifest: Manifest, facts: DataFacts) -> None:
    first = pl.col("record_id") == manifest.table["record_id"][0]
    table = manifest.table.with_columns(
        label=pl.when(first).then(None).otherwise("label"),
        split=pl.when(first).then(None).otherwise("split"),
    )
    assert plan_of(dataclasses.replace(manifest, table=table), facts).counts.shape == (2,)


def test_a_class_without_training_images_is_refused(manifest: Manifest, facts: DataFacts) -> None:
    splits = manifest.table.select(
        pl.when(pl.col("label") == "normal").then(pl.lit("validation")).otherwise("split")
    ).to_series()
    with pytest.raises(DataError, match=r"classes \['normal'\] of .* have no training image"):
        plan_of(manifest.with_splits(splits), facts)


def test_weights_for_rare_classes_and_class_weights_are_not_both_used(
    manifest: Manifest, facts: DataFacts
) -> None:
    weighed = with_rare_weights(manifest)
    with pytest.raises(RecipeError, match=r"count twice.*class_weights=none"):
        plan_of(weighed, facts, balance__class_weights="balanced")
    assert plan_of(weighed, facts).weights() is None


def test_a_recipe_that_does_not_fit_the_images_is_refused(
    manifest: Manifest, facts: DataFacts
) -> None:
    with pytest.raises(RecipeError, match=r"data.image_size 12x16 is too small for network"):
        plan_of(manifest, facts, "chest-xray")


def test_class_weights_are_planned_only_when_asked(
    plan: Plan, manifest: Manifest, facts: DataFacts
) -> None:
    assert plan.weights() == pytest.approx([50 / 26, 50 / 74])
    assert plan_of(manifest, facts).weights() is None


def test_only_training_is_shuffled_and_augmented(auto: Plan) -> None:
    train, validation = (auto.stream_config(split) for split in ("train", "validation"))
    assert (train.shuffle, train.augment) == (True, auto.recipe.augment)
    assert (validation.shuffle, validation.augment) == (False, None)


def test_the_network_of_the_plan_is_built_twice_alike(plan: Plan) -> None:
    first, second = (forward.get_weights(plan.build()) for _ in range(2))
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_auto_leaves_nothing_open(auto: Plan) -> None:
    assert (auto.recipe.unresolved(), auto.recipe.precision) == ([], "float32")


def test_small_images_are_used_as_they_are(auto: Plan) -> None:
    assert auto.recipe.data.image_size == (12, 16)
    assert (
        "Images go in at 12x16 (height x width): the median image is 12x16, used as it is."
        in auto.sentences
    )


def test_colour_images_have_three_channels(auto: Plan) -> None:
    assert auto.recipe.data.channels == 3
    assert "Three colour channels: there are colour images." in auto.sentences


def test_grey_images_have_one_channel(tmp_path: Path) -> None:
    for number in range(6):
        path = tmp_path / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(encode_png(np.full((12, 16, 3), 30 * number, np.uint8)))
    manifest = sl.split(sl.scan(tmp_path), validation=0.34, test=0)
    found = data_facts.measure(manifest)
    plan = planning.make_plan(manifest, load_recipe("auto"), found, "tensorflow")
    assert plan.recipe.data.channels == 1
    assert "One grey channel: all 6 images looked at are grey." in plan.sentences


def test_a_short_training_gets_the_most_epochs(auto: Plan) -> None:
    assert auto.recipe.train.epochs == 60
    assert sentence(auto, "60 epochs") == (
        "60 epochs: more seldom help with this many images, and the time budget allows them."
    )


def test_a_tiny_budget_gets_the_fewest_epochs(manifest: Manifest, facts: DataFacts) -> None:
    plan = plan_of(manifest, facts, "auto", train__epochs="auto", train__minutes=1e-9)
    assert plan.recipe.train.epochs == 8
    assert sentence(plan, "8 epochs").startswith("8 epochs: fewer than 8 are not worth starting")


def test_large_images_are_brought_to_a_common_area(manifest: Manifest, facts: DataFacts) -> None:
    large = dataclasses.replace(facts, height=600, width=800)
    chosen = load_recipe("auto", {"model.width": 16})
    plan = planning.make_plan(manifest, chosen, large, "tensorflow")
    assert plan.recipe.data.image_size == (80, 112)


def test_augmentation_is_told_with_why_there_are_no_flips(auto: Plan) -> None:
    said = sentence(auto, "Training images are varied")
    assert said.endswith("rotation up to 8 degrees, shifts up to 8%, zoom up to 8%.")
    assert sentence(auto, "No flips")


def test_flips_alone_are_told(manifest: Manifest, facts: DataFacts) -> None:
    plan = plan_of(manifest, facts, augment__horizontal_flip=True)
    assert sentence(plan, "Training images are varied") == (
        "Training images are varied anew each epoch: mirrored left and right half of the time."
    )


def precision(**changes: Any) -> tuple[str, speeds.Speed, str]:
    """Choose for a small network in a long training on a processor that has bfloat16."""
    recipe = small_recipe(precision="auto")
    given: dict[str, Any] = {"processor_has_it": True, "expected_seconds": 1e6} | changes
    return speeds.choose_precision(
        given.pop("recipe", recipe),
        build=lambda policy: networks.build(recipe, 2, policy=policy),
        num_classes=2,
        speed=speeds.Speed(100.0, measured=False),
        **given,
    )


def test_a_processor_without_bfloat16_trains_in_float32() -> None:
    policy, _, why = precision(processor_has_it=False)
    assert (policy, why) == (
        "float32",
        "Precision float32: this processor has no native bfloat16.",
    )


def test_a_short_training_is_not_worth_a_probe() -> None:
    policy, speed, why = precision(expected_seconds=10)
    assert (policy, speed.measured) == ("float32", False)
    assert why == "Precision float32: too short a training for bfloat16 to pay."


def test_the_precision_of_the_recipe_is_taken() -> None:
    policy, _, why = precision(recipe=small_recipe(precision="mixed_bfloat16"))
    assert (policy, why) == ("mixed_bfloat16", "Precision mixed_bfloat16, as the recipe says.")


def test_a_probe_measures_and_says_the_ratio() -> None:
    policy, speed, why = precision()
    said = re.fullmatch(
        r"Precision (\w+): in a probe of this network, mixed_bfloat16 ran at (\d+\.\d) times the "
        r"speed of float32\.",
        why,
    )
    assert said is not None
    assert (said[1], speed.measured) == (policy, True)


@pytest.mark.parametrize(
    ("bfloat16", "policy"),
    [(2.0, "mixed_bfloat16"), (1.11, "mixed_bfloat16"), (1.09, "float32"), (0.5, "float32")],
)
def test_bfloat16_is_taken_where_it_is_a_tenth_faster(bfloat16: float, policy: str) -> None:
    assert speeds.faster_policy(300.0, 300.0 * bfloat16) == policy


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.01, "1 s"), (40, "40 s"), (720, "12 min"), (9000, "2.5 h"), (5399, "90 min")],
)
def test_durations_are_told_as_people_say_them(seconds: float, words: str) -> None:
    assert planning.duration(seconds) == words
