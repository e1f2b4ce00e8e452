"""Does val_loss wiggle because the split is small, because the model is unsteady, or by a fault?"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sightline.judging.diagnosis import changes
from sightline.judging.diagnosis.facts import Floats, TrainingFacts
from sightline.judging.diagnosis.shapes import steady_wiggle, turns
from sightline.records import Finding, half_width, in_points
from sightline.records.outcomes import Outcomes, counted

# Half-widths of the 95 % interval of a share: beyond 20 points (24 images) nothing can be steered
# by; up to 5 (385 images) differences that matter are seen. As in the audit.
HOPELESS, WIDE, NARROW = 0.20, 0.10, 0.05

# Of the level of val_loss, and of the highest value on the plot: less is not seen as a wiggle.
VISIBLE, VISIBLE_ON_PLOT = 0.05, 0.01
# Times the bound of sampling noise, which is seldom too low, and then by less than 1.7.
BEYOND_NOISE = 1.7
NEARLY_ZERO = 0.01  # of the largest figure: near it, a zero is a small loss
ZIGZAG = 0.35  # of the inner epochs turn; 2/3 of those of pure noise do

_SMALL = Outcomes("small-validation", "warning")
_ERRATIC = Outcomes("erratic-validation", "warning")
_GAPS = Outcomes("missing-epochs", "error")


def small_validation(facts: TrainingFacts) -> Finding:
    """Return whether what val_loss does from epoch to epoch is the chance of few images."""
    count = facts.num_validation
    if not count:
        return _SMALL.not_applicable("The number of validation images is not known.")
    moves = _moves(facts)
    evidence = {"images": count, "half_width": half_width(count)}
    hopeless = half_width(count) > HOPELESS
    said = f"{counted(count, 'validation image')} ({in_points(count)} on a share)"
    if moves is not None:
        evidence |= {"wiggle": moves[0], "level": moves[1], "sampling_noise": moves[2]}
    explained = (
        moves is not None and _is_visible(facts, moves) and moves[0] <= BEYOND_NOISE * moves[2]
    )
    if not hopeless and not (explained and half_width(count) > NARROW):
        return _SMALL.passed(f"There are {said}.", evidence)
    title = f"There are only {said}"
    if moves is not None and explained:
        title += (
            f": val_loss wiggles by {moves[0]:.2g}, and so few images explain up to "
            f"{BEYOND_NOISE * moves[2]:.2g}. This wiggle is no signal"
        )
    return _SMALL.found(
        f"{title}.",
        evidence,
        "Do not change the network for it. Hold out more images (`sightline split DATA --resplit "
        "train`), or cross-validate (--folds 5), before anything is read from these curves.",
        severity="warning" if half_width(count) > WIDE else "info",
    )


def erratic_validation(facts: TrainingFacts) -> Finding:
    """Return whether val_loss goes up and down by more than a split of this size explains."""
    if why := facts.lacks("val_loss", epochs=8):
        return _ERRATIC.not_applicable(why)
    moves = _moves(facts)
    if moves is None:
        return _ERRATIC.not_applicable(
            "The number of validation images is not known, so neither is what chance explains."
        )
    moved, level, noise = moves
    held_out = facts.filled("val_loss")
    begin = _begin(facts.epochs)
    turning = turns(held_out[begin:])
    evidence = {"wiggle": moved, "level": level, "sampling_noise": noise, "turns": turning}
    said = f"val_loss wiggles by {moved:.2g} at a level of {level:.2g}"
    count = counted(facts.num_validation or 0, "validation image")
    if not _is_visible(facts, moves) or turning < ZIGZAG:
        return _ERRATIC.passed(f"{said}: it is steady.", evidence)
    if moved <= BEYOND_NOISE * noise:
        return _ERRATIC.passed(f"{said}, which chance on {count} explains.", evidence)
    return _ERRATIC.found(
        f"{said}; chance on {count} explains at most {BEYOND_NOISE * noise:.2g}. The model does "
        "not generalise steadily.",
        evidence,
        "Add dropout or batch normalisation, lower or decay the learning rate, augment, and make "
        "sure that training images are shuffled. Still erratic: cross-validate.",
        recipe_change=changes.decay(facts) or changes.dropout(facts) or changes.rate(facts, 1 / 3),
        epoch=begin + 1 + int(np.abs(np.diff(held_out[begin:])).argmax()),
    )


def missing_epochs(facts: TrainingFacts) -> Finding:
    """Return whether single epochs have no figures, or zeros: a loader that ran dry."""
    if facts.epochs < 3:
        return _GAPS.not_applicable("There are fewer than 3 epochs.")
    names = [name for name in ("loss", "val_loss") if name in facts.columns]
    bad = {name: _gaps(facts[name]) for name in names}
    bad = {name: places for name, places in bad.items() if len(places)}
    if not bad and _rounds_to_nothing(facts):
        return _GAPS.found(
            f"There is no val_loss, although there are {facts.num_validation} validation images: "
            f"they are fewer than a batch of {facts.batch_size}, and came to no step.",
            {"batch_size": facts.batch_size, "num_validation": facts.num_validation},
            "Validation steps are images / batch size, rounded up and not down; or leave them out.",
        )
    if not bad:
        return _GAPS.passed("Every epoch has its figures.")
    name, places = max(bad.items(), key=lambda item: len(item[1]))
    every = _every(places)
    where = f"every {every}. epoch" if every else counted(len(places), "epoch")
    causes = (
        "a loader that ran dry (it has to begin anew each epoch, and steps must not be more than "
        "it has)"
    )
    if name == "val_loss":
        causes += ", validation steps that round to nothing, or validation in some epochs alone"
    return _GAPS.found(
        f"{name} is missing or exactly zero in {where}, first in epoch {places[0] + 1}.",
        {name: [int(place) for place in places] for name, places in bad.items()}
        | {"every": every, "batch_size": facts.batch_size, "num_validation": facts.num_validation},
        f"Such epochs trained on, or judged, nothing. Usual causes: {causes}.",
        epoch=int(places[0]),
    )


def _rounds_to_nothing(facts: TrainingFacts) -> bool:
    return bool(
        "val_loss" not in facts.columns
        and facts.num_validation
        and facts.batch_size
        and facts.num_validation < facts.batch_size
    )


def _gaps(values: Floats) -> npt.NDArray[np.int64]:
    """Return the epochs without a figure, or with zero, that are followed by one with."""
    bad = ~np.isfinite(values) | (values == 0)
    # Zeros at the end of a falling curve are a perfect fit, and what follows a NaN is divergence.
    figures = np.where(bad, 0.0, values)
    good = np.flatnonzero(figures > NEARLY_ZERO * figures.max(initial=0.0))
    inner = np.flatnonzero(bad)
    last = good[-1] if len(good) else -1
    inside = inner[inner < last]
    return inner[inner <= last + 1] if len(inside) else inside


def _every(places: npt.NDArray[np.int64]) -> int:
    """Return 2 where every second epoch is meant, and so on; 0 without such a rule."""
    steps = np.unique(np.diff(places))
    return int(steps[0]) if len(steps) == 1 and steps[0] > 1 else 0


def _begin(epochs: int) -> int:
    """Return the first epoch behind the steep fall at the beginning."""
    return min(max(2, epochs // 5), max(0, epochs - 5))


def _moves(facts: TrainingFacts) -> tuple[float, float, float] | None:
    """Return wiggle, level and the bound of sampling noise of val_loss; None: too little known."""
    noise = facts.sampling_noise("validation")
    if noise is None or facts.epochs < 6:
        return None
    begin = _begin(facts.epochs)
    held_out = facts.filled("val_loss")[begin:]
    # Means and not medians: where the curve falls steeply its beginning has most of both.
    return (
        steady_wiggle(held_out),
        float(held_out.mean()),
        float(np.sqrt(np.mean(noise[begin:] ** 2))),
    )


def _is_visible(facts: TrainingFacts, moves: tuple[float, float, float]) -> bool:
    highest = float(facts.filled("val_loss").max())
    return moves[0] > max(VISIBLE * moves[1], VISIBLE_ON_PLOT * highest)
