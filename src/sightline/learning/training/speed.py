"""How fast this machine will train this network, and in which precision."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import keras
import numpy as np

from sightline.learning.training import stepping
from sightline.learning.training.objective import compile_model
from sightline.recipes import Recipe, change_recipe

_REACHED = 0.25  # of the matrix-product rate; 0.2 to 0.35 for the published networks on two cores
_WORTH_A_PROBE = 90.0  # s of expected training: a probe compiles the network twice
_CLEARLY_FASTER = 1.1
# Other work on a machine comes and goes within tenths of a second: what is measured lasts longer.
_FEWEST_TURNS, _PROBED = 3, 1.0  # s of steps of each probe
_MULTIPLIED = 0.3  # s


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
    probe = _Probe.of(recipe, model, num_classes)
    _race([probe])
    return probe.speed()


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
    probes = {
        policy: _Probe.of(recipe, build(policy), num_classes)
        for policy in ("float32", "mixed_bfloat16")
    }
    _race(probes.values())
    found = {policy: probe.at_best() for policy, probe in probes.items()}
    ratio = found["mixed_bfloat16"] / found["float32"]
    policy = faster_policy(found["float32"], found["mixed_bfloat16"])
    reason = (
        f"Precision {policy}: in a probe of this network, mixed_bfloat16 ran at {ratio:.1f} "
        "times the speed of float32."
    )
    return policy, probes[policy].speed(), reason


def faster_policy(float32: float, mixed_bfloat16: float) -> str:
    """Return the policy for two speeds in images a second: bfloat16 only if clearly faster."""
    return "mixed_bfloat16" if mixed_bfloat16 >= _CLEARLY_FASTER * float32 else "float32"


@dataclass(slots=True)
class _Probe:
    """A compiled step and random images to take it on.

    Attributes:
        step: Takes it, and waits for its end.
        size: Images of a batch.
        seconds: Of its steps, without those that compile and warm up.
    """

    step: Callable[[], object]
    size: int
    seconds: list[float] = field(default_factory=list)

    @classmethod
    def of(cls, recipe: Recipe, model: keras.Model, num_classes: int) -> _Probe:
        """Return that of a model, compiled and warmed up."""
        compile_model(model, recipe, num_classes, None)
        size = int(recipe.train.batch_size)
        random = np.random.default_rng(0)
        pixels = (*recipe.data.image_size, int(recipe.data.channels))
        images = random.random((size, *pixels), np.float32)
        labels = random.integers(0, num_classes, size)
        targets = labels.astype(np.float32) if num_classes == 2 else np.eye(num_classes)[labels]
        targets = np.asarray(targets, np.float32)
        probe = cls(lambda: stepping.step(model, images, targets, np.ones(size, np.float32)), size)
        for _ in range(2):
            probe.step()
        return probe

    def at_best(self) -> float:
        """Return images a second of its fastest step: what other work of the machine left alone."""
        return self.size / min(self.seconds)

    def speed(self) -> Speed:
        """Return its usual speed, which a training may expect."""
        return Speed(self.size / statistics.median(self.seconds), measured=True)


def _race(probes: Iterable[_Probe]) -> None:
    """Let probes take steps in turns.

    Not one after the other: what else the machine does for a second would fall on one of them.
    """
    probes = tuple(probes)
    began, turns = time.perf_counter(), 0
    while turns < _FEWEST_TURNS or time.perf_counter() - began < _PROBED * len(probes):
        for probe in probes:
            start = time.perf_counter()
            probe.step()
            probe.seconds.append(time.perf_counter() - start)
        turns += 1


def _matrix_product_rate() -> float:
    """Return floating-point operations a second of a float32 matrix product (all cores)."""
    size = 1024
    matrix = np.ones((size, size), np.float32)
    began, fastest = time.perf_counter(), math.inf
    while time.perf_counter() - began < _MULTIPLIED:
        start = time.perf_counter()
        matrix @ matrix
        fastest = min(fastest, time.perf_counter() - start)
    return 2 * size**3 / fastest
