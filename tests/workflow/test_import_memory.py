"""The memory of the program that opens a model from elsewhere: its own, not its libraries'."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import sightline as sl
from sightline.errors import DataError
from sightline.learning.models import backend
from sightline.workflow import importing

backend.choose()

import keras  # noqa: E402
from keras import layers  # noqa: E402

LIMITED = """
import mmap
from sightline.learning.models import opening
opening._limit_memory(1 << 30, 1 << 30)
own = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
mmap.mmap(-1, 4 << 30, flags=own, prot=mmap.PROT_READ)
print("libraries are mapped")
mmap.mmap(-1, 4 << 30, flags=own)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="macOS limits no memory")
def test_libraries_are_no_memory_of_the_limited_program() -> None:
    done = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, text=True)
    assert done.stdout == "libraries are mapped\n"
    assert "Cannot allocate memory" in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="macOS limits no memory")
def test_a_model_that_asks_for_far_more_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = keras.Input((8, 8, 3))
    x = layers.UpSampling2D(1024)(inputs)  # 1.5 GiB for the two images that it is tried on
    for _ in range(13):
        x = layers.ReLU()(x)
    outputs = layers.Dense(1, activation="sigmoid")(layers.GlobalAveragePooling2D()(x))
    keras.Model(inputs, outputs).save(tmp_path / "m.keras")
    monkeypatch.setattr(importing, "_MEMORY", 3 << 30)
    with pytest.raises(DataError, match=r"more than the 3 GiB of memory|needs more memory"):
        sl.import_model(
            tmp_path / "m.keras",
            classes=("light", "dark"),
            scaling="1/255",
            out=tmp_path / "run",
            progress=sl.Silent(),
        )
    assert not (tmp_path / "run").exists()
