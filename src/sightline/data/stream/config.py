"""How one split becomes batches."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, get_args

import numpy as np

from sightline.data.images import Channels, Interpolation, Quality, RuleSet
from sightline.data.stream.kernels import Output
from sightline.data.stream.sampling import Sampling
from sightline.recipes import AugmentSection, Recipe

Scaling = Literal["1/255", "none", "mean-std", "per-image"]
_CHOICES: Mapping[str, tuple[Any, ...]] = {
    "channels": get_args(Channels),
    "scaling": get_args(Scaling),
    "dtype": ("float32", "uint8"),
    "layout": ("channels-last", "channels-first"),
    "quality": get_args(Quality),
    "interpolation": get_args(Interpolation),
    "sampling": get_args(Sampling),
}
_WHOLE_NUMBERS: Mapping[str, tuple[int, float]] = {  # the least and the most
    "batch_size": (1, math.inf),
    "seed": (0, 2**32 - 1),
    "prefetch": (1, math.inf),
    "num_threads": (0, math.inf),
    "max_memory": (1, math.inf),
    "max_faults": (0, math.inf),
}

_SHORTEST = 8  # pixels of a side at a share of the image size


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamConfig:
    """How one split becomes batches.

    Attributes:
        image_size: (height, width) in pixels after resizing.
        channels: 3 = RGB, 1 = grey, 4 = RGBA.
        batch_size: Records a batch; the last one of an epoch may be smaller.
        seed: Decides order and augmentation, 0..2**32-1; equal seeds give equal batches.
        shuffle: A new perfect shuffle each epoch; False keeps the manifest's order.
        sampling: Which records make up an epoch: "all", each once; "weighted" by the manifest's
            weights; "class-balanced"; "oversample" or "undersample" to the largest or smallest
            class. See `make_order`.
        augment: Random changes; None for none. Erasing, then mixing, are of pixels of 0..255, after
            every other change and before scaling. With mixup or cutmix, each image gets a partner
            out of the whole epoch, changed as when it comes itself; the targets become shares of
            both classes, labels and weights stay the image's own. Where the partner cannot be
            read, the image stays unmixed, and the fault is recorded where the partner comes.
        scaling: "1/255" gives 0..1; "none" 0..255; "mean-std" (pixel / 255 - mean) / std for each
            channel; "per-image" mean 0 and deviation 1 over each picture, all channels together.
            uint8 output is never scaled.
        mean: For "mean-std", one 0..1 value a channel, e.g. by `measure_scaling`.
        std: For "mean-std", likewise, above 0.
        dtype: Of the images: "float32" or "uint8".
        layout: "channels-last" (H, W, C) or "channels-first" (C, H, W).
        quality: How files become pixels of `image_size`: "fast" decodes a JPEG at a smaller scale
            where that saves time; "best" decodes in full and antialiases; "compat" gives the
            pixels of `keras.utils.load_img`, odd files included. `docs/benchmarks.md` has their
            costs and differences.
        interpolation: For "compat", which of Keras' six.
        crop_to_aspect_ratio: For "compat": cut out the middle instead of squeezing the whole.
        background: RGB 0..255 under transparent images, but for "compat".
        cache: Folder under which decoded images are kept between epochs and runs; None decodes
            anew each time. It changes no byte of any batch as long as the files are those that
            were scanned; an image that is kept is still served when its file has gone or changed.
        num_threads: Threads that decode; 0 works in the caller's thread; None = usable cores.
        prefetch: Batches in the making or waiting, at most.
        max_memory: Bytes that batches, decoded pictures and work space may take together; fewer
            batches are prepared ahead, and larger pictures refused, to keep to it. Beside it are
            Python, the libraries, and pages of the cache, which the system takes back at need.
            None: `prefetch` batches, and pictures of up to 64 megapixels.
        max_fault_share: Share of the split's files that may be unreadable before it is an error.
        max_faults: Their number, at most.
    """

    image_size: tuple[int, int]
    channels: Channels = 3
    batch_size: int = 32
    seed: int = 0
    shuffle: bool = False
    sampling: Sampling = "all"
    augment: AugmentSection | None = None
    scaling: Scaling = "1/255"
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    dtype: Literal["float32", "uint8"] = "float32"
    layout: Literal["channels-last", "channels-first"] = "channels-last"
    quality: Quality = "fast"
    interpolation: Interpolation = "nearest"
    crop_to_aspect_ratio: bool = False
    background: tuple[int, int, int] = (255, 255, 255)
    cache: Path | None = None
    num_threads: int | None = None
    prefetch: int = 4
    max_memory: int | None = None
    max_fault_share: float = 0.01
    max_faults: int = 100

    def __post_init__(self) -> None:
        self._make_plain()
        for name, (least, most) in _WHOLE_NUMBERS.items():
            value = getattr(self, name)
            if value is None and name in ("num_threads", "max_memory"):
                continue
            if not isinstance(value, int) or not least <= value <= most:
                wanted = f"at least {least}" if most == math.inf else f"{least}..2**32-1"
                raise ValueError(f"{name} must be a whole number, {wanted}, got {value!r}")
        if not _are_whole(self.image_size, 2, 1, math.inf):
            raise ValueError(
                f"image_size must be (height, width) of at least 1, got {self.image_size!r}"
            )
        if not _are_whole(self.background, 3, 0, 255):
            raise ValueError(f"background must be RGB 0..255, got {self.background!r}")
        augment: object = self.augment
        if not isinstance(augment, AugmentSection | None):
            raise ValueError(
                f"augment must be an AugmentSection or None, got {augment!r}. Write "
                "augment=AugmentSection(rotation=20, ...)."
            )
        if not 0 <= self.max_fault_share <= 1:
            raise ValueError(f"max_fault_share must be 0..1, got {self.max_fault_share}")
        self._check_switches()
        self._check_choices()
        self._check_scaling()

    def _make_plain(self) -> None:
        """Take NumPy's whole numbers, lists and paths as text for what they stand for."""
        for name in ("image_size", "background", "mean", "std"):
            value = getattr(self, name)
            if isinstance(value, list | tuple | np.ndarray):
                object.__setattr__(self, name, tuple(_plain(part) for part in value))
        for name in _WHOLE_NUMBERS:
            object.__setattr__(self, name, _plain(getattr(self, name)))
        cache: object = self.cache
        if isinstance(cache, str):
            object.__setattr__(self, "cache", Path(cache).expanduser())

    def _check_switches(self) -> None:
        """Refuse switches that are neither on nor off, or without effect."""
        for name in ("shuffle", "crop_to_aspect_ratio"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} must be True or False, got {getattr(self, name)!r}")
        if self.crop_to_aspect_ratio and self.quality != "compat":
            raise ValueError(f'crop_to_aspect_ratio needs quality="compat", got {self.quality!r}')

    def _check_choices(self) -> None:
        """Refuse what is none of the words of its field, and words that do not go together."""
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be one of {choices}, got {getattr(self, name)!r}")
        if self.sampling != "all" and not self.shuffle:
            raise ValueError(
                f"sampling={self.sampling!r} draws at random, so it needs shuffle=True. Shuffle, "
                'or take "all".'
            )

    def _check_scaling(self) -> None:
        """Refuse a mean and deviation that do not fit `scaling` and `channels`."""
        wanted = self.channels if self.scaling == "mean-std" else 0
        for name in ("mean", "std"):
            values = getattr(self, name)
            if len(values) != wanted or not all(math.isfinite(value) for value in values):
                raise ValueError(
                    f"scaling={self.scaling!r} with {self.channels} channels takes {wanted} "
                    f"finite values of {name}, got {values}"
                )
        if any(value <= 0 for value in self.std):
            raise ValueError(f"std must be above 0, got {self.std}")

    @property
    def rule_set(self) -> RuleSet:
        """How odd files are decoded."""
        return "keras" if self.quality == "compat" else "sightline"

    @property
    def picture_bytes(self) -> int:
        """Bytes of one decoded picture at `image_size`."""
        return self.image_size[0] * self.image_size[1] * self.channels

    @property
    def batch_bytes(self) -> int:
        """Bytes of the images of one whole batch."""
        return self.batch_size * self.picture_bytes * (4 if self.dtype == "float32" else 1)

    @property
    def blends(self) -> bool:
        """Whether pictures are erased or mixed, which comes before they are scaled."""
        section = self.augment
        return section is not None and bool(section.erasing or section.mixup or section.cutmix)

    def levels(self) -> Output:
        """Return what the kernel makes of a picture that is yet to be erased, mixed and scaled."""
        return dataclasses.replace(
            self.output(),
            channels_first=False,
            dtype="float32",
            scale=(1.0,) * self.channels,
            offset=(0.0,) * self.channels,
            per_image=False,
        )

    def output(self) -> Output:
        """Return what the kernel makes of a picture."""
        scale, offset = (1.0,) * self.channels, (0.0,) * self.channels
        if self.dtype == "float32" and self.scaling == "1/255":
            scale = (1 / 255,) * self.channels
        elif self.dtype == "float32" and self.scaling == "mean-std":
            scale = tuple(1 / (255 * std) for std in self.std)
            offset = tuple(-mean / std for mean, std in zip(self.mean, self.std, strict=True))
        augment = self.augment or AugmentSection()
        return Output(
            size=self.image_size,
            channels=self.channels,
            channels_first=self.layout == "channels-first",
            dtype=self.dtype,
            scale=scale,
            offset=offset,
            per_image=self.dtype == "float32" and self.scaling == "per-image",
            fill=augment.fill,
            fill_value=augment.fill_value,
        )

    def fault_budget(self, total: int) -> int:
        """Return how many of `total` files may be unreadable: the share, but at least one.

        So one bad file stops no small split; a share of 0 allows none.
        """
        share = max(1, int(self.max_fault_share * total + 1e-9)) if self.max_fault_share else 0
        return min(self.max_faults, share)

    def forgiving(self, total: int) -> Self:
        """Return the same for those to whom an unreadable file is an answer: all may be."""
        return dataclasses.replace(self, max_fault_share=1.0, max_faults=total)

    @classmethod
    def of(
        cls, recipe: Recipe, *, training: bool, cache: Path | None = None, share: float = 1.0
    ) -> Self:
        """Return how a resolved recipe streams: only training is shuffled, sampled and augmented.

        Args:
            recipe: Without "auto" in its image size, channels, scaling and batch size.
            training: For the split that is learned from.
            cache: Where decoded images are kept.
            share: Of the recipe's image size, above 0 and up to 1. Below 1, each side becomes even,
                at least 8 pixels, and no longer than it was.

        Raises:
            ValueError: The share is out of its range.
        """
        size, channels = recipe.data.image_size, recipe.data.channels
        batch, scaling = recipe.train.batch_size, recipe.data.scaling
        assert size != "auto", "the recipe is resolved before images are streamed"
        assert channels != "auto", "the recipe is resolved before images are streamed"
        assert batch != "auto", "the recipe is resolved before images are streamed"
        assert scaling != "auto", "the recipe is resolved before images are streamed"
        return cls(
            image_size=_at_share(size, share),
            channels=channels,
            batch_size=batch,
            seed=recipe.seed,
            shuffle=training,
            sampling=recipe.balance.sampling if training else "all",
            augment=recipe.augment if training else None,
            scaling=scaling,
            mean=recipe.data.mean,
            std=recipe.data.std,
            quality=recipe.data.quality,
            background=recipe.data.background,
            cache=cache,
        )


def _at_share(size: tuple[int, int], share: float) -> tuple[int, int]:
    """Return (height, width) at a share of each side."""
    if not 0 < share <= 1:
        raise ValueError(f"share must be above 0 and at most 1, got {share}")
    if share == 1:
        return size
    height, width = (min(side, max(_SHORTEST, 2 * round(side * share / 2))) for side in size)
    return height, width


def _plain(value: Any) -> Any:
    """Return a number of NumPy as Python's own; True is no number."""
    if isinstance(value, np.generic):
        return value.item()
    return repr(value) if isinstance(value, bool) else value


def _are_whole(values: Any, count: int, least: int, most: float) -> bool:
    if not isinstance(values, tuple) or len(values) != count:
        return False
    return all(isinstance(value, int) and least <= value <= most for value in values)
