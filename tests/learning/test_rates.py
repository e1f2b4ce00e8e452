"""The range test of the learning rate, and short trainings at given rates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from tiny import NARROW, SMALL, dotted, train, write_splits

import sightline as sl
from sightline.learning.training import rates

WIDTH = 30.0  # rates in a factor of ten


def find(folder: Path, **more: Any) -> sl.RateCurve:
    """Try rates with the recipe `basic`, made tiny; what is a change has a "__" for the dot."""
    changes = {key: more.pop(key) for key in list(more) if "__" in key or key == "seed"}
    return sl.find_learning_rate(
        folder,
        recipe="basic",
        changes={**SMALL, **NARROW["basic"], "data.test": 0, **dotted(changes)},
        progress=sl.Silent(),
        **{"steps": 60, **more},
    )


@pytest.fixture(scope="module")
def curve(pictures: Path) -> sl.RateCurve:
    """60 rates, which takes several of the epochs of five batches, and three rates compared."""
    return find(pictures, compare=[1e-5, 0.003, 3e30], compare_steps=12)


def bowl(noise: float, *, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Flat at 0.7 over two decades, falling by 0.4 over two more, then exploding."""
    x = np.arange(180) / WIDTH
    values = 0.7 - 0.2 * np.clip(x - 2, 0, 2) + np.exp(np.clip(x - 4.5, 0, None) * 3) - 1
    return np.asarray(values + np.random.default_rng(seed).normal(0, noise, len(x)))


@pytest.mark.parametrize("seed", range(5))
def test_the_rules_find_slope_and_bottom_of_a_noisy_curve(seed: int) -> None:
    objective = bowl(0.05, seed=seed)
    found = rates.rules(objective, rates.smooth(objective, WIDTH), WIDTH)
    assert found is not None
    steepest, lowest = (place / WIDTH for place in found)
    assert 2 <= steepest <= 4 <= lowest + 0.6 <= 5.2


@pytest.mark.parametrize("seed", range(20))
def test_noise_alone_suggests_nothing(seed: int) -> None:
    objective = np.random.default_rng(seed).normal(0.7, 0.1, 120)
    assert rates.rules(objective, rates.smooth(objective, 15.0), 15.0) is None


def test_a_curve_that_only_rises_suggests_nothing() -> None:
    objective = np.linspace(0.5, 1, 120)
    assert rates.rules(objective, rates.smooth(objective, 15.0), 15.0) is None


def test_smoothing_keeps_a_straight_line_without_a_lag() -> None:
    line = np.linspace(1, 0, 181)
    assert rates.smooth(line, WIDTH)[60:120] == pytest.approx(line[60:120], abs=1e-2)


def test_an_explosion_at_the_end_does_not_lift_what_was_before() -> None:
    calm, wild = np.full(100, 0.5), np.full(100, 0.5)
    wild[-1] = 1e9
    assert rates.smooth(wild, 15.0)[:60] == pytest.approx(rates.smooth(calm, 15.0)[:60], abs=5e-3)


def test_the_first_objective_is_that_of_the_first_batch_untrained(
    pictures: Path, curve: sl.RateCurve
) -> None:
    again = find(pictures, steps=20, lowest=1e-9, highest=1e-8)
    assert again.table["objective"][0] == curve.table["objective"][0]


def test_it_goes_on_over_several_epochs(curve: sl.RateCurve) -> None:
    assert len(curve.table) > 4 * curve.about["steps_an_epoch"]


def test_the_same_seed_gives_the_same_curve(pictures: Path, curve: sl.RateCurve) -> None:
    assert find(pictures).table.equals(curve.table)


def test_another_seed_gives_another_curve(pictures: Path, curve: sl.RateCurve) -> None:
    assert find(pictures, steps=20, seed=1).table["objective"][0] != curve.table["objective"][0]


def test_a_rate_that_is_far_too_high_diverges_alone(curve: sl.RateCurve) -> None:
    assert list(curve.diverged) == [3e30]
    assert curve.best in (1e-5, 0.003)


def test_short_trainings_begin_with_the_same_weights(curve: sl.RateCurve) -> None:
    begun = curve.comparison.filter(curve.comparison["step"] == 0)
    assert begun["val_loss"].n_unique() == 1


def test_short_trainings_are_validated_at_even_steps_up_to_the_end(curve: sl.RateCurve) -> None:
    mine = curve.comparison.filter(curve.comparison["rate"] == 0.003)
    assert mine["step"].to_list() == [0, 2, 4, 6, 8, 10, 12]


def test_a_short_training_is_what_a_training_does(pictures: Path, tmp_path: Path) -> None:
    run = train(pictures, tmp_path / "run", train__learning_rate=0.002, schedule__kind="constant")
    tried = find(pictures, compare=[0.01, 0.002], compare_steps=10, steps=20)
    mine = tried.comparison.filter(tried.comparison["rate"] == 0.002)
    (after_one,) = mine.filter(mine["step"] == 10)["val_loss"]
    assert after_one == run.history["val_loss"][1]


def test_accumulated_batches_share_a_rate(pictures: Path) -> None:
    tried = find(pictures, steps=20, train__accumulate=3)
    assert len(tried.table) == 20
    assert tried.about["accumulate"] == 3


def test_a_model_of_one_s_own_is_left_as_it_was(pictures: Path) -> None:
    model = keras.Sequential(
        [
            keras.Input((12, 16, 3)),
            keras.layers.Flatten(),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    before = [np.array(each) for each in model.get_weights()]
    find(pictures, model=model, steps=20)
    assert all(
        np.array_equal(one, other) for one, other in zip(before, model.get_weights(), strict=True)
    )


def test_rates_that_begin_too_high_are_refused_with_what_to_do(pictures: Path) -> None:
    with pytest.raises(sl.RunError, match=r"at rate .*the rates begin too high.*--lowest"):
        find(pictures, lowest=1e30, highest=1e32)


def test_an_objective_that_is_never_finite_is_not_blamed_on_the_rate(pictures: Path) -> None:
    with pytest.raises(sl.RunError, match=r"at the very first step, before any learning rate"):
        find(pictures, model__l2=1e38)


def test_a_class_without_training_images_is_refused(tmp_path: Path) -> None:
    folder = write_splits(tmp_path / "x", {"cat": 9, "dog": 0}, {"cat": 3, "dog": 3})
    with pytest.raises(sl.DataError, match="dog"):
        find(folder)
