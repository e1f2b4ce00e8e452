"""Which Keras backend is used, and what it runs on. Importing this loads no framework."""

from __future__ import annotations

import importlib.util
import logging
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sightline.data.stream import usable_cores
from sightline.errors import SetupError, how_to_install, require

BACKENDS = ("tensorflow", "jax", "torch")
# On a GPU: whoever opens an export needs room beside the process that wrote it.
SHARED_GPU = {"TF_FORCE_GPU_ALLOW_GROWTH": "true", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
_DECISIVE = (  # variables that change the last bits of what a backend computes
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "ONEDNN_MAX_CPU_ISA",
    "TF_ENABLE_ONEDNN_OPTS",
    "TF_DETERMINISTIC_OPS",
    "TF_NUM_INTRAOP_THREADS",
    "XLA_FLAGS",
    "JAX_ENABLE_X64",
    "JAX_DEFAULT_MATMUL_PRECISION",
)


def choose(wanted: str = "auto") -> str:
    """Load Keras on a backend and return the backend's name.

    "auto" is the Keras already imported, else KERAS_BACKEND, else the first installed of
    TensorFlow, JAX and torch.

    Raises:
        SetupError: No backend is installed, the one wanted is not, or Keras was already imported
            with another one.
    """
    if "keras" in sys.modules:
        return _loaded(wanted)
    name = os.environ.get("KERAS_BACKEND", "") if wanted == "auto" else wanted
    if not name:
        name = next((b for b in BACKENDS if importlib.util.find_spec(b) is not None), "")
    if not name:
        raise SetupError(
            "training needs a Keras backend and none is installed. "
            f"Install one: {', or '.join(how_to_install(backend) for backend in BACKENDS)}"
        )
    if name not in BACKENDS:
        raise SetupError(f"KERAS_BACKEND is {name!r}; Sightline runs on {', '.join(BACKENDS)}")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with _quiet_start():
        require(name)
        os.environ["KERAS_BACKEND"] = name  # not before: a failed choice must not bind the next
        require("keras")
        _accelerators(name)  # looking for a GPU is where the drivers talk
    logging.getLogger("tensorflow").addFilter(_is_no_retracing)
    return name


def _is_no_retracing(record: logging.LogRecord) -> bool:
    """Say whether TensorFlow warns of something else than the fifth network of a process."""
    return "triggered tf.function retracing" not in str(record.msg)


def choose_for(made_on: str) -> str:
    """Load Keras to use what was trained before, and return the backend's name.

    The Keras already imported, else KERAS_BACKEND; else the backend that it was made on, where that
    is installed; else the first that is. Any of them gives the same answers but for the last
    digits. To train on, `choose`.

    Args:
        made_on: A backend, by name.

    Raises:
        SetupError: No backend is installed, or the one of KERAS_BACKEND is not.
    """
    asked = "keras" in sys.modules or os.environ.get("KERAS_BACKEND")
    there = made_on in BACKENDS and importlib.util.find_spec(made_on) is not None
    return choose(made_on if there and not asked else "auto")


def describe(name: str) -> dict[str, Any]:
    """Return what the loaded backend runs on.

    Keys: backend, device (by name), accelerators (count), bfloat16 (bool: the processor has it),
    threads (usable cores), settings (what else decides in which order the backend adds, by name),
    versions (of Keras and the backend).
    """
    devices = _accelerators(name)
    keras = sys.modules["keras"]
    return {
        "backend": name,
        "device": devices[0] if devices else processor_name(),
        "accelerators": len(devices),
        "bfloat16": bool(devices) or processor_has_bfloat16(),
        "threads": usable_cores(),
        "settings": _settings(name),
        "versions": {"keras": keras.__version__, name: sys.modules[name].__version__},
    }


@contextmanager
def in_one_order() -> Iterator[None]:
    """Keep TensorFlow's graphs as they are written while inside; nothing on other backends.

    Its graph optimiser may turn a sum of three parts or more, such as the gradient of Keras'
    normalisations, into one that adds them in whichever order they are ready, and two trainings
    of one seed then differ in the last bits. Without it steps run at 0.88 to 1.0 of their speed.
    """
    if (tensorflow := sys.modules.get("tensorflow")) is None:
        yield
        return
    options = tensorflow.config.optimizer
    before = options.get_experimental_options().get("disable_meta_optimizer", False)
    options.set_experimental_options({"disable_meta_optimizer": True})
    try:
        yield
    finally:
        options.set_experimental_options({"disable_meta_optimizer": before})


def _settings(name: str) -> dict[str, Any]:
    """Return the variables that are set, and how many threads the backend was given (0: all)."""
    found: dict[str, Any] = {each: os.environ[each] for each in _DECISIVE if each in os.environ}
    backend = sys.modules[name]
    if name == "tensorflow":
        threading = backend.config.threading
        found["intra_op_threads"] = threading.get_intra_op_parallelism_threads()
        found["inter_op_threads"] = threading.get_inter_op_parallelism_threads()
    if name == "torch":
        found["threads"] = backend.get_num_threads()
    return found


def processor_name() -> str:
    """Return the processor by name, as the system tells it."""
    for line in _cpuinfo():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def processor_has_bfloat16() -> bool:
    """Say whether the processor multiplies bfloat16 natively."""
    flags = next((line for line in _cpuinfo() if line.startswith("flags")), "").split()
    return "avx512_bf16" in flags or "amx_bf16" in flags


def _loaded(wanted: str) -> str:
    loaded = str(sys.modules["keras"].config.backend())
    if wanted in ("auto", loaded):
        return loaded
    raise SetupError(
        f"Keras was already imported with backend {loaded!r}, and this recipe asks for "
        f"{wanted!r}. Set the variable KERAS_BACKEND={wanted} before Python starts, or use "
        f"--set backend={loaded}."
    )


def _accelerators(name: str) -> list[str]:
    backend = sys.modules[name]
    if name == "tensorflow":
        found = backend.config.list_physical_devices("GPU")
        details = backend.config.experimental.get_device_details
        return [details(device).get("device_name", device.name) for device in found]
    if name == "jax":
        return [d.device_kind for d in backend.devices() if d.platform != "cpu"]
    return [backend.cuda.get_device_name(i) for i in range(backend.cuda.device_count())]


@contextmanager
def _quiet_start() -> Iterator[None]:
    """Hold back what native libraries write to standard error, unless the import fails.

    TensorFlow's C++ parts report CPU features and missing GPUs there before any level can be set.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(kept, held.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")  # Linux; elsewhere `platform` has to do
    return path.read_text("utf-8").splitlines() if path.exists() else []
