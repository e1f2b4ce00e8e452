"""Recipes from names, files and `--set` changes; and back to TOML."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import ValidationError

from sightline.errors import RecipeError
from sightline.recipes.schema import APPLICATIONS, NETWORKS, Recipe
from sightline.recipes.sections import Section

BUILTIN_NAMES = ("auto", "basic", "chest-xray", "ham10000", "skin-binary", "transfer")
_BACKBONE = "model.backbone"  # short for model.network of keras.applications


def builtin_text(name: str) -> str:
    """Return the commented TOML of a built-in recipe.

    Raises:
        RecipeError: There is no recipe of that name.
    """
    if name not in BUILTIN_NAMES:
        raise RecipeError(
            f"there is no recipe {name!r}. Built in are {', '.join(BUILTIN_NAMES)}; "
            "your own is given as a path that ends in .toml"
        )
    return (resources.files("sightline.recipes") / f"{name}.toml").read_text("utf-8")


def load_recipe(
    name_or_path: str | Path, changes: Mapping[str, Any] | Sequence[str] = ()
) -> Recipe:
    """Return a built-in recipe, or the one in a .toml file, with `changes` applied.

    Args:
        name_or_path: "auto", "ham10000", ... or a path that ends in .toml.
        changes: {"train.epochs": 3} or ["train.epochs=3"]; values of the second form are read
            as TOML, and as plain text where they are not TOML. A network that is not one of
            NETWORKS takes the place of the whole section [model]. "model.backbone": "NAME" is
            short for "model.network": "applications/NAME".

    Raises:
        RecipeError: Unknown name, unreadable file, unknown key, or a value out of its range;
            the message names the key and what was expected.
    """
    source = str(name_or_path)
    text = _read(Path(source)) if source.endswith(".toml") else builtin_text(source)
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"recipe {source} is not valid TOML: {error}") from error
    pairs = dict(changes if isinstance(changes, Mapping) else parse_changes(changes))
    if _BACKBONE in pairs:
        pairs["model.network"] = f"{APPLICATIONS}{pairs.pop(_BACKBONE)}"
    network = pairs.get("model.network")
    before = values.get("model", {}).get("network")
    if before in NETWORKS and network is not None and network not in NETWORKS:
        values["model"] = {}  # what it says is about a network that is not used
    for key, value in pairs.items():
        _change(values, key, value)
    if source.endswith(".toml"):
        values.setdefault("name", Path(source).stem)
    return _validate(values, source)


def change_recipe(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """Return `recipe` with dotted keys replaced, e.g. {"train.epochs": 3}.

    Raises:
        RecipeError: As `load_recipe`.
    """
    values = recipe.model_dump(mode="json")
    for key, value in changes.items():
        _change(values, key, value)
    return _validate(values, recipe.name)


def refuse_value(recipe: Recipe, key: str, value: Any) -> None:
    """Refuse a value that no recipe takes, whatever its other sections say.

    Args:
        recipe: Whose section it would be put into.
        key: Dotted.
        value: Of it.

    Raises:
        RecipeError: There is no such key, or it takes no such value.
    """
    part, _, name = key.partition(".")
    section = getattr(recipe, part, None)
    if key not in _all_keys() or not isinstance(section, Section):
        raise RecipeError(f"{key!r} {_unknown(key)}")
    values = section.model_dump(mode="json")
    try:
        type(section).model_validate({**values, name: value})
    except ValidationError as error:
        raise RecipeError(f"{part}.{_in_words(error)}") from error


def dump_recipe(recipe: Recipe) -> str:
    """Return the complete recipe as TOML; `load_recipe` of that file gives it back."""
    return tomli_w.dumps(recipe.model_dump(mode="json", exclude_none=True))


def flat(recipe: Recipe) -> dict[str, Any]:
    """Return the values of a recipe by their dotted names."""
    return {
        f"{name}.{key}" if key else name: value
        for name, section in recipe.model_dump(mode="json", exclude_none=True).items()
        for key, value in (section.items() if isinstance(section, dict) else (("", section),))
    }


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise RecipeError(f"recipe {path} is not a text file: {error}") from error
    except OSError as error:
        raise RecipeError(
            f"recipe {path} cannot be read: {error.strerror}. Check the path, or name one of "
            f"{', '.join(BUILTIN_NAMES)}."
        ) from error


def parse_changes(changes: Sequence[str]) -> dict[str, Any]:
    """Return the values of "train.epochs=3" and the like by their keys.

    Raises:
        RecipeError: One has no "=".
    """
    parsed: dict[str, Any] = {}
    for change in changes:
        key, equals, text = change.partition("=")
        if not equals or not key.strip():
            raise RecipeError(f"--set {change} is not of the form key=value, e.g. train.epochs=3")
        try:
            parsed[key.strip()] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            parsed[key.strip()] = text.strip()  # a bare word such as adam or val_loss
    return parsed


def _change(values: dict[str, Any], key: str, value: Any) -> None:
    *sections, last = key.split(".")
    target = values
    for section in sections:
        target = target.setdefault(section, {})
        if not isinstance(target, dict):
            raise RecipeError(f"recipe key {key!r}: {section!r} is a value, not a section")
    target[last] = value


def _validate(values: dict[str, Any], source: str) -> Recipe:
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        raise RecipeError(f"recipe {source}: {_in_words(error)}") from error


def _unknown(key: str) -> str:
    nearest = difflib.get_close_matches(key, _all_keys(), n=1)
    if not nearest:
        last = key.rpartition(".")[2]
        nearest = [known for known in _all_keys() if known.rpartition(".")[2] == last]
    meant = f"; did you mean {nearest[0]}?" if nearest else ";"
    part, known = key.partition(".")[0], _all_keys()
    there = [each.partition(".")[2] for each in known if each.startswith(f"{part}.")]
    shown = f"[{part}] has {', '.join(there)}"
    if not there:
        sections = sorted({each.partition(".")[0] for each in known if "." in each})
        alone = [each for each in known if "." not in each and each not in sections]
        shown = f"there are {', '.join(alone)}, and sections {', '.join(sections)}"
    return f"is not a recipe key{meant} {shown} (`recipe.toml` of any run has all)"


def _all_keys() -> list[str]:
    """Return "seed", "train", "train.epochs" and all other keys."""
    keys = []
    for name, field in Recipe.model_fields.items():
        inner = getattr(field.annotation, "model_fields", {})
        keys += [name, *(f"{name}.{key}" for key in inner)]
    return keys


def _first_key(section: str) -> str:
    return next((key for key in _all_keys() if key.startswith(f"{section}.")), section)


def _in_words(error: ValidationError) -> str:
    """Say every fault as `key: what was expected, got value`, one sentence a key."""
    faults: dict[str, list[str]] = {}
    values: dict[str, object] = {}
    for fault in error.errors():
        # A union reports one fault a branch, under key.branch: gather them under the key.
        key = ".".join(str(part) for part in fault["loc"][:2]) or "the recipe"
        if fault["type"] == "value_error":
            text = str(fault["ctx"]["error"])
        elif fault["type"] == "extra_forbidden":
            text = _unknown(key)
        elif fault["type"] == "missing":
            text = "is missing" if len(fault["loc"]) <= 2 else "has too few values"
        elif fault["type"] == "model_type":
            text = f"is a section; set one of its keys, such as {_first_key(key)}"
        else:
            text = fault["msg"][0].lower() + fault["msg"][1:]
            text = text.replace("tuple", "list")  # which TOML has none of
            values.setdefault(key, fault["input"])
        faults.setdefault(key, []).append(text)
    return "; ".join(
        f"{key}: {', or '.join(texts)}" + (f", got {values[key]!r}" if key in values else "")
        for key, texts in faults.items()
    )
