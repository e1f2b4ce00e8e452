"""What a training will cost: time and disk."""

from __future__ import annotations

from dataclasses import dataclass

from sightline.data.stream import usable_cores
from sightline.learning.training import speed as speeds
from sightline.recipes import NETWORKS, Recipe
from sightline.records import DataFacts, ModelSummary
from sightline.runs.checkpoints import GENERATIONS

_FLOAT32 = 4  # bytes, of all that is kept
_SMALL_FILES = 2.0  # MB, about: manifest, audit, events, predictions, figures, report
_MOMENTS = {"adam": 2, "adamw": 2, "lion": 1, "rmsprop": 1, "sgd": 1}  # of each trained weight
_KEPT_SECONDS = 1e-4  # processor seconds of one augmented image that need not be decoded again


@dataclass(frozen=True, slots=True)
class EpochCost:
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
    ) -> EpochCost:
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


def in_words(
    recipe: Recipe, summary: ModelSummary, speed: speeds.Speed, epoch: EpochCost
) -> list[str]:
    """Say expected time and disk."""
    epochs, size, channels = recipe.train.epochs, recipe.data.image_size, recipe.data.channels
    assert epochs != "auto", "the recipe is resolved before its cost is told"
    assert size != "auto", "the recipe is resolved before its cost is told"
    assert channels != "auto", "the recipe is resolved before its cost is told"
    run, checkpoint = _megabytes(recipe, summary)
    basis = "measured on this network" if speed.measured else "from its arithmetic"
    held = "reading" if epoch.reading > epoch.computing else "computing"
    sentences = [
        f"At most {epochs} epoch{'s' * (epochs > 1)}, about {duration(epoch.total(epochs))} "
        f"(speed {basis}; {held} decides), up to {run:,.0f} MB of disk, "
        f"and {max(checkpoint, 1):,.0f} MB more while a checkpoint is written."
    ]
    if epoch.cached and epochs > 1:
        kept = epoch.images * size[0] * size[1] * channels / 1e6
        sentences.append(
            f"Decoded images are kept for the later epochs and for other runs: up to {kept:,.0f} "
            "MB (`sightline cache` lists them; --no-cache decodes anew each time)."
        )
    return sentences


def _megabytes(recipe: Recipe, summary: ModelSummary) -> tuple[float, float]:
    """Return what a run takes on the disk once it has all its files, and a checkpoint of it."""
    train, whole = recipe.train, summary.parameters * _FLOAT32 / 1e6
    moments = _MOMENTS[train.optimizer] if train.optimizer != "sgd" or train.momentum else 0
    # The average, and the trained weights beside those that were judged, which are the average.
    copies = moments + (2 if train.weight_average else 0) + (train.accumulate > 1)
    checkpoint = whole + copies * summary.trainable * _FLOAT32 / 1e6
    # The best weights twice and those that were the best before, model.keras, and a network that
    # no recipe describes.
    others = (3 + 1 + (recipe.model.network not in NETWORKS)) * whole
    return GENERATIONS * checkpoint + others + _SMALL_FILES, checkpoint


def duration(seconds: float) -> str:
    """Return a time as people say it: "40 s", "12 min", "2.5 h"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
