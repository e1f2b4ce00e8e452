"""What each odd file gets, from the audit, from a stream and from predictions alike."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
from crafted_files import OK, write_crafted
from odd_outcomes import OUTCOMES, odd_folder

import sightline as sl
from sightline.data.auditing.children import inspect_all
from sightline.data.auditing.inspecting import inspect
from sightline.data.stream import Stream, StreamConfig
from sightline.errors import DataError
from sightline.records import Location, Manifest
from sightline.workflow.predicting import predictions_of

_MAX_BYTES = 1_000_000_000

# Looks at every name in a file, and says what the tables and the memory of all processes were.
_MEASURED = """
import json, os, sys, threading, time
from pathlib import Path
from sightline.data.auditing.children import inspect_all
from sightline.records import Manifest

def taken(pid):
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))

def children():
    return Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()

peak, over = 0, threading.Event()

def watch():
    global peak
    while not over.is_set():
        total = 0
        for pid in [os.getpid(), *children()]:
            try:
                total += taken(pid)
            except OSError:
                pass  # it has ended meanwhile
        peak = max(peak, total)
        time.sleep(0.002)

names = json.loads(Path(sys.argv[2]).read_text())
manifest = Manifest.make(Path(sys.argv[1]), {"record_id": names})
watcher = threading.Thread(target=watch)
watcher.start()
try:
    table = inspect_all(manifest, range(len(manifest)), workers=2)
finally:
    over.set()
    watcher.join()
print(json.dumps({"peak": peak, "rows": table.select("record_id", "status", "reason").rows()}))
"""


@pytest.fixture(scope="module")
def crafted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    folder = tmp_path_factory.mktemp("crafted") / "files"
    folder.mkdir()
    return folder, write_crafted(folder)


def manifest_of(folder: Path, names: list[str]) -> Manifest:
    return Manifest.make(folder, {"record_id": names, "split": ["test"] * len(names)})


def reasons(table: pl.DataFrame) -> dict[str, str]:
    """Return each record's reason to be refused, or "ok"."""
    refused = pl.col("reason").is_not_null()
    if "status" in table.columns:
        refused = pl.col("status") == "quarantined"
    found = table.select("record_id", pl.when(refused).then("reason").otherwise(pl.lit(OK)))
    return dict(found.iter_rows())


def as_refusals(outcomes: dict[str, str]) -> dict[str, str]:
    """Return outcomes without notes: files that have some are usable."""
    codes = {
        "EMPTY", "TRUNCATED", "CORRUPT_SCAN", "BAD_CRC", "NOT_AN_IMAGE", "TOO_LARGE",
        "UNSUPPORTED_DEPTH", "MISSING", "NOT_A_FILE", "UNREADABLE",
    }  # fmt: skip
    return {name: outcome if outcome in codes else OK for name, outcome in outcomes.items()}


def streamed(manifest: Manifest, *, quality: str = "fast") -> dict[str, str]:
    lenient = {"max_fault_share": 1.0, "max_faults": len(manifest)}
    config = StreamConfig(image_size=(16, 16), batch_size=8, quality=quality, **lenient)
    with Stream(manifest, split="test", config=config) as stream:
        for _ in stream.epoch(0):
            pass
        faults = {fault.record_id: fault.reason for fault in stream.faults.values()}
    return {name: faults.get(name, OK) for name in manifest.table["record_id"]}


def predicted(run: sl.Run, manifest: Manifest) -> dict[str, str]:
    parts = predictions_of(run, manifest, None, "best", sl.Silent())
    return reasons(pl.concat([part.table for part in parts]))


def noted(outcome: str) -> str:
    """Return the codes of an entry of OUTCOMES, "ok" without any."""
    if outcome.isupper() and " " not in outcome:
        return outcome
    return outcome.partition(" (")[2].removesuffix(")") or OK


def test_every_odd_file_gets_its_outcome_and_notes() -> None:
    manifest = manifest_of(odd_folder(), list(OUTCOMES))
    table = inspect_all(manifest, range(len(manifest)), workers=2)
    found = {name: reason or OK for name, reason in table.select("record_id", "reason").iter_rows()}
    assert found == {name: noted(outcome) for name, outcome in OUTCOMES.items()}
    assert table["sha256"].null_count() == 0


@pytest.mark.parametrize("quality", ["fast", "best"])
def test_a_stream_refuses_the_odd_files_that_the_audit_does(quality: str) -> None:
    manifest = manifest_of(odd_folder(), list(OUTCOMES))
    expected = as_refusals({name: noted(outcome) for name, outcome in OUTCOMES.items()})
    assert streamed(manifest, quality=quality) == expected


def test_predictions_refuse_the_odd_files_that_the_audit_does(trained: sl.Run) -> None:
    manifest = manifest_of(odd_folder(), list(OUTCOMES))
    expected = as_refusals({name: noted(outcome) for name, outcome in OUTCOMES.items()})
    assert predicted(trained, manifest) == expected


def test_every_crafted_file_gets_its_outcome_within_a_gigabyte(
    crafted: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    folder, outcomes = crafted
    assert len(outcomes) >= 60
    names = tmp_path / "names.json"
    names.write_text(json.dumps(list(outcomes)))
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", _MEASURED, str(folder), str(names)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    found = {name: reason or OK for name, _, reason in said["rows"]}
    assert found == outcomes
    taken = time.monotonic() - began
    sys.stdout.write(f"{len(found)} files, peak {said['peak'] / 1e6:.0f} MB, {taken:.1f} s\n")
    assert said["peak"] <= _MAX_BYTES


def test_a_stream_refuses_the_crafted_files_that_the_audit_does(
    crafted: tuple[Path, dict[str, str]],
) -> None:
    folder, outcomes = crafted
    assert streamed(manifest_of(folder, list(outcomes))) == as_refusals(outcomes)


def test_predictions_refuse_the_crafted_files_that_the_audit_does(
    crafted: tuple[Path, dict[str, str]], trained: sl.Run
) -> None:
    folder, outcomes = crafted
    assert predicted(trained, manifest_of(folder, list(outcomes))) == as_refusals(outcomes)


def test_a_scan_passes_over_what_is_no_file_and_counts_it(tmp_path: Path) -> None:
    folder = tmp_path / "set" / "class"
    folder.mkdir(parents=True)
    (folder.parent / "other").mkdir()
    outcomes = write_crafted(folder)
    (folder / "outside.png").unlink()
    (folder.parent / "outside.png").unlink()
    shutil.copy(folder / "plain.png", folder.parent / "other" / "a.png")
    (folder / b"\xff.png".decode("utf-8", "surrogateescape")).write_bytes(b"")
    manifest = sl.scan(folder.parent)
    listed = {Path(name).name for name in manifest.table["record_id"]}
    assert not listed & {"fifo.jpg", "socket.jpg", "loop.jpg", "dangling.jpg", "folder.jpg"}
    assert {"new\nline.png", "quote\"'.png", "<img src=x onerror=alert(1)>.png"} <= listed
    # fifo and socket; the file "no extension"; loop.jpg and dangling.jpg
    assert sum(manifest.ignored.values()) >= 5
    assert manifest.ignored["name is not UTF-8"] == 1
    assert manifest.ignored["not a regular file"] >= 2
    table = inspect_all(manifest, range(len(manifest)), workers=2)
    found = {Path(name).name: reason for name, reason in reasons(table).items()}
    assert {name: found[name] for name in listed - {"a.png"}} == {
        name: as_refusals(outcomes)[name] for name in listed - {"a.png"}
    }


def test_a_link_out_of_the_root_is_not_followed_by_a_scan(tmp_path: Path) -> None:
    folder = tmp_path / "set" / "class"
    folder.mkdir(parents=True)
    outside = tmp_path / "outside.png"
    outside.write_bytes(b"")
    (folder / "link.png").symlink_to(outside)
    with pytest.raises(DataError, match="follow_links"):
        sl.scan(folder.parent)


def test_a_name_that_is_no_text_is_read(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/\xff\n.png"
    with open(path, "wb") as file:  # noqa: PTH123 - a name of bytes
        file.write(b"")
    row = inspect(Location(os.fsdecode(path), -1, -1, -1), "x.png", max_megapixels=64)
    assert (row["status"], row["reason"], row["bytes"]) == ("quarantined", "EMPTY", 0)
