"""Every rule on simulated histories whose causes are known: how often it is right, and finds."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from curves_simulator import CURVES, Case, simulate

from sightline.judging.diagnosis import CODES, diagnose
from sightline.recipes import BUILTIN_NAMES, change_recipe, dump_recipe, load_recipe
from sightline.records import Diagnosis

# The rules were developed on the first half; the second was looked at once, when they were done.
DEVELOPED, UNTOUCHED = range(400), range(400, 800)
# Precision and recall of the worst rule; most have 1.
LEAST = {"developed": (0.9, 0.8), "untouched": (0.8, 0.65)}
FEW = 100  # of each half, for every day; `docs/diagnosis.md` has the figures of all


@dataclass
class Counts:
    """How often a code was right, wrong, and not found."""

    right: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, judged: Sequence[tuple[Case, Diagnosis]]) -> Counts:
        counts = cls()
        for case, done in judged:
            found = {finding.code for finding in done.standing}
            counts.right.update(found & case.expected)
            counts.wrong.update(found - case.expected - case.allowed)
            counts.missed.update(case.expected - found)
        return counts

    def precision(self, code: str) -> float:
        return self.right[code] / max(1, self.right[code] + self.wrong[code])

    def recall(self, code: str) -> float:
        return self.right[code] / max(1, self.right[code] + self.missed[code])


def judged(seeds: Sequence[int]) -> list[tuple[Case, Diagnosis]]:
    cases = [simulate(seed) for seed in seeds]
    return [(case, diagnose(case.facts)) for case in cases]


@pytest.fixture(scope="module")
def some() -> list[tuple[Case, Diagnosis]]:
    return judged([*DEVELOPED[:FEW], *UNTOUCHED[:FEW]])


@pytest.fixture(scope="module")
def all_of_them() -> dict[str, list[tuple[Case, Diagnosis]]]:
    return {"developed": judged(DEVELOPED), "untouched": judged(UNTOUCHED)}


def test_nine_of_ten_findings_are_right_and_nine_of_ten_causes_found(
    some: list[tuple[Case, Diagnosis]],
) -> None:
    counts = Counts.of(some)
    right = counts.right.total()
    assert right / (right + counts.wrong.total()) >= 0.9
    assert right / (right + counts.missed.total()) >= 0.9


def test_no_healthy_history_has_an_error(some: list[tuple[Case, Diagnosis]]) -> None:
    healthy = [
        (case, done)
        for case, done in some
        if case.cause.startswith("healthy") and not case.expected
    ]
    assert healthy
    assert [(case.cause, done.errors) for case, done in healthy if done.errors] == []


def test_a_small_validation_set_is_never_called_an_unsteady_model(
    some: list[tuple[Case, Diagnosis]],
) -> None:
    small = [done for case, done in some if case.cause.startswith("small_validation")]
    assert small
    assert [done.summary for done in small if done["erratic-validation"].stands] == []


# What a run has in place of the values that `auto` leaves open.
PLANNED = (
    "data.image_size=[64,64]", "data.channels=3", "data.scaling=1/255", "model.width=16",
    "model.stages=3", "model.blocks=1", "train.epochs=20", "train.batch_size=32",
    "train.weight_average=0.9",
)  # fmt: skip


@pytest.mark.parametrize("name", BUILTIN_NAMES)
def test_every_recipe_change_is_one_that_the_recipe_takes_and_did_not_have(
    name: str, some: list[tuple[Case, Diagnosis]], tmp_path: Path
) -> None:
    own = load_recipe(name, PLANNED if name == "auto" else ())
    told = set()
    for case, _ in some:
        # As trained: with the patience that the curves were ended by.
        patience = case.facts.patience or 0
        trained = change_recipe(own, {"stop.patience": patience})
        for finding in diagnose(replace(case.facts, recipe=trained)).findings:
            told.add((patience, finding.recipe_change))
    changes = {(patience, change) for patience, change in told if change}
    assert len({change for _, change in changes}) > 10
    for patience in {patience for patience, _ in changes}:
        trained = change_recipe(own, {"stop.patience": patience})
        (tmp_path / "recipe.toml").write_text(dump_recipe(trained), "utf-8")
        for change in sorted(change for number, change in changes if number == patience):
            assert load_recipe(tmp_path / "recipe.toml", [change]) != trained, change


def test_every_diagnosis_is_plain_json(some: list[tuple[Case, Diagnosis]]) -> None:
    for _, done in some:
        text = json.dumps(done.to_dict(), allow_nan=False)
        assert Diagnosis.from_dict(json.loads(text)).to_dict() == done.to_dict()


def test_findings_stand_the_worst_first(some: list[tuple[Case, Diagnosis]]) -> None:
    order = {"error": 0, "warning": 1, "info": 2}
    for _, done in some:
        severities = [order[finding.severity] for finding in done.standing]
        assert severities == sorted(severities)


def test_every_rule_has_an_outcome_for_every_history(some: list[tuple[Case, Diagnosis]]) -> None:
    for _, done in some:
        assert sorted(finding.code for finding in done.findings) == sorted(CODES)


def test_the_same_seed_gives_the_same_history() -> None:
    first, second = simulate(7), simulate(7)
    assert first.cause == second.cause
    assert all((first.facts[name] == second.facts[name]).all() for name in first.facts.columns)


def test_the_simulator_has_at_least_eight_histories_of_each_cause_in_a_half() -> None:
    names = list(CURVES)
    turns = Counter(_curve(seed, names) for seed in DEVELOPED)
    assert min(turns[name] for name in names) >= 8


@pytest.mark.slow
@pytest.mark.parametrize("half", ["developed", "untouched"])
@pytest.mark.parametrize("code", CODES)
def test_a_rule_is_right_and_finds(
    code: str, half: str, all_of_them: dict[str, list[tuple[Case, Diagnosis]]]
) -> None:
    counts = Counts.of(all_of_them[half])
    precision, recall = LEAST[half]
    assert counts.right[code] >= 8
    assert counts.precision(code) >= precision
    assert counts.recall(code) >= recall


def _curve(seed: int, names: list[str]) -> str:
    return names[seed % 2] if seed % 3 == 0 else names[2 + (seed - seed // 3) % (len(names) - 2)]
