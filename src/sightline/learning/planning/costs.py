"""What a training will cost: time and disk."""

from __future__ import annotations

from dataclasses import dataclass

from sightline.data.stream import usable_cores
from sightline.learning.training import speed as speeds
from sightline.recipes import Recipe
from sightline.records import DataFacts, ModelSummary

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
