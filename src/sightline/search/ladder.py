"""The ladder: one change at a time, kept only where paired trainings show that it helps.

A round looks at every proposal in one or two quick pairs, and takes the promising ones to whole
trainings, those first that gained the most for their time, on seeds that no quick pair had, and on
other folds where there are four or more. How long to train, which no quick pair can show, comes
after the most promising of the others.
The error of a whole search is shared out: each change that is put to the test takes two fifths of
what is left, and one that is kept gives its part back (after the fallback procedure of Wiens
2003), so that a search of changes that do nothing keeps one of them in at most two of a hundred
cases.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sightline.recipes import Recipe, change_recipe
from sightline.records.trials import Attempt, Trial, TrialSpec, Watch
from sightline.search import sequential, telling
from sightline.search.elimination import behind
from sightline.search.proposals import Proposal, in_pairs, propose

# Has these trainings done, the same for the same spec, and ended early where the watch has a
# reason; None: there is no time left for them.
Ask = Callable[[Sequence[TrialSpec], Watch | None], list[Trial] | None]

USED_UP = "the error that a search may make is used up"
FOLDS = 10  # the last two for quick pairs, the others for whole ones
ERROR = 0.02  # of a whole search
FRESH_PAIRS = 4  # at the end, which had no say
_SHARE = 0.4  # of the error that is left, for each change that is put to the test
_LEAST_ERROR = 0.001  # with less, eight pairs show nothing but the obvious
_QUICK_SEED = 1000  # no quick training shares its seed with a whole one
# Nats of all its validation images by which a training must beat guessing, on the average of its
# pairs, before any change of it counts: half a chi-square of the few directions in which outputs
# wander by chance (Wilks 1938). On shuffled labels none of 36 trainings had more than 0.2.
_LEAST_LEARNED = 3.0
_LENGTH = "train.epochs"
_FRESH_SEED = 2000  # nor is what kept a change what tells its worth at the end


@dataclass(frozen=True, slots=True)
class Climbed:
    """What a ladder came to.

    Attributes:
        changes: Of the recipe it began with: what was kept, together.
        attempts: Every change that was tried, in order.
        ablations: What each kept change is worth at the end, measured by leaving it out.
        optimism: How much of what the kept changes promised is seen again in pairs that decided
            nothing, a sentence.
        ended: Why it went no further, a sentence.
    """

    changes: Mapping[str, Any]
    attempts: tuple[Attempt, ...]
    ablations: tuple[Attempt, ...]
    optimism: str
    ended: str


class _NoTime(Exception):
    """There is no time for another training."""


@dataclass(frozen=True, slots=True)
class _Look:
    """What a change showed in quick pairs.

    Attributes:
        gains: In each.
        seconds: That its trainings took.
        beside: That those of the unchanged recipe took.
    """

    gains: tuple[float, ...] = ()
    seconds: float = 0.0
    beside: float = 0.0

    @property
    def worth(self) -> float:
        """What it gained for its time, which counts in steps of two: clocks are noisy."""
        if not self.seconds or not self.beside:
            return _mean(self.gains)
        return float(_mean(self.gains) / 2.0 ** round(math.log2(self.seconds / self.beside)))


@dataclass(slots=True)
class Ladder:
    """A search that climbs; `climb()` does it all.

    Attributes:
        recipe: What it begins with.
        ask: Has trainings done.
        higher_is_better: Of what the search is about; False of val_loss.
        imbalance: Images of the largest class over those of the smallest.
        told: Given each attempt as it is decided.
        climbed: Told that nothing more is tried; what follows measures what was kept.
        kept: What was kept so far, in order.
        attempts: Decided so far.
        left: Of the error that the whole search may make.
    """

    recipe: Recipe
    ask: Ask
    higher_is_better: bool = False
    imbalance: float = 1.0
    told: Callable[[Attempt], None] | None = None
    climbed: Callable[[], None] | None = None
    kept: list[Attempt] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    left: float = ERROR

    def climb(self) -> Climbed:
        """Return what was kept, once nothing more can be shown to help or the time is over."""
        try:
            while self._climbs():
                pass
            ended = "No further change can be shown to help."
            if self.left * _SHARE < _LEAST_ERROR:
                ended = f"{USED_UP.capitalize()}, so nothing more is put to the test."
        except _NoTime:
            ended = "The time is over."
        if self.climbed is not None:
            self.climbed()
        afresh: list[float] = []
        ablations: list[Attempt] = []
        try:
            if self.kept:
                self._measure_afresh(afresh)
            ablations.extend(map(self._without, self._lasting()))
        except _NoTime:
            ended += " Too little was left to measure what each kept change is worth at the end."
        optimism = telling.optimism_of(self.kept, afresh)
        kept = _together(self.kept)
        return Climbed(kept, tuple(self.attempts), tuple(ablations), optimism, ended)

    def _climbs(self) -> bool:
        """Try what may help on the present recipe until one change is kept; False where none is."""
        recipe = change_recipe(self.recipe, _together(self.kept))
        (first,) = self._run([self._whole({}, 0)])
        if first.value is None:
            raise _NoTime  # its failure is told with its trial
        # All of them are looked at before one is put to the test: the error is shared out to the
        # most promising ones.
        proposals = propose(recipe, first.answers, imbalance=self.imbalance)
        return self._one_helps(proposals, recipe)

    def _one_helps(self, proposals: Sequence[Proposal], recipe: Recipe) -> bool:
        """Try these changes, the promising ones in pairs as well, until one is kept."""
        number = len(self.kept)
        # A longer training has more short epochs too, and would be ahead for that alone.
        longer = [each for each in proposals if _LENGTH in each.changes]
        looks = self._screened([each for each in proposals if each not in longer])
        screened = {each.name: looks[each.name].gains if each.name in looks else ()
                    for each in proposals}  # fmt: skip
        order = sorted(proposals, key=lambda each: -_mean(screened[each.name]))
        promising = [each for each in order if _mean(screened[each.name]) > 0]
        for each in order:
            if each not in promising and each not in longer:
                self._decide(each, number, screened[each.name], [], sequential.NOTHING)
        ranked = sorted(promising, key=lambda each: -looks[each.name].worth)
        waiting = [*ranked[:1], *longer, *ranked[1:]]
        tested: list[tuple[float, Proposal]] = []
        while waiting:
            each = waiting.pop(0)
            try:
                attempt = self._tested(each, number, screened[each.name])
            except _NoTime:
                self._leave(waiting, number, screened, "the time was over")
                raise
            if attempt.verdict == "kept":
                self._leave(waiting, number, screened, "it is tried again on the better recipe")
                return True
            if attempt.mean is not None and attempt.mean > 0:
                tested.append((attempt.mean, each))
        best = [each for _, each in sorted(tested, key=lambda pair: -pair[0])]
        return any(
            self._tested(both, number, ()).verdict == "kept" for both in in_pairs(best, recipe)
        )

    def _leave(
        self,
        proposals: Iterable[Proposal],
        number: int,
        screened: Mapping[str, tuple[float, ...]],
        why: str,
    ) -> None:
        """Tell why these were not put to the test."""
        for each in proposals:
            self._decide(each, number, screened[each.name], [], sequential.NOTHING, why=why)

    def _screened(self, proposals: Sequence[Proposal]) -> dict[str, _Look]:
        """Return what each proposal gained in a quick pair; the better half in two."""
        found = {each.name: _Look() for each in proposals}
        self._look_at(proposals, 0, found)
        order = sorted(proposals, key=lambda each: -_mean(found[each.name].gains))
        self._look_at(order[: math.ceil(len(order) / 2)], 1, found)
        return found

    def _look_at(self, proposals: Sequence[Proposal], pair: int, found: dict[str, _Look]) -> None:
        """Add what each proposal gains in a quick pair; one that falls behind is ended early."""
        if not proposals:
            return
        (base,) = self._run([self._quick({}, pair)])
        watch = behind(base.values, higher_is_better=self.higher_is_better) if base.values else None
        changed = self._run([self._quick(each.changes, pair) for each in proposals], watch)
        for each, trial in zip(proposals, changed, strict=True):
            before = found[each.name]
            found[each.name] = _Look(
                (*before.gains, self._gain(base, trial)),
                before.seconds + trial.seconds,
                before.beside + base.seconds,
            )

    def _tested(self, proposal: Proposal, number: int, screened: tuple[float, ...]) -> Attempt:
        """Put a change to the test of whole trainings, until it is decided."""
        allowed = self.left * _SHARE
        if allowed < _LEAST_ERROR:
            return self._decide(proposal, number, screened, [], sequential.NOTHING, why=USED_UP)
        gains: list[float] = []
        learned: list[float] = []
        verdict = sequential.judge(gains, allowed)
        try:
            while verdict.outcome == "open" and all(map(math.isfinite, gains)):
                base, trial = self._run(
                    [self._whole({}, len(gains)), self._whole(proposal.changes, len(gains))]
                )
                gains.append(self._gain(base, trial))
                learned.append(_learned(trial))
                verdict = sequential.judge(gains, allowed)
        except _NoTime:
            self._decide(proposal, number, screened, gains, verdict)
            raise
        guesses = float(np.mean(learned)) < _LEAST_LEARNED
        attempt = self._decide(proposal, number, screened, gains, verdict, guesses=guesses)
        if attempt.verdict == "kept":
            self.kept.append(attempt)
        else:
            self.left -= allowed
        return attempt

    def _decide(
        self,
        proposal: Proposal,
        number: int,
        screened: tuple[float, ...],
        gains: Sequence[float],
        verdict: sequential.Verdict,
        *,
        guesses: bool = False,
        why: str = "",
    ) -> Attempt:
        attempt = telling.attempt_of(
            proposal, number, screened, gains, verdict, guesses=guesses, why=why
        )
        self.attempts.append(attempt)
        if self.told is not None:
            self.told(attempt)
        return attempt

    def _measure_afresh(self, gains: list[float]) -> None:
        """Add what all kept changes gain together, in pairs that had no say in keeping them."""
        for pair in range(FRESH_PAIRS):
            first, best = self._run([fresh({}, pair), fresh(_together(self.kept), pair)])
            gains.append(self._gain(first, best))

    def _lasting(self) -> list[Attempt]:
        """Return what was kept but for steps whose values a later one took over.

        Leaving out the later one leaves out both.
        """
        return [
            attempt
            for place, attempt in enumerate(self.kept)
            if not any(attempt.changes.keys() <= later.changes.keys()
                       for later in self.kept[place + 1 :])
        ]  # fmt: skip

    def _without(self, attempt: Attempt) -> Attempt:
        """Return what a kept change is worth beside the others, by leaving it out."""
        others = _together(
            each for each in self.kept if not each.changes.keys() <= attempt.changes.keys()
        )
        gains = []
        for pair in range(FRESH_PAIRS):
            left_out, complete = self._run([fresh(others, pair), fresh(_together(self.kept), pair)])
            gains.append(self._gain(left_out, complete))
        return telling.ablation_of(attempt, gains)

    def _run(self, specs: Sequence[TrialSpec], watch: Watch | None = None) -> list[Trial]:
        trials = self.ask(specs, watch)
        if trials is None:
            raise _NoTime
        return trials

    def _quick(self, changes: Mapping[str, Any], pair: int) -> TrialSpec:
        present = _together(self.kept)
        return TrialSpec({**present, **changes}, _QUICK_SEED + pair, FOLDS - 1 - pair, quick=True)

    def _whole(self, changes: Mapping[str, Any], pair: int) -> TrialSpec:
        return TrialSpec({**_together(self.kept), **changes}, pair, pair)

    def _gain(self, base: Trial, changed: Trial) -> float:
        """Return what a change gained; NaN where the unchanged recipe failed, -inf where it did."""
        if base.value is None or math.isnan(base.value):
            return math.nan
        if changed.value is None or math.isnan(changed.value):
            return -math.inf
        gain = base.value - changed.value
        return -gain if self.higher_is_better else gain


def _together(attempts: Iterable[Attempt]) -> dict[str, Any]:
    together: dict[str, Any] = {}
    for attempt in attempts:
        together |= attempt.changes
    return together


def fresh(changes: Mapping[str, Any], pair: int) -> TrialSpec:
    """Return a training of a pair that decides nothing: no other has its seed."""
    return TrialSpec(changes, _FRESH_SEED + pair, pair)


def _mean(gains: Sequence[float]) -> float:
    """Return the mean; less than any other of none, and where a training failed."""
    return float(np.mean(gains)) if gains and all(map(math.isfinite, gains)) else -math.inf


def _learned(trial: Trial) -> float:
    """Return by how many nats of all validation images a training beats guessing, at its best.

    At its epoch of the lowest val_loss: another figure may choose one where the network is right
    more often, and far too sure.
    """
    losses = [loss for loss in (*trial.curve, trial.val_loss) if loss is not None]
    finite = [loss for loss in losses if math.isfinite(loss)]
    if not finite or trial.guess_loss is None:
        return -math.inf
    return trial.num_validation * (trial.guess_loss - min(finite))
