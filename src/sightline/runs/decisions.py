"""How the probabilities of a run become classes: chosen by `evaluate`, kept in `model.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, get_args

from sightline.errors import RunError
from sightline.records import MOST_PROBABLE, Decision, Predictions, Weights
from sightline.runs.files import write_sealed
from sightline.runs.folder import KeptWeights, Run, fingerprint

_DECISIONS = "decisions"  # by the fingerprint of the weights that they were chosen for


@dataclass(frozen=True, slots=True)
class Settled:
    """What was settled about the probabilities of some weights.

    Attributes:
        decision: How they become one class.
        temperature: What their logits are divided by to be calibrated; 1 where none was fitted.
    """

    decision: Decision = MOST_PROBABLE
    temperature: float = 1.0


def settled(run: Run, kept: KeptWeights) -> Settled:
    """Return what was settled for these very weights; the most probable class where nothing was.

    Raises:
        RunError: There is no model, or `model.json` is damaged.
    """
    plain = run.model.get(_DECISIONS, {}).get(kept.fingerprint)
    return Settled() if plain is None else _read(plain)


def settle(run: Run, kept: KeptWeights, what: Settled) -> None:
    """Keep what was settled; `threshold` and `temperature` of the card are those of the best.

    Weights that the run has no more lose what was settled for them when it trains on.

    Raises:
        RunError: There is no model, or `model.json` is damaged.
        OSError: It could not be written; it holds what it held.
    """
    card = dict(run.model)
    plain = {"decision": what.decision.to_dict(), "temperature": what.temperature}
    card[_DECISIONS] = {**card.get(_DECISIONS, {}), kept.fingerprint: plain}
    if kept.which == "best" or kept.fingerprint == card.get("fingerprint"):  # may be the same
        card |= {"threshold": threshold_of(what.decision), "temperature": what.temperature}
    if card != run.model:
        write_sealed(run.path / "model.json", card)


def all_settled(run: Run) -> dict[str, Settled]:
    """Return all that was settled, by the fingerprint of its weights; {} where there is no model.

    Raises:
        RunError: `model.json` is damaged.
    """
    card = run.model if (run.path / "model.json").exists() else {}
    return {fingerprint: _read(plain) for fingerprint, plain in card.get(_DECISIONS, {}).items()}


def settle_again(run: Run, before: Mapping[str, Settled]) -> list[Settled]:
    """Keep what was settled for weights that the run still has; return the rest.

    A training that goes on writes `model.json` anew. Its best weights may be the same as before,
    also where the recipe, and with it their fingerprint, is another: one of more epochs.

    Args:
        run: As it is now.
        before: Of `all_settled`, before it went on.

    Raises:
        RunError: `model.json` is damaged.
        OSError: It could not be written.
    """
    left = dict(before)
    recipes = run.info.get("files", {}).get("recipe.toml", [""])
    for which in get_args(Weights) if before else ():
        try:
            kept = run.kept(which)
        except RunError:  # there is no average, or they are damaged
            continue
        names = {fingerprint(run.path, kept.arrays, recipe=each) for each in recipes}
        for name in names & left.keys():
            known = left.pop(name)
            decision = known.decision
            if decision.model_fingerprint:
                decision = replace(decision, model_fingerprint=kept.fingerprint)
            settle(run, kept, replace(known, decision=decision))
    return list(left.values())


def predictions_kept(run: Run, source: str, kept: KeptWeights) -> Predictions | None:
    """Return what these very weights said of a split or an external set; None if it is not kept.

    Raises:
        DataError: The file is damaged.
    """
    path = run.predictions_path(source, kept.which)
    if not path.exists():
        return None
    found = Predictions.load(path)
    return found if found.model_fingerprint == kept.fingerprint else None


def threshold_of(decision: Decision) -> float:
    """Return the threshold of a decision that has one; 0.5 of others."""
    return decision.threshold if decision.kind == "threshold" else 0.5


def _read(plain: Mapping[str, Any]) -> Settled:
    return Settled(Decision.from_dict(plain["decision"]), float(plain["temperature"]))
