"""How long does the search for pairs of close hashes take, all orientations, and what memory?

Only the search of `data/auditing/copies`, as `find_copies` runs it: the same radii, turned copies
included. Hashes are uniform, or made to be hard: clusters, bits as real films have them, hashes
that thousands of pictures share. Each model is answered by a process of its own.

    python benchmarks/copies_search.py [--count 1000000] [--only uniform ...] [--films FOLDER]
                                       [--rounds 1] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from sightline.data.auditing.copies.cascade import RADIUS, TURNED_RADIUS, affordable
from sightline.data.auditing.copies.fingerprints import FREQUENCIES
from sightline.data.auditing.copies.search import HashTable
from sightline.data.auditing.copies.variants import SAME, SEARCHED
from sightline.data.images import IMAGE_EXTENSIONS, load

Hashes = npt.NDArray[np.uint64]
MB = 1e6


def uniform(count: int, rng: np.random.Generator) -> Hashes:
    return rng.integers(0, 1 << 64, count, dtype=np.uint64)


def flipped(hashes: Hashes, most: int, rng: np.random.Generator) -> Hashes:
    """Return the hashes with 0 to `most` of their bits flipped."""
    changed = hashes.copy()
    flips = rng.integers(0, most + 1, len(hashes))
    for flip in range(most):
        bit = rng.integers(0, 64, len(hashes)).astype(np.uint64)
        changed ^= np.where(flip < flips, np.uint64(1) << bit, np.uint64(0))
    return changed


def centres(count: int, rng: np.random.Generator) -> Hashes:
    """Return clusters of 100 around uniform centres."""
    return flipped(np.repeat(uniform(count // 100, rng), 100), 6, rng)


def repeated(count: int, rng: np.random.Generator) -> Hashes:
    """Return uniform hashes, ten of which stand for 1 % of the pictures each."""
    hashes = uniform(count, rng)
    hashes[: count // 10] = np.repeat(hashes[:10], count // 100)
    return hashes


def one_cluster(count: int, rng: np.random.Generator) -> Hashes:
    """Return uniform hashes, and 5 % of them within 6 bits of one."""
    hashes = uniform(count, rng)
    hashes[: count // 20] = flipped(np.repeat(hashes[:1], count // 20), 6, rng)
    return hashes


def films(count: int, rng: np.random.Generator, folder: Path) -> Hashes:
    """Return signs of coefficients with the mean and covariance that real pictures have."""
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_EXTENSIONS)
    spectra = []
    for path in paths[:2000]:
        grey = load(path, channels=1, min_size=(64, 64))[..., 0]
        small = cv2.resize(grey, (32, 32), interpolation=cv2.INTER_AREA)
        spectra.append(cv2.dct(small.astype(np.float32))[FREQUENCIES[:, 0], FREQUENCIES[:, 1]])
    mean, covariance = np.mean(spectra, axis=0), np.cov(np.array(spectra).T)
    hashes = np.empty(count, np.uint64)
    for begin in range(0, count, 100_000):
        part = hashes[begin : begin + 100_000]
        bits = rng.multivariate_normal(mean, covariance, len(part)) > 0
        packed = np.ascontiguousarray(np.packbits(bits, axis=1, bitorder="little"))
        part[:] = packed.view("<u8")[:, 0]
    return hashes


MODELS: dict[str, Callable[[int, np.random.Generator], Hashes]] = {
    "uniform": uniform,
    "centres": centres,
    "repeated": repeated,
    "one cluster": one_cluster,
}


def main() -> None:
    """Measure and print; or, called by itself, answer for one model."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", nargs="*", choices=[*MODELS, "films"])
    parser.add_argument("--films", type=Path, help="pictures whose statistics are taken")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    parser.add_argument("--answer", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.answer:
        print(json.dumps(answer(asked.answer, asked.count, asked.workers, asked.films)))
        return
    print(f"{platform.platform()}, Python {platform.python_version()}, numpy {version('numpy')}")
    print(f"{asked.count:,} hashes, {asked.workers} threads; upright and seven turned")
    figures = {}
    for model in asked.only or [*MODELS, *(["films"] if asked.films else [])]:
        command = [sys.executable, __file__, *sys.argv[1:], "--answer", model]
        rounds = [
            json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
            for _ in range(asked.rounds)
        ]
        figures[model] = rounds
        seconds = [one["seconds"] for one in rounds]
        print(
            f"{model:>12}: {statistics.median(seconds):6.1f} s ({min(seconds):.1f} to "
            f"{max(seconds):.1f}), {rounds[0]['pairs']:,} pairs within {rounds[0]['radius']}, "
            f"{max(one['peak'] for one in rounds) / MB:,.0f} MB at most "
            f"({rounds[0]['before'] / MB:,.0f} before)",
            flush=True,
        )
    if asked.json:
        asked.json.write_text(json.dumps(figures, indent=1))


def answer(model: str, count: int, workers: int, folder: Path | None) -> dict[str, object]:
    rng = np.random.default_rng(0)
    hashes = films(count, rng, folder) if model == "films" and folder else MODELS[model](count, rng)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    started = time.perf_counter()
    table = HashTable(hashes)
    turned = [variant for variant in SEARCHED if variant != SAME]
    radii = affordable(table, [SAME], RADIUS), affordable(table, turned, TURNED_RADIUS)
    pairs = 0
    for variant in SEARCHED:
        radius = radii[variant != SAME]
        pairs += sum(len(b.first) for b in table.pairs(variant, radius, workers=workers))
    return {
        "seconds": time.perf_counter() - started,
        "pairs": pairs,
        "radius": radii,
        "before": before,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


if __name__ == "__main__":
    main()
