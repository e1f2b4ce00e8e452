"""Every rule, in the order of what matters first, and which finding explains which."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from sightline.judging.diagnosis import classes, fit, loader, noise, rate, splits, stopping
from sightline.judging.diagnosis.facts import TrainingFacts
from sightline.records import Finding
from sightline.records.diagnosis import Diagnosis

# What makes the figures worthless, what keeps it from learning, what it learns wrongly, what to
# try next, what it costs.
_RULES: Mapping[str, Callable[[TrainingFacts], Finding]] = MappingProxyType(
    {
        "missing-epochs": noise.missing_epochs,
        "diverged": rate.diverged,
        "flat": rate.flat,
        "validation-better": splits.validation_better,
        "class-never-predicted": classes.class_never_predicted,
        "suspiciously-perfect": splits.suspiciously_perfect,
        "small-validation": noise.small_validation,
        "rate-too-high": rate.rate_too_high,
        "rate-too-low": rate.rate_too_low,
        "rate-decayed-early": rate.rate_decayed_early,
        "not-converging": rate.not_converging,
        "erratic-validation": noise.erratic_validation,
        "external-below": splits.external_below,
        "accuracy-mirrors-imbalance": classes.accuracy_mirrors_imbalance,
        "class-weights-harm": classes.class_weights_harm,
        "overfitting": fit.overfitting,
        "too-many-parameters": fit.too_many_parameters,
        "underfitting": fit.underfitting,
        "not-finished": stopping.not_finished,
        "patience-too-short": stopping.patience_too_short,
        "patience-too-long": stopping.patience_too_long,
        "best-not-last": stopping.best_not_last,
        "loader-bound": loader.loader_bound,
    }
)
CODES: tuple[str, ...] = tuple(_RULES)

_UNSTEADY = ("not-converging", "erratic-validation", "best-not-last", "overfitting")
_FOLLOWS_FROM_NOTHING = (
    "underfitting", "overfitting", "too-many-parameters", "not-converging", "erratic-validation",
    "class-never-predicted", "patience-too-long", "patience-too-short", "not-finished",
    "best-not-last",
)  # fmt: skip

# A cause, and what is seen of it elsewhere: acting on those would be acting on a shadow. A cause
# that is itself explained explains nothing more: what it would is its own cause's.
_EXPLAINS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "missing-epochs": tuple(code for code in CODES if code not in
                                ("missing-epochs", "diverged", "loader-bound")),
        "diverged": (*_FOLLOWS_FROM_NOTHING, "flat", "rate-too-high", "validation-better"),
        "rate-too-high": ("flat", "underfitting", "patience-too-long", "patience-too-short",
                          *_UNSTEADY),
        "rate-too-low": ("flat", "underfitting", "not-finished", "class-never-predicted",
                         "accuracy-mirrors-imbalance"),
        "flat": _FOLLOWS_FROM_NOTHING,
        "rate-decayed-early": ("underfitting", "not-finished", "patience-too-long"),
        "small-validation": ("best-not-last", "patience-too-long"),
        "not-converging": ("underfitting", "erratic-validation", "best-not-last",
                           "patience-too-long"),
        "erratic-validation": ("best-not-last", "patience-too-long"),
        "class-weights-harm": ("accuracy-mirrors-imbalance",),
        "overfitting": ("best-not-last",),
        "not-finished": ("underfitting",),
        "patience-too-short": ("underfitting", "not-finished"),
    }
)  # fmt: skip

_ORDER = {"error": 0, "warning": 1, "info": 2}


def diagnose(facts: TrainingFacts, *, source: str = "history") -> Diagnosis:
    """Return the finding of every rule, the worst first, with what explains what.

    Deterministic; reads nothing but the facts.

    Args:
        facts: Of one training.
        source: What they are of, for people: a run folder, a file.
    """
    findings = [rule(facts) for rule in _RULES.values()]
    explained = _explained({finding.code for finding in findings if finding.stands})

    def place(finding: Finding) -> tuple[int, int]:
        if finding.stands:
            return int(finding.code in explained), _ORDER[finding.severity]
        return 2 + (finding.outcome == "not applicable"), 0

    return Diagnosis(
        source=source,
        epochs=facts.epochs,
        findings=tuple(sorted(findings, key=place)),
        explained=explained,
        notes=_notes(facts),
    )


def _explained(found: set[str]) -> dict[str, str]:
    """Return the code of each finding that another explains, to the code of that one."""
    explained: dict[str, str] = {}
    for cause, effects in _EXPLAINS.items():
        if cause in found and cause not in explained:
            explained |= {code: cause for code in effects if code in found - explained.keys()}
    return explained


def _notes(facts: TrainingFacts) -> tuple[str, ...]:
    """Return what was not given, and what could be said with it."""
    notes = []
    if facts.epochs and (why := facts.lacks("val_loss")):
        notes.append(f"{why.rstrip('.')}, so nothing is said about images it did not train on.")
    elif not facts.num_validation:
        notes.append(
            "The number of validation images is not known (num_validation), so noise cannot be "
            "told from signal."
        )
    if not facts.class_counts:
        notes.append(
            "The sizes of the classes are not known (class_counts), so guessing cannot be told "
            "from learning."
        )
    return tuple(notes)
