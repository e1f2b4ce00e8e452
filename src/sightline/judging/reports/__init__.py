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
from sightline.judging.reports.preview_page import (
    PREVIEW_TITLE,
    PreviewContents,
    PreviewRow,
    Strip,
    render_preview,
)
from sightline.judging.reports.rates_page import (
    comparison_figure,
    rates_figure,
    render_rates,
)

__all__ = [
    "DUMPED",
    "PREVIEW_TITLE",
    "AuditContents",
    "Mistakes",
    "PreviewContents",
    "PreviewRow",
    "ReportContents",
    "Strip",
    "comparison_figure",
    "confusion_figure",
    "files_to_dump",
    "history_figure",
    "png",
    "rates_figure",
    "records_to_show",
    "render",
    "render_audit",
    "render_preview",
    "render_rates",
    "svg",
]
