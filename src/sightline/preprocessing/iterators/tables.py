"""Batches of the pictures that a pandas table names."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sightline.preprocessing.iterators.files import FileIterator, tell, validate_filename

if TYPE_CHECKING:
    from sightline.preprocessing.generator import ImageDataGenerator

_WITHOUT_CLASSES = ("input", "multi_output", "raw", None)


class DataFrameIterator(FileIterator):
    """Batches of the pictures that a table names: images, targets and weights as asked.

    Args:
        dataframe: A pandas table; it is not changed.
        directory: Folder that the names are relative to; None where they are paths.
        image_data_generator: What changes the pictures.
        x_col: Column of the file names.
        y_col: Column of the targets, or a list of columns.
        weight_col: Column of weights, or None.
        target_size: (height, width).
        color_mode: "rgb", "rgba" or "grayscale".
        classes: The classes in order; rows of others are left out. By default all, sorted.
        class_mode: "categorical": (B, K) one-hot, or many-hot where labels are lists; "binary"
            and "sparse": (B,) numbers, as floats; "input": the images; "raw": the column's
            values; "multi_output": a list of the columns' values; None: no targets.
        batch_size: Of a batch.
        shuffle: Whether each pass has an order of its own.
        seed: See `Iterator`.
        data_format: "channels_last" or "channels_first".
        save_to_dir: Where each picture that is given out is written.
        save_prefix: Before its name.
        save_format: Its extension.
        subset: "training" or "validation": the rest of the rows, or the first
            `validation_split` of them.
        interpolation: "nearest", "bilinear", "bicubic", "hamming", "box" or "lanczos".
        keep_aspect_ratio: Cut out the middle instead of squeezing the whole.
        dtype: Of the batches.
        validate_filenames: Leave rows out whose file is missing or of another extension.

    Attributes:
        class_indices: Class name -> number, where there are classes.
        classes: Of each row, its number, or a list of numbers.

    Raises:
        ValueError: A mode or the subset is none, or "binary" has not two classes.
        TypeError: A column's values are of a kind that the mode does not take.
    """

    allowed_class_modes = {  # noqa: RUF012
        "binary", "categorical", "input", "multi_output", "raw", "sparse", None,
    }  # fmt: skip

    def __init__(
        self,
        dataframe: Any,
        directory: Any = None,
        image_data_generator: ImageDataGenerator | None = None,
        x_col: str = "filename",
        y_col: Any = "class",
        weight_col: str | None = None,
        target_size: Sequence[int] = (256, 256),
        color_mode: str = "rgb",
        classes: Sequence[str] | None = None,
        class_mode: str | None = "categorical",
        batch_size: int = 32,
        shuffle: bool = True,
        seed: int | None = None,
        data_format: str = "channels_last",
        save_to_dir: Any = None,
        save_prefix: str = "",
        save_format: str = "png",
        subset: str | None = None,
        interpolation: str = "nearest",
        keep_aspect_ratio: bool = False,
        dtype: Any = "float32",
        validate_filenames: bool = True,
    ) -> None:
        self.set_processing_attrs(
            image_data_generator, target_size, color_mode, data_format, save_to_dir,
            save_prefix, save_format, subset, interpolation, keep_aspect_ratio,
        )  # fmt: skip
        df = dataframe.copy()
        self.directory = directory or ""
        self.class_mode = class_mode
        self.dtype = dtype
        self._check_params(df, x_col, y_col, weight_col, classes)
        if validate_filenames:
            df = self._filter_valid_filepaths(df, x_col)
        has_classes = class_mode not in _WITHOUT_CLASSES
        if has_classes:
            df, classes = self._filter_classes(df, y_col, classes)
            self.class_indices = {name: number for number, name in enumerate(classes)}
        if self.split:
            begin, end = (int(share * len(df)) for share in self.split)
            df = df.iloc[begin:end, :]
        if has_classes:
            self.classes = self.get_classes(df, y_col)
        self.filenames = df[x_col].tolist()
        self._sample_weight = df[weight_col].values if weight_col else None
        if class_mode == "multi_output":
            self._targets: Any = [np.array(df[column].tolist()) for column in y_col]
        if class_mode == "raw":
            self._targets = df[y_col].values
        self.samples = len(self.filenames)
        kind = "validated" if validate_filenames else "non-validated"
        belonging = f" belonging to {len(self.class_indices)} classes" if has_classes else ""
        tell(f"Found {self.samples} {kind} image filenames{belonging}.")
        self._filepaths = [os.path.join(self.directory, name) for name in self.filenames]
        super().__init__(self.samples, batch_size, shuffle, seed)

    def _check_params(
        self, df: Any, x_col: str, y_col: Any, weight_col: str | None, classes: Any
    ) -> None:
        """Refuse columns and modes that do not go together."""
        mode = self.class_mode
        if mode not in self.allowed_class_modes:
            raise ValueError(
                f"Invalid class_mode: {mode}; expected one of: {self.allowed_class_modes}"
            )
        if mode == "multi_output" and not isinstance(y_col, list):
            raise TypeError(
                f'If class_mode="{mode}", y_col must be a list. Received {type(y_col).__name__}.'
            )
        if not all(isinstance(name, str) for name in df[x_col]):
            raise TypeError(f"All values in column x_col={x_col} must be strings.")
        if mode in {"binary", "sparse"} and not all(isinstance(y, str) for y in df[y_col]):
            raise TypeError(
                f'If class_mode="{mode}", y_col="{y_col}" column values must be strings.'
            )
        if mode == "binary":
            self._check_two(df, y_col, classes)
        kinds = (str, list, tuple)
        if mode == "categorical" and not all(isinstance(label, kinds) for label in df[y_col]):
            raise TypeError(
                f'If class_mode="{mode}", y_col="{y_col}" column values must be type string, '
                "list or tuple."
            )
        if classes and mode in _WITHOUT_CLASSES:
            warnings.warn(f'`classes` will be ignored given the class_mode="{mode}"', stacklevel=5)
        if weight_col and not issubclass(df[weight_col].dtype.type, np.number):
            raise TypeError(f"Column weight_col={weight_col} must be numeric.")

    @staticmethod
    def _check_two(df: Any, y_col: str, classes: Any) -> None:
        if classes:
            if len(set(classes)) != 2:
                raise ValueError(
                    'If class_mode="binary" there must be 2 classes. '
                    f"{len(set(classes))} class/es were given."
                )
        elif df[y_col].nunique() != 2:
            raise ValueError(
                'If class_mode="binary" there must be 2 classes. '
                f"Found {df[y_col].nunique()} classes."
            )

    def get_classes(self, df: Any, y_col: str) -> list[Any]:
        """Return the number of each row's class, or a list of numbers where labels are lists."""
        numbers = self.class_indices
        return [
            [numbers[each] for each in label] if isinstance(label, list | tuple) else numbers[label]
            for label in df[y_col]
        ]

    @staticmethod
    def _filter_classes(df: Any, y_col: str, classes: Any) -> tuple[Any, list[str]]:
        """Return the rows that have a class, and the classes in order."""
        df = df.copy()
        if classes:
            chosen = list(dict.fromkeys(classes))
            df[y_col] = df[y_col].apply(lambda label: _kept(label, chosen, y_col))
        else:
            names: set[str] = set()
            for label in df[y_col]:
                names.update(label if isinstance(label, list | tuple) else [label])
            chosen = sorted(names)
        return df.dropna(subset=[y_col]), chosen

    def _filter_valid_filepaths(self, df: Any, x_col: str) -> Any:
        """Return the rows whose file is there and has one of the known extensions."""
        valid = [
            validate_filename(os.path.join(self.directory, name), self.white_list_formats)
            for name in df[x_col]
        ]
        if num_invalid := len(valid) - sum(valid):
            warnings.warn(
                f'Found {num_invalid} invalid image filename(s) in x_col="{x_col}". '
                "These filename(s) will be ignored.",
                stacklevel=5,
            )
        return df[np.asarray(valid, dtype=bool)]

    @property
    def labels(self) -> Any:
        """Targets of every row, as the class mode has them."""
        return self._targets if self.class_mode in {"multi_output", "raw"} else self.classes

    @property
    def sample_weight(self) -> Any:
        """(n,) weights, or None."""
        return self._sample_weight


def _kept(label: Any, classes: Sequence[str], y_col: str) -> Any:
    """Return what is left of a label when only these classes count; None: nothing."""
    if isinstance(label, list | tuple):
        return [each for each in label if each in classes] or None
    if isinstance(label, str):
        return label if label in classes else None
    raise TypeError(f"Expect string, list or tuple but found {type(label)} in {y_col} column ")
