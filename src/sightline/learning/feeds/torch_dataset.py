"""A stream as a torch IterableDataset."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NoReturn

import torch
import torch.utils.data

from sightline.data.stream import Stream
from sightline.learning.feeds.batches import Arrays, Epochs, checked_epoch

_NO_WORKERS = (
    "a stream cannot go into a DataLoader's worker process: it decodes in threads of its own. Take "
    "DataLoader(feed, batch_size=None, num_workers=0), and StreamConfig(num_threads=...) for more "
    "threads."
)


class TorchDataset(torch.utils.data.IterableDataset):
    """Whole batches of a stream as tensors, an epoch an iteration.

        loader = DataLoader(torch_dataset(stream), batch_size=None)

    A batch is (images, targets, weights), or images alone: float32, or uint8 images. The tensors
    share the stream's memory, and a batch stays as it is for as long as anything holds it.

    `num_workers` must be 0. The stream's threads do a worker's work without copying each batch
    from process to process; and a worker would begin every epoch anew, with the same shuffle.

    A stream that was resumed in the epoch that comes next goes on there, so that this one
    iteration is shorter than `len()`.
    """

    def __init__(self, stream: Stream, *, first_epoch: int, images_only: bool) -> None:
        super().__init__()
        self._num_batches = len(stream)
        self._epochs = Epochs(stream, first_epoch=first_epoch, images_only=images_only)

    def __len__(self) -> int:
        """Batches of one epoch."""
        return self._num_batches

    @property
    def epoch(self) -> int:
        """The stream's epoch that the next iteration gives."""
        return self._epochs.next_epoch

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration; those after it count on from there.

        Raises:
            ValueError: It is negative.
        """
        self._epochs.next_epoch = checked_epoch(epoch)

    def __iter__(self) -> Iterator[Any]:
        """Yield the tensors of one epoch, in the stream's order.

        Raises:
            ValueError: This is a DataLoader's worker process.
            DataError: More files than the stream's budget could not be read.
        """
        if torch.utils.data.get_worker_info() is not None:
            raise ValueError(_NO_WORKERS)
        return map(_tensors, self._epochs)

    def __getstate__(self) -> NoReturn:
        # Where workers are not forked, this is their way in.
        raise TypeError(_NO_WORKERS)


def _tensors(batch: Arrays) -> Any:
    if isinstance(batch, tuple):
        return tuple(torch.from_numpy(array) for array in batch)
    return torch.from_numpy(batch)
