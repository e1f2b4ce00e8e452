"""The learning rate step by step, and when a value is better."""

from __future__ import annotations

import json
import math
from typing import Any, get_args

import pytest
from tiny import small_recipe

from sightline.learning.training.schedules import LearningRate, Watch
from sightline.learning.training.standing import Standing
from sightline.recipes import load_recipe
from sightline.recipes.sections import Column

STEPS = 10  # of an epoch


def schedule(kind: str, **changes: Any) -> LearningRate:
    return LearningRate.of(
        small_recipe(schedule__kind=kind, train__learning_rate=0.01, train__epochs=5, **changes),
        STEPS,
    )


def test_a_constant_rate_stays() -> None:
    rate = schedule("constant")
    assert {rate.at(step) for step in range(50)} == {0.01}


@pytest.mark.parametrize("epoch", [0, 1, 7, 20, 40])
def test_the_rate_of_chest_xray_falls_to_a_tenth_in_twenty_epochs(epoch: int) -> None:
    rate = LearningRate.of(load_recipe("chest-xray"), STEPS)
    assert rate.at(epoch * STEPS) == pytest.approx(0.01 * 0.1 ** (epoch / 20))


def test_an_exponential_rate_stays_within_an_epoch() -> None:
    rate = schedule("exponential")
    assert {rate.at(step) for step in range(20, 30)} == {rate.at(20)}


def test_a_cosine_warms_up_in_equal_parts() -> None:
    rate = schedule("cosine", schedule__warmup=0.1)
    assert [rate.at(step) for step in range(5)] == pytest.approx([0.002, 0.004, 0.006, 0.008, 0.01])


def test_a_cosine_is_half_way_down_in_the_middle() -> None:
    assert schedule("cosine", schedule__warmup=0.1).at(27) == pytest.approx(0.005)


def test_a_cosine_reaches_zero_at_the_last_step() -> None:
    assert schedule("cosine").at(49) == pytest.approx(0.0, abs=1e-12)


def test_a_cosine_never_rises_after_its_warm_up() -> None:
    rate = schedule("cosine")
    rates = [rate.at(step) for step in range(5, 50)]
    assert rates == sorted(rates, reverse=True)


def test_a_cosine_without_warm_up_starts_at_the_peak() -> None:
    assert schedule("cosine", schedule__warmup=0.0).at(0) == pytest.approx(0.01)


def test_a_cosine_over_a_single_step_is_the_peak() -> None:
    recipe = small_recipe(schedule__kind="cosine", train__epochs=1, train__learning_rate=0.01)
    assert LearningRate.of(recipe, 1).at(0) == pytest.approx(0.01)


def test_a_step_schedule_lowers_the_rate_after_every_so_many_epochs() -> None:
    rate = schedule("step", schedule__epochs=2, schedule__factor=0.1)
    at_epochs = [rate.at(epoch * STEPS) for epoch in range(5)]
    assert at_epochs == pytest.approx([0.01, 0.01, 0.001, 0.001, 0.0001])


def test_a_step_schedule_stays_until_the_last_step_of_its_epochs() -> None:
    rate = schedule("step", schedule__epochs=2, schedule__factor=0.1)
    assert [rate.at(19), rate.at(20)] == pytest.approx([0.01, 0.001])


def one_cycle(**changes: Any) -> LearningRate:
    return schedule("one-cycle", **changes)


def test_one_cycle_begins_at_a_twenty_fifth_of_the_peak() -> None:
    assert one_cycle().at(0) == pytest.approx(0.01 / 25)


def test_one_cycle_is_at_its_peak_when_its_share_of_the_steps_is_over() -> None:
    rate = one_cycle(schedule__warmup=0.3)
    rates = [rate.at(step) for step in range(50)]
    assert (rates.index(max(rates)), max(rates)) == (14, pytest.approx(0.01))


def test_one_cycle_ends_at_a_250000th_of_the_peak() -> None:
    assert one_cycle().at(49) == pytest.approx(0.01 / 250_000)


@pytest.mark.parametrize(("warmup", "step"), [(0.3, 5), (0.3, 30), (0.5, 20), (0.1, 48)])
def test_one_cycle_is_what_pytorch_does_by_default(warmup: float, step: int) -> None:
    # OneCycleLR(optimizer, 0.01, total_steps=50, pct_start=warmup): its phases end at these steps.
    up, last = warmup * 50 - 1, 49
    begin, end, done = (0.01 / 25, 0.01, step / up)
    if step > up:
        begin, end, done = (0.01, 0.01 / 25 / 1e4, (step - up) / (last - up))
    expected = end + (begin - end) / 2 * (1 + math.cos(math.pi * done))
    assert one_cycle(schedule__warmup=warmup).at(step) == pytest.approx(expected)


def test_one_cycle_without_warm_up_starts_at_the_peak() -> None:
    assert one_cycle(schedule__warmup=0.0).at(0) == pytest.approx(0.01)


def test_one_cycle_over_a_single_step_is_the_peak() -> None:
    recipe = small_recipe(schedule__kind="one-cycle", train__epochs=1, train__learning_rate=0.01)
    assert LearningRate.of(recipe, 1).at(0) == pytest.approx(0.01)


@pytest.mark.parametrize("kind", ["exponential", "step", "cosine", "one-cycle"])
def test_a_schedule_is_the_same_whatever_was_asked_before(kind: str) -> None:
    fresh, used = schedule(kind), schedule(kind)
    for step in (49, 3, 17):
        used.at(step)
    used.epoch_done(1.0)
    assert [used.at(step) for step in range(50)] == [fresh.at(step) for step in range(50)]


@pytest.mark.parametrize("kind", ["exponential", "step", "plateau", "cosine", "one-cycle"])
def test_a_restored_schedule_goes_on_as_if_it_had_not_stopped(kind: str) -> None:
    before, after = (schedule(kind, schedule__patience=1) for _ in range(2))
    for _ in range(3):
        before.epoch_done(1.0)
    after.restore(json.loads(json.dumps(before.to_dict())))
    before.epoch_done(1.0)
    after.epoch_done(1.0)
    assert [after.at(step) for step in range(50)] == [before.at(step) for step in range(50)]


def plateau() -> LearningRate:
    return schedule("plateau", schedule__patience=3, schedule__factor=0.5)


def test_a_plateau_halves_the_rate_after_its_patience() -> None:
    rate = plateau()
    seen = []
    for loss in (1.0, 0.5, 0.6, 0.6, 0.6):
        rate.epoch_done(loss)
        seen.append(rate.at(0))
    assert seen == pytest.approx([0.01, 0.01, 0.01, 0.01, 0.005])


def test_a_plateau_waits_anew_after_halving() -> None:
    rate = plateau()
    for _ in range(1 + 3 + 2):
        rate.epoch_done(1.0)
    assert rate.at(0) == pytest.approx(0.005)
    rate.epoch_done(1.0)
    assert rate.at(0) == pytest.approx(0.0025)


def test_a_better_loss_ends_the_wait_of_a_plateau() -> None:
    rate = plateau()
    for loss in (1.0, 1.0, 1.0, 0.9, 1.0, 1.0):
        rate.epoch_done(loss)
    assert rate.at(0) == pytest.approx(0.01)


def test_a_plateau_says_when_it_lowers_the_rate() -> None:
    rate = plateau()
    said = [rate.epoch_done(1.0) for _ in range(4)]
    assert said == ["", "", "", "no better val_loss for 3 epochs: learning rate lowered to 0.005"]


def test_a_plateau_says_the_rate_that_the_next_epoch_has() -> None:
    rate = schedule("plateau", schedule__patience=1, schedule__factor=0.5)
    rate.epoch_done(1.0)
    said = rate.epoch_done(1.0, share=0.1)
    lowered = 0.1 * rate.at(0)
    assert said == f"no better val_loss for 1 epoch: learning rate lowered to {lowered:g}"


@pytest.mark.parametrize(
    ("kind", "says"),
    [("cosine", True), ("one-cycle", True), ("constant", False), ("exponential", False)],
)
def test_a_curve_over_all_epochs_says_when_there_are_others(kind: str, says: bool) -> None:
    rate = schedule(kind)
    assert rate.laid_out_anew(rate.to_dict()) == ""
    said = rate.laid_out_anew(rate.to_dict() | {"epochs": 3})
    assert (f"The {kind} schedule is laid out over 5 epochs from here on" in said) == says


def test_a_watch_of_another_column_begins_anew() -> None:
    before, now = Watch("val_loss"), Watch("val_accuracy")
    before.better(0.2)
    now.restore(before.to_dict())
    assert now.better(0.1)


def test_other_schedules_pay_no_heed_to_the_loss() -> None:
    rate = schedule("constant", schedule__patience=1)
    assert [rate.epoch_done(1.0) for _ in range(3)] == ["", "", ""]


@pytest.mark.parametrize("column", ["val_loss", "loss"])
def test_a_lower_loss_is_better(column: str) -> None:
    watch = Watch(column)
    assert [watch.better(value) for value in (1.0, 0.9, 0.9, 0.95, 0.8)] == [
        True, True, False, False, True,
    ]  # fmt: skip


def test_a_higher_accuracy_is_better() -> None:
    watch = Watch("val_accuracy")
    assert [watch.better(value) for value in (0.5, 0.4, 0.6)] == [True, False, True]


@pytest.mark.parametrize("column", [name for name in get_args(Column) if "loss" not in name])
def test_of_every_other_column_a_higher_value_is_better(column: str) -> None:
    watch = Watch(column)
    assert [watch.better(value) for value in (0.5, 0.4, 0.6, math.nan)] == [
        True, False, True, False,
    ]  # fmt: skip


def test_a_change_below_min_delta_is_not_better() -> None:
    watch = Watch("val_loss", min_delta=0.01)
    assert [watch.better(value) for value in (1.0, 0.995, 0.98)] == [True, False, True]


def test_small_steps_add_up_against_the_last_best_value() -> None:
    watch = Watch("val_loss", min_delta=0.01)
    assert [watch.better(value) for value in (1.0, 0.994, 0.988)] == [True, False, True]


def test_epochs_without_a_better_value_are_counted() -> None:
    watch = Watch("val_loss")
    waits = []
    for value in (1.0, 1.0, 2.0, 0.5, 0.6):
        watch.better(value)
        waits.append(watch.wait)
    assert waits == [0, 1, 2, 0, 1]


def test_nan_is_never_better() -> None:
    watch = Watch("val_loss")
    assert [watch.better(value) for value in (math.nan, math.inf, 1.0, math.nan, 0.5)] == [
        False, False, True, False, True,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("planned", "parts"), [(4, [0, 0, 1, 1, 1, 1]), (1, [1] * 6), (6, [0, 0, 0, 1, 1, 1])]
)
def test_parts_are_those_of_the_epochs_that_a_training_began_with(
    planned: int, parts: list[int]
) -> None:
    growing = {"data__image_size": [24, 32], "data__grow": [0.5, 1.0]}
    standing = Standing.of(small_recipe("auto", train__epochs=planned, **growing), STEPS, 2)
    found = []
    for epoch in range(6):
        standing.epoch = epoch
        found.append(standing.part())
    assert found == parts
