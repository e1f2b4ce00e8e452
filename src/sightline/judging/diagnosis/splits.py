"""Do the splits measure what they seem to?"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from sightline.judging.diagnosis.facts import TrainingFacts
from sightline.records import Evaluation, Finding, Severity
from sightline.records.outcomes import Outcomes, counted, joined

BETTER = 0.10  # of the training loss at the end of an epoch, by which val_loss is below it
HARMLESS = 0.01  # of the cross-entropy of guessing: both are next to nothing
PERFECT = 0.999
FEWEST_PERFECT = 30  # images; fewer are all right now and then by chance
AT_ONCE = 2  # epochs, within which nothing real is learnt to the last image
FAR_BELOW = 0.05  # balanced accuracy, beyond what chance explains
SURE = 2.58  # deviations: 1 time in 100 by chance

_SIDES: tuple[Literal["validation", "train"], ...] = ("validation", "train")
_HARDER = "dropout and random changes make the training images harder"

_BETTER = Outcomes("validation-better", "error")
_PERFECT = Outcomes("suspiciously-perfect", "error")
_BELOW = Outcomes("external-below", "warning")


def validation_better(facts: TrainingFacts) -> Finding:
    """Return whether validation is better than training, and what explains it.

    The training loss of an epoch is a mean over its steps, so it lags behind by half an epoch;
    val_loss is compared with the mean of two epochs in a row, which is the loss between them.
    """
    if why := facts.lacks("loss", "val_loss", epochs=4):
        return _BETTER.not_applicable(why)
    loss, held_out = facts.filled("loss"), facts.filled("val_loss")
    at_end = (loss[:-1] + loss[1:]) / 2
    half = len(at_end) // 2
    trained, judged = at_end[half:], held_out[half:-1]
    below = float(np.mean(trained - judged))
    level = float(trained.mean())
    doubt = _doubt(facts, half)
    evidence = {"loss": level, "val_loss": float(judged.mean()), "doubt": doubt,
                "audit": list(facts.leaks)}  # fmt: skip
    said = f"val_loss {judged.mean():.3g} beside loss {level:.3g}"
    if facts.leaks and below > -doubt:
        return _BETTER.found(
            f"Validation is as good as training ({said}), and the audit found "
            f"{joined(list(facts.leaks))}: it has images that were trained on.",
            evidence,
            "Split anew with what belongs together kept together: `sightline split DATA "
            "--resplit all`. Until then these figures say nothing about new images.",
        )
    steady = np.mean(judged < trained) > 0.8
    least = max(BETTER * level, 2 * doubt, HARMLESS * (facts.chance or 1.0))
    if not steady or below < least:
        return _BETTER.passed(f"Validation is no better than training: {said}.", evidence)
    harder = _makes_training_harder(facts)
    if harder:
        return _BETTER.found(
            f"Validation is better than training ({said}), as it is to be with {joined(harder)}.",
            {**evidence, "because": harder},
            f"Nothing is wrong: {_HARDER}, and validation has none of it. If both stay high, use "
            "less of it.",
            severity="info",
        )
    return _BETTER.found(
        f"Validation is better than training ({said}), and nothing known explains it.",
        evidence,
        f"With dropout or augmentation that is as it should be ({_HARDER}). Without: look for "
        "images that are in both (`sightline audit`), for a validation set of easy images, or for "
        "labels that are wrong in training alone.",
        severity="warning",
    )


def suspiciously_perfect(facts: TrainingFacts) -> Finding:
    """Return whether it is right about every validation image, which real tasks seldom allow."""
    if why := facts.lacks("val_accuracy", epochs=1):
        return _PERFECT.not_applicable(why)
    accuracy = facts.filled("val_accuracy")
    best, at = float(accuracy.max()), int(np.flatnonzero(accuracy >= accuracy.max())[0])
    count = facts.num_validation
    evidence = {"accuracy": best, "epoch": at, "images": count, "audit": _suspects(facts)}
    if best < PERFECT or (count or FEWEST_PERFECT) < FEWEST_PERFECT:
        return _PERFECT.passed(f"The best accuracy on validation is {best:.2%}.", evidence)
    images = counted(count, "validation image") if count else "all validation images"
    told = "too good to be believed" if at < AT_ONCE else "see whether the task is that easy"
    title = f"It is right about {best:.2%} of {images} in epoch {at + 1}: {told}."
    advice = (
        "See whether something gives the label away: the same image or patient on both sides, or "
        "a border, size or mark that goes with the class (`sightline audit`). A task that is that "
        "easy needs no network."
    )
    suspects = _suspects(facts)
    if suspects:
        title = f"{title[:-1]}, and the audit found {joined(suspects)}."
    # Harmless where the task is easy; a fault where the data are known to have one.
    severity: Severity = "error" if suspects else "warning" if at < AT_ONCE else "info"
    return _PERFECT.found(title, evidence, advice, severity=severity, epoch=at)


def external_below(facts: TrainingFacts) -> Finding:
    """Return whether other images are recognised far worse than those of validation."""
    outside = [
        judged for judged in facts.evaluations if judged.source not in ("validation", "train")
    ]
    judged_elsewhere = {judged.weights for judged in outside}
    inside = [
        judged for judged in facts.evaluations
        if judged.source == "validation" and judged.weights in judged_elsewhere
    ]  # fmt: skip
    if not inside:
        return _BELOW.not_applicable(
            "There is no evaluation of the validation split and of other images by the same "
            "weights."
        )
    reference = min(inside, key=lambda judged: judged.weights != "best")
    others = [judged for judged in outside if judged.weights == reference.weights]
    compared = [(*_difference(reference, judged), judged) for judged in others]
    below, doubt, worst = max(compared, key=lambda each: each[0] - SURE * each[1])
    evidence = {"of": worst.source, "below": below, "deviation": doubt, "images": worst.count,
                "audit": list(facts.leaks)}  # fmt: skip
    if below <= FAR_BELOW + SURE * doubt:
        return _BELOW.passed(f"{worst.source} is about as good as validation.", evidence)
    why = (
        "The validation split leaks (" + joined(list(facts.leaks)) + "), so its figures are too "
        "good: split anew."
        if facts.leaks
        else "It may be another population (machine, site, age), or the validation split may "
        "share patients with training: give groups (--group-col), and hold whole sites out."
    )
    return _BELOW.found(
        f"Balanced accuracy on {worst.source} is {100 * below:.0f} points below validation "
        f"({counted(worst.count, 'image')}).",
        evidence,
        why,
    )


def _doubt(facts: TrainingFacts, half: int) -> float:
    """Return a deviation of the difference of the two losses, by chance alone.

    Both are of few images. A lucky validation set has few wrong ones, which makes its own bound
    too low: that of as many images from training counts where it is larger.
    """
    bounds = {side: facts.sampling_noise(side) for side in _SIDES}
    own, trained = (
        float(np.median(bound[half:-1])) if (bound := bounds[side]) is not None else 0.0
        for side in _SIDES
    )
    if facts.num_train and facts.num_validation:
        own = max(own, trained * math.sqrt(facts.num_train / facts.num_validation))
    return math.hypot(own, trained)


def _difference(reference: Evaluation, other: Evaluation) -> tuple[float, float]:
    """Return by how much recall is lower elsewhere, the mean of its classes, and its deviation."""
    differences, variance = [], 0.0
    classes = list(reference.class_names)
    for place, name in enumerate(other.class_names):
        if name not in classes:
            continue
        rows = (reference.confusion[classes.index(name)], other.confusion[place])
        spots = (classes.index(name), place)
        if not all(row.sum() for row in rows):
            continue
        recalls = [float(row[spot] / row.sum()) for row, spot in zip(rows, spots, strict=True)]
        differences.append(recalls[0] - recalls[1])
        # One right and one wrong image more: a recall of 1 on few images is not sure either.
        variance += sum(
            (p := (row[spot] + 1) / (row.sum() + 2)) * (1 - p) / row.sum()
            for row, spot in zip(rows, spots, strict=True)
        )
    if not differences:
        return 0.0, 1.0
    return float(np.mean(differences)), math.sqrt(float(variance)) / len(differences)


def _makes_training_harder(facts: TrainingFacts) -> list[str]:
    """Return what is done to training images alone."""
    done = []
    if facts.recipe is not None:
        recipe = facts.recipe
        augment = recipe.augment.model_dump(exclude={"fill", "fill_value"})
        if any(augment.values()):
            done.append("augmentation")
        if any(recipe.model.dropout):
            done.append("dropout")
        if recipe.train.weight_average not in (0, "auto"):
            done.append("an average of the weights")
        if recipe.data.grow:
            done.append("smaller training images")
        if recipe.balance.sampling != "all":
            done.append("other shares of the classes")
    kinds = {layer.kind for layer in facts.summary.layers} if facts.summary else set()
    if "dropout" not in done and any("Dropout" in kind for kind in kinds):
        done.append("dropout")
    return done


def _suspects(facts: TrainingFacts) -> list[str]:
    """Return the codes of audit findings that explain a figure that is too good."""
    shortcuts = [f.code for f in facts.findings if f.stands and f.code == "shortcut"]
    return [*facts.leaks, *shortcuts]
