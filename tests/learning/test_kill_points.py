"""A training that dies at any of its operations on files ends as one that nobody killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny import write_splits

PROGRAM = Path(__file__).with_name("stub_training.py")


def tried(tmp_path: Path, kind: str, every: int) -> list[dict[str, Any]]:
    """Return what became of every n-th case of a kind, in a process of its own."""
    # Files in memory: a power cut is played, and a disk would only be slower.
    memory = Path("/dev/shm")
    place = memory / f"sightline-{os.getpid()}" if os.access(memory, os.W_OK) else tmp_path
    spec = {
        "images": str(write_splits(place / "images", {"cat": 18, "dog": 14}, {"cat": 8, "dog": 6})),
        "where": str(place / "work"),
        "told": str(tmp_path / "told.jsonl"),
        "kind": kind,
        "every": every,
    }
    (tmp_path / "spec.json").write_text(json.dumps(spec), "utf-8")
    try:
        done = subprocess.run(
            [sys.executable, PROGRAM, tmp_path / "spec.json"], capture_output=True, check=False
        )
    finally:
        if place != tmp_path:
            subprocess.run(["rm", "-rf", place], check=True)
    assert done.returncode == 0, done.stderr.decode()[-4000:]
    return [json.loads(line) for line in (tmp_path / "told.jsonl").read_text("utf-8").splitlines()]


def bad(cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [case for case in cases if case["problem"] or case["differing"]]


# With 1, every case: 743 kills, 171 of them in the middle of a write, and 1,144 power cuts.
@pytest.mark.parametrize("every", [193, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_at_any_operation_it_ends_as_if_it_had_not(every: int, tmp_path: Path) -> None:
    cases = tried(tmp_path, "kill", every)
    assert bad(cases) == []
    assert len(cases) * every > 1000
    assert every > 1 or len({case["case"]["number"] for case in cases}) >= 200


@pytest.mark.slow
@pytest.mark.parametrize("every", [197, 3])
def test_a_failing_disk_costs_no_checkpoint_and_ends_in_a_sentence(
    every: int, tmp_path: Path
) -> None:
    cases = tried(tmp_path, "fail", every)
    assert bad(cases) == []
    assert len(cases) * every > 1000
