"""A look at a sample of the images before anything is decided."""

from __future__ import annotations

import time
from collections import Counter

import numpy as np
import numpy.typing as npt
import polars as pl

from sightline.data import images
from sightline.errors import DataError
from sightline.records import DataFacts, Manifest

_SAMPLE = 200  # files: 1 s even for full-size X-rays
_GREY_TOLERANCE = 2  # of 255: JPEG stores colour apart, so grey survives it almost exactly


def measure(manifest: Manifest, *, sample: int = _SAMPLE) -> DataFacts:
    """Return the facts of a manifest, from an even sample of its usable files.

    Images of test and external are counted and never looked at: plans are made from these facts.
    Deterministic but for `read_seconds`. Files that cannot be read are named, not fatal.

    Raises:
        DataError: There is no usable image, or not one file of the sample could be read.
    """
    usable = manifest.table.filter(pl.col("status").ne_missing("quarantined"))
    if not len(usable):
        raise DataError(f"the manifest of {manifest.root} has no usable image to look at")
    open_to_look = usable.filter(~pl.col("split").fill_null("").is_in(["test", "external"]))[
        "record_id"
    ]
    if not len(open_to_look):
        raise DataError(f"the manifest of {manifest.root} has no image outside of the test split")
    places = np.linspace(0, len(open_to_look) - 1, min(sample, len(open_to_look)))
    chosen = open_to_look.gather(np.unique(places.astype(np.int64)))
    sizes: list[tuple[int, int]] = []
    seconds: list[float] = []
    unreadable: list[tuple[str, str]] = []
    formats: Counter[str] = Counter()
    all_grey = True
    for record_id in chosen:
        started = time.perf_counter()
        try:
            place = manifest.locate(record_id)
            # A file of its own that grew can still be judged.
            content = images.read_file(place if place.begin >= 0 else place.path)
            pixels = images.decode(content)
            formats[images.read_header(content).format] += 1
        except DataError as error:
            unreadable.append((record_id, str(error)))
            continue
        seconds.append(time.perf_counter() - started)
        sizes.append(pixels.shape[:2])
        all_grey = all_grey and _is_grey(pixels)
    if not sizes:
        raise DataError(
            f"none of {len(chosen)} files looked at under {manifest.root} could be read. "
            f"The first: {unreadable[0][1]}"
        )
    by_area = sorted(sizes, key=lambda size: size[0] * size[1])
    counts = usable["label"].value_counts()
    return DataFacts(
        count=len(usable),
        class_counts=dict(sorted(counts.drop_nulls().iter_rows())),
        looked_at=len(sizes),
        unreadable=tuple(unreadable),
        height=int(np.median([height for height, _ in sizes])),
        width=int(np.median([width for _, width in sizes])),
        smallest=by_area[0],
        largest=by_area[-1],
        all_grey=all_grey,
        formats=dict(formats.most_common()),
        bytes=int(usable["bytes"].sum()),
        read_seconds=float(np.median(seconds)),
    )


def _is_grey(pixels: npt.NDArray[np.uint8]) -> bool:
    wide = pixels.astype(np.int16)
    return int((wide.max(axis=2) - wide.min(axis=2)).max()) <= _GREY_TOLERANCE
