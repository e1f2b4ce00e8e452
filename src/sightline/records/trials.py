"""The nouns of a search: one training of it, one change that was tried, and what came of it all."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

TrialState = Literal["finished", "stopped", "failed"]
Strategy = Literal["ladder", "optuna"]
Verdict = Literal["kept", "rejected", "undecided"]
# Given what a search is about after each epoch so far, the reason for which the training ends
# here; "" where it goes on.
Watch = Callable[[Sequence[float]], str]
_ENOUGH = 10  # trainings of one split, to compare these alone


@dataclass(frozen=True, slots=True)
class TrialSpec:
    """One training that a search asks for.

    Attributes:
        changes: Of the recipe that the search began with, by dotted key.
        seed: Added to the recipe's own.
        fold: Which fold validates; None for the validation split that the images came with.
        quick: With fewer epochs, and smaller images where they are large.
    """

    changes: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    fold: int | None = None
    quick: bool = False

    @property
    def key(self) -> str:
        """What it is known by: the same for the same training, 16 hexadecimal digits."""
        plain = json.dumps(self.to_dict(), sort_keys=True)
        return hashlib.sha256(plain.encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        changes = json.loads(json.dumps(dict(self.changes)))  # a tuple and a list are the same
        return {"changes": changes, "seed": self.seed, "fold": self.fold, "quick": self.quick}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> TrialSpec:
        """Return what `to_dict` wrote."""
        return cls(**plain)


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of one training of a search.

    Attributes:
        spec: What was asked for.
        state: "finished"; "stopped", where its curve promised nothing; "failed".
        reason: Why it failed or was stopped, a sentence; else "".
        value: What the search is about, of the best epoch: val_loss or a metric of validation;
            None of one that failed.
        val_loss: Of the best epoch; None of one that failed.
        guess_loss: The val_loss of always answering the class shares of the training images.
        num_validation: Images that it was validated on.
        curve: val_loss of each epoch.
        values: What the search is about, of each epoch.
        best_epoch: 0-based; -1 where there is none.
        seconds: What it took, from the first step to the last file.
        waiting: Seconds of these in which the training waited for images.
        parameters: Of the network; 0 where it was not built.
        answers: Findings of its curves that a change of the recipe answers: (code, change as
            `--set` takes it), the worst first.
        run: The name of its folder beside the others; "" where that is on another machine.
    """

    spec: TrialSpec
    state: TrialState
    reason: str = ""
    value: float | None = None
    val_loss: float | None = None
    guess_loss: float | None = None
    num_validation: int = 0
    curve: tuple[float, ...] = ()
    values: tuple[float, ...] = ()
    best_epoch: int = -1
    seconds: float = 0.0
    waiting: float = 0.0
    parameters: int = 0
    answers: tuple[tuple[str, str], ...] = ()
    run: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        plain = {name: getattr(self, name) for name in self.__slots__}
        return plain | {
            "spec": self.spec.to_dict(),
            "curve": list(self.curve),
            "values": list(self.values),
            "answers": [list(each) for each in self.answers],
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Trial:
        """Return the trial that `to_dict` wrote."""
        whole = {
            "spec": TrialSpec.from_dict(plain["spec"]),
            "curve": tuple(plain["curve"]),
            "values": tuple(plain["values"]),
            "answers": tuple((code, change) for code, change in plain["answers"]),
        }
        return cls(**{**plain, **whole})


def comparable(trials: Sequence[Trial], *, sampled: bool = False) -> list[Trial]:
    """Return whole trainings, one for each recipe, with values that can be compared.

    A sampler's are all of one split and seed. A ladder's are of many: each is then the mean of
    what it differs by from the unchanged recipe of the same fold and seed, added to what that one
    has on the average. What did not finish is left out.

    Args:
        trials: Of one search, in any order.
        sampled: It was a sampler's; else that is told by the many of one split and seed.
    """
    done = [
        each for each in trials
        if each.state == "finished" and not each.spec.quick
        and each.value is not None and math.isfinite(each.value)
    ]  # fmt: skip
    given = [each for each in done if (each.spec.seed, each.spec.fold) == (0, None)]
    if sampled or len(given) >= _ENOUGH:
        return given
    bases = {
        (each.spec.seed, each.spec.fold): each.value or 0.0
        for each in done if not each.spec.changes
    }  # fmt: skip
    level = sum(bases.values()) / max(len(bases), 1)
    found: dict[str, tuple[Trial, list[float]]] = {}
    for each in done:
        base = bases.get((each.spec.seed, each.spec.fold))
        if base is not None:
            plain = json.dumps(each.spec.to_dict()["changes"], sort_keys=True)
            found.setdefault(plain, (each, []))[1].append((each.value or 0.0) - base)
    return [replace(each, value=level + sum(gains) / len(gains)) for each, gains in found.values()]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One change that was tried, and whether it is kept.

    Attributes:
        name: What it is called, e.g. "more dropout".
        changes: What it sets, by dotted key.
        why: Which finding or rule of thumb it follows from.
        round: Which base it was tried on: 0 for the first.
        quick: What it gained in each quick pair; positive is better, -inf where it failed.
        gains: What it gained in each pair of whole trainings, likewise.
        verdict: "kept", "rejected", "undecided".
        sentence: The decision in words, with its numbers.
        mean: Of the gains; None where there are none.
        noise: Standard deviation of one of them; None of fewer than two.
        error: The probability of such gains of a change that does nothing; None likewise.
        needed: How many pairs would decide it; 0 where it is decided.
    """

    name: str
    changes: Mapping[str, Any]
    why: str
    round: int
    quick: tuple[float, ...]
    gains: tuple[float, ...]
    verdict: Verdict
    sentence: str
    mean: float | None = None
    noise: float | None = None
    error: float | None = None
    needed: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        plain = {name: getattr(self, name) for name in self.__slots__}
        return plain | {
            "changes": dict(self.changes),
            "quick": [_plain(gain) for gain in self.quick],
            "gains": [_plain(gain) for gain in self.gains],
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Attempt:
        """Return the attempt that `to_dict` wrote."""
        whole = {name: tuple(map(_gain, plain[name])) for name in ("quick", "gains")}
        return cls(**{**plain, **whole})


def _plain(gain: float) -> float | None:
    """Return a gain as JSON has it; that of a training that failed is null."""
    return gain if math.isfinite(gain) else None


def _gain(plain: float | None) -> float:
    return -math.inf if plain is None else plain


@dataclass(frozen=True, slots=True)
class Tuning:
    """What a search came to.

    Attributes:
        folder: Where it is kept.
        strategy: "ladder" or "optuna".
        objective: What it was about: "val_loss" or a metric of validation.
        recipe: Name of the recipe that it began with.
        changes: What makes that recipe the best one, by dotted key.
        trials: Every training, the first one first.
        attempts: Every change that was tried, in order; () of a sampler.
        ablations: What each kept change is worth at the end; () of a sampler.
        first: The recipe that it began with, on the given validation split; None where there was
            no time for it.
        best: The best recipe, likewise.
        ended: Why it went no further.
        seconds: What all trainings took together.
        optimism: What is known of how much too good the best figure is, a sentence.
        importance: How much each parameter decided which trainings were good ones, (parameter,
            share), the most first; () where too few were done, or without Optuna.
    """

    folder: str
    strategy: str
    objective: str
    recipe: str
    changes: Mapping[str, Any]
    trials: tuple[Trial, ...]
    attempts: tuple[Attempt, ...] = ()
    ablations: tuple[Attempt, ...] = ()
    first: Trial | None = None
    best: Trial | None = None
    ended: str = ""
    seconds: float = 0.0
    optimism: str = ""
    importance: tuple[tuple[str, float], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        plain = {name: getattr(self, name) for name in self.__slots__}
        return plain | {
            "changes": dict(self.changes),
            "trials": [each.to_dict() for each in self.trials],
            "attempts": [each.to_dict() for each in self.attempts],
            "ablations": [each.to_dict() for each in self.ablations],
            "first": self.first.to_dict() if self.first else None,
            "best": self.best.to_dict() if self.best else None,
            "importance": [list(each) for each in self.importance],
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Tuning:
        """Return what `to_dict` wrote."""
        whole: dict[str, Any] = {
            "trials": tuple(map(Trial.from_dict, plain["trials"])),
            "attempts": tuple(map(Attempt.from_dict, plain["attempts"])),
            "ablations": tuple(map(Attempt.from_dict, plain["ablations"])),
            "first": Trial.from_dict(plain["first"]) if plain["first"] else None,
            "best": Trial.from_dict(plain["best"]) if plain["best"] else None,
            "importance": tuple((name, share) for name, share in plain.get("importance", ())),
        }
        return cls(**{**plain, **whole})
