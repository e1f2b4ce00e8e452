"""`fit_generator` and its kin, which Keras 3 has no more: as functions, and as methods if asked.

They take Keras 2's arguments. `workers`, `use_multiprocessing` and `max_queue_size` have no
effect: pixels are made in threads of the stream, the same ones for any of their values.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator as PythonIterator
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from sightline.preprocessing.iterators import Iterator
from sightline.preprocessing.iterators.pictures import PictureIterator
from sightline.preprocessing.repeating import Repeated


def fit_generator(
    model: keras.Model,
    generator: Any,
    steps_per_epoch: int | None = None,
    epochs: int = 1,
    verbose: Any = 1,
    callbacks: Sequence[Any] | None = None,
    validation_data: Any = None,
    validation_steps: int | None = None,
    validation_freq: Any = 1,
    class_weight: dict[int, float] | None = None,
    max_queue_size: int = 10,
    workers: int = 1,
    use_multiprocessing: bool = False,
    shuffle: bool = True,
    initial_epoch: int = 0,
) -> keras.callbacks.History:
    """Train on batches of a generator, `steps_per_epoch` of them in every epoch; return History.

    Epochs go on where the last one ended, so that every picture has its turn even where
    `steps_per_epoch` leaves some out of an epoch.

    Args:
        model: A compiled model.
        generator: What a `flow` method returned, another PyDataset, or a Python iterator of
            (inputs, targets) or (inputs, targets, weights).
        steps_per_epoch: Batches of an epoch; by default a whole pass.
        epochs: Up to which epoch.
        verbose: As for `fit`, with `callbacks`, `class_weight` and `initial_epoch`.
        callbacks: See `verbose`.
        validation_data: Arrays, or batches as `generator`.
        validation_steps: Batches of a validation; by default a whole pass.
        validation_freq: After which epochs.
        class_weight: Class number -> weight.
        max_queue_size: Without effect, with `workers`, `use_multiprocessing`.
        workers: See `max_queue_size`.
        use_multiprocessing: See `max_queue_size`.
        shuffle: Without effect: a generator has its own order.
        initial_epoch: Where to begin.

    Raises:
        ValueError: The number of batches of a Python iterator is not given.
    """
    del max_queue_size, workers, use_multiprocessing, shuffle
    _warn_of_changes(validation_data, "validation_data")
    history = model.fit(
        _epochwise(generator, steps_per_epoch, "steps_per_epoch"),
        steps_per_epoch=None if _counts_itself(generator) else steps_per_epoch,
        epochs=epochs,
        verbose=verbose,
        callbacks=callbacks,
        validation_data=_validation(validation_data, validation_steps),
        validation_steps=None if _is_endless(validation_data) else validation_steps,
        validation_freq=validation_freq,
        class_weight=class_weight,
        initial_epoch=initial_epoch,
    )
    _rest(generator, validation_data)
    return history


def evaluate_generator(
    model: keras.Model,
    generator: Any,
    steps: int | None = None,
    callbacks: Sequence[Any] | None = None,
    max_queue_size: int = 10,
    workers: int = 1,
    use_multiprocessing: bool = False,
    verbose: Any = 0,
) -> Any:
    """Return the loss, or [loss, metrics ...], over a pass or the first `steps` batches of one.

    Raises:
        ValueError: The number of batches of a Python iterator is not given.
    """
    del max_queue_size, workers, use_multiprocessing
    _warn_of_changes(generator, "generator of an evaluation")
    if _is_endless(generator):
        return model.evaluate(
            Repeated(generator, _given(steps, "steps")), callbacks=callbacks, verbose=verbose
        )
    return model.evaluate(generator, steps=steps, callbacks=callbacks, verbose=verbose)


def predict_generator(
    model: keras.Model,
    generator: Any,
    steps: int | None = None,
    callbacks: Sequence[Any] | None = None,
    max_queue_size: int = 10,
    workers: int = 1,
    use_multiprocessing: bool = False,
    verbose: Any = 0,
) -> Any:
    """Return the predictions of a pass, or of its first `steps` batches.

    Of a `flow` method's pictures they come in the order of `generator.filenames` (or of the
    array), also where the generator shuffles; with strict_keras=True in the shuffled order, which
    nothing tells afterwards.

    Raises:
        ValueError: The number of batches of a Python iterator is not given.
    """
    del max_queue_size, workers, use_multiprocessing
    _warn_of_changes(generator, "generator of a prediction")
    if isinstance(generator, PictureIterator) and not generator._strict_keras:
        batches: Any = InOrder(generator, steps)
        predicted = model.predict(batches, callbacks=callbacks, verbose=verbose)
        _rest(generator)
        return predicted
    if _is_endless(generator):
        batches = Repeated(generator, _given(steps, "steps"))
        return model.predict(batches, callbacks=callbacks, verbose=verbose)
    return model.predict(generator, steps=steps, callbacks=callbacks, verbose=verbose)


def enable_keras2_methods() -> None:
    """Give every Keras model `fit_generator`, `evaluate_generator` and `predict_generator` back.

    For programs that call them as methods; nothing else changes. Calling it twice does no harm.
    """
    for function in (fit_generator, evaluate_generator, predict_generator):
        setattr(keras.Model, function.__name__, function)


class InOrder(keras.utils.PyDataset):
    """The images of an iterator in the order of its files or array, for predictions.

    Args:
        iterator: What a `flow` method returned.
        steps: Only so many batches.
    """

    def __init__(self, iterator: PictureIterator, steps: int | None = None) -> None:
        super().__init__()
        self._iterator = iterator
        self._steps = len(iterator) if steps is None else min(steps, len(iterator))

    def __len__(self) -> int:
        """Batches of a pass."""
        return self._steps

    def __getitem__(self, index: int) -> Any:
        """Return the inputs of batch `index`."""
        size = self._iterator.batch_size
        rows = np.arange(index * size, min((index + 1) * size, self._iterator.n))
        batch = self._iterator._get(rows)
        inputs = batch[0] if isinstance(batch, tuple) else batch
        return (tuple(inputs) if isinstance(inputs, list) else inputs,)


def _epochwise(generator: Any, steps: int | None, name: str) -> Any:
    """Return what gives every epoch its number of batches."""
    if isinstance(generator, Iterator):
        return generator.repeat(steps)
    if _is_endless(generator):
        return Repeated(generator, _given(steps, name))
    if isinstance(generator, keras.utils.PyDataset) and steps not in (None, len(generator)):
        return Repeated(_passes(generator), _given(steps, name))
    return generator


def _counts_itself(generator: Any) -> bool:
    """Say whether `_epochwise` has seen to the number of batches."""
    return _is_endless(generator) or isinstance(generator, keras.utils.PyDataset)


def _validation(data: Any, steps: int | None) -> Any:
    return Repeated(data, _given(steps, "validation_steps")) if _is_endless(data) else data


def _is_endless(data: Any) -> bool:
    """Say whether it is a Python iterator and nothing that has a length."""
    return isinstance(data, PythonIterator) and not isinstance(data, keras.utils.PyDataset)


def _passes(dataset: keras.utils.PyDataset) -> PythonIterator[Any]:
    """Yield the batches of one pass after another, endlessly."""
    while True:
        for index in range(len(dataset)):
            yield dataset[index]
        dataset.on_epoch_end()


def _rest(*used: Any) -> None:
    """End the threads of iterators that a call has done with."""
    for each in used:
        if isinstance(each, PictureIterator):
            each.rest()


def _given(steps: int | None, name: str) -> int:
    if steps is None:
        raise ValueError(
            f"`{name}=None` is only valid for a generator with a length. A Python iterator goes on "
            f"for ever: please specify `{name}`, e.g. samples // batch_size."
        )
    return steps


def _warn_of_changes(data: Any, what: str) -> None:
    generator: Any = getattr(data, "image_data_generator", None)
    if not hasattr(generator, "changes_at_random") or generator.strict_keras:
        return
    if not generator.changes_at_random():
        return
    warnings.warn(
        f"the {what} changes its pictures at random, so its figures are of other pictures each "
        "time. Take an ImageDataGenerator with the same rescale and no random changes.",
        stacklevel=3,
    )
