"""How fast is the decode pass of an audit beside bare decoding, and how much damage does it see?

Bare decoding is `images.load` in plain processes, as many as the pass has children, over the same
files. Both take turns; the page cache is warm. The pass is measured with what it takes to start
its children, and without. Damage: 40 bytes of each JPEG's scan are overwritten at random; the
share that is quarantined for it, and the share that an earlier sha256 catches.

    python -m benchmarks.audit_pass DATA... [--rounds 5] [--workers 2] [--damage 300] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
from benchmarks.stream.machine import describe

from sightline.data import images
from sightline.data.auditing.children import inspect_all
from sightline.records import Manifest

_DAMAGED_BYTES = 40
# Waits for a line, decodes its share, says how many seconds that took.
_BARE = """
import json, sys, time
from sightline.data import images
paths = json.loads(sys.stdin.readline())
print("ready", flush=True)
for line in sys.stdin:
    began = time.perf_counter()
    for path in paths:
        images.load(path)
    print(time.perf_counter() - began, flush=True)
"""


def main() -> None:
    """Measure, print, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path, nargs="+", help="folders of images")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--files", type=int, default=0, help="repeat the files up to so many")
    parser.add_argument("--damage", type=int, default=0, help="JPEGs to damage in each folder")
    parser.add_argument("--json", type=Path, help="write the figures here")
    asked = parser.parse_args()
    report: dict[str, Any] = {"machine": describe(), "sets": {}}
    for folder in asked.data:
        found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in images.IMAGE_EXTENSIONS)
        figures = {"speed": _speed(folder, found, asked)} if asked.rounds else {}
        if asked.damage:
            figures["damage"] = _damage(found, asked.damage)
        report["sets"][folder.name] = figures
        print(folder.name, json.dumps(figures, indent=1))
    if asked.json:
        asked.json.write_text(json.dumps(report, indent=1) + "\n")


def _speed(folder: Path, found: list[Path], asked: argparse.Namespace) -> dict[str, Any]:
    """Return files a second of bare decoding and of the pass, by round and in the median."""
    manifest = _manifest(folder, found)
    # A file may be asked for several times: then a small set shows the rate of a large one.
    count = max(len(found), asked.files)
    rows = [place % len(found) for place in range(count)]
    shares = [
        [str(found[row]) for row in rows[one :: asked.workers]] for one in range(asked.workers)
    ]
    bare = [_Bare(share) for share in shares]
    rounds = []
    for _ in range(asked.rounds):
        decoding = _decode(bare)
        began = time.perf_counter()
        inspect_all(manifest, rows[: asked.workers], workers=asked.workers)
        start = time.perf_counter() - began
        cpu, began = time.process_time(), time.perf_counter()
        inspect_all(manifest, rows, workers=asked.workers)
        whole = time.perf_counter() - began
        rounds.append(
            {
                "bare_s": decoding,
                "start_s": start,
                "pass_s": whole,
                "share": decoding / whole,
                "share_without_start": decoding / (whole - start),
                "parent_us_a_file": 1e6 * (time.process_time() - cpu) / count,
            }
        )
    for one in bare:
        one.end()
    median = {name: statistics.median(r[name] for r in rounds) for name in rounds[0]}
    rates = {name: count / median[name] for name in ("bare_s", "pass_s")}
    return {"files": count, "per_second": rates, "median": median, "rounds": rounds}


class _Bare:
    """A plain process that decodes its share of the files whenever it is asked."""

    def __init__(self, paths: list[str]) -> None:
        self._popen = subprocess.Popen(
            [sys.executable, "-c", _BARE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.ask(json.dumps(paths))
        self.hear()

    def ask(self, line: str = "") -> None:
        assert self._popen.stdin is not None
        self._popen.stdin.write(line + "\n")
        self._popen.stdin.flush()

    def hear(self) -> str:
        assert self._popen.stdout is not None
        return self._popen.stdout.readline()

    def end(self) -> None:
        self._popen.communicate()


def _decode(processes: list[_Bare]) -> float:
    """Return the seconds that the processes take together."""
    began = time.perf_counter()
    for one in processes:
        one.ask()
    for one in processes:
        one.hear()
    return time.perf_counter() - began


def _damage(found: list[Path], count: int) -> dict[str, Any]:
    """Return what becomes of JPEGs with bytes of their scan overwritten, apart or in one piece."""
    chosen = sorted(random.Random(0).sample(found, min(count, len(found))))
    sound = inspect_all(_manifest(Path("/"), chosen), range(len(chosen)), workers=2)
    sound = sound.filter((sound["status"] != "quarantined") & (sound["format"] == "JPEG"))
    earlier = dict(sound.select("record_id", "sha256").iter_rows())
    return {kind: _damaged(earlier, kind) for kind in ("apart", "in one piece")}


def _damaged(earlier: dict[str, str], kind: str) -> dict[str, Any]:
    """Return the shares that are caught without and with the sha256 of the sound files."""
    rng = random.Random(1)
    with tempfile.TemporaryDirectory() as scratch:
        copies = []
        for number, record_id in enumerate(earlier):
            content = bytearray((Path("/") / record_id).read_bytes())
            places = range(content.rfind(b"\xff\xda") + 14, len(content) - 2)
            begin = rng.choice(places[:-_DAMAGED_BYTES])
            piece = range(begin, begin + _DAMAGED_BYTES)
            for place in piece if kind != "apart" else rng.sample(places, _DAMAGED_BYTES):
                content[place] = rng.randrange(256)
            copies.append(Path(scratch) / f"{number:06d}.jpg")
            copies[-1].write_bytes(content)
        table = inspect_all(_manifest(Path(scratch), copies), range(len(copies)), workers=2)
    quarantined = table["status"] == "quarantined"
    changed = table["sha256"] != pl.Series(list(earlier.values()))
    return {
        "files": len(table),
        "quarantined": quarantined.mean(),
        "quarantined_or_another_sha256": (quarantined | changed).mean(),
        "outcomes": dict(Counter(table["reason"].fill_null("not seen").to_list())),
    }


def _manifest(root: Path, paths: list[Path]) -> Manifest:
    found = [path.stat() for path in paths]
    return Manifest.make(
        root,
        {
            "record_id": [path.relative_to(root).as_posix() for path in paths],
            "bytes": [one.st_size for one in found],
            "mtime_ns": [one.st_mtime_ns for one in found],
        },
    )


if __name__ == "__main__":
    main()
