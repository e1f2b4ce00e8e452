"""A run of a model that was trained elsewhere."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from sightline import runs
from sightline.errors import DataError, RecipeError, SightlineError
from sightline.learning.models import backend, foreign, opening
from sightline.progress import Progress, Shown
from sightline.recipes import OWN, load_recipe
from sightline.records import DataFacts
from sightline.runs import Journal, Run

Scaling = Literal["1/255", "none", "mean-std", "per-image", "-1..1"]
_SCALINGS = {
    "1/255": "pixels of 0..1",
    "none": "0..255",
    "-1..1": "pixel / 127.5 - 1",
    "mean-std": "(pixel / 255 - mean) / std, with --mean and --std",
    "per-image": "mean 0 and deviation 1 over each image",
}
_PROGRAM = Path(opening.__file__)
_SECONDS = 300
_MEMORY = 6 << 30  # bytes of private memory, libraries not counted
_COPIES = 8  # of the file in memory, at most
_ERRORS_OF_IT = "errors.txt"
_ERRORS = {"DataError": DataError, "RecipeError": RecipeError}


def import_model(
    model: str | Path,
    *,
    classes: Sequence[str] = (),
    scaling: Scaling | None = None,
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
    image_size: tuple[int, int] | None = None,
    quality: Literal["fast", "best", "compat"] = "compat",
    out: str | Path | None = None,
    progress: Progress | None = None,
) -> Run:
    """Return a run of a Keras model that was trained elsewhere; predict and evaluate take it.

    The file is checked before Keras touches it, and opened by a program of its own that has
    little memory and time and no code of the file to run. This process reads what that program
    wrote, and never the file.

    Args:
        model: A whole model, .keras or .h5, of Keras' own layers.
        classes: At least two, in the order of its outputs; with one sigmoid unit, the second
            class is the one that it gives the probability of.
        scaling: What it was trained on: "1/255", "none" (0..255), "-1..1", "mean-std" or
            "per-image". "none" as well where it scales by a layer of its own.
        mean: For "mean-std", 0..1: one value, or one a channel.
        std: Likewise.
        image_size: (height, width) in pixels, where its input leaves them open.
        quality: How files become pixels: "compat" as Keras does, "fast" or "best".
        out: A folder that does not exist yet; by default runs/imported-DATE-TIME.
        progress: Where the bar goes; by default to the terminal or notebook.

    Raises:
        DataError: The file cannot be opened, is damaged, or declares too much; or it has layers
            that are not Keras' own.
        RecipeError: Its output does not fit the classes, or a value is wrong.
        RunError: `out` already holds something.
        SetupError: No Keras backend is installed.
    """
    path, names = Path(model), [str(name) for name in classes]
    _check_classes(names)
    recipe = _changes(scaling, mean, std, image_size, quality)
    load_recipe("basic", recipe)  # says what is wrong before any work
    folder = Path(out) if out is not None else runs.new_run_path("imported")
    runs.check_new(folder)
    foreign.kind_of(path)
    with (
        (progress or Shown()).step(f"importing {path.name}", 2) as step,
        tempfile.TemporaryDirectory(prefix="sightline-import-") as beside,
    ):
        work = Path(beside)
        name = backend.choose()
        _open(path, work, {"recipe": recipe, "classes": len(names), "backend": name})
        step.advance()
        _write(folder, work, names, name, path)
        step.advance()
    return runs.open_run(folder)


def _check_classes(names: Sequence[str]) -> None:
    if len(names) < 2 or len(set(names)) != len(names) or not all(names):
        raise RecipeError(
            f"the classes must be at least two, all different, in the order of the model's "
            f"outputs (--classes CAT DOG), got {list(names)}"
        )


def _changes(
    scaling: str | None,
    mean: Sequence[float],
    std: Sequence[float],
    image_size: tuple[int, int] | None,
    quality: str,
) -> dict[str, Any]:
    if scaling not in _SCALINGS:
        choices = "; ".join(f"{name}: {words}" for name, words in _SCALINGS.items())
        got = "" if scaling is None else f", got {scaling!r}"
        raise RecipeError(
            f"say how the pixels were scaled for this model (--scaling){got}. A wrong one gives "
            f"wrong predictions without an error. {choices}"
        )
    if (scaling == "mean-std") != bool(mean) or bool(mean) != bool(std):
        raise RecipeError(
            f"scaling {scaling!r} with mean {list(mean)} and std {list(std)}: mean-std needs both, "
            "of 0..1, and the others take neither"
        )
    if scaling == "-1..1":  # pixel / 127.5 - 1
        scaling, mean, std = "mean-std", [0.5], [0.5]
    return {
        "name": "imported",
        "precision": "auto",
        "data.image_size": list(image_size) if image_size else "auto",
        "data.channels": "auto",
        "data.scaling": scaling,
        "data.mean": [float(value) for value in mean],
        "data.std": [float(value) for value in std],
        "data.quality": quality,
        "model.network": OWN,
        "train.epochs": 1,
    }


def _open(path: Path, work: Path, settings: Mapping[str, Any]) -> None:
    """Let the limited program turn the file into our own form.

    Raises:
        DataError: It refused, or did not survive the file.
        RecipeError: The model does not fit.
    """
    size = path.stat().st_size
    limits = {
        "path": str(path.absolute()),
        "folder": str(work),
        "seconds": _SECONDS,
        "memory": _MEMORY + _COPIES * size,
        "file_bytes": 4 * size + (64 << 20),
    }
    asked = work / "settings.json"
    asked.write_text(json.dumps({**settings, **limits}), "utf-8")
    code = _run(asked, work)
    refused = work / opening.REFUSED
    if refused.exists():
        told = json.loads(refused.read_text("utf-8"))
        kind: type[SightlineError] = _ERRORS.get(told["error"], DataError)
        raise kind(f"{path.name} cannot be imported: {_printable(told['message'])}")
    if code != 0 or not (work / opening.ABOUT).exists():
        raise DataError(f"{path.name} cannot be imported: {_how_it_ended(code, work)}")


def _run(asked: Path, work: Path) -> int | None:
    """Return how the limited program ended; None where it had to be ended."""
    with (work / _ERRORS_OF_IT).open("wb") as errors:
        started = subprocess.Popen(
            [sys.executable, "-P", str(_PROGRAM), str(asked)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,  # so that it can be ended with all that it has started
            env=_environment(work),
        )
        try:
            return started.wait(_SECONDS)
        except subprocess.TimeoutExpired:
            return None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(started.pid, signal.SIGKILL)
            started.wait()


def _environment(work: Path) -> dict[str, str]:
    """Return what the limited program is told of the outside: where Python's modules are."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
    threads = {name: value for name, value in os.environ.items() if name.endswith("_NUM_THREADS")}
    return {
        **kept,
        **threads,
        "HOME": str(work),
        "TMPDIR": str(work),
        "PYTHONPATH": os.pathsep.join(each for each in sys.path if each),
        "PYTHONDONTWRITEBYTECODE": "1",
        "KERAS_HOME": str(work),
        "HDF5_PLUGIN_PATH": str(work),  # no filter of anyone's is loaded
        "CUDA_VISIBLE_DEVICES": "",
        "HIP_VISIBLE_DEVICES": "",
        "JAX_PLATFORMS": "cpu",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }


def _how_it_ended(code: int | None, work: Path) -> str:
    if code is None or code == -signal.SIGXCPU:
        return f"opening it took more than {_SECONDS} seconds, so it was given up"
    lines = (work / _ERRORS_OF_IT).read_text("utf-8", "replace").splitlines()
    said = next((line for line in reversed(lines) if "Error" in line), "")
    return (
        f"the program that opened it did not survive (exit code {code}), so it is damaged, or "
        f"needs more than the {_MEMORY >> 30} GiB of memory that it may have. {_printable(said)}"
    ).strip()


def _printable(text: str) -> str:
    """Return text of unknown origin without anything that a terminal would obey."""
    return "".join(each if each.isprintable() else " " for each in text)[:1000]


def _write(folder: Path, work: Path, names: list[str], name: str, path: Path) -> None:
    """Make the run folder; nothing but our own forms is read."""
    foreign.check_archive(work / opening.NETWORK)
    network = (work / opening.NETWORK).read_bytes()
    arrays, _ = runs.read_tensors(work / opening.WEIGHTS)
    about = json.loads((work / opening.ABOUT).read_text("utf-8"))
    (work / "recipe.toml").write_text(about["recipe"], "utf-8")
    recipe = load_recipe(work / "recipe.toml")
    with runs.locked(runs.create_run(folder)):
        words = f"Imported from {path.name}, which was trained elsewhere: nothing is planned.\n"
        texts = {"recipe.toml": about["recipe"], "plan.txt": words}
        for file, content in (texts | {runs.NETWORK: network}).items():
            runs.write_content(folder / file, content)
        runs.write_best(folder, arrays, epoch=0)
        card = runs.model_card(recipe, names, runs.fingerprint(folder, arrays))
        card |= {"best_epoch": 0, "last_epoch": 0}
        runs.write_sealed(folder / "model.json", card)
        described = runs.run_card(
            recipe, backend.describe(name), _no_images(names), about["network"]
        )
        Journal(folder, described).end(runs.IMPORTED, f"Imported from {path.name}.")


def _no_images(names: Sequence[str]) -> DataFacts:
    """Return what is known of the images that it was trained on: nothing."""
    return DataFacts(
        count=0,
        class_counts=dict.fromkeys(names, 0),
        looked_at=0,
        unreadable=(),
        height=0,
        width=0,
        smallest=(0, 0),
        largest=(0, 0),
        all_grey=False,
        formats={},
        bytes=0,
        read_seconds=0.0,
    )
