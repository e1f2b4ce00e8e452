"""Searches on simulated trainings: what a ladder does, known in advance and in milliseconds.

    python tests/search/simulated_worlds.py 1500 600

counts how many of 1,500 searches keep a change that does nothing, and how many of 600 one that
helps by twice the noise of a pair. The worlds are others than those of the tests.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sightline.recipes import Recipe, load_recipe
from sightline.records.trials import Trial, TrialSpec, Watch
from sightline.search import Climbed, Ladder

NOISE = 0.02  # standard deviation of one paired difference
_LOSS, _GUESS, _VALIDATED = 0.5, 1.1, 200


def base() -> Recipe:
    return load_recipe("basic", {"data.image_size": [64, 64]})


@dataclass
class World:
    """Trainings whose val_loss is known but for noise.

    Attributes:
        number: Of the world: another one, other noise.
        gains: (changes, what they gain in units of the noise), for each change that does something.
        loss: What the base has.
        most: Trainings that there is time for.
        slow: Changes that make a training take ten seconds in place of one.
        answers: What the curves ask for.
        asked: Every training that was asked for, in order.
    """

    number: int
    gains: Sequence[tuple[Mapping[str, Any], float]] = ()
    loss: float = _LOSS
    most: int = 10**9
    slow: Sequence[Mapping[str, Any]] = ()
    answers: tuple[tuple[str, str], ...] = (("overfitting", "model.dropout=[0.2, 0.2, 0.2]"),)
    asked: list[TrialSpec] = field(default_factory=list)

    def __call__(
        self, specs: Sequence[TrialSpec], watch: Watch | None = None
    ) -> list[Trial] | None:
        """Return made-up trainings; they have no curve that a watch could be asked about."""
        del watch
        if len(self.asked) + len(specs) > self.most:
            return None
        self.asked += specs
        return [self.trained(spec) for spec in specs]

    def trained(self, spec: TrialSpec) -> Trial:
        common = self._drawn(f"{spec.seed} {spec.fold} {spec.quick}", 0.1)
        loss = self.loss + common + self._drawn(spec.key, NOISE / np.sqrt(2))
        for changes, gain in self.gains:
            if all(spec.changes.get(key) == value for key, value in changes.items()):
                loss -= gain * NOISE
        slow = any(holds(spec.changes, each) for each in self.slow)
        return Trial(
            spec, "finished", value=loss, val_loss=loss, guess_loss=_GUESS + common,
            num_validation=_VALIDATED, answers=self.answers, seconds=10.0 if slow else 1.0,
        )  # fmt: skip

    def _drawn(self, name: str, spread: float) -> float:
        numbers = [self.number, *name.encode()]
        return float(np.random.default_rng(numbers).normal(0, spread))


def climbed(world: World, **more: Any) -> Climbed:
    return Ladder(base(), world, **more).climb()


HELPING: tuple[Mapping[str, Any], ...] = (
    {"model.width": 64},
    {"schedule.kind": "cosine"},
    {"train.batch_size": 64},
    {"train.learning_rate": 0.003},
)


def holds(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return all(found.get(key) == value for key, value in wanted.items())


def kept_for_nothing(worlds: range) -> int:
    """Return how many searches keep a change where none does anything."""
    return sum(bool(climbed(World(number)).changes) for number in worlds)


def found_again(worlds: range) -> int:
    """Return how many searches keep the one change that helps, by twice the noise."""
    found = 0
    for number in worlds:
        helps = HELPING[number % len(HELPING)]
        found += holds(climbed(World(number, [(helps, 2.0)])).changes, helps)
    return found


if __name__ == "__main__":
    nothing, something = map(int, sys.argv[1:])
    wrong = kept_for_nothing(range(10_000, 10_000 + nothing))
    sys.stdout.write(f"{wrong} of {nothing:,} searches kept a change that does nothing\n")
    right = found_again(range(20_000, 20_000 + something))
    sys.stdout.write(f"{right} of {something:,} searches kept a change of twice the noise\n")
