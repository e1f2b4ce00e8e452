"""Decisions of a search in words, with their numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from sightline.records.trials import Attempt
from sightline.records.trials import Verdict as Decided
from sightline.search.proposals import Proposal
from sightline.search.sequential import MOST_PAIRS, Verdict


def attempt_of(
    proposal: Proposal,
    number: int,
    screened: Sequence[float],
    gains: Sequence[float],
    verdict: Verdict,
    *,
    guesses: bool = False,
    why: str = "",
) -> Attempt:
    """Return a decided attempt with its sentence.

    Args:
        proposal: What was tried.
        number: Of the round.
        screened: What it gained in quick pairs.
        gains: What it gained in pairs of whole trainings; -inf of one that failed.
        verdict: Of the gains.
        guesses: The changed recipe is no better than guessing.
        why: It was not put to the test, where it was promising.
    """
    decided, sentence = _decided(screened, gains, verdict, guesses=guesses, why=why)
    return Attempt(
        name=proposal.name,
        changes=dict(proposal.changes),
        why=proposal.why,
        round=number,
        quick=tuple(screened),
        gains=tuple(gains),
        verdict=decided,
        sentence=sentence,
        mean=_known(verdict.mean),
        noise=_known(verdict.noise),
        error=_known(verdict.error),
        needed=verdict.needed if decided == "undecided" and gains else 0,
    )


def _decided(
    screened: Sequence[float], gains: Sequence[float], verdict: Verdict, *, guesses: bool, why: str
) -> tuple[Decided, str]:
    if -math.inf in (*screened, *gains):
        return "rejected", "Its training failed."
    if any(map(math.isnan, (*screened, *gains))):
        return "undecided", "The training of the unchanged recipe failed beside it."
    if not gains:
        mean = float(np.mean(screened)) if screened else math.nan
        if mean > 0 or not screened:
            gained = f"It gained {mean:.4f} in short trainings; it" if screened else "It"
            return "undecided", f"{gained} was not put to the test{f': {why}' if why else ''}."
        lost = f"{-mean:.4f}" if mean <= -0.00005 else "nothing, and gained nothing,"
        return "rejected", f"It lost {lost} in short trainings."
    said = f"{_signed(verdict.mean)} a pair, noise {verdict.noise:.4f}, {len(gains)} pairs"
    if guesses:
        return "rejected", (
            f"{said}; but it is no better than guessing the class shares, so nothing was learned "
            "that a change could improve."
        )
    if verdict.outcome == "kept":
        return "kept", (f"{said}: a change that does nothing shows this in {_odds(verdict.error)}.")
    if verdict.outcome == "rejected":
        return "rejected", f"{said}: no sign that it helps."
    if math.isnan(verdict.noise):
        return "undecided", f"{_signed(verdict.mean)} in one pair, when the time was over."
    more = f"about {verdict.needed:,} pairs would decide it, if this is the truth"
    cut = "" if len(gains) >= MOST_PAIRS else " when the time was over"
    return "undecided", f"{said}{cut}: {more}."


def ablation_of(attempt: Attempt, gains: Sequence[float]) -> Attempt:
    """Return what a kept change is worth at the end, beside all others that were kept.

    Args:
        attempt: The one that is left out.
        gains: What the whole recipe gains over the one without it, two pairs or more.
    """
    if not all(map(math.isfinite, gains)):
        return _ablation(attempt, gains, "undecided", "Without it a training failed.")
    mean, noise, reach = _spread(gains)
    count = len(gains)
    said = f"Without it: {_signed(-mean)} ({_signed(-mean - reach)} to {_signed(-mean + reach)})"
    verdict: Decided = "undecided"
    if mean - reach > 0:
        verdict, said = "kept", f"{said}; it is beneficial."
    elif mean <= 0:
        verdict, said = "rejected", f"{said}; beside the others it is not beneficial any more."
    else:
        said = f"{said}; {count} pairs do not show whether it still is beneficial."
    return _ablation(attempt, gains, verdict, said, mean, noise)


def _ablation(
    attempt: Attempt,
    gains: Sequence[float],
    verdict: Decided,
    said: str,
    mean: float | None = None,
    noise: float | None = None,
) -> Attempt:
    return Attempt(
        attempt.name, attempt.changes, "left out at the end", attempt.round, (), tuple(gains),
        verdict, said, mean, noise,
    )  # fmt: skip


def optimism_of(kept: Sequence[Attempt], gains: Sequence[float]) -> str:
    """Return how much of what was promised is seen again, a sentence.

    A change is kept for the pairs in which it did well, so these flatter it (a winner's curse).
    Pairs with seeds that decided nothing do not.

    Args:
        kept: The changes, with the mean of the pairs that kept each.
        gains: Of all of them together over none of them, in pairs that had no say.
    """
    if not kept:
        return "No change was kept, so no figure here is the best of many."
    promised = sum(attempt.mean or 0.0 for attempt in kept)
    said = f"The pairs that kept {_counted(len(kept))} promised a gain of {promised:.4f}"
    known = [gain for gain in gains if math.isfinite(gain)]
    if len(known) < 2:
        return (
            f"{said}; there was no time for pairs of other seeds, which would show less by what "
            "was luck in the choice."
        )
    mean, _, reach = _spread(known)
    luck = f"so about {promised - mean:.4f} of it was" if mean < promised else "so none of it was"
    return (
        f"{said}; {len(known)} pairs that had no say show {_signed(mean)} "
        f"({_signed(mean - reach)} to {_signed(mean + reach)}), {luck} luck in the choice. Rely on "
        "the second figure."
    )


def luck_of(promised: float, count: int, gains: Sequence[float], values: Sequence[float]) -> str:
    """Return how much of the gain of the best of many is seen on splits that did not choose it.

    Args:
        promised: What it gained on the split that chose it.
        count: Trainings that it was chosen from.
        gains: Over the recipe itself, in pairs on other splits with other seeds.
        values: What it had there.
    """
    if promised <= 0:
        return "The recipe that it began with stayed the best, so no figure is the best of many."
    said = (
        f"The best of {count} trainings on one validation split gained {promised:.4f} there, of "
        "which some is luck in the choice"
    )
    if len(gains) < 2:
        return f"{said}; how much was not measured, as there was no time for pairs on other splits."
    mean, _, reach = _spread(gains)
    said += (
        f": trained anew on {len(gains)} other splits it gained {_signed(mean)} "
        f"({_signed(mean - reach)} to {_signed(mean + reach)}) over the recipe that it began with, "
        f"and had {float(np.mean(values)):.4f} ({min(values):.4f} to {max(values):.4f}). Rely on "
        "these figures."
    )
    if mean - reach <= 0:
        said += " They do not show that it is better at all."
    return said


def _spread(gains: Sequence[float]) -> tuple[float, float, float]:
    """Return mean, noise of one pair, and how far the 95 % interval of the mean reaches."""
    from scipy.special import stdtrit

    mean, noise = float(np.mean(gains)), float(np.std(gains, ddof=1))
    return mean, noise, float(stdtrit(len(gains) - 1, 0.975)) * noise / math.sqrt(len(gains))


def _counted(changes: int) -> str:
    return "one change" if changes == 1 else f"{changes} changes"


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _signed(value: float) -> str:
    return f"{value:+.4f}"


def _odds(error: float) -> str:
    if error < 1e-6:
        return "fewer than 1 of 1,000,000 cases"
    return f"1 of {round(1 / error):,} cases" if error < 0.5 else "most cases"
