"""The report of a run: one self-contained HTML page, from nouns alone.

What the page needs is worked out here; `report.html.j2` only lays it out, in the frame and with
the parts of `layout`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl
from jinja2 import Environment
from markupsafe import Markup

from sightline.judging.reports import figures, layout
from sightline.judging.reports.layout import counted
from sightline.judging.reports.quality import Closer, Stale, inline, section, titled
from sightline.records import Diagnosis, Evaluation, Finding, History, ModelSummary, Picture


@dataclass(frozen=True, slots=True)
class Example:
    """One image that is worth a look.

    Attributes:
        picture: A caption may have several lines: true class, predicted class, probability, file.
        overlay: Where the network looked; None where that is not shown.
        similar: The training images most like it to the network.
    """

    picture: Picture
    overlay: Picture | None = None
    similar: Sequence[Picture] = ()


@dataclass(frozen=True, slots=True)
class Mistakes:
    """The wrong predictions of one evaluation, as far as they can be shown.

    Attributes:
        source: Of the evaluation.
        count: How many there are, shown or not.
        examples: The most confident ones.
        note: Why pictures are missing, as the end of a sentence; "" when none is.
        uncertain: Those the network was least certain of, right or wrong.
        doubtful: Those whose label the network doubts most.
        doubts: How many labels it doubts, and how many are estimated to be wrong, in a sentence.
        listed: The file that lists them all; "" where there is none.
        weights: Which weights made them, in words; "" leaves that out.
        cells: (true class, predicted class, examples) of the most frequent confusions.
    """

    source: str
    count: int
    examples: Sequence[Example]
    note: str = ""
    uncertain: Sequence[Example] = ()
    doubtful: Sequence[Example] = ()
    doubts: str = ""
    listed: str = ""
    weights: str = ""
    cells: Sequence[tuple[str, str, Sequence[Example]]] = ()

    @property
    def pictured(self) -> bool:
        """Whether there is anything of it to look at."""
        return bool(self.examples or self.uncertain or self.doubts or self.cells)


@dataclass(frozen=True, slots=True)
class Looks:
    """Where the network looks over a whole split.

    Attributes:
        told: What the maps say, a sentence each.
        picture: The average maps; None where there is none.
        findings: What is wrong with it.
    """

    told: Sequence[str]
    picture: Picture | None = None
    findings: Sequence[Finding] = ()


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
        closer: One of each evaluation, or none at all.
        stale: Likewise, why its figures are not of the model as it is now; None where they are.
        summary: The network's layers; None when it was not built.
        augmented: Training pictures as the network sees them.
        augmented_note: Why some of them are missing, a sentence; "" when none is.
        randomly_changed: Whether the recipe changes training pictures at random.
        mistakes: One of each evaluation.
        findings: Of every check, whatever the outcome.
        reproduce: Commands that make this run again.
        group_counts: Distinct groups (patients, lesions) in each split; empty without groups.
        diagnosis: What the curves say; None where nobody asked them.
        looks: Where the network looks; None where that was not looked at.
        provenance: (name, value) that identify weights, images and versions.
        limits: What the figures do not say, and what the model is not for, a sentence each.
        no_curves: Why there are none, a sentence, where `history` is empty.
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
    closer: Sequence[Closer] = ()
    stale: Sequence[Stale | None] = ()
    diagnosis: Diagnosis | None = None
    looks: Looks | None = None
    provenance: Sequence[tuple[str, str]] = ()
    limits: Sequence[str] = ()
    no_curves: str = "No epoch has finished yet, so there are no curves."


def render(contents: ReportContents) -> str:
    """Return the report as one HTML5 page that loads nothing; equal contents, equal page.

    Raises:
        ValueError: A picture is neither JPEG nor PNG.
    """
    closer = contents.closer or [Closer()] * len(contents.evaluations)
    stale = contents.stale or [None] * len(contents.evaluations)
    numbers = _numbers(contents.diagnosis)
    marks = marks_of(contents.diagnosis)
    return _environment().get_template("report.html.j2").render(
        name=contents.name,
        headline=contents.headline,
        contents=contents,
        best_and_last=_best_and_last(contents.history),
        curves=_curves(contents.history, marks),
        epochs=_epoch_rows(contents.history),
        splits=layout.split_table(
            contents.manifest_counts, measured=("validation", "test", "external")
        ),
        findings=layout.sorted_findings(contents.findings),
        diagnosis=_diagnosed(contents.diagnosis),
        numbers=numbers,
        marked=bool(marks),
        evaluations=[
            section(evaluation, beside, former, position)
            for position, (evaluation, beside, former) in enumerate(
                zip(contents.evaluations, closer, stale, strict=True)
            )
        ],
    )  # fmt: skip


@functools.cache
def _environment() -> Environment:
    return layout.environment(shape=_shape, titled=titled)


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


def _curves(history: History, marks: Mapping[int, Sequence[int]]) -> list[tuple[str, Markup]]:
    """Return (name, SVG) of the curves: one for wide screens, one for narrow ones."""
    *most, last = ["Loss", *figures.metric_names(history)]
    names = f"{', '.join(most)} and {last}".replace("_", " ")
    label = f"{names} by epoch. {_best_and_last(history)}"
    return [
        (
            name,
            inline(
                figures.history_figure(history, stacked=name == "narrow", marks=marks), name, label
            ),
        )
        for name in ("wide", "narrow")
        if len(history)
    ]


def _numbers(diagnosis: Diagnosis | None) -> dict[str, int]:
    """Return the number that each finding of a diagnosis has, by its code."""
    standing = () if diagnosis is None else diagnosis.standing
    return {finding.code: number for number, finding in enumerate(standing, start=1)}


def marks_of(diagnosis: Diagnosis | None) -> dict[int, list[int]]:
    """Return the numbers to write above each 0-based epoch: places in the list of what stands."""
    marks: dict[int, list[int]] = {}
    standing = () if diagnosis is None else diagnosis.standing
    for number, finding in enumerate(standing, start=1):
        if finding.epoch is not None:
            marks.setdefault(finding.epoch, []).append(number)
    return marks


def _diagnosed(diagnosis: Diagnosis | None) -> dict[str, Any] | None:
    """Return the findings of a diagnosis as the macro `findings_list` lays them out."""
    if diagnosis is None:
        return None
    standing = list(diagnosis.standing)
    others = [finding for finding in diagnosis.findings if finding not in standing]
    return {"found": standing, "others": others, "explained": diagnosis.explained}


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
