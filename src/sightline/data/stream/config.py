"""How one split becomes batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

from sightline.data.images import RuleSet
from sightline.recipes import AugmentSection, Recipe


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamConfig:
    """How one split becomes batches.

    Attributes:
        image_size: (height, width) in pixels after resizing.
        channels: 3 = RGB, 1 = grey.
        batch_size: Records a batch; the last one of an epoch may be smaller.
        seed: Decides order and augmentation, 0..2**32-1; equal seeds give equal batches.
        shuffle: A new perfect shuffle each epoch; False keeps the manifest's order.
        augment: Random changes; None for none.
        scaling: "1/255" gives 0..1, "none" gives 0..255 (uint8 output is never scaled).
        dtype: Of the images: "float32" or "uint8".
        rule_set: How odd files are decoded.
        background: RGB 0..255 under transparent images.
        num_threads: Threads that decode; 0 works in the caller's thread; None = usable cores.
        prefetch: Batches in the making or waiting, at most.
        max_fault_share: Share of the split's files that may be unreadable before it is an error.
        max_faults: Their number, at most.
    """

    image_size: tuple[int, int]
    channels: Literal[1, 3] = 3
    batch_size: int = 32
    seed: int = 0
    shuffle: bool = False
    augment: AugmentSection | None = None
    scaling: Literal["1/255", "none"] = "1/255"
    dtype: Literal["float32", "uint8"] = "float32"
    rule_set: RuleSet = "sightline"
    background: tuple[int, int, int] = (255, 255, 255)
    num_threads: int | None = None
    prefetch: int = 4
    max_fault_share: float = 0.01
    max_faults: int = 100

    def __post_init__(self) -> None:
        if len(self.image_size) != 2 or min(self.image_size) < 1:
            raise ValueError(
                f"image_size must be (height, width) of at least 1, got {self.image_size}"
            )
        for name, least in (("batch_size", 1), ("prefetch", 1), ("max_faults", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if not 0 <= self.max_fault_share <= 1:
            raise ValueError(f"max_fault_share must be 0..1, got {self.max_fault_share}")
        if len(self.background) != 3 or not all(0 <= part <= 255 for part in self.background):
            raise ValueError(f"background must be RGB 0..255, got {self.background}")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed must be 0..2**32-1, got {self.seed}")
        if self.num_threads is not None and self.num_threads < 0:
            raise ValueError(f"num_threads must be at least 0, got {self.num_threads}")
        for name, choices in (
            ("channels", (1, 3)),
            ("scaling", ("1/255", "none")),
            ("dtype", ("float32", "uint8")),
            ("rule_set", ("sightline", "keras")),
        ):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be one of {choices}, got {getattr(self, name)!r}")

    def fault_budget(self, total: int) -> int:
        """Return how many of `total` files may be unreadable: the share, but at least one.

        So one bad file stops no small split; a share of 0 allows none.
        """
        share = max(1, int(self.max_fault_share * total + 1e-9)) if self.max_fault_share else 0
        return min(self.max_faults, share)

    @classmethod
    def of(cls, recipe: Recipe, *, training: bool) -> Self:
        """Return how a resolved recipe streams: only training is shuffled and augmented."""
        size, channels, batch = (
            recipe.data.image_size,
            recipe.data.channels,
            recipe.train.batch_size,
        )
        assert size != "auto", "the recipe is resolved before images are streamed"
        assert channels != "auto", "the recipe is resolved before images are streamed"
        assert batch != "auto", "the recipe is resolved before images are streamed"
        return cls(
            image_size=size,
            channels=channels,
            batch_size=batch,
            seed=recipe.seed,
            shuffle=training,
            augment=recipe.augment if training else None,
            scaling=recipe.data.scaling,
            background=recipe.data.background,
        )
