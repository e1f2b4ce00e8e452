"""What a stream holds: bounded, the same after twenty epochs, and for any number of images."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from small_sets import batch_bytes, config, read, train_stream, write_pictures

from sightline.data.images import encode_jpeg, encode_png
from sightline.data.stream import Stream, StreamConfig
from sightline.data.stream.memory import SLICE, Ring, limits
from sightline.records import Manifest, RecordIndex

MB = 1_000_000
BOUND = 64 * MB

linux = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")

Pixels = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return write_pictures(tmp_path_factory.mktemp("pictures"))


def noise(height: int, width: int, channels: int = 3) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), np.uint8)


# --- a process of its own --------------------------------------------------------------

PREAMBLE = """
import gc, json, re, sys
from pathlib import Path
import numpy as np
from sightline.data.stream import Stream, StreamConfig
from sightline.recipes import AugmentSection
from sightline.records import Manifest, RecordIndex

MOVES = AugmentSection(rotation=20, width_shift=0.2, zoom=0.2, brightness=0.2)
given = json.loads(sys.argv[1])

def held(field="VmRSS"):
    status = Path("/proc/self/status").read_text()
    return int(re.search(field + r":\\s+(\\d+) kB", status)[1]) * 1024 / 1e6

def forget_the_peak():
    gc.collect()
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        print("null")
        raise SystemExit
"""


def measured(script: str, **given: Any) -> Any:
    """Return what a fresh process prints as JSON, in MB."""
    command = [sys.executable, "-c", PREAMBLE + script, json.dumps(given)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    if found is None:
        pytest.skip("this system does not let a process forget its peak of memory")
    return found


MANY = 2000


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved manifest of 2,000 small pictures."""
    root = tmp_path_factory.mktemp("many")
    names = [f"{number:04d}.jpg" for number in range(MANY)]
    for name in names:
        (root / name).write_bytes(encode_jpeg(noise(24, 24)))
    found = [(root / name).stat() for name in names]
    made = Manifest.make(
        root,
        {
            "record_id": names,
            "label": ["a", "b"] * (MANY // 2),
            "split": ["train"] * MANY,
            "bytes": [one.st_size for one in found],
            "mtime_ns": [one.st_mtime_ns for one in found],
        },
    )
    made.save(root / "saved.parquet")
    return root / "saved.parquet.npy"


EPOCHS = """
config = StreamConfig(
    image_size=(24, 24), num_threads=2, shuffle=True, augment=MOVES,
    cache=Path(given["cache"]) if given["cache"] else None,
)
after = []
with Stream(RecordIndex.open(Path(given["index"])), split="train", config=config) as stream:
    for epoch in range(22):
        for batch in stream.epoch(epoch):
            pass
        after.append(held())
print(json.dumps(after[2:]))
"""


@linux
@pytest.mark.parametrize("kept", [False, True])
def test_twenty_epochs_hold_no_more_than_two(many: Path, kept: bool, tmp_path: Path) -> None:
    after = measured(EPOCHS, index=str(many), cache=str(tmp_path) if kept else "")
    slope = np.polyfit(np.arange(len(after)), after, 1)[0]
    assert len(after) == 20
    assert slope <= 0.1, f"{slope:.3f} MB an epoch: {after}"


DRAWS = """
config = StreamConfig(
    image_size=(24, 24), num_threads=2, shuffle=True, augment=MOVES, sampling=given["sampling"]
)

def draw(path):
    with Stream(RecordIndex.open(Path(path)), split="train", config=config) as stream:
        batches = stream.epoch(0)
        for _ in range(20):
            next(batches)
        return {field: held(field) for field in ("RssAnon", "RssFile")}

before = draw(given["warm"])
after = draw(given["index"])
print(json.dumps({field: after[field] - before[field] for field in after}))
"""


@pytest.fixture(scope="module")
def index_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """Return a function that saves an index of so many records over 16 files."""
    root = tmp_path_factory.mktemp("indexes")
    for number in range(16):
        (root / f"{number:02d}.jpg").write_bytes(encode_jpeg(noise(24, 24)))

    def make(count: int) -> Path:
        path = root / f"{count}.npy"
        names = b"".join(f"{number:02d}.jpg".encode() for number in range(16))
        index = RecordIndex.make(
            root,
            ["a", "b"],
            np.resize(np.frombuffer(names, np.uint8), 6 * count),
            np.arange(0, 6 * count + 1, 6, dtype=np.uint32),
            (np.arange(count) % 2).astype(np.int32),
            splits=np.zeros(count, np.uint8),
        )
        index.write(path)
        return path

    return make


@linux
@pytest.mark.parametrize(("sampling", "most"), [("all", 1.0), ("weighted", 30.0)])
def test_a_million_images_take_no_more_memory_than_a_thousand(
    index_of: Callable[[int], Path], sampling: str, most: float
) -> None:
    warm, million = index_of(1000), index_of(10**6)
    found = measured(DRAWS, warm=str(warm), index=str(million), sampling=sampling)
    assert found["RssAnon"] <= most
    # Pages of the map that were read lie in memory as well, until the system wants them back.
    assert found["RssFile"] <= million.stat().st_size / MB + 1


# --- memory used again -----------------------------------------------------------------


@pytest.mark.parametrize("num_threads", [0, 3])
@pytest.mark.parametrize("prefetch", [1, 4])
def test_batches_that_are_kept_are_never_written_over(
    manifest: Manifest, prefetch: int, num_threads: int
) -> None:
    how = {"prefetch": prefetch, "num_threads": num_threads, "batch_size": 2}
    with train_stream(manifest, **how) as stream:
        kept, seen = [], []
        for epoch in range(3):
            for batch in stream.epoch(epoch):
                kept.append(batch)
                seen += batch_bytes([batch])
    assert batch_bytes(kept) == seen


@pytest.mark.parametrize(
    "hold",
    [
        lambda images: images,
        lambda images: images[0],
        lambda images: images.reshape(-1)[5:],
        lambda images: memoryview(images),
        lambda images: np.frombuffer(images, np.uint8),
        lambda images: np.from_dlpack(images),
        lambda images: images.T[..., :1],
    ],
)
def test_whatever_shares_the_memory_of_a_batch_keeps_it(
    manifest: Manifest, hold: Callable[[Any], Any]
) -> None:
    with train_stream(manifest, batch_size=2) as stream:
        held, seen = [], []
        for batch in stream.epoch(0):
            held.append(hold(batch.images))
            seen.append(np.asarray(held[-1]).tobytes())
            del batch
        assert [np.asarray(one).tobytes() for one in held] == seen


def addresses(stream: Stream, epochs: int = 4) -> list[int]:
    """Return where the images of each batch lie in memory; none is kept."""
    found = []
    for epoch in range(epochs):
        for batch in stream.epoch(epoch):
            found.append(batch.images.ctypes.data)
            del batch
    return found


def test_memory_that_nobody_holds_is_used_again(manifest: Manifest) -> None:
    with train_stream(manifest, batch_size=2, num_threads=0) as stream:
        found = addresses(stream)
    assert len(found) == 48
    assert len(set(found)) <= 2  # the one in the making, and the caller's


def test_threads_share_a_few_blocks_of_memory(manifest: Manifest) -> None:
    with train_stream(manifest, batch_size=2, num_threads=3, prefetch=3) as stream:
        found = addresses(stream, epochs=20)
    assert len(found) == 240
    # A thread may hold a block for a moment longer; then one is made that is not kept.
    assert len(set(found)) <= 12


def test_memory_is_aligned_for_the_frameworks(manifest: Manifest) -> None:
    with train_stream(manifest, batch_size=3) as stream:
        assert not any(address % 64 for address in addresses(stream, epochs=1))


def test_the_last_batch_is_a_part_of_a_whole_one(manifest: Manifest) -> None:
    *_, last = read(train_stream(manifest, batch_size=10))
    assert last.images.shape[0] == 3
    assert last.images.flags.c_contiguous


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_a_ring_hands_out_what_is_free_and_nothing_else(dtype: str) -> None:
    ring = Ring((4, 2, 2, 3), dtype, keep=2)
    one, other, beyond = (ring.take(4) for _ in range(3))
    places = [array.ctypes.data for array in (one, other, beyond)]
    assert len(set(places)) == 3
    assert {array.dtype.name for array in (one, other, beyond)} == {dtype}
    view = other[1:]
    del one, other, beyond
    again = [ring.take(3) for _ in range(2)]
    assert again[0].ctypes.data == places[0]
    assert again[1].ctypes.data != places[1]
    del view
    assert ring.take(1).ctypes.data == places[1]


# --- the bound -------------------------------------------------------------------------


def least_of(**settings: Any) -> int:
    """Return the least memory that the message names."""
    with pytest.raises(ValueError, match="at least") as caught:
        limits(config(max_memory=1, **settings), 2)
    match = re.search(r"take at least ([\d,]+)\. Give more, or lower", str(caught.value))
    assert match
    return int(match[1].replace(",", ""))


@pytest.mark.parametrize(
    "settings", [{}, {"batch_size": 64, "image_size": (224, 224)}, {"dtype": "uint8"}]
)
def test_too_little_memory_is_refused_with_the_least_that_is_enough(
    settings: dict[str, Any],
) -> None:
    least = least_of(**settings)
    assert limits(config(max_memory=least, **settings), 2).prefetch >= 1
    with pytest.raises(ValueError, match=rf"max_memory={least - 1:,} bytes is too little"):
        limits(config(max_memory=least - 1, **settings), 2)


@pytest.mark.parametrize("batch_size", [4, 10])
def test_batches_ahead_leave_room_for_a_picture_of_a_megapixel(batch_size: int) -> None:
    how = {"batch_size": batch_size, "image_size": (224, 224)}
    enough = limits(config(max_memory=least_of(**how), **how), 2)
    assert enough.decode_bytes is not None
    assert enough.decode_bytes >= 16 * MB


def test_a_stream_with_too_little_memory_is_not_made(manifest: Manifest) -> None:
    with pytest.raises(ValueError, match=r"max_memory=1,000 bytes is too little: two batches of 4"):
        train_stream(manifest, max_memory=1000)


@given(
    max_memory=st.integers(10 * MB, 4000 * MB),
    batch_size=st.integers(1, 512),
    side=st.integers(1, 512),
    num_threads=st.integers(0, 16),
    prefetch=st.integers(1, 16),
)
def test_what_is_planned_fits_into_the_memory(
    max_memory: int, batch_size: int, side: int, num_threads: int, prefetch: int
) -> None:
    how = StreamConfig(
        image_size=(side, side), batch_size=batch_size, prefetch=prefetch, max_memory=max_memory
    )
    try:
        planned = limits(how, num_threads)
    except ValueError:
        return
    workers = max(1, num_threads)
    batches = (planned.prefetch + 1) * how.batch_bytes
    assert planned.decode_bytes is not None
    decoding = workers * (planned.decode_bytes + SLICE * how.picture_bytes)
    assert 1 <= planned.prefetch <= prefetch
    assert planned.decode_bytes >= 16 * MB
    assert batches + decoding <= max_memory * (1 + 1e-9)


def test_a_bound_changes_no_byte(manifest: Manifest) -> None:
    expected = batch_bytes(read(train_stream(manifest)))
    assert batch_bytes(read(train_stream(manifest, max_memory=BOUND))) == expected


GROWTH = """
def config(**how):
    plain = {"num_threads": 2, "batch_size": 8, "max_fault_share": 1.0, **given["how"]}
    return StreamConfig(**{**plain, "image_size": tuple(plain.get("image_size", (64, 64))), **how})

def stream_of(name):
    names = [f"{number:03d} {name}" for number in range(given["count"])]
    for each in names:
        (Path(given["root"]) / each).unlink(missing_ok=True)
        (Path(given["root"]) / each).symlink_to(name)
    return Manifest.make(
        Path(given["root"]), {"record_id": names, "split": ["train"] * len(names)}
    )

warm = config(batch_size=8, image_size=(8, 8), max_memory=None)
with Stream(stream_of("small.png"), split="train", config=warm) as stream:
    list(stream.epoch(0))
manifest = stream_of(given["name"])
forget_the_peak()
before = held()
with Stream(manifest, split="train", config=config()) as stream:
    for epoch in (0, 1):
        for batch in stream.epoch(epoch):
            pass
    reasons = sorted({fault.reason for fault in stream.faults.values()})
print(json.dumps([held("VmHWM") - before, reasons]))
"""


def growth(root: Path, content: bytes, *, count: int = 16, **how: Any) -> tuple[float, list[str]]:
    """Return the peak of what a stream takes, in MB, and the reasons of its faults."""
    (root / "small.png").write_bytes(encode_png(noise(8, 8)))
    (root / "picture").write_bytes(content)
    settings = {"max_memory": BOUND, **how}
    peak, reasons = measured(GROWTH, root=str(root), name="picture", count=count, how=settings)
    return peak, reasons


@linux
def test_pictures_too_large_for_the_memory_are_refused_and_not_decoded(tmp_path: Path) -> None:
    twelve_megapixels = encode_jpeg(noise(3000, 4000, 1), 50)
    peak, reasons = growth(tmp_path, twelve_megapixels)
    assert reasons == ["TOO_LARGE"]
    assert peak < BOUND / MB


def saved(image: Image.Image, root: Path, format_name: str, **options: Any) -> bytes:
    image.save(root / "saved", format_name, **options)
    return (root / "saved").read_bytes()


@linux
@pytest.mark.parametrize(
    ("format_name", "mode", "quality"),
    [
        ("JPEG", "RGB", "fast"),
        ("JPEG", "RGB", "best"),
        ("JPEG", "CMYK", "best"),
        ("PNG", "RGBA", "fast"),
        ("TIFF", "RGBA", "fast"),
        ("WEBP", "RGBA", "fast"),
    ],
)
def test_the_largest_pictures_that_are_read_stay_within_the_memory(
    format_name: str, mode: str, quality: str, tmp_path: Path
) -> None:
    bound = limits(StreamConfig(image_size=(64, 64), batch_size=8, max_memory=BOUND), 2)
    assert bound.decode_bytes is not None
    a_pixel = {"RGB": 18, "CMYK": 48, "RGBA": 45}[mode]  # the documented bytes, twice the file's
    side = int((bound.decode_bytes / a_pixel) ** 0.5)
    image = Image.fromarray(noise(side, side, 4 if mode == "RGBA" else 3)).convert(mode)
    options = {"WEBP": {"lossless": True, "method": 0}, "PNG": {"compress_level": 1}}
    content = saved(image, tmp_path, format_name, **options.get(format_name, {}))
    peak, reasons = growth(tmp_path, content, quality=quality)
    assert reasons == []
    assert peak < BOUND / MB


@linux
def test_a_huge_file_that_is_no_picture_is_not_read_into_memory(tmp_path: Path) -> None:
    (tmp_path / "junk").touch()
    with (tmp_path / "junk").open("r+b") as file:
        file.truncate(300 * MB)  # a hole: it takes no place on the disk
    (tmp_path / "small.png").write_bytes(encode_png(noise(8, 8)))
    how = {"max_memory": BOUND}
    peak, reasons = measured(GROWTH, root=str(tmp_path), name="junk", count=2, how=how)
    assert len(reasons) == 1
    assert peak < BOUND / MB


@linux
@pytest.mark.parametrize(
    "num_threads",
    [
        0,
        2,
    ],
)
def test_large_batches_stay_within_the_least_memory(num_threads: int, tmp_path: Path) -> None:
    how = {"batch_size": 128, "image_size": (384, 384), "dtype": "uint8"}
    with pytest.raises(ValueError, match="at least") as caught:
        limits(config(max_memory=1, **how), num_threads)
    least = int(str(caught.value).split("at least ")[1].split(". Give")[0].replace(",", ""))
    settings = {**how, "num_threads": num_threads, "max_memory": least}
    peak, reasons = growth(tmp_path, encode_png(noise(384, 384, 1)), count=128, **settings)
    assert reasons == []
    assert peak < least / MB
