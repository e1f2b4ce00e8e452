"""Trains in a process of its own, on one or two virtual processors; prints what came of it.

Arguments: where the images are, a file with the recipe's changes (JSON), the run folder, whether
to stop after three steps and go on ("resume").
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import nullcontext
from pathlib import Path

BACKEND = os.environ["KERAS_BACKEND"]
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
if BACKEND == "tensorflow":
    import tensorflow as tf

    processors = tf.config.list_physical_devices("CPU")
    two = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(processors[0], two)
elif BACKEND == "jax":
    os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
import keras  # noqa: E402

import sightline as sl  # noqa: E402
from sightline.learning.models import devices  # noqa: E402
from sightline.runs import Run  # noqa: E402


class Watch(keras.callbacks.Callback):
    """Counts the devices of each step; after `stop` steps asks for a stop."""

    def __init__(self, stop: int = 0) -> None:
        super().__init__()
        self.stop, self.steps = stop, 0
        self.devices: set[int] = set()

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        self.devices.add(devices.count(self.model))
        self.steps += 1
        if self.steps == self.stop:
            os.kill(os.getpid(), 15)


def main() -> None:
    """Train, and print one line of JSON."""
    folder, changes, out, *more = sys.argv[1:]
    given = json.loads(Path(changes).read_text("utf-8"))
    model = None
    own = given.pop("own", "")
    if own == "before":  # a training by a strategy of the caller's, then one by ours
        with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
            model = _own()
        first = {name: given[name] for name in given if name not in ("devices", "model.width")}
        sl.train(
            folder, recipe="basic", changes=first, only_train=True, progress=sl.Silent(),
            out=f"{out}-first", model=model,
        )  # fmt: skip
        model = None
    elif own:
        names = [each.name for each in tf.config.list_logical_devices("CPU")]
        with tf.distribute.MirroredStrategy(names).scope() if own == "strategy" else nullcontext():
            model = _own()
        del given["model.width"]
    watch = Watch(stop=3 * ("resume" in more))
    kept = {"out": out, "model": model, "callbacks": [watch]}
    try:
        run = sl.train(
            folder, recipe="basic", changes=given, only_train=True, progress=sl.Silent(), **kept
        )
        if more:
            assert run.state == "interrupted"
            run = sl.train(resume=out, only_train=True, callbacks=[Watch()], progress=sl.Silent())
    except sl.RecipeError as error:
        sys.stdout.write(json.dumps({"error": str(error)}))
        return
    sys.stdout.write(json.dumps(_told(run, watch)))


def _own() -> keras.Model:
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.Input((12, 16, 3)),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )


def _told(run: Run, watch: Watch) -> dict[str, object]:
    lines = (run.path / "history.jsonl").read_text("utf-8").splitlines()
    return {
        "history": [json.loads(line) for line in lines],
        "devices": run.info["devices"],
        "used": sorted(watch.devices),
        "plan": run.plan,
        "weights": {name: array.ravel().tolist() for name, array in run.weights("best").items()},
    }


main()
