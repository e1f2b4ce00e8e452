"""A program of its own that opens an exported network as its users will: without Sightline.

    python -P reloading.py MODEL IMAGES.npy OUTPUTS.npy [MODULE ...]

Writes what the network puts out for the images, and prints one line of JSON: the versions, and
which packages were loaded. MODULES are a user's own, that register layers of theirs.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


def main(model: str, images: str, outputs: str, *modules: str) -> None:
    """Load, predict, write, and say with what."""
    inputs = np.load(images)
    if Path(model).is_dir():
        answers, versions = _served(model, inputs)
    else:
        answers, versions = _predicted(model, inputs, modules)
    np.save(outputs, answers)
    packages = sorted({name.partition(".")[0] for name in sys.modules})
    print(json.dumps({"versions": versions, "packages": packages}))  # noqa: T201


def _served(model: str, images: npt.NDArray[np.float32]) -> tuple[Any, dict[str, str]]:
    import tensorflow as tf

    loaded = tf.saved_model.load(model)  # its functions live as long as this does
    return loaded.serve(tf.constant(images)).numpy(), {"tensorflow": tf.__version__}


def _predicted(
    model: str, images: npt.NDArray[np.float32], modules: tuple[str, ...]
) -> tuple[Any, dict[str, str]]:
    import keras

    for module in modules:
        importlib.import_module(module)
    loaded = keras.models.load_model(model)
    backend = keras.config.backend()
    versions = {"keras": keras.__version__, backend: sys.modules[backend].__version__}
    return loaded.predict(images, batch_size=len(images), verbose=0), versions


if __name__ == "__main__":
    main(*sys.argv[1:])
