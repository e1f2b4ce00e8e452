"""The one place where files become pixels: every path of training and serving decodes here."""

from __future__ import annotations

from sightline.data.images.decoding import (
    DECODER_VERSION,
    Channels,
    RuleSet,
    decode,
    decode_as_read,
    decoding_bytes,
)
from sightline.data.images.encoding import encode_jpeg, encode_png
from sightline.data.images.header import DEFAULT_MAX_MEGAPIXELS, Header
from sightline.data.images.headers import read_header
from sightline.data.images.particulars import (
    extension_disagrees,
    jpeg_quantisation,
    may_be_transparent,
    trailing_bytes,
)
from sightline.data.images.reading import IMAGE_EXTENSIONS, load, read_file, read_file_and_time
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
    "decode_as_read",
    "decoding_bytes",
    "encode_jpeg",
    "encode_png",
    "extension_disagrees",
    "jpeg_quantisation",
    "load",
    "may_be_transparent",
    "read_file",
    "read_file_and_time",
    "read_header",
    "resize",
    "trailing_bytes",
]
