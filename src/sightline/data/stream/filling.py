"""The pixels of a batch: out of the cache, or decoded, then through the kernel."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sightline.data import images
from sightline.data.stream.augment import Changes, no_changes
from sightline.data.stream.cache import CacheKey, PixelCache
from sightline.data.stream.config import StreamConfig
from sightline.data.stream.kernels import Kernel, make_kernel
from sightline.data.stream.kernels.blending import Blender
from sightline.data.stream.memory import BLENDED
from sightline.data.stream.mixing import Mixing
from sightline.errors import DataError
from sightline.records import Location, RecordIndex

Pixels = npt.NDArray[np.uint8]
Rows = npt.NDArray[np.int64]
After = Callable[[npt.NDArray[Any], int, int], None]


@dataclass(frozen=True, slots=True)
class Fault:
    """A file that could not be read while streaming."""

    row: int
    record_id: str
    reason: str
    message: str


@dataclass(slots=True)
class Making:
    """A batch while threads fill it.

    Attributes:
        images: (B, ...) as the config asks.
        rows: (B,) manifest rows.
        weights: (B,) float32; those of faults become 0.
        changes: Of each place.
        after: What is done with the images from one place to another when they are filled.
        mixing: What is mixed into each place; a place gives it up where its partner cannot be read.
        tasks: What is under way.
        faults: Places, and the files that could not be read for them.
    """

    images: npt.NDArray[np.float32] | npt.NDArray[np.uint8]
    rows: Rows
    weights: npt.NDArray[np.float32]
    changes: Changes
    after: After | None = None
    mixing: Mixing | None = None
    tasks: list[Future[None]] = field(default_factory=list)
    faults: list[tuple[int, Fault]] = field(default_factory=list)

    def lose(self, place: int, fault: Fault) -> None:
        """Leave a place black and without weight."""
        self.images[place] = 0
        self.weights[place] = 0
        self.faults.append((place, fault))


class Filler:
    """Fills places of batches; any number of threads may do so at once.

    Every picture is first a uint8 one of the target size, whether it comes from the cache or from
    its file. So the cache is never seen in the bytes of a batch.

    Raises:
        DataError: The pictures of an array are of another number of channels.
        ValueError: A cache is asked for, and it is not known which files the index means.
    """

    def __init__(
        self,
        index: RecordIndex,
        config: StreamConfig,
        *,
        decode_bytes: int | None,
        say: Callable[[str], None],
    ) -> None:
        self._index, self._config = index, config
        self._decode_bytes = decode_bytes
        self._kernel = make_kernel(config.output())
        self._levels: Kernel | None = (
            None  # makes pictures of 0..255, for what comes before scaling
        )
        if config.blends:
            self._levels, self._blender = make_kernel(config.levels()), Blender()
            self._unchanged = no_changes(BLENDED)
        self._local = threading.local()
        self._array = _array_of(index, config)
        self._from_disk = len(index) * config.picture_bytes > _memory() / 2
        self._say = say
        self._told_of_change = False
        self.cache = None if index.pixels is not None else _open_cache(index, config, say)

    def open(self) -> None:
        """Take up the cache again after `close`."""
        if self.cache is not None and not self.cache.reopen():
            self.cache = None

    def close(self) -> None:
        """Let go of the cache, when no thread fills any more."""
        if self.cache is not None:
            self.cache.close()

    def ready(self, rows: Rows) -> bool:
        """Say whether no file has to be decoded for these rows, as far as can be seen.

        Rows of a cache that is larger than the memory are asked of the disk meanwhile: waiting
        for it page by page would take twice as long.
        """
        if self._array is not None:
            return True
        if self.cache is None or not self.cache.present(rows).all():
            return False
        if self._from_disk:
            self.cache.prefetch(rows)
        return True

    def fill(self, making: Making, begin: int, end: int) -> None:
        """Put the images of places `begin`..`end`-1 into a batch; faults become zeros."""
        self._fill(making, begin, end)
        if making.after is not None:
            making.after(making.images, begin, end)

    def _fill(self, making: Making, begin: int, end: int) -> None:
        if making.mixing is None and making.changes.erasures is None:
            places, rows = np.arange(begin, end, dtype=np.int64), making.rows[begin:end]
            lost = self._put(rows, places, making.changes, self._kernel, making.images)
            for place, fault in lost:
                making.lose(place, fault)
            return
        for first in range(begin, end, BLENDED):
            self._blend(making, first, min(first + BLENDED, end))

    def _blend(self, making: Making, begin: int, end: int) -> None:
        """Fill places with pictures that are erased or mixed before they are scaled.

        Where a partner cannot be read, the picture stays as it is. Its fault is recorded where it
        comes itself: the images of an epoch are its records less its faults, and a record that is
        only mixed in is none of them.
        """
        assert self._levels is not None, "the config says whether anything is erased or mixed"
        places = np.arange(end - begin, dtype=np.int64)
        own, others = self._two_scratches(len(places))
        changes = making.changes.part(begin, end)
        lost = self._put(making.rows[begin:end], places, changes, self._levels, own)
        if changes.erasures is not None:
            self._blender.erase(own, changes.erasures)
        if making.mixing is not None:
            mixing = making.mixing.part(begin, end)
            mixing.leave_alone([place for place, _ in lost])
            mixed = np.flatnonzero(mixing.shares < 1)
            faults = self._put(mixing.rows[mixed], mixed, mixing.changes, self._levels, others)
            mixing.leave_alone([place for place, _ in faults])
            if mixing.changes.erasures is not None:
                self._blender.erase(others, mixing.changes.erasures)
            self._blender.overlay(own, others, mixing.boxes, mixing.keeps)
        self._kernel(own, places, places, self._unchanged, making.images[begin:end])
        for place, fault in lost:
            making.lose(begin + place, fault)

    def _put(
        self, rows: Rows, places: Rows, changes: Changes, kernel: Kernel, out: npt.NDArray[Any]
    ) -> list[tuple[int, Fault]]:
        """Put pictures into places of `out`; return the places of those that cannot be read."""
        if self._array is not None:
            kernel(self._array, rows, places, changes, out)
            return []
        if self.cache is not None:
            kept = self.cache.check(rows)
            if kept.any():
                kernel(self.cache.rows, rows[kept], places[kept], changes, out)
            rows, places = rows[~kept], places[~kept]
        return self._decode(rows, places, changes, kernel, out) if len(rows) else []

    def _decode(
        self, rows: Rows, places: Rows, changes: Changes, kernel: Kernel, out: npt.NDArray[Any]
    ) -> list[tuple[int, Fault]]:
        pictures = self._scratch(len(rows))
        made, lost = [], []
        for number, row in enumerate(rows.tolist()):
            location = self._index.location(row)
            try:
                picture = self._read(row, location)
            except DataError as error:
                fault = Fault(row, self._index.record_id(row), error.reason, str(error))
                lost.append((int(places[number]), fault))
                continue
            except Exception as error:
                error.add_note(f"while reading {location.path}")
                raise
            pictures[number] = picture
            made.append(number)
            if self.cache is not None and self.cache.filling and self._is_unchanged(location):
                self.cache.write(row, pictures[number])
        picks = np.asarray(made, np.int64)
        kernel(pictures, picks, places[picks], changes, out)
        return lost

    def _read(self, row: int, location: Location) -> Pixels:
        """Return one picture at its target size, (H, W, C) uint8.

        Raises:
            DataError: The file cannot be read as an image, or is not the one that was scanned;
                the message names it.
        """
        config, pixels = self._config, self._index.pixels
        picture: Pixels
        if pixels is not None:
            picture = np.ascontiguousarray(pixels[row])
        else:
            picture = images.load(
                location,
                channels=config.channels,
                rule_set=config.rule_set,
                background=config.background,
                min_size=config.image_size if config.quality == "fast" else None,
                max_bytes=self._decode_bytes,
            )
        return images.resize(
            picture,
            config.image_size,
            quality=config.quality,
            interpolation=config.interpolation,
            crop=config.crop_to_aspect_ratio,
        )

    def _is_unchanged(self, location: Location) -> bool:
        """Say whether a file is still as it was when it was scanned, so that it may be cached."""
        try:
            changed = Path(location.path).stat().st_mtime_ns != location.mtime_ns
        except OSError:
            return False
        if changed and not self._told_of_change:
            self._told_of_change = True
            why = "was written after it was scanned"
            if location.mtime_ns < 0:
                why = "was scanned without its time, so it may have been written since"
            self._say(
                f"{location.path} {why}. Its decoded image is not kept, nor that of any other "
                "such file: they are decoded anew in every epoch. Scan the images again."
            )
        return not changed

    def _scratch(self, count: int) -> Pixels:
        """Return this thread's own memory for pictures, used again and again."""
        pictures: Pixels | None = getattr(self._local, "pictures", None)
        if pictures is None or len(pictures) < count:
            shape = (count, *self._config.image_size, self._config.channels)
            pictures = self._local.pictures = np.empty(shape, np.uint8)
        return pictures[:count]

    def _two_scratches(self, count: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return this thread's own memory for pictures on their way to being mixed."""
        both: npt.NDArray[np.float32] | None = getattr(self._local, "both", None)
        if both is None:
            shape = (2, BLENDED, *self._config.image_size, self._config.channels)
            both = self._local.both = np.zeros(shape, np.float32)
        return both[0, :count], both[1, :count]


def _array_of(index: RecordIndex, config: StreamConfig) -> npt.NDArray[Any] | None:
    """Return the array that the kernel can read as it is; None where pictures must be made."""
    if index.pixels is None:
        return None
    shape, wanted = index.pixels.shape[1:], (*config.image_size, config.channels)
    if shape[2] != config.channels:
        raise DataError(
            f"the pictures of the array have {shape[2]} channels, and {config.channels} are asked "
            f"for. Set channels={shape[2]}, or convert the array."
        )
    if shape == wanted and index.pixels.flags.c_contiguous:
        return index.pixels
    if index.pixels.dtype != np.uint8:
        raise DataError(
            f"pictures of {index.pixels.dtype} are taken as they are: an array of {wanted}, in C "
            f"order, was expected, got {shape}. Resize it, or convert it to uint8."
        )
    return None


def _open_cache(
    index: RecordIndex, config: StreamConfig, say: Callable[[str], None]
) -> PixelCache | None:
    if config.cache is None:
        return None
    fingerprint = index.fingerprint()
    if fingerprint is None:
        raise ValueError(
            "a cache needs the sizes and times of the files, and this index has none. Scan the "
            "images with `scan` instead of `index_folder`, or leave the cache out."
        )
    key = CacheKey(
        index_fingerprint=fingerprint,
        num_rows=len(index),
        image_size=config.image_size,
        channels=config.channels,
        quality=config.quality,
        interpolation=config.interpolation if config.quality == "compat" else "",
        crop_to_aspect_ratio=config.crop_to_aspect_ratio,
        rule_set=config.rule_set,
        background=config.background,
        resize_version=images.RESIZE_VERSION,
    )
    return PixelCache.open(config.cache, key, images_root=index.root, say=say)


def _memory() -> int:
    """Return the machine's memory in bytes."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
