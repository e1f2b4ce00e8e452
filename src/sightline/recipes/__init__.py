"""The recipe: schema, loading, planning, and the built-in ones as commented TOML."""

from __future__ import annotations

from sightline.recipes.loading import (
    BUILTIN_NAMES,
    builtin_text,
    change_recipe,
    dump_recipe,
    flat,
    load_recipe,
    parse_changes,
)
from sightline.recipes.planning import resolve_length, resolve_shape
from sightline.recipes.schema import APPLICATIONS, EVERY_EPOCH, NETWORKS, OWN, Recipe
from sightline.recipes.sections import AugmentSection, Normalisation, TrainSection

__all__ = [
    "APPLICATIONS",
    "BUILTIN_NAMES",
    "EVERY_EPOCH",
    "NETWORKS",
    "OWN",
    "AugmentSection",
    "Normalisation",
    "Recipe",
    "TrainSection",
    "builtin_text",
    "change_recipe",
    "dump_recipe",
    "flat",
    "load_recipe",
    "parse_changes",
    "resolve_length",
    "resolve_shape",
]
