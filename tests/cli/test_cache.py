"""`sightline cache`: what is kept between runs, listed and emptied."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from sightline.cli.app import app
from sightline.data.stream.cache import CacheKey, PixelCache

KEY = CacheKey(
    index_fingerprint="of these files",
    num_rows=1200,
    image_size=(20, 30),
    channels=3,
    quality="fast",
    interpolation="bilinear",
    crop_to_aspect_ratio=False,
    rule_set="sightline",
    background=(255, 255, 255),
    resize_version=1,
)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SIGHTLINE_CACHE", str(tmp_path / "kept"))
    return tmp_path / "kept"


@pytest.fixture
def cache(root: Path) -> Iterator[PixelCache]:
    """A cache of 1200 rows with 2 of them, open."""
    cache = PixelCache.open(root, KEY, images_root="[b]photos")
    assert cache is not None
    for row in (3, 4):
        cache.write(row, np.full((20, 30, 3), row, np.uint8))
    yield cache
    cache.close()


def run_cli(*words: str) -> Any:
    return CliRunner().invoke(app, ["cache", *words])


def shown(*words: str) -> str:
    done = run_cli(*words)
    assert done.exit_code == 0, done.output
    return done.stdout


def without_rights(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a user who may not look into the folder."""
    program = (
        "import os, sys; from sightline.cli.app import app\n"
        "if os.geteuid() == 0: os.seteuid(65534)\n"
        f"app({['cache', *words]})"
    )
    (root / "decoded").chmod(0)
    try:
        return subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=False
        )
    finally:
        (root / "decoded").chmod(0o755)


def test_a_list_of_nothing_says_where_it_looked(root: Path) -> None:
    assert shown() == f"No decoded images are kept in {root}.\n"


def test_a_list_of_nothing_speaks_json(root: Path) -> None:
    assert json.loads(shown("--json")) == {
        "folder": str(root), "bytes": 0, "max_bytes": 50_000_000_000, "caches": [],
    }  # fmt: skip


def test_the_list_shows_images_size_rows_bytes_and_use(cache: PixelCache, root: Path) -> None:
    os.utime(cache.folder / "used", (0, 1_800_000_000))
    header, row, _, total, advice = shown().splitlines()
    assert header.split() == ["images", "size", "rows", "filled", "on", "disk", "last", "used"]
    words = row.split()
    assert words[:5] == ["[b]photos", "20x30x3", "2", "/", "1,200"]
    assert words[6] == "kB"
    assert words[7].startswith("2027-01-1")
    assert words[9:] == ["in", "use"]
    assert total.endswith(f" kB of at most 50.0 GB in {root}")
    assert advice == "Empty it: sightline cache --clear"


def test_the_list_speaks_json(cache: PixelCache) -> None:
    (listed,) = json.loads(shown("--json"))["caches"]
    assert listed["path"] == str(cache.folder)
    assert (listed["shape"], listed["rows"], listed["filled"]) == ([20, 30, 3], 1200, 2)
    assert (listed["images"], listed["quality"], listed["in_use"]) == ("[b]photos", "fast", True)


def test_the_list_shows_what_it_can_of_a_damaged_cache(cache: PixelCache) -> None:
    cache.close()
    (cache.folder / "about.json").write_text("{")
    (cache.folder / "sums.u64").unlink()
    _, row, *_ = shown().splitlines()
    assert row.split()[:5] == [str(cache.folder), "-", "-", "/", "-"]


def test_clear_empties_it(cache: PixelCache) -> None:
    cache.close()
    assert shown("--clear").startswith("Removed 1 cache: ")
    assert not cache.folder.exists()


def test_clear_keeps_what_is_in_use_and_says_so(cache: PixelCache) -> None:
    first, second = shown("--clear").splitlines()
    assert first == "Removed 0 caches: 0.0 kB."
    assert second == "Kept, a process is using it: [b]photos"
    assert cache.present(np.arange(5)).tolist() == [False, False, False, True, True]


def test_clear_speaks_json(cache: PixelCache) -> None:
    kept = json.loads(shown("--clear", "--json"))
    assert kept == {"removed": [], "in_use": [str(cache.folder)], "bytes": 0}
    cache.close()
    gone = json.loads(shown("--clear", "--json"))
    assert (gone["removed"], gone["in_use"]) == ([str(cache.folder)], [])


@pytest.mark.parametrize("words", [[], ["--clear"]])
def test_a_folder_without_permission_is_one_plain_message(
    words: list[str], cache: PixelCache, root: Path
) -> None:
    done = without_rights(root, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Permission denied" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_cache_that_cannot_be_removed_is_named(cache: PixelCache, root: Path) -> None:
    cache.close()
    (cache.folder / "used").unlink()
    (cache.folder / "used").mkdir()
    done = run_cli("--clear")
    assert done.exit_code == 2
    assert f"cannot use {cache.folder}/used: Is a directory" in done.stderr
