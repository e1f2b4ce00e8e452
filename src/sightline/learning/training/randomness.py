"""The generators that belong to the whole process, kept for what the user brings along.

Nothing of Sightline draws from them; a user's callback or layer may. What TensorFlow's own
generators hold (`tf.random` without a generator of one's own) cannot be read, and is not kept.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras.src.random.seed_generator import global_seed_generator


def settle() -> None:
    """Let Keras make its generator now, at a fixed place: it draws its seed from Python's."""
    global_seed_generator()


def state() -> dict[str, Any]:
    """Return the states of the generators of Python, NumPy, Keras and torch, as JSON values.

    Torch's is among them where torch is the backend.
    """
    version, words, spare = random.getstate()
    numpy: Any = np.random.get_state(legacy=False)  # noqa: NPY002
    keys = numpy["state"]["key"]
    kept = {
        "python": [version, _to_text(np.asarray(words, np.uint32)), spare],
        "numpy": [_to_text(keys), numpy["state"]["pos"], numpy["has_gauss"], numpy["gauss"]],
        "keras": keras.ops.convert_to_numpy(global_seed_generator().state).tolist(),
    }
    if keras.config.backend() == "torch":
        kept["torch"] = _to_text(sys.modules["torch"].get_rng_state().numpy())
    return kept


def restore(kept: Mapping[str, Any]) -> None:
    """Go back to what `state` returned; what is not in it stays as it is."""
    if "keras" in kept:  # first: where there was none, it draws its seed from Python's
        global_seed_generator().state.assign(kept["keras"])
    if "torch" in kept and keras.config.backend() == "torch":
        torch = sys.modules["torch"]
        torch.set_rng_state(torch.from_numpy(_from_text(kept["torch"], np.uint8)))
    if "python" in kept:
        version, words, spare = kept["python"]
        random.setstate((version, tuple(_from_text(words, np.uint32).tolist()), spare))
    if "numpy" in kept:
        keys, place, has_spare, spare = kept["numpy"]
        words = _from_text(keys, np.uint32)
        np.random.set_state(("MT19937", words, place, has_spare, spare))  # noqa: NPY002


def _to_text(numbers: Any) -> str:
    return np.ascontiguousarray(numbers).tobytes().hex()


def _from_text(text: str, kind: type[np.generic]) -> Any:
    return np.frombuffer(bytes.fromhex(text), kind).copy()
