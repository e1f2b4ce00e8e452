"""Maps of a trained network lie on the object that was planted: at least 80 % of their peaks."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from planted_objects import CLASSES, Box, is_inside, planted, write_planted

import sightline as sl

LEAST = 0.8


def test_peaks_of_a_network_that_sees_colours_lie_on_the_object() -> None:
    """The quick proof: its weights are written down, so nothing is trained."""
    from sightline.learning.models import backend

    backend.choose()
    import keras
    from keras import layers

    from sightline.learning.explanation import METHODS, Probe

    model = keras.Sequential(
        [
            keras.Input((48, 48, 3)),
            layers.AveragePooling2D(4, strides=2),
            layers.Conv2D(2, 1, activation="relu"),  # what is more blue, or red, than anything
            layers.GlobalAveragePooling2D(),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    blue_and_red = np.array([[-1.0, 1.0], [-1.0, -1.0], [1.0, -1.0]])
    model.set_weights(
        [blue_and_red[None, None], np.zeros(2), np.array([[-9.0], [9.0]]), np.zeros(1)]
    )
    probe, rng = Probe.of(model, (48, 48, 3)), np.random.default_rng(0)
    names = [CLASSES[number % 2] for number in range(40)]
    drawn = [planted(rng, name) for name in names]
    images = np.stack([pixels for pixels, _ in drawn]).astype(np.float32) / 255
    targets = np.array([CLASSES.index(name) for name in names])
    for method in ("gradcam", "gradcam++", "occlusion"):
        maps = METHODS[method](probe, images, targets, None).maps
        peaks = [np.unravel_index(each.argmax(), each.shape) for each in maps]
        inside = [is_inside(peak, place) for peak, (_, place) in zip(peaks, drawn, strict=True)]
        assert np.mean(inside) >= LEAST, method


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> tuple[sl.Run, Path, Mapping[str, Box]]:
    """A trained run, 120 images that it has never seen, and where their objects are."""
    folder = tmp_path_factory.mktemp("planted")
    write_planted(folder / "data" / "train", 200, seed=0)
    write_planted(folder / "data" / "val", 40, seed=1)
    held_out = write_planted(folder / "new", 60, seed=2)
    changes: dict[str, Any] = {
        "train.epochs": 10, "train.batch_size": 32, "data.image_size": [48, 48], "model.width": 8,
        "data.test": 0,
    }  # fmt: skip
    run = sl.train(
        folder / "data", recipe="basic", changes=changes, out=folder / "run", only_train=True,
        progress=sl.Silent(),
    )  # fmt: skip
    return run, folder / "new", held_out


@pytest.mark.slow
@pytest.mark.parametrize("method", ["gradcam", "gradcam++", "occlusion", "integrated-gradients"])
def test_peaks_of_a_trained_network_lie_on_the_object(
    places: tuple[sl.Run, Path, Mapping[str, Box]], tmp_path: Path, method: Any
) -> None:
    run, folder, held_out = places
    found = sl.explain(run, folder, out=tmp_path / "out", method=method, progress=sl.Silent())
    right = [each for each in found.explanations if each.record_id.startswith(each.class_name)]
    assert len(right) >= 0.9 * len(held_out)
    inside = [is_inside(each.peak(), held_out[each.record_id]) for each in found.explanations]
    sys.stderr.write(f"{method}: {np.mean(inside):.0%} of {len(inside)} peaks on the object\n")
    assert len(inside) >= 100
    assert np.mean(inside) >= LEAST
    assert found.sanity is not None
    assert found.sanity.passed
