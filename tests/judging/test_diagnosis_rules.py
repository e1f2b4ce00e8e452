"""What each rule says, of curves that are drawn by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sightline.judging.diagnosis import CODES, TrainingFacts, changes, diagnose
from sightline.judging.diagnosis.shapes import smooth, steady_wiggle, trend, turns, wiggle
from sightline.judging.diagnosis.stopping import ends_with, smallest_patience
from sightline.recipes import BUILTIN_NAMES, load_recipe
from sightline.records import ClassScores, Evaluation, Finding, LayerSummary, ModelSummary

EVERY = np.arange(20.0)
FALLING = 0.59 * np.exp(-EVERY / 3) + 0.1


def facts(**more: Any) -> TrainingFacts:
    """Return a healthy training of two classes, with other columns or facts."""
    columns = {
        "loss": FALLING,
        "val_loss": FALLING + 0.02,
        "accuracy": 1 - FALLING / 2,
        "val_accuracy": 1 - FALLING / 2 - 0.01,
    }
    names = [name for name in more if isinstance(more[name], (np.ndarray, list))]
    columns |= {name: np.asarray(more.pop(name), np.float64) for name in names}
    known: dict[str, Any] = {
        "num_train": 2000, "num_validation": 1000, "class_counts": {"a": 1000, "b": 1000},
        "patience": 0, "ended": "all epochs",
    }  # fmt: skip
    return TrainingFacts(columns=columns, **{**known, **more})


def judged(source: str, confusion: Sequence[Sequence[int]]) -> Evaluation:
    counts = np.asarray(confusion, np.int64)
    classes = tuple(
        ClassScores("abc"[row], int(counts[row].sum()), {}) for row in range(len(counts))
    )
    return Evaluation(
        source=source, count=int(counts.sum()), unreadable=0, weights="best", epoch=0,
        model_fingerprint="", predictions_hash="", metrics={}, classes=classes, confusion=counts,
    )  # fmt: skip


def finding(code: str, **more: Any) -> Finding:
    return diagnose(facts(**more))[code]


def standing(**more: Any) -> list[str]:
    return [found.code for found in diagnose(facts(**more)).standing]


# --- outcomes --------------------------------------------------------------------------


def test_a_healthy_training_has_no_finding_that_stands() -> None:
    assert standing() == []


@pytest.mark.parametrize("code", [code for code in CODES if code not in ("missing-epochs",)])
def test_a_rule_says_why_it_does_not_apply(code: str) -> None:
    found = diagnose(TrainingFacts(columns={"other": np.ones(9)}))[code]
    assert found.outcome == "not applicable"
    assert found.title.endswith(".")


def test_a_training_that_came_to_no_number_at_once_is_diagnosed() -> None:
    done = diagnose(TrainingFacts(columns={}, ended="no number"))
    assert [found.code for found in done.standing] == ["diverged"]


def test_columns_of_different_lengths_are_a_slip() -> None:
    with pytest.raises(ValueError, match="all columns must have as many epochs"):
        TrainingFacts(columns={"loss": np.ones(3), "val_loss": np.ones(4)})


# --- noise -----------------------------------------------------------------------------

ZIGZAG = np.where(EVERY % 2 == 0, 1.0, -1.0)


def test_a_wiggle_of_a_few_images_is_no_signal() -> None:
    held_out = FALLING + 0.05 + 0.06 * ZIGZAG
    done = diagnose(facts(val_loss=held_out, val_accuracy=1 - held_out / 2, num_validation=16))
    assert "This wiggle is no signal" in done["small-validation"].title
    assert "resplit" in done["small-validation"].advice
    assert done["erratic-validation"].outcome == "passed"


def test_the_same_wiggle_of_many_images_is_an_unsteady_model() -> None:
    held_out = FALLING + 0.05 + 0.06 * ZIGZAG
    done = diagnose(facts(val_loss=held_out, val_accuracy=1 - held_out / 2, num_validation=5000))
    assert "dropout or batch normalisation" in done["erratic-validation"].advice
    assert done["small-validation"].outcome == "passed"


def test_one_spike_is_not_an_unsteady_model() -> None:
    held_out = FALLING + 0.02 + (EVERY == 10)
    assert finding("erratic-validation", val_loss=held_out).outcome == "passed"


@pytest.mark.parametrize("gap", [0.0, np.nan])
def test_zeros_and_gaps_in_alternate_epochs_are_an_error(gap: float) -> None:
    held_out = np.where(EVERY % 2 == 1, gap, FALLING)
    found = finding("missing-epochs", val_loss=held_out)
    assert (found.outcome, found.severity, found.epoch) == ("found", "error", 1)
    assert "every 2. epoch" in found.title


def test_a_loss_that_falls_to_zero_misses_nothing() -> None:
    fitted = np.maximum(FALLING - 0.2, 0.0)
    assert finding("missing-epochs", loss=fitted, val_loss=fitted).outcome == "passed"


def test_validation_steps_that_round_to_nothing_are_told() -> None:
    known = TrainingFacts(columns={"loss": FALLING}, num_validation=20, batch_size=32)
    assert "fewer than a batch of 32" in diagnose(known)["missing-epochs"].title


def test_an_unsteady_model_is_told_beside_sixteen_images() -> None:
    held_out = np.where(EVERY % 2 == 0, 8.0, 0.5)
    told = standing(val_loss=held_out, val_accuracy=np.full(20, 0.6), num_validation=16)
    assert told[:2] == ["small-validation", "erratic-validation"]


# --- rate ------------------------------------------------------------------------------


def test_infinity_is_divergence_and_explains_the_rest() -> None:
    loss = np.where(EVERY > 8, np.inf, FALLING)
    done = diagnose(facts(loss=loss, val_loss=np.where(EVERY > 8, np.nan, FALLING)))
    assert [found.code for found in done.standing] == ["diverged"]
    assert done["diverged"].epoch == 9


def test_a_rate_far_above_the_usual_explains_that_nothing_was_learnt() -> None:
    recipe = load_recipe("basic", {"train.learning_rate": 0.1})
    guessing = np.full(20, 0.6931)
    done = diagnose(facts(loss=guessing, val_loss=guessing, recipe=recipe))
    assert done.explained["flat"] == "rate-too-high"
    assert done["rate-too-high"].recipe_change == "train.learning_rate=0.001"


def test_a_loss_that_crawls_asks_for_a_higher_rate() -> None:
    crawling = 0.69 - 0.002 * EVERY
    done = diagnose(facts(loss=crawling, val_loss=crawling, recipe=load_recipe(
        "basic", {"train.learning_rate": 1e-6})))  # fmt: skip
    assert done["rate-too-low"].recipe_change == "train.learning_rate=0.001"
    assert done.explained["flat" if done["flat"].stands else "underfitting"] == "rate-too-low"


def test_labels_dealt_at_random_are_told_although_the_loss_falls() -> None:
    found = finding("flat", val_loss=0.70 + EVERY / 50, val_accuracy=np.full(20, 0.5))
    assert "Nothing that holds for other images was learnt" in found.title


@pytest.mark.parametrize(("images", "severity"), [(18, None), (60, "warning"), (1000, "error")])
def test_the_fewer_validation_images_the_less_is_said_of_them(
    images: int, severity: str | None
) -> None:
    worse = 0.70 + EVERY / 50
    found = finding("flat", val_loss=worse, val_accuracy=[0.5] * 20, num_validation=images)
    assert (found.severity if found.stands else None) == severity


def test_a_training_that_is_slow_to_begin_is_no_error_yet() -> None:
    guessing = np.full(3, 0.6931)
    known = TrainingFacts(columns={"loss": guessing}, class_counts={"a": 9, "b": 9})
    assert diagnose(known)["flat"].severity == "warning"


def test_a_rate_that_came_down_while_the_loss_fell_is_too_early() -> None:
    stuck = np.concatenate([0.69 * 0.85 ** np.arange(6), np.full(14, 0.69 * 0.85**5)])
    rate = 0.001 * np.where(EVERY < 6, 1.0, 0.05)
    found = finding("rate-decayed-early", loss=stuck, learning_rate=rate)
    assert (found.outcome, found.epoch) == ("found", 6)


# --- fit -------------------------------------------------------------------------------

RISING = np.where(EVERY < 8, FALLING, FALLING[8] + (EVERY - 8) * 0.08)


def test_overfitting_is_marked_where_it_began() -> None:
    found = finding("overfitting", val_loss=RISING)
    assert (found.outcome, found.severity, found.epoch) == ("found", "warning", 7)


def test_overfitting_within_the_patience_of_early_stopping_is_a_note() -> None:
    assert finding("overfitting", val_loss=RISING, ended="stopped early").severity == "info"


def test_sixteen_images_cannot_show_that_it_learns_by_heart() -> None:
    slightly = FALLING + np.maximum(0.0, EVERY - 10) * 0.01
    assert finding("overfitting", val_loss=slightly, num_validation=16).outcome == "passed"


def test_the_layer_that_holds_most_parameters_is_named() -> None:
    layers = (LayerSummary("conv", "Conv2D", (8, 8, 4), 1_000),
              LayerSummary("wide", "Dense", (512,), 900_000))  # fmt: skip
    summary = ModelSummary(layers, 901_000, 901_000)
    found = finding("too-many-parameters", val_loss=RISING, summary=summary)
    assert "'wide' (Dense)" in found.title


def test_many_parameters_alone_are_no_finding() -> None:
    summary = ModelSummary((LayerSummary("wide", "Dense", (9,), 10**8),), 10**8, 10**8)
    assert finding("too-many-parameters", summary=summary).outcome == "passed"


def test_a_loss_that_settles_high_is_underfitting() -> None:
    high = 0.55 + 0.14 * np.exp(-EVERY / 3)
    assert standing(loss=high, val_loss=high + 0.01) == ["underfitting"]


def test_training_that_is_only_made_harder_is_not_underfitting() -> None:
    high = 0.55 + 0.14 * np.exp(-EVERY / 3)
    assert finding("underfitting", loss=high, val_loss=FALLING).outcome == "passed"


# --- stopping --------------------------------------------------------------------------


def test_early_stopping_is_replayed_as_keras_counts() -> None:
    values = np.array([1.0, 0.9, 0.95, 0.92, 0.8, 0.85, 0.86])
    assert [ends_with(values, patience) for patience in (1, 2, 3)] == [3, 4, 7]


def test_the_smallest_patience_keeps_the_best_value() -> None:
    values = np.array([1.0, 0.9, 0.95, 0.92, 0.8, 0.85, 0.86])
    patience = smallest_patience(values)
    assert values[: ends_with(values, patience)].min() == values.min()
    assert values[: ends_with(values, patience - 1)].min() > values.min()


def test_no_shorter_patience_than_the_proposed_one_keeps_the_best() -> None:
    rng = np.random.default_rng(3)
    for _ in range(50):
        values = rng.normal(size=30).cumsum() + 100
        patience, best = smallest_patience(values), values.min() * 1.01
        kept = [values[: ends_with(values, each)].min() <= best for each in range(1, patience + 1)]
        assert kept == [False] * (patience - 1) + [True]


def test_epochs_trained_for_nothing_propose_a_patience() -> None:
    found = finding("patience-too-long", val_loss=np.where(EVERY < 6, FALLING, 0.5 + EVERY / 100))
    assert found.recipe_change == "stop.patience=1"
    assert found.evidence["would_have_ended"] == 7


def test_a_curve_that_falls_to_its_end_is_not_finished() -> None:
    falling = 0.69 * 0.93**EVERY
    found = finding("not-finished", loss=falling, val_loss=falling + 0.01)
    assert found.recipe_change == "train.epochs=40"


def test_a_rate_that_has_come_down_ends_a_training() -> None:
    falling = 0.69 * 0.93**EVERY
    rate = 0.001 * np.linspace(1, 0.01, 20)
    found = finding("not-finished", loss=falling, val_loss=falling, learning_rate=rate)
    assert found.outcome == "passed"


# --- classes and splits ----------------------------------------------------------------


def test_a_class_that_is_never_predicted_is_named() -> None:
    found = finding(
        "class-never-predicted",
        evaluations=(judged("validation", [[90, 10, 0], [9, 91, 0], [6, 6, 0]]),),
        class_counts={"a": 900, "b": 900, "c": 8},
    )
    assert "'c' (12 images)" in found.title
    assert found.severity == "error"


def test_the_test_split_is_no_guide_while_there_is_a_validation_split() -> None:
    good, bad = [[90, 10], [10, 90]], [[100, 0], [100, 0]]
    evaluations = (judged("test", bad), judged("validation", good))
    assert finding("class-never-predicted", evaluations=evaluations).outcome == "passed"


def test_an_accuracy_like_the_share_of_the_majority_mirrors_it() -> None:
    found = finding(
        "accuracy-mirrors-imbalance",
        evaluations=(judged("validation", [[475, 5], [20, 0]]),),
    )
    assert found.recipe_change == "balance.class_weights=balanced"


def test_on_sixteen_images_an_accuracy_mirrors_nothing() -> None:
    evaluations = (judged("validation", [[12, 0], [4, 0]]),)
    assert finding("accuracy-mirrors-imbalance", evaluations=evaluations).outcome == (
        "not applicable"
    )


def test_weights_that_cost_accuracy_for_nothing_are_to_be_taken_back() -> None:
    found = finding(
        "class-weights-harm",
        recipe=load_recipe("basic", {"balance.class_weights": "balanced"}),
        evaluations=(judged("validation", [[300, 100], [14, 6]]),),
    )
    assert found.recipe_change == "balance.class_weights=none"


def test_sampling_that_costs_accuracy_is_what_is_taken_back() -> None:
    found = finding(
        "class-weights-harm",
        recipe=load_recipe("basic", {"balance.sampling": "oversample"}),
        evaluations=(judged("validation", [[300, 100], [14, 6]]),),
    )
    assert found.recipe_change == "balance.sampling=all"


BETTER = FALLING * 0.6


def test_dropout_explains_that_validation_is_better() -> None:
    recipe = load_recipe("basic", {"model.dropout": [0.3, 0.3, 0.5]})
    found = finding("validation-better", val_loss=BETTER, recipe=recipe)
    assert (found.severity, found.evidence["because"]) == ("info", ["dropout"])


def test_without_a_reason_validation_may_not_be_better() -> None:
    assert finding("validation-better", val_loss=BETTER).severity == "warning"


def test_a_leak_that_the_audit_found_makes_it_an_error() -> None:
    leak = Finding("near-copies-across-splits", "error", "")
    found = finding("validation-better", val_loss=FALLING * 0.95, findings=(leak,))
    assert found.severity == "error"
    assert "near-copies-across-splits" in found.title


def test_training_that_is_a_mean_over_the_epoch_is_not_worse_for_that() -> None:
    steep = 0.69 * 0.8 ** np.arange(21.0)
    lagging = (steep[:-1] + steep[1:]) / 2
    assert finding("validation-better", loss=lagging, val_loss=steep[1:]).outcome == "passed"


def test_perfect_at_once_is_a_warning_and_with_a_shortcut_an_error() -> None:
    perfect = np.ones(20)
    shortcut = Finding("shortcut", "error", "")
    assert finding("suspiciously-perfect", val_accuracy=perfect).severity == "warning"
    found = finding("suspiciously-perfect", val_accuracy=perfect, findings=(shortcut,))
    assert found.severity == "error"


def test_other_images_far_below_validation_are_named() -> None:
    evaluations = (
        judged("validation", [[95, 5], [5, 95]]),
        judged("elsewhere", [[60, 40], [35, 65]]),
    )
    found = finding("external-below", evaluations=evaluations)
    assert "elsewhere is 32 points below" in found.title


def test_figures_of_different_weights_are_not_compared() -> None:
    last = dataclasses.replace(judged("elsewhere", [[60, 40], [35, 65]]), weights="last")
    evaluations = (judged("validation", [[95, 5], [5, 95]]), last)
    assert finding("external-below", evaluations=evaluations).outcome == "not applicable"


def test_a_few_other_images_prove_nothing() -> None:
    evaluations = (judged("validation", [[95, 5], [5, 95]]), judged("elsewhere", [[4, 2], [2, 4]]))
    assert finding("external-below", evaluations=evaluations).outcome == "passed"


def test_a_loader_that_is_waited_for_is_found() -> None:
    found = finding("loader-bound", seconds_waiting=np.full(20, 6.0),
                    seconds_computing=np.full(20, 4.0))  # fmt: skip
    assert found.evidence["share"] == pytest.approx(0.6)


# --- changes ---------------------------------------------------------------------------

EVERY_CHANGE = (
    changes.dropout, changes.less_dropout, changes.augmentation, changes.normalisation,
    changes.decay, changes.slower_decay, changes.capacity, changes.penalty, changes.classes,
    changes.no_balance,
)  # fmt: skip


@pytest.mark.parametrize("name", BUILTIN_NAMES)
def test_every_change_is_accepted_by_the_recipe_it_is_for(name: str) -> None:
    known = facts(recipe=load_recipe(name))
    proposed = [change(known) for change in EVERY_CHANGE] + [changes.rate(known, 0.1)]
    for change in filter(None, proposed):
        load_recipe(name, [change])


@pytest.mark.parametrize("name", BUILTIN_NAMES)
def test_more_dropout_has_as_many_rates_as_the_recipe(name: str) -> None:
    recipe = load_recipe(name)
    change = changes.dropout(facts(recipe=recipe))
    count = len(recipe.model.dropout) or 3  # `basic` has three, and gives none
    assert len(load_recipe(name, [change]).model.dropout) == count


def test_a_change_differs_from_what_the_recipe_has() -> None:
    recipe = load_recipe("basic", {"model.dropout": [0.7, 0.7, 0.7]})
    assert changes.dropout(facts(recipe=recipe)) == ""


def test_a_rate_is_known_from_its_column_as_well() -> None:
    known = replace(facts(), columns={**facts().columns, "learning_rate": np.full(20, 0.01)})
    assert changes.rate(known, 0.1) == "train.learning_rate=0.001"


# --- shapes ----------------------------------------------------------------------------


def test_a_straight_line_has_no_wiggle() -> None:
    assert wiggle(3 * EVERY) == pytest.approx(0, abs=1e-9)


def test_the_wiggle_of_noise_is_its_deviation() -> None:
    noise = np.random.default_rng(0).normal(0, 0.3, 4000)
    assert wiggle(noise + np.linspace(5, 0, 4000)) == pytest.approx(0.3, rel=0.05)


def test_a_spike_is_left_out_of_the_steady_wiggle() -> None:
    spiked = np.where(EVERY == 9, 5.0, 0.0)
    assert steady_wiggle(spiked) == 0 < wiggle(spiked)


def test_a_zigzag_turns_in_every_epoch_and_a_line_in_none() -> None:
    assert (turns(ZIGZAG), turns(EVERY)) == (1.0, 0.0)


def test_the_trend_of_a_line_is_its_slope() -> None:
    assert trend(2 - 0.5 * EVERY)[0] == pytest.approx(-0.5)


def test_smoothing_keeps_a_constant() -> None:
    assert smooth(np.full(7, 0.4)) == pytest.approx(np.full(7, 0.4))


# --- sampling noise --------------------------------------------------------------------


def test_the_bound_of_sampling_noise_covers_the_error_of_simulated_validation_sets() -> None:
    rng = np.random.default_rng(1)
    covered = []
    for skill in np.linspace(0.4, 3.5, 20):
        apart = rng.normal(skill, np.sqrt(2), size=(400, 50)) * skill
        losses = np.logaddexp(0, -apart)
        mean, right = losses.mean(), (apart > 0).mean()
        known = facts(val_loss=[mean] * 20, val_accuracy=[right] * 20, num_validation=50)
        bound = known.sampling_noise("validation")
        assert bound is not None
        covered.append(bound[0] >= losses.mean(axis=1).std())
    assert np.mean(covered) >= 0.9
