"""torch's DataLoader with persistent worker processes."""

from __future__ import annotations

from typing import Any

import albumentations
import cv2
import torch
from albumentations.pytorch import ToTensorV2
from benchmarks.stream.workload import (
    BATCH,
    ROTATION,
    SHEAR_DEGREES,
    SHIFT,
    SIZE,
    ZOOM,
    Epoch,
    Work,
    labelled_files,
)
from torch.utils.data import DataLoader, Dataset


def with_torchvision(work: Work) -> Epoch:
    """ImageFolder, PIL, and torchvision's v2 transforms on PIL images (faster than on tensors)."""
    transforms, folders = _torchvision()
    v2 = transforms.v2
    changes = [
        v2.RandomAffine(
            ROTATION,
            translate=(SHIFT, SHIFT),
            scale=(1 - ZOOM, 1 + ZOOM),
            shear=SHEAR_DEGREES,
            interpolation=transforms.InterpolationMode.BILINEAR,
        ),
        v2.RandomHorizontalFlip(),
    ]
    to_tensor = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
    change = v2.Compose([v2.Resize(SIZE), *(changes if work.augment else []), *to_tensor])
    return _epochs(folders.ImageFolder(str(work.folder), transform=change), work)


def _torchvision() -> tuple[Any, Any]:
    """Return torchvision's transforms and datasets.

    Its wheel for GPUs imports beside torch for CPUs once these two operators, which transforms
    do not use, have a declaration.
    """
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    from torchvision import datasets, transforms
    from torchvision.transforms import v2  # noqa: F401 - loads transforms.v2

    return transforms, datasets


def with_albumentations(work: Work) -> Epoch:
    """OpenCV and albumentations, one Affine for all that moves."""
    changes = [
        albumentations.Affine(
            rotate=(-ROTATION, ROTATION),
            translate_percent=(-SHIFT, SHIFT),
            shear=(-SHEAR_DEGREES, SHEAR_DEGREES),
            scale=(1 - ZOOM, 1 + ZOOM),
            border_mode=cv2.BORDER_REPLICATE,
            p=1,
        ),
        albumentations.HorizontalFlip(p=0.5),
    ]
    change = albumentations.Compose(
        [
            albumentations.Resize(*SIZE),
            *(changes if work.augment else []),
            albumentations.ToFloat(max_value=255),
            ToTensorV2(),
        ]
    )
    return _epochs(_Pictures(work, change), work)


class _Pictures(Dataset[tuple[torch.Tensor, int]]):
    """The files of class folders, read by OpenCV."""

    def __init__(self, work: Work, change: albumentations.Compose) -> None:
        self._paths, self._labels = labelled_files(work.folder)
        self._change = change

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        picture = cv2.imread(self._paths[index], cv2.IMREAD_COLOR_RGB)
        return self._change(image=picture)["image"], self._labels[index]


def _epochs(pictures: Dataset[Any], work: Work) -> Epoch:
    loader: DataLoader[Any] = DataLoader(
        pictures,
        batch_size=BATCH,
        shuffle=True,
        num_workers=work.threads,
        persistent_workers=True,
        worker_init_fn=_one_thread,
    )

    def epoch(_: int) -> Any:
        return loader

    return epoch


def _one_thread(_: int) -> None:
    """A worker is one thread: OpenCV's own would fight for the same cores."""
    cv2.setNumThreads(0)
