"""What a cache of decoded images is valid for."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import cv2

from sightline.data.images import DECODER_VERSION, RuleSet

Quality = Literal["fast", "compat", "best"]

_LAYOUT = 1  # of the files of a cache: raise it when their meaning changes


def _version(distribution: str) -> str:
    """Return an installed version; run from a bundle without metadata, one version for all."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheKey:
    """Everything that the pixels of a cache depend on: another value, another cache.

    Attributes:
        index_fingerprint: Which files in which order, with their sizes and times or contents.
        num_rows: Rows of the index.
        image_size: (height, width) in pixels of the decoded rows.
        channels: 3 = RGB, 1 = grey, 4 = RGBA.
        quality: How files are decoded and resized.
        interpolation: Its name, as the resizing code knows it.
        crop_to_aspect_ratio: Whether the middle is cut out instead of squeezing the whole.
        rule_set: How odd files are decoded.
        background: RGB 0..255 under transparent images.
        resize_version: Of the resizing code.
        decoder_version: Of the decoding code.
        simplejpeg: Version that decodes JPEG files.
        pillow: Version that decodes the others.
        opencv: Version that resizes.
        machine: The processor's family: a folder may be shared by machines that round otherwise.

    Raises:
        ValueError: A count or a size is below 1.
    """

    index_fingerprint: str
    num_rows: int
    image_size: tuple[int, int]
    channels: int
    quality: Quality
    interpolation: str
    crop_to_aspect_ratio: bool
    rule_set: RuleSet
    background: tuple[int, int, int]
    resize_version: int
    decoder_version: int = DECODER_VERSION
    simplejpeg: str = field(default_factory=lambda: _version("simplejpeg"))
    pillow: str = field(default_factory=lambda: _version("pillow"))
    opencv: str = cv2.__version__
    machine: str = field(default_factory=platform.machine)

    def __post_init__(self) -> None:
        if len(self.image_size) != 2 or min(self.image_size) < 1:
            raise ValueError(
                f"image_size must be (height, width) of at least 1, got {self.image_size}"
            )
        for name in ("num_rows", "channels"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of one row."""
        return (*self.image_size, self.channels)

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return self.image_size[0] * self.image_size[1] * self.channels

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {
            **asdict(self),
            "image_size": list(self.image_size),
            "background": list(self.background),
        }

    def digest(self) -> str:
        """Return the name of the cache's folder: 64 hex digits over every field."""
        canonical = json.dumps(
            {"layout": _LAYOUT, **self.to_dict()}, sort_keys=True, separators=(",", ":")
        )
        return hashlib.sha256(canonical.encode()).hexdigest()
