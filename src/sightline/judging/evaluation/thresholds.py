"""From which probability on a record is called a class: chosen on validation, judged elsewhere."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from sightline.errors import DataError, RecipeError
from sightline.judging.evaluation.calibration import described, fit_temperature
from sightline.judging.evaluation.costs import Costs
from sightline.judging.evaluation.quotients import quotients
from sightline.judging.evaluation.resampling import ENOUGH_RECORDS, resampling, units_of
from sightline.records import (
    MOST_PROBABLE,
    ChosenDecision,
    Decision,
    OperatingPoint,
    Predictions,
)

OPERATING_RULES = (
    "0.5", "f1", "youden", "sensitivity=0.9", "sensitivity=0.95", "sensitivity=0.99",
    "specificity=0.9", "specificity=0.95", "specificity=0.99",
)  # fmt: skip

_MOST_CLASSES = 30  # with a threshold each: more nobody reads, and a file stays small
_SHARES = ("sensitivity", "specificity")
_FIGURES = ("sensitivity", "specificity", "precision", "f1")
_BEST = ("f1", "youden")
_FORMS = (
    '"f1", "youden", "sensitivity=0.95", "specificity=0.9", a probability as "0.3", "costs" or '
    '"argmax"; the class that it is about may follow, as in "f1:melanoma"'
)


@dataclass(frozen=True, slots=True)
class ThresholdRule:
    """How a decision is to be chosen; `parse_rule` makes it.

    Attributes:
        kind: "f1", "youden", "sensitivity", "specificity", "fixed", "costs" or "argmax".
        text: As it was given.
        value: The share wanted, or the threshold that is fixed; 0 for the others.
        class_index: The class that a threshold is about; 0 for costs and argmax.
    """

    kind: str
    text: str
    value: float = 0.0
    class_index: int = 0

    @property
    def needs_validation(self) -> bool:
        """Whether the decision depends on validation records."""
        return self.kind not in ("fixed", "argmax")


def parse_rule(text: str, class_names: Sequence[str]) -> ThresholdRule:
    """Return the rule that a text like "sensitivity=0.95:melanoma" asks for.

    Of two classes the second is meant where none is named.

    Raises:
        RecipeError: It is none of the rules, its value is out of range, the class is not one of
            the model's, or it needs one and names none.
    """
    rule, colon, name = text.strip().partition(":")
    if rule in ("costs", "argmax"):
        if colon:
            raise RecipeError(
                f'the rule "{rule}" is about every class, got {text!r}; give "{rule}"'
            )
        return ThresholdRule(rule, text.strip())
    kind, equals, number = rule.partition("=")
    value = _number(number if equals else kind)
    if kind in _BEST and not equals:
        value = 0.0
    elif kind in _SHARES and value is not None:
        if not 0 < value <= 1:
            raise RecipeError(f"{kind} must be over 0 and at most 1, got {number!r} in {text!r}")
    elif value is not None and not equals:
        if not 0 <= value <= 1:
            raise RecipeError(f"a threshold is a probability of 0 to 1, got {text!r}")
        kind = "fixed"
    else:
        raise RecipeError(f"{text!r} is not a rule for a threshold. Give one of {_FORMS}")
    class_index = _class_of(name if colon else None, text, class_names)
    return ThresholdRule(kind, text.strip(), value, class_index)


def choose_decision(
    rule: ThresholdRule,
    validation: Predictions | None = None,
    *,
    costs: Costs | None = None,
    source: str = "validation",
) -> ChosenDecision:
    """Return the decision that the rule comes to on validation records.

    Candidates are 0 and what lies between two neighbouring probabilities that were predicted
    (their midpoint, so that a new record seldom sits on the edge) or above the last one. "f1" and
    "youden" take the one that makes F1, or sensitivity + specificity - 1, largest (Youden, Index
    for Rating Diagnostic Tests, 1950), the lowest of equals; "sensitivity" the highest that has
    the sensitivity, and with it the most specificity; "specificity" the lowest. For costs a
    temperature is fitted on the same records, because probabilities are weighed by them.

    Args:
        rule: Of `parse_rule`.
        validation: Records without a label or a readable image are left out, and so is the
            decision that they carry. None where the rule does not need any.
        costs: (K, K) what it costs to call a record of the row's class the column's.
        source: What `validation` is called.

    Raises:
        DataError: There is no record of the class, or of another, to choose on; or no threshold
            reaches what is asked.
        RecipeError: Costs are wanted and there are none, or they are for other classes.
        ValueError: The rule needs validation records and there are none.
    """
    if rule.kind == "argmax":
        return ChosenDecision(MOST_PROBABLE)
    if validation is None:
        if rule.needs_validation:
            raise ValueError(f"the rule {rule.text!r} needs validation records, got None")
        return ChosenDecision(_decision(rule, rule.value))
    scored = validation.scored()
    chosen_on = described(scored, source)
    if rule.kind == "costs":
        return _by_costs(scored, costs, chosen_on)
    (point,) = _points(scored, (rule,))
    if point.threshold is None:
        raise DataError(f"{rule.text!r} cannot be had on {chosen_on}: {point.note}")
    decision = _decision(rule, point.threshold, chosen_on, scored.model_fingerprint)
    return ChosenDecision(decision, point, warnings=_warnings(rule, scored, point.note))


def operating_points(predictions: Predictions, class_index: int) -> tuple[OperatingPoint, ...]:
    """Return what nine rules come to: 0.5, the best F1, Youden, and shares of 0.9, 0.95 and 0.99.

    Choose them on validation records; `apply_points` tells what they come to on others. With the
    95 % intervals of `resampling`, which do not know that these records chose the threshold.

    Args:
        predictions: Records without a label or a readable image are left out.
        class_index: The class against the rest.

    Raises:
        DataError: A label is not one of the model's classes, or no record can be judged.
        ValueError: There is no such class.
    """
    classes = len(predictions.class_names)
    if not 0 <= class_index < classes:
        raise ValueError(f"class_index must be in 0..{classes - 1}, got {class_index}")
    name = predictions.class_names[class_index]
    rules = [parse_rule(f"{rule}:{name}", predictions.class_names) for rule in OPERATING_RULES]
    return _points(predictions.scored(), rules)


def class_points(
    predictions: Predictions, *, rule: str = "f1", most: int = _MOST_CLASSES
) -> tuple[OperatingPoint, ...]:
    """Return one threshold a class, each class against the rest, without figures.

    For models of many classes, where nine rules a class would be too much to read. Choose them on
    validation records; `apply_points` tells what they come to on others. They decide nothing: the
    most probable class stays the answer.

    Args:
        predictions: Records without a label or a readable image are left out.
        rule: "f1", "youden", or another of `parse_rule` that names no class.
        most: Of more classes those of the most records here, in the order of the classes; one
            without any has no threshold.

    Raises:
        DataError: A label is not one of the model's classes, or no record can be judged.
        RecipeError: There is no such rule.
    """
    scored = predictions.scored()
    names = scored.class_names
    counts = np.bincount(scored.label_indices(), minlength=len(names))
    kept = [index for index in np.argsort(-counts, kind="stable")[:most].tolist() if counts[index]]
    rules = [parse_rule(f"{rule}:{names[index]}", names) for index in sorted(kept)]
    return tuple(point for each in rules for point in _chosen(scored, (each,)))


def apply_points(
    points: Sequence[OperatingPoint], predictions: Predictions
) -> tuple[OperatingPoint, ...]:
    """Return what the thresholds that were chosen on some records come to on others.

    Args:
        points: Each of one class against the rest.
        predictions: Records without a label or a readable image are left out.

    Raises:
        DataError: A label is not one of the model's classes, or no record can be judged.
        ValueError: There is no point, or one is of a class that the model does not have.
    """
    unknown = {point.class_name for point in points} - set(predictions.class_names)
    if unknown or not points:
        raise ValueError(f"points of classes of the model are needed, got {sorted(unknown)}")
    return _measured(predictions.scored(), points)


def _number(text: str) -> float | None:
    """Return a plain decimal number, None for anything else."""
    return float(text) if re.fullmatch(r"\d*\.?\d+(e-?\d+)?", text) else None


def _class_of(name: str | None, text: str, class_names: Sequence[str]) -> int:
    """Return the class that a rule is about."""
    if name is None and len(class_names) == 2:
        return 1
    if name is None:
        raise RecipeError(
            f"{text!r} names no class, and the model has {len(class_names)}: {list(class_names)}. "
            f'Give it after a colon, as "{text}:{class_names[0]}"'
        )
    if name not in class_names:
        raise RecipeError(
            f"{text!r} is about {name!r}, which is not one of the classes {list(class_names)}"
        )
    return class_names.index(name)


def _decision(
    rule: ThresholdRule, threshold: float, chosen_on: str = "", fingerprint: str = ""
) -> Decision:
    """Return the decision of a threshold; one that a person fixed was chosen on nothing."""
    fixed = rule.kind == "fixed"
    return Decision(
        kind="threshold",
        class_index=rule.class_index,
        threshold=threshold,
        rule=rule.text,
        chosen_on="" if fixed else chosen_on,
        model_fingerprint="" if fixed else fingerprint,
    )


def _by_costs(scored: Predictions, costs: Costs | None, chosen_on: str) -> ChosenDecision:
    """Return the decision of least expected cost, and what it and the usual one cost here."""
    names = scored.class_names
    if costs is None or len(costs) != len(names):
        got = "none" if costs is None else f"a table of {len(costs)}"
        raise RecipeError(f'the rule "costs" needs costs of {len(names)} classes, got {got}')
    decision = Decision(
        kind="costs",
        costs=costs,
        temperature=fit_temperature(scored),
        rule="costs",
        chosen_on=chosen_on,
        model_fingerprint=scored.model_fingerprint,
    )
    labels, paid = scored.label_indices(), np.asarray(costs)
    chosen, usual = (each.choose(scored.probabilities) for each in (decision, MOST_PROBABLE))
    never = sorted(set(range(len(names))) - set(chosen.tolist()))
    warnings = [f"under these costs no record of {chosen_on} is called {names[k]!r}" for k in never]
    return ChosenDecision(
        decision,
        mean_cost=float(paid[labels, chosen].mean()),
        mean_cost_of_most_probable=float(paid[labels, usual].mean()),
        warnings=tuple(warnings),
    )


def _warnings(rule: ThresholdRule, scored: Predictions, note: str) -> tuple[str, ...]:
    """Return what must be known of a threshold that was chosen on these records."""
    name = scored.class_names[rule.class_index]
    own = int((scored.label_indices() == rule.class_index).sum())
    counts = {f"records of {name!r}": own, "records of other classes": len(scored) - own}
    if rule.kind in _SHARES:  # rests on one of the two
        kept = list(counts)[_SHARES.index(rule.kind)]
        counts = {kept: counts[kept]}
    few = [
        f"{count} {kind} are too few to choose by {rule.text!r}: {ENOUGH_RECORDS} are needed"
        for kind, count in counts.items()
        if count < ENOUGH_RECORDS and rule.kind != "fixed"
    ]
    return (*few, *([f"{rule.text!r}: {note}"] if note else []))


@dataclass(frozen=True, slots=True, eq=False)
class _Cuts:
    """Every threshold that puts the records apart in another way, the lowest first.

    Attributes:
        thresholds: (C,) exact float32 numbers, from 0 on.
        hits: (C,) records of the class from each on.
        false: (C,) other records from each on.
    """

    thresholds: npt.NDArray[np.float64]
    hits: npt.NDArray[np.int64]
    false: npt.NDArray[np.int64]

    @classmethod
    def of(cls, positive: npt.NDArray[np.bool_], probability: npt.NDArray[np.float32]) -> _Cuts:
        values, place = np.unique(probability, return_inverse=True)
        own = np.bincount(place, positive, len(values)).astype(np.int64)
        others = np.bincount(place, ~positive, len(values)).astype(np.int64)
        upper = values[1:]
        if values[-1] < 1:  # one that no record reaches; above a probability of 1 there is none
            upper, own, others = (np.append(each, last) for each, last in
                                  ((upper, np.float32(1)), (own, 0), (others, 0)))  # fmt: skip
        lower = values[: len(upper)].astype(np.float64)
        middle = ((lower + upper) / 2).astype(np.float32)
        middle = np.where(middle > lower, middle, upper)  # neighbours among the float32 numbers
        from_here = (each[::-1].cumsum()[::-1] for each in (own, others))
        return cls(np.append(0.0, middle.astype(np.float64)), *from_here)

    def chosen(self, rule: ThresholdRule) -> tuple[float | None, str]:
        """Return the threshold of a rule, None where there is none, and what is to be known."""
        if rule.kind == "fixed":
            return rule.value, ""
        own, others = int(self.hits[0]), int(self.false[0])
        if not own or not others:
            return None, f"there is no record of {'the' if not own else 'another'} class"
        if rule.kind == "f1":
            place = int((2 * self.hits / (self.hits + self.false + own)).argmax())
        elif rule.kind == "youden":  # whole numbers, so that equals are equal
            place = int((self.hits * others - self.false * own).argmax())
        elif rule.kind == "sensitivity":
            place = int(np.flatnonzero(self.hits / own >= rule.value)[-1])
        else:
            reached = np.flatnonzero((others - self.false) / others >= rule.value)
            if not len(reached):
                return None, "too many records of other classes have a probability of 1"
            place = int(reached[0])
        note = ""
        if place == 0:
            note = "reached only by calling every record so"
        elif not self.hits[place]:
            note = "reached only by calling no record of the class so"
        return float(self.thresholds[place]), note


def _points(scored: Predictions, rules: Sequence[ThresholdRule]) -> tuple[OperatingPoint, ...]:
    """Return what the rules, all about one class, come to on the records that choose."""
    return _measured(scored, _chosen(scored, rules))


def _chosen(scored: Predictions, rules: Sequence[ThresholdRule]) -> list[OperatingPoint]:
    """Return the thresholds of rules that are all about one class, without figures."""
    index = rules[0].class_index
    cuts = _Cuts.of(scored.label_indices() == index, scored.probabilities[:, index])
    points = []
    for rule in rules:
        threshold, note = cuts.chosen(rule)
        text = rule.text.partition(":")[0]
        points.append(OperatingPoint(text, scored.class_names[index], threshold, note=note))
    return points


def _measured(scored: Predictions, points: Sequence[OperatingPoint]) -> tuple[OperatingPoint, ...]:
    """Return the points with their figures on some records."""
    labels = scored.label_indices()
    places = {name: index for index, name in enumerate(scored.class_names)}
    classes = np.asarray([places[point.class_name] for point in points])
    own = labels[:, np.newaxis] == classes
    edges = [2.0 if point.threshold is None else point.threshold for point in points]
    called = scored.probabilities[:, classes] >= np.asarray(edges, np.float32)
    hits = called & own
    above = np.concatenate([hits, ~called & ~own, hits, 2 * hits], axis=1).astype(np.float64)
    below = [own, ~own, called, called.astype(np.int64) + own]
    sample = resampling(labels, units_of(scored))
    figures = quotients(sample, above, np.concatenate(below, axis=1).astype(np.float64))
    by_point = np.asarray(figures, object).reshape(4, len(points)).T.tolist()
    return tuple(
        point
        if point.threshold is None
        else replace(point, **dict(zip(_FIGURES, row, strict=True)))
        for point, row in zip(points, by_point, strict=True)
    )
