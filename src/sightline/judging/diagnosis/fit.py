"""Does the network learn too little, or too much by heart?"""

from __future__ import annotations

import math

import numpy as np

from sightline.judging.diagnosis import changes
from sightline.judging.diagnosis.facts import TrainingFacts
from sightline.judging.diagnosis.shapes import falls, smooth, wiggle
from sightline.records import Finding, LayerSummary
from sightline.records.outcomes import Outcomes

# Of the cross-entropy of guessing. A training loss that settles above it has explained less than
# 40 % of what there is to explain: two classes about 80 % right, ten classes about 55 %.
POORLY_FITTED = 0.6
NO_GAP = 1.15  # val_loss over loss; a network that has learnt by heart has far more
STILL_FALLING = 0.01  # of its mean, an epoch: then it is unfinished, not too small

RISEN = 0.10  # of the lowest val_loss; less is seen in every training and costs nothing
RISEN_MUCH = 0.25
SURE = 4.0  # deviations: what it is compared with is the lowest of many epochs
GAP = 0.10  # accuracy of training above validation, beyond what chance explains

# Parameters a training image, where it has learnt by heart as well. Networks of any size can
# generalise, so the number alone is no finding (Zhang et al. 2017, "Understanding deep learning
# requires rethinking generalization").
MANY_PARAMETERS = 100

_UNDER = Outcomes("underfitting", "warning")
_OVER = Outcomes("overfitting", "warning")
_PARAMETERS = Outcomes("too-many-parameters", "warning")


def underfitting(facts: TrainingFacts) -> Finding:
    """Return whether the training images themselves are not fitted, and will not be."""
    if why := facts.lacks("loss", epochs=6):
        return _UNDER.not_applicable(why)
    if facts.chance is None:
        return _UNDER.not_applicable("The sizes of the classes are not known (class_counts).")
    loss = facts.filled("loss")
    tail = loss[-max(4, facts.epochs // 3) :]
    level = float(tail.mean())
    evidence = {"loss": level, "guessing": facts.chance, "share": level / facts.chance}
    said = f"loss {level:.3g} beside {facts.chance:.3g} of guessing"
    if level < POORLY_FITTED * facts.chance:
        return _UNDER.passed(f"The training images are fitted: {said}.", evidence)
    if falls(tail, least=STILL_FALLING):
        return _UNDER.passed(f"The training loss is still falling: {said}.", evidence)
    if not facts.lacks("val_loss"):
        held_out = float(facts.filled("val_loss")[-len(tail) :].mean())
        evidence["val_loss"] = held_out
        if held_out < POORLY_FITTED * facts.chance:  # training is only made harder
            return _UNDER.passed(f"Validation has {held_out:.3g}, beside {said}.", evidence)
        if held_out > NO_GAP * level:
            return _UNDER.passed(f"Validation is much worse than training: {said}.", evidence)
    return _UNDER.found(
        f"The training images themselves are not fitted: {said}, and it no longer falls.",
        evidence,
        "Give it more to learn with: a wider or deeper network, larger images, less dropout, "
        "weaker augmentation. If none of that helps, look at the labels.",
        recipe_change=changes.less_dropout(facts) or changes.capacity(facts),
    )


def overfitting(facts: TrainingFacts) -> Finding:
    """Return whether it learns the training images by heart, and from which epoch on.

    Either val_loss rises clearly while loss falls, or training is clearly more accurate.
    """
    if why := facts.lacks("loss", "val_loss", epochs=5):
        return _OVER.not_applicable(why)
    loss, held_out = smooth(facts.filled("loss")), smooth(facts.filled("val_loss"))
    began = int(held_out.argmin())
    tail = min(max(3, facts.epochs // 6), facts.epochs - 1)
    low, last = float(held_out[began]), float(np.median(facts.filled("val_loss")[-tail:]))
    rise, gap = last - low, _gap(facts)
    evidence = {
        "epoch": began, "val_loss_lowest": low, "val_loss_last": last, "accuracy_gap": gap,
        "loss_then": float(loss[began]), "loss_last": float(loss[-1]),
    }  # fmt: skip
    risen = rise > max(RISEN * low, _doubt(facts, began, tail)) and loss[-1] < loss[began]
    if not risen and not gap:
        return _OVER.passed("val_loss does not rise while loss falls.", evidence)
    title = (
        f"From epoch {began + 1} on it learns by heart: val_loss rises from {low:.3g} to "
        f"{last:.3g} while loss falls from {loss[began]:.3g} to {loss[-1]:.3g}."
        if risen
        else f"It learns by heart: accuracy is {100 * gap:.0f} points higher on training images."
    )
    # Early stopping was there for just that, and the best weights are kept.
    mild = rise <= RISEN_MUCH * low or facts.ended == "stopped early"
    return _OVER.found(
        title,
        evidence,
        "Augment, add dropout or a penalty of large weights, or collect more images; until then "
        "keep the weights of the best epoch.",
        severity="info" if mild and not gap else "warning",
        recipe_change=changes.augmentation(facts) or changes.dropout(facts),
        epoch=began,
    )


def too_many_parameters(facts: TrainingFacts) -> Finding:
    """Return whether a network that learns by heart has far more parameters than images."""
    if facts.summary is None or not facts.num_train:
        return _PARAMETERS.not_applicable("The network, or the number of images, is not known.")
    seen = overfitting(facts)
    if seen.outcome == "not applicable":
        return _PARAMETERS.not_applicable(seen.title)
    parameters = facts.summary.trainable
    an_image = parameters / facts.num_train
    layer = largest_layer(facts)
    share = layer.parameters / max(1, facts.summary.parameters)
    evidence = {
        "parameters": parameters, "images": facts.num_train, "an_image": an_image,
        "layer": layer.name, "layer_parameters": layer.parameters,
    }  # fmt: skip
    said = f"{parameters:,} parameters for {facts.num_train:,} images"
    if seen.outcome != "found" or seen.severity == "info" or an_image < MANY_PARAMETERS:
        return _PARAMETERS.passed(f"{said}: it does not learn by heart for that.", evidence)
    return _PARAMETERS.found(
        f"{said}, {share:.0%} of them in {layer.name!r} ({layer.kind}).",
        evidence,
        f"Make {layer.name!r} smaller, or pool over the whole picture before it "
        "(GlobalAveragePooling); a penalty of large weights is the next best.",
        recipe_change=changes.penalty(facts),
        epoch=seen.epoch,
    )


def largest_layer(facts: TrainingFacts) -> LayerSummary:
    """Return the layer that holds most parameters."""
    assert facts.summary is not None
    return max(facts.summary.layers, key=lambda layer: layer.parameters)


def _doubt(facts: TrainingFacts, began: int, tail: int) -> float:
    """Return what val_loss can rise by for no reason, over `tail` epochs.

    The bound of `sampling_noise` once: late epochs of one training are so alike that it is two
    to three deviations of their difference. And what the curve itself wiggles by.
    """
    noise = facts.sampling_noise("validation")
    sampled = float(noise[began]) if noise is not None else 0.0
    return sampled + SURE * wiggle(facts.filled("val_loss")[1:]) / math.sqrt(tail)


def _gap(facts: TrainingFacts) -> float:
    """Return by how much training is more accurate in the last third; 0 where not clearly."""
    if facts.lacks("accuracy", "val_accuracy"):
        return 0.0
    last = max(2, facts.epochs // 3)
    trained, held_out = (float(np.median(facts.filled(name)[-last:]))
                         for name in ("accuracy", "val_accuracy"))  # fmt: skip
    doubt = 2 * math.sqrt(held_out * (1 - held_out) / (facts.num_validation or 100))
    gap = trained - held_out
    return gap if gap > GAP + doubt else 0.0
