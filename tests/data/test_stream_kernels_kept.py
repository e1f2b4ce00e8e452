"""Machine code that is kept on disk: damaged, or with nowhere to be kept."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

WARP = """
import warnings
import numpy as np
from sightline.data.stream.augment import no_changes
from sightline.data.stream.kernels import Output, make_kernel

with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    kernel = make_kernel(Output(size=(2, 2), channels=1, dtype="uint8", scale=(2,), offset=(1,)))
place, out = np.zeros(1, np.int64), np.zeros((1, 2, 2, 1), np.uint8)
kernel(np.arange(4, dtype=np.uint8).reshape(1, 2, 2, 1), place, place, no_changes(1), out)
print(out.ravel().tolist(), len(told), *(each.message for each in told))
"""
NOWHERE = """
import numba.core.caching as caching
for name, kind in vars(caching).items():
    if isinstance(kind, type) and issubclass(kind, caching._CacheLocator):
        if name != "UserProvidedCacheLocator":
            kind.from_function = classmethod(lambda *_: None)
"""
RIGHT = "[1, 3, 5, 7]"


def run(program: str, **environment: str | Path) -> str:
    """Return what a process of its own prints, without the folder it was given by the tests."""
    kept = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    kept |= {name: str(value) for name, value in environment.items()}
    ended = subprocess.run(
        [sys.executable, "-c", program], env=kept, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


@pytest.mark.slow
def test_damaged_machine_code_is_made_anew_and_named(tmp_path: Path) -> None:
    assert run(WARP, NUMBA_CACHE_DIR=tmp_path) == f"{RIGHT} 0"
    kept = [*tmp_path.rglob("*.nbc"), *tmp_path.rglob("*.nbi")]
    assert kept
    for path in kept:
        path.write_bytes(b"\x80\x05cnowhere\nnothing\n.")
    found = run(WARP, NUMBA_CACHE_DIR=tmp_path, TMPDIR=tmp_path)
    assert found.startswith(f"{RIGHT} 1 ")
    assert f"could not be loaded from {kept[0].parent}" in found
    assert "delete the files compiled.*" in found
    assert not list(tmp_path.glob("sightline-kernels-*"))


def test_without_any_place_for_machine_code_it_is_made_for_the_process(tmp_path: Path) -> None:
    assert run(NOWHERE + WARP, TMPDIR=tmp_path) == f"{RIGHT} 0"
    assert not list(tmp_path.glob("sightline-kernels-*"))
