"""The sampler: recipes drawn from a declared space, where good ones were drawn before.

Optuna's TPE draws, and its Hyperband ends trainings whose curves fall behind. Every trial of the
study is a training of ours, known by its key: nothing is trained twice, and one that was cut off
goes on, in the same trial.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sightline import runs
from sightline.errors import RunError
from sightline.recipes import flat
from sightline.records.trials import Trial, TrialSpec, Watch
from sightline.search import studies
from sightline.search.ladder import FRESH_PAIRS, Ask, fresh
from sightline.search.studies import StudyOf
from sightline.search.telling import luck_of

if TYPE_CHECKING:
    import optuna

_MOST_REPEATS = 30  # in a row: what is left of the space is not drawn any more
_MOST_TAKEN = 3  # by a process, without an epoch more
_MOST_FAILURES = 10  # in a row: it is not the values that they fail by


@dataclass(frozen=True, slots=True)
class Sampled:
    """What a sampler came to.

    Attributes:
        changes: Of the recipe it began with: those of the best training.
        optimism: What the best one gains on splits that did not choose it, a sentence.
        ended: Why it went no further, a sentence.
    """

    changes: Mapping[str, Any]
    optimism: str
    ended: str


@dataclass(slots=True)
class Sampler:
    """A search that draws; `search()` does it all.

    Attributes:
        of: What the study is of, and where it is kept.
        ask: Has trainings done.
        first: The training of the recipe itself.
        keep: Given what came of a training that another machine did.
        sampled: Told that nothing more is drawn; what follows measures the best one.
    """

    of: StudyOf
    ask: Ask
    first: Trial
    keep: Callable[[Trial], None] | None = None
    sampled: Callable[[], None] | None = None
    _study: optuna.Study = field(init=False)
    _pruner: optuna.pruners.BasePruner = field(init=False)
    _base: Mapping[str, Any] = field(init=False)
    _repeats: int = 0
    _failures: int = 0

    def search(self) -> Sampled:
        """Return the best recipe, once the time is over or nothing new is drawn.

        Raises:
            RunError: The storage cannot be used, or has another study of this name.
            SetupError: Optuna is not installed.
        """
        self._study, self._base = self.of.open(), flat(self.of.recipe)
        self._pruner = self.of.pruner()
        (self.of.folder / "trials").mkdir(exist_ok=True)
        with studies.faults(self.of.storage):
            self._begin_with_the_recipe()
            while not (ended := self._trial()):
                pass
            self._wait_for_others()
            self._take_over()
            every = studies.told_trials(self._study)
        if self.sampled is not None:
            self.sampled()
        best = self._best(every)
        return Sampled(best.spec.changes, self._measured_afresh(best, len(every)), ended)

    def _begin_with_the_recipe(self) -> None:
        """Put the recipe itself first, where it is in the space."""
        own = self.of.space.own(self._base)
        with studies.alone(self.of.folder):
            if own is not None and not self._study.get_trials(deepcopy=False):
                self._study.enqueue_trial(studies.encoded(own))

    def _trial(self) -> str:
        """Do one trial; return why there is no other, a sentence, or ""."""
        self._take_over()
        with ExitStack() as claims:
            with studies.alone(self.of.folder):
                trial, anew = self._claimed(claims)
                spec = TrialSpec(self.of.space.draw(self._base, partial(studies.suggest, trial)))
                trial.set_user_attr(studies.KEY, spec.key)
            if (same := self._same_as(trial.number, spec.key)) is not None:
                self._drop(trial, f"the same as trial {same}")
                self._repeats += 1
                return "Nothing new is drawn from the space." * (self._repeats >= _MOST_REPEATS)
            if not anew and (fatal := self._fatal(trial, spec)) is not None:
                self._tell(trial, fatal)
                return ""
            try:
                found = self.ask([spec], self._watch(trial, spec))
            except KeyboardInterrupt:
                trial.set_user_attr(studies.TAKEN, [-1, 0])  # it did not end its process
                raise
            if found is None:
                if anew:  # else it goes on with the search
                    self._drop(trial, "there was no time for it")
                return "The time is over."
            self._tell(trial, found[0])
            self._repeats = 0
        self._failures = self._failures + 1 if found[0].state == "failed" else 0
        if self._failures < _MOST_FAILURES:
            return ""
        return f"{self._failures} trainings in a row failed, the last one so: {found[0].reason}"

    def _claimed(self, claims: ExitStack) -> tuple[optuna.Trial, bool]:
        """Return a trial that is this process's alone, and whether it is a new one.

        One that a process of this folder began and did not end comes first: its claim went with
        the process. It is told by the number of the study, for the training behind it is claimed
        only once it begins.
        """
        import optuna

        running = (optuna.trial.TrialState.RUNNING,)
        for each in self._study.get_trials(deepcopy=False, states=running):
            ours = each.user_attrs.get(studies.OWNER, "") == self.of.owner
            if not ours or not claims.enter_context(self._claim(each.number)):
                continue
            # Whoever had it until now may have ended it before it let go.
            if self._study.get_trials(deepcopy=False)[each.number].state in running:
                # The only way to a trial that was begun before; `ask` makes it so as well.
                return optuna.Trial(self._study, each._trial_id), False
        self._study.sampler = self.of.drawing(len(self._study.get_trials(deepcopy=False)))
        trial = self._study.ask()
        trial.set_user_attr(studies.OWNER, self.of.owner)
        claims.enter_context(self._claim(trial.number))
        return trial, True

    def _fatal(self, trial: optuna.Trial, spec: TrialSpec) -> Trial | None:
        """Return a training that failed, where each process that was at it died in one epoch.

        Else the search would end with each that is given it, out of memory say, for ever.
        """
        known = self._study.get_trials(deepcopy=False)[trial.number]
        epochs = len(known.intermediate_values)
        before, times = known.user_attrs.get(studies.TAKEN, (epochs, 0))
        times = times + 1 if before == epochs else 1
        trial.set_user_attr(studies.TAKEN, [epochs, times])
        if times < _MOST_TAKEN:
            return None
        reason = f"{times} processes ended in its epoch {epochs + 1}, and did not say why"
        failed = Trial(spec, "failed", reason)
        if self.keep is not None:
            self.keep(failed)
        return failed

    def _claim(self, number: int) -> Any:
        return runs.claimed(self._lock(number))

    def _lock(self, number: int) -> Path:
        return self.of.folder / "trials" / f"study-{number}.lock"

    def _same_as(self, number: int, key: str) -> int | None:
        """Return an earlier trial of the same training; one that was dropped is none."""
        import optuna

        dropped = optuna.trial.TrialState.FAIL
        for each in self._study.get_trials(deepcopy=False):
            same = each.number < number and each.user_attrs.get(studies.KEY) == key
            if same and each.state != dropped:
                return each.number
        return None

    def _drop(self, trial: optuna.Trial, reason: str) -> None:
        """End a trial that nothing was trained for; the study learns nothing from it."""
        import optuna

        trial.set_user_attr(studies.REASON, reason)
        self._study.tell(trial, state=optuna.trial.TrialState.FAIL, skip_if_finished=True)

    def _tell(self, trial: optuna.Trial, found: Trial) -> None:
        """Tell the study what came of a training.

        One that failed is told as one that was pruned, which is worse than any that ended: the
        study then draws less of what makes trainings fail, which it would not of a failed one.
        """
        import optuna

        trial.set_user_attr(studies.TOLD, found.to_dict())
        if found.reason:
            trial.set_user_attr(studies.REASON, found.reason)
        if found.state == "finished" and found.value is not None and math.isfinite(found.value):
            self._study.tell(trial, found.value, skip_if_finished=True)
        else:
            pruned = optuna.trial.TrialState.PRUNED
            self._study.tell(trial, state=pruned, skip_if_finished=True)

    def _watch(self, trial: optuna.Trial, spec: TrialSpec) -> Watch:
        """Return what asks Hyperband after each epoch but the last."""
        epochs = int({**self._base, **spec.changes}["train.epochs"])
        reported = set(self._study.get_trials(deepcopy=False)[trial.number].intermediate_values)

        def watch(values: Sequence[float]) -> str:
            done, best = len(values), _best_of(values, largest=self.of.higher_is_better)
            # What the storage is not told for a while costs the pruner its sight, no more.
            with suppress(RunError), studies.faults(self.of.storage):
                if done not in reported:  # an epoch that was cut off is heard of twice
                    trial.report(best, done)
                    reported.add(done)
                if done < epochs and self._falls_behind(trial.number):
                    return (
                        f"After {done} of {epochs} epochs, {self.of.objective} {best:.4f} was not "
                        "among the best third there (Hyperband)."
                    )
            return ""

        return watch

    def _falls_behind(self, number: int) -> bool:
        trial = self._study.get_trials()[number]
        return bool(self._pruner.prune(self._study, trial))

    def _take_over(self) -> None:
        """Keep what came of trainings on other machines."""
        if self.of.owner and self.keep is not None:
            for each in studies.told_trials(self._study):
                self.keep(each)

    def _wait_for_others(self) -> None:
        """Wait until no process of this folder is at a trial, so that all see the same best."""
        import optuna

        running = (optuna.trial.TrialState.RUNNING,)
        for each in self._study.get_trials(deepcopy=False, states=running):
            if each.user_attrs.get(studies.OWNER, "") == self.of.owner:
                studies.wait_for(self._lock(each.number))

    def _best(self, every: Sequence[Trial]) -> Trial:
        finished = [each for each in (self.first, *every) if each.state == "finished"]
        known = [each for each in finished if each.value is not None and math.isfinite(each.value)]
        sign = -1 if self.of.higher_is_better else 1
        return min(known, key=lambda each: sign * (each.value or 0.0), default=self.first)

    def _measured_afresh(self, best: Trial, count: int) -> str:
        """Return what the best one gains on splits that did not choose it, a sentence."""
        if not best.spec.changes:
            return luck_of(0.0, count, [], [])
        assert self.first.value is not None
        assert best.value is not None
        sign = -1 if self.of.higher_is_better else 1
        pairs: list[tuple[float, float]] = []
        for pair in range(FRESH_PAIRS):
            found = self.ask([fresh({}, pair), fresh(best.spec.changes, pair)], None)
            values = [each.value for each in found or ()]
            if not values or None in values:
                break
            pairs.append((float(values[0] or 0.0), float(values[1] or 0.0)))
        gains = [sign * (before - after) for before, after in pairs]
        promised = sign * (self.first.value - best.value)
        return luck_of(promised, count, gains, [after for _, after in pairs])


def _best_of(values: Sequence[float], *, largest: bool) -> float:
    """Return the best value so far, which is what the training would end with."""
    known = [each for each in values if not math.isnan(each)]
    return (max if largest else min)(known, default=math.nan)
