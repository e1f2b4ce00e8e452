"""The recipe: schema, loading, planning, and the built-in ones as commented TOML."""

from __future__ import annotations

from sightline.recipes.loading import (
    BUILTIN_NAMES,
    builtin_text,
    change_recipe,
    dump_recipe,
    load_recipe,
)
from sightline.recipes.planning import resolve_epochs, resolve_shape
from sightline.recipes.schema import (
    NETWORKS,
    AugmentSection,
    Recipe,
    TrainSection,
)

__all__ = [
    "BUILTIN_NAMES",
    "NETWORKS",
    "AugmentSection",
    "Recipe",
    "TrainSection",
    "builtin_text",
    "change_recipe",
    "dump_recipe",
    "load_recipe",
    "resolve_epochs",
    "resolve_shape",
]
