"""Are planted copies found among images that resemble each other, and is anything else?

Takes up to --count images below a folder, plants edited ones among them, and audits the lot for
copies: how many of each edit are found, with the right orientation, and every other pair that is
reported, to be looked at. A contact sheet of those pairs is written beside the figures.

    python benchmarks/copies_planted.py FOLDER [--count 5000] [--seed 0] [--json FILE] [--sheet PNG]

With --calibrate nothing is planted among others: the distributions are printed that the constants
of `data/auditing/copies` were chosen by, with edits other than the planted ones.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import polars as pl

from sightline.data.auditing.copies import VERDICTS_SCHEMA, Copies, find_copies, fingerprint
from sightline.data.auditing.copies.chunks import as_bits
from sightline.data.auditing.copies.confirming import similarity, view
from sightline.data.auditing.copies.screening import Screen
from sightline.data.auditing.copies.search import HashTable
from sightline.data.auditing.copies.variants import BY_HOW, SAME
from sightline.data.auditing.inspected import INSPECTED_SCHEMA
from sightline.data.auditing.inspecting import inspect
from sightline.data.images import IMAGE_EXTENSIONS, decode, encode_jpeg, load, resize
from sightline.records import Location, Manifest

Pixels = npt.NDArray[np.uint8]
Edit = Callable[[Pixels], bytes]
QUALITY = 90  # of edited pictures whose quality is not the edit
PERCENTILES = (0, 1, 2, 5, 50)


def _encoded(image: Pixels, quality: int = QUALITY) -> bytes:
    return encode_jpeg(np.ascontiguousarray(image), quality)


def _resized(image: Pixels, share: float) -> Pixels:
    height, width = (max(1, round(side * share)) for side in image.shape[:2])
    return resize(image, (height, width), quality="best")


def _cropped(image: Pixels, share: float) -> Pixels:
    """Cut this share of each side's length off at each of the four edges."""
    rows, columns = (max(1, round(side * share)) for side in image.shape[:2])
    return image[rows:-rows, columns:-columns]


def _cropped_corner(image: Pixels, share: float) -> Pixels:
    rows, columns = (max(1, round(side * share)) for side in image.shape[:2])
    return image[rows:, columns:]


PLANTED: dict[str, tuple[int, Edit | None]] = {
    "exact": (50, None),
    "quality 60": (50, lambda image: _encoded(image, 60)),
    "resized 70 %": (50, lambda image: _encoded(_resized(image, 0.7))),
    "cropped 3 %": (30, lambda image: _encoded(_cropped(image, 0.03))),
    "mirrored": (30, lambda image: _encoded(image[:, ::-1])),
}
CALIBRATION: dict[str, tuple[str, Edit]] = {
    "quality 50": ("same", lambda image: _encoded(image, 50)),
    "quality 75": ("same", lambda image: _encoded(image, 75)),
    "resized 60 %": ("same", lambda image: _encoded(_resized(image, 0.6))),
    "resized 85 %": ("same", lambda image: _encoded(_resized(image, 0.85))),
    "cropped 2 %": ("same", lambda image: _encoded(_cropped(image, 0.02))),
    "cropped 4 %": ("same", lambda image: _encoded(_cropped(image, 0.04))),
    "corner cropped 4 %": ("same", lambda image: _encoded(_cropped_corner(image, 0.04))),
    "mirrored": ("mirrored", lambda image: _encoded(image[:, ::-1])),
    "rotated 90": ("rotated 90", lambda image: _encoded(np.rot90(image))),
}


class Planted(NamedTuple):
    """One edited picture in a set: what was done, to which record, and which it became."""

    edit: str
    original: str
    copy: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("images", type=Path)
    parser.add_argument("--count", type=int, default=5000, help="images, planted ones included")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--calibrate", action="store_true")
    parser.add_argument("--plain", action="store_true", help="plant nothing")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--sheet", type=Path, help="where to write the pairs that were not planted")
    asked = parser.parse_args()
    files = images_below(asked.images)
    if asked.calibrate:
        calibrate(files)
        return
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        edits = {} if asked.plain else PLANTED
        planted = plant(files, root, edits, count=asked.count, seed=asked.seed)
        started = time.perf_counter()
        manifest, inspected = inspect_all(root, asked.workers)
        inspecting = time.perf_counter() - started
        judged = 0

        def on_done(number: int) -> None:
            nonlocal judged
            judged += number

        copies = find_copies(
            manifest,
            inspected,
            known=VERDICTS_SCHEMA.to_frame(),
            workers=asked.workers,
            on_done=on_done,
        )
        figures = {
            "machine": platform.platform(),
            "images": len(manifest),
            "inspecting seconds": round(inspecting, 1),
            "copies seconds": round(time.perf_counter() - started - inspecting, 1),
            "pairs judged": judged,
            "radius": copies.radius,
            "found": found(manifest, copies, planted),
            "pairs compared": len(manifest) * (len(manifest) - 1) // 2,
            "unbound": copies.unbound,
            "not planted": not_planted(copies, planted),
        }
        print(json.dumps(figures, indent=1))
        if asked.json:
            asked.json.write_text(json.dumps(figures, indent=1))
        if asked.sheet:
            write_sheet(asked.sheet, root, figures["not planted"])


def images_below(folder: Path) -> list[Path]:
    """Return the image files below a folder, sorted."""
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_EXTENSIONS)


def plant(
    files: Sequence[Path],
    root: Path,
    edits: dict[str, tuple[int, Edit | None]],
    *,
    count: int,
    seed: int,
) -> list[Planted]:
    """Write a set of `count` images at most below `root` and return what was planted in it."""
    rng = np.random.default_rng(seed)
    num_planted = sum(number for number, _ in edits.values())
    chosen = rng.permutation(len(files))[: count - num_planted]
    names = []
    for place, number in enumerate(chosen):
        names.append(f"{place:05d}_{files[number].name}")
        shutil.copyfile(files[number], root / names[-1])
    originals = iter(rng.permutation(len(names))[:num_planted])
    planted = []
    for edit, (number, change) in edits.items():
        for original in [names[next(originals)] for _ in range(number)]:
            copy = f"{rng.integers(10**5):05d}_{edit.split()[0]}_{Path(original).stem}.jpg"
            if change is None:
                shutil.copyfile(root / original, root / copy)
            else:
                (root / copy).write_bytes(change(load(root / original)))
            planted.append(Planted(edit, original, copy))
    return planted


def inspect_all(root: Path, workers: int) -> tuple[Manifest, pl.DataFrame]:
    """Return the manifest of the files in a folder, and their inspected table."""
    names = sorted(path.name for path in root.iterdir())

    def row(name: str) -> dict[str, object]:
        return inspect(Location(str(root / name), -1, -1, -1), name, max_megapixels=64)

    with ThreadPoolExecutor(workers) as pool:
        rows = list(pool.map(row, names))
    manifest = Manifest.make(root, {"record_id": names})
    return manifest, pl.DataFrame(rows, schema=INSPECTED_SCHEMA)


def found(manifest: Manifest, copies: Copies, planted: Sequence[Planted]) -> dict[str, Any]:
    """Return for each edit how many were found, and joined to their original as what."""
    ids = manifest.table["record_id"].to_list()
    near = dict(zip(ids, copies.near_group, strict=True))
    exact = dict(zip(ids, copies.copy_group, strict=True))
    hows = {(row[0], row[1]): row[3] for row in copies.pairs.iter_rows()}
    result: dict[str, Any] = {}
    for edit, original, copy in planted:
        about = result.setdefault(edit, {"planted": 0, "found": 0, "how": {}, "missed": []})
        groups = exact if edit == "exact" else near
        is_found = groups[original] is not None and groups[original] == groups[copy]
        about["planted"] += 1
        about["found"] += is_found
        if not is_found:
            about["missed"].append(original)
        how = hows.get((min(original, copy), max(original, copy)), "not a pair of its own")
        about["how"][how] = about["how"].get(how, 0) + 1
    return result


def not_planted(copies: Copies, planted: Sequence[Planted]) -> list[list[Any]]:
    """Return the pairs that were reported and are no planted copy with its original."""
    original = {copy: original for _, original, copy in planted}
    return [
        list(row)
        for row in copies.pairs.iter_rows()
        if original.get(row[0], row[0]) != original.get(row[1], row[1])
    ]


def write_sheet(path: Path, root: Path, pairs: Sequence[Sequence[Any]], columns: int = 5) -> None:
    """Write the pictures of pairs side by side as one PNG."""
    tiles = []
    for first, second, kind, how, alike in sorted(pairs, key=lambda pair: -pair[4]):
        both = [cv2.resize(load(root / name), (150, 112)) for name in (first, second)]
        tile = cv2.copyMakeBorder(np.hstack(both), 14, 2, 2, 2, cv2.BORDER_CONSTANT)
        text = f"{alike:.3f} {how} {kind}"
        cv2.putText(tile, text, (2, 10), cv2.FONT_HERSHEY_SIMPLEX, 0.36, (255, 255, 255))
        tiles.append(tile)
    if tiles:
        tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
        rows = [np.hstack(tiles[at : at + columns]) for at in range(0, len(tiles), columns)]
        cv2.imwrite(str(path), np.vstack(rows)[..., ::-1])


def calibrate(files: Sequence[Path], num_edited: int = 300, num_judged: int = 2000) -> None:
    """Print how far edited pictures are from their originals, and different pictures are."""
    with ThreadPoolExecutor(2) as pool:
        images = list(pool.map(lambda path: load(path, min_size=(512, 512)), files))
    prints = [fingerprint(_grey(image)) for image in images]
    hashes = np.array([number for number, _ in prints], np.uint64)
    thumbs = np.stack([_thumb(thumb) for _, thumb in prints])
    chosen = np.random.default_rng(1).permutation(len(images))[:num_edited]
    print(f"{len(images):,} images; of {len(chosen)} edited ones the percentiles {PERCENTILES}")
    for edit, (how, change) in CALIBRATION.items():
        distances, passed, alike = [], 0, []
        for number in chosen:
            changed = decode(change(images[number]))
            hashed, thumb = fingerprint(_grey(changed))
            upright = BY_HOW[how].apply(_grey(images[number]))
            before, _ = fingerprint(upright)
            distances.append((hashed ^ before).bit_count())
            screen = Screen(np.stack([thumbs[number], _thumb(thumb)]))
            passed += int(screen.passes(BY_HOW[how], np.array([0]), np.array([1]))[0])
            alike.append(similarity(view(upright), view(_grey(changed))))
        bits = np.percentile(distances, [50, 95, 99, 100])
        likeness = np.percentile(alike, PERCENTILES).round(3)
        within = [float(np.mean(np.array(distances) <= radius)) for radius in (8, 10, 12)]
        print(
            f"{edit:>20}: bits (50, 95, 99, 100 %) {bits}, within 8, 10, 12 {np.round(within, 3)}, "
            f"screen passed {passed / len(chosen):.3f}, similarity {likeness}"
        )
    _print_unplanted(images, hashes, thumbs, num_judged)


def _print_unplanted(
    images: Sequence[Pixels],
    hashes: npt.NDArray[np.uint64],
    thumbs: npt.NDArray[np.uint8],
    num_judged: int,
) -> None:
    skew = np.sort(np.abs(as_bits(hashes).mean(axis=0) - 0.5))
    print(f"bits are set this far from half the time: {skew[::9].round(2)}")
    count = len(hashes) * (len(hashes) - 1) // 2
    for radius in (4, 8, 12, 16):
        blocks = list(HashTable(hashes).pairs(SAME, radius, workers=2))
        first, second = (np.concatenate([block[side] for block in blocks]) for side in (0, 1))
        passed = np.flatnonzero(Screen(thumbs).passes(SAME, first, second))
        print(
            f"different files within {radius:2d} bits: {len(first):,} pairs "
            f"({len(first) / count:.1e} of all), {len(passed):,} pass the screen"
        )
    judged = np.random.default_rng(2).permutation(passed)[:num_judged]
    alike = np.array(
        [similarity(view(_grey(images[first[p]])), view(_grey(images[second[p]]))) for p in judged]
    )
    print(
        f"similarity of {len(alike):,} of them, deciles {np.percentile(alike, range(0, 101, 10))}"
    )
    print(f"histogram by 0.1: {np.histogram(alike, 10, (0, 1))[0]}")


def _grey(image: Pixels) -> Pixels:
    grey: Pixels = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return grey


def _thumb(content: bytes) -> Pixels:
    return np.frombuffer(content, np.uint8).reshape(16, 16)


if __name__ == "__main__":
    main()
