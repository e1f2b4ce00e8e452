"""Did it end at the right time?"""

from __future__ import annotations

import math

import numpy as np

from sightline.judging.diagnosis import changes
from sightline.judging.diagnosis.facts import Floats, TrainingFacts
from sightline.judging.diagnosis.noise import HOPELESS
from sightline.judging.diagnosis.shapes import falls, smooth, wiggle
from sightline.records import Finding, half_width
from sightline.records.outcomes import Outcomes, counted

LEARNING_ON = 0.02  # of its mean, an epoch: a training loss that falls so is not done
IMPROVING = 0.005  # likewise what is watched, up to its end
FALLING = 0.01  # likewise val_loss, over the last quarter
WASTED = 0.3  # of the epochs, after the smallest patience that keeps the best would have ended it
FEWEST_WASTED = 5  # epochs; fewer are no loss
NO_WORSE = 0.01  # of the best value: what a patience may give away and still keep the best
COME_DOWN = 0.1  # of its peak: with such a rate an end is an end
LATER_IS_WORSE = 0.05  # of the best val_loss

_SHORT = Outcomes("patience-too-short", "warning")
_LONG = Outcomes("patience-too-long", "info")
_UNFINISHED = Outcomes("not-finished", "warning")
_BEST = Outcomes("best-not-last", "info")


def ends_with(values: Floats, patience: int, *, lowest: bool = True, min_delta: float = 0.0) -> int:
    """Return after how many epochs early stopping would have ended a training.

    As Keras counts: an epoch is better when it is so by more than `min_delta`; it ends with the
    `patience`-th epoch in a row that is not. All of them where that never comes.

    Args:
        values: (E,) of the column that is watched; NaN is no better.
        patience: Epochs, at least 1.
        lowest: Whether lower is better.
        min_delta: A change smaller than this is not better.
    """
    best, wait = math.inf, 0
    for epoch, value in enumerate(values if lowest else -values):
        if value < best - min_delta:
            best, wait = float(value), 0
        else:
            wait += 1
            if wait >= patience:
                return epoch + 1
    return len(values)


def smallest_patience(values: Floats, *, lowest: bool = True, min_delta: float = 0.0) -> int:
    """Return the smallest patience with which the best value would have been reached.

    "Reached" up to NO_WORSE of it. Every patience is tried, from 1 up.
    """
    signed = values if lowest else -values
    best = float(np.nanmin(signed))
    for patience in range(1, len(values) + 1):
        done = ends_with(values, patience, lowest=lowest, min_delta=min_delta)
        if float(np.nanmin(signed[:done])) <= best + NO_WORSE * abs(best):
            return patience
    return len(values)


def patience_too_short(facts: TrainingFacts) -> Finding:
    """Return whether early stopping took a wiggle for the end."""
    column = facts.monitor
    if facts.patience is None or not facts.patience:
        return _SHORT.not_applicable("There was no early stopping, or it is not known.")
    if why := facts.lacks("loss", column, epochs=3):
        return _SHORT.not_applicable(why)
    patience = facts.patience
    if facts.ended != "stopped early":
        return _SHORT.passed(f"It was not ended by its patience of {patience}.")
    if facts.num_validation and half_width(facts.num_validation) > HOPELESS:
        return _SHORT.not_applicable("So few validation images end it by chance at any patience.")
    loss, watched = facts.filled("loss"), _downwards(facts)
    best = int(watched.argmin())
    waited = watched[best + 1 :]
    learning = falls(loss[-max(4, patience + 3) :], least=LEARNING_ON)
    worse = float(waited.mean() - watched[best]) if len(waited) else 0.0
    # One low epoch by chance ends a short patience; the mean of many is not all chance.
    doubt = 1.5 * _chance_of(facts, best) / math.sqrt(max(1, patience - 1))
    evidence = {"patience": patience, "epochs": facts.epochs, "worse": worse, "wiggle": doubt,
                "still_learning": learning}  # fmt: skip
    # Without the best epoch, which was chosen for being low.
    around = np.delete(watched, best)[-max(8, patience + 5) :]
    improving = falls(around, least=IMPROVING)
    if not learning or not improving or worse > doubt:
        return _SHORT.passed(f"When a patience of {patience} ended it, it was done.", evidence)
    longer = max(5, 3 * patience)
    return _SHORT.found(
        f"A patience of {counted(patience, 'epoch')} ended it after {facts.epochs}, on a wiggle: "
        f"{column} was worse by {worse:.2g}, which chance explains, and was still improving.",
        evidence,
        "Be more patient, and keep the weights of the best epoch.",
        recipe_change=f"stop.patience={longer}",
        epoch=facts.epochs - 1,
    )


def patience_too_long(facts: TrainingFacts) -> Finding:
    """Return the smallest patience that keeps the best value, and what a longer one cost.

    Every patience is replayed on the curve, with or without early stopping.
    """
    column = facts.monitor
    if why := facts.lacks(column, epochs=6):
        return _LONG.not_applicable(why)
    watched = _downwards(facts)
    smallest = smallest_patience(watched, min_delta=facts.min_delta)
    done = ends_with(watched, smallest, min_delta=facts.min_delta)
    wasted = facts.epochs - done
    best = int(watched.argmin())
    evidence = {"smallest": smallest, "patience": facts.patience, "would_have_ended": done,
                "epochs": facts.epochs, "best_epoch": best}  # fmt: skip
    said = (
        f"A patience of {smallest} keeps the best {column} (epoch {best + 1}), and ends after "
        f"{counted(done, 'epoch')}"
    )
    if wasted < FEWEST_WASTED or wasted < WASTED * facts.epochs:
        return _LONG.passed(f"{said} of {facts.epochs}.", evidence)
    return _LONG.found(
        f"{said}; {wasted} more were trained for nothing.",
        evidence,
        "Stop early, with this patience or a little more.",
        recipe_change=f"stop.patience={smallest}",
        epoch=done - 1,
    )


def not_finished(facts: TrainingFacts) -> Finding:
    """Return whether val_loss was still falling when the epochs were over."""
    column = "loss" if facts.lacks("val_loss") else "val_loss"
    if why := facts.lacks(column, epochs=4):
        return _UNFINISHED.not_applicable(why)
    if facts.ended == "still training":
        return _UNFINISHED.not_applicable("It is still training.")
    if facts.ended in ("stopped early", "no number"):
        return _UNFINISHED.passed("It was not its number of epochs that ended it.")
    values = facts.filled(column)
    tail = values[-max(4, facts.epochs // 4) :]
    pace = float(1 - tail[-1] / max(tail[0], 1e-12)) / (len(tail) - 1)
    evidence = {"column": column, "fall": pace, "last": float(values[-1])}
    if _has_come_down(facts):
        return _UNFINISHED.passed("The learning rate has come down: it is at its end.", evidence)
    smoothed = smooth(values)
    at_end = int(smoothed.argmin()) >= facts.epochs - 2
    fell = float(tail[0] - tail[-1]) > _chance_of(facts, len(values) - 1)
    if not (at_end and fell and falls(tail, least=FALLING)):
        return _UNFINISHED.passed(f"{column} no longer fell when it ended.", evidence)
    return _UNFINISHED.found(
        f"It ended too soon: {column} still fell by {pace:.0%} an epoch, to {values[-1]:.3g}.",
        evidence,
        "Train for longer, with early stopping to end it.",
        recipe_change=changes.more_epochs(facts),
        epoch=facts.epochs - 1,
    )


def best_not_last(facts: TrainingFacts) -> Finding:
    """Return whether the last weights are clearly worse than the best ones."""
    if why := facts.lacks("val_loss", epochs=2):
        return _BEST.not_applicable(why)
    values = facts.filled("val_loss")
    chosen = facts.best_epoch
    best = int(values.argmin()) if chosen is None or chosen >= len(values) else chosen
    worse = float(values[-1] - values[best])
    evidence = {"best_epoch": best, "best": float(values[best]), "last": float(values[-1])}
    # The lowest of many epochs is low by chance as well: twice what one of them may differ by.
    if worse <= max(LATER_IS_WORSE * values[best], 2 * _chance_of(facts, best)):
        return _BEST.passed("The last weights are about as good as the best ones.", evidence)
    return _BEST.found(
        f"The last weights are worse than those of epoch {best + 1}: val_loss {values[-1]:.3g} "
        f"beside {values[best]:.3g}.",
        evidence,
        "Use the best ones (--weights best; in Keras restore_best_weights=True).",
        epoch=best,
    )


def _chance_of(facts: TrainingFacts, epoch: int) -> float:
    """Return what val_loss may differ by between near epochs: what it wiggles by, or may."""
    if facts.lacks("val_loss"):
        return 0.0
    seen = 2 * wiggle(facts.filled("val_loss")[1:])
    noise = facts.sampling_noise("validation")
    # Near epochs judge the same images with nearly the same weights: half the bound.
    return max(seen, float(noise[epoch]) / 2 if noise is not None else 0.0)


def _downwards(facts: TrainingFacts) -> Floats:
    """Return the column that early stopping watches, turned so that lower is better."""
    values = facts.filled(facts.monitor)
    return values if facts.monitor.endswith("loss") else -values


def _has_come_down(facts: TrainingFacts) -> bool:
    if facts.lacks("learning_rate"):
        return False
    rate = facts.filled("learning_rate")
    return bool(rate[-1] <= COME_DOWN * rate.max())
