"""What is said of checkpoints that cannot be written, and of what stands then."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from pathlib import Path

import numpy as np
import pytest
from tiny import small_recipe

from listening_lines import Lines
from sightline.errors import RunError
from sightline.learning.training.saving import Keeper
from sightline.runs import load_checkpoint

FullDisk = Callable[[], AbstractContextManager[None]]
STANDS = "The one before stands; it will be tried again."
GO_ON = r"Free some space .*; what was saved before stands\. Go on: sightline train --resume"
BEGIN = r"Free some space .*; no checkpoint was saved before\. Begin again from the first step, in"


@pytest.fixture
def lines() -> Lines:
    return Lines()


@pytest.fixture
def keeper(tmp_path: Path, lines: Lines) -> Iterator[Keeper]:
    with closing(Keeper(tmp_path, small_recipe(), ("cat", "dog"), lines, {})) as keeper:
        yield keeper


def save(keeper: Keeper, step: int, *, last: bool = False) -> None:
    keeper.save(step, {"x": np.arange(3.0)}, {"epoch": 0}, last=last)


def test_where_the_first_one_fails_none_is_said_to_stand(
    keeper: Keeper, lines: Lines, full_disk: FullDisk
) -> None:
    with full_disk():
        save(keeper, 1)
    assert lines.said == [
        f"no checkpoint could be written in {keeper.run}: File too large. "
        "There is none before it; it will be tried again."
    ]


def test_where_a_later_one_fails_the_one_before_stands(
    keeper: Keeper, lines: Lines, full_disk: FullDisk
) -> None:
    save(keeper, 1)
    with full_disk():
        save(keeper, 2)
    assert lines.said[-1].endswith(STANDS)
    found, damaged = load_checkpoint(keeper.run)
    assert found is not None
    assert (found.meta["step"], damaged) == (1, [])


def test_the_one_that_a_training_went_on_from_stands(
    keeper: Keeper, lines: Lines, full_disk: FullDisk
) -> None:
    keeper.restore({"card": {}}, epochs=0)
    with full_disk():
        save(keeper, 2)
    assert lines.said[-1].endswith(STANDS)


@pytest.mark.parametrize(("earlier", "told"), [(0, BEGIN), (1, GO_ON)])
def test_the_third_failure_says_where_it_goes_on(
    earlier: int, told: str, keeper: Keeper, full_disk: FullDisk
) -> None:
    for step in range(earlier):
        save(keeper, step)
    with full_disk():
        save(keeper, 2)
        save(keeper, 3)
        with pytest.raises(RunError, match=rf"File too large, 3 times in a row\. {told}"):
            save(keeper, 4)


@pytest.mark.parametrize(("earlier", "told"), [(0, BEGIN), (1, GO_ON)])
def test_the_failure_of_the_last_one_says_where_it_goes_on(
    earlier: int, told: str, keeper: Keeper, full_disk: FullDisk
) -> None:
    for step in range(earlier):
        save(keeper, step)
    with full_disk(), pytest.raises(RunError, match=rf"File too large\. {told}"):
        save(keeper, 2, last=True)
