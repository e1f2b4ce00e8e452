"""How long epochs took, and how long the next one may take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(slots=True)
class Clock:
    """The seconds of a training's epochs, in all processes that worked on it.

    The first epoch of a kind, at another size of the images or with a network that learns as a
    whole from then on, stands apart: the step is compiled in it, and in the very first every file
    is decoded.

    Attributes:
        spent: Of all finished epochs.
        first: Of the first one of the latest kind; 0 before there is one.
        longest: Of the longest after that; 0 before there is one.
        latest: Of the latest, of this process.
        latest_is_first: Whether that is the first of its kind.
    """

    spent: float = 0.0
    first: float = 0.0
    longest: float = 0.0
    latest: float = 0.0
    latest_is_first: bool = True

    def epoch_done(self, seconds: float, *, grown: bool = False) -> None:
        """Note an epoch.

        Args:
            seconds: That it took, in all processes.
            grown: Whether its steps computed more than those of the one before.
        """
        if grown:
            self.first = self.longest = 0.0
        self.latest, self.latest_is_first = 0.0, not self.first
        self.latest_took(seconds)

    def latest_took(self, seconds: float) -> None:
        """Note what the latest epoch took in all, with what was called and saved after it."""
        self.spent += seconds - self.latest
        self.latest = seconds
        if self.latest_is_first:
            self.first = seconds
        else:
            self.longest = max(self.longest, seconds)

    def expected(self, growth: float = 1.0) -> float:
        """Return the seconds that the next epoch is expected to take; 0 before there was one.

        As many as the longest, without the first where there are others. Where its steps compute
        more, so many times more, and what the first took more.

        Args:
            growth: What its steps compute, over those of the latest.
        """
        usual = self.longest or self.first
        return usual if growth == 1 else usual * growth + max(0.0, self.first - usual)

    def to_dict(self) -> dict[str, float]:
        """Return its state as plain JSON values."""
        return {"spent": self.spent, "first": self.first, "longest": self.longest}

    def restore(self, plain: Mapping[str, float]) -> None:
        """Take the state that `to_dict` returned."""
        self.spent, self.first = float(plain["spent"]), float(plain["first"])
        self.longest = float(plain["longest"])
