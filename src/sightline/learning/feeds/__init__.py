"""A stream as Keras, torch or TensorFlow takes it: whole epochs, in the stream's own order.

    feed = keras_dataset(stream)
    model.fit(feed, epochs=10, validation_data=keras_dataset(held_out))

A stream shuffles, augments, decodes in threads of its own and reads ahead. So a feed only hands
its batches on, and leaves no thread behind when an epoch ends. A stream gives one epoch at a
time: make a feed of its own for each.

Importing this loads no framework; the one that is asked for is loaded by the call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sightline.data.stream import Stream
from sightline.errors import require
from sightline.learning.models import backend

if TYPE_CHECKING:
    import tensorflow as tf

    from sightline.learning.feeds.pydataset import KerasDataset
    from sightline.learning.feeds.torch_dataset import TorchDataset

__all__ = ["keras_dataset", "tf_dataset", "torch_dataset"]


def keras_dataset(
    stream: Stream,
    *,
    steps_per_epoch: int | None = None,
    first_epoch: int = 0,
    images_only: bool = False,
) -> KerasDataset:
    """Return a Keras PyDataset for `fit`, `evaluate` and `predict`, on any of Keras' backends.

    Args:
        stream: What is fed, in its own order; Keras' `shuffle` changes nothing.
        steps_per_epoch: Batches of every epoch of `fit`; by default all of the stream's. Give it
            here and not to `fit`, which would give every second epoch what the first one left.
        first_epoch: Epoch n of `fit` is the stream's epoch `first_epoch` + n, with a shuffle and
            random changes of its own. A second `fit` goes on where the first ended.
        images_only: Batches of images alone, for `predict`; else (images, targets, weights).

    Raises:
        SetupError: No backend is installed.
        ValueError: `first_epoch` is negative, or `steps_per_epoch` is less than 1.
    """
    backend.choose()
    from sightline.learning.feeds.pydataset import KerasDataset

    return KerasDataset(
        stream, steps_per_epoch=steps_per_epoch, first_epoch=first_epoch, images_only=images_only
    )


def torch_dataset(
    stream: Stream, *, first_epoch: int = 0, images_only: bool = False
) -> TorchDataset:
    """Return a torch IterableDataset of whole batches, for `DataLoader(feed, batch_size=None)`.

    Args:
        stream: What is fed. Processes that train together take a shard of it each.
        first_epoch: The first iteration's epoch; each further one is the next.
        images_only: Batches of images alone; else (images, targets, weights).

    Raises:
        SetupError: torch is not installed.
        ValueError: `first_epoch` is negative.
    """
    require("torch")
    from sightline.learning.feeds.torch_dataset import TorchDataset

    return TorchDataset(stream, first_epoch=first_epoch, images_only=images_only)


def tf_dataset(
    stream: Stream, *, first_epoch: int = 0, images_only: bool = False
) -> tf.data.Dataset:
    """Return a tf.data dataset of whole batches, with static shapes and a known cardinality.

    An element is (images (None, H, W, C) float32 or uint8, targets (None,) or (None, K) float32,
    weights (None,) float32); images are (None, C, H, W) where the stream has channels first. An
    error of the stream arrives as TensorFlow's, with the file's path in its text.

    Args:
        stream: What is fed.
        first_epoch: The first iteration's epoch; each further one, by `repeat` too, is the next.
        images_only: Elements of images alone.

    Raises:
        SetupError: TensorFlow is not installed.
        ValueError: `first_epoch` is negative.
    """
    require("tensorflow")
    from sightline.learning.feeds.tf_dataset import make_dataset

    return make_dataset(stream, first_epoch=first_epoch, images_only=images_only)
