"""Batches of the pictures in class folders."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from sightline.preprocessing.iterators.files import FileIterator, tell, warn_of_unread

if TYPE_CHECKING:
    from sightline.preprocessing.generator import ImageDataGenerator

_UNREAD = (".gif", ".webp")


class DirectoryIterator(FileIterator):
    """Batches of the pictures in class folders: images, or (images, targets).

    Folders are read at every depth, in the order of their names.

    Args:
        directory: The folder of class folders.
        image_data_generator: What changes the pictures.
        target_size: (height, width).
        color_mode: "rgb", "rgba" or "grayscale".
        classes: The class folders in order; by default all, by name, but hidden and empty ones.
        class_mode: "categorical": (B, K) one-hot; "binary" and "sparse": (B,) numbers, as floats;
            "input": the images; None: no targets.
        batch_size: Of a batch.
        shuffle: Whether each pass has an order of its own.
        seed: See `Iterator`.
        data_format: "channels_last" or "channels_first".
        save_to_dir: Where each picture that is given out is written.
        save_prefix: Before its name.
        save_format: Its extension.
        follow_links: Whether linked folders are read.
        subset: "training" or "validation": of each class the rest, or its first
            `validation_split`.
        interpolation: "nearest", "bilinear", "bicubic", "hamming", "box" or "lanczos".
        keep_aspect_ratio: Cut out the middle instead of squeezing the whole.
        dtype: Of the batches.

    Attributes:
        class_indices: Class name -> number.
        classes: (n,) int32, the number of each picture's class.
        num_classes: How many.

    Raises:
        FileNotFoundError: There is no such folder.
        ValueError: A mode or the subset is none.
    """

    allowed_class_modes = {"categorical", "binary", "sparse", "input", None}  # noqa: RUF012

    def __init__(
        self,
        directory: Any,
        image_data_generator: ImageDataGenerator | None,
        target_size: Sequence[int] = (256, 256),
        color_mode: str = "rgb",
        classes: Sequence[str] | None = None,
        class_mode: str | None = "categorical",
        batch_size: int = 32,
        shuffle: bool = True,
        seed: int | None = None,
        data_format: str | None = None,
        save_to_dir: Any = None,
        save_prefix: str = "",
        save_format: str = "png",
        follow_links: bool = False,
        subset: str | None = None,
        interpolation: str = "nearest",
        keep_aspect_ratio: bool = False,
        dtype: Any = None,
    ) -> None:
        self.set_processing_attrs(
            image_data_generator,
            target_size,
            color_mode,
            data_format or keras.config.image_data_format(),
            save_to_dir,
            save_prefix,
            save_format,
            subset,
            interpolation,
            keep_aspect_ratio,
        )
        self.directory = directory
        if class_mode not in self.allowed_class_modes:
            raise ValueError(
                f"Invalid class_mode: {class_mode}; expected one of: {self.allowed_class_modes}"
            )
        self.class_mode = class_mode
        self.dtype = dtype or keras.config.floatx()
        found = self._list(list(classes or []), follow_links)
        self.num_classes = len(found)
        self.class_indices = {name: number for number, name in enumerate(found)}
        self.filenames = [name for names in found.values() for name in names]
        self.samples = len(self.filenames)
        counts = [len(names) for names in found.values()]
        self.classes = np.repeat(np.arange(len(found), dtype=np.int32), counts)
        tell(f"Found {self.samples} images belonging to {self.num_classes} classes.")
        self._filepaths = [os.path.join(self.directory, name) for name in self.filenames]
        super().__init__(self.samples, batch_size, shuffle, seed)

    def _list(self, classes: list[str], follow_links: bool) -> dict[str, list[str]]:
        """Return the names of each class's pictures, relative to the folder, in order."""
        given = bool(classes)
        if not given:
            with os.scandir(self.directory) as entries:
                classes = sorted(entry.name for entry in entries if entry.is_dir())
        found: dict[str, list[str]] = {}
        left_out, unread = [], []
        for name in classes:
            files = list(_files_below(os.path.join(self.directory, name), follow_links))
            pictures = [each for each in files if each.lower().endswith(self.white_list_formats)]
            unread += [f"{name}/{each}" for each in files if each.lower().endswith(_UNREAD)]
            hidden = name.startswith(".")
            if not (given or self._strict_keras) and (hidden or not pictures):
                left_out.append(name)
                continue
            begin, end = 0, len(pictures)
            if self.split:
                begin, end = (int(share * len(pictures)) for share in self.split)
            found[name] = [os.path.join(name, each) for each in pictures[begin:end]]
        if left_out:
            warnings.warn(
                f"{len(left_out)} folders of {self.directory} are no classes, because they are "
                f"hidden or hold no picture: {left_out[:5]}. Keras counts them; "
                "strict_keras=True does, too.",
                stacklevel=4,
            )
        if not self._strict_keras:
            warn_of_unread(unread, str(self.directory))
        return found

    @property
    def labels(self) -> Any:
        """(n,) int32, the number of each picture's class."""
        return self.classes

    @property
    def sample_weight(self) -> None:
        """None: pictures in folders have no weights."""
        return


def _files_below(folder: str, follow_links: bool) -> Iterable[str]:
    """Yield the files at every depth, relative to `folder`: folder by folder, then by name."""
    walked = sorted(os.walk(folder, followlinks=follow_links), key=lambda found: found[0])
    for root, _, names in walked:
        for name in sorted(names):
            if name.lower().endswith(".tiff"):
                warnings.warn(
                    'Using ".tiff" files with multiple bands will cause distortion. Please '
                    "verify your output.",
                    stacklevel=5,
                )
            yield os.path.relpath(os.path.join(root, name), folder)
