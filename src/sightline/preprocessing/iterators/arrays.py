"""Batches of pictures in memory."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import keras
import numpy as np
import numpy.typing as npt

from sightline.data.images import Channels
from sightline.data.stream import StreamConfig
from sightline.preprocessing.iterators.asked import check_split
from sightline.preprocessing.iterators.base import Rows
from sightline.preprocessing.iterators.pictures import PictureIterator
from sightline.preprocessing.iterators.pixels import Pixels
from sightline.records import RecordIndex

if TYPE_CHECKING:
    from sightline.preprocessing.generator import ImageDataGenerator

Array = npt.NDArray[Any]

_ROUNDING = 0.01  # what resizing and normalising may add to pictures of 0..1


class NumpyArrayIterator(PictureIterator):
    """Batches of an array of pictures: images, (images, y), or (images, y, sample_weight).

    Args:
        x: (N, H, W, C) or (N, C, H, W); or (pictures, other) or (pictures, [others ...]): then a
            batch's images are a list of all of these.
        y: (N, ...) targets, or None.
        image_data_generator: What changes the pictures.
        batch_size: Of a batch.
        shuffle: Whether each pass has an order of its own.
        sample_weight: (N,) weights, or None.
        seed: See `Iterator`.
        data_format: "channels_last" or "channels_first".
        save_to_dir: Where each picture that is given out is written.
        save_prefix: Before its name.
        save_format: Its extension.
        subset: "training" or "validation": the rest, or the first `validation_split` of all.
        ignore_class_split: Do not mind when both have not the same labels.
        dtype: Of the batches.

    Raises:
        ValueError: Lengths differ, `x` is not of rank 4, or the subset is none or has not all
            classes.
    """

    _most_saved = 10**4
    _unit_range: bool | None = None
    _made_of: tuple[Any, ...] = ()

    def __init__(
        self,
        x: Any,
        y: Any,
        image_data_generator: ImageDataGenerator,
        batch_size: int = 32,
        shuffle: bool = False,
        sample_weight: Any = None,
        seed: int | None = None,
        data_format: str | None = None,
        save_to_dir: Any = None,
        save_prefix: str = "",
        save_format: str = "png",
        subset: str | None = None,
        ignore_class_split: bool = False,
        dtype: Any = None,
    ) -> None:
        self.data_format = data_format or keras.config.image_data_format()
        self.dtype = dtype or keras.config.floatx()
        x, x_misc = _parted(x)
        _check_length(x, y, "`y` (labels)", "y")
        _check_length(x, sample_weight, "`sample_weight`", "sample_weight")
        if subset is not None:
            part = _part(subset, len(x), image_data_generator, y, ignore_class_split)
            x, x_misc = x[part], [np.asarray(each[part]) for each in x_misc]
            y = None if y is None else y[part]
            if sample_weight is not None and not image_data_generator.strict_keras:
                sample_weight = np.asarray(sample_weight)[part]  # Keras keeps those of all
        self.x = np.asarray(x, dtype=self.dtype)
        self.x_misc = x_misc
        self._check_shape()
        self.y = None if y is None else np.asarray(y)
        self.sample_weight = None if sample_weight is None else np.asarray(sample_weight)
        self.image_data_generator = image_data_generator
        self.image_shape = self.x.shape[1:]
        self.save_to_dir, self.save_prefix = save_to_dir, save_prefix
        self.save_format = save_format
        self._maker: Pixels | None = None
        self._strict_keras = image_data_generator.strict_keras
        super().__init__(len(self.x), batch_size, shuffle, seed)

    def _check_shape(self) -> None:
        if self.x.ndim != 4:
            raise ValueError(
                "Input data in `NumpyArrayIterator` should have rank 4. You passed an array with "
                f"shape {self.x.shape}"
            )
        axis = 3 if self.data_format == "channels_last" else 1
        if self.x.shape[axis] not in {1, 3, 4}:
            warnings.warn(
                "NumpyArrayIterator is set to use the data format convention "
                f'"{self.data_format}" (channels on axis {axis}), i.e. expected either 1, 3, or '
                f"4 channels on axis {axis}. However, it was passed an array with shape "
                f"{self.x.shape} ({self.x.shape[axis]} channels).",
                stacklevel=4,
            )

    def _pixels(self) -> Pixels | None:
        """Return what makes pixels of float32 pictures with 1, 3 or 4 channels last."""
        channels = self.x.shape[3]
        if self.x.dtype != np.float32 or self.data_format != "channels_last" or channels == 2:
            return None
        if channels not in (1, 3, 4) or not self.x.size:
            return None
        key = (id(self.x), self.x.shape)
        if self._maker is None or self._made_of != key:
            self._made_of = key
            count = len(self.x)
            index = RecordIndex.make(
                Path(),
                (),
                np.zeros(0, np.uint8),
                np.zeros(count + 1, np.uint32),
                np.full(count, -1, np.int32),
                pixels=np.ascontiguousarray(self.x),
            )
            config = StreamConfig(
                image_size=self.x.shape[1:3],
                channels=cast(Channels, channels),
                batch_size=max(1, min(self.batch_size, count)),
                quality="compat",
                scaling="none",
                prefetch=2,
            )
            self._maker = Pixels(index, config)
        return self._maker

    def _holds_0_to_255(self) -> bool:
        return False

    def _holds_0_to_1(self) -> bool:
        """Say whether all values are of 0..1, a little more counted in, and not all whole."""
        if self._unit_range is None:
            x = self.x
            within = x.size > 0 and x.min() >= 0 and x.max() <= 1 + _ROUNDING
            self._unit_range = bool(within and (x.max() > 0) and x.dtype.kind == "f")
        return self._unit_range

    def _picture(self, row: int) -> Array:
        picture: Array = self.x[row].astype(self.dtype)
        return picture

    def _with_targets(self, batch_x: Array, index_array: Rows) -> Any:
        others = [each[index_array] for each in self.x_misc]
        images = [batch_x, *others] if others else batch_x
        if self.y is None:
            return images
        if self.sample_weight is None:
            return images, self.y[index_array]
        return images, self.y[index_array], self.sample_weight[index_array]


def _parted(x: Any) -> tuple[Any, list[Array]]:
    """Return the pictures, and what else comes with them."""
    if not isinstance(x, tuple | list):
        return x, []
    others = [np.asarray(each) for each in (x[1] if isinstance(x[1], list) else [x[1]])]
    for other in others:
        if len(x[0]) != len(other):
            raise ValueError(
                "All of the arrays in `x` should have the same length. Found a pair with: "
                f"len(x[0]) = {len(x[0])}, len(x[?]) = {len(other)}"
            )
    return x[0], others


def _check_length(x: Any, other: Any, title: str, name: str) -> None:
    if other is not None and len(x) != len(other):
        raise ValueError(
            f"`x` (images tensor) and {title} should have the same length. "
            f"Found: x.shape = {np.asarray(x).shape}, {name}.shape = {np.asarray(other).shape}"
        )


def _part(
    subset: str, count: int, generator: ImageDataGenerator, y: Any, ignore_class_split: bool
) -> slice:
    """Return which part of the arrays a subset is."""
    if subset not in {"training", "validation"}:
        raise ValueError(f'Invalid subset name: {subset}; expected "training" or "validation".')
    check_split(subset, generator)
    first = int(count * generator._validation_split)
    if (
        y is not None
        and not ignore_class_split
        and not np.array_equal(np.unique(y[:first]), np.unique(y[first:]))
    ):
        raise ValueError(
            "Training and validation subsets have different number of classes after the split. "
            "If your numpy arrays are sorted by the label, you might want to shuffle them."
        )
    return slice(None, first) if subset == "validation" else slice(first, None)
