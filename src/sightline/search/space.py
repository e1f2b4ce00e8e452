"""A declared space: which values a search may draw for which keys of the recipe.

    "train.learning_rate" = {low = 1e-4, high = 1e-2, log = true}    a number from a range
    "train.epochs" = {low = 10, high = 40, step = 10}                whole where low and high are
    "model.width" = [16, 32, 64]                                     one of these
    "model.dense" = [[], [64], [128, 64]]                            likewise, of whole lists
    "model.dropout" = {each = {low = 0.0, high = 0.5, step = 0.1}}   one for each place
    "model.dense" = {each = [32, 64], length = [0, 1, 2]}            so many of them
    "data.image_size" = {share = [0.5, 1.0]}                         of the recipe's own

`[train]` with `learning_rate = ...` below it says the same as `"train.learning_rate"`.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sightline.errors import RecipeError
from sightline.recipes import (
    APPLICATIONS,
    DECIDED,
    NETWORKS,
    PLACED,
    Recipe,
    completed,
    deciders,
    has_effect,
    places,
    refuse_value,
)

_NOT_SEARCHED = {  # key or section: why
    "seed": "another seed is another throw, not a better recipe",
    "name": "it is what the recipe is called",
    "backend": "it decides where the training runs, not what it learns",
    "devices": "it decides where the training runs, not what it learns",
    "data.validation": "it decides what all are compared on",
    "data.test": "the test split is not looked at",
    "train.best": "it decides what all are compared by",
    "train.metrics": "it decides what is measured, not what is learned",
    "train.minutes": "it is a limit",
    "train.log_to": "it decides where the history goes",
    "stop.monitor": "it decides what all are compared by",
    "stop.minutes": "it is a limit that depends on the machine",
    "audit": "it is about the images",
    "checkpoint": "it decides how often a training is saved",
}
_SMALLEST_SIDE = 8  # pixels
_DIGITS = 4  # of a number that is drawn, so that it can be read


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers from `low` to `high`, both included; whole ones where both are.

    Attributes:
        low: The smallest.
        high: The largest.
        step: Between two of them; None for any.
        log: As many below the geometric middle as above it.
    """

    low: float
    high: float
    step: float | None = None
    log: bool = False

    @property
    def whole(self) -> bool:
        """Whether it has whole numbers alone."""
        return all(isinstance(each, int) for each in (self.low, self.high, self.step or 1))

    @property
    def extremes(self) -> tuple[Any, ...]:
        """The values that are accepted if all are."""
        return (self.low, self.high)

    def holds(self, value: object) -> bool:
        """Say whether a value is one of them."""
        if isinstance(value, bool) or not isinstance(value, int if self.whole else (int, float)):
            return False
        steps = (value - self.low) / self.step if self.step else 0
        return self.low <= value <= self.high and abs(steps - round(steps)) < 1e-6

    def plain(self) -> dict[str, Any]:
        """Return it as in a file."""
        step = {} if self.step is None else {"step": self.step}
        return {"low": self.low, "high": self.high, **step, **({"log": True} if self.log else {})}


@dataclass(frozen=True, slots=True)
class Choices:
    """Some values, of any kind.

    Attributes:
        values: One or more.
    """

    values: tuple[Any, ...]

    @property
    def extremes(self) -> tuple[Any, ...]:
        """The values that are accepted if all are."""
        return self.values

    def holds(self, value: object) -> bool:
        """Say whether a value is one of them."""
        return json.dumps(value) in map(json.dumps, self.values)

    def plain(self) -> list[Any]:
        """Return it as in a file."""
        return list(self.values)


Simple = Range | Choices


@dataclass(frozen=True, slots=True)
class Each:
    """A list with a value for each place of the network.

    Attributes:
        of: Which values.
        length: How many; None: as many as the network has places.
    """

    of: Simple
    length: Simple | None = None

    @property
    def extremes(self) -> tuple[Any, ...]:
        """The lists that are accepted if all are."""
        return tuple([each] for each in self.of.extremes)

    def plain(self) -> dict[str, Any]:
        """Return it as in a file."""
        length = {} if self.length is None else {"length": self.length.plain()}
        return {"each": self.of.plain(), **length}


@dataclass(frozen=True, slots=True)
class Share:
    """The recipe's own image size, times something.

    Attributes:
        of: Above 0.
    """

    of: Simple

    @property
    def extremes(self) -> tuple[Any, ...]:
        """Nothing: a size is known where the recipe is resolved."""
        return ()

    def plain(self) -> dict[str, Any]:
        """Return it as in a file."""
        return {"share": self.of.plain()}


Declared = Simple | Each | Share
# Given a name, what may be drawn and what the recipe has there, returns what is drawn.
Draw = Callable[[str, Simple, Any], Any]


class _Outside(Exception):
    """The recipe itself is not in the space."""


@dataclass(frozen=True, slots=True)
class Space:
    """What a search may draw.

    Attributes:
        declared: By dotted key of the recipe.
    """

    declared: Mapping[str, Declared]

    def draw(self, base: Mapping[str, Any], draw: Draw) -> dict[str, Any]:
        """Return changes of a recipe, drawn one after the other; those that do nothing left out.

        What decides about others is drawn before them: no momentum is drawn for an optimizer
        that has none.

        Args:
            base: The recipe, by dotted key; resolved.
            draw: Draws each; a value for a place has a name of its own, `model.dropout[0]`.
        """
        changes: dict[str, Any] = {}
        first = deciders()

        def order(key: str) -> tuple[bool, bool, bool, str]:
            # The network decides whether there are dense layers, whose number decides about rates.
            return key not in first, key in DECIDED, key in PLACED, key

        for key in sorted(self.declared, key=order):
            whole = {**base, **changes}
            if has_effect(key, whole):
                changes[key] = _drawn(key, self.declared[key], whole, base, draw)
        return completed(base, changes)

    def own(self, base: Mapping[str, Any]) -> dict[str, tuple[Simple, Any]] | None:
        """Return what would have to be drawn to get the recipe itself, and of what, by name.

        None where it is not in here.
        """
        found: dict[str, tuple[Simple, Any]] = {}

        def present(name: str, declared: Simple, value: Any) -> Any:
            if not declared.holds(value):
                raise _Outside
            found[name] = declared, value
            return value

        try:
            return None if self.draw(base, present) else found
        except _Outside:
            return None

    def most(self, key: str, present: int) -> int:
        """Return the largest whole number that a key may have, e.g. of epochs."""
        declared = self.declared.get(key)
        if isinstance(declared, (Range, Choices)):
            return max(int(each) for each in declared.extremes if not isinstance(each, str))
        return present

    def plain(self) -> dict[str, Any]:
        """Return it as plain values, as in a file."""
        return {key: declared.plain() for key, declared in self.declared.items()}

    def to_toml(self) -> str:
        """Return the text of a file that `load_space` reads."""
        return "".join(f'"{key}" = {_inline(value)}\n' for key, value in self.plain().items())


def _drawn(
    key: str, declared: Declared, whole: Mapping[str, Any], base: Mapping[str, Any], draw: Draw
) -> Any:
    if isinstance(declared, Share):
        share = draw(f"{key}.share", declared.of, 1.0)
        return [max(_SMALLEST_SIDE, round(side * share)) for side in base[key]]
    if not isinstance(declared, Each):
        return short(draw(key, declared, whole[key]))
    present = whole[key] if isinstance(whole[key], list) else [whole[key]] * 99
    if declared.length is not None:
        count = draw(f"{key}.length", declared.length, len(present))
    else:
        count = places(key, whole) or 0
    nothing: Any = 0.0 if key == "model.dropout" else None
    return [
        short(draw(f"{key}[{place}]", declared.of, (*present, *[nothing] * count)[place]))
        for place in range(count)
    ]


def short(value: Any) -> Any:
    """Return a number with few digits: 0.1 + 0.2 is 0.3."""
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value


def _inline(value: Any) -> str:
    """Return a value of a space as TOML on one line; JSON is TOML but for tables."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key} = {_inline(each)}' for key, each in value.items())}}}"
    return json.dumps(value)


def load_space(path: Path, recipe: Recipe) -> Space:
    """Return the space that a TOML file declares.

    Args:
        path: Of the file.
        recipe: Whose values are drawn.

    Raises:
        RecipeError: It cannot be read, or a key or value is not one that the recipe takes; the
            message names file, key and value.
    """
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise RecipeError(f"space {path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"space {path} is not valid TOML: {error}") from error
    declared: dict[str, Declared] = {}
    for key, value in _by_dotted_key(values):
        try:
            declared[key] = _understood(key, value)
            _refuse_wrong(key, declared[key], recipe)
        except RecipeError as error:
            raise RecipeError(f"space {path}: {error}") from None
    if not declared:
        raise RecipeError(
            f'space {path} declares nothing; give a key and its values, e.g. "model.width" = '
            "[16, 32]"
        )
    return Space(declared)


def _by_dotted_key(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        key = f"{before}{name}"
        if isinstance(value, dict) and "." not in key and not {"low", "high"} & set(value):
            yield from _by_dotted_key(value, f"{key}.")
        else:
            yield key, value


def _understood(key: str, value: Any) -> Declared:
    if not isinstance(value, dict) or "low" in value or "high" in value:
        return _simple(key, value)
    if set(value) <= {"each", "length"} and "each" in value:
        length = _length(key, value["length"]) if "length" in value else None
        if length is None and key not in PLACED:
            raise RecipeError(f"{key}: how many there are does not follow from the network; give "
                              "length, e.g. {each = [32, 64], length = [1, 2]}")  # fmt: skip
        return Each(_simple(f"{key}: each", value["each"]), length)
    if set(value) == {"share"} and key == "data.image_size":
        share = _simple(f"{key}: share", value["share"])
        if not all(isinstance(each, (int, float)) and each > 0 for each in share.extremes):
            raise RecipeError(f"{key}: share {share.plain()} must have numbers above 0 alone")
        return Share(share)
    raise RecipeError(
        f"{key} = {value} is not understood; give a list of values, {{low = ..., high = ...}} with "
        "step or log, {each = ...} for a value at each place, or data.image_size = {share = ...}"
    )


def _length(key: str, value: Any) -> Simple:
    length = _simple(f"{key}: length", value)
    whole = length.whole if isinstance(length, Range) else all(
        isinstance(each, int) and not isinstance(each, bool) for each in length.values
    )  # fmt: skip
    if not whole or min(length.extremes) < 0:
        raise RecipeError(f"{key}: length {length.plain()} must have whole numbers from 0 on alone")
    return length


def _simple(key: str, value: Any) -> Simple:
    if isinstance(value, list):
        if not value:
            raise RecipeError(f"{key} = [] has no value to draw")
        return Choices(tuple(value))
    if not isinstance(value, dict):
        raise RecipeError(f"{key} = {value!r} is one value; give a list of several, or "
                          "{low = ..., high = ...}")  # fmt: skip
    unknown = set(value) - {"low", "high", "step", "log"}
    if unknown or not {"low", "high"} <= set(value):
        raise RecipeError(f"{key} = {value} needs low and high, and may have step or log = true")
    low, high, step = value["low"], value["high"], value.get("step")
    given = [each for each in (low, high, step) if each is not None]
    if any(isinstance(each, bool) or not isinstance(each, (int, float)) for each in given):
        raise RecipeError(f"{key} = {value}: low, high and step are numbers")
    log = value.get("log", False)
    if low >= high:
        raise RecipeError(f"{key}: low {low} must be below high {high}")
    if log and (low <= 0 or step is not None):
        raise RecipeError(f"{key} = {value}: log needs a low above 0, and takes no step")
    if step is not None and not 0 < step <= high - low:
        raise RecipeError(f"{key}: step {step} must be above 0 and fit between {low} and {high}")
    return Range(low, high, step, bool(log))


def _refuse_wrong(key: str, declared: Declared, recipe: Recipe) -> None:
    """Refuse a key that is not searched over, and values that no recipe takes."""
    why = _NOT_SEARCHED.get(key) or _NOT_SEARCHED.get(key.partition(".")[0])
    if why:
        raise RecipeError(f"{key} is not searched over: {why}")
    if not declared.extremes:
        return
    inside = (_inside(declared),) if isinstance(declared, Range) else ()
    for value in (*declared.extremes, *inside):
        refuse_value(recipe, key, value)
        if value == "auto" and key != "train.weight_average":
            raise RecipeError(f'{key}: "auto" is planned before a search, not drawn; leave it out')
        if key == "model.network" and not _is_network(value):
            raise RecipeError(
                f"{key}: there is no network {value!r}; there are {', '.join(NETWORKS)}, "
                f'"{APPLICATIONS}NAME" and "module:function"'
            )


def _inside(declared: Range) -> float:
    """Return a value between the ends: a range of fractions may end at whole numbers."""
    if declared.whole:
        return declared.low
    return declared.low + (declared.step or 0.37 * (declared.high - declared.low))


def _is_network(name: str) -> bool:
    return name in NETWORKS or name.startswith(APPLICATIONS) or ":" in name
