"""What the validation split decides about probabilities: threshold, temperature, sets of classes.

The split that is judged decides nothing: it would look better than it is.
"""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sightline import runs
from sightline.errors import DataError, RecipeError
from sightline.judging import evaluation
from sightline.progress import Progress
from sightline.records import Decision, Evaluation, Predictions
from sightline.runs import KeptWeights, Run, Settled
from sightline.workflow import predicting

_CHOOSES = "validation"


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked of the decision.

    Attributes:
        threshold: A rule, as `evaluate` takes it; None for the decision that is kept.
        costs: A .csv or .toml file of what each mistake costs; with the rule "costs", or no other.
    """

    threshold: str | None = None
    costs: Path | None = None

    @property
    def rule(self) -> str | None:
        """The rule that is asked for; costs ask for theirs."""
        return "costs" if self.threshold is None and self.costs is not None else self.threshold


def validation_of(run: Run, kept: KeptWeights, progress: Progress) -> Predictions | None:
    """Return what these weights say of the run's validation images; None where there are none.

    Args:
        run: Whose.
        kept: Which weights.
        progress: Where the bar goes, and what is said where there are no images to choose on.
    """
    if not len(run.manifest.of_split("validation")):
        return None
    found = predicting.of_own_split(run, "validation", kept, progress)
    if found.unreadable < len(found):
        return found
    progress.say(
        f"No validation image of {run.path} can be read, so nothing can be chosen on them: no "
        "temperature, no sets of classes, no threshold."
    )
    return None


def decide(
    run: Run, kept: KeptWeights, validation: Predictions | None, wish: Wish, progress: Progress
) -> Decision:
    """Return how probabilities become classes: as asked, or as was settled before; and keep it.

    The temperature that calibrates them is fitted and kept as well.

    Raises:
        RecipeError: The rule is none, is about another class, or needs costs.
        DataError: The costs cannot be used, no threshold does what is asked, or there is no
            validation image to choose on.
    """
    if validation is not None and validation.unreadable:
        lost = validation.table.drop_nulls("reason").row(0, named=True)
        progress.say(
            f"{validation.unreadable:,} of {len(validation):,} validation images of {run.path} "
            f"cannot be read, first {lost['record_id']}: {lost['reason']}. Temperature, sets of "
            "classes and thresholds rest on the others."
        )
    before = runs.settled(run, kept)
    decision, temperature = before.decision, before.temperature
    if wish.rule is not None:
        decision = _chosen(run, validation, wish, progress)
    if validation is not None:
        temperature = evaluation.fit_temperature(validation)
    runs.settle(run, kept, Settled(decision, temperature))
    return decision


def told_by(
    chooser: Predictions | None, predictions: Predictions, judged: Evaluation, coverage: float
) -> dict[str, Any]:
    """Return what the validation split says of the judged images, for an `Evaluation`.

    Args:
        chooser: What was chosen on; None: nothing is said.
        predictions: What is judged.
        judged: Its figures so far.
        coverage: How often a set of classes is to hold the true one.
    """
    if chooser is None:
        return {}
    sets = evaluation.fit_sets(chooser, coverage)
    told: dict[str, Any] = {
        "calibration": evaluation.calibrate(chooser, predictions, before=judged.intervals),
        "sets": evaluation.judge_sets(sets, predictions),
    }
    decision, classes = predictions.decision, len(predictions.class_names)
    if decision.kind == "threshold" or classes == 2:
        about = decision.class_index if decision.kind == "threshold" else 1
        points = evaluation.operating_points(chooser, about)
    else:
        points = evaluation.class_points(chooser)
    told["points"] = evaluation.apply_points(points, predictions)
    return told


def refuse_impossible(run: Run, wish: Wish) -> None:
    """Refuse a rule that cannot be followed, before hours of work have gone into predictions.

    Raises:
        RecipeError: The rule is none, is about another class, or needs costs.
        DataError: The costs cannot be used, or there is no validation image to choose on.
    """
    if wish.costs is not None and wish.rule != "costs":
        raise DataError(
            f"the costs {wish.costs} and the rule {wish.threshold!r} were both given. Give one: "
            "costs choose the class that is expected to cost least."
        )
    if wish.rule is None:
        return
    rule = evaluation.parse_rule(wish.rule, tuple(run.model["class_names"]))
    if wish.costs is not None:
        _read_costs(wish.costs, run)
    elif rule.kind == "costs":
        raise RecipeError(
            'the rule "costs" needs a table of what each mistake costs: --costs FILE.csv or .toml.'
        )
    if rule.needs_validation and not len(run.manifest.of_split("validation")):
        raise DataError(
            f"{run.path} has no validation images to choose {wish.rule!r} on. Give the "
            "threshold itself, e.g. --threshold 0.3."
        )


def _chosen(run: Run, validation: Predictions | None, wish: Wish, progress: Progress) -> Decision:
    names = tuple(run.model["class_names"])
    assert wish.rule is not None
    rule = evaluation.parse_rule(wish.rule, names)
    if rule.needs_validation and validation is None:
        raise DataError(
            f"none of the validation images of {run.path} can be read, so there is nothing to "
            f"choose {wish.rule!r} on. If they were moved, put them back."
        )
    costs = None if wish.costs is None else _read_costs(wish.costs, run)
    chosen = evaluation.choose_decision(rule, validation, costs=costs, source=_CHOOSES)
    progress.say(f"From now on: {chosen.decision.sentence(names)}")
    for warning in chosen.warnings:
        progress.say(f"{warning}.")
    return chosen.decision


def _read_costs(path: Path, run: Run) -> evaluation.Costs:
    """Return the costs of a file.

    Raises:
        DataError: It cannot be read, or is not a table of costs of the run's classes.
    """
    names = tuple(run.model["class_names"])
    try:
        text = path.read_text("utf-8-sig")
        if path.suffix.lower() == ".toml":
            table: Mapping[str, Any] = tomllib.loads(text)
            return evaluation.costs_from_table(table, names, where=str(path))
        return evaluation.costs_from_csv(text, names, where=str(path))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"the costs {path} cannot be read: {reason}") from error
