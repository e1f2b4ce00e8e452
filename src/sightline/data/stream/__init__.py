"""The stream: image files to batches, the same bytes every time.

keys      randomness without state
order     which record comes when; sampling, of which records an epoch is made
augment   random changes of a batch, as numbers; erasing and mixing, what goes beyond one pass
kernels   pixels moved, changed and scaled, in one pass
cache     decoded images on disk
config    every setting of a stream
memory    how much it may hold; batches used again
filling   the pixels of a batch
loader    the stream itself
measuring the colours' mean and deviation
showing   what random changes do, for people
"""

from __future__ import annotations

from sightline.data.stream.cache import cache_root
from sightline.data.stream.config import StreamConfig
from sightline.data.stream.cores import usable_cores
from sightline.data.stream.filling import Fault
from sightline.data.stream.keys import checksum
from sightline.data.stream.loader import Stream
from sightline.data.stream.measuring import measure_scaling
from sightline.data.stream.order import epoch_order

__all__ = [
    "Fault",
    "Stream",
    "StreamConfig",
    "cache_root",
    "checksum",
    "epoch_order",
    "measure_scaling",
    "usable_cores",
]
