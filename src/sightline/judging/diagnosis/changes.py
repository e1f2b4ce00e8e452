"""The next experiment: one change of the recipe, as `--set` takes it, that its schema accepts."""

from __future__ import annotations

from sightline.judging.diagnosis.facts import TrainingFacts
from sightline.recipes import Recipe

_DROPOUTS = {"skin-binary": 3, "ham10000": 2, "chest-xray": 5, "residual": 1}
_APPLICATIONS = "applications/"
_MOST_DROPOUT, _MORE = 0.7, 0.15
_WIDE = 128  # filters of the first stage, from which on more hardly help


def rate(facts: TrainingFacts, factor: float) -> str:
    """Return a learning rate so many times the present one; "" where none is known."""
    if facts.recipe is not None:
        present = facts.recipe.train.learning_rate
    elif not facts.lacks("learning_rate"):
        present = float(facts.filled("learning_rate").max())
    else:
        return ""
    return f"train.learning_rate={present * factor:.3g}" if present > 0 else ""


def dropout(facts: TrainingFacts) -> str:
    """Return more dropout, as many rates as the network has; "" where it has, or needs, none."""
    recipe = facts.recipe
    count = _num_dropouts(recipe)
    if recipe is None or not count:
        return ""
    before = recipe.model.dropout or (0.0,) * count
    after = [min(rate + _MORE, max(rate, _MOST_DROPOUT)) for rate in before]
    return "" if tuple(after) == before else f"model.dropout={_listed(after)}"


def less_dropout(facts: TrainingFacts) -> str:
    """Return half of the dropout; "" where there is little."""
    recipe = facts.recipe
    if recipe is None or max(recipe.model.dropout, default=0.0) < 0.3:
        return ""
    return f"model.dropout={_listed([rate / 2 for rate in recipe.model.dropout])}"


def augmentation(facts: TrainingFacts) -> str:
    """Return one more random change that no label minds."""
    augment = facts.recipe.augment if facts.recipe else None
    if augment is None or not (augment.width_shift or augment.height_shift):
        return "augment.width_shift=0.1"
    if not augment.zoom:
        return "augment.zoom=0.1"
    return "" if augment.erasing else "augment.erasing=0.25"


def normalisation(facts: TrainingFacts) -> str:
    """Return batch normalisation; "" where the network has some, or no choice."""
    model = facts.recipe.model if facts.recipe else None
    if model is None or model.network not in ("basic", "residual"):
        return ""
    return "model.normalisation=batch" if model.normalisation == "none" else ""


def decay(facts: TrainingFacts) -> str:
    """Return a learning rate that comes down; "" where it does already."""
    kind = facts.recipe.schedule.kind if facts.recipe else "constant"
    return "schedule.kind=cosine" if kind == "constant" else ""


def slower_decay(facts: TrainingFacts) -> str:
    """Return a schedule that keeps the rate up for longer, or more epochs to lay it out over."""
    schedule = facts.recipe.schedule if facts.recipe else None
    if schedule is not None and schedule.kind in ("exponential", "step"):
        return f"schedule.epochs={max(schedule.epochs * 2, facts.epochs)}"
    if schedule is not None and schedule.kind in ("cosine", "one-cycle"):
        return more_epochs(facts)
    return "schedule.kind=cosine"


def more_epochs(facts: TrainingFacts) -> str:
    """Return twice as many epochs; "" where not all that the recipe asks for were trained."""
    planned = facts.recipe.train.epochs if facts.recipe else facts.epochs
    done = planned == "auto" or planned <= facts.epochs
    return f"train.epochs={2 * facts.epochs}" if done else ""


def capacity(facts: TrainingFacts) -> str:
    """Return a wider network; "" where the recipe has no width, or a large one."""
    model = facts.recipe.model if facts.recipe else None
    if model is None or model.network not in ("basic", "residual") or model.width == "auto":
        return ""
    return f"model.width={model.width * 2}" if model.width < _WIDE else ""


def penalty(facts: TrainingFacts) -> str:
    """Return a penalty of large weights, or a stronger one."""
    before = facts.recipe.model.l2 if facts.recipe else 0.0
    return f"model.l2={before * 10 or 1e-4:g}"


def classes(facts: TrainingFacts) -> str:
    """Return what lets rare classes count more; "" where something does."""
    return "" if facts.is_balanced else "balance.class_weights=balanced"


def no_balance(facts: TrainingFacts) -> str:
    """Return what takes that back."""
    if facts.recipe is not None and facts.recipe.balance.sampling != "all":
        return "balance.sampling=all"
    return "balance.class_weights=none"


def _num_dropouts(recipe: Recipe | None) -> int:
    network = recipe.model.network if recipe else ""
    if recipe is not None and network == "basic" and recipe.model.blocks != "auto":
        return recipe.model.blocks + len(recipe.model.dense)
    return 1 if network.startswith(_APPLICATIONS) else _DROPOUTS.get(network, 0)


def _listed(rates: list[float]) -> str:
    return f"[{', '.join(f'{rate:.3g}' for rate in rates)}]"
