"""A stream as a torch IterableDataset."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from feeding import (
    SIZE,
    batches_of,
    flat,
    rows_of,
    threads_of_streams,
    train_stream,
    write_records,
)

from sightline.data.stream import Stream
from sightline.errors import DataError
from sightline.learning.feeds import torch_dataset
from sightline.records import Manifest

torch = pytest.importorskip("torch", reason="torch is not installed")
DataLoader = torch.utils.data.DataLoader


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return write_records(tmp_path_factory.mktemp("records"))


@pytest.fixture
def stream(manifest: Manifest) -> Iterator[Stream]:
    with train_stream(manifest) as stream:
        yield stream


def test_a_loader_gives_the_streams_batches_epoch_after_epoch(
    stream: Stream, manifest: Manifest
) -> None:
    loader = DataLoader(torch_dataset(stream), batch_size=None)
    assert len(loader) == 6
    for epoch in range(3):
        given = list(loader)  # kept: nothing may be written over
        for (images, targets, weights), batch in zip(
            given, batches_of(manifest, epoch), strict=True
        ):
            assert images.dtype == targets.dtype == weights.dtype == torch.float32
            np.testing.assert_array_equal(images.numpy(), batch.images)
            np.testing.assert_array_equal(targets.numpy(), batch.targets)
            np.testing.assert_array_equal(weights.numpy(), batch.weights)


def test_every_record_comes_exactly_once_an_epoch(manifest: Manifest) -> None:
    with train_stream(manifest, dtype="uint8", augment=None) as stream:
        feed = torch_dataset(stream, images_only=True)
        for epoch in range(3):
            reds = [(images[:, 0, 0, 0] // 7).sort().values.tolist() for images in feed]
            assert reds == rows_of(manifest, epoch)
            assert flat(reds) == list(range(23))


def test_the_epoch_can_be_set(stream: Stream, manifest: Manifest) -> None:
    feed = torch_dataset(stream, first_epoch=2)
    assert feed.epoch == 2
    feed.set_epoch(7)
    (images, _, _), *_ = feed
    np.testing.assert_array_equal(images.numpy(), batches_of(manifest, 7)[0].images)
    assert feed.epoch == 8


def test_an_iteration_that_is_broken_off_counts_and_leaves_no_thread(stream: Stream) -> None:
    feed = torch_dataset(stream)
    for _ in DataLoader(feed, batch_size=None):
        break
    assert not threads_of_streams()
    assert feed.epoch == 1


def test_no_thread_is_left_when_an_epoch_ends(stream: Stream) -> None:
    loader = DataLoader(torch_dataset(stream), batch_size=None)
    for _ in loader:
        pass
    assert not threads_of_streams()


def test_an_iterator_that_is_freed_late_does_not_end_the_next_epoch(stream: Stream) -> None:
    feed = torch_dataset(stream)
    late = iter(feed)
    next(late)
    following = iter(feed)
    next(following)
    del late
    assert len(list(following)) == 5


def test_a_resumed_stream_goes_on_in_the_middle_of_its_epoch(
    stream: Stream, manifest: Manifest
) -> None:
    stream.resume({"epoch": 3, "batch": 4})
    feed = torch_dataset(stream, first_epoch=3)
    assert [len(weights) for _, _, weights in feed] == [4, 3]
    assert [len(weights) for _, _, weights in feed] == [4, 4, 4, 4, 4, 3]


def test_tensors_share_the_streams_memory(manifest: Manifest) -> None:
    with train_stream(manifest) as stream:
        addresses = {images.data_ptr() for images, _, _ in torch_dataset(stream)}
    assert len(addresses) < 6  # memory was used again: nothing was copied out of the ring


@pytest.mark.parametrize("layout", ["channels-first", "channels-last"])
def test_images_have_the_layout_of_the_stream(manifest: Manifest, layout: str) -> None:
    with train_stream(manifest, layout=layout, dtype="uint8") as stream:
        (images, *_) = torch_dataset(stream, images_only=True)
    shape = (3, *SIZE) if layout == "channels-first" else (*SIZE, 3)
    assert images.dtype == torch.uint8
    assert images.shape == (4, *shape)


def test_shards_together_are_one_epoch(manifest: Manifest) -> None:
    rows: list[int] = []
    for shard in range(2):
        config = train_stream(manifest, dtype="uint8").config
        with Stream(
            manifest, split="train", config=config, shard_index=shard, num_shards=2
        ) as stream:
            feed = torch_dataset(stream, images_only=True)
            rows += [int(red) // 7 for images in feed for red in images[:, 0, 0, 0]]
    assert sorted(rows) == list(range(23))


@pytest.mark.filterwarnings("ignore:os.fork")  # JAX, where it is loaded too
def test_worker_processes_are_refused(stream: Stream) -> None:
    loader = DataLoader(torch_dataset(stream), batch_size=None, num_workers=1)
    with pytest.raises(ValueError, match=r"cannot go into a DataLoader's worker.*num_workers=0"):
        list(loader)


def test_workers_that_are_not_forked_are_refused_too(stream: Stream) -> None:
    with pytest.raises(TypeError, match=r"cannot go into a DataLoader's worker.*num_workers=0"):
        pickle.dumps(torch_dataset(stream))


def test_files_that_cannot_be_read_reach_the_caller_by_their_path(tmp_path: Path) -> None:
    manifest = write_records(tmp_path)
    for row in (3, 4):
        (tmp_path / f"{row:02d}.png").unlink()
    with train_stream(manifest) as stream:
        loader = DataLoader(torch_dataset(stream), batch_size=None)
        with pytest.raises(DataError, match=str(tmp_path / "03.png")):
            list(loader)
        assert not threads_of_streams()


@pytest.mark.parametrize("epoch", [-1, -7])
def test_a_negative_epoch_is_refused(stream: Stream, epoch: int) -> None:
    with pytest.raises(ValueError, match=f"epochs count from 0, got {epoch}"):
        torch_dataset(stream, first_epoch=epoch)
    with pytest.raises(ValueError, match=f"epochs count from 0, got {epoch}"):
        torch_dataset(stream).set_epoch(epoch)
