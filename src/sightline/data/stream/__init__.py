"""The stream: image files to batches, the same bytes every time."""

from __future__ import annotations

from sightline.data.stream.config import StreamConfig
from sightline.data.stream.loader import Fault, Stream, read_image, usable_cores
from sightline.data.stream.order import epoch_order

__all__ = ["Fault", "Stream", "StreamConfig", "epoch_order", "read_image", "usable_cores"]
