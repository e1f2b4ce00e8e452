"""Maps are the same on every backend."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

HERE = Path(__file__).parent

pytestmark = pytest.mark.slow


def maps_on(backend: str, folder: Path) -> Mapping[str, Any]:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    out = folder / f"{backend}.npz"
    paths = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH", "")]))
    subprocess.run(
        [sys.executable, str(HERE / "explaining_elsewhere.py"), str(out)],
        env={**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": paths},
        check=True,
    )
    return dict(np.load(out))


@pytest.fixture(scope="module")
def on_tensorflow(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    return maps_on("tensorflow", tmp_path_factory.mktemp("maps"))


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_maps_are_those_of_tensorflow(
    backend: str, on_tensorflow: Mapping[str, Any], tmp_path: Path
) -> None:
    found = maps_on(backend, tmp_path)
    assert found.keys() == on_tensorflow.keys()
    for name, expected in on_tensorflow.items():
        apart = np.abs(found[name] - expected)
        if "integrated-gradients" in name:
            # A unit that is about to switch may do so a step earlier, which is 1/64 of its slope.
            assert np.mean(apart > 1e-4) < 0.01, name
            assert apart.mean() < 1e-4, name
        else:
            assert apart.max() <= 1e-4, name
    assert sum(maps.any() for maps in on_tensorflow.values()) > 0.8 * len(on_tensorflow)
