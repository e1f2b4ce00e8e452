"""What the report says of one evaluation: figures with intervals, curves, thresholds, slices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from sightline.judging.reports import figures, quality_figures
from sightline.judging.reports.layout import counted, printable
from sightline.judging.reports.quality_figures import ClassCurves
from sightline.records import (
    SPLITS,
    ClassScores,
    Evaluation,
    Interval,
    LeakEffect,
    OperatingPoint,
    ReliabilityBin,
    Slice,
    edges_of,
    rounded,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_CONFUSIONS = 5
MOST_SHARED = 30  # classes up to which the shares of a confusion matrix stand in a table

METRICS = {
    "accuracy": ("Accuracy", "share of the images put in their class"),
    "balanced_accuracy": ("Balanced accuracy", "mean recall: every class counts the same"),
    "precision": ("Precision", "of the images called {positive}, how many are"),
    "recall": ("Recall (sensitivity)", "of the {positive} images, how many were found"),
    "specificity": ("Specificity", "of the other images, how many were not called {positive}"),
    "f1": ("F1", "harmonic mean of precision and recall, for {positive}"),
    "macro_precision": ("Macro precision", "mean over the classes"),
    "macro_recall": ("Macro recall", "mean over the classes"),
    "macro_specificity": ("Macro specificity", "mean over the classes"),
    "macro_f1": ("Macro F1", "mean over the classes"),
    "roc_auc": ("ROC AUC", "chance that an image of a class is ranked above one that is not"),
    "average_precision": ("Average precision", "area under the precision-recall curve"),
    "mcc": ("Matthews correlation", "1 is perfect, 0 is no better than chance"),
    "cohen_kappa": ("Cohen's kappa", "agreement with the labels beyond chance"),
    "brier": ("Brier score", "mean squared error of the probabilities; lower is better"),
    "log_loss": ("Log loss", "plain cross-entropy, the same as val_loss; lower is better"),
    "calibration_error": (
        "Calibration error",
        "how far confidence is from the share that is right; lower is better",
    ),
}
_OF_A_CLASS = ("precision", "recall", "specificity", "f1", "roc_auc", "average_precision")
_FURTHER = (
    "accuracy", "balanced_accuracy", "mcc", "cohen_kappa", "brier", "log_loss",
    "calibration_error",
)  # fmt: skip
_OF_A_POINT = ("sensitivity", "specificity", "precision", "f1")
_RULES = {"0.5": "one half, not chosen", "f1": "best F1",
          "youden": "best sensitivity + specificity"}  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Closer:
    """What the predictions behind an evaluation show beside its figures; any part may be empty.

    Attributes:
        curves: Of the classes whose curves are drawn.
        before: How often records of each confidence were right.
        after: The same with calibrated probabilities.
    """

    curves: Sequence[ClassCurves] = ()
    before: Sequence[ReliabilityBin] = ()
    after: Sequence[ReliabilityBin] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Stale:
    """Why figures are not of the model as it is now.

    Attributes:
        reason: The end of the sentence "these figures are ...".
        command: What makes them anew.
        former: They are of weights that the run has no more; else of another way to choose a class.
    """

    reason: str
    command: str
    former: bool


def section(
    evaluation: Evaluation, closer: Closer, stale: Stale | None, position: int
) -> dict[str, Any]:
    """Return everything the page says about one evaluation."""
    binary = len(evaluation.classes) == 2
    positive = f"“{evaluation.class_names[1]}”" if binary else ""
    beside = ("recall", "precision", "roc_auc") if binary else ("macro_f1", "roc_auc", "log_loss")
    about, sliced = in_words(evaluation), _slice_metrics(evaluation.slices)
    figure, size = figures.confusion_figure(evaluation), len(evaluation.classes)
    width = round(96 * figure.get_figwidth())  # a CSS inch
    return {
        "evaluation": evaluation,
        "title": titled(evaluation.source),
        "weights": weights_of(evaluation),
        "about": about,
        "stale": stale,
        "accuracy": with_interval(evaluation, "accuracy"),
        "beside": [
            (words(name, positive)[0], with_interval(evaluation, name).value_text)
            for name in beside
        ],
        "metrics": _metric_rows(evaluation, positive),
        "baselines": _baseline_names(evaluation),
        "undefined": None in evaluation.metrics.values()
        or any(None in scores.metrics.values() for scores in evaluation.classes),
        "notes": _notes(evaluation),
        "decided": decided(evaluation),
        "costs": _cost_rows(evaluation),
        "figure": inline(figure, f"confusion-{position}", f"Confusion matrix: {about}"),
        "width": width,
        "least_width": round(width * (0.75 if size <= figures.MOST_COUNTED else 1)),
        "size": size,
        "uncounted": size > figures.MOST_COUNTED,
        "shares": _share_rows(evaluation) if size <= MOST_SHARED else [],
        "confusions": evaluation.confusions(MOST_CONFUSIONS),
        "classes": [_class_row(scores, _OF_A_CLASS) for scores in evaluation.classes],
        "class_columns": [words(name, "")[0] for name in _OF_A_CLASS],
        "further": [_class_row(scores, _FURTHER) for scores in evaluation.classes],
        "further_columns": [words(name, "")[0] for name in _FURTHER],
        "curves": _curves(closer.curves, position, about),
        "curve_names": [each.name for each in closer.curves],
        "uncurved": max(0, len(closer.curves) - quality_figures.MOST_CURVES),
        "reliability": _reliability(closer, position, about),
        "calibration": _calibration_rows(evaluation),
        "points": [_point_row(point, evaluation) for point in evaluation.points],
        "slices": [_slice_row(each, sliced) for each in evaluation.slices],
        "slice_columns": [words(name, "")[0] for name in sliced],
        "leaks": _leak_rows(evaluation.leak_effect),
    }


@dataclass(frozen=True, slots=True)
class Shown:
    """A figure as text.

    Attributes:
        value_text: "0.612"; a dash where it is not defined.
        edges: "0.578 to 0.647", "too few to say", or "" without an interval.
    """

    value_text: str
    edges: str = ""

    @property
    def in_one(self) -> str:
        """Both, e.g. "0.612 (0.578 to 0.647)"."""
        return f"{self.value_text} ({self.edges})" if self.edges else self.value_text


def with_interval(evaluation: Evaluation, metric: str, decimals: int = 3) -> Shown:
    """Return a metric of an evaluation, and its interval, as text."""
    found = evaluation.intervals.get(metric)
    return shown(found if found is not None else evaluation.metrics.get(metric), decimals)


def shown(figure: Interval | float | None, decimals: int = 3) -> Shown:
    """Return a figure as text."""
    if not isinstance(figure, Interval):
        return Shown(rounded(figure, decimals))
    value = rounded(figure.value, decimals)
    return Shown(value, edges_of(figure, decimals))


def words(metric: str, positive: str) -> tuple[str, str]:
    """Return (title, explanation) of a metric; one without words is named by its key."""
    title, explanation = METRICS.get(metric, (metric.replace("_", " ").capitalize(), ""))
    return title, explanation.replace("{positive}", positive)


def titled(source: str) -> str:
    """Return the heading of what was judged; of a long path, only its end."""
    if source in SPLITS:
        return f"{source.capitalize()} split"
    parts = source.split("/")
    return source if len(parts) <= 3 else "/".join(("…", *parts[-2:]))


def in_words(evaluation: Evaluation) -> str:
    """Return what every figure of an evaluation is about: source, count, weights, epoch."""
    split = f"the {evaluation.source} split"
    source = split if evaluation.source in SPLITS else f"“{evaluation.source}”"
    return f"{counted(evaluation.count, 'image')} of {source}, {weights_of(evaluation)}"


def weights_of(evaluation: Evaluation) -> str:
    """Return which weights an evaluation is about, e.g. "best weights (epoch 3)"."""
    return f"{evaluation.weights} weights (epoch {evaluation.epoch + 1})"


def decided(evaluation: Evaluation) -> str:
    """Return how probabilities became classes, in a sentence; "" for the most probable one."""
    usual = evaluation.decision.kind == "most probable"
    return "" if usual else evaluation.decision.sentence(evaluation.class_names)


def inline(figure: Figure, prefix: str, label: str) -> Markup:
    """Return a figure as markup: matplotlib has escaped every name in it."""
    return Markup(figures.svg(figure, prefix=prefix, label=printable(label)))


def _baseline_names(evaluation: Evaluation) -> list[tuple[str, str]]:
    """Return (heading, explanation) of the baselines that there are."""
    told = {
        "majority": ("Most frequent class", "always, with certainty"),
        "prior": ("Class shares", "always, as probabilities"),
    }
    return [told.get(name, (name, "")) for name in evaluation.baselines]


def _metric_rows(evaluation: Evaluation, positive: str) -> list[dict[str, Any]]:
    return [
        {
            "title": words(name, positive)[0],
            "explanation": words(name, positive)[1],
            "shown": with_interval(evaluation, name, 4),
            "baselines": [
                rounded(baseline.get(name)) for baseline in evaluation.baselines.values()
            ],
        }
        for name in evaluation.metrics
    ]


def _notes(evaluation: Evaluation) -> list[str]:
    """Return why figures have no interval, each reason once."""
    return list(dict.fromkeys(each.note for each in evaluation.intervals.values() if each.note))


def _class_row(scores: ClassScores, names: Sequence[str]) -> dict[str, Any]:
    row = [shown(scores.intervals.get(name) or scores.metrics.get(name)) for name in names]
    return {"name": scores.name, "count": scores.count, "row": row}


def _share_rows(evaluation: Evaluation) -> list[tuple[str, list[str]]]:
    """Return the confusion matrix as shares of each true class."""
    rows = []
    for name, counts in zip(evaluation.class_names, evaluation.confusion.tolist(), strict=True):
        total = sum(counts)
        rows.append(
            (
                name,
                [rounded(count / total if total else None, 1, percent=True) for count in counts],
            )
        )
    return rows


def _cost_rows(evaluation: Evaluation) -> list[tuple[str, list[str]]]:
    """Return (true class, cost of calling it each class); [] where none were weighed."""
    if evaluation.decision.kind != "costs":
        return []
    rows = zip(evaluation.class_names, evaluation.decision.costs, strict=True)
    return [(name, [f"{cost:g}" for cost in costs]) for name, costs in rows]


def _curves(curves: Sequence[ClassCurves], position: int, about: str) -> list[tuple[str, Markup]]:
    """Return (name, SVG) of the curves: one for wide screens, one for narrow ones."""
    if not curves:
        return []
    label = f"ROC and precision-recall curves: {about}"
    return [
        (
            name,
            inline(
                quality_figures.curves_figure(curves, stacked=name == "narrow"),
                f"ranking-{position}-{name}",
                label,
            ),
        )
        for name in ("wide", "narrow")
    ]


def _reliability(closer: Closer, position: int, about: str) -> Markup | None:
    if not closer.before:
        return None
    drawn = quality_figures.reliability_figure(closer.before, closer.after)
    return inline(drawn, f"reliability-{position}", f"Reliability diagram: {about}")


def _calibration_rows(evaluation: Evaluation) -> list[tuple[str, Shown, Shown]]:
    found = evaluation.calibration
    if found is None:
        return []
    return [
        (words(name, "")[0], shown(before), shown(found.after.get(name)))
        for name, before in found.before.items()
    ]


def _point_row(point: OperatingPoint, evaluation: Evaluation) -> dict[str, Any]:
    decision, names = evaluation.decision, evaluation.class_names
    several = len({each.class_name for each in evaluation.points}) > 1
    return {
        "used": decision.kind == "threshold"
        and point.threshold == decision.threshold
        and point.class_name == names[decision.class_index],
        "class_name": point.class_name if several else "",
        "rule": _RULES.get(point.rule, point.rule.replace("=", " of ")),
        "threshold": "none" if point.threshold is None else f"{point.threshold:.4g}",
        "row": [shown(getattr(point, name)) for name in _OF_A_POINT],
        "note": point.note,
    }


def _slice_metrics(slices: Sequence[Slice]) -> list[str]:
    return list(dict.fromkeys(name for each in slices for name in each.metrics))


def _slice_row(each: Slice, names: Sequence[str]) -> dict[str, Any]:
    return {
        "column": each.column,
        "value": each.value,
        "count": each.count,
        "row": [shown(each.metrics.get(name)) for name in names],
        "difference": signed(each.difference),
        "corrected": rounded(each.corrected, 3),
        "differs": each.differs,
    }


def signed(figure: Interval | None) -> Shown:
    """Return a difference in points of a hundred, with its sign."""
    if figure is None:
        return Shown("–")
    if figure.low is None or figure.high is None:
        return Shown(_points(figure.value), "too few to say")
    return Shown(_points(figure.value), f"{_points(figure.low)} to {_points(figure.high)}")


def _points(share: float) -> str:
    text = f"{100 * share:+.1f}".replace("-", "−")
    return "0.0" if text[1:] == "0.0" else text


def _leak_rows(effect: LeakEffect | None) -> list[tuple[str, str, str]]:
    """Return (title, figure with leaked images, figure without) of each metric."""
    if effect is None:
        return []
    return [
        (words(name, "")[0], _in_one(whole), _in_one(effect.clean.get(name)))
        for name, whole in effect.whole.items()
    ]


def _in_one(figure: Interval | None) -> str:
    return "no image is left" if figure is None else shown(figure).in_one
