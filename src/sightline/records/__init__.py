"""The nouns that travel between the rooms: plain, immutable, checked where they are made."""

from __future__ import annotations

from sightline.records.audit import PAIRS_SCHEMA, QUARANTINE_SCHEMA, Audit
from sightline.records.batch import Batch
from sightline.records.decision import MOST_PROBABLE, Decision, DecisionKind, tempered
from sightline.records.evaluation import (
    ClassScores,
    Evaluation,
    Interval,
    LeakEffect,
    rounded,
)
from sightline.records.facts import DataFacts
from sightline.records.finding import Finding, Severity
from sightline.records.history import History
from sightline.records.index import Location, RecordIndex
from sightline.records.manifest import MANIFEST_SCHEMA, Manifest
from sightline.records.picture import Picture
from sightline.records.predictions import Predictions
from sightline.records.rates import RateCurve, RateSearch
from sightline.records.splitnames import SPLITS, Split, Weights
from sightline.records.summary import LayerSummary, ModelSummary
from sightline.records.sureness import half_width, in_points

__all__ = [
    "MANIFEST_SCHEMA",
    "MOST_PROBABLE",
    "PAIRS_SCHEMA",
    "QUARANTINE_SCHEMA",
    "SPLITS",
    "Audit",
    "Batch",
    "ClassScores",
    "DataFacts",
    "Decision",
    "DecisionKind",
    "Evaluation",
    "Finding",
    "History",
    "Interval",
    "LayerSummary",
    "LeakEffect",
    "Location",
    "Manifest",
    "ModelSummary",
    "Picture",
    "Predictions",
    "RateCurve",
    "RateSearch",
    "RecordIndex",
    "Severity",
    "Split",
    "Weights",
    "half_width",
    "in_points",
    "rounded",
    "tempered",
]
