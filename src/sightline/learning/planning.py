"""The plan: what was found, what will be done and why, and what it will cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import polars as pl

from sightline.data.stream import StreamConfig, cache_root, measure_scaling, usable_cores
from sightline.errors import DataError, RecipeError
from sightline.learning.models import backend, devices, forward, kept, networking
from sightline.learning.training import speed as speeds
from sightline.learning.training.objective import class_weights
from sightline.recipes import Recipe, change_recipe, resolve_epochs, resolve_shape
from sightline.records import DataFacts, Manifest, ModelSummary, Split
from sightline.runs import Run

_KEPT_SECONDS = 1e-4  # processor seconds of one augmented image that need not be decoded again


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything decided before the first step.

    Attributes:
        recipe: Resolved: no value is "auto" but the backend's, and precision is a policy.
        manifest: With its splits.
        facts: What a sample of the images showed.
        summary: Of the network.
        machine: What it runs on.
        counts: (K,) training images a class.
        sentences: The plan in words, for people.
        cached: Decoded images are kept between epochs.
        network: What the run keeps of a network that no recipe describes, a `.keras` file.
        scope: Of the devices that share the batches; the model is made and trained in it.
    """

    recipe: Recipe
    manifest: Manifest
    facts: DataFacts
    summary: ModelSummary
    machine: Mapping[str, Any]
    counts: npt.NDArray[np.int64]
    sentences: tuple[str, ...]
    cached: bool = True
    network: bytes | None = None
    scope: Callable[[], AbstractContextManager[Any]] = nullcontext

    def build(self, *, training: bool = False) -> keras.Model:
        """Return the network with its initial weights, to train it or to keep it."""
        model = kept.rebuild(
            self.recipe,
            len(self.counts),
            self.network,
            class_shares=_shares(self.recipe, self.counts),
            training=training,
        )
        if training:
            devices.synchronise(model)
        return model

    def weights(self) -> npt.NDArray[np.float32] | None:
        """Return (K,) class weights, or None when the recipe asks for none."""
        if self.recipe.balance.class_weights == "none":
            return None
        return class_weights(self.counts)

    def stream_config(self, split: Split, *, share: float = 1.0) -> StreamConfig:
        """Return how `split` is streamed: only training is shuffled and augmented.

        Args:
            split: Which one.
            share: Of the recipe's image size.
        """
        kept = _cache(self.recipe, self.cached)
        training = split == "train"
        return StreamConfig.of(self.recipe, training=training, cache=kept, share=share)


def plan_again(run: Run, *, cached: bool = True) -> Plan:
    """Return the plan of a run as it was made: nothing is measured or chosen anew.

    Raises:
        RunError: The run folder is damaged.
    """
    manifest = run.manifest
    machine, used = _machine(backend.choose(run.info["backend"]), run.recipe)
    counts = _training_counts(manifest)
    sentences = tuple(run.plan)
    return Plan(
        run.recipe,
        manifest,
        run.facts,
        run.summary,
        machine,
        counts,
        sentences,
        cached,
        run.network,
        used.scope,
    )


def make_plan(
    manifest: Manifest,
    recipe: Recipe,
    facts: DataFacts,
    backend_name: str,
    *,
    cached: bool = True,
    model: keras.Model | None = None,
) -> Plan:
    """Return the plan for a split manifest; builds the network once to count its arithmetic.

    Raises:
        DataError: A class has no training image.
        RecipeError: The recipe does not fit the data or the network, or the given model does not.
    """
    machine, used = _machine(backend_name, recipe, model)
    counts = _training_counts(manifest)
    _refuse_weighing_twice(manifest, recipe)
    train_count = int(counts.sum())
    recipe, wanted = networking.as_its_network_wants(recipe, model)
    recipe, reasons = resolve_shape(recipe, facts)
    recipe, measured = _with_scaling(recipe, manifest, cached)
    source = networking.Source(counts, model, _shares(recipe, counts))
    recipe, biased = source.with_its_bias(recipe)
    summary = forward.summarise(source.build(recipe))
    validation_count = len(manifest.of_split("validation"))
    speed = speeds.expected_speed(summary.operations)
    if machine["accelerators"] or not summary.operations:
        # The processor's arithmetic says nothing about a GPU, and of some networks it is unknown.
        speed = speeds.measured_speed(recipe, source.build(recipe, training=True), len(counts))
    epoch = _EpochCost.of(speed, facts, train_count, validation_count, cached)
    draft, _ = resolve_epochs(recipe, train_count, train_count / epoch.seconds)
    assert draft.train.epochs != "auto", "resolve_epochs has just replaced it"
    policy, speed, why = speeds.choose_precision(
        draft,
        build=lambda policy: source.build(draft, policy, training=True),
        num_classes=len(counts),
        processor_has_it=machine["bfloat16"],
        expected_seconds=draft.train.epochs * epoch.computing,
        speed=speed,
    )
    epoch = _EpochCost.of(speed, facts, train_count, validation_count, cached)
    recipe, more = resolve_epochs(recipe, train_count, train_count / epoch.seconds)
    recipe = recipe.model_copy(update={"precision": policy})
    network = source.kept(recipe)
    sentences = [
        *_found(manifest, facts),
        *wanted,
        *reasons,
        *measured,
        *networking.in_words(recipe, summary, network),
        *used.in_words(recipe),
        *biased,
        *more,
        why,
        *_balance(recipe, counts, manifest.class_names),
        *_costs(recipe, summary, speed, epoch),
    ]
    return Plan(
        recipe,
        manifest,
        facts,
        summary,
        machine,
        counts,
        tuple(sentences),
        cached,
        network,
        used.scope,
    )


def _machine(
    backend_name: str, recipe: Recipe, model: keras.Model | None = None
) -> tuple[dict[str, Any], devices.Devices]:
    machine = backend.describe(backend_name)
    used = devices.Devices.of(recipe, accelerators=machine["accelerators"], model=model)
    return machine | {"devices": list(used.names)}, used


def _cache(recipe: Recipe, cached: bool) -> Path | None:
    """Return where decoded images are kept; nowhere if each is needed once."""
    return cache_root() if cached and recipe.train.epochs != 1 else None


def _with_scaling(
    recipe: Recipe, manifest: Manifest, cached: bool
) -> tuple[Recipe, tuple[str, ...]]:
    """Return the recipe with the colours' mean and deviation, measured if it asks for that."""
    if recipe.data.scaling != "mean-std" or recipe.data.mean:
        return recipe, ()
    plain = change_recipe(recipe, {"data.scaling": "1/255"})
    config = StreamConfig.of(plain, training=False, cache=_cache(recipe, cached))
    found = measure_scaling(manifest, split="train", config=config)
    changes = {"data.mean": list(found.mean), "data.std": list(found.std)}
    shown = ", ".join(
        f"{mean:.4f} ± {std:.4f}" for mean, std in zip(found.mean, found.std, strict=True)
    )
    return change_recipe(recipe, changes), (
        f"Colours of the training images, 0 to 1: {shown}; they are brought to 0 ± 1.",
    )


def _training_counts(manifest: Manifest) -> npt.NDArray[np.int64]:
    """Return (K,) training images a class, in class order."""
    found = dict(manifest.counts().select("label", "train").iter_rows())
    missing = [name for name in manifest.class_names if not found.get(name)]
    if missing:
        raise DataError(
            f"classes {missing} of {manifest.root} have no training image, so they cannot be "
            "learned. Put images of them into train, or leave these classes out."
        )
    return np.asarray([found[name] for name in manifest.class_names], np.int64)


def _refuse_weighing_twice(manifest: Manifest, recipe: Recipe) -> None:
    """Refuse class weights on top of weights of the manifest that differ between the classes."""
    if recipe.balance.class_weights == "none":
        return
    weights = (
        manifest.of_split("train").group_by("label").agg(pl.col("weight").mean()).sort("label")
    )
    if weights["weight"].max() != weights["weight"].min():
        shown = ", ".join(f"{label} {weight:.3f}" for label, weight in weights.iter_rows())
        raise RecipeError(
            f"balance.class_weights is {recipe.balance.class_weights!r}, and the manifest's own "
            f"weights already differ between the classes ({shown}): a rare class would count "
            "twice. Set balance.class_weights=none, or split without --rare-weights."
        )


def _shares(recipe: Recipe, counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64] | None:
    return counts / counts.sum() if recipe.balance.initial_bias else None


def _found(manifest: Manifest, facts: DataFacts) -> list[str]:
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


def _balance(
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
    if balance.initial_bias and len(counts) == 2:
        bias = float(np.log(counts[1] / counts[0]))
        sentences.append(
            f"Initial bias log(positives/negatives) = {bias:.3f}: it starts at "
            f"{counts[1] / counts.sum():.0%} {class_names[1]}."
        )
    elif balance.initial_bias:
        top = int(counts.argmax())
        sentences.append(
            f"Initial bias log(share of each class): it starts at the classes' own shares, "
            f"{counts[top] / counts.sum():.0%} for {class_names[top]!r}."
        )
    if smoothing := recipe.train.label_smoothing:
        spread = smoothing / len(counts)
        sentences.append(
            f"Label smoothing {smoothing:g}: the target of the true class is "
            f"{1 - smoothing + spread:.3g}, of every other {spread:.2g}. It is in the objective "
            "alone; loss and val_loss stay plain."
        )
    return sentences


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


@dataclass(frozen=True, slots=True)
class _EpochCost:
    """Expected cost of an epoch: the network's and the files' seconds run side by side.

    Attributes:
        images: Streamed in an epoch.
        computing: Seconds of the network.
        decoding: Seconds of reading and decoding the files.
        cached: Whether only the first epoch decodes.
    """

    images: int
    computing: float
    decoding: float
    cached: bool

    @classmethod
    def of(
        cls,
        speed: speeds.Speed,
        facts: DataFacts,
        train_count: int,
        validation_count: int,
        cached: bool,
    ) -> _EpochCost:
        """Return the cost; the forward pass of validation is a third of a training step."""
        images = train_count + validation_count
        return cls(
            images=images,
            computing=(train_count + validation_count / 3) / speed.images_per_second,
            decoding=images * facts.read_seconds / usable_cores(),
            cached=cached,
        )

    @property
    def reading(self) -> float:
        """Seconds that the files take in every epoch but the first."""
        return self.images * _KEPT_SECONDS / usable_cores() if self.cached else self.decoding

    @property
    def seconds(self) -> float:
        """What every epoch but the first takes."""
        return max(self.computing, self.reading)

    def total(self, epochs: int) -> float:
        """Return the seconds of a training."""
        return max(self.computing, self.decoding) + (epochs - 1) * self.seconds


def _costs(
    recipe: Recipe, summary: ModelSummary, speed: speeds.Speed, epoch: _EpochCost
) -> list[str]:
    """Say expected time and disk."""
    epochs, size, channels = recipe.train.epochs, recipe.data.image_size, recipe.data.channels
    assert epochs != "auto", "the recipe is resolved before its cost is told"
    assert size != "auto", "the recipe is resolved before its cost is told"
    assert channels != "auto", "the recipe is resolved before its cost is told"
    # Best weights, the .keras copy, and the last checkpoint: two optimizer moments, and with an
    # average of the weights that average twice and the trained weights.
    copies = 1 + 1 + 3 + (2 if recipe.train.weight_average else 0)
    megabytes = summary.parameters * 4 * copies / 1e6 + 2
    basis = "measured on this network" if speed.measured else "from its arithmetic"
    held = "reading" if epoch.reading > epoch.computing else "computing"
    sentences = [
        f"At most {epochs} epoch{'s' * (epochs > 1)}, about {duration(epoch.total(epochs))} "
        f"(speed {basis}; {held} decides), about {megabytes:,.0f} MB of disk."
    ]
    if epoch.cached and epochs > 1:
        kept = epoch.images * size[0] * size[1] * channels / 1e6
        sentences.append(
            f"Decoded images are kept for the later epochs and for other runs: up to {kept:,.0f} "
            "MB (`sightline cache` lists them; --no-cache decodes anew each time)."
        )
    return sentences


def duration(seconds: float) -> str:
    """Return a time as people say it: "40 s", "12 min", "2.5 h"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
