"""The ladder on simulated trainings: what it keeps, and what it must not keep."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from simulated_worlds import (
    NOISE,
    World,
    base,
    climbed,
    found_again,
    holds,
    kept_for_nothing,
)

from sightline.recipes import change_recipe
from sightline.records.trials import Attempt, Trial, TrialSpec
from sightline.search import propose
from sightline.search.telling import ablation_of


def test_where_no_change_helps_hardly_a_search_keeps_one() -> None:
    assert kept_for_nothing(range(300)) <= 12  # 2 % is 6; 13 or more have a chance of 1 in 100


def test_a_change_that_helps_by_twice_the_noise_is_found_and_kept() -> None:
    assert found_again(range(1000, 1200)) >= 180


def test_nothing_is_kept_where_nothing_was_learned() -> None:
    """Less overfitting truly lowers the loss on shuffled labels, towards that of guessing."""
    for number in range(20):
        world = World(number, [({"train.learning_rate": 0.00033}, 6.0)], loss=1.25)
        result = climbed(world)
        assert not result.changes
        said = [each.sentence for each in result.attempts if each.gains]
        assert any("no better than guessing" in sentence for sentence in said)


def test_two_changes_that_help_are_both_kept_and_their_worth_is_told_at_the_end() -> None:
    gains = [({"model.width": 64}, 5.0), ({"schedule.kind": "cosine"}, 5.0)]
    result = climbed(World(5, gains))
    assert holds(result.changes, {"model.width": 64, "schedule.kind": "cosine"})
    assert {each.name for each in result.ablations} >= {"twice as wide", "cosine decay"}
    worth = {each.name: each.mean for each in result.ablations}
    assert worth["twice as wide"] == pytest.approx(5 * NOISE, abs=2 * NOISE)
    assert all("Without it: -" in each.sentence for each in result.ablations)


def test_what_was_kept_is_measured_again_in_pairs_that_had_no_say() -> None:
    world = World(5, [({"model.width": 64}, 5.0)])
    result = climbed(world)
    deciding = [spec for spec in world.asked if not spec.quick and spec.seed < 1000]
    fresh = [spec for spec in world.asked if not spec.quick and spec.seed >= 2000]
    assert {spec.seed for spec in fresh} == {2000, 2001, 2002, 2003}
    assert max(spec.seed for spec in deciding) < 8
    assert "4 pairs that had no say show +0." in result.optimism


def test_what_chance_added_to_a_kept_change_is_called_luck() -> None:
    """Over many searches, fresh pairs show what a change is worth, and the deciding ones more."""
    worth, promised = [], []
    for number in range(60):
        kept = climbed(World(number, [({"model.width": 64}, 2.0)]))
        if kept.changes == {"model.width": 64}:
            promised.append(next(e.mean for e in kept.attempts if e.verdict == "kept"))
            worth.append(kept.ablations[0].mean)
    assert len(worth) >= 30
    assert np.mean(worth) == pytest.approx(2 * NOISE, abs=0.25 * NOISE)
    assert np.mean(promised) > np.mean(worth)


def test_a_search_that_keeps_nothing_has_nothing_to_flatter() -> None:
    assert climbed(World(1)).optimism.startswith("No change was kept")


def test_a_step_that_the_others_make_useless_is_told_at_the_end() -> None:
    kept = climbed(World(5, [({"model.width": 64}, 5.0)])).ablations[0]
    told = {
        ablation_of(kept, gains).sentence.rpartition("; ")[2]
        for gains in ([0.1, 0.12, 0.09, 0.11], [-0.1, 0.02, 0.0, -0.03], [0.1, -0.05, 0.01, 0.02])
    }
    assert told == {
        "it is beneficial.",
        "beside the others it is not beneficial any more.",
        "4 pairs do not show whether it still is beneficial.",
    }


def test_two_changes_that_help_together_alone_are_tried_in_a_pair() -> None:
    both = {"model.width": 64, "schedule.kind": "cosine"}
    gains = [({"model.width": 64}, 0.9), ({"schedule.kind": "cosine"}, 0.9), (both, 6.0)]
    tried = [each.name for number in range(10) for each in climbed(World(number, gains)).attempts]
    assert any(" and " in name for name in tried)


def test_quick_and_whole_pairs_share_neither_seed_nor_fold() -> None:
    world = World(3, [({"model.width": 64}, 3.0)])
    climbed(world)
    quick = {(spec.seed, spec.fold) for spec in world.asked if spec.quick}
    whole = {(spec.seed, spec.fold) for spec in world.asked if not spec.quick}
    assert not {seed for seed, _ in quick} & {seed for seed, _ in whole}
    assert not {fold for _, fold in quick} & {fold for _, fold in whole}


def test_the_same_world_gives_the_same_search() -> None:
    assert climbed(World(8, [({"model.width": 64}, 3.0)])) == climbed(
        World(8, [({"model.width": 64}, 3.0)])
    )


def test_without_time_what_was_not_decided_is_undecided_and_nothing_is_kept_by_it() -> None:
    result = climbed(World(1, [({"model.width": 64}, 9.0)], most=26))
    assert result.ended.startswith("The time is over")
    assert not result.changes
    assert all(each.verdict != "kept" for each in result.attempts)


class Failing(World):
    """A network of twice the width takes too much memory."""

    def trained(self, spec: TrialSpec) -> Trial:
        if spec.changes.get("model.width") == 64:
            return Trial(spec, "failed", "out of memory")
        return super().trained(spec)


def test_a_training_that_fails_costs_its_own_change_alone() -> None:
    result = climbed(Failing(2, [({"schedule.kind": "cosine"}, 6.0)]))
    wide = next(each for each in result.attempts if each.name == "twice as wide")
    assert wide.verdict == "rejected"
    assert "failed" in wide.sentence
    assert holds(result.changes, {"schedule.kind": "cosine"})


def test_what_the_curves_ask_for_comes_first_and_every_proposal_is_a_recipe() -> None:
    recipe = base()
    answers = [("overfitting", "model.dropout=[0.2, 0.2, 0.2]"), ("x", "model.width=0")]
    found = propose(recipe, answers, imbalance=5.0)
    assert found[0].changes == {"model.dropout": [0.2, 0.2, 0.2]}
    assert found[0].name == "more dropout"
    assert "overfitting" in found[0].why
    assert all(change_recipe(recipe, each.changes) != recipe for each in found)
    assert len({str(dict(each.changes)) for each in found}) == len(found)


def test_two_proposals_of_one_kind_have_two_names() -> None:
    answers = [("slow", "train.learning_rate=0.002"), ("x", "model.dropout=[0.1, 0.1, 0.1]")]
    names = [each.name for each in propose(base(), answers)]
    assert "a higher learning rate" in names
    assert "a higher learning rate (0.003)" in names
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("network", ["skin-binary", "ham10000", "chest-xray", "auto"])
def test_every_published_recipe_has_proposals(network: str) -> None:
    from sightline.recipes import load_recipe

    assert len(propose(load_recipe(network), ())) >= 4


def test_a_spec_is_the_same_whatever_the_order_of_its_changes() -> None:
    one = TrialSpec({"a": (1, 2), "b": 2}, 1, 0)
    other = dataclasses.replace(one, changes={"b": 2, "a": [1, 2]})
    assert one.key == other.key
    assert TrialSpec.from_dict(one.to_dict()).key == one.key
    assert dataclasses.replace(one, seed=2).key != one.key


class Sure(World):
    """Trainings that are judged by F1, and are far too sure where that is best."""

    def trained(self, spec: TrialSpec) -> Trial:
        trial = super().trained(spec)
        assert trial.value is not None
        return dataclasses.replace(trial, value=1 - trial.value, val_loss=1.3, curve=(0.6, 1.3))


def test_by_a_metric_a_network_that_is_too_sure_has_still_learned() -> None:
    result = climbed(Sure(3, [({"model.width": 64}, 4.0)]), higher_is_better=True)
    assert holds(result.changes, {"model.width": 64})


def test_a_step_that_a_later_one_took_over_is_left_out_with_it() -> None:
    gains = [({"model.width": 64}, 5.0), ({"model.width": 128}, 10.0)]
    result = climbed(World(5, gains))
    widths = [each for each in result.ablations if "model.width" in each.changes]
    assert result.changes["model.width"] == 128
    assert len(widths) == 1
    assert widths[0].mean == pytest.approx(10 * NOISE, abs=3 * NOISE)


def test_where_the_recipe_without_a_step_fails_nothing_is_said_of_its_worth() -> None:
    class Needed(World):
        def trained(self, spec: TrialSpec) -> Trial:
            if spec.seed >= 2000 and not spec.changes:
                return Trial(spec, "failed", "out of memory")
            return super().trained(spec)

    result = climbed(Needed(5, [({"model.width": 64}, 5.0)]))
    (left_out,) = result.ablations
    assert left_out.verdict == "undecided"
    assert left_out.sentence == "Without it a training failed."
    assert "no time" in result.optimism


def test_a_change_whose_training_fails_is_told_in_plain_json() -> None:
    wide = next(each for each in climbed(Failing(2)).attempts if each.name == "twice as wide")
    text = json.dumps(wide.to_dict(), allow_nan=False)
    assert Attempt.from_dict(json.loads(text)) == wide


def test_a_search_whose_error_is_used_up_says_so() -> None:
    ends = {climbed(World(number)).ended for number in range(40)}
    assert (
        "The error that a search may make is used up, so nothing more is put to the test." in ends
    )
    assert "No further change can be shown to help." in ends
