"""The nouns that travel between the rooms: plain, immutable, checked where they are made."""

from __future__ import annotations

from sightline.records.audit import PAIRS_SCHEMA, QUARANTINE_SCHEMA, Audit
from sightline.records.batch import Batch
from sightline.records.calibration import Calibration, ReliabilityBin
from sightline.records.comparison import Comparison
from sightline.records.crossvalidation import CrossValidation, Fold, Spread
from sightline.records.decision import MOST_PROBABLE, Decision, DecisionKind, tempered
from sightline.records.diagnosis import Diagnosis
from sightline.records.ensembles import Ensemble, Member
from sightline.records.evaluation import ClassScores, Evaluation, LeakEffect
from sightline.records.explanation import (
    METHOD_NAMES,
    Attention,
    AverageMap,
    ExplainMethod,
    Explanation,
    SanityCheck,
)
from sightline.records.facts import DataFacts
from sightline.records.finding import Finding, Severity
from sightline.records.history import History
from sightline.records.index import Location, RecordIndex
from sightline.records.interval import Interval, edges_of, rounded
from sightline.records.label_noise import LabelNoise
from sightline.records.manifest import MANIFEST_SCHEMA, Manifest
from sightline.records.mistake import Mistake
from sightline.records.operating import ChosenDecision, OperatingPoint
from sightline.records.picture import Picture
from sightline.records.prediction_sets import PredictionSets, SetRule
from sightline.records.predictions import Predictions
from sightline.records.rates import RateCurve, RateSearch
from sightline.records.runs_compared import RunsCompared
from sightline.records.slices import Slice
from sightline.records.splitnames import SPLITS, Split, Weights
from sightline.records.summary import LayerSummary, ModelSummary
from sightline.records.sureness import half_width, in_points
from sightline.records.trials import Attempt, Trial, TrialSpec, Tuning

__all__ = [
    "MANIFEST_SCHEMA",
    "METHOD_NAMES",
    "MOST_PROBABLE",
    "PAIRS_SCHEMA",
    "QUARANTINE_SCHEMA",
    "SPLITS",
    "Attempt",
    "Attention",
    "Audit",
    "AverageMap",
    "Batch",
    "Calibration",
    "ChosenDecision",
    "ClassScores",
    "Comparison",
    "CrossValidation",
    "DataFacts",
    "Decision",
    "DecisionKind",
    "Diagnosis",
    "Ensemble",
    "Evaluation",
    "ExplainMethod",
    "Explanation",
    "Finding",
    "Fold",
    "History",
    "Interval",
    "LabelNoise",
    "LayerSummary",
    "LeakEffect",
    "Location",
    "Manifest",
    "Member",
    "Mistake",
    "ModelSummary",
    "OperatingPoint",
    "Picture",
    "PredictionSets",
    "Predictions",
    "RateCurve",
    "RateSearch",
    "RecordIndex",
    "ReliabilityBin",
    "RunsCompared",
    "SanityCheck",
    "SetRule",
    "Severity",
    "Slice",
    "Split",
    "Spread",
    "Trial",
    "TrialSpec",
    "Tuning",
    "Weights",
    "edges_of",
    "half_width",
    "in_points",
    "rounded",
    "tempered",
]
