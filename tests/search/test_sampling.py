"""The sampler on simulated trainings: what it draws, what it ends early, what it never repeats."""

from __future__ import annotations

import json
import multiprocessing
import random
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest
from sampled_worlds import EPOCHS, SPACE, Trainings, base, loss_of, sampled, study_in

import sightline as sl
from sightline.recipes import flat
from sightline.records.trials import Trial, TrialSpec, Watch
from sightline.search import Sampler, Space, importance_of, studies
from sightline.search.space import Choices, Range


def _trials(of: Any) -> list[optuna.trial.FrozenTrial]:
    return list(of.open().get_trials())


def _finished(trainings: Trainings) -> list[Trial]:
    given = [each for each in trainings.done.values() if each.spec.fold is None]
    return [each for each in given if each.state == "finished"]


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Trainings, Any]:
    trainings = Trainings(most=30)
    of = study_in(tmp_path_factory.mktemp("study") / "one")
    return of, trainings, sampled(of, trainings)


def test_it_comes_nearer_to_the_best_than_drawing_at_random(searched: Any) -> None:
    _, _, result = searched
    found = loss_of({**flat(base()), **result.changes})
    at_random = []
    for seed in range(20):
        throw = random.Random(seed)
        draws = [
            {
                "train.learning_rate": 10 ** throw.uniform(-5, -1),
                "model.width": throw.randrange(16, 129, 16),
            }
            for _ in range(30)
        ]
        at_random.append(min(map(loss_of, draws)))
    assert found < sorted(at_random)[10]
    assert found < loss_of(flat(base()))


def test_of_a_metric_the_largest_is_the_best(tmp_path: Path) -> None:
    trainings = Trainings(most=20, rises=True)
    of = study_in(tmp_path / "study", objective="auc")
    result = sampled(of, trainings)
    best = max(each.value or 0.0 for each in _finished(trainings))
    assert best == trainings.done[TrialSpec(result.changes).key].value
    assert of.open().best_value == best
    assert loss_of({**flat(base()), **result.changes}) < loss_of(flat(base()))
    assert "on 4 other splits it gained +" in result.optimism
    losses = {
        state: [loss_of({**flat(base()), **each.spec.changes})
                for each in trainings.done.values() if each.state == state]
        for state in ("stopped", "finished")
    }  # fmt: skip
    assert statistics.mean(losses["stopped"]) > statistics.mean(losses["finished"])


def test_what_is_drawn_next_rests_on_all_trials_before(searched: Any) -> None:
    """Hyperband as the study's own would show TPE the trials of one bracket alone."""
    of, _, _ = searched
    assert isinstance(of.open().pruner, optuna.pruners.NopPruner)


def test_the_recipe_that_it_began_with_is_its_first_trial(searched: Any) -> None:
    of, trainings, _ = searched
    first = _trials(of)[0]
    assert first.user_attrs["key"] == TrialSpec().key
    assert first.params["train.learning_rate"] == 0.001
    assert first.value == trainings.done[TrialSpec().key].value


def test_trainings_that_fall_behind_are_ended_with_a_reason(searched: Any) -> None:
    of, trainings, _ = searched
    stopped = [each for each in trainings.done.values() if each.state == "stopped"]
    assert stopped
    assert all(len(each.curve) < EPOCHS for each in stopped)
    assert all("(Hyperband)" in each.reason for each in stopped)
    pruned = [each for each in _trials(of) if each.state == optuna.trial.TrialState.PRUNED]
    assert {each.user_attrs["reason"] for each in pruned} == {each.reason for each in stopped}


def test_no_momentum_is_drawn_for_an_optimizer_that_has_none(searched: Any) -> None:
    of, trainings, _ = searched
    for each in _trials(of):
        drawn = each.params.get("train.optimizer")
        assert ("train.momentum" in each.params) == (drawn == "sgd")
    for trial in trainings.done.values():
        if "train.momentum" in trial.spec.changes:
            assert trial.spec.changes["train.optimizer"] == "sgd"


def test_the_best_one_is_measured_again_where_it_was_not_chosen(searched: Any) -> None:
    _, trainings, result = searched
    afresh = [each for each in trainings.done.values() if each.spec.fold is not None]
    assert {json.dumps(dict(each.spec.changes)) for each in afresh} == {
        "{}", json.dumps(dict(result.changes))
    }  # fmt: skip
    assert "on 4 other splits it gained +" in result.optimism
    assert result.ended == "The time is over."


def test_what_decides_is_more_important_than_what_does_nothing() -> None:
    throw, trials = random.Random(1), []
    for _ in range(60):
        changes = {
            "train.learning_rate": 10 ** throw.uniform(-5, -1),
            "augment.horizontal_flip": throw.random() < 0.5,
            "model.dropout": [throw.choice([0.0, 0.1, 0.2]) for _ in range(3)],
        }
        value = loss_of({**flat(base()), **changes})
        trials.append(Trial(TrialSpec(changes), "finished", value=value))
    shares = importance_of(flat(base()), trials)
    assert shares[0][0] == "train.learning_rate"
    assert shares[0][1] > 0.5
    assert {name for name, _ in shares} == {
        "train.learning_rate", "augment.horizontal_flip", "model.dropout[0]", "model.dropout[1]",
        "model.dropout[2]",
    }  # fmt: skip
    assert sum(share for _, share in shares) == pytest.approx(1.0)
    assert shares == importance_of(flat(base()), trials)
    assert importance_of(flat(base()), trials[:9]) == ()


def test_failed_trainings_are_recorded_with_their_reason_and_avoided(tmp_path: Path) -> None:
    trainings = Trainings(most=25, fails=("sgd",))
    of = study_in(tmp_path / "study")
    sampled(of, trainings)
    failed = [each for each in trainings.done.values() if each.state == "failed"]
    known = [each for each in _trials(of) if each.user_attrs.get("reason") == "it diverged"]
    assert len(known) == len(failed) > 0
    assert len(failed) < 8  # a third, if it did not learn from them


def test_where_all_fail_it_ends_and_says_why(tmp_path: Path) -> None:
    space = Space({"train.optimizer": Choices(("sgd",)), "train.momentum": Range(0.0, 0.9)})
    trainings = Trainings(fails=("sgd",))
    result = sampled(study_in(tmp_path / "study", space=space), trainings)
    assert result.ended == "10 trainings in a row failed, the last one so: it diverged"
    assert result.changes == {}
    assert "stayed the best" in result.optimism


def test_a_space_that_is_used_up_ends_the_search(tmp_path: Path) -> None:
    space = Space({"model.width": Choices((16, 32)), "train.optimizer": Choices(("adam", "sgd"))})
    trainings, of = Trainings(), study_in(tmp_path / "study", space=space)
    result = sampled(of, trainings)
    assert "Nothing new" in result.ended
    assert len(_finished(trainings)) <= 4
    keys = [each.user_attrs["key"] for each in _trials(of) if each.value is not None]
    assert len(keys) == len(set(keys))


class _Killed(BaseException):
    """As SIGKILL: nothing is cleaned up."""


def test_after_a_kill_the_trial_that_was_cut_off_is_told_and_no_other_is_repeated(
    tmp_path: Path,
) -> None:
    of, trainings = study_in(tmp_path / "study"), Trainings(most=12)

    def dying(specs: Sequence[TrialSpec], watch: Watch | None = None) -> list[Trial] | None:
        if len(trainings.done) == 7:
            trainings(specs, watch)  # trained and kept, and not told any more
            raise _Killed
        return trainings(specs, watch)

    first = trainings([TrialSpec()])
    assert first is not None
    with pytest.raises(_Killed):
        Sampler(of, dying, first[0]).search()
    (cut_off,) = [e for e in _trials(of) if e.state == optuna.trial.TrialState.RUNNING]
    before = {each.number: each.params for each in _trials(of)}
    result = sampled(of, trainings)
    after = _trials(of)
    assert {each.number: each.params for each in after[: len(before)]} == before
    assert after[cut_off.number].user_attrs["trial"]["spec"]["changes"] is not None
    assert not [e for e in after if e.state == optuna.trial.TrialState.RUNNING]
    told = [each.user_attrs["key"] for each in after if "trial" in each.user_attrs]
    assert len(told) == len(set(told)) == 12
    assert result.ended == "The time is over."


def test_a_training_that_ends_every_process_is_a_failure_in_the_end(tmp_path: Path) -> None:
    of, trainings = study_in(tmp_path / "study"), Trainings(most=8)
    first = trainings([TrialSpec()])
    assert first is not None

    def deadly(specs: Sequence[TrialSpec], watch: Watch | None = None) -> list[Trial] | None:
        if len(trainings.done) == 3 and specs[0].fold is None:
            raise _Killed
        return trainings(specs, watch)

    for _ in range(3):
        with pytest.raises(_Killed):
            Sampler(of, deadly, first[0]).search()
    (deadly_one,) = [e for e in _trials(of) if e.state == optuna.trial.TrialState.RUNNING]
    result = sampled(of, trainings)
    told = _trials(of)[deadly_one.number].user_attrs
    assert told["reason"] == "3 processes ended in its epoch 1, and did not say why"
    assert told["key"] not in trainings.done
    assert result.ended == "The time is over."


def test_ctrl_c_is_no_failure_of_the_training(tmp_path: Path) -> None:
    of, trainings = study_in(tmp_path / "study"), Trainings(most=5)
    first = trainings([TrialSpec()])
    assert first is not None

    def stopped(specs: Sequence[TrialSpec], watch: Watch | None = None) -> list[Trial] | None:
        if len(trainings.done) == 3:
            raise KeyboardInterrupt
        return trainings(specs, watch)

    for _ in range(4):
        with pytest.raises(KeyboardInterrupt):
            Sampler(of, stopped, first[0]).search()
    sampled(of, trainings)
    assert not [each for each in trainings.done.values() if each.state == "failed"]
    assert not [each for each in _trials(of) if "ended in its epoch" in str(each.user_attrs)]


def _work(folder: Path, most: int) -> None:
    trainings = Trainings(most=most)
    sampled(study_in(folder), trainings)
    lines = [each.spec.key for each in trainings.done.values() if each.spec.fold is None]
    (folder / f"{multiprocessing.current_process().name}.txt").write_text("\n".join(lines))


@pytest.mark.slow
def test_two_processes_share_one_study_and_no_trial(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    study_in(folder).open()
    spawn = multiprocessing.get_context("spawn")
    both = [spawn.Process(target=_work, args=(folder, 10), name=name) for name in "ab"]
    for each in both:
        each.start()
    for each in both:
        each.join()
    assert [each.exitcode for each in both] == [0, 0]
    trials = [each for each in _trials(study_in(folder)) if "trial" in each.user_attrs]
    keys = [each.user_attrs["key"] for each in trials]
    assert len(keys) == len(set(keys))
    # Each had time for 10 with the first one, which is one of both.
    assert len(keys) >= 17
    one, other = ((folder / f"{name}.txt").read_text().split() for name in "ab")
    assert set(one) & set(other) == {TrialSpec().key}


def test_a_machine_knows_what_another_one_trained_and_leaves_its_trials_alone(
    tmp_path: Path,
) -> None:
    storage = f"sqlite:///{tmp_path / 'shared.db'}"
    here = study_in(tmp_path / "here", storage=storage, name="skin")
    there = study_in(tmp_path / "there", storage=storage, name="skin")
    trainings = Trainings(most=6)
    sampled(here, trainings)
    study = here.open()
    begun = study.ask()
    begun.set_user_attr("owner", here.owner)  # it is at it
    kept: dict[str, Trial] = {}
    others = Trainings(most=6)
    sampled(there, others, keep=lambda trial: kept.update({trial.spec.key: trial}))
    assert set(_finished_keys(trainings)) <= set(kept)
    shared = set(_finished_keys(trainings)) & set(_finished_keys(others))
    assert shared <= {TrialSpec().key}
    running = [e for e in _trials(there) if e.state == optuna.trial.TrialState.RUNNING]
    assert [each.number for each in running] == [begun.number]


def _finished_keys(trainings: Trainings) -> list[str]:
    return [each.spec.key for each in _finished(trainings)]


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"objective": "auc"}, "of another objective: 'val_loss' there and 'auc' here"),
        ({"images": "those"}, "of another set of images"),
        (
            {"space": Space({**SPACE.declared, "model.width": Choices((16, 32))})},
            "of another space: model.width is",
        ),
    ],
)
def test_a_study_of_something_else_is_refused(
    other: dict[str, Any], said: str, tmp_path: Path
) -> None:
    study_in(tmp_path / "study").open()
    with pytest.raises(sl.RunError, match=said):
        study_in(tmp_path / "study", **other).open()


def test_a_study_that_somebody_else_made_is_refused(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path / 'foreign.db'}"
    study = optuna.create_study(storage=storage, study_name="skin")
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    with pytest.raises(sl.RunError, match="was not begun by `sightline tune`"):
        study_in(tmp_path / "study", storage=storage, name="skin").open()


def test_a_folder_that_was_moved_has_its_study_with_it(tmp_path: Path) -> None:
    study_in(tmp_path / "before").open().enqueue_trial({})
    (tmp_path / "before").rename(tmp_path / "after")
    assert len(study_in(tmp_path / "after").open().get_trials()) == 1


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql+psycopg://me:pa/ss@host/db", "postgresql+psycopg://me:***@host/db"),
        ("postgresql://me:p@ss#?@host:5432/db", "postgresql://me:***@host:5432/db"),
        ("postgresql://host/db?user=me&password=secret&x=1",
         "postgresql://host/db?user=me&password=***&x=1"),
        ("sqlite:////data/study.db", "sqlite:////data/study.db"),
    ],
)  # fmt: skip
def test_no_password_is_shown(url: str, said: str) -> None:
    assert studies.shown(url) == said


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://me:$NO_SUCH_PASSWORD@host/db", r"names \$NO_SUCH_PASSWORD, and there is no"),
        ("sqlite:///{folder}/none/study.db", "cannot be used"),
        ("what", r"cannot be used"),
        ("postgresql+psycopg://me:secret@host:port/db", r"me:\*\*\*@host:port/db cannot be used"),
    ],
)
def test_a_storage_that_cannot_be_used_is_told_in_one_line(url: str, said: str) -> None:
    with pytest.raises((sl.RunError, sl.SetupError), match=said) as caught:
        studies.refuse_unusable(url)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_password_of_any_letters_may_come_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOLDER", str(tmp_path))
    study_in(tmp_path / "runs", storage="sqlite:///$FOLDER/s{1}.db", name="skin").open()
    assert (tmp_path / "s{1}.db").exists()
