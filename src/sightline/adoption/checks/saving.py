"""Files that models are written to: endings that Keras 3 refuses, and HDF5."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from sightline.adoption.faults import Fault
from sightline.adoption.names import Value
from sightline.adoption.reading import Reading

_HDF5 = (".h5", ".hdf5")
_SAVED = (".keras", *_HDF5)
_WEIGHTS = ".weights.h5"


def checkpoints(reading: Reading) -> Iterator[Fault]:
    """Yield ModelCheckpoint files whose ending Keras 3 refuses."""
    for made in reading.callbacks("ModelCheckpoint"):
        path = reading.program.ending(made.arguments.get("filepath"))
        weights = reading.constant(made, "save_weights_only", False)
        if not path or not isinstance(weights, bool):
            continue
        endings = (_WEIGHTS,) if weights else (".keras", ".h5")
        if path.endswith(endings):
            continue
        what = "save_weights_only=True" if weights else "a whole model"
        yield Fault(
            "checkpoint-path",
            "error",
            made.call,
            f"ModelCheckpoint({path!r}) stops with ValueError in Keras 3: "
            f"with {what} the file must end in {endings[0]}.",
            f"Call it {_renamed(path, endings[0])!r}, here and where it is loaded.",
        )


def _renamed(path: str, ending: str) -> str:
    for old in (*_HDF5, ".ckpt", ".tf", ".keras"):
        path = path.removesuffix(old)
    return path.rstrip("/") + ending


def saved_models(reading: Reading) -> Iterator[Fault]:
    """Yield models saved to endings that Keras 3 refuses, or as HDF5."""
    for call, owner, method, path in _saves(reading):
        endings = (_WEIGHTS,) if method == "save_weights" else _SAVED
        if not path.endswith(endings):
            yield Fault(
                "save-path",
                "error",
                call,
                f"{owner}({path!r}) stops with ValueError in Keras 3: "
                f"the file must end in {endings[0]}.",
                f"Call it {_renamed(path, endings[0])!r}, here and where it is loaded.",
            )
        elif method != "save_weights" and path.endswith(_HDF5):
            yield Fault(
                "h5-saved",
                "info",
                call,
                f"{path!r} is HDF5, Keras' old format: the optimizer's state does not come back "
                "from it.",
                f"Save {_renamed(path, '.keras')!r}; keep HDF5 to hand a model on for predicting.",
            )


def _saves(reading: Reading) -> Iterator[tuple[ast.Call, str, str, str]]:
    """Yield (call, how it is written, "save" or "save_weights", path) of every model saved."""
    for call in reading.program.calls:
        frame = reading.program.frame_of(call)
        name = reading.program.origin(call.func)
        if name in {"keras.models.save_model", "keras.saving.save_model"}:
            path = reading.program.arguments(call, ("model", "filepath"), frame).get("filepath")
            owner, method = "save_model", "save"
        elif isinstance(call.func, ast.Attribute) and call.func.attr in {"save", "save_weights"}:
            if not reading.is_model(Value(call.func.value, frame)):
                continue
            path = reading.program.arguments(call, ("filepath",), frame).get("filepath")
            method = call.func.attr
            owner = f"{ast.unparse(call.func.value)}.{method}"
        else:
            continue
        text = reading.program.ending(path)
        if text:
            yield call, owner, method, text


def training_from_h5(reading: Reading) -> Iterator[Fault]:
    """Yield models loaded from HDF5 and trained on, which Keras 3 cannot."""
    for run in reading.of("fit"):
        made = reading.made(run.value, ("filepath", "custom_objects", "compile"))
        if made is None or made.name not in {"keras.models.load_model", "keras.saving.load_model"}:
            continue
        path = reading.program.ending(made.arguments.get("filepath"))
        compiled = any(each == made.call for each, _ in reading.compiles)
        if not path.endswith(_HDF5) or compiled:
            continue
        yield Fault(
            "h5-training",
            "error",
            run.call,
            f"`{run.name}` comes from {path!r} (line {made.call.lineno}) and is trained on: its "
            "optimizer does not know its weights, and Keras 3 stops with ValueError.",
            f"Save and load {_renamed(path, '.keras')!r}, or compile the model again first.",
        )


CHECKS = (checkpoints, saved_models, training_from_h5)
