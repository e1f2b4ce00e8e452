"""Every figure and page, drawn from nouns alone."""

from __future__ import annotations

from sightline.judging.reports.audit_page import (
    DUMPED,
    AuditContents,
    files_to_dump,
    records_to_show,
    render_audit,
)
from sightline.judging.reports.figures import confusion_figure, history_figure, png, svg
from sightline.judging.reports.page import Mistakes, ReportContents, render

__all__ = [
    "DUMPED",
    "AuditContents",
    "Mistakes",
    "ReportContents",
    "confusion_figure",
    "files_to_dump",
    "history_figure",
    "png",
    "records_to_show",
    "render",
    "render_audit",
    "svg",
]
