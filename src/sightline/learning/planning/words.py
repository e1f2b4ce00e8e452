"""What a plan says of the images and of classes of unequal size, in words."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sightline.learning.training.objective import class_weights, shares_of_an_epoch
from sightline.recipes import Recipe
from sightline.records import DataFacts, Manifest


def of_images(manifest: Manifest, facts: DataFacts) -> list[str]:
    """Say what was found, how it is shared out, and what is known of groups."""
    counts = manifest.counts()
    sides = ", ".join(
        f"{name} {int(counts[name].sum()):,}" for name in ("train", "validation", "test")
    )
    classes = ", ".join(f"{name} ({count:,})" for name, count in facts.class_counts.items())
    sentences = [
        f"Found {facts.count:,} images of {len(facts.class_counts)} classes: {classes}.",
        f"Splits: {sides}.",
        f"{'/'.join(facts.formats)} files, {facts.smallest[0]}x{facts.smallest[1]} to "
        f"{facts.largest[0]}x{facts.largest[1]} pixels in a sample of {facts.looked_at}.",
    ]
    if manifest.ignored:
        ignored = ", ".join(f"{count:,} {kind}" for kind, count in manifest.ignored.items())
        sentences.append(f"Passed over: {ignored}.")
    if manifest.table["group"].null_count() < len(manifest):
        sentences.append(manifest.groups_in_words())
    else:
        sentences.append(
            "No groups are known: if several images show one patient or one lesion, they may be "
            "on two sides, and the figures will look better than they are (--group-col, "
            "--group-regex)."
        )
    if facts.unreadable:
        name, why = facts.unreadable[0]
        sentences.append(
            f"{len(facts.unreadable)} of the sample cannot be read, first {name}: {why}"
        )
    return sentences


def of_balance(
    recipe: Recipe, counts: npt.NDArray[np.int64], class_names: tuple[str, ...]
) -> list[str]:
    """Say in words what is done about classes of unequal size, and to the targets."""
    balance, sentences = recipe.balance, []
    if balance.class_weights == "balanced":
        weights = ", ".join(
            f"{name} {weight:.3f}"
            for name, weight in zip(class_names, class_weights(counts), strict=True)
        )
        sentences.append(
            f"Class weights total/({len(counts)}*count): {weights}; every class weighs the same."
        )
    if balance.sampling != "all":
        sentences.append(_sampling(balance.sampling, counts, class_names))
    if balance.focal_gamma:
        gamma = balance.focal_gamma
        sentences.append(
            f"Focal loss: an image weighs (1 - probability of its true class)^{gamma:g}, so one "
            f"given 0.9 counts {0.1**gamma:.2g} and one given 0.1 counts {0.9**gamma:.2g}: "
            "training goes where it is still wrong."
        )
    if balance.initial_bias:
        sentences.append(_bias(shares_of_an_epoch(recipe, counts), class_names))
    if smoothing := recipe.train.label_smoothing:
        spread = smoothing / len(counts)
        sentences.append(
            f"Label smoothing {smoothing:g}: the target of the true class is "
            f"{1 - smoothing + spread:.3g}, of every other {spread:.2g}. It is in the objective "
            "alone; loss and val_loss stay plain."
        )
    return sentences


def _bias(shares: npt.NDArray[np.float64], class_names: tuple[str, ...]) -> str:
    """Say what the output starts at."""
    even = ", as every class comes equally often in an epoch" if np.ptp(shares) == 0 else ""
    if len(shares) == 2:
        return (
            f"Initial bias log(positives/negatives) = {np.log(shares[1] / shares[0]):.3f}: it "
            f"starts at {shares[1]:.0%} {class_names[1]}{even}."
        )
    if even:
        return f"Initial bias log(share of each class): it starts at {shares[0]:.0%} each{even}."
    top = int(shares.argmax())
    return (
        "Initial bias log(share of each class): it starts at the classes' own shares, "
        f"{shares[top]:.0%} for {class_names[top]!r}."
    )


def _sampling(sampling: str, counts: npt.NDArray[np.int64], class_names: tuple[str, ...]) -> str:
    """Say what an epoch is made of when not every image comes once."""
    small, large = int(counts.argmin()), int(counts.argmax())
    if sampling == "oversample":
        times = -(-counts[large] // counts[small])
        return (
            f"Oversampling shows each class as often as the largest ({counts[large]:,}): an epoch "
            f"of {len(counts) * counts[large]:,} images, those of {class_names[small]!r} come up "
            f"to {times} times."
        )
    return (
        f"Undersampling shows each class as often as the smallest ({counts[small]:,}): an epoch "
        f"of {len(counts) * counts[small]:,} of the {counts.sum():,} images, other images of the "
        "larger classes in each epoch."
    )
