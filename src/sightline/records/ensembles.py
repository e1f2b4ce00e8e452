"""Several models put together, and whether that was worth it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from sightline.records.interval import Interval


@dataclass(frozen=True, slots=True)
class Member:
    """A run that was to be put together with others.

    Attributes:
        run: Its folder.
        fingerprint: Of its weights, network and preprocessing.
        weight: Its share, 0..1; 0 where it was left out.
        log_loss: Its own, on the images that judge; None where there are none.
    """

    run: str
    fingerprint: str
    weight: float
    log_loss: float | None


@dataclass(frozen=True, slots=True)
class Ensemble:
    """What came of putting runs together.

    Attributes:
        run: The folder of the new run; "" where none was kept.
        method: How weights were found: "mean", "weighted", "greedy" or "soup".
        flips: Axes along which images are mirrored as well.
        members: All that were given.
        best: The member that does best by itself; "" where that is not measured.
        difference: Log loss of the ensemble less that of the best member, each chosen on other
            images than those it is judged on; None where no image could judge.
        images: How many images judged.
        groups: How many whole groups were resampled for the interval; 0 where images were.
        told: What is to be known of it, a sentence each.
    """

    run: str
    method: str
    flips: tuple[str, ...]
    members: tuple[Member, ...]
    best: str
    difference: Interval | None
    images: int
    groups: int
    told: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return asdict(self)


def helps(difference: Interval) -> bool:
    """Say whether a difference in log loss is below zero beyond its noise."""
    return difference.high is not None and difference.high < 0
