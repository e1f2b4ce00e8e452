"""The nouns of a cross-validation: one fold, one figure over all folds, and the whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from sightline.records.interval import Interval

FoldState = Literal["finished", "failed"]


@dataclass(frozen=True, slots=True)
class Fold:
    """What came of one fold: a network that learned from the others, judged on this one.

    Attributes:
        name: "r0-f3": repeat 0, fold 3; its run is in folds/NAME of the cross-validation.
        repeat: From 0; each deals the images anew.
        fold: As the manifest numbers it.
        state: "failed" where there are no figures.
        reason: Why it failed, a sentence; else "".
        num_train: Images that were learned from.
        num_validation: Images that chose weights and threshold, out of the other folds too.
        count: Images of the fold that were judged.
        best_epoch: 0-based epoch of the weights judged; -1 of a failed one.
        seconds: Of its training, without what went before and came after.
        metrics: Of `Evaluation.metrics`.
        classes: Class to its metrics.
    """

    name: str
    repeat: int
    fold: int
    state: FoldState = "finished"
    reason: str = ""
    num_train: int = 0
    num_validation: int = 0
    count: int = 0
    best_epoch: int = -1
    seconds: float = 0.0
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    classes: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the fold as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Fold:
        """Return what `to_dict` wrote."""
        return cls(**plain)


@dataclass(frozen=True, slots=True)
class Spread:
    """One figure over all folds.

    Attributes:
        values: Of each finished fold, in their order; None where it is not defined.
        mean: Of those that are defined; None without any.
        deviation: Standard deviation between them (n - 1); None of fewer than two.
        interval: 95 %, of the figure to be expected on new images of a network that this recipe
            trains on as many images as a fold's learned from. Its value is the mean; None
            without any.
        pooled: The figure of all out-of-fold predictions together, with the 95 % interval that
            `evaluate` gives; of several repeats the means. None where it is not defined.
    """

    values: tuple[float | None, ...]
    mean: float | None
    deviation: float | None
    interval: Interval | None
    pooled: Interval | None

    @property
    def lacking(self) -> str:
        """How many folds the mean is of, where the figure is not defined in all: "2 of 3 folds"."""
        known = sum(value is not None for value in self.values)
        return f"{known} of {len(self.values)} folds" if known < len(self.values) else ""

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Spread:
        """Return what `dataclasses.asdict` made plain."""
        edges = {
            name: Interval(**plain[name]) if plain[name] is not None else None
            for name in ("interval", "pooled")
        }
        return cls(tuple(plain["values"]), plain["mean"], plain["deviation"], **edges)


@dataclass(frozen=True, slots=True)
class CrossValidation:
    """What a cross-validation came to.

    Attributes:
        folder: Where it is kept.
        root: Folder of the images.
        recipe: Its name.
        num_folds: Of each repeat.
        repeats: How often the images were dealt anew.
        given: Whether the folds came with the images.
        count: Images that were divided.
        folds: Of every repeat, failed ones too.
        metrics: Name to its spread.
        classes: Class to the same.
        groups: Whole groups that were resampled for the pooled intervals; 0 where images were.
        leak_allowed: Whether given folds were taken although they may share groups or copies.
    """

    folder: str
    root: str
    recipe: str
    num_folds: int
    repeats: int
    given: bool
    count: int
    folds: tuple[Fold, ...]
    metrics: Mapping[str, Spread]
    classes: Mapping[str, Mapping[str, Spread]]
    groups: int = 0
    leak_allowed: bool = False

    @property
    def finished(self) -> tuple[Fold, ...]:
        """The folds that the figures are of."""
        return tuple(fold for fold in self.folds if fold.state == "finished")

    @property
    def failed(self) -> tuple[Fold, ...]:
        """The folds that the figures lack."""
        return tuple(fold for fold in self.folds if fold.state == "failed")

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> CrossValidation:
        """Return what `to_dict` wrote."""
        classes = {
            label: {name: Spread.from_dict(each) for name, each in found.items()}
            for label, found in plain["classes"].items()
        }
        return cls(
            **{
                **plain,
                "folds": tuple(map(Fold.from_dict, plain["folds"])),
                "metrics": {
                    name: Spread.from_dict(each) for name, each in plain["metrics"].items()
                },
                "classes": classes,
            }
        )
