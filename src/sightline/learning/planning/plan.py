"""The plan: everything that is decided before the first step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import polars as pl

from sightline.data.stream import StreamConfig, cache_root, measure_scaling
from sightline.errors import DataError, RecipeError
from sightline.learning.models import backend, devices, forward, kept
from sightline.learning.planning import costs, networking, words
from sightline.learning.training import freezing
from sightline.learning.training import speed as speeds
from sightline.learning.training.objective import (
    class_weights,
    compile_model,
    shares_of_an_epoch,
)
from sightline.recipes import NETWORKS, Recipe, change_recipe, resolve_length, resolve_shape
from sightline.records import DataFacts, Manifest, ModelSummary, Split
from sightline.runs import Run


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

    def compiled(self) -> keras.Model:
        """Return the network ready for its first step."""
        with self.scope():
            model = self.build(training=True)
            freezing.freeze(model, self.recipe)
            compile_model(model, self.recipe, len(self.counts), self.weights())
        return model

    @contextmanager
    def training(self) -> Iterator[None]:
        """Enter where it trains: on its devices, and adding up in one order."""
        # Ours have layers that do so by themselves.
        ordered = self.recipe.model.network in NETWORKS
        with self.scope(), nullcontext() if ordered else backend.in_one_order():
            yield

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
        folder = _cache(self.recipe, self.cached)
        training = split == "train"
        return StreamConfig.of(self.recipe, training=training, cache=folder, share=share)


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
        RunError: There is not enough memory for the steps that measure the speed.
    """
    machine, used = _machine(backend_name, recipe, model)
    counts = _training_counts(manifest)
    _refuse_weighing_twice(manifest, recipe)
    images = _images_of_an_epoch(recipe, counts)
    recipe, wanted = networking.as_its_network_wants(recipe, model)
    recipe, reasons = resolve_shape(recipe, facts)
    recipe, measured = _with_scaling(recipe, manifest, cached)
    source = networking.Source(counts, model, _shares(recipe, counts))
    recipe, biased = source.with_its_bias(recipe)
    summary = forward.summarise(source.build(recipe))
    validation_count = len(manifest.of_split("validation"))

    def cost(speed: speeds.Speed) -> costs.EpochCost:
        return costs.EpochCost.of(speed, facts, images, validation_count, cached)

    speed = speeds.expected_speed(summary.operations)
    if machine["accelerators"] or not summary.operations:
        # The processor's arithmetic says nothing about a GPU, and of some networks it is unknown.
        speed = speeds.measured_speed(recipe, source.build(recipe, training=True), len(counts))
    policy, speed, why = _precision(recipe, source, machine, images, cost, speed)
    epoch = cost(speed)
    recipe, more = resolve_length(recipe, images, images / epoch.seconds)
    recipe = recipe.model_copy(update={"precision": policy})
    network = source.kept(recipe)
    sentences = [
        *words.of_images(manifest, facts),
        *wanted,
        *reasons,
        *measured,
        *networking.in_words(recipe, summary, network),
        *used.in_words(recipe),
        *biased,
        *more,
        why,
        *words.of_balance(recipe, counts, manifest.class_names),
        *costs.in_words(recipe, summary, speed, epoch),
    ]
    said = tuple(sentences)
    return Plan(
        recipe, manifest, facts, summary, machine, counts, said, cached, network, used.scope
    )


def _precision(
    recipe: Recipe,
    source: networking.Source,
    machine: Mapping[str, Any],
    images: int,
    cost: Callable[[speeds.Speed], costs.EpochCost],
    speed: speeds.Speed,
) -> tuple[str, speeds.Speed, str]:
    """Return the precision to train in, the speed found on the way, and why, in a sentence."""
    epoch, num_classes = cost(speed), len(source.counts)
    # Without a limit: how many epochs fit into that depends on what is to be found here.
    unlimited = change_recipe(recipe, {"stop.minutes": 0.0})
    draft, _ = resolve_length(unlimited, images, images / epoch.seconds)
    assert draft.train.epochs != "auto", "resolve_length has just replaced it"
    policy, speed, why = speeds.choose_precision(
        draft,
        build=lambda policy: source.build(draft, policy, training=True),
        num_classes=num_classes,
        processor_has_it=machine["bfloat16"],
        expected_seconds=draft.train.epochs * epoch.computing,
        speed=speed,
    )
    if recipe.train.epochs == "auto" and recipe.stop.minutes and not speed.measured:
        # A guess from the arithmetic is too rough to fill a limit.
        speed = speeds.measured_speed(
            draft, source.build(draft, policy, training=True), num_classes
        )
    return policy, speed, why


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
    return shares_of_an_epoch(recipe, counts) if recipe.balance.initial_bias else None


def _images_of_an_epoch(recipe: Recipe, counts: npt.NDArray[np.int64]) -> int:
    """Return how many images training sees in an epoch, of classes of so many each."""
    if recipe.balance.sampling == "all":
        return int(counts.sum())
    each = counts.max() if recipe.balance.sampling == "oversample" else counts.min()
    return int(each * len(counts))
