"""What a stream takes out of its cache: all of it for the same pixels, nothing for others."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from small_sets import CHANGES, MOVES, batch_bytes, config, read, row_bytes, without_files

from sightline.data import images
from sightline.data.stream import Stream, StreamConfig
from sightline.data.stream.cache import list_caches
from sightline.records import Manifest

RECORDS = 12
# One value of each field that pixels depend on, and others that change every picture.
PIXELS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {"image_size": (16, 12)}),  # as many bytes
    ({}, {"image_size": (12, 17)}),
    ({}, {"channels": 1}),
    ({}, {"channels": 4}),
    ({}, {"quality": "best"}),
    ({}, {"quality": "compat", "interpolation": "bilinear"}),
    ({"quality": "best"}, {"quality": "compat", "interpolation": "bilinear"}),
    ({"quality": "compat"}, {"quality": "compat", "crop_to_aspect_ratio": True}),
    ({}, {"background": (0, 0, 0)}),
    ({}, {"background": (255, 255, 0)}),
    ({"quality": "best"}, {"quality": "best", "background": (0, 255, 255)}),
    *(
        ({"quality": "compat"}, {"quality": "compat", "interpolation": name})
        for name in ("bilinear", "bicubic", "hamming", "box", "lanczos")
    ),
]
# Values of fields that only change what is made of a kept picture, or when.
NOT_PIXELS: list[dict[str, Any]] = [
    {"batch_size": 5},
    {"seed": 7},
    {"shuffle": True},
    {"shuffle": True, "seed": 7},
    *(
        {"shuffle": True, "sampling": name}
        for name in ("weighted", "class-balanced", "oversample", "undersample")
    ),
    {"augment": MOVES},
    {"augment": CHANGES, "shuffle": True},
    {"scaling": "none"},
    {"scaling": "per-image"},
    {"scaling": "mean-std", "mean": (0.5, 0.4, 0.3), "std": (0.1, 0.2, 0.3)},
    {"dtype": "uint8"},
    {"layout": "channels-first"},
    {"num_threads": 0},
    {"prefetch": 1},
    {"max_memory": 200_000_000},
    {"max_fault_share": 0.5},
    {"max_faults": 3},
    {"interpolation": "lanczos"},  # of "compat" alone
]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Colourful pictures of every transparency; of each, a part is half transparent."""
    root = tmp_path_factory.mktemp("pictures")
    names = [f"{number:02d}.png" for number in range(RECORDS)]
    for number, name in enumerate(names):
        pixels = np.random.default_rng(number).integers(0, 256, (40 + number, 53, 4), np.uint8)
        pixels[:20, :20, 3], pixels[20:, 20:, 3] = 128, 255
        Image.fromarray(pixels).save(root / name)
    found = [(root / name).stat() for name in names]
    return Manifest.make(
        root,
        {
            "record_id": names,
            "label": ["ape", "bee", "cow"] * (RECORDS // 3),
            "weight": [1.0 + number % 2 for number in range(RECORDS)],
            "bytes": [one.st_size for one in found],
            "mtime_ns": [one.st_mtime_ns for one in found],
        },
    )


def stream_of(manifest: Manifest, **how: Any) -> Stream:
    return Stream(manifest, split=None, config=config(**{"image_size": (12, 16), **how}))


def field_names(how: dict[str, Any]) -> str:
    return " ".join(map(str, how)) or "plain"


def num_missed(manifest: Manifest, **how: Any) -> int:
    """Return how many records could not be served out of the cache."""
    with without_files(manifest):
        read(stream := stream_of(manifest, max_fault_share=1.0, **how))
    return len(stream.faults)


def test_every_setting_is_known_to_change_kept_pictures_or_not() -> None:
    changing = {name for pair in PIXELS for one in pair for name in one}
    others = {name for one in NOT_PIXELS for name in one}
    assert changing & others == {"interpolation"}
    assert changing | others | {"cache"} == {field.name for field in fields(StreamConfig)}


@pytest.mark.parametrize(("one", "other"), PIXELS, ids=field_names)
def test_what_is_kept_for_other_pixels_is_missed_by_every_record(
    manifest: Manifest, one: dict[str, Any], other: dict[str, Any], tmp_path: Path
) -> None:
    for first, second in ((one, other), (other, one)):
        cache = tmp_path / str(first)
        plain = [read(stream_of(manifest, **how)) for how in (first, second)]
        before, after = (row_bytes(batches) for batches in plain)
        assert all(before[row][0] != after[row][0] for row in range(RECORDS))
        read(stream_of(manifest, cache=cache, **first))
        assert num_missed(manifest, cache=cache, **second) == RECORDS
        found = read(stream_of(manifest, cache=cache, **second))
        assert batch_bytes(found) == batch_bytes(plain[1])
        # Both are kept now, side by side.
        with without_files(manifest):
            for how, expected in zip((first, second), plain, strict=True):
                again = read(stream_of(manifest, cache=cache, **how))
                assert batch_bytes(again) == batch_bytes(expected)


@pytest.mark.parametrize("other", NOT_PIXELS, ids=field_names)
def test_what_is_kept_is_hit_by_every_record_whatever_is_made_of_it(
    manifest: Manifest, other: dict[str, Any], tmp_path: Path
) -> None:
    expected = batch_bytes(read(stream_of(manifest, **other)))
    read(stream_of(manifest, cache=tmp_path))
    with without_files(manifest):
        found = read(kept := stream_of(manifest, cache=tmp_path, **other))
    assert not kept.faults
    assert batch_bytes(found) == expected
    assert len(list_caches(tmp_path)) == 1


@pytest.mark.parametrize("other", NOT_PIXELS, ids=field_names)
def test_what_any_stream_keeps_serves_the_plain_one(
    manifest: Manifest, other: dict[str, Any], tmp_path: Path
) -> None:
    expected = batch_bytes(read(stream_of(manifest)))
    with stream_of(manifest, cache=tmp_path, **other) as stream:
        for epoch in range(40):
            for _ in stream.epoch(epoch):
                pass
            (kept,) = list_caches(tmp_path)
            if kept.num_filled == RECORDS:  # drawn with replacement, it may take some epochs
                break
    with without_files(manifest):
        found = read(plain := stream_of(manifest, cache=tmp_path))
    assert not plain.faults
    assert batch_bytes(found) == expected


def test_what_another_version_of_resizing_kept_is_missed(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read(stream_of(manifest, cache=tmp_path))
    assert num_missed(manifest, cache=tmp_path) == 0
    monkeypatch.setattr(images, "RESIZE_VERSION", images.RESIZE_VERSION + 1)
    assert num_missed(manifest, cache=tmp_path) == RECORDS
