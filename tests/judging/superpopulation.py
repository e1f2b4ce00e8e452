"""A world of images whose true figures are known, from which test sets are drawn.

A model sees one number a class, normal noise around a shift of the true class. Images of a group
share a part of that noise. Its probabilities are the true ones of these numbers, at the class
shares of the test set, or made more extreme.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from sightline.judging.evaluation import evaluate
from sightline.records import Evaluation, Interval, Predictions

WEAK, STRONG = 0.67, 1.88  # shifts that give two classes a ROC AUC of about 0.75 and 0.97
_ALIKE = 0.3  # of the noise's variance is the group's
_LARGE = 1_000_000  # images of which the truth is taken
Key = tuple[str, str]  # "overall" or a class, and the metric


@dataclass(frozen=True)
class World:
    """One superpopulation and the shape of the test sets drawn from it.

    Attributes:
        name: For the table.
        per_class: Images, or groups where there are groups, of each class.
        shift: How far a class stands out.
        sharpened: What the logits are multiplied by; 1 is calibrated, 2 overconfident.
        group_size: Mean images a group, of an exponential shape; 0 without groups.
        mixed: Whether every fourth image of a group is of the next class.
        pushed: What is added to every logit of the first class; much of it makes a model that
            hardly ever answers anything else.
    """

    name: str
    per_class: tuple[int, ...]
    shift: float
    sharpened: float
    group_size: float = 0
    mixed: bool = False
    pushed: float = 0

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple("abcdefgh"[: len(self.per_class)])

    def design(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the labels of a test set and the group of each image."""
        if not self.group_size:
            return np.repeat(np.arange(len(self.per_class)), self.per_class), None
        labels, groups = [], []
        for index, count in enumerate(self.per_class):
            middle = (np.arange(count) + 0.5) / count
            sizes = np.maximum(1, np.round(-np.log(1 - middle) * self.group_size)).astype(int)
            for size in sizes:
                members = np.full(size, index)
                if self.mixed:
                    members[3::4] = (index + 1) % len(self.per_class)
                labels.append(members)
                groups.append(np.full(size, len(groups)))
        return np.concatenate(labels), np.concatenate(groups)

    def probabilities(
        self, labels: np.ndarray, groups: np.ndarray | None, rng: np.random.Generator
    ) -> np.ndarray:
        """Return (N, K) float32 what the model says of newly drawn images."""
        classes = len(self.per_class)
        seen = rng.normal(size=(len(labels), classes))
        if groups is not None:
            shared = rng.normal(size=(groups.max() + 1, classes))[groups]
            seen = np.sqrt(1 - _ALIKE) * seen + np.sqrt(_ALIKE) * shared
        seen[np.arange(len(labels)), labels] += self.shift
        shares = np.bincount(labels, minlength=classes) / len(labels)
        logits = (self.shift * seen + np.log(shares)) * self.sharpened
        logits[:, 0] += self.pushed
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)

    def truth(self) -> dict[Key, float]:
        """Return every figure of a very large set of the same class shares."""
        labels = np.tile(self.design()[0], _LARGE // len(self.design()[0]))
        found = self.judged(labels, None, np.random.default_rng(99), rounds=2)
        return {key: interval.value for key, interval in figures_of(found)}

    def judged(
        self, labels: np.ndarray, groups: np.ndarray | None, rng: np.random.Generator, rounds: int
    ) -> Evaluation:
        """Return the evaluation of one test set."""
        predictions = Predictions.make(
            class_names=self.class_names,
            record_ids=[""] * len(labels),
            labels=np.asarray(self.class_names)[labels].tolist(),
            groups=None if groups is None else [str(group) for group in groups],
            probabilities=self.probabilities(labels, groups, rng),
        )
        return evaluate(predictions, source="test", rounds=rounds)


def figures_of(found: Evaluation) -> Iterator[tuple[Key, Interval]]:
    """Yield every figure with its interval; of two classes only the second's and the overall."""
    parts: list[tuple[str, Mapping[str, Interval]]] = [("overall", found.intervals)]
    parts += [(scores.name, scores.intervals) for scores in found.classes]
    for place, intervals in parts:
        for metric, interval in intervals.items():
            yield (place, metric), interval


def coverage(
    world: World, *, sets: int, rounds: int, seed: int
) -> dict[Key, tuple[int, int, int, int]]:
    """Return of each figure how many sets gave an interval, and where the truth was.

    Returns:
        Intervals given, those below the truth, those above it, those that hold it.
    """
    truth, (labels, groups) = world.truth(), world.design()
    counts: dict[Key, list[int]] = {}
    for number in range(sets):
        found = world.judged(labels, groups, np.random.default_rng((seed, number)), rounds)
        for key, interval in figures_of(found):
            if interval.low is not None and key in truth:
                tally = counts.setdefault(key, [0, 0, 0, 0])
                tally[0] += 1
                tally[1] += interval.high < truth[key] - 1e-9
                tally[2] += interval.low > truth[key] + 1e-9
                tally[3] += interval.low - 1e-9 <= truth[key] <= interval.high + 1e-9
    return {key: tuple(tally) for key, tally in counts.items()}
