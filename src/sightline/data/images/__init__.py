"""The one place where files become pixels: every path of training and serving decodes here."""

from __future__ import annotations

from sightline.data.images.decoding import DECODER_VERSION, Channels, RuleSet, decode
from sightline.data.images.encoding import encode_jpeg, encode_png
from sightline.data.images.header import DEFAULT_MAX_MEGAPIXELS, Header
from sightline.data.images.headers import read_header
from sightline.data.images.reading import IMAGE_EXTENSIONS, load, read_file
from sightline.data.images.resizing import RESIZE_VERSION, Interpolation, Quality, resize

__all__ = [
    "DECODER_VERSION",
    "DEFAULT_MAX_MEGAPIXELS",
    "IMAGE_EXTENSIONS",
    "RESIZE_VERSION",
    "Channels",
    "Header",
    "Interpolation",
    "Quality",
    "RuleSet",
    "decode",
    "encode_jpeg",
    "encode_png",
    "load",
    "read_file",
    "read_header",
    "resize",
]
