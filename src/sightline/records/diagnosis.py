"""What the curves of a training say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sightline.records.finding import Finding
from sightline.records.outcomes import counted


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The findings about one training, the worst first.

    Attributes:
        source: What was looked at: a run folder, a file, or "history".
        epochs: How many the training has.
        findings: One a rule, whatever its outcome: those that stand, the worst first; those that
            another one explains; what passed; what could not be looked for.
        explained: Code of a finding that does not stand by itself, to the code of its cause.
        notes: What is missing for more to be said, a sentence each.
    """

    source: str
    epochs: int
    findings: tuple[Finding, ...]
    explained: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def standing(self) -> tuple[Finding, ...]:
        """The findings to act on: found, not muted, and explained by no other."""
        return tuple(f for f in self.findings if f.stands and f.code not in self.explained)

    @property
    def errors(self) -> tuple[Finding, ...]:
        """Those of them that make the training, or its figures, worthless as they are."""
        return tuple(finding for finding in self.standing if finding.severity == "error")

    @property
    def summary(self) -> str:
        """One sentence: how much stands, and the worst of it."""
        said = f"{counted(self.epochs, 'epoch')}: "
        standing = self.standing
        if not standing:
            return said + "no rule found anything that stands."
        more = ", the worst first" if len(standing) > 1 else ""
        return f"{said}{counted(len(standing), 'finding')}{more}: {standing[0].title}"

    def __getitem__(self, code: str) -> Finding:
        for finding in self.findings:
            if finding.code == code:
                return finding
        raise KeyError(code)

    def to_dict(self) -> dict[str, Any]:
        """Return the diagnosis as plain JSON values."""
        return {
            "source": self.source,
            "epochs": self.epochs,
            "summary": self.summary,
            "findings": [finding.to_dict() for finding in self.findings],
            "explained": dict(self.explained),
            "notes": list(self.notes),
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Diagnosis:
        """Return the diagnosis that `to_dict` wrote."""
        return cls(
            plain["source"],
            plain["epochs"],
            tuple(map(Finding.from_dict, plain["findings"])),
            dict(plain["explained"]),
            tuple(plain["notes"]),
        )
