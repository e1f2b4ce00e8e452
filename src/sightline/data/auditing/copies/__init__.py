"""Copies and near copies: candidates by perceptual hash, confirmed on pixels."""

from __future__ import annotations

from sightline.data.auditing.copies.cascade import RADIUS, TURNED_RADIUS, Copies, find_copies
from sightline.data.auditing.copies.fingerprints import FINGERPRINT_VERSION, fingerprint
from sightline.data.auditing.copies.judging import VERDICTS_SCHEMA

__all__ = [
    "FINGERPRINT_VERSION",
    "RADIUS",
    "TURNED_RADIUS",
    "VERDICTS_SCHEMA",
    "Copies",
    "find_copies",
    "fingerprint",
]
