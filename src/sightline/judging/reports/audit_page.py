"""The page of an audit: what was found, and the pictures it was found in, side by side.

A page shows a bounded number of pictures, whatever the size of the set: `records_to_show` and
`files_to_dump` say which, the caller fetches them, and `render_audit` lays them out and says how
many it leaves out. Everything is in audit.json and the manifest beside the page.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from jinja2 import Environment

from sightline.judging.reports import layout
from sightline.judging.reports.layout import counted
from sightline.records import Audit, Finding, Manifest, Picture

MOST_PAIRS = 24  # of one kind; some 400 KB
MOST_ON_A_SHEET = 12
MOST_OF_A_REASON = 4  # quarantined files of one reason code
DUMPED = 64  # bytes of a quarantined file
_A_LINE = 8  # of them; the line fits a phone
_PICTURED = ("shortcut", "constant-images", "dark-images", "blurred-images")
_MEASURED = ("validation", "test", "external")

_NOUNS = {"error": "error", "warning": "warning", "info": "note"}
_HOW = {
    "same": "the same way round",
    "mirrored": "mirrored left to right",
    "flipped": "flipped upside down",
    "rotated 90": "turned by 90° counter-clockwise",
    "rotated 180": "turned by 180°",
    "rotated 270": "turned by 270° counter-clockwise",
    "transposed": "mirrored along the main diagonal",
    "transversed": "mirrored along the other diagonal",
}
_REASONS = {
    "EMPTY": "the file has no bytes",
    "TRUNCATED": "the file ends before its picture does",
    "CORRUPT_SCAN": "the compressed pixels are damaged",
    "BAD_CRC": "a checksum inside the file is wrong",
    "NOT_AN_IMAGE": "the content is not a picture",
    "TOO_LARGE": "more pixels or bytes than are allowed",
    "UNSUPPORTED_DEPTH": "its kind of pixels cannot be used",
    "CRASHED_DECODER": "the decoder crashed or hung on it, again and again",
    "MISSING": "there is no such file any more",
    "NOT_A_FILE": "a folder, pipe, socket or device",
    "UNREADABLE": "the file cannot be opened",
    "CHANGED": "its content is not that of the earlier audit",
}
_STAGES = {
    "open": "found when it was opened",
    "header": "found in its header",
    "decode": "found while decoding its pixels",
}
# Kind of pair: heading, what to know about it. A pair stands under the first that fits.
_KINDS = {
    "labels": (
        "One picture under different labels",
        "One of the two labels is wrong, or the class cannot be told from the picture.",
    ),
    "splits": (
        "The same picture on two sides of the split",
        "What was learned by heart is judged as if it were new: figures look better than they are.",
    ),
    "near": (
        "Near copies",
        "Confirmed on their pixels; the least alike first, so the doubtful ones are on top.",
    ),
    "exact": ("Exact copies", "Equal bytes under two names."),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditContents:
    """Everything the page of an audit shows.

    Attributes:
        name: What the data set is called.
        audit: The outcome.
        pictures: Of `records_to_show`, by record id, as far as they could be read; the captions
            are not used.
        headers: First bytes of `files_to_dump`, by record id, as far as they could be read.
    """

    name: str
    audit: Audit
    pictures: Mapping[str, Picture]
    headers: Mapping[str, bytes]


def records_to_show(audit: Audit) -> list[str]:
    """Return the ids of the records whose pictures the page shows, each once."""
    shown = [
        record_id
        for section in _pair_sections(audit)
        for pair in section["pairs"]
        for record_id in (pair["first"], pair["second"])
    ]
    for sheets in _sheets(audit):
        shown += [record_id for sheet in sheets["sheets"] for record_id in sheet["shown"]]
    return list(dict.fromkeys(shown))


def files_to_dump(audit: Audit) -> list[str]:
    """Return the ids of the quarantined files whose first bytes the page shows: some a reason."""
    return _dumped(audit)["record_id"].to_list()


def render_audit(contents: AuditContents) -> str:
    """Return the audit as one HTML5 page that loads nothing; equal contents, equal page.

    Raises:
        ValueError: A picture is neither JPEG nor PNG.
    """
    audit = contents.audit
    counts = audit.manifest.counts()
    divided = audit.manifest.table["split"].null_count() < len(audit.manifest)
    return _environment().get_template("audit.html.j2").render(
        name=contents.name,
        headline=_headline(audit),
        audit=audit,
        pictures=contents.pictures,
        headers=contents.headers,
        standing=layout.standing(audit.findings),
        findings=layout.sorted_findings(audit.findings),
        splits=layout.split_table(
            counts, measured=_MEASURED if divided else ("total",), only_used=True
        ),
        facts=_facts(audit),
        sections=_pair_sections(audit),
        sheets=_sheets(audit),
        about=_about(audit.manifest, records_to_show(audit)),
        reasons=_by_reason(audit.quarantine),
        dumped=_dumped(audit).rows(named=True),
    )  # fmt: skip


@functools.cache
def _environment() -> Environment:
    return layout.environment(
        dump=_dump,
        how=lambda how: _HOW.get(how, how),
        reason=lambda code: _REASONS.get(code, ""),
        sentence=lambda text: (text or "")[:1].upper() + (text or "")[1:],
        stage=lambda stage: _STAGES.get(stage, stage),
    )


def _headline(audit: Audit) -> str:
    """Return one or two sentences: what was looked at, and what stands."""
    counts = layout.standing(audit.findings)
    found = [counted(number, _NOUNS[name]) for name, number in counts.items() if number]
    stands = (
        f"What stands: {', '.join(found)}." if found else "No check found anything that stands."
    )
    return (
        f"{counted(len(audit.manifest), 'image')} looked at, each decoded in full; "
        f"{counted(len(audit.quarantine), 'file')} quarantined. {stands}"
    )


def _facts(audit: Audit) -> list[tuple[str, str]]:
    manifest, table = audit.manifest, audit.manifest.table
    known = f", {audit.num_reused:,} known and unchanged" if audit.num_reused else ""
    facts = [
        ("Folder", str(manifest.root)),
        ("Images", f"{len(manifest) - len(audit.quarantine):,} usable of {len(manifest):,}"),
        ("Classes", f"{len(manifest.class_names):,}"),
        ("Size", f"{int(table['bytes'].sum()) / 1e6:,.1f} MB"),
        ("Looked at", f"{audit.num_read:,} read now{known}"),
        ("Time", f"{audit.seconds:,.1f} s"),
    ]
    if table["group"].null_count() < len(table):
        facts.append(("Groups", manifest.groups_in_words()))
    return facts


def _pair_sections(audit: Audit) -> list[dict[str, Any]]:
    """Return the pairs by kind, the first ones of each kind as rows, and how many there are."""
    about = audit.manifest.table.select("record_id", "label", "split")
    pairs = audit.pairs
    for side in ("first", "second"):
        renamed = about.rename({"record_id": side, "label": f"label_{side}", "split": f"on_{side}"})
        pairs = pairs.join(renamed, on=side, how="left")
    kind = (
        pl.when(pl.col("label_first") != pl.col("label_second"))
        .then(pl.lit("labels"))
        .when(pl.col("on_first") != pl.col("on_second"))
        .then(pl.lit("splits"))
        .when(pl.col("kind") == "copy")
        .then(pl.lit("exact"))
        .otherwise(pl.lit("near"))
    )
    pairs = pairs.with_columns(section=kind).sort("similarity", "first", "second")
    sections = []
    for name, (title, note) in _KINDS.items():
        rows = pairs.filter(pl.col("section") == name)
        if len(rows):
            shown = rows.head(MOST_PAIRS).rows(named=True)
            sections.append(
                {"title": title, "note": note, "pairs": shown, "more": len(rows) - len(shown)}
            )
    return sections


def _sheets(audit: Audit) -> list[dict[str, Any]]:
    """Return the contact sheets of the findings that are about how pictures look."""
    found = [
        finding
        for code in _PICTURED
        for finding in audit.findings
        if finding.code == code and finding.outcome == "found"
    ]
    by_finding = [(finding, _named(finding, audit.manifest)) for finding in found]
    return [
        {
            "finding": finding,
            "sheets": [
                {
                    "title": title if len(named) > 1 else "",
                    "shown": ids[:MOST_ON_A_SHEET],
                    "more": max(0, len(ids) - MOST_ON_A_SHEET),
                }
                for title, ids in named.items()
            ],
        }
        for finding, named in by_finding
        if named
    ]


def _named(finding: Finding, manifest: Manifest) -> dict[str, list[str]]:
    """Return the record ids in a finding's evidence, by where in it they stand."""
    texts: dict[str, list[str]] = {}
    for place, text in _texts(finding.evidence):
        texts.setdefault(place, []).append(text)
    ids = pl.Series("record_id", [text for found in texts.values() for text in found], pl.String)
    known = set(ids.filter(ids.is_in(manifest.table["record_id"].implode())))
    kept = {
        place: list(dict.fromkeys(text for text in found if text in known))
        for place, found in texts.items()
    }
    return {place: found for place, found in kept.items() if found}


def _texts(value: object, place: str = "") -> Iterator[tuple[str, str]]:
    """Yield every text inside of a piece of evidence with the keys that lead to it."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, Mapping):
        for key, part in value.items():
            words = str(key).replace("_", " ")
            yield from _texts(part, f"{place}: {words}" if place else words)
    elif isinstance(value, Sequence):
        for part in value:
            yield from _texts(part, place)


def _about(manifest: Manifest, record_ids: Sequence[str]) -> dict[str, tuple[str | None, str]]:
    """Return (label, split in words) of these records."""
    wanted = pl.Series(record_ids, dtype=pl.String).implode()
    rows = manifest.table.filter(pl.col("record_id").is_in(wanted))
    return {
        record_id: (label, split or "")
        for record_id, label, split in rows.select("record_id", "label", "split").iter_rows()
    }


def _by_reason(quarantine: pl.DataFrame) -> list[tuple[str, int]]:
    """Return (reason code, files), the most frequent first."""
    counts = (
        quarantine.group_by("reason_code")
        .len()
        .sort("len", "reason_code", descending=[True, False])
    )
    return [(code, count) for code, count in counts.iter_rows()]


def _dumped(audit: Audit) -> pl.DataFrame:
    """Return the quarantined files that are shown: the first few of every reason."""
    place = pl.int_range(pl.len()).over("reason_code")
    order = {code: number for number, (code, _) in enumerate(_by_reason(audit.quarantine))}
    return (
        audit.quarantine.filter(place < MOST_OF_A_REASON)
        .with_columns(order=pl.col("reason_code").replace_strict(order, return_dtype=pl.Int32))
        .sort("order", "record_id")
        .drop("order")
    )


def _dump(content: bytes) -> str:
    """Return bytes as lines of hexadecimal digits with their ASCII behind them."""
    lines = []
    for begin in range(0, len(content), _A_LINE):
        part = content[begin : begin + _A_LINE]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        lines.append(f"{begin:02x}  {part.hex(' '):<{3 * _A_LINE - 1}}  {text}")
    return "\n".join(lines)
