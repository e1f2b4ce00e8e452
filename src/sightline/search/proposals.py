"""The next experiments: what the curves of the last one ask for, then the usual next rungs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any

from sightline.errors import RecipeError
from sightline.recipes import NETWORKS, Recipe, change_recipe, flat, parse_changes

_WIDEST, _NARROWEST = 128, 8
_FEW_UNITS = 32
_IMBALANCED = 1.5
_LARGEST_BATCH = 128
_FASTEST, _SLOWEST = 0.03, 3e-5  # learning rates
_DIRECTIONS = {  # key: what more of it is called, and less
    "train.learning_rate": ("a higher learning rate", "a lower learning rate"),
    "train.epochs": ("more epochs", "fewer epochs"),
    "model.dropout": ("more dropout", "less dropout"),
    "model.width": ("twice as wide", "half as wide"),
    "model.l2": ("a penalty of large weights", "a smaller penalty of large weights"),
    "schedule.epochs": ("a slower decay", "a faster decay"),
    "stop.patience": ("more patience", "less patience"),
    "augment.width_shift": ("shifts sideways", "smaller shifts sideways"),
    "augment.zoom": ("zoom", "less zoom"),
    "augment.erasing": ("erased patches", "fewer erased patches"),
}
_NAMES: dict[tuple[str, object], str] = {
    ("model.normalisation", "batch"): "batch normalisation",
    ("schedule.kind", "cosine"): "cosine decay",
    ("schedule.kind", None): "another schedule",
    ("balance.class_weights", "balanced"): "class weights",
    ("balance.class_weights", "none"): "no class weights",
    ("balance.sampling", "all"): "every image once an epoch",
    ("train.best", None): "best weights by another figure",
}


@dataclass(frozen=True, slots=True)
class Proposal:
    """A change of the recipe that may help.

    Attributes:
        name: What it is called.
        changes: What it sets, by dotted key.
        why: What it follows from.
    """

    name: str
    changes: Mapping[str, Any]
    why: str


def propose(
    recipe: Recipe,
    answers: Sequence[tuple[str, str]],
    *,
    imbalance: float = 1.0,
) -> list[Proposal]:
    """Return changes worth trying on this recipe, the most promising first.

    First what the findings of its curves ask for, then the usual rungs, one of each kind in turn:
    another network, the learning rate and how it falls, wider and narrower, random changes,
    penalties, balance. Each is a recipe that is accepted and differs from this one.

    Args:
        recipe: What they would change.
        answers: (code, change as `--set` takes it) of findings, the worst first.
        imbalance: Images of the largest class over those of the smallest.
    """
    kinds = [
        _network(recipe), _transfer(recipe), _rate(recipe), _capacity(recipe),
        _augmentation(recipe),
        _regularisation(recipe), _balance(recipe, imbalance),
    ]  # fmt: skip
    rungs = [each for turn in zip_longest(*kinds) for each in turn if each is not None]
    found: list[Proposal] = []
    for each in (*_answering(recipe, answers), *rungs):
        known = [dict(other.changes) for other in found]
        if dict(each.changes) not in known and _differs(recipe, each):
            taken = any(other.name == each.name for other in found)
            found.append(replace(each, name=_with_values(each)) if taken else each)
    return found


def _with_values(proposal: Proposal) -> str:
    """Return the name of one beside another of the same name."""
    return f"{proposal.name} ({', '.join(map(str, proposal.changes.values()))})"


def _answering(recipe: Recipe, answers: Sequence[tuple[str, str]]) -> Iterator[Proposal]:
    for code, change in answers:
        changes = parse_changes([change])
        yield Proposal(_in_words(recipe, changes) or change, changes, f"the curves say {code}")


def _in_words(recipe: Recipe, changes: Mapping[str, Any]) -> str:
    """Return what an answer of the diagnosis is called; "" of one that has no name."""
    (key, value), *_ = changes.items()
    before = flat(recipe).get(key)
    if key in _DIRECTIONS:
        up, down = _DIRECTIONS[key]
        return up if _size(value) > _size(before) else down
    return _NAMES.get((key, value), _NAMES.get((key, None), ""))


def _size(value: object) -> float:
    """Return what orders two values of one key."""
    if isinstance(value, (list, tuple)):
        return sum(map(float, value))
    return float(value) if isinstance(value, (int, float)) else 0.0


def _balance(recipe: Recipe, imbalance: float) -> Iterator[Proposal]:
    balance = recipe.balance
    if imbalance > _IMBALANCED and (balance.class_weights, balance.sampling) == ("none", "all"):
        why = f"the largest class is {imbalance:.1f} times the smallest"
        yield Proposal("class weights", {"balance.class_weights": "balanced"}, why)
        yield Proposal("oversampling", {"balance.sampling": "oversample"}, why)
        yield Proposal("undersampling", {"balance.sampling": "undersample"}, why)
    if not balance.initial_bias:
        yield Proposal("initial bias", {"balance.initial_bias": True},
                       "starting at the class shares saves the first epochs")  # fmt: skip


def _network(recipe: Recipe) -> Iterator[Proposal]:
    model = recipe.model
    if model.network in NETWORKS and model.network != "residual":
        residual = {
            "model.network": "residual", "model.width": 32, "model.blocks": 1, "model.kernel": 3,
            "model.dense": [64], "model.activation": "relu", "model.dropout": [0.1],
            "model.padding": "same", "model.normalisation": "batch",
        }  # fmt: skip
        yield Proposal("residual blocks", residual,
                       "shortcuts and global pooling train deeper with fewer weights")  # fmt: skip
    if model.network not in ("basic", "residual"):
        return
    if model.normalisation == "none":
        yield Proposal("batch normalisation", {"model.normalisation": "batch"},
                       "it usually allows a higher rate")  # fmt: skip
    if model.blocks != "auto":
        yield Proposal("another block", _with_blocks(recipe, model.blocks + 1), "more depth")


def _transfer(recipe: Recipe) -> Iterator[Proposal]:
    """How long the head learns alone, and how carefully the rest does then."""
    model, epochs = recipe.model, recipe.train.epochs
    if not model.weights:
        return
    longer = 2 * model.frozen_epochs
    if longer and epochs != "auto" and longer < epochs:
        yield Proposal("the head alone for longer", {"model.frozen_epochs": longer},
                       "a head that is settled spoils less of what was learned before")  # fmt: skip
    rates = ((3.0, "unfrozen at a higher rate"), (1 / 3, "unfrozen at a lower rate"))
    for factor, name in rates if longer else ():  # never frozen, it is the rate of all
        wanted = float(f"{model.unfrozen_rate * factor:.2g}")
        if wanted <= 1:
            yield Proposal(name, {"model.unfrozen_rate": wanted}, "a factor of three either way")
    if sum(model.dropout) == 0:
        yield Proposal("dropout at the head", {"model.dropout": [0.2]},
                       "few images, and many features of others")  # fmt: skip


def _with_blocks(recipe: Recipe, blocks: int) -> dict[str, Any]:
    """Return the changes to so many blocks; a block of "basic" may have a dropout of its own."""
    changes: dict[str, Any] = {"model.blocks": blocks}
    rates = list(recipe.model.dropout)
    if recipe.model.network == "basic" and rates:
        last = blocks - 2
        changes["model.dropout"] = [*rates[: last + 1], rates[last], *rates[last + 1 :]]
    return changes


def _rate(recipe: Recipe) -> Iterator[Proposal]:
    present = recipe.train.learning_rate
    for factor, name in ((3.0, "a higher learning rate"), (1 / 3, "a lower learning rate")):
        wanted = float(f"{present * factor:.2g}")
        if _SLOWEST <= wanted <= _FASTEST:
            yield Proposal(name, {"train.learning_rate": wanted}, "a factor of three either way")
    if recipe.schedule.kind == "constant":
        yield Proposal("cosine decay", {"schedule.kind": "cosine"},
                       "a rate that comes down settles")  # fmt: skip
    batch = recipe.train.batch_size
    if batch != "auto" and batch * 2 <= _LARGEST_BATCH:
        yield Proposal("a larger batch", {"train.batch_size": batch * 2}, "steadier steps")
    if recipe.train.weight_average == 0:
        yield Proposal("averaged weights", {"train.weight_average": "auto"},
                       "an average of the last steps is less noisy")  # fmt: skip


def _capacity(recipe: Recipe) -> Iterator[Proposal]:
    """Widths low to high and high to low."""
    model = recipe.model
    if model.network not in ("basic", "residual") or model.width == "auto":
        return
    if model.network == "basic" and len(model.dense) == 1 and model.dense[0] >= _FEW_UNITS:
        yield Proposal("fewer dense units", {"model.dense": [model.dense[0] // 2]},
                       "most parameters are in the first dense layer")  # fmt: skip
    if model.width * 2 <= _WIDEST:
        yield Proposal("twice as wide", {"model.width": model.width * 2}, "widths low to high")
    if model.width // 2 >= _NARROWEST:
        yield Proposal("half as wide", {"model.width": model.width // 2}, "widths high to low")


def _augmentation(recipe: Recipe) -> Iterator[Proposal]:
    augment = recipe.augment
    if not (augment.width_shift or augment.height_shift):
        yield Proposal("shifts", {"augment.width_shift": 0.1, "augment.height_shift": 0.1},
                       "no label minds where a thing stands")  # fmt: skip
    if not augment.horizontal_flip:
        yield Proposal("horizontal flip", {"augment.horizontal_flip": True},
                       "most labels do not mind it; look at yours")  # fmt: skip
    if not augment.zoom:
        yield Proposal("zoom", {"augment.zoom": 0.1}, "sizes vary")
    if not augment.brightness:
        yield Proposal("brightness", {"augment.brightness": 0.1}, "exposure varies")


def _regularisation(recipe: Recipe) -> Iterator[Proposal]:
    if recipe.train.optimizer == "adam":
        yield Proposal("weight decay", {"train.optimizer": "adamw", "train.weight_decay": 0.01},
                       "large weights are paid for")  # fmt: skip
    if recipe.train.label_smoothing == 0:
        yield Proposal("label smoothing", {"train.label_smoothing": 0.05},
                       "a network that is never quite sure")  # fmt: skip


def _differs(recipe: Recipe, proposal: Proposal) -> bool:
    """Say whether it is accepted, and another recipe."""
    try:
        return flat(change_recipe(recipe, proposal.changes)) != flat(recipe)
    except RecipeError:
        return False


def in_pairs(promising: Sequence[Proposal], recipe: Recipe) -> list[Proposal]:
    """Return two changes at once, of those that none was kept of alone; the best pairs first.

    Args:
        promising: Those whose gains were over 0, the largest first.
        recipe: What they would change.
    """
    pairs = []
    for place, first in enumerate(promising):
        for second in promising[place + 1 :]:
            both = Proposal(f"{first.name} and {second.name}", {**first.changes, **second.changes},
                            "neither was enough alone")  # fmt: skip
            if not (first.changes.keys() & second.changes.keys()) and _differs(recipe, both):
                pairs.append(both)
    return pairs


def rules_of_thumb(inputs: int, outputs: int) -> dict[str, int]:
    """Return widths of one hidden layer that are often recommended: starting points, no more.

    They contradict each other, and none knows the images. The search tries widths and measures.

    Args:
        inputs: Values that go into the layer.
        outputs: Classes.
    """
    return {
        "the geometric mean of inputs and outputs": round(math.sqrt(inputs * outputs)),
        "two thirds of the inputs, and the outputs": round(inputs * 2 / 3 + outputs),
        "below twice the inputs": 2 * inputs,
    }
