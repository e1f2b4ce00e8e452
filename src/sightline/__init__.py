"""Sightline: from folders of labelled images to a classifier whose owner can trust it."""

from __future__ import annotations

__version__ = "0.1.0"
