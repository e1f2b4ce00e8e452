"""What a look at a sample of the images says, before any training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DataFacts:
    """The data set's own fingerprint, measured on an even sample of its files.

    Attributes:
        count: Usable images.
        class_counts: Images a class, in class order.
        looked_at: Files of the sample that could be read.
        unreadable: (record id, why) of the sample's files that could not.
        height: Median, pixels, after EXIF rotation.
        width: Median, pixels.
        smallest: (height, width) of the smallest image by area.
        largest: (height, width) of the largest.
        all_grey: Every sampled image has equal red, green and blue.
        formats: Files a format, e.g. {"JPEG": 200}.
        bytes: Of all usable files.
        read_seconds: Median time to read and decode one file at full size on one core.
    """

    count: int
    class_counts: Mapping[str, int]
    looked_at: int
    unreadable: tuple[tuple[str, str], ...]
    height: int
    width: int
    smallest: tuple[int, int]
    largest: tuple[int, int]
    all_grey: bool
    formats: Mapping[str, int]
    bytes: int
    read_seconds: float

    @property
    def imbalance(self) -> float:
        """The largest class over the smallest."""
        return max(self.class_counts.values()) / min(self.class_counts.values())
