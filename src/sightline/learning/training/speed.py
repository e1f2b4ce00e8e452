"""How fast this machine will train this network, and in which precision."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np

from sightline.learning.training import stepping
from sightline.learning.training.objective import compile_model
from sightline.recipes import Recipe, change_recipe

_REACHED = 0.25  # of the matrix-product rate; 0.2 to 0.35 for the published networks on two cores
_WORTH_A_PROBE = 90.0  # s of expected training: a probe compiles the network twice
_CLEARLY_FASTER = 1.1


@dataclass(frozen=True, slots=True)
class Speed:
    """Expected training speed.

    Attributes:
        images_per_second: Of the compiled step alone, decoding not counted.
        measured: On this very network; otherwise from its arithmetic.
    """

    images_per_second: float
    measured: bool


def expected_speed(operations: int) -> Speed:
    """Return the speed that `operations` multiply-accumulates an image let expect here.

    Forward, backward and weight gradients: 3 passes of 2 operations each.
    """
    return Speed(_REACHED * _matrix_product_rate() / (6 * max(operations, 1)), measured=False)


def measured_speed(recipe: Recipe, model: keras.Model, num_classes: int) -> Speed:
    """Return the speed of a few steps of `model`; compiles it."""
    if recipe.train.weight_average == "auto":  # by the epochs, which this speed will decide
        recipe = change_recipe(recipe, {"train.weight_average": 0.9})
    return Speed(_step_speed(recipe, model, num_classes), measured=True)


def choose_precision(
    recipe: Recipe,
    *,
    build: Callable[[str], keras.Model],
    num_classes: int,
    processor_has_it: bool,
    expected_seconds: float,
    speed: Speed,
) -> tuple[str, Speed, str]:
    """Return the precision to train in, the speed found on the way, and why, in a sentence.

    Args:
        recipe: "auto" precision is resolved; another is returned as it is.
        build: Makes the network under a policy.
        num_classes: K.
        processor_has_it: Whether bfloat16 is native here.
        expected_seconds: Of the whole training at `speed`.
        speed: The speed expected so far.
    """
    if recipe.precision != "auto":
        return recipe.precision, speed, f"Precision {recipe.precision}, as the recipe says."
    if not processor_has_it:
        return "float32", speed, "Precision float32: this processor has no native bfloat16."
    if expected_seconds < _WORTH_A_PROBE:
        return "float32", speed, "Precision float32: too short a training for bfloat16 to pay."
    found = {
        policy: _step_speed(recipe, build(policy), num_classes)
        for policy in ("float32", "mixed_bfloat16")
    }
    ratio = found["mixed_bfloat16"] / found["float32"]
    policy = faster_policy(found["float32"], found["mixed_bfloat16"])
    reason = (
        f"Precision {policy}: in a probe of this network, mixed_bfloat16 ran at {ratio:.1f} "
        "times the speed of float32."
    )
    return policy, Speed(found[policy], measured=True), reason


def faster_policy(float32: float, mixed_bfloat16: float) -> str:
    """Return the policy for two speeds in images a second: bfloat16 only if clearly faster."""
    return "mixed_bfloat16" if mixed_bfloat16 >= _CLEARLY_FASTER * float32 else "float32"


def _step_speed(recipe: Recipe, model: keras.Model, num_classes: int) -> float:
    """Return images a second of the compiled step on random images, best of three."""
    compile_model(model, recipe, num_classes, None)
    size = int(recipe.train.batch_size)
    random = np.random.default_rng(0)
    pixels = (*recipe.data.image_size, int(recipe.data.channels))
    images = random.random((size, *pixels), np.float32)
    labels = random.integers(0, num_classes, size)
    targets = labels.astype(np.float32) if num_classes == 2 else np.eye(num_classes)[labels]
    targets = np.asarray(targets, np.float32)
    seconds = []
    for _ in range(5):  # the first two compile and warm up
        start = time.perf_counter()
        stepping.step(model, images, targets, np.ones(size, np.float32))
        seconds.append(time.perf_counter() - start)
    return size / min(seconds[2:])


def _matrix_product_rate() -> float:
    """Return floating-point operations a second of a float32 matrix product (all cores)."""
    size = 1024
    matrix = np.ones((size, size), np.float32)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        matrix @ matrix
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / min(seconds)
