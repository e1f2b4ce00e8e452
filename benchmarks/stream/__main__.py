"""Run the benchmark: everyone on the same files in turns, printed, and as JSON.

    python -m benchmarks.stream --data FOLDER --json stream.json

FOLDER holds chest_xray, chest_xray_original_sample and ham10000_csv; without it only the
generated set runs. Run it on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from benchmarks.stream import page, sets, targets
from benchmarks.stream.contenders import CONTENDERS
from benchmarks.stream.driver import Race
from benchmarks.stream.machine import describe

# The share of the time that each race gets.
SHARES = {"S": 0.28, "S-plain": 0.10, "H": 0.25, "X": 0.22, "HAM": 0.15}


def main() -> None:
    """Measure, print, write JSON."""
    asked = _ask()
    began = time.monotonic()
    threads = len(os.sched_getaffinity(0))
    report: dict[str, Any] = {"machine": describe(), "threads": threads, "races": {}}
    for line in page.machine_lines(report):
        print(line, flush=True)
    for place in (asked.sheets, asked.json and asked.json.parent):
        if place:
            place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=asked.scratch, prefix="bench-stream-") as scratch:
        for name in asked.races:
            share = SHARES[name] / sum(SHARES[one] for one in asked.races)
            left = asked.minutes * 60 * share
            race = _run(name, asked, Path(scratch), left, threads)
            report["races"][name] = race
            print(*page.race_lines(race), sep="\n", flush=True)
    report["minutes"] = (time.monotonic() - began) / 60
    report["verdicts"] = [
        asdict(verdict)
        for name, race in report["races"].items()
        for verdict in targets.verdicts(name, race["results"], threads)
    ]
    print(*page.verdict_lines(report["verdicts"]), sep="\n")
    print(f"{report['minutes']:.1f} minutes")
    if asked.json:
        asked.json.write_text(json.dumps(report, indent=1) + "\n")


def _ask() -> argparse.Namespace:
    names = [one.name for one in CONTENDERS]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stream", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--data", type=Path, help="folder of the real sets")
    parser.add_argument("--races", nargs="+", choices=SHARES, default=list(SHARES))
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME")
    parser.add_argument("--images", type=int, help="take so many of each set")
    parser.add_argument("--minutes", type=float, default=23.0, help="for everything")
    parser.add_argument("--rounds", type=int, default=3, help="steady rounds, at the least")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--sheets", type=Path, help="write one batch of each here, as a picture")
    parser.add_argument("--scratch", type=Path, help="for copies and caches; default: temporary")
    return parser.parse_args()


def _run(
    name: str, asked: argparse.Namespace, scratch: Path, seconds: float, threads: int
) -> dict[str, Any]:
    """Return one race as JSON: the set, and every contender's figures."""
    began = time.monotonic()
    set_name, _, plain = name.partition("-")
    one = sets.SETS[set_name]
    if asked.images:
        one = replace(one, images=asked.images)
    about = {"name": name, "title": one.title, "images": one.images, "augment": not plain}
    folder = scratch / set_name
    missing = "" if folder.exists() else sets.prepare(one, asked.data, folder)
    if missing:
        return {**about, "not_run": missing, "load": os.getloadavg()[0], "results": {}}
    files = [path.stat().st_size for path in folder.rglob("*.*")]
    load = os.getloadavg()[0]
    sheets = asked.sheets / name if asked.sheets else None
    if sheets:
        sheets.mkdir(exist_ok=True)
    race = Race(
        folder=folder,
        images=one.images,
        scratch=scratch / f"race-{name}",
        contenders=[
            contender
            for contender in CONTENDERS
            if contender.name in asked.only and (contender.plain or not plain)
        ],
        augment=not plain,
        threads=threads,
        seconds=seconds - (time.monotonic() - began),
        least_rounds=asked.rounds,
        sheets=sheets,
    )
    results = {key: asdict(result) for key, result in race.run().items()}
    about["kilobytes"] = sum(files) / len(files) / 1e3
    return {**about, "not_run": "", "load": load, "results": results}


if __name__ == "__main__":
    main()
