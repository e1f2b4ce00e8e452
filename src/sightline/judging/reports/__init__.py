"""Every figure and page, drawn from nouns alone."""

from __future__ import annotations

from sightline.judging.reports.figures import confusion_figure, history_figure, png, svg
from sightline.judging.reports.page import Mistakes, ReportContents, render

__all__ = [
    "Mistakes",
    "ReportContents",
    "confusion_figure",
    "history_figure",
    "png",
    "render",
    "svg",
]
