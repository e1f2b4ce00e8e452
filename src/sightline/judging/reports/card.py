"""The model card: what a stranger must know before using the weights, in Markdown.

The layout is that of Hugging Face's annotated model card, with its metadata in front, so that the
file can stand beside the weights as their README.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sightline.judging.reports import quality
from sightline.judging.reports.layout import counted, printable
from sightline.records import Evaluation, rounded

_METRICS = ("accuracy", "balanced_accuracy", "macro_f1", "roc_auc", "average_precision", "log_loss")
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#~$&@]|:(?=//)|(?<=www)\.)", re.IGNORECASE)
_LEADING = re.compile(r"^(\d+(?=[.)](?: |$))|[-+=])")  # would begin a list or underline a heading
_NOT_SAID = "*Not known to Sightline: to be filled in by whoever publishes the model.*"


@dataclass(frozen=True, kw_only=True, slots=True)
class CardContents:
    """What a model card says.

    Attributes:
        name: The run's name.
        headline: One sentence: what was trained, and how good it is.
        class_names: The classes, in output order.
        inputs: What goes in, a sentence each.
        outputs: What comes out, a sentence each.
        data: (name, value) of the images that it was trained on.
        procedure: How it was trained, a sentence each.
        facts: (name, value) of the run: backend, device, precision, seed, time ...
        evaluations: Of the weights that the model has, in the order to show them.
        stale: One of each, or none at all: why its figures are not of the model as it is now.
        left_out: Why figures are left out, a sentence; "" where none are.
        limits: What the figures do not say, and what the model is not for, a sentence each.
        provenance: (name, value) that identify weights, images and versions.
        usage: Commands and code that use the model.
    """

    name: str
    headline: str
    class_names: Sequence[str]
    inputs: Sequence[str]
    outputs: Sequence[str]
    data: Sequence[tuple[str, str]]
    procedure: Sequence[str]
    facts: Sequence[tuple[str, str]]
    evaluations: Sequence[Evaluation]
    limits: Sequence[str]
    provenance: Sequence[tuple[str, str]]
    usage: Sequence[str]
    stale: Sequence[quality.Stale | None] = ()
    left_out: str = ""


def render_card(contents: CardContents) -> str:
    """Return the card as Markdown; equal contents, equal card.

    Every name of the user's is escaped: it is shown as it is, and makes no markup.
    """
    return "\n".join(_lines(contents)).rstrip() + "\n"


def _lines(contents: CardContents) -> Iterator[str]:
    yield from _metadata(contents)
    yield from ("", f"# Model card for {_named(contents.name)}", "", _plain(contents.headline), "")
    yield from ("## Model details", "", "### Model description", "")
    yield from _bullets(contents.inputs)
    yield from _bullets(contents.outputs)
    names = ", ".join(map(_named, contents.class_names))
    yield from ("", f"- **Classes, in output order:** {names}")
    for title in ("Developed by", "License", "Contact"):
        yield f"- **{title}:** {_NOT_SAID}"
    yield from ("", "## Uses", "", "### Direct use", "")
    yield "Telling the classes above apart in images like those it was trained on."
    yield from ("", "### Out-of-scope use", "")
    yield (
        "Images of another kind, camera, site or population than those below, images of none of "
        "the classes, and any decision about a person that nobody checks."
    )
    yield from ("", "## Bias, risks and limitations", "")
    yield from _bullets(contents.limits)
    yield from ("", "## How to get started with the model", "")
    for command in contents.usage:
        yield from ("```", printable(command).replace("```", "'''"), "```", "")
    yield from ("## Training details", "", "### Training data", "")
    yield from _table(("", ""), contents.data)
    yield from ("", "### Training procedure", "")
    yield from _bullets(contents.procedure)
    yield ""
    yield from _table(("", ""), contents.facts)
    yield from ("", "## Evaluation", "")
    yield "Each figure with its 95 % interval; how they are made stands in the report."
    for judged, stale in zip(contents.evaluations, _stale(contents), strict=True):
        yield from _results(judged, stale)
    if not contents.evaluations:
        yield from ("", "This model was not evaluated yet, so how good it is stands open.")
    if contents.left_out:
        yield from ("", _plain(contents.left_out))
    yield from ("", "## Technical specifications", "")
    yield from _table(("", ""), contents.provenance)


def _metadata(contents: CardContents) -> Iterator[str]:
    """Yield the YAML in front. Its strings are JSON's, which YAML reads as they are."""
    yield "---"
    yield "library_name: keras"
    yield "pipeline_tag: image-classification"
    yield "tags:"
    yield from ("- image-classification", "- sightline")
    if contents.evaluations and not _stale(contents)[0]:
        judged = contents.evaluations[0]
        yield "model-index:"
        yield f"- name: {_quoted(contents.name)}"
        yield "  results:"
        yield "  - task:"
        yield "      type: image-classification"
        yield "    dataset:"
        yield f"      name: {_quoted(quality.titled(judged.source))}"
        yield "      type: image-folder"
        yield "    metrics:"
        for name in _METRICS:
            value = judged.metrics.get(name)
            if value is not None:
                yield f"    - type: {name}"
                yield f"      value: {value:.6f}"
    yield "---"


def _stale(contents: CardContents) -> Sequence[quality.Stale | None]:
    return contents.stale or [None] * len(contents.evaluations)


def _results(judged: Evaluation, stale: quality.Stale | None) -> Iterator[str]:
    """Yield the figures of one evaluation, and of each class."""
    yield from ("", f"### {_named(quality.titled(judged.source))}", "")
    yield f"{counted(judged.count, 'image')}, {quality.weights_of(judged)}."  # no local path
    if stale:
        yield f"**Caution: these figures are {_plain(stale.reason)}.**"
    if judged.caution:
        yield f"**Caution: {_plain(judged.caution)}.**"
    if judged.looks:
        yield f"Looks at this test split so far, by any run: {judged.looks:,}."
    if judged.decision.kind != "most probable":
        yield _plain(quality.decided(judged))
    yield ""
    baseline = judged.baselines.get("majority", {})
    rows = [
        (
            quality.words(name, "")[0],
            quality.with_interval(judged, name, 4).in_one,
            rounded(baseline.get(name)),
        )
        for name in judged.metrics
    ]
    yield from _table(("Metric", "Value", "Always the most frequent class"), rows)
    yield ""
    columns = ("precision", "recall", "specificity", "roc_auc")
    yield from _table(
        ("Class", "Images", *(quality.words(name, "")[0] for name in columns)),
        [
            (
                scores.name if scores.name.split() else "(blank)",
                f"{scores.count:,}",
                *(
                    quality.shown(scores.intervals.get(n) or scores.metrics.get(n)).in_one
                    for n in columns
                ),
            )
            for scores in judged.classes
        ],
    )


def _bullets(sentences: Sequence[str]) -> Iterator[str]:
    for sentence in sentences:
        yield f"- {_named(sentence)}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    if not rows:
        return
    yield f"| {' | '.join(header)} |"
    yield f"|{' --- |' * len(header)}"
    for row in rows:
        yield f"| {' | '.join(map(_plain, row))} |"


def _plain(text: str) -> str:
    """Return text on one line that Markdown shows as it is."""
    escaped = _SPECIAL.sub(r"\\\1", " ".join(printable(text).split()))
    return _LEADING.sub(_held, escaped)


def _named(name: str) -> str:
    """Return a name as `_plain` does, and a word where nothing of it would be seen."""
    return _plain(name) or "(blank)"


def _held(match: re.Match[str]) -> str:
    """Return the beginning of a list as text: a digit before its backslash, a sign after."""
    return match[1] + "\\" if match[1].isdigit() else "\\" + match[1]


def _quoted(text: str) -> str:
    return json.dumps(" ".join(printable(text).split()), ensure_ascii=False)
