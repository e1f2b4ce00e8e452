"""What folders and tables of picture files have in common."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import keras
import numpy as np
import numpy.typing as npt

from sightline.data.images import Channels, Interpolation
from sightline.data.stream import StreamConfig
from sightline.preprocessing.iterators.asked import check_split
from sightline.preprocessing.iterators.base import Rows
from sightline.preprocessing.iterators.pictures import PictureIterator
from sightline.preprocessing.iterators.pixels import Pixels, cache_of, index_of_files

if TYPE_CHECKING:
    from sightline.preprocessing.generator import ImageDataGenerator

Array = npt.NDArray[Any]

_CHANNELS = {"rgb": 3, "rgba": 4, "grayscale": 1}
_INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "hamming", "box", "lanczos")


def validate_filename(filename: str, white_list_formats: Sequence[str]) -> bool:
    """Say whether a name has one of these extensions, in any case, and is a file."""
    return filename.lower().endswith(tuple(white_list_formats)) and os.path.isfile(filename)


class FileIterator(PictureIterator):
    """Batches of picture files.

    Attributes:
        filenames: Of every picture, relative to `directory`.
        filepaths: With the folder.
        last_filenames: Of the batch that was given last, row by row.
        samples: How many pictures there are.
        target_size: (height, width).
        color_mode: "rgb", "rgba" or "grayscale".
        interpolation: How files become `target_size`.
        keep_aspect_ratio: Whether the middle is cut out instead of squeezing the whole.
        class_mode: What the targets are.
        subset: "training", "validation" or None.
        split: Share of the pictures at which the subset begins and ends; None for all.
    """

    filenames: list[str]
    samples: int
    class_mode: str | None
    classes: Any
    class_indices: dict[str, int]
    _filepaths: list[str]
    _made_of: tuple[Any, ...] = ()
    _listed: list[str] | None = None  # kept, so that no other list gets its id
    _looked_in = 0  # the pass in which the files were looked at last

    def set_processing_attrs(
        self,
        image_data_generator: ImageDataGenerator | None,
        target_size: Sequence[int],
        color_mode: str,
        data_format: str,
        save_to_dir: Any,
        save_prefix: str,
        save_format: str,
        subset: str | None,
        interpolation: str,
        keep_aspect_ratio: bool,
    ) -> None:
        """Take note of how files become pictures.

        Raises:
            ValueError: The colour mode or the subset is none.
        """
        self.image_data_generator = image_data_generator
        self._strict_keras = image_data_generator is not None and image_data_generator.strict_keras
        self.target_size: tuple[int, ...] = tuple(target_size)
        self.keep_aspect_ratio = keep_aspect_ratio
        if color_mode not in _CHANNELS:
            raise ValueError(
                f'Invalid color mode: {color_mode}; expected "rgb", "rgba", or "grayscale".'
            )
        self.color_mode = color_mode
        self.data_format = data_format
        channels = (_CHANNELS[color_mode],)
        last = data_format == "channels_last"
        self.image_shape = self.target_size + channels if last else channels + self.target_size
        self.save_to_dir, self.save_prefix = save_to_dir, save_prefix
        self.save_format = save_format
        self.interpolation = interpolation
        self.split = self._split_of(subset)
        self.subset = subset
        self._maker: Pixels | None = None

    def _split_of(self, subset: str | None) -> tuple[float, float] | None:
        generator: Any = self.image_data_generator
        if subset is None:
            return None
        if subset not in {"training", "validation"}:
            raise ValueError(f'Invalid subset name: {subset};expected "training" or "validation"')
        check_split(subset, generator)
        share = generator._validation_split
        return (0, share) if subset == "validation" else (share, 1)

    @property
    def filepaths(self) -> list[str]:
        """Paths of every picture."""
        return self._filepaths

    @property
    def labels(self) -> Any:
        """Targets of every picture."""
        raise NotImplementedError

    @property
    def sample_weight(self) -> Any:
        """Weights of every picture, or None."""
        raise NotImplementedError

    @property
    def last_filenames(self) -> list[str]:
        """Names of the pictures of the batch that was given last, row by row."""
        rows = self.last_index_array
        return [] if rows is None else [self.filenames[row] for row in rows]

    def _pixels(self) -> Pixels | None:
        """Return what makes pixels; anew where other files are meant, or found changed."""
        if self.interpolation not in _INTERPOLATIONS:
            return None  # an error, but only for pictures that are of another size
        key = (id(self._filepaths), self.target_size, self.color_mode, self.interpolation)
        if self.n and (self._maker is None or self._is_stale(key)):
            self._made_of, self._listed = key, self._filepaths
            index = index_of_files(self.filepaths)
            if index is None:
                return None
            config = StreamConfig(
                image_size=cast(tuple[int, int], self.target_size),
                channels=cast(Channels, _CHANNELS[self.color_mode]),
                batch_size=max(1, min(self.batch_size, self.n)),
                layout="channels-last" if self.data_format == "channels_last" else "channels-first",
                quality="compat",
                interpolation=cast(Interpolation, self.interpolation),
                crop_to_aspect_ratio=bool(self.keep_aspect_ratio),
                scaling="none",
                prefetch=2,
                cache=cache_of(index),
            )
            self._maker = Pixels(index, config)
        return self._maker

    def _is_stale(self, key: tuple[Any, ...]) -> bool:
        """Say whether other files are meant than before, or one was written before this pass."""
        if key != self._made_of:
            return True
        if self._looked_in == self._turns:
            return False
        self._looked_in = self._turns
        now = index_of_files(self.filepaths)
        if self._maker is None or now is None:
            return True
        return self._maker.index.fingerprint() != now.fingerprint()

    def _picture(self, row: int) -> Array:
        path = self.filepaths[row]
        try:
            image = keras.utils.load_img(
                path,
                color_mode=self.color_mode,
                target_size=self.target_size,
                interpolation=self.interpolation,
                keep_aspect_ratio=self.keep_aspect_ratio,
            )
        except OSError as error:  # of Pillow's errors, only some name the file
            if self._strict_keras or path in str(error):
                raise
            raise type(error)(f"{path}: {error}. Repair the file, or leave it out.") from error
        return np.asarray(keras.utils.img_to_array(image, data_format=self.data_format))

    def _with_targets(self, batch_x: Array, index_array: Rows) -> Any:
        targets = self._targets_of(batch_x, index_array)
        if targets is None:
            return batch_x
        if self.sample_weight is None:
            return batch_x, targets
        return batch_x, targets, self.sample_weight[index_array]

    def _targets_of(self, batch_x: Array, index_array: Rows) -> Any:
        mode = self.class_mode
        if mode == "input":
            return batch_x.copy()
        if mode in ("binary", "sparse"):
            return np.asarray([self.classes[row] for row in index_array], dtype=self.dtype)
        if mode == "categorical":
            one_hot = np.zeros((len(batch_x), len(self.class_indices)), dtype=self.dtype)
            for place, row in enumerate(index_array):
                one_hot[place, self.classes[row]] = 1.0
            return one_hot
        if mode == "multi_output":
            return [output[index_array] for output in self.labels]
        if mode == "raw":
            return self.labels[index_array]
        return None


def tell(message: str) -> None:
    """Print a line, or log it where Keras' interactive logging is switched off."""
    if keras.config.is_interactive_logging_enabled():
        sys.stdout.write(f"{message}\n")
        sys.stdout.flush()
    else:
        logging.getLogger("absl").info(message)


def warn_of_unread(names: Sequence[str], where: str) -> None:
    """Say that files are passed over which may be pictures."""
    if names:
        warnings.warn(
            f"{len(names)} files of {where} are no pictures for this iterator, such as "
            f"{names[0]}: .gif and .webp are passed over, as Keras does. Convert them to .png to "
            "take them in.",
            stacklevel=4,
        )


def absolute_folder(directory: Any) -> str:
    """Return a folder's path as text."""
    return str(Path(directory)) if isinstance(directory, Path) else str(directory)
