"""ImageDataGenerator: what is drawn, done to a picture, and measured over a set of them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import keras
import numpy as np
import numpy.typing as npt
from PIL import ImageEnhance

from sightline.preprocessing import standardising
from sightline.preprocessing.affine import (
    apply_affine_transform,
    apply_channel_shift,
    flip_axis,
    shift_brightness,
)
from sightline.preprocessing.arguments import (
    checked_brightness,
    checked_class_mode,
    checked_data_format,
    checked_zoom,
)
from sightline.preprocessing.drawing import Parameters, draw
from sightline.preprocessing.iterators import (
    DataFrameIterator,
    DirectoryIterator,
    Iterator,
    NumpyArrayIterator,
    asked,
)
from sightline.preprocessing.standardising import Statistics, Wanted

Array = npt.NDArray[Any]
Mode = Literal["exact", "fast"]


class ImageDataGenerator:
    """Batches of pictures with random changes, as Keras' class of that name makes them.

    Args:
        featurewise_center: Subtract the mean of each channel, which `fit` measures.
        samplewise_center: Subtract each picture's own mean, of all channels together.
        featurewise_std_normalization: Divide by the deviation of each channel, from `fit`.
        samplewise_std_normalization: Divide by each picture's own deviation.
        zca_whitening: Take correlations between values away, by a matrix from `fit`.
        zca_epsilon: Added to the singular values of whitening.
        rotation_range: Degrees, both ways.
        width_shift_range: A share of the width below 1, pixels from 1 on; a whole number n
            stands for -(n-1)..n-1 pixels, a list for one of its elements, of either sign.
        height_shift_range: Likewise. As in Keras it moves pictures sideways, by a share of the
            height, and `width_shift_range` up and down; with mode="fast" each its own way.
        brightness_range: Two factors.
        shear_range: Degrees, both ways.
        zoom_range: z for factors 1-z..1+z, or two factors; each axis has its own; below 1
            enlarges.
        channel_shift_range: Added to all channels, both ways, within the picture's own range.
        fill_mode: What lies outside: "nearest", "constant", "reflect" or "wrap".
        cval: For "constant".
        horizontal_flip: Mirror every second picture, at random.
        vertical_flip: Likewise, upside down.
        rescale: A factor, applied after the random changes.
        preprocessing_function: Takes and returns one picture (H, W, C); called after the random
            changes, before `rescale`.
        data_format: "channels_last" or "channels_first"; by default Keras' own setting.
        validation_split: Share that `subset="validation"` takes: the first ones, not random ones.
        interpolation_order: Of the spline that moves pixels.
        dtype: Of the batches; by default Keras' floatx.
        mode: "exact" draws Keras' numbers in Keras' order and gives Keras' pixels; "fast" draws
            by the stream's rule, a hash of seed, epoch and picture.
        strict_keras: Behave as Keras in everything, traps included.

    Raises:
        ValueError: An argument is none of these.
    """

    def __init__(
        self,
        featurewise_center: bool = False,
        samplewise_center: bool = False,
        featurewise_std_normalization: bool = False,
        samplewise_std_normalization: bool = False,
        zca_whitening: bool = False,
        zca_epsilon: float = 1e-6,
        rotation_range: float = 0,
        width_shift_range: Any = 0.0,
        height_shift_range: Any = 0.0,
        brightness_range: Sequence[float] | None = None,
        shear_range: float = 0.0,
        zoom_range: Any = 0.0,
        channel_shift_range: float = 0.0,
        fill_mode: str = "nearest",
        cval: float = 0.0,
        horizontal_flip: bool = False,
        vertical_flip: bool = False,
        rescale: float | None = None,
        preprocessing_function: Callable[[Array], Array] | None = None,
        data_format: str | None = None,
        validation_split: float = 0.0,
        interpolation_order: int = 1,
        dtype: str | None = None,
        *,
        mode: Mode = "exact",
        strict_keras: bool = False,
    ) -> None:
        self.featurewise_center, self.samplewise_center = featurewise_center, samplewise_center
        self.featurewise_std_normalization = featurewise_std_normalization
        self.samplewise_std_normalization = samplewise_std_normalization
        self.zca_whitening, self.zca_epsilon = zca_whitening, zca_epsilon
        self.rotation_range, self.shear_range = rotation_range, shear_range
        self.width_shift_range, self.height_shift_range = width_shift_range, height_shift_range
        self.zoom_range = checked_zoom(zoom_range)
        self.channel_shift_range = channel_shift_range
        self.fill_mode, self.cval = fill_mode, cval
        self.horizontal_flip, self.vertical_flip = horizontal_flip, vertical_flip
        self.rescale, self.preprocessing_function = rescale, preprocessing_function
        self.dtype = keras.config.floatx() if dtype is None else dtype
        self.interpolation_order = interpolation_order
        self.data_format = checked_data_format(data_format)
        first = self.data_format == "channels_first"
        self.channel_axis, self.row_axis, self.col_axis = (1, 2, 3) if first else (3, 1, 2)
        if validation_split and not 0 < validation_split < 1:
            raise ValueError(
                "`validation_split` must be strictly between 0 and 1. "
                f" Received: {validation_split}"
            )
        self._validation_split = validation_split
        self.mean: Array | None = None
        self.std: Array | None = None
        self.zca_whitening_matrix: Array | None = None
        self._override()
        self.brightness_range = checked_brightness(brightness_range)
        if mode not in get_args(Mode):
            raise ValueError(f"mode must be one of {get_args(Mode)}, got {mode!r}")
        self.mode, self.strict_keras = mode, strict_keras

    def _override(self) -> None:
        """Switch on what other settings need, and off what they exclude."""
        told = "This ImageDataGenerator specifies `{}`, which overrides setting of `{}`."
        given = dict(vars(self))  # Keras looks at the arguments, not at what became of them
        if self.zca_whitening and not self.featurewise_center:
            self.featurewise_center = True
            warnings.warn(told.format("zca_whitening", "featurewise_center"), stacklevel=3)
        if self.zca_whitening and self.featurewise_std_normalization:
            self.featurewise_std_normalization = False
            warnings.warn(  # the missing space is Keras' own; programs filter by its words
                "This ImageDataGenerator specifies `zca_whitening` which overrides setting of"
                "`featurewise_std_normalization`.",
                stacklevel=3,
            )
        for kind in ("featurewise", "samplewise"):
            scale, center = f"{kind}_std_normalization", f"{kind}_center"
            if given[scale] and not given[center]:
                setattr(self, center, True)
                warnings.warn(told.format(scale, center), stacklevel=3)

    def flow(
        self,
        x: Any,
        y: Any = None,
        batch_size: int = 32,
        shuffle: bool = True,
        sample_weight: Any = None,
        seed: int | None = None,
        save_to_dir: str | None = None,
        save_prefix: str = "",
        save_format: str = "png",
        ignore_class_split: bool = False,
        subset: str | None = None,
    ) -> NumpyArrayIterator:
        """Return batches of arrays; see `NumpyArrayIterator`."""
        return NumpyArrayIterator(
            x, y, self, batch_size=batch_size, shuffle=shuffle, sample_weight=sample_weight,
            seed=seed, data_format=self.data_format, save_to_dir=save_to_dir,
            save_prefix=save_prefix, save_format=save_format,
            ignore_class_split=ignore_class_split, subset=subset, dtype=self.dtype,
        )  # fmt: skip

    def flow_from_directory(
        self,
        directory: Any,
        target_size: tuple[int, int] = (256, 256),
        color_mode: str = "rgb",
        classes: Sequence[str] | None = None,
        class_mode: str | None = "categorical",
        batch_size: int = 32,
        shuffle: bool = True,
        seed: int | None = None,
        save_to_dir: str | None = None,
        save_prefix: str = "",
        save_format: str = "png",
        follow_links: bool = False,
        subset: str | None = None,
        interpolation: str = "nearest",
        keep_aspect_ratio: bool = False,
    ) -> DirectoryIterator:
        """Return batches of the pictures in class folders; see `DirectoryIterator`."""
        return DirectoryIterator(
            directory, self, target_size=target_size, color_mode=color_mode,
            keep_aspect_ratio=keep_aspect_ratio, classes=classes, class_mode=class_mode,
            data_format=self.data_format, batch_size=batch_size, shuffle=shuffle, seed=seed,
            save_to_dir=save_to_dir, save_prefix=save_prefix, save_format=save_format,
            follow_links=follow_links, subset=subset, interpolation=interpolation,
            dtype=self.dtype,
        )  # fmt: skip

    def flow_from_dataframe(
        self,
        dataframe: Any,
        directory: Any = None,
        x_col: str = "filename",
        y_col: Any = "class",
        weight_col: str | None = None,
        target_size: tuple[int, int] = (256, 256),
        color_mode: str = "rgb",
        classes: Sequence[str] | None = None,
        class_mode: str | None = "categorical",
        batch_size: int = 32,
        shuffle: bool = True,
        seed: int | None = None,
        save_to_dir: str | None = None,
        save_prefix: str = "",
        save_format: str = "png",
        subset: str | None = None,
        interpolation: str = "nearest",
        validate_filenames: bool = True,
        **kwargs: Any,
    ) -> DataFrameIterator:
        """Return batches of the pictures that a pandas table names; see `DataFrameIterator`.

        Raises:
            TypeError: There is an argument of another name.
        """
        keep = not self.strict_keras and kwargs.get("keep_aspect_ratio", False)
        return DataFrameIterator(
            dataframe, directory, self, x_col=x_col, y_col=y_col, weight_col=weight_col,
            target_size=target_size, color_mode=color_mode, classes=classes,
            class_mode=checked_class_mode(class_mode, kwargs, strict=self.strict_keras),
            data_format=self.data_format, batch_size=batch_size, shuffle=shuffle, seed=seed,
            save_to_dir=save_to_dir, save_prefix=save_prefix, save_format=save_format,
            subset=subset, interpolation=interpolation,
            keep_aspect_ratio=keep, validate_filenames=validate_filenames, dtype=self.dtype,
        )  # fmt: skip

    def standardize(self, x: Array) -> Array:
        """Return a picture, or a batch of them, centred and scaled as the arguments ask.

        `x` must be floats, and is changed in place: preprocessing_function, rescale, samplewise
        centre and deviation, featurewise centre and deviation, whitening.
        """
        if self.preprocessing_function:
            x = self.preprocessing_function(x)
        if self.rescale:
            x *= self.rescale
        return self._normalize(x)

    def _normalize(self, x: Array) -> Array:
        """Do what `standardize` does after `rescale`."""
        if self.samplewise_center:
            x -= np.mean(x, keepdims=True)
        if self.samplewise_std_normalization:
            x /= np.std(x, keepdims=True) + 1e-6
        if self.featurewise_center:
            if self.mean is not None:
                x -= self.mean
            else:
                self._warn_unfitted("featurewise_center")
        if self.featurewise_std_normalization:
            if self.std is not None:
                x /= self.std + 1e-6
            else:
                self._warn_unfitted("featurewise_std_normalization")
        if self.zca_whitening:
            if self.zca_whitening_matrix is not None:
                flat = x.reshape(-1, np.prod(x.shape[-3:])) @ self.zca_whitening_matrix
                x = np.reshape(flat, x.shape)
            else:
                self._warn_unfitted("zca_whitening")
        return x

    def _warn_unfitted(self, name: str) -> None:
        warnings.warn(
            f"This ImageDataGenerator specifies `{name}`, but it hasn't been fit on any training "
            "data. Fit it first by calling `.fit(numpy_data)`.",
            stacklevel=4,
        )

    def get_random_transform(
        self, img_shape: tuple[int, ...], seed: int | None = None
    ) -> Parameters:
        """Return random parameters for a picture of a shape; see `apply_transform`.

        They come from NumPy's global generator, which `seed` sets.
        """
        if seed is not None:
            np.random.seed(seed)  # programs rely on it
        height, width = img_shape[self.row_axis - 1], img_shape[self.col_axis - 1]
        return draw(self, height, width, np.random)

    def apply_transform(self, x: Array, transform_parameters: Parameters) -> Array:
        """Return a picture changed by parameters, each of which may be left out.

        Args:
            x: (H, W, C), or (C, H, W) by `data_format`.
            transform_parameters: "theta" and "shear" in degrees, "tx" (sideways) and "ty" (down)
                in pixels, "zx", "zy", "channel_shift_intensity", "flip_horizontal",
                "flip_vertical", "brightness"; done in this order.
        """
        return self._transform(x, transform_parameters, unit_range=_is_unit_range(x))

    def _transform(self, x: Array, given: Parameters, *, unit_range: bool) -> Array:
        """Do what `apply_transform` does; `unit_range` says whether pictures are of 0..1."""
        row, column, channel = self.row_axis - 1, self.col_axis - 1, self.channel_axis - 1
        plain = {"theta": 0, "tx": 0, "ty": 0, "shear": 0, "zx": 1, "zy": 1}
        moves = {name: given.get(name, value) for name, value in plain.items()}
        x = apply_affine_transform(
            x,
            **moves,
            row_axis=row,
            col_axis=column,
            channel_axis=channel,
            fill_mode=self.fill_mode,
            cval=self.cval,
            order=self.interpolation_order,
        )
        if given.get("channel_shift_intensity") is not None:
            x = apply_channel_shift(x, given["channel_shift_intensity"], channel)
        if given.get("flip_horizontal", False):
            x = flip_axis(x, column)
        if given.get("flip_vertical", False):
            x = flip_axis(x, row)
        if given.get("brightness") is not None:
            # Pillow's brightness is in whole numbers: it would make pictures of 0..1 black.
            if unit_range and not self.strict_keras:
                whole = np.minimum(x * 255, 255)
                return shift_brightness(whole, given["brightness"], False, ImageEnhance) / 255
            x = shift_brightness(x, given["brightness"], False, ImageEnhance)
        return x

    def changes_at_random(self) -> bool:
        """Say whether any range can change a picture."""
        return asked.changes_at_random(self)

    def random_transform(self, x: Array, seed: int | None = None) -> Array:
        """Return a picture changed by random parameters; see `get_random_transform`."""
        return self.apply_transform(x, self.get_random_transform(x.shape, seed))

    def fit(self, x: Any, augment: bool = False, rounds: int = 1, seed: int | None = None) -> None:
        """Measure what the featurewise arguments and whitening need.

        Args:
            x: (N, H, W, C) or (N, C, H, W), copied; or an iterator, as for `fit_stream`.
            augment: Measure randomly changed pictures, `rounds` of each.
            rounds: How many.
            seed: Sets NumPy's global generator first.

        Raises:
            ValueError: An array is not of rank 4.
        """
        if isinstance(x, Iterator) or hasattr(x, "__next__"):
            self.fit_stream(x, augment=augment, rounds=rounds, seed=seed)
            return
        x = np.asarray(x, dtype=self.dtype)
        if x.ndim != 4:
            raise ValueError(
                f"Input to `.fit()` should have rank 4. Got array with shape: {x.shape}"
            )
        channels = x.shape[self.channel_axis]
        if channels not in {1, 3, 4}:
            warnings.warn(
                "Expected input to be images (as Numpy array) following the data format "
                f'convention "{self.data_format}" (channels on axis {self.channel_axis}), i.e. '
                f"expected either 1, 3 or 4 channels on axis {self.channel_axis}. However, it "
                f"was passed an array with shape {x.shape} ({channels} channels).",
                stacklevel=2,
            )
        if seed is not None:
            np.random.seed(seed)  # programs rely on it
        x = np.copy(x)
        if self.rescale:
            x *= self.rescale
        if augment:
            rows = (x[i] for _ in range(rounds) for i in range(len(x)))
            changed = np.zeros((rounds * len(x), *x.shape[1:]), dtype=self.dtype)
            for place, picture in enumerate(rows):
                changed[place] = self.random_transform(picture)
            x = changed
        self._take(standardising.of_array(x, self._wanted()))

    def fit_stream(
        self, iterator: Any, augment: bool = False, rounds: int = 1, seed: int | None = None
    ) -> None:
        """Measure as `fit` does, over a set that does not fit in memory: within 1e-5 of it.

        Memory is one batch, and for whitening a matrix of the values of a picture squared. The
        pictures are read once for the mean, the deviation and the whitening each.

        Args:
            iterator: What a `flow` method returned: its pictures are taken as they are in the
                files or arrays, before anything random or standardising. Its position and
                numbers stay as they are.
            augment: Measure randomly changed pictures, `rounds` of each.
            rounds: How many.
            seed: Of the changes, which then come from a generator of their own.

        Raises:
            TypeError: It is no iterator of this module.
            ValueError: It has no picture, or pictures too large for whitening.
        """
        if not isinstance(iterator, Iterator):
            raise TypeError(
                "fit_stream takes what flow, flow_from_directory or flow_from_dataframe "
                f"returned, got {type(iterator).__name__}"
            )
        seed = int(np.random.randint(2**31)) if seed is None and augment else seed

        def batches() -> Any:
            numbers = np.random.RandomState(seed)  # the same changes at each reading
            for _ in range(rounds if augment else 1):
                for pictures in iterator.plain_batches():
                    x = pictures.astype(np.float64) * (self.rescale or 1)
                    yield np.stack([self._changed(each, numbers) for each in x]) if augment else x

        self._take(standardising.of_batches(batches, self._wanted(), self.dtype))

    def _changed(self, x: Array, numbers: np.random.RandomState) -> Array:
        height, width = x.shape[self.row_axis - 1], x.shape[self.col_axis - 1]
        return self.apply_transform(x, draw(self, height, width, numbers))

    def _wanted(self) -> Wanted:
        return Wanted(
            center=self.featurewise_center,
            scale=self.featurewise_std_normalization,
            whiten=self.zca_whitening,
            channel_axis=self.channel_axis,
            epsilon=self.zca_epsilon,
        )

    def _take(self, found: Statistics) -> None:
        """Keep what was measured; what was not asked for stays as it was."""
        self.mean = self.mean if found.mean is None else found.mean
        self.std = self.std if found.std is None else found.std
        if found.whitening is not None:
            self.zca_whitening_matrix = found.whitening


def _is_unit_range(x: Array) -> bool:
    """Say whether a picture alone looks as if its values were of 0..1."""
    return bool(np.min(x) >= 0 and np.max(x) <= 1 and np.any(x % 1))
