"""`model.json`: what goes into a model, and what comes out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sightline.recipes import Recipe
from sightline.runs.folder import FORMAT_VERSION


def model_card(recipe: Recipe, class_names: Sequence[str], fingerprint: str) -> dict[str, Any]:
    """Return what `model.json` says of every model; who made it adds the epochs.

    Args:
        recipe: Resolved.
        class_names: In output order.
        fingerprint: Of recipe, network and weights.
    """
    data = recipe.data
    return {
        "format_version": FORMAT_VERSION,
        "class_names": list(class_names),
        "network": recipe.model.network,
        "input": {
            "image_size": list(data.image_size),
            "channels": data.channels,
            "scaling": data.scaling,
            "mean": list(data.mean),
            "std": list(data.std),
            "quality": data.quality,
            "background": list(data.background),
        },
        "threshold": 0.5,
        "temperature": 1.0,
        "fingerprint": fingerprint,
    }
