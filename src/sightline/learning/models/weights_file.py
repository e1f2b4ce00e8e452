"""The file of weights that a recipe names. Importing this loads no framework."""

from __future__ import annotations

from pathlib import Path

from sightline.recipes import Recipe


def weights_file(recipe: Recipe) -> Path:
    """Return the path in model.weights, with ~ as the home folder."""
    path = Path(recipe.model.weights)
    try:
        return path.expanduser()
    except RuntimeError:  # ~NAME, and there is nobody of that name
        return path
