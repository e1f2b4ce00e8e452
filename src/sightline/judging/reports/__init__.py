"""Every figure and page, drawn from nouns alone."""

from __future__ import annotations

from sightline.judging.reports.audit_page import (
    DUMPED,
    AuditContents,
    files_to_dump,
    records_to_show,
    render_audit,
)
from sightline.judging.reports.card import CardContents, render_card
from sightline.judging.reports.cv_page import render_cross_validation
from sightline.judging.reports.figures import confusion_figure, history_figure, png, svg
from sightline.judging.reports.overlays import (
    Legend,
    attention_picture,
    enlarged_whole,
    grid,
    pixels_of,
    with_legend,
)
from sightline.judging.reports.page import (
    Example,
    Looks,
    Mistakes,
    ReportContents,
    marks_of,
    render,
)
from sightline.judging.reports.preview_page import (
    PREVIEW_TITLE,
    PreviewContents,
    PreviewRow,
    Strip,
    render_preview,
)
from sightline.judging.reports.quality import Again, Closer, Stale, titled, weights_of
from sightline.judging.reports.quality_figures import ClassCurves
from sightline.judging.reports.rates_page import (
    comparison_figure,
    rates_figure,
    render_rates,
)
from sightline.judging.reports.tune_page import render_tuning

__all__ = [
    "DUMPED",
    "PREVIEW_TITLE",
    "Again",
    "AuditContents",
    "CardContents",
    "ClassCurves",
    "Closer",
    "Example",
    "Legend",
    "Looks",
    "Mistakes",
    "PreviewContents",
    "PreviewRow",
    "ReportContents",
    "Stale",
    "Strip",
    "attention_picture",
    "comparison_figure",
    "confusion_figure",
    "enlarged_whole",
    "files_to_dump",
    "grid",
    "history_figure",
    "marks_of",
    "pixels_of",
    "png",
    "rates_figure",
    "records_to_show",
    "render",
    "render_audit",
    "render_card",
    "render_cross_validation",
    "render_preview",
    "render_rates",
    "render_tuning",
    "svg",
    "titled",
    "weights_of",
    "with_legend",
]
