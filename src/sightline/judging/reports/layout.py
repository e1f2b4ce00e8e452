"""What every page is made with: one environment, its filters, and the parts that pages share.

`base.html.j2` is the frame of a page, `macros.html.j2` the parts, `page.css` the look. Every value
goes through Jinja's autoescape, so that no class, file or run name can become markup, and the
frame's own content policy forbids scripts and the network.
"""

from __future__ import annotations

import base64
import functools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeGuard

import polars as pl
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from sightline.records import Finding, Picture, Severity, in_points, rounded

TINY = 64  # pictures narrower than this are enlarged without smoothing
MOST_IDS = 20  # values of one piece of evidence that are written out
MOST_IN_A_CELL = 8  # of a list inside of it
_PICTURE_TYPES = ("image/jpeg", "image/png")
_SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)


def environment(**filters: Callable[..., Any]) -> Environment:
    """Return the environment of a page, with the filters that are its own."""
    made = Environment(
        loader=PackageLoader("sightline.judging.reports", "."),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "address": _address,
        "counted": counted,
        "evidence": _evidence,
        "marked": _marked,
        "percent": functools.partial(rounded, decimals=1, percent=True),
        "points": in_points,
        "score": rounded,
        "thousands": "{:,}".format,
        **filters,
    }
    made.globals["TINY"] = TINY
    return made


def counted(number: int, noun: str) -> str:
    """Return "1 image", "1,200 images"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def split_table(
    counts: pl.DataFrame, *, measured: Sequence[str] = (), only_used: bool = False
) -> dict[str, Any] | None:
    """Return what the macro `split_table` lays out; None when there is nothing to count.

    Args:
        counts: Columns label, one of each split, and total, as Manifest.counts().
        measured: Columns whose numbers are followed by how sure a share measured on them can be.
        only_used: Leave out every split without an image, not the later ones alone.
    """
    if counts.is_empty():
        return None
    rows = counts.rows(named=True)
    splits = [name for name in counts.columns if name not in ("label", "total")]
    for row in rows:
        row["unassigned"] = row["total"] - sum(row[split] for split in splits)
    optional = {*splits, "unassigned"} - (set() if only_used else {"train", "validation"})
    columns = [
        name
        for name in (*splits, "unassigned")
        if name not in optional or any(row[name] for row in rows)
    ]
    if columns == ["unassigned"]:
        columns = []
    totals = {name: sum(row[name] for row in rows) for name in [*columns, "total"]}
    largest = max(max(row["total"] for row in rows), 1)
    for row in rows:
        row["share"] = row["total"] / max(totals["total"], 1)
        row["bars"] = [(name, 100 * row[name] / largest) for name in columns or ["unassigned"]]
    return {
        "columns": columns,
        "rows": rows,
        "totals": totals,
        "without_test": bool(columns) and "test" not in columns,
        "measured": [name for name in measured if name in totals],
    }


def sorted_findings(findings: Sequence[Finding]) -> dict[str, Any]:
    """Return the findings by outcome, those found with the worst first, the muted ones last."""
    found = sorted(
        (finding for finding in findings if finding.outcome == "found"),
        key=lambda finding: (finding.muted, _SEVERITIES.index(finding.severity)),
    )
    others = [finding for finding in findings if finding.outcome != "found"]
    counts = standing(findings)
    return {
        "found": found,
        "others": others,
        "standing": sum(counts.values()),
        "alarm": f"{_errors_and_warnings(counts)} found." if counts["error"] else "",
    }


def standing(findings: Sequence[Finding]) -> dict[str, int]:
    """Return how many findings stand, by severity, the worst first."""
    stand = [finding.severity for finding in findings if finding.stands]
    return {severity: stand.count(severity) for severity in _SEVERITIES}


def _errors_and_warnings(counts: Mapping[str, int]) -> str:
    severities = ("error", "warning")
    return " and ".join(counted(counts[name], name) for name in severities if counts[name])


def printable(text: str) -> str:
    """Return text without control characters, halves of surrogates and turns of direction."""
    return _UNPRINTABLE.sub("\ufffd", text)


def _printable(value: Any) -> Any:
    """Return text that is to be shown, without what cannot be; anything else as it is."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return printable(value)


def _address(picture: Picture) -> str:
    """Return the picture as a data: address."""
    if picture.media_type not in _PICTURE_TYPES:
        raise ValueError(f"a picture must be one of {_PICTURE_TYPES}, got {picture.media_type!r}")
    return f"data:{picture.media_type};base64,{base64.b64encode(picture.content).decode()}"


def _evidence(value: object) -> dict[str, Any]:
    """Return one piece of evidence as the macro `one_evidence` lays it out.

    Keys: parts (texts), more (how many there are beyond them), apart (each on a line of its own),
    columns and rows (a list of alike mappings is a table instead).
    """
    if _is_table(value):
        rows = [[_cell(cell) for cell in row.values()] for row in value[:MOST_IDS]]
        columns = [str(column).replace("_", " ") for column in value[0]]
        more = max(0, len(value) - MOST_IDS)
        return {"columns": columns, "rows": rows, "parts": [], "more": more, "apart": False}
    parts, more = _parts(value, MOST_IDS)
    return {"columns": [], "rows": [], "parts": parts, "more": more, "apart": _is_deep(value)}


def _is_several(value: object) -> TypeGuard[Mapping[Any, Any] | Sequence[Any]]:
    return isinstance(value, (Mapping, Sequence)) and not isinstance(value, str)


def _is_deep(value: object) -> TypeGuard[Mapping[Any, Any]]:
    return isinstance(value, Mapping) and any(map(_is_several, value.values()))


def _is_table(value: object) -> TypeGuard[Sequence[Mapping[Any, Any]]]:
    if not isinstance(value, Sequence) or not value or not isinstance(value[0], Mapping):
        return False
    return all(isinstance(row, Mapping) and list(row) == list(value[0]) for row in value)


def _parts(value: object, most: int) -> tuple[list[str], int]:
    """Return the first parts of a value as texts, and how many more there are."""
    if isinstance(value, Mapping):
        pairs = list(value.items())
        shown = [f"{key}: {_cell(part)}" for key, part in pairs[:most]]
        return shown, max(0, len(pairs) - most)
    if _is_several(value):
        return [_in_words(part) for part in value[:most]], max(0, len(value) - most)
    return [_in_words(value)], 0


def _cell(value: object) -> str:
    """Return a value of a table or mapping as text; of a list inside of it, the beginning.

    What is a table of its own, or holds lists, has no room there and is counted.
    """
    if _is_table(value) or _is_deep(value):
        return f"{len(value):,} (see audit.json)"
    parts, more = _parts(value, MOST_IN_A_CELL)
    return f"{', '.join(parts)}{f' … and {more:,} more' if more else ''}"


def _in_words(value: object) -> str:
    """Return one value as text; one that holds several is in brackets."""
    if value is None or isinstance(value, bool):
        return {None: "–", True: "yes", False: "no"}[value]
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"({_cell(value)})" if _is_several(value) else str(value)


def _marked(text: str) -> Markup:
    """Return text with what stands between backticks as code."""
    pieces = [escape(_printable(piece)) for piece in text.split("`")]
    if len(pieces) % 2 == 0:  # one backtick without its partner
        return Markup("`").join(pieces)
    return Markup("").join(
        Markup("<code>{}</code>").format(piece) if place % 2 else piece
        for place, piece in enumerate(pieces)
    )
