"""Several models put together, and whether that was worth it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
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


def titled(members: int, method: str, flips: Sequence[str]) -> str:
    """Return what runs became, e.g. "An ensemble of 3 runs" or "One run, with flips".

    Args:
        members: How many are in it.
        method: How they were put together.
        flips: Axes along which images are mirrored as well.
    """
    if members == 1:
        return "One run, with flips" if flips else "One run"
    return f"{'A soup' if method == 'soup' else 'An ensemble'} of {members} runs"


def in_words(found: Ensemble, unjudged: str = "") -> Iterator[str]:
    """Yield what is to be known of an ensemble, a sentence each: its members first, then its gain.

    Its `told`, which this makes, is not read.

    Args:
        found: The ensemble.
        unjudged: Why it was not judged, if it was not.
    """
    inside = [each for each in found.members if each.weight > 0]
    ways = {
        "mean": ", the mean of their probabilities",
        "weighted": ", the mean of their probabilities, with the weights of the least log loss",
        "greedy": ", the mean of their probabilities, as often as each was chosen",
        "soup": ", one network with the mean of their weights",
    }
    way = ways[found.method] if len(inside) > 1 else ""
    shown = (f"{Path(each.run).name} ({each.weight:.2f})" for each in inside)
    title = titled(len(inside), found.method, found.flips)
    yield f"{title}{way}: {', '.join(shown)}."
    if left := [Path(each.run).name for each in found.members if each.weight == 0]:
        yield f"Left out, as they would not help: {', '.join(left)}."
    if found.flips:
        yield f"Each image is also seen mirrored ({', '.join(found.flips)})."
    if found.difference is None:
        yield f"Its gain is not measured: {unjudged}." if unjudged else "Its gain is not measured."
        return
    low, high = found.difference.low, found.difference.high
    sure = found.difference.note if low is None else f"95 % interval {low:+.4f} to {high:+.4f}"
    verdict = "It helps" if helps(found.difference) else "It does not help beyond noise"
    if low is None:
        verdict = "Whether it helps cannot be said"
    if len(inside) == 1 and not found.flips and found.difference.value == 0:
        verdict = "It is that run itself, and does not help"
    against = "the run as it is"
    if len(found.members) > 1:
        against = (
            f"the best member ({Path(found.best).name} on all images; chosen, like the weights, on "
            "others than those that judge it)"
        )
    of = f" of {found.groups:,} groups" if found.groups else ""
    yield (
        f"{verdict}: log loss {found.difference.value:+.4f} ({sure}) against {against}, on "
        f"{found.images:,} images{of}."
    )
