"""Whether another epoch would end in time."""

from __future__ import annotations

import json

import pytest
from tiny import small_recipe

from sightline.learning.training.standing import Standing
from sightline.recipes import load_recipe

STEPS = 4


def standing_after(*seconds: float, grow: tuple[float, ...] = ()) -> Standing:
    """Return where a training of six epochs stands after epochs of so many seconds."""
    sizes = {"data__image_size": [24, 32], "data__grow": list(grow)}
    recipe = small_recipe("auto", train__epochs=6, **sizes)
    standing = Standing.of(recipe, STEPS, 2)
    for each in seconds:
        standing.epoch_done(each)
    return standing


@pytest.mark.parametrize(
    ("seconds", "late"),
    [
        ((), False),  # the first may always begin
        ((30.0,), False),
        ((30.1,), True),
        ((20.0, 10.0, 10.0), False),
        ((20.0, 10.0, 15.1), True),
        ((20.0, 15.1, 10.0), True),
        ((61.0,), True),
    ],
)
def test_another_is_late_if_it_ends_late_being_as_long_as_the_longest(
    seconds: tuple[float, ...], late: bool
) -> None:
    assert standing_after(*seconds).is_late(1.0) is late


def test_the_first_is_not_expected_again_once_there_are_others() -> None:
    assert standing_after(30.0, 10.0).clock.expected() == 10


def test_without_a_limit_none_is_late() -> None:
    assert not standing_after(9e9).is_late(0.0)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ((10.0,), 10.0),
        ((10.0, 6.0), 4 * 6.0 + 4.0),  # images of four times as many pixels, compiled anew
        ((10.0, 6.0, 28.0), 28.0),
        ((10.0, 6.0, 28.0, 24.0), 24.0),
    ],
)
def test_larger_images_are_expected_to_take_longer(
    seconds: tuple[float, ...], expected: float
) -> None:
    # Of six epochs three are at half the size: the third is like the first of them.
    standing = standing_after(*seconds[:1], *seconds[1:2] * 2, *seconds[2:], grow=(0.5, 1.0))
    limit = standing.clock.spent + expected
    assert (standing.is_late(limit / 60 - 1e-6), standing.is_late(limit / 60 + 1e-6)) == (
        True,
        False,
    )


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ((10.0, 6.0), 3 * 6.0 + 4.0),  # all of the network learns, and is compiled anew
        ((10.0, 6.0, 17.0), 17.0),
        ((10.0, 6.0, 17.0, 13.0), 13.0),
    ],
)
def test_the_whole_network_is_expected_to_take_three_times_as_long_as_its_head(
    seconds: tuple[float, ...], expected: float
) -> None:
    network = {"model.network": "applications/MobileNetV2", "model.weights": "not_read.h5"}
    recipe = load_recipe("basic", {**network, "train.epochs": 6, "model.frozen_epochs": 2})
    standing = Standing.of(recipe, STEPS, 2)
    for each in seconds:
        standing.epoch_done(each)
    limit = standing.clock.spent + expected
    assert (standing.is_late(limit / 60 - 1e-6), standing.is_late(limit / 60 + 1e-6)) == (
        True,
        False,
    )


def test_an_epoch_that_has_begun_is_not_broken_off() -> None:
    standing = standing_after(59.0)
    standing.batch = 1
    assert not standing.is_late(1.0)


def test_what_is_called_and_saved_after_an_epoch_counts_for_it() -> None:
    clock = standing_after(10.0, 10.0).clock
    clock.latest_took(21.0)
    assert (clock.spent, clock.longest) == (31.0, 21.0)


def test_the_time_of_earlier_processes_counts() -> None:
    standing = standing_after()
    standing.restore(json.loads(json.dumps(standing_after(40.0).to_dict())))
    assert standing.is_late(1.0)
