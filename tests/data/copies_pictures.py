"""Pictures with structure, their edited copies, and the tables an audit would have of them."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import numpy.typing as npt
import polars as pl

from sightline.data.auditing.copies import VERDICTS_SCHEMA, Copies, find_copies
from sightline.data.images import encode_png
from sightline.records import Manifest

Pixels = npt.NDArray[np.uint8]
NOTHING_KNOWN = VERDICTS_SCHEMA.to_frame()


def picture(number: int, height: int = 96, width: int = 128) -> Pixels:
    """Return (H, W, 3) with structure of every size, none of it symmetric."""
    rng = np.random.default_rng(number)
    image = np.zeros((height, width, 3), np.float32)
    for cells in (3, 5, 9, 17, 33):
        noise = rng.normal(size=(cells, cells, 3)).astype(np.float32)
        image += cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    image -= image.min()
    return (image * (255 / image.max())).astype(np.uint8)


def grey(image: Pixels) -> Pixels:
    luma: Pixels = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return luma


def planting() -> ModuleType:
    """Return benchmarks/copies_planted.py, which plants copies and counts what is found."""
    name = "copies_planted"
    if name not in sys.modules:
        path = Path(__file__).parents[2] / "benchmarks" / f"{name}.py"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


def write(root: Path, files: Mapping[str, Pixels | bytes]) -> tuple[Manifest, pl.DataFrame]:
    """Write pictures as PNG, bytes as they are; return the manifest and the inspected table."""
    root.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (root / name).write_bytes(content if isinstance(content, bytes) else encode_png(content))
    manifest, inspected = planting().inspect_all(root, workers=1)
    return manifest, inspected


def copies_of(
    manifest: Manifest,
    inspected: pl.DataFrame,
    *,
    known: pl.DataFrame = NOTHING_KNOWN,
    workers: int = 1,
    on_done: Callable[[int], None] = lambda number: None,
) -> Copies:
    return find_copies(manifest, inspected, known=known, workers=workers, on_done=on_done)
