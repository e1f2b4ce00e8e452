"""The learning rate step by step, and when a value is better."""

from __future__ import annotations

import math
from typing import Any

import pytest
from tiny import small_recipe

from sightline.learning.training.schedules import LearningRate, Watch
from sightline.recipes import load_recipe

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
    assert said == ["", "", "", "no better val_loss for 3 epochs: learning rate lowered"]


def test_other_schedules_pay_no_heed_to_the_loss() -> None:
    rate = schedule("constant", schedule__patience=1)
    assert [rate.epoch_done(1.0) for _ in range(3)] == ["", "", ""]


def test_a_lower_loss_is_better() -> None:
    watch = Watch("val_loss")
    assert [watch.better(value) for value in (1.0, 0.9, 0.9, 0.95, 0.8)] == [
        True, True, False, False, True,
    ]  # fmt: skip


def test_a_higher_accuracy_is_better() -> None:
    watch = Watch("val_accuracy")
    assert [watch.better(value) for value in (0.5, 0.4, 0.6)] == [True, False, True]


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
