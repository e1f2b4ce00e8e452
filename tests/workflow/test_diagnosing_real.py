"""Small real trainings in which the cause was made on purpose, and healthy ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from faulty_trainings import CASES, HEALTHY

import sightline as sl
from sightline.records import Diagnosis

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", list(CASES))
def test_the_cause_that_was_made_is_found(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    found = sl.diagnose(case.train(tmp_path))
    assert set(case.expected) & {finding.code for finding in found.standing}, found


@pytest.fixture(scope="module", params=list(HEALTHY))
def healthy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Diagnosis:
    """The diagnosis of each healthy training in turn."""
    return sl.diagnose(HEALTHY[request.param].train(tmp_path_factory.mktemp("healthy")))


def test_a_healthy_training_has_no_error(healthy: Diagnosis) -> None:
    assert healthy.errors == ()


def test_a_healthy_training_is_told_to_change_nothing(healthy: Diagnosis) -> None:
    assert [finding.code for finding in healthy.standing if finding.recipe_change] == []
