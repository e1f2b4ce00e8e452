"""What a model file from elsewhere may hold, checked before Keras touches it.

A file is known by its first bytes, and what it declares is compared with what it stores, so that
a small file cannot ask for much memory. Its layers are from a closed list: none runs code out of
the file, reads another file or loads another model. Nothing here imports a framework.
"""

from __future__ import annotations

import errno
import json
import math
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sightline.errors import DataError
from sightline.learning.models.vocabulary import CLASSES, FUNCTIONS, SPECIAL

MOST_BYTES = 4 << 30  # of a model file
_MOST_JSON = 8 << 20
_DEEPEST = 64
_MOST_NUMBER, _MOST_PRODUCT = 10**8, 10**9
_MOST_RATIO, _SLACK = 10, 1 << 20
_MOST_OBJECTS = 100_000
_SAFE_HDF5 = (1, 14, 5)  # CVE-2026-26200: a heap overflow before 1.14.4-2
_HDF5, _ZIP = b"\x89HDF\r\n\x1a\n", b"PK\x03\x04"
_CONFIG, _METADATA, _WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
_FREE = {"seed", "shared_object_id"}  # numbers that are no size
_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]')
_OTHERS = {
    ".pkl": "a pickle", ".pickle": "a pickle", ".joblib": "a pickle", ".pt": "torch's",
    ".pth": "torch's", ".ckpt": "a checkpoint", ".onnx": "ONNX", ".tflite": "TensorFlow Lite",
    ".pb": "a TensorFlow graph", ".npz": "NumPy's", ".safetensors": "weights alone",
    ".json": "a configuration alone",
}  # fmt: skip


def kind_of(path: Path) -> str:
    """Return "keras" or "h5".

    Raises:
        DataError: It is neither, or is missing, empty or too large.
    """
    advice = "Save it where it was made, as .keras: model.save('model.keras')."
    if path.is_dir():
        what = "a SavedModel folder, which runs any graph" if _is_saved_model(path) else "a folder"
        raise DataError(f"{path} is {what}, and is not opened. {advice}")
    if not path.is_file():
        raise DataError(f"there is no model file {path}")
    suffix = path.suffix.lower()
    if suffix in _OTHERS:
        raise DataError(
            f"{path.name} is {_OTHERS[suffix]} format, and is not opened: a model has to come "
            f"with its layers, and without code that runs. {advice}"
        )
    if suffix not in (".keras", ".h5", ".hdf5"):
        raise DataError(f"{path.name} must end in .keras or .h5. {advice}")
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise DataError(f"{path.name} has {size:,} bytes; at most {MOST_BYTES:,} are opened")
    with path.open("rb") as file:
        head = file.read(8)
    found = "keras" if head.startswith(_ZIP) else "h5" if head == _HDF5 else ""
    wanted = "keras" if suffix == ".keras" else "h5"
    if found != wanted:
        really = {"keras": "a zip, as .keras is", "h5": "HDF5, as .h5 is"}.get(found, "neither")
        raise DataError(
            f"{path.name} ends in {suffix}, and what is in it is {really}: it is damaged, or "
            f"called by a wrong name. {advice}"
        )
    return found


def _is_saved_model(path: Path) -> bool:
    return (path / "saved_model.pb").exists() or (path / "keras_metadata.pb").exists()


def unpack(path: Path, folder: Path) -> tuple[dict[str, Any], Path]:
    """Return the configuration in a .keras file, and its weights, written into a folder.

    Raises:
        DataError: It holds other files, declares more than it stores, or is damaged.
    """
    weights = folder / _WEIGHTS
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            _check_members(members, path.stat().st_size)
            text = archive.read(_CONFIG)
            with archive.open(_WEIGHTS) as source, weights.open("wb") as target:
                while block := source.read(1 << 20):
                    target.write(block)
    except (EOFError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path.name} is damaged: {error}. Copy it again.") from error
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise DataError(
            f"{path.name} is damaged: it names a place before its own beginning. Copy it again."
        ) from error
    return read_config(text), weights


def check_archive(path: Path) -> None:
    """Check a .keras file of our own making, without its weights.

    Raises:
        DataError: As `unpack`.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _check_members(archive.infolist(), path.stat().st_size)
            read_config(archive.read(_CONFIG))
    except (EOFError, KeyError, RuntimeError, OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{path.name} is damaged: {error}") from error


def _check_members(members: list[zipfile.ZipInfo], stored: int) -> None:
    names = [member.filename for member in members]
    allowed = {_CONFIG, _METADATA, _WEIGHTS}
    if foreign := sorted(set(names) - allowed):
        raise DataError(
            f"the file holds {foreign[0]!r:.80}, and {len(foreign) - 1} others of that kind: a "
            f".keras file of an image classifier has {', '.join(sorted(allowed))} alone"
        )
    if len(names) != len(set(names)) or not {_CONFIG, _WEIGHTS} <= set(names):
        raise DataError(f"the file must hold {_CONFIG} and {_WEIGHTS}, once each, got {names}")
    for member in members:
        if member.flag_bits & 1 or member.compress_type not in (0, 8):
            raise DataError(f"{member.filename} in the file is encrypted or packed unusually")
        if member.filename != _WEIGHTS and member.file_size > _MOST_JSON:
            raise DataError(
                f"{member.filename} in the file declares {member.file_size:,} bytes; at most "
                f"{_MOST_JSON:,} are read"
            )
    declared = sum(member.file_size for member in members)
    if declared > _MOST_RATIO * stored + _SLACK:
        raise DataError(
            f"the file of {stored:,} bytes declares {declared:,} bytes inside, more than "
            f"{_MOST_RATIO} times as many: it is a bomb, or damaged"
        )


def read_config(text: bytes) -> dict[str, Any]:
    """Return a configuration whose classes are all known and whose sizes are possible.

    What a model was compiled with is left out: it is not used.

    Raises:
        DataError: It is too large or deep, damaged, or names a class that is not on the list.
    """
    if len(text) > _MOST_JSON:
        raise DataError(f"the model's configuration has {len(text):,} bytes, over {_MOST_JSON:,}")
    deepest = depth = 0
    for token in _TOKENS.finditer(text):
        first = token[0][:1]
        depth += 1 if first in b"[{" else -1 if first in b"]}" else 0
        deepest = max(deepest, depth)
        if deepest > _DEEPEST:
            raise DataError(f"the model's configuration is nested deeper than {_DEEPEST} levels")
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"the model's configuration is damaged: {error}") from error
    if not isinstance(config, dict):
        raise DataError("the model's configuration is damaged: it is no JSON object")
    config = _without_compilation(config)
    _check(config, "")
    return dict(config)


def _without_compilation(plain: Any) -> Any:
    if isinstance(plain, dict):
        return {
            key: _without_compilation(value)
            for key, value in plain.items()
            if key != "compile_config"
        }
    return [_without_compilation(value) for value in plain] if isinstance(plain, list) else plain


def _check(plain: Any, key: str) -> None:
    if isinstance(plain, dict):
        if "class_name" in plain:
            _check_class(plain)
        for inner, value in plain.items():
            _check(value, inner)
    elif isinstance(plain, list):
        sizes = [abs(each) for each in plain if isinstance(each, int) and each]
        if key not in _FREE and math.prod(sizes[:16]) > _MOST_PRODUCT:
            raise DataError(f"the model declares {key} {plain!s:.80}, too many to be an image's")
        for value in plain:
            _check(value, key)
    elif isinstance(plain, (int, float)) and key not in _FREE and abs(plain) > _MOST_NUMBER:
        raise DataError(f"the model declares {key} = {plain:.6g}, over {_MOST_NUMBER:,}")


def _check_class(plain: dict[str, Any]) -> None:
    """Refuse a class that is not one of Keras' own for image classifiers."""
    name, module = plain["class_name"], plain.get("module")
    registered, config = plain.get("registered_name"), plain.get("config")
    if not isinstance(name, str):
        raise _foreign(name)
    if name in SPECIAL:
        return
    if name == "function":
        places = (None, "builtins", "keras.activations")
        if isinstance(config, str) and config in FUNCTIONS and module in places:
            return
        raise _foreign(config)
    of_keras = module is None or (
        isinstance(module, str) and (module == "keras" or module.startswith("keras."))
    )
    if name == "Lambda" or name == "__lambda__":
        raise DataError(
            "the model has a Lambda layer, which is code out of the file, and none of it is run. "
            "Replace it where the model was made by a layer or by operations of keras.ops, and "
            "save it anew."
        )
    if name not in CLASSES or not of_keras or registered not in (None, name, f"keras>{name}"):
        raise _foreign(registered or name)


def _foreign(name: object) -> DataError:
    return DataError(
        f"the model has {str(name)!r:.80}, which is no layer of Keras for image classifiers. Only "
        "those are imported: a layer of your own is code. Train such a model with sl.train(..., "
        "model=model), or replace that layer and save the model anew."
    )


def check_weights(path: Path) -> int:
    """Return how many numbers an HDF5 file stores; it declares no more than that, and no links.

    Raises:
        DataError: It declares more, links elsewhere, or is damaged; or the HDF5 library is old.
    """
    import h5py

    if h5py.version.hdf5_version_tuple < _SAFE_HDF5:
        wanted = ".".join(map(str, _SAFE_HDF5))
        raise DataError(
            f"h5py has HDF5 {h5py.version.hdf5_version}, in which a crafted file can overwrite "
            f"memory. Install an h5py with HDF5 {wanted} or newer: pip install -U h5py"
        )
    try:
        with h5py.File(path, "r") as file:
            sizes = [(size, stored) for size, stored, _ in _datasets(file)]
            numbers = sum(count for *_, count in _datasets(file))
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"its weights are damaged: {str(error)[:200]}. Copy it again.") from error
    declared, held = (sum(part) for part in zip(*sizes, strict=True)) if sizes else (0, 0)
    if declared > 1.1 * min(held, path.stat().st_size) + _SLACK:
        raise DataError(
            f"its weights declare {declared:,} bytes and store {held:,}: it is a bomb, or damaged"
        )
    return numbers


def stored_config(path: Path) -> bytes:
    """Return the configuration that an .h5 file holds beside its weights.

    Raises:
        DataError: There is none, as the file has weights alone; or it is damaged.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            config = file.attrs.get("model_config")
    except (OSError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"the model's configuration is damaged: {str(error)[:200]}. Copy the file again."
        ) from error
    if config is None:
        raise DataError(
            "it holds weights and no layers (save_weights). Save the whole model: "
            "model.save('model.keras')."
        )
    # Bytes that are no text come from h5py as surrogates, and go back to what they were.
    return config if isinstance(config, bytes) else str(config).encode(errors="surrogateescape")


def _datasets(file: Any) -> Iterator[tuple[int, int, int]]:
    """Yield declared bytes, stored bytes and numbers of each dataset, in bounded work."""
    import h5py

    seen: set[int] = set()
    waiting = [(file["/"], 0)]
    while waiting:
        group, depth = waiting.pop()
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise DataError("its weights hold a link to another place or file")
            inner = group[name]
            address = h5py.h5o.get_info(inner.id).addr
            if address in seen or len(seen) > _MOST_OBJECTS or depth > _DEEPEST:
                raise DataError("its weights are linked in a circle, or nested without end")
            seen.add(address)
            if isinstance(inner, h5py.Group):
                waiting.append((inner, depth + 1))
            elif isinstance(inner, h5py.Dataset):
                yield _dataset(inner)
            else:
                raise DataError("its weights hold a named type, which no Keras file does")


def _dataset(dataset: Any) -> tuple[int, int, int]:
    if dataset.external or dataset.is_virtual:
        raise DataError("its weights lie in another file")
    if dataset.id.get_create_plist().get_nfilters():
        raise DataError("its weights are compressed, which no Keras file is. Save it anew.")
    if dataset.dtype.kind not in "fiub":
        raise DataError(f"its weights hold {dataset.dtype} in place of numbers")
    count = math.prod(dataset.shape or ())
    return count * dataset.dtype.itemsize, dataset.id.get_storage_size(), count
