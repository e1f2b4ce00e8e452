"""The one place where files become pixels: every path of training and serving decodes here."""

from __future__ import annotations

from sightline.data.images.decoding import DECODER_VERSION, RuleSet, decode
from sightline.data.images.encoding import encode_jpeg, encode_png, resize
from sightline.data.images.header import Header
from sightline.data.images.headers import read_header
from sightline.data.images.reading import IMAGE_EXTENSIONS, load, read_file

__all__ = [
    "DECODER_VERSION",
    "IMAGE_EXTENSIONS",
    "Header",
    "RuleSet",
    "decode",
    "encode_jpeg",
    "encode_png",
    "load",
    "read_file",
    "read_header",
    "resize",
]
