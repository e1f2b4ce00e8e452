"""The recipe: schema, loading, planning, and the built-in ones as commented TOML."""

from __future__ import annotations

from sightline.recipes.effects import (
    DECIDED,
    PLACED,
    completed,
    deciders,
    has_effect,
    places,
    varied,
)
from sightline.recipes.loading import (
    BUILTIN_NAMES,
    builtin_text,
    change_recipe,
    dump_recipe,
    flat,
    load_recipe,
    parse_changes,
    refuse_value,
)
from sightline.recipes.planning import resolve_length, resolve_shape
from sightline.recipes.schema import APPLICATIONS, EVERY_EPOCH, NETWORKS, OWN, Recipe
from sightline.recipes.sections import AugmentSection, Normalisation, TrainSection

__all__ = [
    "APPLICATIONS",
    "BUILTIN_NAMES",
    "DECIDED",
    "EVERY_EPOCH",
    "NETWORKS",
    "OWN",
    "PLACED",
    "AugmentSection",
    "Normalisation",
    "Recipe",
    "TrainSection",
    "builtin_text",
    "change_recipe",
    "completed",
    "deciders",
    "dump_recipe",
    "flat",
    "has_effect",
    "load_recipe",
    "parse_changes",
    "places",
    "refuse_value",
    "resolve_length",
    "resolve_shape",
    "varied",
]
