"""Several devices: what they come to together is what one comes to, on two virtual processors."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import small_recipe

from sightline.learning.models import devices

SHARED = [
    "tensorflow",
    pytest.param(
        "jax",
        marks=pytest.mark.skipif(
            importlib.util.find_spec("jax") is None, reason="JAX is not installed"
        ),
    ),
]
PLAIN: dict[str, Any] = {
    "data.image_size": [12, 16],
    "data.channels": 3,
    "data.test": 0,
    "model.width": 4,
    "train.epochs": 2,
    "train.batch_size": 8,  # of 33 images: the last step has one, so one device has none
    "model.l2": 0.01,
    "train.label_smoothing": 0.1,
    "balance.class_weights": "balanced",
    "train.metrics": ["accuracy", "auc"],
}
NORMALISED = {
    "model.network": "residual",
    "model.width": 16,
    "model.stages": 1,
    "model.normalisation": "batch",
    "model.dropout": [0.0],
}
TIMES = ("crc", "seconds", "images_per_second", "memory_mb")


def trained(
    backend: str, pictures: Path, folder: Path, *more: str, **changes: Any
) -> dict[str, Any]:
    """Return what a training in a process of its own came to."""
    folder.mkdir()
    given = folder / "changes.json"
    given.write_text(json.dumps({**PLAIN, **changes}), "utf-8")
    program = Path(__file__).with_name("sharing.py")
    done = subprocess.run(
        [sys.executable, program, pictures, given, folder / "run", *more],
        env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
    )
    assert not done.returncode, done.stderr[-3000:]
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def figures(told: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the history without what the clock says."""
    return [
        {name: value for name, value in row.items() if not name.startswith(TIMES)}
        for row in told["history"]
    ]


def assert_close(one: dict[str, Any], two: dict[str, Any], rel: float = 1e-5) -> None:
    for row, other in zip(figures(one), figures(two), strict=True):
        assert other == pytest.approx(row, rel=rel)
    for name, weights in one["weights"].items():
        np.testing.assert_allclose(two["weights"][name], weights, rtol=1e-3, atol=rel)


@pytest.mark.slow
@pytest.mark.parametrize("backend", SHARED)
def test_two_devices_reach_what_one_reaches(backend: str, pictures: Path, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"train.optimizer": "adamw", "train.weight_average": 0.5}
    one = trained(backend, pictures, tmp_path / "one", **changes)
    two = trained(backend, pictures, tmp_path / "two", **changes, devices="all")
    assert (one["used"], two["used"]) == ([1], [2])
    assert (one["devices"], two["devices"]) == (["CPU:0"], ["CPU:0", "CPU:1"])
    assert_close(one, two)
    words = "On 2 devices (CPU:0, CPU:1): each step's batch of 8 is shared out, 4 images each."
    assert any(sentence.startswith(words) for sentence in two["plan"])


@pytest.mark.slow
@pytest.mark.parametrize("backend", SHARED)
def test_batch_normalisation_sees_the_whole_batch(
    backend: str, pictures: Path, tmp_path: Path
) -> None:
    changes = {**NORMALISED, "train.optimizer": "sgd"}
    changes["train.learning_rate"] = 0.01
    one = trained(backend, pictures, tmp_path / "one", **changes)
    two = trained(backend, pictures, tmp_path / "two", **changes, devices="all")
    assert_close(one, two, rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("backend", SHARED)
def test_a_shared_training_resumes_as_if_it_had_not_stopped(
    backend: str, pictures: Path, tmp_path: Path
) -> None:
    changes: dict[str, Any] = {"train.weight_average": 0.5, "devices": "all"}
    whole = trained(backend, pictures, tmp_path / "whole", **changes)
    stopped = trained(backend, pictures, tmp_path / "stopped", "resume", **changes)
    assert_close(whole, stopped, rel=1e-6)


@pytest.mark.slow
def test_a_model_of_a_strategy_of_ones_own_is_trained_alike(pictures: Path, tmp_path: Path) -> None:
    one = trained("tensorflow", pictures, tmp_path / "one", own="plain")
    two = trained("tensorflow", pictures, tmp_path / "two", own="strategy")
    assert (one["used"], two["used"]) == ([1], [2])
    assert_close(one, two)


@pytest.mark.slow
def test_a_strategy_of_ones_own_before_is_not_in_the_way(pictures: Path, tmp_path: Path) -> None:
    one = trained("tensorflow", pictures, tmp_path / "one")
    two = trained("tensorflow", pictures, tmp_path / "two", own="before", devices="all")
    assert (one["used"], two["used"]) == ([1], [2])
    assert_close(one, two)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("train.accumulate", 2, "train.accumulate=1 and train.batch_size=16"),
        ("train.clip_norm", 1.0, "train.clip_norm=0"),
    ],
)
def test_what_needs_the_whole_gradient_is_refused_on_tensorflow(
    name: str, value: float, told: str, pictures: Path, tmp_path: Path
) -> None:
    ended = trained("tensorflow", pictures, tmp_path / "run", devices="all", **{name: value})
    assert told in ended["error"]


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed")
def test_gradients_are_gathered_and_clipped_whole_on_jax(pictures: Path, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"train.accumulate": 2, "train.clip_norm": 0.1}
    one = trained("jax", pictures, tmp_path / "one", **changes)
    assert_close(one, trained("jax", pictures, tmp_path / "two", devices="all", **changes))


def test_all_devices_of_a_machine_with_one_are_that_one() -> None:
    found = devices.Devices.of(small_recipe(devices="all"), accelerators=0)
    assert found.names == ("CPU:0",)
    assert found.in_words(small_recipe(devices="all")) == [
        "devices=all: there is one device here, CPU:0, and it trains alone."
    ]


def test_one_device_is_not_spoken_of() -> None:
    found = devices.Devices.of(small_recipe(), accelerators=0)
    assert found.in_words(small_recipe()) == []


def test_a_batch_that_does_not_go_round_is_told_by_its_largest_part() -> None:
    three = devices.Devices(("GPU:0", "GPU:1", "GPU:2"))
    assert "batch of 8 is shared out, up to 3 images each" in three.in_words(small_recipe())[0]


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
def test_several_devices_are_refused_on_torch(pictures: Path, tmp_path: Path) -> None:
    told = trained("torch", pictures, tmp_path / "run", devices="all")
    assert "several devices need TensorFlow or JAX" in told["error"]
    assert "devices=one" in told["error"]
