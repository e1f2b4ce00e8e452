"""How the probabilities of a run become classes: chosen by `evaluate`, kept in `model.json`."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sightline.errors import RunError
from sightline.records import MOST_PROBABLE, Decision, Predictions, Weights
from sightline.runs.files import read_json, write_sealed
from sightline.runs.folder import KeptWeights, Run

_DECISIONS = "decisions"  # by the fingerprint of the weights that they were chosen for
_OF_BEST = {"threshold", "temperature"}  # said once more, beside the rest of the card


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
    decisions = run.model.get(_DECISIONS, {})
    name = kept.fingerprint
    if decisions and name not in decisions:  # it may have been settled beside another recipe
        name = next(iter(run.fingerprints(kept) & decisions.keys()), name)
    if name not in decisions:
        return Settled()
    known = _read(decisions[name])
    if not known.decision.model_fingerprint:
        return known
    return replace(known, decision=replace(known.decision, model_fingerprint=kept.fingerprint))


def settle(run: Run, kept: KeptWeights, what: Settled) -> None:
    """Keep what was settled; `threshold` and `temperature` of the card are those of the best.

    Weights that the run has no more lose what was settled for them when it trains on.

    Raises:
        RunError: There is no model, or `model.json` is damaged.
        OSError: It could not be written; it holds what it held.
    """
    card = dict(run.model)
    plain = {"decision": what.decision.to_dict(), "temperature": what.temperature}
    before = card.get(_DECISIONS, {})
    others = before.keys() - (run.fingerprints(kept) if before else ())
    card[_DECISIONS] = {name: before[name] for name in before if name in others} | {
        kept.fingerprint: plain
    }
    if kept.which == "best" or kept.fingerprint == card.get("fingerprint"):  # may be the same
        card |= {"threshold": threshold_of(what.decision), "temperature": what.temperature}
    if card != run.model:
        write_sealed(run.path / "model.json", card)


def write_card(run: Path, card: Mapping[str, Any]) -> str:
    """Write `model.json` in the middle of a training, with what was settled for weights before.

    All of it stays until `settle_again`: the process may be killed at any moment.

    Returns:
        What is lost, where the file that had it is damaged; else "".

    Raises:
        OSError: It could not be written; it holds what it held.
    """
    path, before, told = run / "model.json", dict[str, Any](), ""
    try:
        before = read_json(path) if path.exists() else {}
    except RunError:
        told = (
            f"{path} is damaged, so how a class was chosen is not known any more. Settle it anew: "
            f"sightline evaluate {shlex.quote(str(run))} --threshold RULE, or without a rule for "
            "the most probable class."
        )
    names = {_DECISIONS}
    if before.get("best_epoch") == card.get("best_epoch"):
        names |= _OF_BEST
    write_sealed(path, {**card, **{name: before[name] for name in before if name in names}})
    return told


def settle_again(run: Run) -> list[Settled]:
    """Keep what was settled for weights that a run still has after training on; return the rest.

    Nothing is taken away where weights cannot be read.

    Raises:
        RunError: There is no model, or `model.json` is damaged.
        OSError: It could not be written.
    """
    before = run.model.get(_DECISIONS, {})
    if not before:
        return []
    averaged: tuple[Weights, ...] = ("average",) if run.recipe.train.weight_average else ()
    try:
        weights = [run.kept(which) for which in ("best", "last", *averaged)]
    except RunError:
        return []
    for kept in weights:
        if run.fingerprints(kept) & before.keys():
            settle(run, kept, settled(run, kept))
    lost = before.keys() - frozenset().union(*map(run.fingerprints, weights))
    if lost:
        decisions = run.model[_DECISIONS]
        left = {name: decisions[name] for name in decisions if name not in lost}
        write_sealed(run.path / "model.json", {**run.model, _DECISIONS: left})
    return [_read(before[name]) for name in before if name in lost]


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
