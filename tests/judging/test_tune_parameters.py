"""The figures of what the parameters of a search did, and the sentences beside them."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import pytest

from sightline.judging import reports
from sightline.judging.reports import tune_parameters
from sightline.recipes import flat, load_recipe
from sightline.records.trials import Trial, TrialSpec, Tuning, comparable

BASE: Mapping[str, Any] = flat(load_recipe("basic", {"data.image_size": [32, 32]}))


def _trial(changes: Mapping[str, Any], value: float | None, **more: Any) -> Trial:
    spec = TrialSpec(changes)
    curve = () if value is None else (value,)
    given = {"value": value, "val_loss": value, "curve": curve, "best_epoch": 0, "run": spec.key}
    return Trial(spec, **{"state": "finished", **given, **more})


@pytest.fixture(scope="module")
def tuning() -> Tuning:
    throw, trials = random.Random(4), [_trial({}, 0.6)]
    for number in range(20):
        optimizer = throw.choice(["adam", "sgd"])
        changes: dict[str, Any] = {
            "train.learning_rate": 10 ** throw.uniform(-5, -1),
            "model.width": throw.choice([16, 32, 64]),
            "train.optimizer": optimizer,
            "model.dropout": [throw.choice([0.0, 0.2]) for _ in range(3)],
        }
        if optimizer == "sgd":
            changes["train.momentum"] = throw.choice([0.5, 0.8])
        trials.append(_trial(changes, 0.5 + number / 50))
    trials.append(_trial({"model.width": 8}, 0.9, state="stopped", reason="It fell behind."))
    trials.append(_trial({"model.width": 4}, None, state="failed", reason="It broke."))
    trials.append(_trial({"model.width": 48}, 0.55, run=""))
    return Tuning(
        "runs/one", "optuna", "val_loss", "basic", trials[1].spec.changes, tuple(trials),
        first=trials[0], best=trials[1], ended="The time is over.",
        importance=(("train.learning_rate", 0.6), ("model.width", 0.3), ("model.dropout[0]", 0.1)),
    )  # fmt: skip


def test_the_page_of_a_sampler_says_what_was_drawn_and_what_decided(tuning: Tuning) -> None:
    page = reports.render_tuning(tuning, base=BASE)
    assert "24 recipes were trained (1 ended early, behind the others, 1 failed)." in page
    assert "The best trainings, by val_loss: 0.5000 (no. 2), 0.5200 (no. 3)" in page
    assert "What decided most: train.learning_rate (60 %), model.width (30 %)" in page
    assert "which of 22 trainings were among the best" in page
    assert "failed: It broke." in page
    assert page.count("on another machine") == 1
    assert "What was tried on what" not in page
    assert reports.render_tuning(tuning, base=BASE) == page


def test_a_search_of_which_nothing_can_be_compared_has_no_such_figure(tuning: Tuning) -> None:
    few = Tuning("runs/few", "optuna", "val_loss", "basic", {}, tuning.trials[:1])
    page = reports.render_tuning(few, base=BASE)
    assert "What the parameters did" not in page
    assert "One recipe was trained." in page


def test_the_best_lines_are_drawn_last_and_a_parameter_without_effect_leaves_a_gap(
    tuning: Tuning,
) -> None:
    figure = tune_parameters.parallel_figure((tuning, BASE))
    (axes,) = figure.axes
    names = [text.get_text().replace("\n", "") for text in axes.get_xticklabels()]
    assert names[:3] == ["train.learning_rate", "model.width", "model.dropout[0]"]
    assert names[-1] == "val_loss"
    lines = [line for line in axes.lines if len(line.get_xdata()) == len(names)]
    assert len(lines) == 22
    last = lines[-1].get_ydata()
    assert last[-1] == 0.0  # the smallest loss stands at the bottom
    momentum = names.index("train.momentum")
    drawn = [line.get_ydata()[momentum] for line in lines]
    assert any(height != height for height in drawn)
    assert any(height == height for height in drawn)


def test_a_narrow_screen_has_fewer_axes(tuning: Tuning) -> None:
    wide, narrow = (
        tune_parameters.parallel_figure((tuning, BASE), narrow=narrow) for narrow in (False, True)
    )
    assert len(narrow.axes[0].get_xticks()) == 5
    assert len(wide.axes[0].get_xticks()) > 5


def test_a_ladder_is_compared_by_what_differs_from_the_unchanged_recipe_of_the_fold() -> None:
    trials = []
    for fold, level in enumerate((0.4, 0.9)):
        for changes, gain in (({}, 0.0), ({"model.width": 64}, 0.1)):
            spec = TrialSpec(changes, fold, fold)
            trials.append(Trial(spec, "finished", value=level - gain))
    trials.append(Trial(TrialSpec({"model.width": 8}, 7, 7), "finished", value=0.0))  # no base
    trials.append(Trial(TrialSpec({"model.width": 16}, quick=True), "finished", value=0.0))
    found = {each.spec.changes.get("model.width", 32): each.value for each in comparable(trials)}
    assert found == {32: pytest.approx(0.65), 64: pytest.approx(0.55)}
