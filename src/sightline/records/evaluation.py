"""How good a set of predictions is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from sightline.records.calibration import Calibration
from sightline.records.decision import MOST_PROBABLE, Decision
from sightline.records.interval import Interval, intervals_of
from sightline.records.operating import OperatingPoint
from sightline.records.prediction_sets import PredictionSets
from sightline.records.slices import Slice
from sightline.records.splitnames import Weights

_CAUTIONS = {
    "validation": "the split that chose the weights: optimistic",
    "train": "the images it was trained on: says nothing about new ones",
}


@dataclass(frozen=True, slots=True)
class ClassScores:
    """The scores of one class against the rest.

    Attributes:
        name: The class.
        count: Records of it.
        metrics: Name to score; None where it is not defined.
        intervals: Of the metrics that are defined.
    """

    name: str
    count: int
    metrics: Mapping[str, float | None]
    intervals: Mapping[str, Interval] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the scores as plain JSON values."""
        intervals = {name: asdict(interval) for name, interval in self.intervals.items()}
        return {"name": self.name, "count": self.count, "metrics": dict(self.metrics),
                "intervals": intervals}  # fmt: skip

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> ClassScores:
        """Return the scores that `to_dict` wrote, or that were written before there were intervals.

        Those had each metric beside name and count.
        """
        metrics = plain.get("metrics")
        if metrics is None:
            metrics = {key: plain[key] for key in plain if key not in ("name", "count")}
        return cls(plain["name"], plain["count"], metrics, intervals_of(plain.get("intervals", {})))


@dataclass(frozen=True, slots=True)
class LeakEffect:
    """The figures with and without images that the training knew a copy or a group mate of.

    Attributes:
        count: Records judged.
        leaked: How many of them are leaked.
        whole: Metric to its interval, of all records.
        clean: Of the records that are not leaked; {} where there is none.
    """

    count: int
    leaked: int
    whole: Mapping[str, Interval]
    clean: Mapping[str, Interval]

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> LeakEffect:
        """Return what `dataclasses.asdict` made plain."""
        whole, clean = (intervals_of(plain[part]) for part in ("whole", "clean"))
        return cls(plain["count"], plain["leaked"], whole, clean)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Figures for one set of predictions, and which weights they belong to.

    Attributes:
        source: What was judged: "test", "validation" or the name of an external set.
        count: Records judged.
        unreadable: Records left out because their file could not be read.
        weights: "best", "last" or "average": which weights of the run every figure is about.
        epoch: 0-based epoch those weights are from.
        model_fingerprint: The model's identity.
        predictions_hash: The content hash of the predictions judged.
        metrics: accuracy, balanced_accuracy, macro_precision, macro_recall, macro_f1, roc_auc,
            average_precision, log_loss, and for two classes precision, recall, f1 of the second;
            None where a metric is not defined.
        classes: Per-class scores, in class order.
        confusion: (K, K) counts, row = true class, column = predicted class.
        root: Folder that the record ids are relative to; "" when it is not known.
        seen_in_training: How many of the records judged were trained on or chose the weights.
        leaked: How many have a copy, or an image of their group, among those.
        leak_effect: The figures with and without them, where that was asked for.
        looks: How often the run's test split had been looked at, this time included; 0 where none
            of its images were judged.
        intervals: Of the metrics that are defined.
        baselines: "majority" and "prior" to the metrics of answering without looking: always the
            most frequent class, or always the shares of the classes.
        groups: How many whole groups were resampled for the intervals; 0 where images were.
        decision: How probabilities became classes.
        calibration: How far the probabilities can be believed; None where there was no other split
            to fit a temperature on.
        sets: How sets of classes did that hold the true one as often as asked; None likewise.
        points: What thresholds that were chosen on validation come to here; () without any.
        slices: The figures of parts of the records, where that was asked for.
    """

    source: str
    count: int
    unreadable: int
    weights: Weights
    epoch: int
    model_fingerprint: str
    predictions_hash: str
    metrics: Mapping[str, float | None]
    classes: tuple[ClassScores, ...]
    confusion: npt.NDArray[np.int64]
    root: str = ""
    seen_in_training: int = 0
    leaked: int = 0
    leak_effect: LeakEffect | None = None
    looks: int = 0
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    baselines: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    groups: int = 0
    decision: Decision = MOST_PROBABLE
    calibration: Calibration | None = None
    sets: PredictionSets | None = None
    points: tuple[OperatingPoint, ...] = ()
    slices: tuple[Slice, ...] = ()

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes, in order."""
        return tuple(scores.name for scores in self.classes)

    @property
    def caution(self) -> str:
        """Why the figures look better than they are; "" for images that decided nothing."""
        if self.source in _CAUTIONS:
            return _CAUTIONS[self.source]
        if self.seen_in_training:
            were = "was" if self.seen_in_training == 1 else "were"
            return (
                f"{self.seen_in_training:,} of {self.count:,} of these images {were} trained on "
                "or chose the weights: optimistic"
            )
        if self.leaked:
            have = "has" if self.leaked == 1 else "have"
            return (
                f"{self.leaked:,} of {self.count:,} of these images {have} a copy, or an image "
                "of the same group, among those that were learned from: optimistic"
            )
        return ""

    def confusions(self, most: int) -> list[tuple[str, str, int, int]]:
        """Return the commonest mistakes: true class, predicted one, count, records of the true one.

        The most frequent first, of equals in the order of the classes.
        """
        wrong = self.confusion.copy()
        np.fill_diagonal(wrong, 0)
        names, actual = self.class_names, self.confusion.sum(axis=1)
        order = np.argsort(-wrong, axis=None, kind="stable")[:most]
        cells = [divmod(int(cell), len(names)) for cell in order]
        return [
            (names[row], names[column], int(wrong[row, column]), int(actual[row]))
            for row, column in cells
            if wrong[row, column]
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return the evaluation as plain JSON values."""
        plain = {name: getattr(self, name) for name in self.__slots__}
        plain["metrics"] = dict(self.metrics)
        plain["classes"] = [scores.to_dict() for scores in self.classes]
        plain["confusion"] = self.confusion.tolist()
        plain["leak_effect"] = asdict(self.leak_effect) if self.leak_effect else None
        plain["intervals"] = {name: asdict(each) for name, each in self.intervals.items()}
        plain["baselines"] = {name: dict(each) for name, each in self.baselines.items()}
        plain["decision"] = self.decision.to_dict()
        plain["calibration"] = self.calibration.to_dict() if self.calibration else None
        plain["sets"] = self.sets.to_dict() if self.sets else None
        plain["points"] = [point.to_dict() for point in self.points]
        plain["slices"] = [each.to_dict() for each in self.slices]
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Evaluation:
        """Return the evaluation that `to_dict` wrote."""
        effect, decision = plain.get("leak_effect"), plain.get("decision")
        calibration, sets = plain.get("calibration"), plain.get("sets")
        return cls(
            **{
                **plain,
                "leak_effect": LeakEffect.from_dict(effect) if effect else None,
                "classes": tuple(map(ClassScores.from_dict, plain["classes"])),
                "confusion": np.asarray(plain["confusion"], np.int64),
                "intervals": intervals_of(plain.get("intervals", {})),
                "decision": Decision.from_dict(decision) if decision else MOST_PROBABLE,
                "calibration": Calibration.from_dict(calibration) if calibration else None,
                "sets": PredictionSets.from_dict(sets) if sets else None,
                "points": tuple(map(OperatingPoint.from_dict, plain.get("points", ()))),
                "slices": tuple(map(Slice.from_dict, plain.get("slices", ()))),
            }
        )
