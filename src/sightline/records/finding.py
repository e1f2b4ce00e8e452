"""One thing worth telling the user about their data or run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Severity = Literal["info", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check, with the evidence for it.

    Attributes:
        code: Stable name of the check, e.g. "small-split".
        severity: How bad it is when found.
        title: One sentence with the numbers in it.
        evidence: Numbers and every record id concerned, ready for JSON.
        advice: What to do, in one or two sentences.
        outcome: "found", "passed" or "not applicable" (three different things).
    """

    code: str
    severity: Severity
    title: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    advice: str = ""
    outcome: Literal["found", "passed", "not applicable"] = "found"
