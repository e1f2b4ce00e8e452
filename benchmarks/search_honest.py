"""Does a search keep changes that do nothing, and does it find one that helps? On real trainings.

    python -m benchmarks.search_honest --data FOLDER --out DIR [--shuffled 6] [--helped 4]

shuffled    searches on chest X-rays whose labels were dealt out at random: nothing can help
helped      searches on generated images with a learning rate so low that three times as much helps
            by about twice the noise of a pair; how low, is measured first, on another such set

The searches are those of `sightline tune`, one processor each: the shuffled ones without a limit,
the others with at most 80 trainings, as networks that learn well can always be made larger.
Thousands of simulated ones are in tests/search, under the same thresholds.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import sightline as sl
from sightline.records.trials import TrialSpec
from sightline.workflow.auditing import audit
from sightline.workflow.training import planned
from sightline.workflow.trials import Trials

_SHUFFLED = {"data.image_size": [24, 24], "train.epochs": 4}
_HELPED = {"data.image_size": [16, 16], "model.width": 8, "train.epochs": 4, "train.batch_size": 16}
_RATES = (5e-5, 1e-4, 2e-4, 3e-4, 5e-4)
_PAIRS = 8
_IMAGES = 400
_MOST = 80  # trainings of a search that something helps


def main() -> None:
    """Measure what is not measured yet, print the counts."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search_honest", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--data", type=Path, required=True, help="folder of the real sets")
    parser.add_argument("--out", type=Path, required=True, help="where searches are kept")
    parser.add_argument("--shuffled", type=int, default=6)
    parser.add_argument("--helped", type=int, default=4)
    asked = parser.parse_args()
    os.environ.setdefault("SIGHTLINE_CACHE", str(asked.out / "cache"))
    shuffled = {
        asked.out / f"shuffled-{seed}": [str(_dealt(asked, seed)), *_changes(_SHUFFLED)]
        for seed in range(asked.shuffled)
    }
    kept = [_kept(folder) for folder in _searched(shuffled)]
    print(f"shuffled labels: {sum(map(bool, kept))} of {len(kept)} searches kept a change")
    if not asked.helped:
        return
    rate, gain = _calibrated(asked.out)
    settings = {**_HELPED, "train.learning_rate": rate}
    print(f"learning rate {rate:g}: three times as much helps by {gain:.2f} x the noise of a pair")
    limited = ["--trials", f"{_MOST}", *_changes(settings)]
    helped = {
        asked.out / f"helped-{seed}": [
            str(_blobs(asked.out / f"blobs-{seed}", 100 + seed)),
            *limited,
        ]
        for seed in range(asked.helped)
    }
    kept = [_kept(folder) for folder in _searched(helped)]
    found = [each.get("train.learning_rate", 0.0) > rate for each in kept]
    print(f"a change that helps: {sum(found)} of {len(found)} searches kept it", *kept, sep="\n  ")


def _dealt(asked: argparse.Namespace, seed: int) -> Path:
    """Return a folder of chest X-rays, its labels dealt out at random."""
    folder = Path(asked.out / f"dealt-{seed}")
    if folder.exists():
        return folder
    draw = np.random.default_rng(seed)
    images = sorted((asked.data / "chest_xray" / "train").glob("*/*"))
    chosen = [images[place] for place in sorted(draw.permutation(len(images))[:_IMAGES])]
    labels = draw.permutation([image.parent.name for image in chosen])
    for image, label in zip(chosen, labels, strict=True):
        (folder / label).mkdir(parents=True, exist_ok=True)
        (folder / label / image.name).write_bytes(image.read_bytes())
    return folder


def _blobs(folder: Path, seed: int) -> Path:
    """Return a folder of noisy images of small and of large blobs."""
    if folder.exists():
        return folder
    draw = np.random.default_rng(seed)
    y, x = np.mgrid[:16, :16]
    for label, radius in (("small", 2.0), ("large", 3.0)):
        (folder / label).mkdir(parents=True)
        for number in range(_IMAGES // 2):
            middle = draw.uniform(4, 12, 2)
            away = np.hypot(y - middle[0], x - middle[1])
            pixels = 90 + 60 * (away < radius) + draw.normal(0, 25, (16, 16))
            image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
            image.save(folder / label / f"{number:03}.png")
    return folder


def _calibrated(out: Path) -> tuple[float, float]:
    """Return the rate of which three times as much helps by about twice the noise of a pair."""
    path = out / "calibrated.json"
    if not path.exists():
        found = {rate: _gain(out, rate) for rate in _RATES}
        path.write_text(json.dumps(found) + "\n")
    known = {float(rate): gain for rate, gain in json.loads(path.read_text()).items()}
    print("gain over noise by rate:", {rate: round(gain, 2) for rate, gain in known.items()})
    rate = min(known, key=lambda each: abs(known[each] - 2.0))
    return rate, known[rate]


def _gain(out: Path, rate: float) -> float:
    """Return what three times a rate gains, over the noise of one pair."""
    recipe = sl.load_recipe("basic", {**_HELPED, "train.learning_rate": rate})
    quiet = sl.Silent()
    audited = audit(sl.scan(_blobs(out / "blobs-to-calibrate", 99)), progress=quiet)
    plan = planned(audited, recipe, None, cached=True, allow_leak=False)
    trials = Trials(out / f"calibrated-{rate:g}", plan, audited)
    higher = {"train.learning_rate": float(f"{3 * rate:.2g}")}
    gains = []
    for pair in range(_PAIRS):
        before, after = (
            trials.now(TrialSpec(each, pair, pair)) for each in ({}, higher)
        )  # fmt: skip
        assert before.value is not None
        assert after.value is not None
        gains.append(before.value - after.value)
    return float(np.mean(gains) / np.std(gains, ddof=1))


def _changes(settings: Mapping[str, Any]) -> list[str]:
    return [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]


def _searched(wanted: Mapping[Path, Sequence[str]]) -> Iterable[Path]:
    """Search what is not searched yet, a search on each processor; return the folders.

    Args:
        wanted: What `sightline tune` is told, by folder.
    """
    cores = sorted(os.sched_getaffinity(0))
    missing = [folder for folder in wanted if not (folder / "tune.html").exists()]
    for begin in range(0, len(missing), len(cores)):
        started = []
        for folder, core in zip(missing[begin : begin + len(cores)], cores, strict=False):
            command = ["tune", "--resume", str(folder)]
            if not (folder / "search.json").exists():
                command = ["tune", *wanted[folder], "--out", str(folder)]
            log = folder.with_suffix(".log").open("ab")
            process = subprocess.Popen(
                [sys.executable, "-m", "sightline", *command], stdout=log, stderr=log
            )
            os.sched_setaffinity(process.pid, {core})
            started.append((folder, process))
        for folder, process in started:
            if code := process.wait():
                raise SystemExit(f"{folder} ended with {code}: {folder.with_suffix('.log')}")
            print(f"{folder.name}: kept {_kept(folder) or 'nothing'}", flush=True)
    return list(wanted)


def _kept(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "tuning.json").read_text())["changes"])


if __name__ == "__main__":
    main()
