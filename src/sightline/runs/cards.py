"""`run.json` and `model.json` as they begin: what a run is of, what goes into a model and out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from sightline.recipes import Recipe
from sightline.records import DataFacts
from sightline.runs.folder import FORMAT_VERSION
from sightline.runs.journal import provenance


def run_card(
    recipe: Recipe, machine: Mapping[str, Any], facts: DataFacts, network: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what `run.json` says of every run from its first second.

    Args:
        recipe: Resolved.
        machine: Backend, device and their versions.
        facts: Of the images that it is of.
        network: Its summary, as plain JSON values.
    """
    return {
        "format_version": FORMAT_VERSION,
        "recipe": recipe.name,
        "seed": recipe.seed,
        "precision": recipe.precision,
        **machine,
        **provenance(),
        "data": dataclasses.asdict(facts),
        "network": dict(network),
    }


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
