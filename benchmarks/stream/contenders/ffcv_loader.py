"""FFCV: the set packed into one file before the first epoch; that time is not in any figure here.

It has no rotation, shear or zoom: flips and shifts alone, so it does less than the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks.stream.workload import BATCH, SHIFT, SIZE, Epoch, Work, labelled_files
from ffcv.fields import IntField, RGBImageField
from ffcv.fields.decoders import CenterCropRGBImageDecoder, IntDecoder, SimpleRGBImageDecoder
from ffcv.loader import Loader, OrderOption
from ffcv.transforms import RandomHorizontalFlip, RandomTranslate, Squeeze, ToTensor
from ffcv.writer import DatasetWriter
from PIL import Image


def pixels(work: Work) -> Epoch:
    """Pixels packed at the target size: nothing is decoded or resized in any epoch."""
    packed = _pack(work, RGBImageField(write_mode="raw"), SIZE)
    return _epochs(packed, SimpleRGBImageDecoder(), work)


def jpegs(work: Work) -> Epoch:
    """JPEG packed at its own size, decoded and resized each epoch."""
    packed = _pack(work, RGBImageField(write_mode="jpg", jpeg_quality=90), None)
    return _epochs(packed, CenterCropRGBImageDecoder(SIZE, ratio=1.0), work)


class _Files:
    """Pictures and labels by number, as the writer wants them."""

    def __init__(self, folder: Path, size: tuple[int, int] | None) -> None:
        self._paths, self._labels = labelled_files(folder)
        self._size = size

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, row: int) -> tuple[Image.Image, int]:
        picture = Image.open(self._paths[row]).convert("RGB")
        if self._size is not None:
            picture = picture.resize(self._size[::-1], Image.Resampling.BILINEAR)
        return picture, self._labels[row]


def _pack(work: Work, field: RGBImageField, size: tuple[int, int] | None) -> Path:
    packed = work.scratch / "packed.beton"
    writer = DatasetWriter(str(packed), {"image": field, "label": IntField()}, num_workers=2)
    writer.from_indexed_dataset(_Files(work.folder, size))
    return packed


class _Scale(torch.nn.Module):
    """0..255 uint8 to 0..1 float32, after the last of FFCV's own steps."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.to(torch.float32).mul_(1 / 255)


def _epochs(packed: Path, decoder: Any, work: Work) -> Epoch:
    changes = [RandomHorizontalFlip(), RandomTranslate(padding=int(SHIFT * SIZE[0]))]
    loader = Loader(
        str(packed),
        batch_size=BATCH,
        num_workers=work.threads,
        order=OrderOption.RANDOM,
        seed=0,
        pipelines={
            "image": [decoder, *(changes if work.augment else []), ToTensor(), _Scale()],
            "label": [IntDecoder(), ToTensor(), Squeeze()],
        },
    )

    def epoch(_: int) -> Iterator[tuple[Any, Any]]:
        return ((images, np.asarray(labels)) for images, labels in loader)

    return epoch
