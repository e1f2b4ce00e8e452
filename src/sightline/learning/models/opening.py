"""A program of its own that opens a model file from elsewhere, with little to lose.

    python -P opening.py SETTINGS.json

It gives up memory, processor time, files and the network first; then it checks the file, loads it
with Keras, and writes the network in our own form: network.keras, best.safetensors, about.json.
What is wrong with the file goes into refused.json.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import json
import os
import resource
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sightline import runs
from sightline.errors import DataError, RecipeError, SightlineError
from sightline.learning.models import backend, foreign
from sightline.recipes import Recipe, change_recipe, dump_recipe, load_recipe

if TYPE_CHECKING:
    import keras

NETWORK, WEIGHTS, ABOUT, REFUSED = (
    runs.NETWORK, "best.safetensors", "about.json", "refused.json",
)  # fmt: skip
_CHECKING = 2 << 30  # bytes of memory until Keras is loaded
# Bytes of what is mapped and is no memory of its own: the libraries of CUDA builds have several
# GiB. It is the only limit under a kernel before Linux 4.7.
_MAPPED = 32 << 30
_OPEN_FILES = 256
_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000  # CLONE_NEWUSER, CLONE_NEWNET of Linux


def main(settings_path: str) -> None:
    """Open, check, convert; or say why not."""
    settings = json.loads(Path(settings_path).read_text("utf-8"))
    folder = Path(settings["folder"])
    _limit(settings)
    try:
        _open(Path(settings["path"]), folder, settings)
    except SightlineError as error:
        refused = {"error": type(error).__name__, "message": str(error)}
        (folder / REFUSED).write_text(json.dumps(refused), "utf-8")
    except MemoryError:
        refused = {"error": "DataError", "message": "the model needs more memory than it may have"}
        (folder / REFUSED).write_text(json.dumps(refused), "utf-8")


def _limit(settings: dict[str, Any]) -> None:
    """Give up memory, time, files, core dumps, and the network where the system lets us."""
    with contextlib.suppress(OSError):  # the kernel is to end this one before its parent
        Path("/proc/self/oom_score_adj").write_text("800")
    if sys.platform == "linux":
        ctypes.CDLL(None).unshare(_NEW_USER | _NEW_NETWORK)  # refused: it stays as it was
    files, seconds = int(settings["file_bytes"]), int(settings["seconds"])
    for kind, now, most in (
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_NOFILE, _OPEN_FILES, _OPEN_FILES),
        (resource.RLIMIT_FSIZE, files, files),
        (resource.RLIMIT_CPU, seconds, seconds + 1),  # SIGXCPU says why; at the last, SIGKILL
    ):
        with contextlib.suppress(OSError, ValueError):  # a lower limit stands already
            resource.setrlimit(kind, (now, most))
    _limit_memory(_CHECKING, int(settings["memory"]))


def _limit_memory(now: int, most: int) -> None:
    """Give up all private memory beyond `now` bytes, and for good beyond `most`."""
    for kind, limits in (
        (resource.RLIMIT_DATA, (now, most)),
        (resource.RLIMIT_AS, (most + _MAPPED, most + _MAPPED)),
    ):
        with contextlib.suppress(OSError, ValueError):  # macOS has none, or a lower one stands
            resource.setrlimit(kind, limits)


def _open(path: Path, folder: Path, settings: dict[str, Any]) -> None:
    kind = foreign.kind_of(path)
    if kind == "keras":
        config, weights = foreign.unpack(path, folder)
    else:
        weights = folder / "model.h5"
        weights.symlink_to(path.absolute())
        foreign.check_weights(weights)
        config = foreign.read_config(foreign.stored_config(weights))
    numbers = foreign.check_weights(weights)
    _limit_memory(int(settings["memory"]), int(settings["memory"]))
    backend.choose(settings["backend"])
    from sightline.learning.models import loading

    model = loading.load(config, weights, kind, numbers)
    recipe = _recipe(model, settings)
    network, arrays, summary = loading.converted(model, recipe, settings["classes"])
    (folder / NETWORK).write_bytes(network)
    runs.write_tensors(folder / WEIGHTS, arrays, epoch=0)
    about = {"recipe": dump_recipe(recipe), "network": dataclasses.asdict(summary)}
    (folder / ABOUT).write_text(json.dumps(about), "utf-8")


def _recipe(model: keras.Model, settings: dict[str, Any]) -> Recipe:
    """Return the recipe of what goes into a model.

    Raises:
        DataError: It takes images of any size, and none was given.
        RecipeError: It takes others than those that were asked for.
    """
    from sightline.learning.models import own

    shape = getattr(model, "input_shape", None)
    channels = shape[-1] if isinstance(shape, tuple) and len(shape) == 4 and shape[-1] else 3
    changes = dict(settings["recipe"])
    for name in ("data.mean", "data.std"):
        given = changes[name]
        if len(given) not in (0, 1, channels):
            raise RecipeError(
                f"--{name.removeprefix('data.')} has {len(given)} values, {given}, and the model "
                f"takes images of {channels} channel{'s' * (channels > 1)}: give one value, or "
                "one a channel"
            )
        if len(given) == 1:  # for all channels
            changes[name] = given * channels
    recipe, _ = own.described_by(load_recipe("basic", changes), model)
    if recipe.data.image_size == "auto":
        raise DataError(
            "the model takes images of any size: say which it was trained on (--image-size H W)"
        )
    if recipe.data.channels == "auto":
        recipe = change_recipe(recipe, {"data.channels": channels})
    return recipe


if __name__ == "__main__":
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    main(sys.argv[1])
