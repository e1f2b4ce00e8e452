"""The report of a run: one self-contained HTML page, from nouns alone.

What the page needs is worked out here; `report.html.j2` only lays it out, in the frame and with
the parts of `layout`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from jinja2 import Environment
from markupsafe import Markup

from sightline.judging.reports import figures, layout
from sightline.judging.reports.layout import counted
from sightline.records import (
    SPLITS,
    Evaluation,
    Finding,
    History,
    Interval,
    LeakEffect,
    ModelSummary,
    Picture,
    rounded,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_CONFUSIONS = 5

_METRICS = {
    "accuracy": ("Accuracy", "share of the images put in their class"),
    "balanced_accuracy": ("Balanced accuracy", "mean recall: every class counts the same"),
    "precision": ("Precision", "of the images called {positive}, how many are"),
    "recall": ("Recall", "of the {positive} images, how many were found"),
    "f1": ("F1", "harmonic mean of precision and recall, for {positive}"),
    "macro_precision": ("Macro precision", "mean over the classes"),
    "macro_recall": ("Macro recall", "mean over the classes"),
    "macro_f1": ("Macro F1", "mean over the classes"),
    "roc_auc": ("ROC AUC", "chance that an image of a class is ranked above one that is not"),
    "average_precision": ("Average precision", "area under the precision-recall curve"),
    "log_loss": ("Log loss", "plain cross-entropy, the same as val_loss; lower is better"),
}


@dataclass(frozen=True, slots=True)
class Mistakes:
    """The wrong predictions of one evaluation, as far as they can be shown.

    Attributes:
        source: Of the evaluation.
        count: How many there are, shown or not.
        pictures: The most confident ones; a caption may have several lines and names true class,
            predicted class, probability and file.
        note: Why pictures are missing, as the end of a sentence; "" when none is.
    """

    source: str
    count: int
    pictures: Sequence[Picture]
    note: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportContents:
    """Everything a report shows; any part may be empty, and the page then says so.

    Attributes:
        name: The run's name.
        headline: One sentence: what was trained, and how good it is.
        facts: (name, value) of the run: recipe, backend, device, precision, seed, time ...
        plan: What was going to be done and why, a sentence each.
        manifest_counts: Columns label, train, validation, test, total, as Manifest.counts().
        ignored: What the scan passed over, by kind.
        data_facts: (name, value) of the images: folder, sizes, groups ...
        history: The epochs.
        evaluations: In the order to show them.
        summary: The network's layers; None when it was not built.
        augmented: Training pictures as the network sees them.
        augmented_note: Why some of them are missing, a sentence; "" when none is.
        randomly_changed: Whether the recipe changes training pictures at random.
        mistakes: One of each evaluation.
        findings: Of every check, whatever the outcome.
        reproduce: Commands that make this run again.
        group_counts: Distinct groups (patients, lesions) in each split; empty without groups.
    """

    name: str
    headline: str
    facts: Sequence[tuple[str, str]]
    plan: Sequence[str]
    manifest_counts: pl.DataFrame
    ignored: Mapping[str, int]
    data_facts: Sequence[tuple[str, str]]
    history: History
    evaluations: Sequence[Evaluation]
    summary: ModelSummary | None
    augmented: Sequence[Picture]
    mistakes: Sequence[Mistakes]
    findings: Sequence[Finding]
    reproduce: Sequence[str]
    group_counts: Mapping[str, int] = field(default_factory=dict)
    augmented_note: str = ""
    randomly_changed: bool = True


def render(contents: ReportContents) -> str:
    """Return the report as one HTML5 page that loads nothing; equal contents, equal page.

    Raises:
        ValueError: A picture is neither JPEG nor PNG.
    """
    return _environment().get_template("report.html.j2").render(
        name=contents.name,
        headline=contents.headline,
        contents=contents,
        best_and_last=_best_and_last(contents.history),
        curves=_curves(contents.history),
        epochs=_epoch_rows(contents.history),
        splits=layout.split_table(
            contents.manifest_counts, measured=("validation", "test", "external")
        ),
        findings=layout.sorted_findings(contents.findings),
        evaluations=[
            _evaluation(evaluation, position)
            for position, evaluation in enumerate(contents.evaluations)
        ],
    )  # fmt: skip


@functools.cache
def _environment() -> Environment:
    return layout.environment(shape=_shape, titled=_titled)


def _titled(source: str) -> str:
    """Return the heading of what was judged; of a long path, only its end."""
    if source in SPLITS:
        return f"{source.capitalize()} split"
    parts = source.split("/")
    return source if len(parts) <= 3 else "/".join(("…", *parts[-2:]))


def _shape(shape: Sequence[int | None]) -> str:
    return " × ".join("any" if size is None else str(size) for size in shape) or "one number"


def _best_and_last(history: History) -> str:
    """Return the sentence that says which epoch is best and which was the last."""
    if not len(history):
        return ""
    last = counted(len(history), "epoch")
    if history.best_epoch is None:
        return f"Training ran for {last}; no best epoch was chosen."
    best = history.best_epoch + 1
    chosen = f", chosen by {history.monitor}" if history.monitor else ""
    if best == len(history):
        return f"Training ran for {last}; the last one is also the best{chosen}."
    return (
        f"The best and the last epoch differ: epoch {best} of {len(history)} is the best{chosen}, "
        f"training went on to epoch {len(history)}. Every figure says which weights it is about."
    )


def _curves(history: History) -> list[tuple[str, Markup]]:
    """Return (name, SVG) of the curves: one for wide screens, one for narrow ones."""
    *most, last = ["Loss", *figures.metric_names(history)]
    names = f"{', '.join(most)} and {last}".replace("_", " ")
    label = f"{names} by epoch. {_best_and_last(history)}"
    return [
        (name, _inline(figures.history_figure(history, stacked=name == "narrow"), name, label))
        for name in ("wide", "narrow")
        if len(history)
    ]


def _inline(figure: Figure, prefix: str, label: str) -> Markup:
    """Return a figure as markup: matplotlib has escaped every name in it."""
    return Markup(figures.svg(figure, prefix=prefix, label=label))


def _epoch_rows(history: History) -> list[dict[str, str]]:
    """Return the numbers of every epoch as text, counted from 1."""
    if not len(history):
        return []
    rows = history.table.select(pl.selectors.numeric()).rows(named=True)
    return [
        {
            name: str(value + 1) if name == "epoch" else _plain_number(value)
            for name, value in row.items()
        }
        for row in rows
    ]


def _plain_number(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return "–"
    if isinstance(value, int) or abs(value) >= 10_000:
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.4f}" if abs(value) >= 1e-3 else f"{value:.3g}"


def _evaluation(evaluation: Evaluation, position: int) -> dict[str, Any]:
    """Return everything the page says about one evaluation."""
    binary = len(evaluation.classes) == 2
    positive = f"“{evaluation.class_names[1]}”" if binary else ""
    beside = ("recall", "precision", "roc_auc") if binary else ("macro_f1", "roc_auc", "log_loss")
    about = _about(evaluation)
    figure, size = figures.confusion_figure(evaluation), len(evaluation.classes)
    width = round(96 * figure.get_figwidth())  # a CSS inch
    metrics = [(*_words(name, positive), value) for name, value in evaluation.metrics.items()]
    return {
        "evaluation": evaluation,
        "title": _titled(evaluation.source),
        "about": about,
        "accuracy": evaluation.metrics.get("accuracy"),
        "beside": [(_words(name, positive)[0], evaluation.metrics.get(name)) for name in beside],
        "metrics": metrics,
        "undefined": None in [value for *_, value in metrics]
        or any(None in scores.metrics.values() for scores in evaluation.classes),
        "figure": _inline(figure, f"confusion-{position}", f"Confusion matrix: {about}"),
        "width": width,
        "least_width": round(width * (0.7 if size <= figures.MOST_COUNTED else 1)),
        "size": size,
        "uncounted": size > figures.MOST_COUNTED,
        "confusions": _frequent_confusions(evaluation),
        "leaks": _leak_rows(evaluation.leak_effect),
    }


def _leak_rows(effect: LeakEffect | None) -> list[tuple[str, str, str]]:
    """Return (title, figure with leaked images, figure without) of each metric."""
    if effect is None:
        return []
    return [
        (_words(name, "")[0], _with_interval(whole), _with_interval(effect.clean.get(name)))
        for name, whole in effect.whole.items()
    ]


def _with_interval(figure: Interval | None) -> str:
    if figure is None:
        return "no image is left"
    return f"{rounded(figure.value, 3)} ({rounded(figure.low, 3)} to {rounded(figure.high, 3)})"


def _about(evaluation: Evaluation) -> str:
    """Return what every figure of an evaluation is about: source, count, weights, epoch."""
    split = f"the {evaluation.source} split"
    source = split if evaluation.source in SPLITS else f"“{evaluation.source}”"
    return (
        f"{counted(evaluation.count, 'image')} of {source}, "
        f"{evaluation.weights} weights (epoch {evaluation.epoch + 1})"
    )


def _words(metric: str, positive: str) -> tuple[str, str]:
    """Return (title, explanation) of a metric; one without words is named by its key."""
    title, explanation = _METRICS.get(metric, (metric.replace("_", " ").capitalize(), ""))
    return title, explanation.replace("{positive}", positive)


def _frequent_confusions(evaluation: Evaluation) -> list[tuple[str, str, int, int]]:
    """Return (true, predicted, count, records of the true class), most frequent first."""
    wrong = evaluation.confusion.copy()
    np.fill_diagonal(wrong, 0)
    names, actual = evaluation.class_names, evaluation.confusion.sum(axis=1)
    order = np.argsort(-wrong, axis=None, kind="stable")[:MOST_CONFUSIONS]
    cells = [divmod(int(cell), len(names)) for cell in order]
    return [
        (names[row], names[column], int(wrong[row, column]), int(actual[row]))
        for row, column in cells
        if wrong[row, column]
    ]
