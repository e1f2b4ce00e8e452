"""From the numbers of pictures to a batch: parameters in Keras' order, pixels side by side."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Sequence
from concurrent.futures import wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import numpy.typing as npt

from sightline.data.stream import epoch_order
from sightline.data.stream.augment import no_changes
from sightline.data.stream.filling import Making
from sightline.data.stream.keys import AUGMENT, uniforms
from sightline.preprocessing.drawing import (
    MOST_DRAWS,
    Hashed,
    Parameters,
    changes_of,
    draw,
    fast_changes_of,
)
from sightline.preprocessing.iterators.asked import (
    FILLS,
    content_of,
    fill_mode_of,
    is_random_state,
    moves_pixels,
    normalizes,
)
from sightline.preprocessing.iterators.base import Iterator, Rows
from sightline.preprocessing.iterators.pixels import Finish, Pixels

if TYPE_CHECKING:
    from sightline.preprocessing.generator import ImageDataGenerator

Array = npt.NDArray[Any]

_OWN = ("get_random_transform", "apply_transform", "standardize")


@dataclass(frozen=True, slots=True)
class _Begun:
    """A batch in the making.

    Attributes:
        rows: Numbers of its pictures.
        drawn: Their parameters.
        making: Its pixels.
        finished: Whether threads standardise it; else the caller does.
    """

    rows: Rows
    drawn: Sequence[Parameters]
    making: Making
    finished: bool


@dataclass(frozen=True, slots=True)
class _Ahead:
    """A batch that was begun before it was asked for.

    Attributes:
        key: All that it follows from.
        order: Of the pass that begins with it; None within a pass.
        batch_index: Of the batch after it.
        state: In which NumPy's generator is left.
        begun: The batch.
    """

    key: tuple[Any, ...]
    order: Rows | None
    batch_index: int
    state: Any
    begun: _Begun


class PictureIterator(Iterator):
    """Batches of pictures that an ImageDataGenerator changes.

    Parameters are drawn in the caller's thread, in Keras' order; the pixels that follow from them
    are made in threads. What may draw random numbers itself, a `preprocessing_function` or a
    method that a subclass overrides, is called in the caller's thread, picture by picture.

    Attributes:
        image_data_generator: What changes the pictures; None leaves them as they are.
        image_shape: (H, W, C) or (C, H, W).
        data_format: "channels_last" or "channels_first".
        dtype: Of the batches.
        save_to_dir: Where the pictures of each batch are written; None: nowhere.
        save_prefix: Before their names.
        save_format: Their extension.
    """

    image_data_generator: ImageDataGenerator | None
    image_shape: tuple[int, ...]
    data_format: str
    dtype: Any
    save_to_dir: Any
    save_prefix: str
    save_format: str
    _most_saved = 10**7  # the random number in the name of a saved picture is below it
    _maker: Pixels | None = None
    _ahead: _Ahead | None = None
    _turns = 0  # passes that were begun
    _own_seed: int | None = None
    _function_draws: bool | None = None  # whether preprocessing_function uses NumPy's generator

    @abstractmethod
    def _pixels(self) -> Pixels | None:
        """Return what makes pixels; None where only `_picture` can."""

    @abstractmethod
    def _picture(self, row: int) -> Array:
        """Return one picture as floats, by Keras' own way."""

    @abstractmethod
    def _with_targets(self, batch_x: Array, index_array: Rows) -> Any:
        """Return the batch as it is given out."""

    def __next__(self) -> Any:
        with self._making, self.lock:
            if not self._can_read_ahead():
                return self._get(next(self.index_generator))
            ahead = self._next_ahead()
            self.last_index_array = ahead.begun.rows
            return self._with_targets(self._end(ahead.begun), ahead.begun.rows)

    def on_epoch_end(self) -> None:
        """Draw the order of the next epoch; the threads rest until then."""
        super().on_epoch_end()
        self.rest()

    def rest(self) -> None:
        """End the threads and let go of the cache; both come back with the next batch."""
        with self._making:  # TensorFlow may ask for batches ahead, from a thread of its own
            if self._ahead is not None and self._ahead.key[0] == os.getpid():
                wait(self._ahead.begun.making.tasks)
            if self._maker is not None:
                self._maker.close()

    def plain_batches(self) -> Any:
        """Yield (B, ...) pictures of one pass, in the order of their numbers, unchanged."""
        size = max(1, self.batch_size)
        for begin in range(0, self.n, size):
            yield self._plain(np.arange(begin, min(begin + size, self.n)))

    def _get_batches_of_transformed_samples(self, index_array: Rows) -> Any:
        with self._making:
            one_by_one = self._goes_one_by_one()
            make = self._one_by_one if one_by_one else self._side_by_side
            batch_x = make(index_array)
            self._save(batch_x, index_array)
            return self._with_targets(batch_x, index_array)

    def _can_read_ahead(self) -> bool:
        """Say whether the next batch follows from the seed alone, whatever a program does."""
        generator = self.image_data_generator
        return (
            self.seed is not None
            and generator is not None
            and not self._strict_keras
            and not generator.preprocessing_function
            and not self.save_to_dir
            and not self._goes_one_by_one()
            and all(getattr(type(self), name) is own for name, own in _HOOKS.items())
        )

    def _next_ahead(self) -> _Ahead:
        """Return the next batch, begun already if nothing was changed, and begin the one after.

        NumPy's global generator is left as Keras leaves it.
        """
        ahead, self._ahead = self._ahead, None
        if ahead is None or not self._holds(ahead):
            ahead = self._plan()
        if ahead.order is not None:
            self.index_array = ahead.order
            self._turns += 1
        self.batch_index = ahead.batch_index
        self.total_batches_seen += 1
        np.random.set_state(ahead.state)
        self._ahead = self._plan()
        return ahead

    def _holds(self, ahead: _Ahead) -> bool:
        """Say whether a batch that was begun is still the one to come."""
        if ahead.key != self._key() or any(task.cancelled() for task in ahead.begun.making.tasks):
            return False
        if ahead.order is not None:
            return True
        begin, _ = self._step(self.batch_index)
        order: Any = self.index_array
        return np.array_equal(order[begin : begin + self.batch_size], ahead.begun.rows)

    def _plan(self) -> _Ahead:
        """Draw and begin the next batch, by a generator of its own with the same numbers."""
        key, seed = self._key(), int(self.seed or 0)
        source = np.random.RandomState(seed + self.total_batches_seen)
        order = self._order(source) if self.batch_index == 0 else None
        begin, batch_index = self._step(self.batch_index)
        whole: Any = self.index_array if order is None else order
        rows = whole[begin : begin + self.batch_size].copy()  # a program may sort the order
        turn = self._turns if order is not None else self._turns - 1
        begun = self._begin(rows, self._draw(rows, source, turn))
        return _Ahead(key, order, batch_index, source.get_state(), begun)

    def _key(self) -> tuple[Any, ...]:
        """Return all that the next batch follows from."""
        return (
            os.getpid(),  # a process that was forked off has none of our threads
            id(self._pixels()),
            self.total_batches_seen,
            self.batch_index,
            self.seed,
            self.shuffle,
            self.n,
            self.batch_size,
            id(self.index_array),
            *(
                content_of(value) if isinstance(value, np.ndarray) else repr(value)
                for value in vars(self.image_data_generator).values()
            ),
        )

    def _side_by_side(self, index_array: Rows) -> Array:
        """Return a batch whose parameters are drawn first, and its pixels made by threads."""
        before: Any = np.random.get_state() if self._function_draws is False else None
        drawn = self._draw(index_array, np.random, max(self._turns - 1, 0))
        batch_x = self._end(self._begin(index_array, drawn))
        if before is None or not self._function_draws:
            return batch_x
        np.random.set_state(before)  # now it does draw, for some pictures: between the parameters
        return self._one_by_one(index_array)

    def _goes_one_by_one(self) -> bool:
        """Say whether something may draw numbers between two pictures, or needs Keras' own way."""
        generator = self.image_data_generator
        if generator is None or self._pixels() is None:
            return True
        if generator.preprocessing_function and self._function_draws is not False:
            return True
        from sightline.preprocessing.generator import ImageDataGenerator

        return any(
            name in vars(generator)
            or getattr(type(generator), name) is not getattr(ImageDataGenerator, name)
            for name in _OWN
        )

    def _one_by_one(self, index_array: Rows) -> Array:
        """Return a batch made as Keras makes it, picture by picture."""
        generator = self.image_data_generator
        batch_x = np.zeros((len(index_array), *self.image_shape), dtype=self.dtype)
        plain = self._plain(index_array)
        for place, x in enumerate(plain):
            if generator is not None:
                x = generator.apply_transform(x, generator.get_random_transform(x.shape))
                x = self._standardize(x)
            batch_x[place] = x
        return batch_x

    def _standardize(self, x: Array) -> Array:
        """Return a standardised picture, and notice whether the user's function draws numbers."""
        generator: Any = self.image_data_generator
        before = None
        if generator.preprocessing_function and not self._function_draws:
            before = np.random.get_state()
        x = generator.standardize(x)
        if before is not None:
            self._function_draws = not is_random_state(before)
        return x

    def _draw(self, index_array: Rows, source: Any, turn: int) -> list[Parameters]:
        """Return the parameters of pictures in the `turn`-th pass, counted from 0."""
        generator: Any = self.image_data_generator
        height, width = self._size()
        if not self._is_fast():
            return [draw(generator, height, width, source) for _ in index_array]
        numbers = uniforms(
            AUGMENT, seed=self._hash_seed(), epoch=turn, rows=index_array, draws=MOST_DRAWS
        )
        return [draw(generator, height, width, Hashed(row)) for row in numbers.tolist()]

    def _is_fast(self) -> bool:
        return self.image_data_generator is not None and self.image_data_generator.mode == "fast"

    def _hash_seed(self) -> int:
        """Return the seed of the hash: this iterator's, or one of its own."""
        if self._own_seed is None:
            given = np.random.randint(2**31) if self.seed is None else self.seed
            self._own_seed = int(given) % 2**32
        return self._own_seed

    def _order(self, source: Any) -> Rows:
        if not self._is_fast() or not self.shuffle or not self.n:
            return super()._order(source)
        rows = np.arange(self.n, dtype=np.int64)
        return epoch_order(rows, seed=self._hash_seed(), epoch=self._turns, shuffle=True)

    def _set_index_array(self) -> None:
        super()._set_index_array()
        self._turns += 1

    def _size(self) -> tuple[int, int]:
        first = self.data_format == "channels_first"
        height, width = self.image_shape[1:] if first else self.image_shape[:2]
        return height, width

    def _begin(self, index_array: Rows, drawn: Sequence[Parameters]) -> _Begun:
        """Hand a batch to the threads."""
        generator: Any = self.image_data_generator
        pixels: Any = self._pixels()
        finished = not generator.preprocessing_function
        if not self._suits_kernel():
            changes, how = no_changes(len(index_array)), Finish()
        else:
            make = fast_changes_of if self._is_fast() else changes_of
            changes = make(drawn, *self._size(), moves=moves_pixels(generator))
            rescale = generator.rescale if finished and generator.rescale else 1.0
            ground = float(generator.cval) if generator.fill_mode == "constant" else 0.0
            how = Finish(float(rescale), fill_mode_of(generator), ground)
        suits, unit_range = self._suits_kernel(), self._holds_0_to_1()

        def after(images: Array, begin: int, end: int) -> None:
            for place in range(begin, end):
                x = images[place]
                if not suits:
                    x = generator._transform(x, drawn[place], unit_range=unit_range)
                    x = generator.standardize(x) if finished else x
                elif finished:
                    x = generator._normalize(x)
                images[place] = x

        needed = not suits or (finished and normalizes(generator))
        making = pixels.start(index_array, changes, how, after if needed else None)
        return _Begun(index_array, drawn, making, finished)

    def _end(self, begun: _Begun) -> Array:
        """Return the pictures of a batch when the threads have made them."""
        generator: Any = self.image_data_generator
        pixels: Any = self._pixels()
        images = pixels.wait(begun.making)
        for place, fault in begun.making.faults:
            x = self._picture(fault.row)
            x = generator._transform(x, begun.drawn[place], unit_range=self._holds_0_to_1())
            images[place] = generator.standardize(x) if begun.finished else x
        if not begun.finished:
            for place, x in enumerate(images):
                images[place] = self._standardize(x)
        ended: Array = images if images.dtype == self.dtype else images.astype(self.dtype)
        return ended

    def _plain(self, index_array: Rows) -> Array:
        """Return pictures as they are, side by side."""
        pixels = self._pixels()
        if pixels is None:
            shape = (len(index_array), *self.image_shape)
            plain = np.zeros(shape, dtype=self.dtype)
            for place, row in enumerate(index_array):
                plain[place] = self._picture(int(row))
            return plain
        making = pixels.start(index_array, no_changes(len(index_array)), Finish(), None)
        images = pixels.wait(making)
        for place, fault in making.faults:
            images[place] = self._picture(fault.row)
        return images

    def _suits_kernel(self) -> bool:
        """Say whether the stream's kernel gives Keras' pixels for these settings."""
        generator: Any = self.image_data_generator
        outside = generator.fill_mode in FILLS and (
            generator.fill_mode != "constant" or 0 <= generator.cval <= 255
        )
        linear = generator.interpolation_order == 1 and outside
        channels = self.image_shape[0 if self.data_format == "channels_first" else 2]
        return (
            (linear or not moves_pixels(generator))
            and (generator.brightness_range is None or self._brightens_in_kernel())
            and not (generator.channel_shift_range and channels == 4)  # ours leaves alpha alone
            and (not generator.rescale or generator.rescale > 0)
        )

    def _brightens_in_kernel(self) -> bool:
        """Say whether brightness need not be Pillow's, on pictures of 0..255."""
        return self._is_fast() and self._holds_0_to_255()

    def _holds_0_to_255(self) -> bool:
        """Say whether the values of pictures go up to 255, as those of files do."""
        return True

    def _holds_0_to_1(self) -> bool:
        """Say whether the values of pictures go up to 1."""
        return False

    def _save(self, batch_x: Array, index_array: Rows) -> None:
        if not self.save_to_dir:
            return
        for place, row in enumerate(index_array):
            image = keras.utils.array_to_img(batch_x[place], self.data_format, scale=True)
            number = np.random.randint(self._most_saved)  # as Keras draws it
            name = f"{self.save_prefix}_{row}_{number}.{self.save_format}"
            image.save(os.path.join(self.save_to_dir, name))


# What a subclass may replace, and then must be asked for every batch.
_HOOKS = {
    name: getattr(PictureIterator, name)
    for name in ("_get_batches_of_transformed_samples", "_get", "_set_index_array", "_draw")
}
