"""The report of a run: one self-contained HTML page, from nouns alone.

What the page needs is worked out here; `report.html.j2` only lays it out. Every value goes
through Jinja's autoescape, so that no class, file or run name can become markup, and the page's
own content policy forbids scripts and the network.
"""

from __future__ import annotations

import base64
import functools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from sightline.judging.reports import figures
from sightline.records import (
    SPLITS,
    Evaluation,
    Finding,
    History,
    ModelSummary,
    Picture,
    rounded,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TINY = 64  # pictures narrower than this are enlarged without smoothing
MOST_IDS = 20  # values of one piece of evidence that are written out
MOST_CONFUSIONS = 5
_PICTURE_TYPES = ("image/jpeg", "image/png")
_SEVERITIES = ("error", "warning", "info")
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

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
        contents=contents,
        best_and_last=_best_and_last(contents.history),
        curves=_curves(contents.history),
        epochs=_epoch_rows(contents.history),
        splits=_split_table(contents.manifest_counts),
        alarm=_alarm(contents.findings),
        findings=_sorted_findings(contents.findings),
        evaluations=[
            _evaluation(evaluation, position)
            for position, evaluation in enumerate(contents.evaluations)
        ],
    )  # fmt: skip


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("sightline.judging.reports", "."),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "address": _address,
        "counted": _counted,
        "evidence": _evidence,
        "percent": functools.partial(rounded, decimals=1, percent=True),
        "score": rounded,
        "shape": _shape,
        "thousands": "{:,}".format,
        "titled": _titled,
    }
    environment.globals["TINY"] = TINY
    return environment


def _printable(value: Any) -> Any:
    """Return text without control characters, halves of surrogates and turns of direction."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return _UNPRINTABLE.sub("\ufffd", value)


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _titled(source: str) -> str:
    """Return the heading of what was judged; of a long path, only its end."""
    if source in SPLITS:
        return f"{source.capitalize()} split"
    parts = source.split("/")
    return source if len(parts) <= 3 else "/".join(("…", *parts[-2:]))


def _address(picture: Picture) -> str:
    """Return the picture as a data: address."""
    if picture.media_type not in _PICTURE_TYPES:
        raise ValueError(f"a picture must be one of {_PICTURE_TYPES}, got {picture.media_type!r}")
    return f"data:{picture.media_type};base64,{base64.b64encode(picture.content).decode()}"


def _evidence(value: object) -> str:
    """Return one piece of evidence as a line of text; long lists are cut and counted."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return _listed([f"{key}: {_evidence(part)}" for key, part in value.items()])
    if isinstance(value, Sequence) and not isinstance(value, str):
        return _listed([_evidence(part) for part in value])
    return str(value)


def _listed(parts: list[str]) -> str:
    more = f" … and {len(parts) - MOST_IDS:,} more" if len(parts) > MOST_IDS else ""
    return ", ".join(parts[:MOST_IDS]) + more


def _shape(shape: Sequence[int | None]) -> str:
    return " × ".join("any" if size is None else str(size) for size in shape) or "one number"


def _best_and_last(history: History) -> str:
    """Return the sentence that says which epoch is best and which was the last."""
    if not len(history):
        return ""
    last = _counted(len(history), "epoch")
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


def _split_table(counts: pl.DataFrame) -> dict[str, Any] | None:
    """Return rows and totals of the split table; None when there is nothing to count."""
    if counts.is_empty():
        return None
    rows = counts.rows(named=True)
    for row in rows:
        row["unassigned"] = row["total"] - sum(row[split] for split in SPLITS)
    columns = [*SPLITS, *(["unassigned"] if any(row["unassigned"] for row in rows) else [])]
    columns = [name for name in columns if name != "test" or any(row["test"] for row in rows)]
    totals = {name: sum(row[name] for row in rows) for name in [*columns, "total"]}
    largest = max(max(row["total"] for row in rows), 1)
    for row in rows:
        row["share"] = row["total"] / max(totals["total"], 1)
        row["bars"] = [(name, 100 * row[name] / largest) for name in columns]
    without_test = "test" not in columns
    return {"columns": columns, "rows": rows, "totals": totals, "without_test": without_test}


def _sorted_findings(findings: Sequence[Finding]) -> dict[str, list[Finding]]:
    """Return the findings by outcome, those found with the worst first."""
    found = sorted(
        (finding for finding in findings if finding.outcome == "found"),
        key=lambda finding: _SEVERITIES.index(finding.severity),
    )
    others = [finding for finding in findings if finding.outcome != "found"]
    return {"found": found, "others": others}


def _alarm(findings: Sequence[Finding]) -> str:
    """Return how many errors and warnings were found, in words; "" without an error."""
    found = [finding.severity for finding in findings if finding.outcome == "found"]
    counted = [(found.count(severity), severity) for severity in ("error", "warning")]
    words = " and ".join(_counted(number, severity) for number, severity in counted if number)
    return f"{words} found." if "error" in found else ""


def _evaluation(evaluation: Evaluation, position: int) -> dict[str, Any]:
    """Return everything the page says about one evaluation."""
    binary = len(evaluation.classes) == 2
    positive = f"“{evaluation.class_names[1]}”" if binary else ""
    beside = ("recall", "precision", "roc_auc") if binary else ("macro_f1", "roc_auc", "log_loss")
    about = _about(evaluation)
    figure, size = figures.confusion_figure(evaluation), len(evaluation.classes)
    width = round(96 * figure.get_figwidth())  # a CSS inch
    metrics = [(*_words(name, positive), value) for name, value in evaluation.metrics.items()]
    scores = [(s.precision, s.recall, s.roc_auc) for s in evaluation.classes]
    return {
        "evaluation": evaluation,
        "title": _titled(evaluation.source),
        "about": about,
        "accuracy": evaluation.metrics.get("accuracy"),
        "beside": [(_words(name, positive)[0], evaluation.metrics.get(name)) for name in beside],
        "metrics": metrics,
        "undefined": None in [value for *_, value in metrics] or any(None in s for s in scores),
        "figure": _inline(figure, f"confusion-{position}", f"Confusion matrix: {about}"),
        "width": width,
        "least_width": round(width * (0.7 if size <= figures.MOST_COUNTED else 1)),
        "size": size,
        "uncounted": size > figures.MOST_COUNTED,
        "confusions": _frequent_confusions(evaluation),
    }


def _about(evaluation: Evaluation) -> str:
    """Return what every figure of an evaluation is about: source, count, weights, epoch."""
    split = f"the {evaluation.source} split"
    source = split if evaluation.source in SPLITS else f"“{evaluation.source}”"
    return (
        f"{_counted(evaluation.count, 'image')} of {source}, "
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
