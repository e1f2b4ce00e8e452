"""A run's network as a file for other programs, with a page of facts beside it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from sightline import runs
from sightline.data.stream import Stream, StreamConfig
from sightline.errors import DataError, SetupError
from sightline.learning.models import backend
from sightline.progress import Progress, Shown
from sightline.recipes import Recipe
from sightline.records import Manifest, Weights
from sightline.runs import KeptWeights, Run
from sightline.workflow.predicting import rebuild

if TYPE_CHECKING:
    import keras

    from sightline.learning.models.exported import Agreement, Sample

Format = Literal["keras", "h5", "savedmodel"]
MADE_BY = "sightline export"
_SUFFIX = {"keras": ".keras", "h5": ".h5", "savedmodel": ""}
_IMAGES = 32
_COLOURED = 4  # more of them, where the network is grey and turns colour into grey
_BYTES = 1 << 28  # of all the images that an export is tried on
_SCALINGS = {
    "1/255": "pixel / 255",
    "none": "none: the pixels as they are",
    "mean-std": "(pixel / 255 - mean) / std, for each channel",
    "per-image": "(pixel - mean of the image) / deviation of the image, over all its channels",
}


@dataclass(frozen=True, slots=True, eq=False)
class _Tried:
    """Images 0..255 at the run's size, (N, H, W, C), with and without the stream's scaling."""

    pixels: npt.NDArray[np.float32]
    scaled: npt.NDArray[np.float32]
    words: str


def export(
    run: Run | str | Path,
    *,
    format: Format = "keras",
    preprocessing: bool = True,
    weights: Weights = "best",
    out: str | Path | None = None,
    progress: Progress | None = None,
) -> Path:
    """Write the network for other programs, and return the path of the file.

    It is opened by plain Keras or TensorFlow in a new process, where it has to put out the run's
    own predictions for real images to within 1e-5; else nothing is left. Beside it, NAME.json says
    what goes in and what comes out: classes, size, colour order, range, threshold, versions, and
    the difference that was measured.

    Args:
        run: A run or its folder; it may be read-only.
        format: "keras" and "h5" are opened by Keras 3, on any backend; "savedmodel", a folder, by
            TensorFlow alone.
        preprocessing: The network takes RGB 0..255 and scales it itself. Without, it takes what
            the run's stream gave, which the JSON states.
        weights: "best", "last" or "average".
        out: By default NAME-OF-THE-RUN.keras or .h5, or a folder of that name, here. An earlier
            export that nobody changed is replaced.
        progress: Where the bar goes; by default to the terminal or notebook.

    Raises:
        DataError: `out` has another extension, or is something else than an earlier export.
        RunError: The run has no model or is damaged; the network cannot be kept in this format;
            or what was written does not agree with the run.
        SetupError: TensorFlow is needed, and is missing or not the backend in use.
        ValueError: There is no such format, or there are no weights of that name.
    """
    if format not in get_args(Format):
        raise ValueError(f"format must be one of {get_args(Format)}, got {format!r}")
    opened = runs.open_run(run)
    class_names, kept = tuple(opened.model["class_names"]), opened.kept(weights)
    shown = progress or Shown()
    for line in kept.told:
        shown.say(line)
    path = _place(out, opened, format)
    _choose_backend(opened, format)
    from sightline.learning.models import exported

    model = rebuild(opened, kept, shown)
    with shown.step(f"exporting {path.name}", 3) as step:
        tried = _tried(opened)
        step.advance()
        about = _description(opened, kept, format, preprocessing)
        with exported.hidden(path) as written:
            agreement = _write(written, model, opened, tried, format, preprocessing)
            step.advance()
            about |= {
                "output": _output(class_names, model.output_shape[-1]),
                "precision": _precision(opened),
                "versions": {**opened.info.get("packages", {}), **agreement.versions},
                "checked": {
                    "images": len(tried.pixels),
                    "of": tried.words,
                    "greatest_difference": agreement.difference,
                    "with": dict(agreement.versions),
                },
                "sha256": _digest(written),
            }
            _put(written, path, about)
        step.advance()
    return path


def _place(out: str | Path | None, run: Run, kind: Format) -> Path:
    """Return where the export goes.

    Raises:
        DataError: It has another extension, or something else is there.
    """
    suffix = _SUFFIX[kind]
    path = Path(out) if out is not None else Path(f"{run.path.resolve().name}{suffix}")
    if suffix and path.suffix.lower() != suffix:
        raise DataError(f"an export as {kind} must end in {suffix}, got {path}")
    if not suffix and path.suffix.lower() in (*filter(None, _SUFFIX.values()), ".json"):
        raise DataError(f"a SavedModel is a folder, so {path} must not end in {path.suffix}")
    note = _beside(path)
    if not path.exists() and not path.is_symlink() and not note.exists():
        return path
    if not _is_ours(path, note):
        there = path if path.exists() or path.is_symlink() else note
        raise DataError(
            f"{there} exists and is no export, or was changed since; it was not touched. Name "
            "another place with --out."
        )
    return path


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _is_ours(path: Path, note: Path) -> bool:
    """Say whether this is an export as it was written, with its facts beside it."""
    try:
        about = json.loads(note.read_text("utf-8"))
        ours = isinstance(about, dict) and about.get("made_by") == MADE_BY
        return ours and (not path.exists() or about.get("sha256") == _digest(path))
    except (OSError, ValueError):
        return False


def _digest(path: Path) -> str:
    """Return the sha256 of a file, or of a folder's files and their names."""
    if not path.is_dir():
        return runs.file_sha256(path)
    files = sorted(each for each in path.rglob("*") if each.is_file())
    lines = [f"{runs.file_sha256(each)}  {each.relative_to(path).as_posix()}\n" for each in files]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _choose_backend(run: Run, kind: Format) -> None:
    """Load Keras, for a SavedModel on TensorFlow.

    Raises:
        SetupError: Keras has another backend already, or there is no TensorFlow.
    """
    for name, value in backend.SHARED_GPU.items():
        os.environ.setdefault(name, value)
    if kind != "savedmodel":
        backend.choose_for(str(run.info.get("backend")))
        return
    loaded = sys.modules.get("keras")
    if loaded is not None and loaded.config.backend() != "tensorflow":
        raise SetupError(
            f"a SavedModel is written by TensorFlow, and Keras runs on "
            f"{loaded.config.backend()!r} here. Start Python with KERAS_BACKEND=tensorflow; a run "
            "opens on any backend. Or export it with --keras."
        )
    backend.choose("tensorflow")


def _tried(run: Run) -> _Tried:
    """Return images of the run's validation split, or where they are gone, generated ones."""
    size = run.recipe.data.image_size
    assert size != "auto", "a run's recipe is resolved"
    channels = int(run.recipe.data.channels)
    count = max(1, min(_IMAGES, _BYTES // (4 * size[0] * size[1] * channels)))
    scaled_config = StreamConfig.of(run.recipe, training=False)
    plain = dataclasses.replace(scaled_config, scaling="none", mean=(), std=())
    if (run.path / "manifest.parquet").exists():
        whole = run.manifest
        table = whole.of_split("validation").head(count)
        manifest = dataclasses.replace(whole, table=table)
        if len(table):
            pixels, scaled = (_images(manifest, config) for config in (plain, scaled_config))
            if len(pixels) and len(pixels) == len(scaled):
                return _Tried(pixels, scaled, "validation images of the run")
    from sightline.learning.models import exported

    pixels = np.random.default_rng(0).integers(0, 256, (count, *size, channels)).astype(np.float32)
    words = "generated images, because none of the run's own could be read"
    return _Tried(pixels, exported.scaled(pixels, run.recipe), words)


def _images(manifest: Manifest, config: StreamConfig) -> npt.NDArray[np.float32]:
    """Return the images of a few records that can be read, (N, H, W, C) float32."""
    config = config.forgiving(len(manifest))
    parts = [np.empty((0, *config.image_size, config.channels), np.float32)]
    with Stream(manifest, split="validation", config=config) as stream:
        for batch in stream.epoch(0):
            readable = [int(row) not in stream.faults for row in batch.rows]
            parts.append(batch.images[readable].astype(np.float32))
    return np.concatenate(parts)


def _write(
    path: Path, model: keras.Model, run: Run, tried: _Tried, kind: Format, preprocessing: bool
) -> Agreement:
    """Write and check an export."""
    from sightline.learning.models import exported, kept

    network = run.network
    own = kept.own_classes(network) if network is not None else {}
    modules = sorted(set(own.values()) - {""})
    whole = exported.outward(model, run.recipe, kind) if preprocessing else model
    sample = _sample(model, run.recipe, tried, preprocessing)
    path.parent.mkdir(parents=True, exist_ok=True)
    exported.save(whole, path, kind)
    return exported.compared(path, sample, modules=modules)


def _put(written: Path, path: Path, about: Mapping[str, Any]) -> None:
    """Put an export in its place, and what is said of it beside it.

    An earlier one is removed once all of the new one is on the disk. Cut off anywhere, what is left
    is known as an export of ours, and the next one replaces it.
    """
    from sightline.learning.models import exported

    note, aside = _beside(written), path.with_name(f".{path.name}.before")
    for file in written.rglob("*") if written.is_dir() else (written,):
        runs.flush_to_disk(file)
    try:
        runs.write_json(note, about)
        exported.remove(aside)  # of an export that was cut off
        if path.exists():
            path.replace(aside)
        note.replace(_beside(path))
    finally:
        note.unlink(missing_ok=True)
    written.replace(path)
    exported.remove(aside)


def _sample(model: keras.Model, recipe: Recipe, tried: _Tried, preprocessing: bool) -> Sample:
    """Return what the export is given, and what the run's own forward step says of it."""
    from sightline.learning.models import exported, forward

    pixels, scaled = tried.pixels, tried.scaled
    if preprocessing and pixels.shape[-1] == 1:
        coloured = _patches(pixels.shape[1:3])
        grey = (coloured @ np.asarray(forward.LUMA))[..., None]
        scaled = np.concatenate([scaled, exported.scaled(grey, recipe)])
        pixels = np.concatenate([np.repeat(pixels, 3, axis=-1), coloured])
    probabilities = forward.forward(model, scaled, batch_size=len(scaled))
    return exported.Sample(pixels if preprocessing else scaled, probabilities)


def _patches(size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Return images of a few colours, 0..255.

    Grey made of them may differ in its last bit from backend to backend, and where it is rounded to
    bfloat16, by more: with few values, hardly ever.
    """
    height, width = size
    colours = np.random.default_rng(1).integers(0, 256, (_COLOURED, 4, 4, 3)).astype(np.float32)
    whole = colours.repeat(-(-height // 4), axis=1).repeat(-(-width // 4), axis=2)
    return whole[:, :height, :width]


def _description(run: Run, kept: KeptWeights, kind: Format, preprocessing: bool) -> dict[str, Any]:
    card, settled = run.model, runs.settled(run, kept)
    return {
        "made_by": MADE_BY,
        "format": kind,
        "classes": list(card["class_names"]),
        "input": _input(run.recipe, preprocessing),
        "threshold": runs.threshold_of(settled.decision),
        "decision": settled.decision.to_dict(),
        "temperature": settled.temperature,
        "run": run.name,
        "weights": kept.which,
        "epoch": kept.epoch + 1,
        "fingerprint": kept.fingerprint,
    }


def _input(recipe: Recipe, preprocessing: bool) -> dict[str, Any]:
    """Return what goes in: one image is (height, width, channels)."""
    data, size = recipe.data, recipe.data.image_size
    assert size != "auto", "a run's recipe is resolved"
    grey = data.channels == 1
    common: dict[str, Any] = {
        "height": size[0],
        "width": size[1],
        "dtype": "float32",
        "layout": "batch, height, width, channels",
        "resized": {"quality": data.quality, "background": list(data.background)},
    }
    if preprocessing:
        inside = ["0.299 red + 0.587 green + 0.114 blue"] * grey + [_SCALINGS[data.scaling]]
        return common | {
            "channels": 3,
            "colour": "RGB",
            "range": [0, 255],
            "scaling": "inside the network: give pixels of 0..255",
            "inside": inside,
        }
    return common | {
        "channels": 1 if grey else 3,
        "colour": "grey" if grey else "RGB",
        "range": _range(recipe),
        "scaling": _SCALINGS[data.scaling],
        "mean": list(data.mean),
        "std": list(data.std),
    }


def _range(recipe: Recipe) -> list[Any] | str:
    """Return [least, most] of what goes in, one pair a channel where they differ."""
    data = recipe.data
    if data.scaling == "per-image":
        return "mean 0 and deviation 1 over each image"
    if data.scaling == "mean-std":
        pairs = zip(data.mean, data.std, strict=True)
        return [[-mean / std, (1 - mean) / std] for mean, std in pairs]
    return [0, 255] if data.scaling == "none" else [0, 1]


def _output(class_names: tuple[str, ...], units: int) -> dict[str, Any]:
    if units == 1:
        first, second = class_names
        meaning = f"sigmoid: the probability of {second!r}; that of {first!r} is 1 minus it"
    else:
        meaning = "softmax: the probability of each class, in the order of `classes`"
    return {"units": units, "meaning": meaning}


def _precision(run: Run) -> Mapping[str, str]:
    """Return what its layers compute in: an export keeps it, or it would answer otherwise."""
    computes = str(run.recipe.precision)
    return {"weights": "float32", "computes_in": computes}
